//! A person's own connections, logins and preferences: of nobody else, and in private.

use std::time::Duration;

use uuid::Uuid;

use super::heard;
use super::lines::{caller, guest, guests};
use super::{Desk, Person};
use crate::app::{apply, clock};
use crate::approver::{ActReply, Button, Post, Then};
use crate::model::{Language, SessionId, UserName};
use crate::session::{Act, Denial, Event, Session, State, Told, Verb, Verdict};
use crate::store::{SessionQuery, StoreError};

/// How many of something are listed.
const LISTED: usize = 10;

impl Desk {
    pub(super) fn help(&self, person: &Person<'_>) -> Post {
        let mut parts = Vec::new();
        if !person.users.is_empty() {
            let users = guests(person.users.iter().map(UserName::as_str));
            parts.push(self.say(&person.language, "bot-help", &[("users", users.into())]));
        }
        if person.administrator {
            parts.push(self.say(&person.language, "bot-help-administrator", &[]));
        }
        Post::text(parts.join("\n\n"))
    }

    pub(super) async fn sessions(&self, person: &Person<'_>) -> Result<Post, StoreError> {
        let mut sessions = self.sessions_of(person, true).await?;
        sessions.truncate(LISTED);
        if sessions.is_empty() {
            return Ok(Post::text(self.say(&person.language, "bot-no-sessions", &[])));
        }
        let unknown = self.say(&person.language, "word-unknown", &[]);
        let mut lines = vec![self.say(&person.language, "bot-sessions", &[])];
        let mut buttons = Vec::new();
        for (place, session) in sessions.iter().enumerate() {
            let number = place + 1;
            lines.push(self.say(
                &person.language,
                "bot-session",
                &[
                    ("number", number.into()),
                    ("user", guest(session.user.as_str()).into()),
                    ("nas", guest(session.nas.as_str()).into()),
                    ("from", caller(session, &unknown).into()),
                    ("at", person.zone.moment(session.started_at.unwrap_or(session.accepted_at)).into()),
                    ("state", session.state.as_str().into()),
                    ("size", self.carried(session, &person.language).into()),
                ],
            ));
            buttons.push(Button {
                label: self.say(&person.language, "button-bot-end", &[("number", number.into())]),
                act: Act { verb: Verb::End, subject: session.id.0 },
            });
        }
        let buttons = buttons.chunks(3).map(<[Button]>::to_vec).collect();
        Ok(Post { html: lines.join("\n\n"), buttons, open: false })
    }

    pub(super) async fn history(&self, person: &Person<'_>) -> Result<Post, StoreError> {
        let mut sessions = self.sessions_of(person, false).await?;
        sessions.truncate(LISTED);
        if sessions.is_empty() {
            return Ok(Post::text(self.say(&person.language, "bot-no-history", &[])));
        }
        let unknown = self.say(&person.language, "word-unknown", &[]);
        let mut lines = vec![self.say(&person.language, "bot-history", &[])];
        for session in &sessions {
            let end = match (session.state, session.decision.as_ref().map(|decision| decision.verdict)) {
                (State::Offered | State::Held | State::Permitting | State::Permitted | State::Evicting, _) => "open",
                (_, Some(Verdict::Denied)) => "denied",
                (_, Some(Verdict::Approved)) => "confirmed",
                (_, None) if session.permitted_at.is_some() => "confirmed",
                (_, None) => "unconfirmed",
            };
            let lasted = Duration::from_secs(session.counters.session_time);
            let time = self.parts.voice.messages.duration(&person.language, lasted);
            lines.push(self.say(
                &person.language,
                "bot-past",
                &[
                    ("nas", guest(session.nas.as_str()).into()),
                    ("from", caller(session, &unknown).into()),
                    ("at", person.zone.moment(session.accepted_at).into()),
                    ("end", end.into()),
                    ("time", time.into()),
                    ("size", self.carried(session, &person.language).into()),
                ],
            ));
        }
        Ok(Post::text(lines.join("\n")))
    }

    pub(super) async fn lang(&self, person: &Person<'_>, rest: &str) -> Result<Post, StoreError> {
        let tags = self.parts.voice.messages.languages();
        let languages = tags.iter().map(Language::as_str).collect::<Vec<_>>().join(", ");
        let mut language = person.language.clone();
        if !rest.is_empty() {
            let mut preferences = self.preferences(person.by.approver, &person.by.chat).await?;
            preferences.language = match rest {
                "auto" => None,
                tag => match tag.parse() {
                    Ok(chosen) if self.parts.voice.messages.speaks(&chosen) => Some(chosen),
                    _ => {
                        let say = self.say(&language, "bot-lang-unknown", &[("languages", languages.into())]);
                        return Ok(Post::text(say));
                    }
                },
            };
            self.parts.store.set_preferences(person.by.approver, &person.by.chat, &preferences).await?;
            let heard = heard(person.by.language.as_deref());
            language = self.parts.voice.tone_of(&preferences, heard.as_ref()).language().clone();
        }
        let arguments = [("language", language.as_str().into()), ("languages", languages.into())];
        Ok(Post::text(self.say(&language, "bot-lang", &arguments)))
    }

