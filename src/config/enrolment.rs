//! `[enrolment]`: how chats come to be bound.

use std::time::Duration;

use super::reader::Section;

/// How chats come to be bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolment {
    /// Who has the last word about a link that was taken.
    pub confirm: Confirm,
    /// How long an administrator has for it.
    pub confirm_within: Duration,
    /// How long a link is valid, unless its maker says otherwise.
    pub valid_for: Duration,
    /// Whether people may ask for their chat to be bound without a link. An administrator has the last word then.
    pub self_registration: bool,
    /// Whether a group's chat may be bound.
    pub groups: bool,
}

/// Who has the last word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confirm {
    /// Whoever has the link is believed.
    #[default]
    None,
    /// An administrator, in their own chat.
    Administrator,
}

impl Default for Enrolment {
    fn default() -> Self {
        Self {
            confirm: Confirm::None,
            confirm_within: Duration::from_secs(86_400),
            valid_for: Duration::from_secs(900),
            self_registration: false,
            groups: false,
        }
    }
}

pub(super) fn enrolment(mut section: Section<'_>, administrators: bool) -> Enrolment {
    let usual = Enrolment::default();
    let confirm = section.parsed("confirm", "none or administrator", |text| match text {
        "none" => Ok(Confirm::None),
        "administrator" => Ok(Confirm::Administrator),
        _ => Err("there are only these two".to_owned()),
    });
    let enrolment = Enrolment {
        confirm: confirm.unwrap_or_default(),
        confirm_within: section.duration("confirm_within").unwrap_or(usual.confirm_within),
        valid_for: section.duration("valid_for").unwrap_or(usual.valid_for),
        self_registration: section.boolean("self_registration").unwrap_or(false),
        groups: section.boolean("groups").unwrap_or(false),
    };
    for (key, duration) in [("confirm_within", enrolment.confirm_within), ("valid_for", enrolment.valid_for)] {
        if duration.is_zero() {
            section.problem(key, "cannot be zero");
        }
    }
    if enrolment.confirm == Confirm::Administrator && !administrators {
        section.problem("confirm", "wants an administrator, but telegram.administrators lists none");
    }
    if enrolment.self_registration && !administrators {
        section.problem("self_registration", "wants an administrator's word, but telegram.administrators lists none");
    }
    section.finish();
    enrolment
}
