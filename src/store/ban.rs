//! Bans, strikes and wrong passwords as they stand in the store, and their rows.
//!
//! Knows no statement.

use ipnet::IpNet;

use super::StoreError;
use super::row::Columns;
use crate::model::{NasName, Timestamp, UserName};
use crate::policy::{Ban, BanTarget, Caller, FailureCount, FailureKey, Strike};

/// A network whose ban has changed, claimed, to be told to the NASes whose host can drop it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BanNotice {
    /// The network; often one address.
    pub network: IpNet,
    /// Which change; another one may come meanwhile, and is not struck off with this.
    pub generation: u64,
    /// The NASes that know already.
    pub told: Vec<NasName>,
    /// How often it was claimed before.
    pub attempts: u32,
}

pub(super) fn ban(row: &impl Columns) -> Result<Ban, StoreError> {
    Ok(Ban {
        target: target(row)?,
        since: row.need("since", Columns::time)?,
        until: row.time("until")?,
        lifted_at: row.time("lifted_at")?,
        reason: row.need("reason", Columns::text)?,
        by: row.need("set_by", Columns::text)?,
        automatic: row.need("automatic", Columns::flag)?,
        forced: row.need("forced", Columns::flag)?,
    })
}

fn target(row: &impl Columns) -> Result<BanTarget, StoreError> {
    let (kind, value) = (row.need("kind", Columns::text)?, row.need("value", Columns::text)?);
    BanTarget::read(&kind, &value).map_err(|error| row.bad("value", error))
}

pub(super) fn strike(row: &impl Columns) -> Result<Strike, StoreError> {
    Ok(Strike {
        session: row.need("session_id", Columns::session_id)?,
        at: row.need("at", Columns::time)?,
        user: UserName::new(row.need("user_name", Columns::text)?),
        nas: NasName::new(row.need("nas", Columns::text)?),
        caller: row.text("caller")?.as_deref().and_then(Caller::read),
        why: row.need("why", Columns::word)?,
    })
}

pub(super) fn notice(row: &impl Columns) -> Result<BanNotice, StoreError> {
    let address = row.need("address", Columns::text)?;
    let target = BanTarget::read("address", &address).map_err(|error| row.bad("address", error))?;
    let network = told_of(&target).ok_or_else(|| row.bad("address", "it is none"))?;
    Ok(BanNotice {
        network,
        generation: row.need("generation", Columns::number)?,
        told: row.need("told", Columns::json)?,
        attempts: row.need("attempts", Columns::number)?,
    })
}

pub(super) fn failure_count(row: &impl Columns) -> Result<FailureCount, StoreError> {
    Ok(FailureCount {
        key: FailureKey { account: row.need("account", Columns::text)?, caller: row.need("caller", Columns::text)? },
        failures: u32::try_from(row.need("failures", Columns::integer)?).unwrap_or(u32::MAX),
        last: row.need("last_at", Columns::time)?,
    })
}

/// Where a login was confirmed, and when. `None` for a caller that says nothing.
pub(super) fn place(row: &impl Columns) -> Result<Option<(FailureKey, Timestamp)>, StoreError> {
    let (account, station) = (row.need("user_name", Columns::text)?, row.need("calling_station_id", Columns::text)?);
    let at = row.need("at", Columns::time)?;
    Ok(Caller::read(&station).map(|caller| (FailureKey { account, caller: caller.key() }, at)))
}

/// The network a NAS's host is told of when this ban changes: it knows no accounts and no other stations.
pub(super) fn told_of(target: &BanTarget) -> Option<IpNet> {
    match target {
        BanTarget::Network(network) => Some(*network),
        BanTarget::Station(_) | BanTarget::Account(_) => None,
    }
}

/// What tells one notice from another.
pub(super) fn key(notice: &BanNotice) -> String {
    BanTarget::Network(notice.network).value()
}
