//! What administrators see and do. That somebody is one was seen by who calls this, just before.

use std::time::Duration;

use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::lines::{caller, guest, printable, short};
use super::{Desk, Person, Said};
use crate::app::clock;
use crate::approver::{ActReply, Button, Post, Then, Tone};
use crate::model::{EnrolmentId, Language, SessionId, Timestamp};
use crate::policy::{self, Ban, BanReason, BanTarget, Caller, Standing, Strike};
use crate::session::{Act, Approval, Event, Session, State, Told, Verb};
use crate::store::{SessionQuery, StoreError};

/// How many of something are listed with buttons.
const LISTED: usize = 10;
/// How many are counted.
const COUNTED: u32 = 1000;
/// Ids are found among so many open sessions, the newest.
const SEARCHED: u32 = 10_000;
/// Fewer characters of an id than this are a slip of the finger.
const PART_LEAST: usize = 4;

impl Desk {
    /// Answers an administrator's command, by silence when it is a repetition; `None` when it is none.
    pub(super) async fn administrators_command(
        &self,
        update: i64,
        person: &Person<'_>,
        said: &Said<'_>,
    ) -> Result<Option<Option<Post>>, StoreError> {
        let post = match said.command.as_str() {
            "held" => self.held(person).await?,
            "online" => self.online(person).await?,
            "bans" => self.bans(person).await?,
            "stats" => self.stats(person).await?,
            "permit" | "kick" | "enrol" => {
                return self.once(update, person.by, |again| self.command_to_act(person, said, again)).await.map(Some);
            }
            "help" | "start" if said.rest.is_empty() && person.users.is_empty() => self.help(person),
            _ => return Ok(None),
        };
        Ok(Some(Some(post)))
    }

    async fn command_to_act(&self, person: &Person<'_>, said: &Said<'_>, again: bool) -> Result<Post, StoreError> {
        let language = &person.language;
        let kick = match said.command.as_str() {
            "enrol" => return self.make_link(person, said.rest).await,
            command => command == "kick",
        };
        if said.rest.is_empty() {
            return Ok(Post::text(self.say(language, if kick { "bot-kick-how" } else { "bot-permit-how" }, &[])));
        }
        let Some(session) = self.find(said.rest).await? else {
            return Ok(Post::text(self.say(language, "bot-no-such-session", &[])));
        };
        let done = match kick {
            true => self.kick(person, &session, "session.kick", again).await?,
            false => self.permit(person, &session, again).await?.map(|told| told == Told::Done),
        };
        let id = match (done, kick) {
            (None, _) => "bot-later",
            (Some(false), _) => "bot-not-done",
            (Some(true), true) => "bot-done-kick",
            (Some(true), false) => "bot-done-permit",
        };
        Ok(Post::text(self.say(language, id, &[])))
    }

    /// Does what an administrator's button asks for.
    pub(super) async fn administer(&self, person: &Person<'_>, act: Act, again: bool) -> Result<ActReply, StoreError> {
        let language = &person.language;
        match act.verb {
            Verb::ConfirmBinding => return self.decide_enrolment(person, EnrolmentId(act.subject), true).await,
            Verb::RefuseBinding => return self.decide_enrolment(person, EnrolmentId(act.subject), false).await,
            Verb::LiftBan => return self.lift(person, act.subject).await,
            _ => {}
        }
        let session = self.parts.store.sessions_by_id(&[SessionId(act.subject)]).await?.pop();
        let Some(session) = session else { return Ok(self.note(language, "answer-bot-over", &[])) };
        match act.verb {
            Verb::Permit => {
                let id = match self.permit(person, &session, again).await? {
                    None => "answer-bot-later",
                    Some(Told::Done) => "answer-bot-permitting",
                    Some(Told::NotHeld) => "answer-bot-not-held",
                    Some(Told::SessionOver | Told::Nothing) => "answer-bot-over",
                    Some(_) => "answer-bot-decided",
                };
                Ok(ActReply { alert: id != "answer-bot-permitting", ..self.note(language, id, &[]) })
            }
            Verb::Kick => {
                let id = match self.kick(person, &session, "session.kick", again).await? {
                    None => "answer-bot-later",
                    Some(true) => "answer-bot-ending",
                    Some(false) => "answer-bot-over",
                };
                Ok(ActReply { alert: id != "answer-bot-ending", ..self.note(language, id, &[]) })
            }
            Verb::BanCaller => self.ban_caller(person, &session).await,
            _ => self.ban(person, BanTarget::Account(session.user.clone()), &session).await,
        }
    }

