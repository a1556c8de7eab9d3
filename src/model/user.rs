//! A user as the operator describes them, and the chats bound to them.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{ApproverKind, ApproverStep, GroupName, GuardSettings, Secret, Timestamp, UserName, WhenUnreachable};

/// Somebody who may log in.
#[derive(Debug, Clone, PartialEq)]
pub struct User {
    /// The User-Name they log in with.
    pub name: UserName,
    /// The stored form of their password: an argon2id PHC string, or a sealed NT hash or password.
    pub credential: Secret,
    /// Refuse every login.
    pub disabled: bool,
    /// Whether their sessions are held.
    pub second_factor: SecondFactor,
    /// The groups they are in, nearest first: what one of them says counts for more than what those behind it say.
    pub groups: Vec<GroupName>,
    /// Who is asked, in order; empty is their groups', the NAS's or the server's setting.
    pub approvers: Vec<ApproverStep>,
    /// What becomes of a hold when nobody can be asked; `None` is their groups', the NAS's or the server's setting.
    pub when_unreachable: Option<WhenUnreachable>,
    /// Their permit filter; `None` is the NAS's or the server's.
    pub permit_filter: Option<String>,
    /// How long a permitted session may last; `None` is without limit.
    pub session_timeout: Option<Duration>,
    /// How long an Access-Reject to them is kept back; `None` is the NAS's or the server's setting.
    pub reject_delay: Option<Duration>,
    /// Octets a month, both directions together; `None` is without. For reports: nothing is refused or ended when it is used up.
    pub monthly_quota: Option<u64>,
    /// How they are asked; what is not said is the groups', the NAS's or the server's.
    pub guards: GuardSettings,
    /// Further attributes of their Access-Accept, in dictionary words.
    pub reply: Vec<ReplyItem>,
    /// Whether a code may stand behind their PAP password (`password,123456`); `None` is the NAS's or the server's setting.
    pub totp_in_password: Option<bool>,
    /// When they were added.
    pub created_at: Timestamp,
}

impl User {
    /// A user of whom nothing is known but name and password: held, with the server's defaults.
    pub fn new(name: impl Into<UserName>, credential: Secret, created_at: Timestamp) -> Self {
        Self {
            name: name.into(),
            credential,
            disabled: false,
            second_factor: SecondFactor::Required,
            groups: Vec::new(),
            approvers: Vec::new(),
            when_unreachable: None,
            permit_filter: None,
            session_timeout: None,
            reject_delay: None,
            monthly_quota: None,
            guards: GuardSettings::default(),
            reply: Vec::new(),
            totp_in_password: None,
            created_at,
        }
    }
}

/// Whether a login must be confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SecondFactor {
    /// The session is held until an approver answers.
    #[default]
    Required,
    /// The password is enough (service accounts).
    None,
}

/// An attribute in the words of the dictionary: `Framed-IP-Address`, `10.0.0.7`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplyItem {
    /// The attribute's name.
    pub name: String,
    /// The value as text.
    pub value: String,
}

/// A place where a user can be asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Binding {
    /// Whose it is.
    pub user: UserName,
    /// By which channel.
    pub approver: ApproverKind,
    /// The address there: for Telegram the chat's id.
    pub address: String,
    /// Who may press there: for Telegram the user id (in a private chat the same number as the chat's).
    pub presser: String,
    /// Since when.
    pub bound_at: Timestamp,
}
