//! Links followed, requests, and an administrator's word about them.
//!
//! A token is known by its hash alone. Who takes an enrolment, and who decides about it, the store settles by the state it was in.
//! Whoever has no valid link learns nothing: not whether there ever was such a link, nor whose it was.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use tokio::time::Instant;
use uuid::Uuid;

use super::administrators::spent;
use super::lines::{guest, guests};
use super::{Desk, Person};
use crate::app::enrolment;
use crate::app::{chance, clock};
use crate::approver::{ActReply, AskError, Button, Post};
use crate::config::Confirm;
use crate::model::{ApproverKind, Binding, Enrolment, EnrolmentId, EnrolmentState, Language, Taker, UserName};
use crate::session::{Act, Verb};
use crate::store::StoreError;

/// So many may wait for administrators: more would keep them from those that are meant.
const WAITING: usize = 100;
/// How long Telegram may take to say the bot's name.
const NAME_PATIENCE: Duration = Duration::from_secs(10);

impl Desk {
    /// Somebody follows a link.
    pub(super) async fn start(&self, person: &Person<'_>, token: &str) -> Result<Option<Post>, StoreError> {
        let language = &person.language;
        if !person.by.private && !self.rules().enrolment.groups {
            return Ok(Some(self.greeting(person)));
        }
        let hash = hash(token);
        let mut lost_to_another = false;
        loop {
            let found = self.parts.store.enrolment_by_token(&hash).await?;
            let found = found.filter(|enrolment| enrolment.approver == person.by.approver);
            let Some(enrolment) = found else { break };
            let mine = enrolment
                .taker
                .as_ref()
                .is_some_and(|taker| taker.address == person.by.chat && taker.presser == person.by.presser);
            let id = match enrolment.state {
                EnrolmentState::Open if lost_to_another => break,
                EnrolmentState::Open => {
                    if self.take(person, enrolment).await? {
                        // What became of it is read anew.
                        continue;
                    }
                    lost_to_another = true;
                    continue;
                }
                _ if !mine => break,
                EnrolmentState::Bound => "enrol-bound",
                EnrolmentState::Waiting => "enrol-waiting",
                EnrolmentState::Refused => "enrol-refused",
            };
            let user = guest(enrolment.user.as_str());
            return Ok(Some(Post::text(self.say(language, id, &[("user", user.into())]))));
        }
        self.patience.lock().await.was_wrong(&person.by.chat, Instant::now());
        tracing::info!(chat = person.by.chat, "a link that is not valid was followed");
        Ok(Some(Post::text(self.say(language, "enrol-wrong", &[]))))
    }

    /// Takes an open enrolment for this chat, when it may be taken still.
    async fn take(&self, person: &Person<'_>, enrolment: Enrolment) -> Result<bool, StoreError> {
        let now = clock::now();
        if self.parts.store.user(&enrolment.user).await?.is_none_or(|user| user.disabled) {
            return Ok(false);
        }
        let (state, expires_at, act) = match self.rules().enrolment.confirm {
            Confirm::None => (EnrolmentState::Bound, enrolment.expires_at, "enrolment.bind"),
            Confirm::Administrator => {
                (EnrolmentState::Waiting, now + self.rules().enrolment.confirm_within, "enrolment.take")
            }
        };
        let taken = Enrolment { state, expires_at, taker: Some(taker(person)), ..enrolment };
        let detail = format!("{}; link of {}", described(&taken), taken.made_by);
        let act = person.act(now, act, &taken.user, detail);
        let before = self.parts.store.bindings(&taken.user).await?;
        if !self.parts.store.move_enrolment(&taken, EnrolmentState::Open, now, &act).await? {
            return Ok(false);
        }
        match state {
            EnrolmentState::Bound => self.tell_others(&taken, &before).await,
            _ => self.notices.notify_one(),
        }
        Ok(true)
    }

