//! The three logins, played: by itself, or with your hand on the keys.
//!
//! Decides like an operator does: through the store, by compare-and-set.

use std::io::BufRead as _;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::app::{apply, clock};
use crate::model::UserName;
use crate::session::{Approval, Denial, Event, Told};
use crate::store::SessionQuery;

use super::nas::{Login, NasError, terminate_cause};
use super::stage::{ALICE, BOB, CAROL, Person, Stage};
use super::timeline::Timeline;
use crate::cli::failure::Failure;

/// A pause in which one can see what happens.
const BEAT: Duration = Duration::from_millis(400);
/// How long the NAS may wait for what must follow at once.
const SOON: Duration = Duration::from_secs(5);
/// Who decides, as the store keeps it.
const OPERATOR: &str = "demo";

/// The play on its stage.
pub(super) struct Play<'a> {
    stage: &'a Stage,
    timeline: &'a Timeline,
    actors: Vec<Actor>,
}

struct Actor {
    person: Person,
    port: u32,
    /// When the hold runs out: a moment early, for the server counts from its Access-Accept.
    deadline: Instant,
    /// What somebody said, once somebody did, or the deadline has passed.
    answer: Option<&'static str>,
}

/// What became of a login.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub(super) struct Outcome {
    /// User-Name.
    pub(super) login: &'static str,
    /// By which method.
    pub(super) method: &'static str,
    /// What somebody said.
    pub(super) answer: &'static str,
    /// The filter in force at the end.
    pub(super) filter_id: Option<String>,
    /// Acct-Terminate-Cause.
    pub(super) terminate_cause: Option<u32>,
    /// Whether the NAS got an Accounting-Response to its Stop.
    pub(super) stop_answered: bool,
}

impl<'a> Play<'a> {
    pub(super) fn new(stage: &'a Stage, timeline: &'a Timeline) -> Self {
        Self { stage, timeline, actors: Vec::new() }
    }

    /// Presses by itself.
    pub(super) async fn auto(&mut self) -> Result<(), Failure> {
        self.log_in().await?;
        let [alice, bob, carol] = [ALICE, BOB, CAROL].map(|person| self.port(person));
        let nas = &self.stage.nas;

        sleep(BEAT).await;
        self.approve(ALICE).await?;
        soon(
            "alice's CoA-Request",
            nas.until(alice, |session| session.acknowledged && session.filter.as_deref() == Some("permit")),
        )
        .await?;
        self.interim(alice).await?;

        sleep(BEAT).await;
        self.deny(BOB).await?;
        soon("bob's Disconnect-Request", nas.until(bob, |session| session.stop_answered)).await?;

        while let Some(deadline) = self.next_deadline() {
            sleep_until(deadline).await;
            self.note_deadlines();
        }
        soon("carol's Disconnect-Request", nas.until(carol, |session| session.stop_answered)).await?;

        // Alice's own deadline has passed just before; she is there to stay.
        sleep(BEAT).await;
        self.interim(alice).await?;
        self.hang_up(ALICE).await
    }

    /// Waits for keys, until all is decided or somebody interrupts.
    pub(super) async fn by_hand(
        &mut self,
        interrupted: impl Future<Output = Result<(), Failure>>,
    ) -> Result<(), Failure> {
        tokio::pin!(interrupted);
        self.log_in().await?;
        let [alice, bob, carol] = [ALICE, BOB, CAROL].map(|person| self.port(person));
        let nas = &self.stage.nas;
        let over = async {
            nas.until(bob, |session| session.stop_answered).await;
            nas.until(carol, |session| session.stop_answered).await;
            nas.until(alice, |session| session.stop_answered || session.filter.as_deref() == Some("permit")).await;
        };
        tokio::pin!(over);
        let mut keys = keys();
        loop {
            let deadline = self.next_deadline();
            tokio::select! {
                () = &mut over => break,
                () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => self.note_deadlines(),
                key = keys.recv() => match key {
                    Some('a') => self.approve(ALICE).await?,
                    Some('d') => self.deny(BOB).await?,
                    Some('q') | None => break,
                    Some(_) => self.timeline.note(None, "press a, d or q, then Enter"),
                },
                interrupted = &mut interrupted => {
                    interrupted?;
                    break;
                }
            }
        }
        for person in [ALICE, BOB, CAROL] {
            if nas.session(self.port(person)).is_some_and(|session| session.is_up()) {
                self.hang_up(person).await?;
            }
        }
        Ok(())
    }

    /// What became of each login so far.
    pub(super) fn results(&self) -> Vec<Outcome> {
        let outcome = |actor: &Actor| {
            let session = self.stage.nas.session(actor.port);
            Outcome {
                login: actor.person.name,
                method: actor.person.credentials().method(),
                answer: actor.answer.unwrap_or("none"),
                filter_id: session.as_ref().and_then(|session| session.filter.clone()),
                terminate_cause: session.as_ref().and_then(|session| session.ended),
                stop_answered: session.is_some_and(|session| session.stop_answered),
            }
        };
        self.actors.iter().map(outcome).collect()
    }

