//! UDP and TLS in and out, duplicates, and the front between a local pppd and its servers. Knows no session and no user: whoever
//! receives decides what a datagram is.

mod bucket;
pub mod client;
mod duplicates;
pub mod dynamic_authorization;
mod flood;
pub mod front;
pub mod radsec;
mod udp;

pub use bucket::{Bucket, Measure};
pub use duplicates::{Admission, Duplicates, RequestKey};
pub use flood::{Bounds, Flood, Source};
pub use udp::{
    Arrival, KernelDrops, Outbox, PATIENCE, RECEIVE_BUFFER, Replier, Taker, UdpPort, WayBack, bind, bind_shared,
    receive, receive_on_this_thread,
};