    pub(super) async fn quiet(&self, person: &Person<'_>, rest: &str) -> Result<Post, StoreError> {
        let mut preferences = self.preferences(person.by.approver, &person.by.chat).await?;
        // Without a word it is turned over only when somebody says which way: a repetition must come to the same.
        let wanted = match rest.to_lowercase().as_str() {
            "on" => true,
            "off" => false,
            _ => preferences.quiet,
        };
        if wanted != preferences.quiet {
            preferences.quiet = wanted;
            self.parts.store.set_preferences(person.by.approver, &person.by.chat, &preferences).await?;
        }
        let quiet = if wanted { "on" } else { "off" };
        Ok(Post::text(self.say(&person.language, "bot-quiet", &[("quiet", quiet.into())])))
    }

    pub(super) async fn zone(&self, person: &Person<'_>, rest: &str) -> Result<Post, StoreError> {
        let mut zone = person.zone;
        if !rest.is_empty() {
            let Ok(chosen) = rest.parse() else {
                return Ok(Post::text(self.say(&person.language, "bot-zone-unknown", &[])));
            };
            let mut preferences = self.preferences(person.by.approver, &person.by.chat).await?;
            preferences.zone = Some(chosen);
            self.parts.store.set_preferences(person.by.approver, &person.by.chat, &preferences).await?;
            zone = chosen;
        }
        let arguments = [("zone", guest(zone.as_str()).into()), ("now", zone.moment(clock::now()).into())];
        Ok(Post::text(self.say(&person.language, "bot-zone", &arguments)))
    }

    /// Ends a session of the person's own, whatever the button says: whose it is, the store knows.
    pub(super) async fn end(&self, person: &Person<'_>, subject: Uuid, again: bool) -> Result<ActReply, StoreError> {
        let language = &person.language;
        let session = self.parts.store.sessions_by_id(&[SessionId(subject)]).await?.pop();
        let Some(session) = session.filter(|session| person.users.contains(&session.user)) else {
            return Ok(self.note(language, "answer-bot-not-yours", &[]));
        };
        match self.kick(person, &session, "session.end", again).await? {
            Some(true) => Ok(ActReply { alert: false, ..self.note(language, "answer-bot-ending", &[]) }),
            Some(false) => Ok(ActReply { then: Then::Spent, ..self.note(language, "answer-bot-over", &[]) }),
            None => Ok(self.note(language, "answer-bot-later", &[])),
        }
    }

    /// Has a session ended, and puts that on record with it. `false` when it is over or being ended already; `None` when nothing was kept.
    pub(super) async fn kick(
        &self,
        person: &Person<'_>,
        session: &Session,
        act: &str,
        again: bool,
    ) -> Result<Option<bool>, StoreError> {
        let event = Event::Kicked(Denial::by_operator(person.who()));
        let detail = format!("session {} on {}", session.id, session.nas);
        let act = person.act(clock::now(), act, &session.user, detail);
        let timing = self.parts.settings.current().timing;
        // Past the ledger: the end and the act are one transaction, as on the command line.
        let told = match apply(&*self.parts.store, session.id, &event, Some(&act), clock::now, &timing).await {
            Ok(applied) => applied.map(|(_, told)| told),
            Err(StoreError::Away(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        if told == Some(Told::Done) {
            self.parts.new_orders.call_all();
        }
        // One that was cut off behind it is on its way, and on record.
        Ok(Some(told == Some(Told::Done) || (again && session.state == State::Evicting)))
    }

    /// What it carried, both directions together.
    pub(super) fn carried(&self, session: &Session, language: &Language) -> String {
        let carried = session.counters.input_octets.saturating_add(session.counters.output_octets);
        self.parts.voice.messages.size(language, carried)
    }

    async fn sessions_of(&self, person: &Person<'_>, open: bool) -> Result<Vec<Session>, StoreError> {
        let mut all = Vec::new();
        for user in &person.users {
            let limit = u32::try_from(LISTED).unwrap_or(u32::MAX);
            let query = SessionQuery { open, user: Some(user.clone()), limit, ..SessionQuery::default() };
            all.extend(self.parts.store.sessions(&query).await?);
        }
        all.sort_by_key(|session| std::cmp::Reverse(session.accepted_at));
        Ok(all)
    }
}
