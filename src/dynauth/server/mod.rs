//! Dynamic authorization (RFC 5176), the NAS's half: the Dynamic Authorization Server.
//!
//! Whether a request is genuine, which session it means, what follows, and the reply as octets. Changes nothing, opens no
//! socket, reads no clock: it is given a packet, what the sessions are known by, and the time.

mod ban;
mod facts;
mod judge;
mod rates;
mod reply;
mod station;
mod verify;

pub use ban::judge_ban;
pub use facts::{Facts, NasNames};
pub use judge::{
    Change, INVALID_ATTRIBUTE_VALUE, INVALID_REQUEST, MISSING_ATTRIBUTE, MULTIPLE_SESSION_SELECTION_UNSUPPORTED,
    NAS_IDENTIFICATION_MISMATCH, RESOURCES_UNAVAILABLE, SESSION_CONTEXT_NOT_FOUND, SESSION_CONTEXT_NOT_REMOVABLE,
    UNSUPPORTED_ATTRIBUTE, UNSUPPORTED_EXTENSION, UNSUPPORTED_SERVICE, Verdict, judge,
};
pub use rates::{RateOrder, Rates};
pub use reply::reply;
pub use station::{Mac, judge_station};
pub use verify::{Discard, Genuine, Rules, verify};
