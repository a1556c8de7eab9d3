//! Accounting: what Accounting-Requests say, in our words, and counters that only grow.
//!
//! Reads packets and adds up; answers none, keeps none, and decides nothing about a hold.

mod counters;
mod identity;
mod report;

pub use counters::grow;
pub use identity::{identity_of, same_nas, same_session};
pub use report::{Report, Request, RequestError, Status};
