//! Plain domain types and ids: the words every part above shares.
//!
//! Decides nothing and knows no protocol, no table and no clock.

mod enrolment;
mod identity;
mod ids;
mod nas;
mod place;
mod preferences;
mod secret;
mod time;
mod user;

pub use enrolment::{Enrolment, EnrolmentId, EnrolmentState, Taker};
pub use identity::{Counters, Identity};
pub use ids::{ApproverKind, NasName, NodeName, SessionId, UserName};
pub use nas::{CallerLists, CodeEntry, Nas, OctetDirection};
pub use place::{Medium, Names, Whereabouts, hardware_address};
pub use preferences::{Language, Preferences, Zone};
pub use secret::Secret;
pub use time::{Day, Timestamp};
pub use user::{Binding, ReplyItem, SecondFactor, User};
