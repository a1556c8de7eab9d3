//! radhold: a RADIUS server with a second-factor *hold*.
//!
//! The password lets a session in **held**: confined by a sandbox filter. Its owner is asked "is this you?"
//! (Telegram, or an operator at the command line); the answer lifts the session to the permit filter by
//! CoA-Request, and a "no" or a deadline ends it by Disconnect-Request. Nothing ever waits inside an
//! Access-Request.
//!
//! # The map
//!
//! Dependencies point downwards: a part may use the groups below its own, and beside it only what its head says.
//! Among the shells, only [`app`] uses its neighbours; [`agent`] uses [`net`]. `tests/it/house.rs` fails when an import breaks
//! this.
//!
//! | group | part | what it is | what it never does |
//! |---|---|---|---|
//! | entry | `main.rs`, [`cli`] | arguments, help, printing | decide anything about a session |
//! | shells | [`app`] | joins configuration, adapters and core; runs effects and deadlines | hold a rule of its own |
//! | | [`agent`] | beside pppd: obeys CoA and Disconnect in nftables and processes | know a store, a user, or why |
//! | | [`http`] | the portal: a page for whoever is confined | know a user or a session's id, or approve |
//! | | [`net`] | UDP and TLS in and out, duplicates, the client, the front on a NAS's loopback | know a session or a user |
//! | adapters | [`store`] | the only SQL | decide who wins: it compares versions |
//! | | [`approver`] | ways to ask a person | change a session |
//! | | [`messages`] | every word people read, by language | know whom it is for |
//! | | [`places`] | where an address is: local files, the DNS | ask the web |
//! | | [`dialect`] | intent to attributes, per family of NAS | know a state or a socket |
//! | | [`spool`] | what was acknowledged while the store was away, on disk | know a store, or what an entry means |
//! | core | [`session`] | the hold: event + now → effects + next deadline | read a clock, do I/O |
//! | | [`policy`] | identity and request → grant, or refuse; bans, strikes, lockout | check a password |
//! | | [`auth`] | PAP, CHAP, MS-CHAP, MPPE; credential in, verdict out | look a user up |
//! | | [`accounting`] | Start, Interim-Update, Stop into counters | answer a packet |
//! | | [`dynauth`] | CoA and Disconnect: identifiers, retransmission, ACK and NAK | open a socket |
//! | words | [`model`] | plain domain types and ids | know a protocol |
//! | wire | [`eap`], [`radius`] | packets, attributes, authenticators, dictionaries | know anything of ours |
//! | aside | [`config`], [`telemetry`] | configuration into types; tracing and counters | start anything |
//! | | [`sqlite`] | connections to SQLite files | know what is in them |
//! | | [`listener`] | HTTP that strangers cannot hold open | know what is said on it |

pub mod accounting;
pub mod agent;
pub mod app;
pub mod approver;
pub mod auth;
pub mod cli;
pub mod config;
pub mod dialect;
pub mod dynauth;
pub mod eap;
pub mod http;
pub mod listener;
pub mod messages;
pub mod model;
pub mod net;
pub mod places;
pub mod policy;
pub mod radius;
pub mod session;
pub mod spool;
pub mod sqlite;
pub mod store;
pub mod telemetry;
