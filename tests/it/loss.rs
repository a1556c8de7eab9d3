//! The loss test: what was acknowledged is there, once, to the byte, whatever was killed, stopped or cut meanwhile.
//!
//! Many NASes send logins, Start, Interim-Update and Stop to a real `radhold serve`, each packet until it is answered, and
//! remember what was; some are cut off in the midst of a session. The server is killed with `kill -9`, PostgreSQL is stopped with `-m immediate`, the link between them is
//! cut. The verdict is SQL alone. `RADHOLD_TEST_LOSS=long` makes it twenty kills, five stops and four cuts.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use radhold::radius::hiding::hide_user_password;
use radhold::radius::{Code, Packet, PacketBuilder, attribute};
use tokio::net::UdpSocket;
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::radhold::Radhold;

const SECRET: &str = "a secret of twenty-odd octets";
const PASSWORD: &str = "s3cret-pass";
const USERS: usize = 8;
/// A NAS asks again after so long.
const AGAIN: Duration = Duration::from_millis(400);
/// Whoever waits so long has failed.
const LONGEST: Duration = Duration::from_secs(180);

// -- what is done to it

/// How much.
#[derive(Debug, Clone, Copy)]
struct Plan {
    kills: usize,
    stops: usize,
    cuts: usize,
    load: Load,
}

/// How much is sent.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Load {
    /// Sessions at a time.
    nases: usize,
    /// Records acknowledged between two blows, at least.
    records: u64,
}

impl Load {
    /// What fits among the other tests.
    pub(crate) const SHORT: Self = Self { nases: 64, records: 200 };
    /// A load of its own: a release build takes thousands of its records a second.
    pub(crate) const LONG: Self = Self { nases: 512, records: 5000 };
}