    async fn log_in(&mut self) -> Result<(), Failure> {
        for person in [ALICE, BOB, CAROL] {
            let nas = &self.stage.nas;
            self.timeline.note(Some(person.name), &format!("{} logs in", person.name));
            let deadline = Instant::now() + self.stage.window;
            let login = nas.login(person.name, person.calling_station_id, &person.credentials()).await?;
            let Login::Accepted { port } = login else {
                return Err(Failure::failed(format!("{} is not let in", person.name)));
            };
            self.actors.push(Actor { person, port, deadline, answer: None });
            soon("the Accounting-Response", nas.start_accounting(port)).await??;
        }
        Ok(())
    }

    async fn approve(&mut self, person: Person) -> Result<(), Failure> {
        let event = Event::Approved(Approval::by_operator(OPERATOR));
        self.decide(person, &event, "approved").await
    }

    async fn deny(&mut self, person: Person) -> Result<(), Failure> {
        let event = Event::Denied(Denial::by_operator(OPERATOR));
        self.decide(person, &event, "denied").await
    }

    /// As `radhold session approve` and `deny` do it.
    async fn decide(&mut self, person: Person, event: &Event, word: &'static str) -> Result<(), Failure> {
        let store = self.stage.store();
        let query = SessionQuery { user: Some(UserName::from(person.name)), limit: 1, ..SessionQuery::default() };
        let Some(session) = store.sessions(&query).await?.pop() else {
            return Err(Failure::failed(format!("there is no session of {} in the store", person.name)));
        };
        // Said first, for what follows from it may be on the wire before the store has told us that it is done.
        self.timeline.note(Some(person.name), &format!("the operator: {} is {word}", person.name));
        let step = apply(store, session.id, event, None, clock::now, &self.stage.timing).await?;
        let late = match step.map(|(_, told)| told) {
            Some(Told::Done) => {
                if let Some(actor) = self.actors.iter_mut().find(|actor| actor.person == person) {
                    actor.answer = Some(word);
                }
                return Ok(());
            }
            Some(Told::AlreadyDecided(verdict)) => format!("too late: {} is {verdict} already", person.name),
            Some(Told::AlreadyExpired) => format!("too late: {}'s deadline has passed", person.name),
            _ => format!("too late: {}'s session is over", person.name),
        };
        self.timeline.note(Some(person.name), &late);
        Ok(())
    }

    async fn interim(&self, port: u32) -> Result<(), Failure> {
        self.stage.nas.carry(port, 12_000, 480_000);
        Ok(soon("the Accounting-Response", self.stage.nas.interim(port)).await??)
    }

    async fn hang_up(&self, person: Person) -> Result<(), Failure> {
        self.timeline.note(Some(person.name), &format!("{} hangs up", person.name));
        let stop = self.stage.nas.stop(self.port(person), terminate_cause::USER_REQUEST);
        Ok(soon("the Accounting-Response", stop).await??)
    }

    /// When the next hold runs out that nobody has answered.
    fn next_deadline(&self) -> Option<Instant> {
        self.actors.iter().filter(|actor| actor.answer.is_none()).map(|actor| actor.deadline).min()
    }

    fn note_deadlines(&mut self) {
        let now = Instant::now();
        for actor in self.actors.iter_mut().filter(|actor| actor.answer.is_none() && actor.deadline <= now) {
            actor.answer = Some("nobody answered");
            let name = actor.person.name;
            self.timeline.note(Some(name), &format!("{name} did not answer, and the deadline has come"));
        }
    }

    fn port(&self, person: Person) -> u32 {
        // No session has NAS-Port 0, so nothing comes of a person who is not in.
        self.actors.iter().find(|actor| actor.person == person).map_or(0, |actor| actor.port)
    }
}

impl From<NasError> for Failure {
    fn from(error: NasError) -> Self {
        Self::failed(format!("the simulated NAS: {error}"))
    }
}

async fn soon<T>(what: &str, done: impl Future<Output = T>) -> Result<T, Failure> {
    timeout(SOON, done)
        .await
        .map_err(|_| Failure::failed(format!("{what} did not come within {} seconds", SOON.as_secs())))
}

/// The first letter of each line typed. A thread of its own: a terminal cannot be waited for otherwise, and it may
/// wait for ever.
fn keys() -> mpsc::UnboundedReceiver<char> {
    let (sender, receiver) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines() {
            let Ok(line) = line else { break };
            let key = line.trim().chars().next().map_or(' ', |key| key.to_ascii_lowercase());
            if sender.send(key).is_err() {
                break;
            }
        }
    });
    receiver
}
