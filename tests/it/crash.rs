//! `kill -9` at ten random moments: every session ends exactly as it would have without.
//!
//! Judged at the NAS (a simulated one that speaks UDP and knows only what came over the wire) and in the store. The verdict does
//! not depend on when the kills come: people press early in a window much longer than all the time the server is away, in
//! the store itself as an operator does, so that a press counts while the server is down; and one that finds no session
//! yet is made again, as a person would.

use std::collections::{BTreeMap, BTreeSet};
use std::net::UdpSocket;
use std::sync::Arc;
use std::time::Duration;

use radhold::app::{apply, clock};
use radhold::cli::demo::nas::{Credentials, Login, Seen, Settings, SimulatedNas, What, terminate_cause};
use radhold::model::SessionId;
use radhold::radius::{Code, Packet, attribute};
use radhold::session::{Approval, Denial, Event, Timing, Told};
use radhold::store::{self, Store, StoreError};
use serde_json::Value;
use tokio::sync::mpsc;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{Instant, sleep, timeout};
use uuid::Uuid;

use crate::chance::Chance;
use crate::postgres::Database;
use crate::radhold::{Radhold, message};

const SECRET: &str = "a secret of twenty-odd octets";
const PASSWORD: &str = "s3cret-pass";
const WINDOW: Duration = Duration::from_secs(15);
/// How long anything may take on a machine that does much else; whoever waits so long has failed.
const LONGEST: Duration = Duration::from_secs(120);
const KILLS: usize = 10;
/// Of each fate.
const LOGINS: usize = 8;

/// What a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Approved,
    Denied,
    Left,
}

/// A login, and what became of it.
#[derive(Debug)]
struct Life {
    fate: Fate,
    user: String,
    port: u32,
    /// By its Class.
    session: SessionId,
}

