//! UDP in and out, and duplicates. Knows no session, no user and no NAS: whoever receives decides what a datagram is.

pub mod client;
mod duplicates;
pub mod dynamic_authorization;
mod udp;

pub use duplicates::{Admission, Duplicates, RequestKey};
pub use udp::{Replier, bind, receive};
