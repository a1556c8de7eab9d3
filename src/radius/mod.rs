//! RADIUS on the wire: packets, attributes, authenticators, hiding and dictionaries.
//!
//! Knows nothing of sessions, users or NASes, opens no socket, reads no clock and rolls no dice:
//! authenticators and salts arrive as arguments.
//!
//! In: [`Packet::parse`] borrows a datagram, then `verify_*` mints a proof of who sent it. Out: [`PacketBuilder`]
//! gathers attributes and `sign_*` seals them. Neither parsing nor verifying allocates.

pub mod attribute;
pub mod authenticator;
mod builder;
mod code;
pub mod concat;
pub mod dictionary;
pub mod error;
pub mod extended;
pub mod hiding;
mod packet;
mod short;
pub mod tag;
pub mod tlv;
pub mod value;
pub mod vendor;

#[cfg(test)]
mod properties;
#[cfg(test)]
mod vectors;

pub use attribute::{Attribute, Attributes};
pub use authenticator::{
    CheckedRequest, Checking, MessageAuthenticatorVerified, PreparedSecret, ReplyVerified,
    RequestAuthenticatorVerified, RequestChecking, Signing, TOGETHER,
};
pub use builder::PacketBuilder;
pub use code::Code;
pub use error::{
    AuthenticatorError, EncodeError, Fault, HidingError, MessageAuthenticatorError, ParseError, ValueError,
};
pub use packet::{MAX_PACKET, MIN_PACKET, Packet};
pub use short::Short;
pub use vendor::VendorAttribute;
