//! What happens, for people and machines to see: the log and named counters.
//!
//! Decides nothing, and knows no packet and no session: whoever logs or counts says in words what it was.

mod counters;
mod log;
mod once;
mod ready;

pub use counters::{Counters, add, count, snapshot};
pub use log::{LogError, LogThread, init, init_beside, watch_log};
pub use once::OncePerWindow;
pub use ready::tell_ready;