    async fn permit(&self, person: &Person<'_>, session: &Session, again: bool) -> Result<Option<Told>, StoreError> {
        let event = Event::Approved(Approval::by_operator(person.who()));
        let told = self.parts.ledger.fact(session.id, event, None).await;
        // The decision is on record with the session; a repetition finds it there.
        let ours = session.decision.as_ref().is_some_and(|decision| decision.by.who == person.who());
        Ok(match told {
            Some(Told::AlreadyDecided(_)) if again && ours => Some(Told::Done),
            told => told,
        })
    }

    async fn held(&self, person: &Person<'_>) -> Result<Post, StoreError> {
        let query = SessionQuery {
            open: true,
            state: Some(State::Held),
            limit: u32::try_from(LISTED).unwrap_or(u32::MAX),
            ..SessionQuery::default()
        };
        let (held, now) = (self.parts.store.sessions(&query).await?, clock::now());
        let waiting = self.parts.store.enrolments_waiting(now).await?;
        if held.is_empty() && waiting.is_empty() {
            return Ok(Post::text(self.say(&person.language, "bot-no-held", &[])));
        }
        let unknown = self.say(&person.language, "word-unknown", &[]);
        let (mut lines, mut buttons) = (vec![self.say(&person.language, "bot-held", &[])], Vec::new());
        for (place, session) in held.iter().enumerate() {
            let number = place + 1;
            let left = session.deadline.map_or(0, |deadline| deadline.since(now).as_secs());
            lines.push(self.say(
                &person.language,
                "bot-held-one",
                &[
                    ("number", number.into()),
                    ("user", guest(session.user.as_str()).into()),
                    ("nas", guest(session.nas.as_str()).into()),
                    ("from", caller(session, &unknown).into()),
                    ("left", left.into()),
                    ("id", short(session.id).into()),
                ],
            ));
            let button = |id: &str, verb| Button {
                label: self.say(&person.language, id, &[("number", number.into())]),
                act: Act { verb, subject: session.id.0 },
            };
            buttons.push(vec![button("button-bot-permit", Verb::Permit), button("button-bot-kick", Verb::Kick)]);
        }
        for enrolment in waiting.iter().take(LISTED) {
            let question = self.question_about(enrolment, &person.language);
            lines.push(question.html);
            buttons.extend(question.buttons);
        }
        Ok(Post { html: lines.join("\n\n"), buttons, open: true })
    }

    async fn online(&self, person: &Person<'_>) -> Result<Post, StoreError> {
        let online = self.in_state(State::Permitted).await?;
        if online.is_empty() {
            return Ok(Post::text(self.say(&person.language, "bot-no-online", &[])));
        }
        let unknown = self.say(&person.language, "word-unknown", &[]);
        let mut lines = vec![self.say(&person.language, "bot-online", &[("count", counted(online.len()).into())])];
        for session in online.iter().take(2 * LISTED) {
            lines.push(self.say(
                &person.language,
                "bot-online-one",
                &[
                    ("user", guest(session.user.as_str()).into()),
                    ("nas", guest(session.nas.as_str()).into()),
                    ("from", caller(session, &unknown).into()),
                    ("at", person.zone.moment(session.started_at.unwrap_or(session.accepted_at)).into()),
                    ("size", self.carried(session, &person.language).into()),
                    ("id", short(session.id).into()),
                ],
            ));
        }
        Ok(Post::text(lines.join("\n")))
    }

    async fn in_state(&self, state: State) -> Result<Vec<Session>, StoreError> {
        let query = SessionQuery { open: true, state: Some(state), limit: COUNTED, ..SessionQuery::default() };
        self.parts.store.sessions(&query).await
    }

