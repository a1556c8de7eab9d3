//! Dynamic authorization (RFC 5176): our half, the Dynamic Authorization Client; in [`server`], the NAS's.
//!
//! Identifiers, retransmission, requests as octets, and what an answer means. Opens no socket, reads no clock, draws no
//! randomness and knows no session: it is given a target, attributes, the time and chance.

mod answer;
mod ban;
mod error_cause;
mod identifiers;
mod request;
mod schedule;
pub mod server;

pub use answer::{Answer, Unfit, read_answer};
pub use ban::BanOrder;
pub use error_cause::{ErrorCause, Remedy};
pub use identifiers::{Identifiers, NoneFree};
pub use request::{Request, RequestKind};
pub use schedule::{Next, Schedule, Timers};
