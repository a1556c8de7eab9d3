//! RADIUS over TLS (RFC 6614, and what draft-ietf-radext-radiusdtls-bis makes of it), as server and as client.
//!
//! Packets are those of UDP, end to end on a stream, with a secret that is a constant: TLS proves who speaks and hides what is said.
//! So nothing here retransmits, replies may come in any order, and what cannot be believed ends the connection (RFC 6613 §2.6.4).
//! Either side may ask: a NAS its logins, and we, down the same connection, a CoA (draft-ietf-radext-reverse-coa).
//!
//! Knows no session, no user and no rule of what a request means.

mod certificate;
mod dial;
mod framing;
mod link;
mod links;
mod listen;
mod tls;

pub use certificate::Certificate;
pub use dial::{DialError, Dialer, Peer, TakeRequest};
pub use framing::{FrameError, Frames};
pub(in crate::net) use link::WayBack;
pub use link::{AskError, End, Limits, Link};
pub use links::Links;
pub use listen::{Entrance, Gate, Listener};
pub use tls::{Credentials, IsPinned, TlsError};

/// The shared secret of RADIUS/TLS (RFC 6614 §2.3), no secret at all.
pub const SECRET: &str = "radsec";

/// The port of RADIUS/TLS (RFC 6614 §2.1).
pub const PORT: u16 = 2083;