    async fn bans(&self, person: &Person<'_>) -> Result<Post, StoreError> {
        let bans = self.bans_in_force().await?;
        if bans.is_empty() {
            return Ok(Post::text(self.say(&person.language, "bot-no-bans", &[])));
        }
        let (mut lines, mut buttons) = (vec![self.say(&person.language, "bot-bans", &[])], Vec::new());
        for (place, ban) in bans.iter().take(LISTED).enumerate() {
            let number = place + 1;
            let mut arguments = vec![
                ("number", number.into()),
                ("whom", guest(&ban.target.to_string()).into()),
                ("reason", self.reason(&person.language, ban).into()),
                ("by", guest(&ban.by).into()),
            ];
            lines.push(match ban.until {
                Some(until) => {
                    arguments.push(("until", person.zone.moment(until).into()));
                    self.say(&person.language, "bot-ban", &arguments)
                }
                None => self.say(&person.language, "bot-ban-lasting", &arguments),
            });
            buttons.push(Button {
                label: self.say(&person.language, "button-bot-lift", &[("number", number.into())]),
                act: Act { verb: Verb::LiftBan, subject: name_of(&ban.target) },
            });
        }
        let buttons = buttons.chunks(3).map(<[Button]>::to_vec).collect();
        Ok(Post { html: lines.join("\n"), buttons, open: true })
    }

    async fn bans_in_force(&self) -> Result<Vec<Ban>, StoreError> {
        let now = clock::now();
        let mut bans = self.parts.store.bans(Timestamp::default()).await?;
        bans.retain(|ban| ban.in_force(now));
        bans.sort_by_key(|ban| std::cmp::Reverse(ban.since));
        Ok(bans)
    }

    async fn lift(&self, person: &Person<'_>, subject: Uuid) -> Result<ActReply, StoreError> {
        let bans = self.bans_in_force().await?;
        let target = bans.into_iter().map(|ban| ban.target).find(|target| name_of(target) == subject);
        let lifted = match &target {
            Some(target) => {
                let act = person.act(clock::now(), "ban.lift", target, "");
                self.parts.store.lift_ban(target, &act).await?
            }
            None => false,
        };
        let id = if lifted { "answer-bot-lifted" } else { "answer-bot-no-ban" };
        Ok(ActReply { alert: !lifted, ..self.note(&person.language, id, &[]) })
    }

    async fn ban_caller(&self, person: &Person<'_>, session: &Session) -> Result<ActReply, StoreError> {
        let settings = self.parts.settings.current();
        let caller = session.identity.calling_station_id.as_deref().and_then(Caller::read);
        let Some(caller) = caller else { return Ok(self.note(&person.language, "answer-bot-no-caller", &[])) };
        let of_nas = settings.nases.named(session.nas.as_str()).map(|nas| nas.callers.clone()).unwrap_or_default();
        if policy::standing(&of_nas, &settings.callers, Some(&caller)) == Standing::Allowed {
            return Ok(self.note(&person.language, "answer-bot-allowed", &[]));
        }
        self.ban(person, BanTarget::of_caller(&caller), session).await
    }

    async fn ban(&self, person: &Person<'_>, target: BanTarget, session: &Session) -> Result<ActReply, StoreError> {
        let now = clock::now();
        // A second press, or another administrator's, must not make a longer ban shorter.
        if self.bans_in_force().await?.iter().any(|ban| ban.target == target) {
            return Ok(self.note(&person.language, "answer-bot-known", &[]));
        }
        let until = now + self.parts.settings.current().strikes.ban;
        let reason = BanReason::DeniedLogin(session.user.clone()).to_string();
        let act = person.act(now, "ban.add", &target, format!("{reason}; until {until}; session {}", session.id));
        let by = act.who.clone();
        let ban = Ban {
            target,
            since: now,
            until: Some(until),
            lifted_at: None,
            reason,
            by,
            automatic: false,
            forced: false,
        };
        self.parts.store.set_ban(&ban, &act).await?;
        let whom = printable(&ban.target.to_string());
        Ok(self.note(&person.language, "answer-bot-banned", &[("whom", whom.into())]))
    }

