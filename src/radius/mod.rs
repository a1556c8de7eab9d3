//! RADIUS on the wire: packets, attributes, authenticators, hiding and dictionaries.
//!
//! Knows nothing of sessions, users or NASes, opens no socket, reads no clock and rolls no dice:
//! authenticators and salts arrive as arguments.

pub mod dictionary;
pub mod value;