/// The times that [`serve`] configures.
fn timing() -> Timing {
    Timing {
        start_within: Duration::from_secs(8),
        retry_first: Duration::from_millis(300),
        retry_most: Duration::from_secs(1),
        stop_patience: Duration::from_secs(1),
        ..Timing::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_change_how_no_session_ends_on_sqlite() {
    play(None).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_kills_change_how_no_session_ends_on_postgresql() {
    let database = Database::create().await;
    play(Some(database.url())).await;
}

async fn play(postgres: Option<&str>) {
    let mut chance = Chance::seeded("kills");
    let dynauth = UdpSocket::bind("127.0.0.1:0").unwrap();
    let coa_port = dynauth.local_addr().unwrap().port();
    let radhold = block_in_place(|| serve(postgres, coa_port));
    let sqlite = format!("sqlite://{}", radhold.path("state/radhold.sqlite").display());
    let store = store::open(postgres.unwrap_or(&sqlite)).await.unwrap();
    let settings = Settings {
        auth: radhold.auth,
        accounting: radhold.accounting,
        dynauth,
        secret: SECRET.into(),
        identifier: "lab".to_owned(),
        retry_after: Duration::from_millis(250),
        access_tries: 1000,
    };
    let (nas, seen) = SimulatedNas::start(settings).unwrap();
    let nas = Arc::new(nas);

    let mut people = JoinSet::new();
    for nth in 0..LOGINS {
        for fate in [Fate::Approved, Fate::Denied, Fate::Left] {
            people.spawn(live(fate, nth, Arc::clone(&nas), Arc::clone(&store), chance.fork()));
        }
    }
    let mut killer = chance.fork();
    let killing = tokio::task::spawn_blocking(move || kill_and_restart(radhold, &mut killer));
    let radhold = killing.await.unwrap();
    let mut lives = Vec::new();
    while let Some(life) = people.join_next().await {
        // Shown with what the server has to say of it.
        lives.push(life.unwrap_or_else(|error| panic!("{error}: {:#?}", complaints(&radhold))));
    }
    judge(&radhold, &nas, seen, &lives).await;
}

fn serve(postgres: Option<&str>, coa_port: u16) -> Radhold {
    let store = postgres.map(|url| format!("[store]\nurl = \"{url}\"")).unwrap_or_default();
    let radhold = Radhold::start(&format!(
        r#"
        {store}
        [server]
        reject_delay = "0s"
        [hold]
        window = "{}s"
        grace = "10m"
        start_within = "8s"
        retry_first = "300ms"
        retry_most = "1s"
        stop_patience = "1s"
        [dynauth]
        initial_timeout = "200ms"
        retries = 2
        max_timeout = "400ms"
        total = "1s"
        [nas.lab]
        address = "127.0.0.1"
        secret = "{SECRET}"
        coa_port = {coa_port}
        "#,
        WINDOW.as_secs()
    ));
    for nth in 0..LOGINS {
        radhold.add_user(&user(nth), PASSWORD, &["--store-as", "clear"]);
    }
    radhold
}

/// What is worth a look: starts, and what went wrong.
fn complaints(radhold: &Radhold) -> Vec<Value> {
    let worth = |line: &Value| line["level"] != "INFO" || message(line) == "radhold is ready";
    radhold.log().into_iter().filter(worth).collect()
}

fn user(nth: usize) -> String {
    format!("user{nth}")
}

fn kill_and_restart(mut radhold: Radhold, chance: &mut Chance) -> Radhold {
    for _ in 0..KILLS {
        std::thread::sleep(milliseconds(chance, 1100));
        radhold.kill();
        std::thread::sleep(milliseconds(chance, 200));
        radhold.restart();
    }
    radhold
}

fn milliseconds(chance: &mut Chance, limit: usize) -> Duration {
    Duration::from_millis(chance.below(limit).try_into().unwrap())
}

/// Logs somebody in at some moment, carries octets, reports them, and presses or does not.
async fn live(fate: Fate, nth: usize, nas: Arc<SimulatedNas>, store: Arc<dyn Store>, mut chance: Chance) -> Life {
    let user = user(nth);
    let credentials = chance.pick(&[Credentials::Pap, Credentials::Chap, Credentials::MsChapV2])(PASSWORD.to_owned());
    let calling_station_id = format!("192.0.2.{}", 10 * nth + fate as usize);
    sleep(milliseconds(&mut chance, 6000)).await;
    let login = nas.login(&user, &calling_station_id, &credentials).await.unwrap();
    let Login::Accepted { port } = login else { panic!("{user}: {login:?}") };
    let session = session_of(&nas.session(port).unwrap().classes[0]);
    let (mut presser, traffic) = (chance.fork(), carry_and_report(&nas, port, chance));
    let pressing = async {
        let event = match fate {
            Fate::Approved => Event::Approved(Approval::by_operator("night-shift")),
            Fate::Denied => Event::Denied(Denial::by_operator("night-shift")),
            Fate::Left => return,
        };
        sleep(milliseconds(&mut presser, 2000)).await;
        press(&*store, session, &event).await;
    };
    tokio::join!(pressing, traffic);
    Life { fate, user, port, session }
}

/// Class, which the NAS does not understand, holds the session's id (`session::class`).
fn session_of(class: &[u8]) -> SessionId {
    SessionId(Uuid::from_slice(&class[4..20]).unwrap())
}

async fn carry_and_report(nas: &SimulatedNas, port: u32, mut chance: Chance) {
    nas.start_accounting(port).await.unwrap();
    for _ in 0..5 {
        sleep(milliseconds(&mut chance, 1500)).await;
        if !nas.session(port).unwrap().is_up() {
            return;
        }
        // Past 32 bits soon.
        nas.carry(port, u64::from(u16::from_be_bytes(chance.octets())), u64::from(u32::from_be_bytes(chance.octets())));
        nas.interim(port).await.unwrap();
    }
}

/// Presses until the press is taken: the session may not have reached the store yet.
async fn press(store: &dyn Store, session: SessionId, event: &Event) {
    let begun = Instant::now();
    loop {
        let pressed = apply(store, session, event, None, clock::now, &timing()).await;
        match pressed {
            Ok(Some((_, Told::Done))) => return,
            Ok(None) | Err(StoreError::Away(_)) if begun.elapsed() < LONGEST => sleep(Duration::from_millis(50)).await,
            other => panic!("{session} after {:?}: {other:#?}", begun.elapsed()),
        }
    }
}

async fn judge(radhold: &Radhold, nas: &SimulatedNas, mut seen: mpsc::UnboundedReceiver<Seen>, lives: &[Life]) {
    let show = |life: &Life| format!("{life:?} at the NAS {:?}, log {:#?}", nas.session(life.port), radhold.log());
    for life in lives {
        let ended = nas.until(life.port, |session| match life.fate {
            Fate::Approved => session.filter.as_deref() == Some("permit"),
            Fate::Denied | Fate::Left => session.stop_answered,
        });
        timeout(LONGEST, ended).await.unwrap_or_else(|_| panic!("{}", show(life)));
    }
    let settled = |sessions: &BTreeMap<SessionId, Value>| {
        lives.iter().all(|life| sessions.get(&life.session).is_some_and(|session| session["state"] == wanted(life)))
            && sessions
                .values()
                .all(|session| ["permitted", "closed", "dropped"].iter().any(|at| session["state"] == *at))
    };
    let sessions = until_sessions(radhold, settled).await;

    // Whoever was let through hangs up, after one more report.
    for life in lives.iter().filter(|life| life.fate == Fate::Approved) {
        assert!(nas.session(life.port).unwrap().is_up(), "{}", show(life));
        nas.carry(life.port, 1, 1);
        nas.interim(life.port).await.unwrap();
        nas.stop(life.port, terminate_cause::USER_REQUEST).await.unwrap();
    }
    let over = |sessions: &BTreeMap<SessionId, Value>| {
        sessions.values().all(|session| ["closed", "dropped"].iter().any(|at| session["state"] == *at))
    };
    let ended = until_sessions(radhold, over).await;

    let mut log = Vec::new();
    while let Ok(seen) = seen.try_recv() {
        log.push(seen);
    }
    for life in lives {
        at_the_nas(life, nas, &log);
        in_the_store(radhold, life, &sessions[&life.session], &ended[&life.session], reported(&log, life.port));
    }
    // An Access-Accept that was lost with the server left an offer behind; nobody took it up, and it is over.
    let known: BTreeSet<_> = lives.iter().map(|life| &life.session).collect();
    assert_eq!(known.len(), lives.len(), "each login is a session of its own");
    for (id, session) in ended.iter().filter(|(id, _)| !known.contains(id)) {
        assert_eq!((&session["state"], &session["permitted_at"]), (&"dropped".into(), &Value::Null), "{id}");
    }
}

fn wanted(life: &Life) -> &'static str {
    if life.fate == Fate::Approved { "permitted" } else { "closed" }
}

/// What the NAS did to a session.
fn at_the_nas(life: &Life, nas: &SimulatedNas, log: &[Seen]) {
    let filters: Vec<_> = log.iter().filter(|seen| seen.port == Some(life.port)).filter_map(filter_of).collect();
    let (expected, cause) = match life.fate {
        Fate::Approved => (&["sandbox", "permit"][..], terminate_cause::USER_REQUEST),
        // By Disconnect-Request.
        Fate::Denied | Fate::Left => (&["sandbox"][..], terminate_cause::ADMIN_RESET),
    };
    assert_eq!(filters, expected, "{life:?}");
    assert_eq!(nas.session(life.port).unwrap().ended, Some(cause), "{life:?}");
}

fn filter_of(seen: &Seen) -> Option<&str> {
    match &seen.what {
        What::Filter { to, .. } => to.as_deref(),
        _ => None,
    }
}

/// The most octets that any Accounting-Request of a session reported; all of them were answered.
fn reported(log: &[Seen], port: u32) -> (u64, u64) {
    let octets = |packet: &Packet<'_>, low, gigawords| {
        u64::from(packet.integer(low).unwrap_or(0)) | u64::from(packet.integer(gigawords).unwrap_or(0)) << 32
    };
    log.iter()
        .filter(|seen| seen.port == Some(port) && matches!(seen.what, What::Sent { .. }))
        .filter_map(Seen::packet)
        .filter(|packet| packet.code() == Code::AccountingRequest)
        .map(|packet| {
            (
                octets(&packet, attribute::ACCT_INPUT_OCTETS, attribute::ACCT_INPUT_GIGAWORDS),
                octets(&packet, attribute::ACCT_OUTPUT_OCTETS, attribute::ACCT_OUTPUT_GIGAWORDS),
            )
        })
        .max()
        .unwrap()
}

/// What the store says of a session when it had settled, and in the end.
fn in_the_store(radhold: &Radhold, life: &Life, settled: &Value, ended: &Value, reported: (u64, u64)) {
    let (verdict, permitted) = match life.fate {
        Fate::Approved => ("approved".into(), true),
        Fate::Denied => ("denied".into(), false),
        Fate::Left => (Value::Null, false),
    };
    assert_eq!(settled["decision"]["verdict"], verdict, "{settled:#}");
    assert_eq!(settled["permitted_at"].is_string(), permitted, "{settled:#}");
    assert_eq!((&ended["state"], &ended["end"]["cause"]), (&"closed".into(), &"stop".into()), "{ended:#}");
    assert_eq!(ended["user"], life.user);
    if life.fate == Fate::Left {
        let (deadline, evicted) = (ended["deadline"].as_str().unwrap(), ended["evicting_since"].as_str().unwrap());
        assert!(deadline <= evicted, "not before the deadline: {ended:#}");
    }

    let shown = radhold.cli(&["session", "show", &life.session.to_string(), "--json"], "");
    let shown: Value = serde_json::from_str(&shown.stdout).unwrap();
    let octets =
        |counters: &Value| (counters["input_octets"].as_u64().unwrap(), counters["output_octets"].as_u64().unwrap());
    assert_eq!(octets(&shown["counters"]), reported, "{life:?}");
    let rows = shown["usage"].as_array().unwrap();
    let sum = rows.iter().map(|row| octets(&row["added"])).fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1));
    assert_eq!(sum, reported, "{life:?}: {rows:#?}");
}

/// Waits until all sessions are so; by id.
async fn until_sessions(
    radhold: &Radhold,
    so: impl Fn(&BTreeMap<SessionId, Value>) -> bool,
) -> BTreeMap<SessionId, Value> {
    let begun = Instant::now();
    loop {
        let sessions = block_in_place(|| radhold.sessions()).into_iter();
        let sessions = sessions.map(|session| (session["id"].as_str().unwrap().parse().unwrap(), session)).collect();
        if so(&sessions) {
            return sessions;
        }
        assert!(begun.elapsed() < LONGEST, "never: {sessions:#?} {:#?}", radhold.log());
        sleep(Duration::from_millis(100)).await;
    }
}
