//! The server: joins configuration, adapters and core.
//!
//! Carries effects out, wakes sessions, stops in order. Holds no rule of its own: `session`, `policy`, `auth` and `dialect`
//! decide, and the store settles who came first.

mod access;
mod answers;
mod apply;
pub mod chance;
pub mod clock;
mod deadlines;
mod door;
pub mod keys;
mod ledger;
mod lookup;
mod orders;
mod recall;
mod server;
mod settings;
mod turn;
mod users;
mod words;

pub use apply::apply;
pub use server::{ServeError, Server, serve};
pub use settings::unconfined;
pub use words::{WordsError, dialects, dictionary};