    /// Somebody asks for their chat to be bound to an account. The answer is the same whether there is one or not.
    pub(super) async fn register(&self, person: &Person<'_>, name: &str) -> Result<Option<Post>, StoreError> {
        let language = &person.language;
        if !person.by.private && !self.rules().enrolment.groups {
            return Ok(Some(self.greeting(person)));
        }
        if name.is_empty() {
            return Ok(Some(Post::text(self.say(language, "enrol-register-how", &[]))));
        }
        // Each request counts as a guess: names are not to be tried out on administrators.
        self.patience.lock().await.was_wrong(&person.by.chat, Instant::now());
        let now = clock::now();
        let user = self.parts.store.user(&UserName::new(name)).await?.filter(|user| !user.disabled);
        if let Some(user) = user {
            let waiting = self.parts.store.enrolments_waiting(now).await?;
            let asked = waiting.iter().any(|other| other.taker.as_ref().is_some_and(|by| by.address == person.by.chat));
            if !asked && waiting.len() < WAITING && !person.users.contains(&user.name) {
                let enrolment = Enrolment {
                    id: EnrolmentId(Uuid::from_bytes(chance::octets())),
                    user: user.name.clone(),
                    approver: person.by.approver,
                    token_hash: None,
                    replace: false,
                    made_by: person.who(),
                    made_at: now,
                    expires_at: now + self.rules().enrolment.confirm_within,
                    state: EnrolmentState::Waiting,
                    taker: Some(taker(person)),
                };
                let act = person.act(now, "enrolment.ask", &user.name, described(&enrolment));
                self.parts.store.add_enrolment(&enrolment, &act).await?;
                self.notices.notify_one();
            }
        }
        Ok(Some(Post::text(self.say(language, "enrol-registered", &[]))))
    }

    /// An administrator's word about a chat that waits.
    pub(super) async fn decide_enrolment(
        &self,
        person: &Person<'_>,
        id: EnrolmentId,
        yes: bool,
    ) -> Result<ActReply, StoreError> {
        let language = &person.language;
        let now = clock::now();
        let found = self.parts.store.enrolment(id).await?;
        let Some(enrolment) = found else { return Ok(self.note(language, "answer-enrol-over", &[])) };
        let (state, act, note, end) = match yes {
            true => (EnrolmentState::Bound, "enrolment.confirm", "answer-enrol-confirmed", "bound"),
            false => (EnrolmentState::Refused, "enrolment.refuse", "answer-enrol-refused", "refused"),
        };
        let decided = Enrolment { state, ..enrolment.clone() };
        let act = person.act(now, act, &decided.user, described(&decided));
        let before = self.parts.store.bindings(&decided.user).await?;
        if self.parts.store.move_enrolment(&decided, EnrolmentState::Waiting, now, &act).await? {
            self.tell_taker(&decided).await;
            if yes {
                self.tell_others(&decided, &before).await;
            }
            return Ok(spent(self.note(language, note, &[]), self.settled(&decided, end, language)));
        }
        let end = match self.parts.store.enrolment(id).await?.map(|enrolment| enrolment.state) {
            Some(EnrolmentState::Bound) => "bound",
            Some(EnrolmentState::Refused) => "refused",
            _ => "over",
        };
        Ok(spent(self.note(language, "answer-enrol-over", &[]), self.settled(&enrolment, end, language)))
    }

    /// Makes a link, for an administrator who asks for one in a chat.
    pub(super) async fn make_link(&self, person: &Person<'_>, name: &str) -> Result<Post, StoreError> {
        let language = &person.language;
        if name.is_empty() {
            return Ok(Post::text(self.say(language, "enrol-how", &[])));
        }
        if !person.by.private {
            // A link is as good as a key.
            return Ok(Post::text(self.say(language, "bot-private", &[])));
        }
        let user = UserName::new(name);
        let Ok(bot) = self.bot_name().await else { return Ok(Post::text(self.say(language, "bot-later", &[]))) };
        let valid_for = self.rules().enrolment.valid_for;
        let offer = enrolment::Offer::new(&user, ApproverKind::Telegram, person.who(), clock::now(), valid_for, false);
        let act = person.act(offer.enrolment.made_at, "user.enrol", &user, offer.described());
        match self.parts.store.add_enrolment(&offer.enrolment, &act).await {
            Err(StoreError::Missing(_)) => return Ok(Post::text(self.say(language, "enrol-no-user", &[]))),
            added => added?,
        }
        let minutes = valid_for.as_secs().div_ceil(60);
        Ok(Post::text(self.say(
            language,
            "enrol-link",
            &[("user", guest(name).into()), ("link", offer.link(&bot).into()), ("minutes", minutes.into())],
        )))
    }

    /// The question to administrators.
    pub(super) fn question_about(&self, enrolment: &Enrolment, language: &Language) -> Post {
        let button =
            |id: &str, verb| Button { label: self.say(language, id, &[]), act: Act { verb, subject: enrolment.id.0 } };
        let kind = if enrolment.token_hash.is_some() { "link" } else { "request" };
        let (person, number) = taken_by(enrolment);
        let html = self.say(
            language,
            "enrol-confirm",
            &[
                ("user", guest(enrolment.user.as_str()).into()),
                ("person", person.into()),
                ("number", number.into()),
                ("kind", kind.into()),
            ],
        );
        let buttons = vec![vec![
            button("button-enrol-confirm", Verb::ConfirmBinding),
            button("button-enrol-refuse", Verb::RefuseBinding),
        ]];
        Post { html, buttons, open: true }
    }

