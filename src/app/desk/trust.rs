//! Where a person is not asked for a while, and taking that back: their own, and in private.

use uuid::Uuid;

use super::lines::guest;
use super::{Desk, Person};
use crate::app::clock;
use crate::approver::{ActReply, Button, Post};
use crate::model::{SessionId, Timestamp};
use crate::policy::{Trust, TrustPlace};
use crate::session::{Act, Verb};
use crate::store::StoreError;

/// How many places are listed; the oldest of more run out soonest.
const LISTED: usize = 10;

impl Desk {
    /// The list, each place with a button that takes it back.
    pub(super) async fn trusted(&self, person: &Person<'_>) -> Result<Post, StoreError> {
        let language = &person.language;
        let mut trusted = self.trusted_of(person, clock::now()).await?;
        trusted.truncate(LISTED);
        if trusted.is_empty() {
            return Ok(Post::text(self.say(language, "bot-no-trusted", &[])));
        }
        let mut lines = vec![self.say(language, "trust-list", &[])];
        let mut buttons = Vec::new();
        for (place, trust) in trusted.iter().enumerate() {
            let number = place + 1;
            let (kind, value, nas) = match &trust.place {
                TrustPlace::Address(network) => ("address", crate::policy::network_text(network), String::new()),
                TrustPlace::Device { nas, mac } => ("device", mac.clone(), nas.to_string()),
            };
            lines.push(self.say(
                language,
                "trust-place",
                &[
                    ("number", number.into()),
                    ("user", guest(trust.user.as_str()).into()),
                    ("kind", kind.into()),
                    ("value", guest(&value).into()),
                    ("nas", guest(&nas).into()),
                    ("until", person.zone.moment(trust.until).into()),
                ],
            ));
            buttons.push(Button {
                label: self.say(language, "button-trust-revoke", &[("number", number.into())]),
                act: Act { verb: Verb::RevokeTrust, subject: trust.session.0 },
            });
        }
        let buttons = buttons.chunks(3).map(<[Button]>::to_vec).collect();
        Ok(Post { html: lines.join("\n\n"), buttons, open: false })
    }

    /// Takes an approval of the person's own back, whatever the button says: whose it is, the store knows.
    pub(super) async fn revoke_trust(&self, person: &Person<'_>, subject: Uuid) -> Result<ActReply, StoreError> {
        let now = clock::now();
        let found = self.trusted_of(person, now).await?.into_iter().find(|trust| trust.session.0 == subject);
        let Some(trust) = found else { return Ok(self.note(&person.language, "answer-trust-over", &[])) };
        let act = person.act(now, "trust.revoke", &trust.user, trust.place.to_string());
        self.parts.store.revoke_trust(&trust.user, Some(SessionId(subject)), &act).await?;
        Ok(ActReply { alert: false, ..self.note(&person.language, "answer-trust-revoked", &[]) })
    }

    async fn trusted_of(&self, person: &Person<'_>, now: Timestamp) -> Result<Vec<Trust>, StoreError> {
        let mut all = Vec::new();
        for user in &person.users {
            all.extend(self.parts.store.trusted(Some(user), now).await?);
        }
        all.sort_by_key(|trust| std::cmp::Reverse(trust.until));
        Ok(all)
    }
}
