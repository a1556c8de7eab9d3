//! The hold: what becomes of a session between Access-Accept and its end.
//!
//! A state machine without clock, sockets or store. [`step`] takes a session, an [`Event`] (a fact) and the time;
//! it gives the session as it is afterwards, the [`Effect`]s (orders) this demands, and what to tell whoever asked.
//! [`Session::wake_at`] says when it next wants [`Event::TimerPassed`]. What happens in which state is one
//! table, [`table::action`].
//!
//! Beside it in the core it uses `policy` (the terms it was granted), `auth` (the proof that a code was right), `accounting` (reports
//! and counters) and `dynauth` (what an Error-Cause asks for). Never knows how an order is carried out, which attribute a filter becomes, or who else holds a copy: the store
//! settles that by comparing versions.

mod button;
mod class;
mod decision;
mod event;
mod machine;
mod number;
mod prompt;
mod record;
mod strike;
pub mod table;
mod voices;

pub use button::{ANYONE, Act, ActPress, ButtonError, ButtonKey, Place, Press, Pressed, Verb};
pub use class::{Class, ClassError, ClassKey};
pub use decision::{Approval, DecidedBy, Decision, Denial, NotEntitled, Proof, Verdict, Vote};
pub use event::{Alert, Effect, Event, Lane, Outcome, Told};
pub use machine::{Step, Timing, step};
pub use number::NumberChoice;
pub use record::{Ask, AskState, End, EndCause, GoneOn, Record, Session, State};
pub use voices::Voices;

#[cfg(test)]
mod tests;
