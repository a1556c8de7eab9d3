//! Dynamic authorization (RFC 5176), our half: the Dynamic Authorization Client.
//!
//! Identifiers, retransmission, and what an answer means. Opens no socket, reads no clock, and knows no session:
//! it is given a target, attributes and the time.

mod error_cause;

pub use error_cause::{ErrorCause, Remedy};
