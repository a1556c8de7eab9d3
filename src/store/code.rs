//! Codes as a second factor, as they are kept: what both engines share. Knows no statement, and no secret that is not sealed or
//! hashed.

use std::time::Duration;

use super::StoreError;
use super::row::Columns;
use crate::model::{Timestamp, UserName};

/// Tries are counted by.
pub(super) const MINUTE: Duration = Duration::from_secs(60);

/// A user's TOTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTotp {
    /// Whose.
    pub user: UserName,
    /// The secret, sealed ([`crate::auth`]'s text).
    pub secret: String,
    /// Since when.
    pub enrolled_at: Timestamp,
    /// When the first code was right; `None` while none was.
    pub confirmed_at: Option<Timestamp>,
    /// Recovery codes that were not used.
    pub recovery_left: u32,
}

/// A try of a code, counted before it is looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodeTry {
    /// What to look at.
    pub totp: KeptTotp,
    /// How many there were within the minute, this one included.
    pub tries: u32,
}

/// An operator's code for all users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EmergencyCode {
    /// What it is called: not the code.
    pub name: String,
    /// Its hash.
    pub hash: String,
    /// Since when.
    pub made_at: Timestamp,
    /// By whom.
    pub made_by: String,
    /// Until when.
    pub valid_until: Timestamp,
    /// How often it may be used yet.
    pub uses_left: u32,
}

impl EmergencyCode {
    /// Whether it would be taken now.
    pub fn is_valid(&self, now: Timestamp) -> bool {
        self.uses_left > 0 && now < self.valid_until
    }
}

pub(super) fn totp(row: &impl Columns) -> Result<KeptTotp, StoreError> {
    Ok(KeptTotp {
        user: UserName::new(row.need("user_name", Columns::text)?),
        secret: row.need("secret", Columns::text)?,
        enrolled_at: row.need("enrolled_at", Columns::time)?,
        confirmed_at: row.time("confirmed_at")?,
        recovery_left: row.need("recovery_left", Columns::number)?,
    })
}

pub(super) fn code_try(row: &impl Columns) -> Result<CodeTry, StoreError> {
    Ok(CodeTry { totp: totp(row)?, tries: row.need("tries", Columns::number)? })
}

pub(super) fn emergency(row: &impl Columns) -> Result<EmergencyCode, StoreError> {
    Ok(EmergencyCode {
        name: row.need("name", Columns::text)?,
        hash: row.need("hash", Columns::text)?,
        made_at: row.need("made_at", Columns::time)?,
        made_by: row.need("made_by", Columns::text)?,
        valid_until: row.need("valid_until", Columns::time)?,
        uses_left: row.need("uses_left", Columns::number)?,
    })
}

pub(super) fn no_totp(user: &UserName) -> StoreError {
    StoreError::Missing(format!("TOTP of user {user}"))
}

/// A step as it goes into a column.
pub(super) fn step(step: u64) -> i64 {
    i64::try_from(step).unwrap_or(i64::MAX)
}
