//! Accounting: what Accounting-Requests say, in our words, and counters that only grow.
//!
//! Reads packets and adds up; answers none, keeps none, and decides nothing about a hold.

mod counters;
mod days;
mod identity;
mod medium;
mod report;

pub use counters::{grow, unwrapped};
pub use days::{Share, by_day};
pub use identity::{identity_of, same_nas, same_port, same_session};
pub use medium::medium_of;
pub use report::{ClockBounds, Disbelieved, Reading, Report, Request, RequestError, Status};
