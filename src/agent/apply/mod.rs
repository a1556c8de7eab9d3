//! What the agent does to this host: rules, flows, limits of speed, routes, processes. Knows no RADIUS and decides nothing.

mod flows;
mod links;
mod nft;
mod pppd;
mod privileges;
mod routes;
mod rules;
mod stations;
mod tc;
mod tool;

pub(super) use flows::{Flows, cut_flows, cut_station};
pub(super) use links::Links;
pub use nft::NftError;
pub(super) use nft::{Banned, Place, Table, forget_interface, watch};
pub(super) use pppd::{NotSignalled, Process, Signal, serving};
pub use privileges::{PrivilegeError, drop_privileges};
pub(super) use routes::peers;
pub use rules::{RuleSettings, ruleset};
