//! Who has a voice about a session, at one moment.
//!
//! Made by the shell from what the store says at that moment, so that a binding that was taken back counts no more, also when its
//! press came before. Never decides how many are enough: that is the machine's, by the terms of the hold.

use std::collections::{BTreeMap, BTreeSet};

use super::decision::{DecidedBy, Vote};
use crate::model::{ApproverKind, Binding, UserName};

/// Who has a voice about a session.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Voices {
    own: BTreeSet<DecidedBy>,
    /// What answers for the person, and is no person: their authority is the operator's setting.
    channels: BTreeSet<ApproverKind>,
    others: BTreeMap<DecidedBy, UserName>,
}

/// For whom somebody speaks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Speaks {
    /// For whoever must agree: an operator.
    ForAll,
    /// As the session's user.
    AsOwn,
    /// As this user, who is another.
    AsOther(UserName),
}

impl Voices {
    /// Those of the session's user, by their bindings; and by the channels that answer for them without one.
    pub fn of_own(bindings: &[Binding], channels: impl IntoIterator<Item = ApproverKind>) -> Self {
        let own = bindings.iter().map(hand).collect();
        Self { own, channels: channels.into_iter().collect(), others: BTreeMap::new() }
    }

    /// Together with those who confirm other people's logins, by their bindings. Whoever is the session's user at any of them is not
    /// another.
    #[must_use]
    pub fn with_others(mut self, bindings: &[Binding]) -> Self {
        let others = bindings.iter().map(|binding| (hand(binding), binding.user.clone()));
        self.others = others.filter(|(hand, _)| !self.own.contains(hand)).collect();
        self
    }

    /// For whom this one speaks, if for anybody.
    pub(super) fn of(&self, hand: &DecidedBy) -> Option<Speaks> {
        if self.own.contains(hand) || self.channels.contains(&hand.approver) {
            return Some(Speaks::AsOwn);
        }
        self.others.get(hand).cloned().map(Speaks::AsOther)
    }

    /// Whether a yes that was given before would count if it were given now.
    pub(super) fn still(&self, vote: &Vote) -> bool {
        match &vote.other {
            None => self.of(&vote.by) == Some(Speaks::AsOwn),
            // The hand is the person's in Telegram; only what it did is kept as a second person's.
            Some(user) => {
                let hand = DecidedBy { approver: ApproverKind::Telegram, ..vote.by.clone() };
                self.of(&hand) == Some(Speaks::AsOther(user.clone()))
            }
        }
    }
}

fn hand(binding: &Binding) -> DecidedBy {
    DecidedBy { approver: binding.approver, who: binding.presser.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Timestamp;

    fn binding(user: &str, presser: &str) -> Binding {
        Binding {
            user: user.into(),
            approver: ApproverKind::Telegram,
            address: presser.to_owned(),
            presser: presser.to_owned(),
            bound_at: Timestamp::default(),
        }
    }

    fn hand(who: &str) -> DecidedBy {
        DecidedBy { approver: ApproverKind::Telegram, who: who.to_owned() }
    }

    #[test]
    fn nobody_confirms_their_own_login_as_another() {
        let voices =
            Voices::of_own(&[binding("bob", "7")], []).with_others(&[binding("boss", "7"), binding("lead", "8")]);
        assert_eq!(voices.of(&hand("7")), Some(Speaks::AsOwn), "bob's phone, whatever other account it has");
        assert_eq!(voices.of(&hand("8")), Some(Speaks::AsOther("lead".into())));
        assert_eq!(voices.of(&hand("9")), None);
        let webhook = DecidedBy { approver: ApproverKind::Webhook, who: "7".into() };
        assert_eq!(voices.of(&webhook), None, "the same word in another channel is another hand");
    }

    #[test]
    fn a_yes_counts_no_more_when_its_hand_is_taken_away() {
        let boss = Voices::default().with_others(&[binding("boss", "8")]);
        let by = DecidedBy { approver: ApproverKind::Person, who: "8".into() };
        let vote = Vote { by, other: Some("boss".into()), chat: None, at: Timestamp::default() };
        assert!(boss.still(&vote));
        assert!(!Voices::default().still(&vote));
        assert!(!Voices::default().with_others(&[binding("lead", "8")]).still(&vote), "the phone is another's now");
    }
}
