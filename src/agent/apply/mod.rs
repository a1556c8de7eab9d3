//! What the agent does to this host: rules, flows, processes. Knows no RADIUS and decides nothing.

mod flows;
mod nft;
mod pppd;
mod privileges;
mod rules;
mod stations;

pub(super) use flows::{cut_flows, cut_station};
pub use nft::NftError;
pub(super) use nft::{Place, Table, forget_interface, watch};
pub(super) use pppd::{NotSignalled, Process, Signal, serving};
pub use privileges::{PrivilegeError, drop_privileges};
pub use rules::{RuleSettings, ruleset};
