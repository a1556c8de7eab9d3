//! The server: joins configuration, adapters and core.
//!
//! Carries effects out, wakes sessions, stops in order. Holds no rule of its own: `session`, `policy`, `auth` and `dialect`
//! decide, and the store settles who came first.

mod access;
mod accounting;
mod alarms;
mod answers;
mod apply;
mod ban_notices;
mod bans;
pub mod chance;
pub mod clock;
mod current;
mod deadlines;
mod desk;
mod door;
pub mod enrolment;
mod gathering;
mod kernel_drops;
pub mod keys;
mod ledger;
mod lockouts;
mod look_back;
mod lookup;
mod nas_queue;
mod news;
mod orders;
mod portal;
mod prompts;
mod quarantine;
mod radsec;
mod readers;
mod recall;
mod refusal;
mod restarts;
mod server;
mod settings;
mod totp;
mod trusts;
mod turn;
mod upkeep;
mod users;
mod voices;
mod words;

pub use apply::apply;
pub use server::{ServeError, Server, open_store, serve};
pub use settings::unconfined;
pub use totp::CodeOutcome;
pub use words::{WordsError, dialects, dictionary, messages, places};