impl Plan {
    fn chosen([kills, stops, cuts]: [usize; 3], long: [usize; 3]) -> Self {
        match std::env::var("RADHOLD_TEST_LOSS").as_deref() {
            Ok("long") => Self { kills: long[0], stops: long[1], cuts: long[2], load: Load::LONG },
            _ => Self { kills, stops, cuts, load: Load::SHORT },
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Blow {
    Kill,
    Stop,
    /// The server dies while PostgreSQL is away.
    KillWithoutStore,
    Cut,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_on_postgresql() {
    let plan = Plan::chosen([3, 2, 1], [20, 5, 4]);
    let mut chance = Chance::seeded("loss");
    let mut cluster = Cluster::start().await;
    let mut radhold = block_in_place(|| serve(&format!("[store]\nurl = \"{}\"", cluster.url())));
    let nases = Nases::start(&radhold, plan.load, &mut chance);

    // The last kill comes while PostgreSQL is stopped, and so is one of the stops.
    let mut blows = vec![Blow::Kill; plan.kills - 1];
    blows.extend([Blow::Stop].repeat(plan.stops - 1));
    blows.extend([Blow::Cut].repeat(plan.cuts));
    for place in (1..blows.len()).rev() {
        blows.swap(place, chance.below(place + 1));
    }
    blows.push(Blow::KillWithoutStore);
    for blow in blows {
        nases.traffic(&mut chance).await;
        match blow {
            Blow::Kill => {
                block_in_place(|| radhold.kill());
                block_in_place(|| radhold.restart());
            }
            Blow::Stop => {
                block_in_place(|| cluster.stop_immediately());
                nases.traffic(&mut chance).await;
                cluster.resume().await;
            }
            Blow::KillWithoutStore => {
                block_in_place(|| cluster.stop_immediately());
                nases.traffic(&mut chance).await;
                block_in_place(|| radhold.kill());
                cluster.resume().await;
                block_in_place(|| radhold.restart());
            }
            Blow::Cut => {
                cluster.cut();
                nases.traffic(&mut chance).await;
                cluster.mend();
            }
        }
    }
    nases.traffic(&mut chance).await;
    let sent = nases.finish().await;
    until_drained(&radhold).await;
    let pool = cluster.pool().await;
    let sessions: Vec<Row> = sqlx::query_as(JUDGE_POSTGRESQL).fetch_all(&pool).await.unwrap();
    let quarantined: i64 = sqlx::query_scalar("SELECT count(*) FROM quarantine").fetch_one(&pool).await.unwrap();
    judge(&sent, sessions, quarantined);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_acknowledged_is_lost_on_sqlite() {
    let plan = Plan::chosen([3, 0, 0], [20, 0, 0]);
    let mut chance = Chance::seeded("loss");
    let mut radhold = block_in_place(|| serve(""));
    let nases = Nases::start(&radhold, plan.load, &mut chance);
    for _ in 0..plan.kills {
        nases.traffic(&mut chance).await;
        block_in_place(|| radhold.kill());
        block_in_place(|| radhold.restart());
    }
    nases.traffic(&mut chance).await;
    let sent = nases.finish().await;
    until_drained(&radhold).await;
    let pool = sqlite(&radhold, "state/radhold.sqlite").await;
    let sessions: Vec<Row> = sqlx::query_as(JUDGE_SQLITE).fetch_all(&pool).await.unwrap();
    let quarantined: i64 = sqlx::query_scalar("SELECT count(*) FROM quarantine").fetch_one(&pool).await.unwrap();
    judge(&sent, sessions, quarantined);
}

/// A server for these NASes.
pub(crate) fn serve(store: &str) -> Radhold {
    let radhold = Radhold::start(&format!(
        r#"
        filter = "info,radhold::app::ledger::committer=warn"
        {store}
        [server]
        reject_delay = "0s"
        [nas.lab]
        address = "127.0.0.0/8"
        secret = "{SECRET}"
        "#
    ));
    for nth in 0..USERS {
        radhold.add_user(&user(nth), PASSWORD, &["--store-as", "clear", "--no-second-factor"]);
    }
    radhold
}

fn user(nth: usize) -> String {
    format!("user{nth}")
}

// -- the verdict

/// Acct-Session-Id; rows of it; octets in the row; octets of all intervals; when it began, when it was last heard of (seconds since
/// 1970), its Acct-Session-Time; whether it is over by its Stop, and whether it is open.
pub(crate) type Row = (String, i64, i64, i64, i64, i64, Option<i64>, i64, i64, bool, bool);

/// What the store made of it.
pub(crate) const JUDGE_POSTGRESQL: &str = "
    SELECT coalesce(acct_session_id, ''), count(*), sum(sessions.input_octets)::bigint, sum(sessions.output_octets)::bigint,
        coalesce(sum(used.input), 0)::bigint, coalesce(sum(used.output), 0)::bigint,
        extract(epoch FROM min(started_at))::bigint, extract(epoch FROM max(heard_at))::bigint,
        sum(sessions.session_time)::bigint,
        bool_and(state = 'closed' AND end_cause = 'stop'),
        bool_and(state IN ('permitted', 'observed') AND end_cause IS NULL)
    FROM sessions
    LEFT JOIN (
        SELECT session_id, sum(input_octets) AS input, sum(output_octets) AS output FROM usage GROUP BY session_id
    ) AS used ON used.session_id = sessions.id
    GROUP BY acct_session_id";

const JUDGE_SQLITE: &str = "
    SELECT coalesce(acct_session_id, ''), count(*), sum(sessions.input_octets), sum(sessions.output_octets),
        coalesce(sum(used.input), 0), coalesce(sum(used.output), 0),
        min(started_at) / 1000000, max(heard_at) / 1000000, sum(sessions.session_time),
        min(state = 'closed' AND end_cause IS 'stop'),
        min(state IN ('permitted', 'observed') AND end_cause IS NULL)
    FROM sessions
    LEFT JOIN (
        SELECT session_id, sum(input_octets) AS input, sum(output_octets) AS output FROM usage GROUP BY session_id
    ) AS used ON used.session_id = sessions.id
    GROUP BY acct_session_id";

/// Holds what the store has against what was acknowledged.
pub(crate) fn judge(sent: &Sent, rows: Vec<Row>, quarantined: i64) {
    println!("{sent}");
    assert_eq!(quarantined, 0, "nothing of this is odd");
    // An Access-Accept that was lost with the server leaves an offer without Acct-Session-Id behind: no accounting.
    let kept: BTreeMap<String, Row> =
        rows.into_iter().filter(|row| !row.0.is_empty()).map(|row| (row.0.clone(), row)).collect();
    assert!(sent.sessions.len() > 64, "that was no load: {sent}");
    let count = |so: fn(&Last) -> bool| sent.sessions.values().filter(|last| so(last)).count();
    let (open, only_started) = (count(|last| !last.stopped), count(|last| !last.stopped && last.records == 1));
    println!("{open} of them without Stop, {only_started} of those without Interim-Update");
    assert!(open > 0 && only_started > 0 && open < sent.sessions.len(), "{open}, {only_started}: {sent}");
    let mut wrong = Vec::new();
    for (id, last) in &sent.sessions {
        let Last { input, output, began_at, heard_at, session_time, stopped, .. } = *last;
        let (began, open) = (Some(began_at), !stopped);
        let expected = (id.clone(), 1, input, output, input, output, began, heard_at, session_time, stopped, open);
        if kept.get(id) != Some(&expected) {
            wrong.push(format!("sent {expected:?}, kept {:?}", kept.get(id)));
        }
    }
    assert!(wrong.is_empty(), "{} of {} sessions differ:\n{}", wrong.len(), sent.sessions.len(), wrong.join("\n"));
    assert_eq!(kept.len(), sent.sessions.len(), "no session that nobody sent");
    let total = |of: fn(&Row) -> i64| kept.values().map(of).map(i128::from).sum::<i128>();
    let octets = |of: fn(&Last) -> i64| sent.sessions.values().map(of).map(i128::from).sum::<i128>();
    assert_eq!((total(|row| row.2), total(|row| row.3)), (octets(|it| it.input), octets(|it| it.output)));
    assert_eq!((total(|row| row.4), total(|row| row.5)), (octets(|it| it.input), octets(|it| it.output)));
}

/// Waits until all that was spooled is in the store.
pub(crate) async fn until_drained(radhold: &Radhold) {
    let begun = Instant::now();
    let pool = sqlite(radhold, "state/spool.sqlite").await;
    let (mut first, mut least, mut moved_at) = (None, i64::MAX, begun);
    loop {
        let waiting: i64 = sqlx::query_scalar("SELECT count(*) FROM entries").fetch_one(&pool).await.unwrap();
        first.get_or_insert(waiting);
        if waiting == 0 {
            break;
        }
        if waiting < least {
            (least, moved_at) = (waiting, Instant::now());
        }
        assert!(moved_at.elapsed() < LONGEST, "{waiting} still in the spool: {:#?}", radhold.log());
        sleep(Duration::from_millis(100)).await;
    }
    let took = begun.elapsed().as_secs_f64();
    println!("the spool was empty {took:.1} s after the last answer, of {} records by then", first.unwrap_or_default());
    let aside: i64 = sqlx::query_scalar("SELECT count(*) FROM set_aside").fetch_one(&pool).await.unwrap();
    assert_eq!(aside, 0);
}

pub(crate) async fn sqlite(radhold: &Radhold, file: &str) -> sqlx::SqlitePool {
    let options =
        sqlx::sqlite::SqliteConnectOptions::new().filename(radhold.path(file)).busy_timeout(Duration::from_secs(30));
    sqlx::SqlitePool::connect_with(options).await.unwrap()
}

// -- who sends

/// What the last record of a session said that was acknowledged. A NAS may have no more to say: a Stop would make up for
/// whatever was lost before it.
#[derive(Debug, Clone, Copy)]
struct Last {
    records: u32,
    input: i64,
    output: i64,
    /// Event-Timestamp of the Start.
    began_at: i64,
    /// Event-Timestamp of the last.
    heard_at: i64,
    /// Zero where the NAS leaves Acct-Session-Time out: then the Start alone says when it began.
    session_time: i64,
    stopped: bool,
}

/// What was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// By Acct-Session-Id.
    sessions: BTreeMap<String, Last>,
    records: u64,
    logins: u64,
    repeats: u64,
    took: Duration,
    /// The longest that anybody waited for an answer to a login, and to a record, repetitions and all.
    pub(crate) slowest_login: Duration,
    pub(crate) slowest_record: Duration,
}

impl std::fmt::Display for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.records as f64 / self.took.as_secs_f64();
        write!(
            f,
            "{} sessions, {} logins, {} records acknowledged in {:.1} s ({rate:.0}/s), {} packets repeated; \
             the slowest login {:.2} s, the slowest record {:.2} s",
            self.sessions.len(),
            self.logins,
            self.records,
            self.took.as_secs_f64(),
            self.repeats,
            self.slowest_login.as_secs_f64(),
            self.slowest_record.as_secs_f64()
        )
    }
}

/// All NASes, and what they share.
pub(crate) struct Nases {
    begun: Instant,
    tasks: JoinSet<BTreeMap<String, Last>>,
    shared: Arc<Shared>,
    load: Load,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    records: AtomicU64,
    logins: AtomicU64,
    repeats: AtomicU64,
    ports: AtomicU32,
    /// In microseconds.
    slowest_login: AtomicU64,
    slowest_record: AtomicU64,
}

impl Nases {
    pub(crate) fn start(radhold: &Radhold, load: Load, chance: &mut Chance) -> Self {
        let shared = Arc::<Shared>::default();
        let mut tasks = JoinSet::new();
        for _ in 0..load.nases {
            let (shared, chance) = (Arc::clone(&shared), chance.fork());
            let (auth, accounting) = (radhold.auth, radhold.accounting);
            tasks.spawn(async move {
                let [auth, accounting] = [Peer::new(auth, SECRET).await, Peer::new(accounting, SECRET).await];
                let mut nas = Nas { auth, accounting, shared, chance, sessions: BTreeMap::new() };
                while !nas.shared.over.load(Ordering::Relaxed) {
                    nas.session().await;
                }
                nas.sessions
            });
        }
        Self { begun: Instant::now(), tasks, shared, load }
    }

    /// Logs everybody in once, so that the server knows them all.
    pub(crate) async fn meet(radhold: &Radhold, chance: &mut Chance) {
        let [auth, accounting] = [radhold.auth, radhold.accounting];
        let [auth, accounting] = [Peer::new(auth, SECRET).await, Peer::new(accounting, SECRET).await];
        let mut nas =
            Nas { auth, accounting, shared: Arc::default(), chance: chance.fork(), sessions: BTreeMap::new() };
        for nth in 0..USERS {
            // Ports that nobody has later: what is offered there never starts.
            nas.login(&user(nth), u32::MAX - u32::try_from(nth).unwrap()).await;
        }
    }

    /// Until so much more was acknowledged that something is lost if anything is.
    pub(crate) async fn traffic(&self, chance: &mut Chance) {
        let wanted = self.shared.records.load(Ordering::Relaxed) + self.load.records + chance.below(400) as u64;
        let begun = Instant::now();
        while self.shared.records.load(Ordering::Relaxed) < wanted {
            assert!(begun.elapsed() < LONGEST, "nothing is acknowledged any more");
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Lets every session end.
    pub(crate) async fn finish(self) -> Sent {
        self.shared.over.store(true, Ordering::Relaxed);
        let ended = timeout(LONGEST, self.tasks.join_all()).await.expect("every session's last record is acknowledged");
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        Sent {
            sessions: ended.into_iter().flatten().collect(),
            records: count(&self.shared.records),
            logins: count(&self.shared.logins),
            repeats: count(&self.shared.repeats),
            took: self.begun.elapsed(),
            slowest_login: Duration::from_micros(count(&self.shared.slowest_login)),
            slowest_record: Duration::from_micros(count(&self.shared.slowest_record)),
        }
    }
}

struct Nas {
    auth: Peer,
    accounting: Peer,
    shared: Arc<Shared>,
    chance: Chance,
    sessions: BTreeMap<String, Last>,
}

impl Nas {
    /// One session from login to Stop. One in eight was accepted elsewhere: its accounting has no Class. One in four is cut off
    /// after any of its records, and half of all say nothing of Acct-Session-Time.
    async fn session(&mut self) {
        let port = self.shared.ports.fetch_add(1, Ordering::Relaxed);
        let user = user(self.chance.below(USERS));
        let class = if self.chance.below(8) == 0 { None } else { Some(self.login(&user, port).await) };
        let id = format!("loss-{port:08x}");
        let interims = self.chance.below(5);
        let records = if self.chance.below(4) == 0 { 1 + self.chance.below(interims + 1) } else { interims + 2 };
        let timed = self.chance.below(2) == 0;
        // Later than the Access-Accept in whole seconds, too.
        let began_at = u32::try_from(radhold::app::clock::now().as_secs()).unwrap() + 1;
        let (mut input, mut output) = (0u64, 0u64);
        for nth in 0..records {
            let status = if nth == 0 {
                1
            } else if nth == interims + 1 {
                2
            } else {
                3
            };
            if status != 1 {
                // Past 32 bits now and then.
                input += u64::from(u32::from_be_bytes(self.chance.octets()));
                output += u64::from(u16::from_be_bytes(self.chance.octets()));
            }
            let seconds = u32::try_from(nth).unwrap();
            let asked = Instant::now();
            let repeats = self.accounting.ask(Code::AccountingRequest, |builder, _| {
                builder.integer(attribute::ACCT_STATUS_TYPE, status).unwrap();
                builder.text(attribute::USER_NAME, &user).unwrap();
                builder.text(attribute::ACCT_SESSION_ID, &id).unwrap();
                builder.integer(attribute::NAS_PORT, port).unwrap();
                builder.integer(attribute::EVENT_TIMESTAMP, began_at + seconds).unwrap();
                if timed {
                    builder.integer(attribute::ACCT_SESSION_TIME, seconds).unwrap();
                }
                builder.integer(attribute::ACCT_INPUT_OCTETS, input as u32).unwrap();
                builder.integer(attribute::ACCT_INPUT_GIGAWORDS, (input >> 32) as u32).unwrap();
                builder.integer(attribute::ACCT_OUTPUT_OCTETS, output as u32).unwrap();
                builder.integer(attribute::ACCT_OUTPUT_GIGAWORDS, (output >> 32) as u32).unwrap();
                if let Some(class) = &class {
                    builder.attribute(attribute::CLASS, class).unwrap();
                }
            });
            let (_, repeats) = repeats.await;
            note(&self.shared.slowest_record, asked);
            self.shared.records.fetch_add(1, Ordering::Relaxed);
            self.shared.repeats.fetch_add(repeats, Ordering::Relaxed);
            let last = Last {
                records: seconds + 1,
                input: input.try_into().unwrap(),
                output: output.try_into().unwrap(),
                began_at: i64::from(began_at),
                heard_at: i64::from(began_at + seconds),
                session_time: if timed { i64::from(seconds) } else { 0 },
                stopped: status == 2,
            };
            self.sessions.insert(id.clone(), last);
        }
    }

    async fn login(&mut self, user: &str, port: u32) -> Vec<u8> {
        let asked = Instant::now();
        let (reply, repeats) = self
            .auth
            .ask(Code::AccessRequest, |builder, authenticator| {
                let hidden = hide_user_password(PASSWORD.as_bytes(), SECRET.as_bytes(), authenticator).unwrap();
                builder.text(attribute::USER_NAME, user).unwrap();
                builder.attribute(attribute::USER_PASSWORD, &hidden).unwrap();
                builder.integer(attribute::NAS_PORT, port).unwrap();
            })
            .await;
        note(&self.shared.slowest_login, asked);
        self.shared.logins.fetch_add(1, Ordering::Relaxed);
        self.shared.repeats.fetch_add(repeats, Ordering::Relaxed);
        let packet = Packet::parse(&reply).unwrap();
        assert_eq!(packet.code(), Code::AccessAccept, "{user} has the right password");
        packet.first(attribute::CLASS).expect("every Access-Accept has a Class").to_vec()
    }
}

/// Notes how long somebody waited, when nobody waited longer.
fn note(slowest: &AtomicU64, since: Instant) {
    slowest.fetch_max(u64::try_from(since.elapsed().as_micros()).unwrap(), Ordering::Relaxed);
}

/// One source port of a NAS: one request at a time.
pub(crate) struct Peer {
    socket: UdpSocket,
    secret: &'static str,
    sent: u64,
}

impl Peer {
    pub(crate) async fn new(server: SocketAddr, secret: &'static str) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        socket.connect(server).await.unwrap();
        Self { socket, secret, sent: 0 }
    }

    /// Sends a request until it is answered; the answer, and how often it was sent again.
    pub(crate) async fn ask(&mut self, code: Code, fill: impl FnOnce(&mut PacketBuilder, &[u8; 16])) -> (Vec<u8>, u64) {
        let request = self.request(code, fill);
        let begun = Instant::now();
        for repeats in 0.. {
            if let Some(reply) = self.send(&request, AGAIN).await {
                return (reply, repeats);
            }
            assert!(begun.elapsed() < LONGEST, "no answer in {LONGEST:?}");
        }
        unreachable!("u64 is large")
    }

    /// The next request.
    pub(crate) fn request(&mut self, code: Code, fill: impl FnOnce(&mut PacketBuilder, &[u8; 16])) -> Vec<u8> {
        self.sent += 1;
        let mut authenticator = [0; 16];
        authenticator[..8].copy_from_slice(&self.sent.to_be_bytes());
        let mut builder = PacketBuilder::request(code, self.sent as u8, authenticator);
        fill(&mut builder, &authenticator);
        builder.sign_request(self.secret.as_bytes()).unwrap().to_vec()
    }

    /// Sends it once, and waits for the answer; its authenticator is checked.
    pub(crate) async fn send(&self, request: &[u8], patience: Duration) -> Option<Vec<u8>> {
        // A server that is being restarted: the port is closed for a moment.
        let _ = self.socket.send(request).await;
        let asked = Packet::parse(request).unwrap();
        let mut buffer = [0; 4096];
        let answer = async {
            loop {
                let Ok(length) = self.socket.recv(&mut buffer).await else {
                    sleep(Duration::from_millis(20)).await;
                    continue;
                };
                let Ok(reply) = Packet::parse(&buffer[..length]) else { continue };
                if reply.identifier() == asked.identifier()
                    && reply.verify_reply(self.secret.as_bytes(), asked.authenticator()).is_ok()
                {
                    return buffer[..length].to_vec();
                }
            }
        };
        timeout(patience, answer).await.ok()
    }
}