    fn settled(&self, enrolment: &Enrolment, end: &str, language: &Language) -> Post {
        let (person, _) = taken_by(enrolment);
        let arguments =
            [("user", guest(enrolment.user.as_str()).into()), ("person", person.into()), ("end", end.into())];
        Post::text(self.say(language, "enrol-confirmed", &arguments))
    }

    async fn tell_taker(&self, enrolment: &Enrolment) {
        let Some(taker) = &enrolment.taker else { return };
        let tone = self.tone_at(&taker.address, taker.language.as_deref()).await;
        let language = tone.language();
        let id = match enrolment.state {
            EnrolmentState::Bound => "enrol-bound",
            _ => "enrol-refused",
        };
        let user = guest(enrolment.user.as_str());
        self.tell(enrolment.approver, &taker.address, Post::text(self.say(language, id, &[("user", user.into())])));
    }

    /// Those who were asked until now hear that another chat is, or that they are not any more: it may not be the owner's doing.
    async fn tell_others(&self, enrolment: &Enrolment, before: &[Binding]) {
        let Some(taker) = &enrolment.taker else { return };
        let id = if enrolment.replace { "enrol-moved" } else { "enrol-other-chat" };
        let others = before.iter().filter(|binding| binding.approver == enrolment.approver);
        for binding in others.filter(|binding| binding.address != taker.address) {
            let tone = self.tone_at(&binding.address, None).await;
            let language = tone.language();
            let (person, _) = taken_by(enrolment);
            let arguments = [("user", guest(enrolment.user.as_str()).into()), ("person", person.into())];
            self.tell(enrolment.approver, &binding.address, Post::text(self.say(language, id, &arguments)));
        }
    }

    /// Posts something beside the work in hand; tried again for a while.
    fn tell(&self, approver: ApproverKind, chat: &str, post: Post) {
        let Some(channel) = self.parts.approvers.get(&approver).cloned() else { return };
        let chat = chat.to_owned();
        tokio::spawn(async move {
            let mut pause = Duration::from_secs(1);
            for _ in 0..8 {
                match channel.post(&chat, &post).await {
                    Ok(()) => return,
                    Err(AskError::Undeliverable(reason)) => {
                        tracing::warn!(chat, reason, "a chat was not told of a binding");
                        return;
                    }
                    Err(AskError::Later { after, .. }) => tokio::time::sleep(after.unwrap_or(pause)).await,
                }
                pause *= 2;
            }
            tracing::warn!(chat, "a chat could not be told of a binding");
        });
    }

    /// The name people find the bot by.
    async fn bot_name(&self) -> Result<String, AskError> {
        if let Some(name) = &self.parts.bot_name {
            return Ok(name.clone());
        }
        let nobody = || AskError::Undeliverable("there is no bot".to_owned());
        let ask = || async {
            let channel = self.parts.approvers.get(&ApproverKind::Telegram).ok_or_else(nobody)?;
            let name = tokio::time::timeout(NAME_PATIENCE, channel.name()).await;
            name.unwrap_or_else(|_| Err(nobody()))?.ok_or_else(nobody)
        };
        self.name.get_or_try_init(ask).await.cloned()
    }
}

fn hash(token: &str) -> Vec<u8> {
    Sha256::digest(token.as_bytes()).to_vec()
}

fn taker(person: &Person<'_>) -> Taker {
    Taker {
        address: person.by.chat.clone(),
        presser: person.by.presser.clone(),
        person: person.by.name.chars().take(128).collect(),
        language: person.by.language.clone(),
        at: clock::now(),
    }
}

/// What a taker calls themselves, and their number.
fn taken_by(enrolment: &Enrolment) -> (String, String) {
    enrolment
        .taker
        .as_ref()
        .map_or_else(|| (guests([]), String::new()), |taker| (guest(&taker.person), guest(&taker.presser)))
}

/// For the record.
fn described(enrolment: &Enrolment) -> String {
    let place = enrolment.taker.as_ref().map_or_else(String::new, |taker| {
        format!("{} chat {}, presser {}", enrolment.approver, taker.address, taker.presser)
    });
    let how = if enrolment.replace { ", in the place of the others" } else { "" };
    format!("{place}{how}")
}
