//! Plain domain types and ids: the words every part above shares.
//!
//! Decides nothing and knows no protocol, no table and no clock.

mod approver;
mod duration;
mod enrolment;
mod group;
mod guards;
mod identity;
mod ids;
mod nas;
mod place;
mod preferences;
mod radsec;
mod secret;
mod time;
mod user;

pub use approver::{ApproverKind, ApproverStep, SecondPerson, WhenUnreachable};
pub use duration::{DurationError, format_duration, parse_duration};
pub use enrolment::{Enrolment, EnrolmentId, EnrolmentState, Taker};
pub use group::{Group, GroupSettings, Member};
pub use guards::GuardSettings;
pub use identity::{Counters, Identity};
pub use ids::{GroupName, NasName, NodeName, SessionId, UserName};
pub use nas::{CallerLists, CodeEntry, Nas, OctetDirection, PreviousSecret};
pub use place::{Medium, Names, Whereabouts, hardware_address};
pub use preferences::{Language, Preferences, Zone};
pub use radsec::{CertificateId, CertificateIdError, DynauthPath};
pub use secret::Secret;
pub use time::{Day, Timestamp};
pub use user::{Binding, ReplyItem, SecondFactor, User};