    async fn stats(&self, person: &Person<'_>) -> Result<Post, StoreError> {
        let held = self.in_state(State::Held).await?.len();
        let online = self.in_state(State::Permitted).await?.len();
        let bans = self.bans_in_force().await?.len();
        let cluster = self.parts.store.cluster().await?;
        let alive = cluster.nodes.iter().filter(|node| node.alive).count();
        let oldest = Duration::try_from_secs_f64(cluster.oldest_waiting_s).unwrap_or_default().as_secs();
        Ok(Post::text(self.say(
            &person.language,
            "bot-stats",
            &[
                ("held", counted(held).into()),
                ("online", counted(online).into()),
                ("bans", bans.into()),
                ("nodes", alive.into()),
                ("waiting", cluster.waiting_orders.into()),
                ("oldest", oldest.into()),
            ],
        )))
    }

    /// The one open session with that id, or with an id that begins or ends so.
    async fn find(&self, part: &str) -> Result<Option<Session>, StoreError> {
        if let Ok(id) = part.parse::<SessionId>() {
            return Ok(self.parts.store.sessions_by_id(&[id]).await?.pop());
        }
        let part = part.to_lowercase();
        if part.len() < PART_LEAST {
            return Ok(None);
        }
        let query = SessionQuery { open: true, limit: SEARCHED, ..SessionQuery::default() };
        let mut found = self.parts.store.sessions(&query).await?;
        found.retain(|session| {
            let id = session.id.to_string();
            id.starts_with(&part) || id.ends_with(&part)
        });
        Ok(found.pop().filter(|_| found.is_empty()))
    }

    /// What administrators are told of a denied login.
    pub(super) fn strike_notice(&self, strike: &Strike, tone: &Tone) -> Post {
        let button = |id: &str, verb| Button { label: tone.say(id, &[]), act: Act { verb, subject: strike.session.0 } };
        let caller = strike.caller.as_ref().map(|caller| guest(&caller.to_string()));
        let mut buttons = Vec::new();
        if caller.is_some() {
            buttons.push(button("button-bot-ban-caller", Verb::BanCaller));
        }
        buttons.push(button("button-bot-ban-account", Verb::BanAccount));
        let html = tone.say(
            "bot-strike",
            &[
                ("user", guest(strike.user.as_str()).into()),
                ("nas", guest(strike.nas.as_str()).into()),
                ("from", caller.unwrap_or_else(|| tone.say("word-unknown", &[])).into()),
                ("at", tone.zone().moment(strike.at).into()),
            ],
        );
        Post { html, buttons: vec![buttons], open: true }
    }

    /// Why somebody is banned, as HTML.
    fn reason(&self, language: &Language, ban: &Ban) -> String {
        match ban.why() {
            BanReason::Strikes(count) => self.say(language, "word-ban-strikes", &[("count", count.into())]),
            BanReason::DeniedLogin(user) => {
                self.say(language, "word-ban-denied-login", &[("user", guest(user.as_str()).into())])
            }
            BanReason::Said(reason) => guest(&reason),
        }
    }
}

/// The last reply of a button that is spent.
pub(super) fn spent(reply: ActReply, post: Post) -> ActReply {
    ActReply { then: Then::Become(post), ..reply }
}

/// A number for a target, by which a button names it.
fn name_of(target: &BanTarget) -> Uuid {
    let digest: [u8; 32] = Sha256::digest(format!("{}\0{}", target.kind(), target.value())).into();
    Uuid::from_slice(&digest[..16]).expect("sixteen octets of thirty-two")
}

fn counted(count: usize) -> String {
    match u32::try_from(count) {
        Ok(count) if count < COUNTED => count.to_string(),
        _ => format!("{COUNTED}+"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_have_numbers_of_their_own() {
        let read = |kind: &str, value: &str| name_of(&BanTarget::read(kind, value).unwrap());
        assert_eq!(read("address", "192.0.2.1"), read("address", "192.0.2.1/32"));
        assert_ne!(read("account", "alice"), read("station", "alice"));
    }

    #[test]
    fn what_is_not_counted_to_the_end_says_so() {
        assert_eq!((counted(999), counted(1000)), ("999".to_owned(), "1000+".to_owned()));
    }
}
