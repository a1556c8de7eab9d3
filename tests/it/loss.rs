//! The loss test: what was acknowledged is there, once, to the byte, whatever was killed, stopped or cut meanwhile.
//!
//! Many lines of NASes send logins, Start, Interim-Update and Stop to a real `radhold serve`, each packet until it is answered, and
//! remember what was; some are cut off in the midst of a session, some NASes restart, and on some ports the next session begins
//! though the Stop of the one before was lost. The server is killed with `kill -9`, PostgreSQL is stopped with `-m immediate`, the link
//! between them is cut. The verdict is SQL alone. `RADHOLD_TEST_LOSS=long` makes it twenty kills, five stops and four cuts, at a few
//! thousand records a second.

use std::collections::{BTreeMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use radhold::radius::hiding::hide_user_password;
use radhold::radius::{Code, Packet, PacketBuilder, attribute};
use tokio::net::UdpSocket;
use tokio::sync::{RwLock, RwLockReadGuard};
use tokio::task::{JoinSet, block_in_place};
use tokio::time::{sleep, timeout};

use crate::chance::Chance;
use crate::cluster::Cluster;
use crate::radhold::Radhold;

/// An entry whose sessions end by their Stops alone.
const LAB: Entry = Entry { address: Ipv4Addr::LOCALHOST, secret: "a secret of twenty-odd octets" };
/// Another, of several devices that restart, two at an address: this one and those after it.
const EDGE: Entry = Entry { address: Ipv4Addr::new(127, 0, 2, 1), secret: "of those that restart, a secret" };
/// Another, whose ports have one session at a time.
const DIALIN: Entry = Entry { address: Ipv4Addr::new(127, 0, 3, 1), secret: "of ports that are used again, a secret" };
const PASSWORD: &str = "s3cret-pass";
const USERS: usize = 8;
/// Lines of a device.
const LINES: usize = 8;
/// Accounting-Requests by what they tell (RFC 2866 §5.1).
const START: u32 = 1;
const STOP: u32 = 2;
const INTERIM_UPDATE: u32 = 3;
const ACCOUNTING_ON: u32 = 7;
const ACCOUNTING_OFF: u32 = 8;
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
    lines: usize,
    /// Records acknowledged between two blows, at least.
    records: u64,
    /// A device restarts after so many of its own.
    restart_after: u64,
    /// Records a second that half of the steps between two blows must reach.
    least_rate: f64,
}

impl Load {
    /// What fits among the other tests.
    pub(crate) const SHORT: Self = Self { lines: 64, records: 200, restart_after: 60, least_rate: 0.0 };
    /// A load of its own, for a release build.
    pub(crate) const LONG: Self = Self { lines: 1024, records: 20_000, restart_after: 500, least_rate: 2000.0 };
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
    sent.was_a_load(plan.load);
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
    sent.was_a_load(plan.load);
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
        secret = "{}"
        [nas.edge]
        address = "127.0.2.0/24"
        secret = "{}"
        [nas.dialin]
        address = "127.0.3.0/24"
        secret = "{}"
        unique_ports = true
        "#,
        LAB.secret, EDGE.secret, DIALIN.secret
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
/// 1970), its Acct-Session-Time; how it ended, or "open"; when it ended.
pub(crate) type Row = (String, i64, i64, i64, i64, i64, Option<i64>, i64, i64, String, Option<i64>);

/// What the store made of it.
pub(crate) const JUDGE_POSTGRESQL: &str = "
    SELECT coalesce(acct_session_id, ''), count(*), sum(sessions.input_octets)::bigint, sum(sessions.output_octets)::bigint,
        coalesce(sum(used.input), 0)::bigint, coalesce(sum(used.output), 0)::bigint,
        extract(epoch FROM min(started_at))::bigint, extract(epoch FROM max(heard_at))::bigint,
        sum(sessions.session_time)::bigint,
        min(CASE WHEN state IN ('permitted', 'observed') THEN coalesce(end_cause, 'open')
                 WHEN state = 'closed' THEN coalesce(end_cause, 'closed') ELSE state END),
        extract(epoch FROM max(ended_at))::bigint
    FROM sessions
    FULL JOIN (
        SELECT session_id, sum(input_octets) AS input, sum(output_octets) AS output FROM usage GROUP BY session_id
    ) AS used ON used.session_id = sessions.id
    GROUP BY acct_session_id";

const JUDGE_SQLITE: &str = "
    WITH used AS MATERIALIZED (
        SELECT session_id, sum(input_octets) AS input, sum(output_octets) AS output FROM usage GROUP BY session_id
    )
    SELECT coalesce(acct_session_id, ''), count(*), sum(sessions.input_octets), sum(sessions.output_octets),
        coalesce(sum(used.input), 0), coalesce(sum(used.output), 0),
        min(started_at) / 1000000, max(heard_at) / 1000000, sum(sessions.session_time),
        min(CASE WHEN state IN ('permitted', 'observed') THEN coalesce(end_cause, 'open')
                 WHEN state = 'closed' THEN coalesce(end_cause, 'closed') ELSE state END),
        max(ended_at) / 1000000
    FROM sessions LEFT JOIN used ON used.session_id = sessions.id
    GROUP BY acct_session_id
    UNION ALL
    SELECT '', count(*), 0, 0, sum(input), sum(output), 0, 0, 0, '', NULL FROM used
    WHERE session_id NOT IN (SELECT id FROM sessions)
    HAVING count(*) > 0";

/// Holds what the store has against what was acknowledged.
pub(crate) fn judge(sent: &Sent, rows: Vec<Row>, quarantined: i64) {
    println!("{sent}");
    assert_eq!(quarantined, 0, "nothing of this is odd");
    // An Access-Accept that was lost with the server leaves an offer without Acct-Session-Id behind: no accounting.
    let (nameless, named): (Vec<_>, Vec<_>) = rows.into_iter().partition(|row| row.0.is_empty());
    for (_, _, input, output, input_used, output_used, ..) in nameless {
        assert_eq!([input, output, input_used, output_used], [0; 4], "octets of no session that was sent");
    }
    let kept: BTreeMap<String, Row> = named.into_iter().map(|row| (row.0.clone(), row)).collect();
    assert!(sent.sessions.len() > 64, "that was no load: {sent}");
    let count = |so: fn(&Last) -> bool| sent.sessions.values().filter(|last| so(last)).count();
    let (open, only_started) =
        (count(|last| last.end == End::Open), count(|last| last.end == End::Open && last.records == 1));
    let restarted = count(|last| matches!(last.end, End::Restart(_)));
    let reused = count(|last| matches!(last.end, End::PortReused(_)));
    println!(
        "{open} of them still open, {only_started} of those without Interim-Update; \
         {restarted} ended by a restart of their NAS, {reused} by the next on their port"
    );
    assert!(
        [open, only_started, restarted, reused].iter().all(|some| (1..sent.sessions.len()).contains(some)),
        "{sent}"
    );
    let mut wrong = Vec::new();
    for (id, last) in &sent.sessions {
        let Last { input, output, began_at, heard_at, session_time, .. } = *last;
        let expected = (1, input, output, input, output, Some(began_at), heard_at, session_time);
        let is_as_sent = kept.get(id).is_some_and(|(_, rows, a, b, c, d, began, heard, time, cause, ended)| {
            (*rows, *a, *b, *c, *d, *began, *heard, *time) == expected && last.ended_so(cause, *ended)
        });
        if !is_as_sent {
            wrong.push(format!("sent {id} {expected:?} {:?}, kept {:?}", last.end, kept.get(id)));
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

/// An entry of the configuration.
struct Entry {
    address: Ipv4Addr,
    secret: &'static str,
}

/// What the last record of a session said that was acknowledged. A NAS may have no more to say: a Stop would make up for
/// whatever was lost before it.
#[derive(Debug, Clone)]
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
    end: End,
}

/// How a session ends.
#[derive(Debug, Clone, PartialEq)]
enum End {
    Open,
    Stop,
    /// Its NAS restarted, at these times since.
    Restart(Vec<i64>),
    /// Others were on its port, from when the next of them began to when the last was heard of.
    PortReused(RangeInclusive<i64>),
}

impl Last {
    /// Whether this is its end. The first restart ends it, or the first session that follows on its port. A report that came late, out
    /// of a spool, knows the last restart alone, and of those on its port what is open, by the earliest that was heard of it by then.
    fn ended_so(&self, cause: &str, ended_at: Option<i64>) -> bool {
        match &self.end {
            End::Open => cause == "open" && ended_at.is_none(),
            End::Stop => cause == "stop" && ended_at == Some(self.heard_at),
            End::Restart(times) => cause == "nas-restart" && ended_at.is_some_and(|at| times.contains(&at)),
            End::PortReused(while_used) => {
                cause == "port-reused" && ended_at.is_some_and(|at| while_used.contains(&at))
            }
        }
    }
}

/// What was acknowledged.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    /// By Acct-Session-Id.
    sessions: BTreeMap<String, Last>,
    records: u64,
    logins: u64,
    repeats: u64,
    restarts: usize,
    took: Duration,
    /// Records a second between two blows, of each time, the lowest first.
    rates: Vec<f64>,
    /// The longest that anybody waited for an answer to a login, and to a record, repetitions and all.
    pub(crate) slowest_login: Duration,
    pub(crate) slowest_record: Duration,
}

impl Sent {
    /// Whether so much was sent that something would have been lost.
    fn was_a_load(&self, load: Load) {
        let middle = self.rates[self.rates.len() / 2];
        assert!(cfg!(debug_assertions) || middle >= load.least_rate, "{middle:.0}/s is no load: {self}");
    }
}

impl std::fmt::Display for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rate = self.records as f64 / self.took.as_secs_f64();
        let [least, middle, most] = [0, self.rates.len() / 2, self.rates.len() - 1].map(|place| self.rates[place]);
        write!(
            f,
            "{} sessions, {} logins, {} restarts of NASes, {} records acknowledged in {:.1} s ({rate:.0}/s; between blows \
             {middle:.0}/s, from {least:.0} to {most:.0}), {} packets repeated; the slowest login {:.2} s, the slowest record {:.2} s",
            self.sessions.len(),
            self.logins,
            self.restarts,
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
    lines: JoinSet<Line>,
    devices: JoinSet<()>,
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
    sessions: AtomicU32,
    rates: Mutex<Vec<f64>>,
    /// In microseconds.
    slowest_login: AtomicU64,
    slowest_record: AtomicU64,
}

impl Nases {
    /// Of eight lines five are of the first entry, two of devices that restart, and one is where ports are used again.
    pub(crate) fn start(radhold: &Radhold, load: Load, chance: &mut Chance) -> Self {
        let shared = Arc::<Shared>::default();
        let (mut lines, mut devices) = (JoinSet::new(), JoinSet::new());
        let servers = [radhold.auth, radhold.accounting];
        let mut line = |place, chance: Chance| {
            let shared = Arc::clone(&shared);
            lines.spawn(async move { Line::new(servers, place, shared, chance).await.work().await });
        };
        for _ in 0..load.lines / 8 {
            line(Place::Dialin(VecDeque::new()), chance.fork());
            for _ in 0..5 {
                line(Place::Lab, chance.fork());
            }
        }
        for nth in 0..load.lines / 4 / LINES {
            let device = Arc::new(Device::new(nth));
            for _ in 0..LINES {
                line(Place::Edge(Arc::clone(&device)), chance.fork());
            }
            devices.spawn(device.work(radhold.accounting, load, Arc::clone(&shared), chance.fork()));
        }
        Self { begun: Instant::now(), lines, devices, shared, load }
    }

    /// Logs everybody in once, so that the server knows them all.
    pub(crate) async fn meet(radhold: &Radhold, chance: &mut Chance) {
        let servers = [radhold.auth, radhold.accounting];
        let mut line = Line::new(servers, Place::Lab, Arc::default(), chance.fork()).await;
        for nth in 0..USERS {
            // Ports that nobody has later: what is offered there never starts.
            line.login(&user(nth), u32::MAX - u32::try_from(nth).unwrap()).await;
        }
    }

    /// Until so much more was acknowledged that something is lost if anything is.
    pub(crate) async fn traffic(&self, chance: &mut Chance) {
        let before = self.shared.records.load(Ordering::Relaxed);
        let wanted = before + self.load.records + chance.below(400) as u64;
        let begun = Instant::now();
        while self.shared.records.load(Ordering::Relaxed) < wanted {
            assert!(begun.elapsed() < LONGEST, "nothing is acknowledged any more");
            sleep(Duration::from_millis(20)).await;
        }
        let records = self.shared.records.load(Ordering::Relaxed) - before;
        let rate = records as f64 / begun.elapsed().as_secs_f64();
        println!("{records} records until the next blow, {rate:.0} a second");
        self.shared.rates.lock().unwrap().push(rate);
    }

    /// Lets every session end.
    pub(crate) async fn finish(self) -> Sent {
        self.shared.over.store(true, Ordering::Relaxed);
        let all = async { (self.lines.join_all().await, self.devices.join_all().await).0 };
        let lines = timeout(LONGEST, all).await.expect("every session's last record is acknowledged");
        let (mut sessions, mut restarts) = (BTreeMap::new(), BTreeMap::new());
        for line in lines {
            if let Place::Edge(device) = &line.place {
                restarts.insert(device.name.clone(), device.restarts.read().await.len());
            }
            sessions.extend(line.ended().await);
        }
        let count = |of: &AtomicU64| of.load(Ordering::Relaxed);
        let mut rates = std::mem::take(&mut *self.shared.rates.lock().unwrap());
        rates.sort_by(f64::total_cmp);
        Sent {
            sessions,
            records: count(&self.shared.records),
            logins: count(&self.shared.logins),
            repeats: count(&self.shared.repeats),
            restarts: restarts.values().sum(),
            took: self.begun.elapsed(),
            rates,
            slowest_login: Duration::from_micros(count(&self.shared.slowest_login)),
            slowest_record: Duration::from_micros(count(&self.shared.slowest_record)),
        }
    }
}

/// A NAS that restarts now and then.
struct Device {
    name: String,
    address: Ipv4Addr,
    /// Event-Timestamps of its Accounting-On and -Off. While it restarts nobody reads this, and so no line works.
    restarts: RwLock<Vec<i64>>,
    records: AtomicU64,
    /// The latest Event-Timestamp of its sessions.
    heard_at: AtomicI64,
}

impl Device {
    fn new(nth: usize) -> Self {
        let address = Ipv4Addr::from(u32::from(EDGE.address) + u32::try_from(nth / 2).unwrap());
        Self {
            name: format!("edge-{nth}"),
            address,
            restarts: RwLock::default(),
            records: AtomicU64::default(),
            heard_at: AtomicI64::default(),
        }
    }

    /// Restarts whenever it has said so much. Its lines have nothing on their way then: of what is not acknowledged nobody could say
    /// whether it is of before.
    async fn work(self: Arc<Self>, server: SocketAddr, load: Load, shared: Arc<Shared>, mut chance: Chance) {
        let mut peer = Peer::at(self.address, server, EDGE.secret).await;
        let mut next = load.restart_after;
        while !shared.over.load(Ordering::Relaxed) {
            if self.records.load(Ordering::Relaxed) < next {
                sleep(Duration::from_millis(20)).await;
                continue;
            }
            let mut restarts = self.restarts.write().await;
            // Of a boot no time is believed that is yet to come.
            until_past(self.heard_at.load(Ordering::Relaxed)).await;
            let statuses: &[u32] =
                if chance.below(2) == 0 { &[ACCOUNTING_OFF, ACCOUNTING_ON] } else { &[ACCOUNTING_ON] };
            for status in statuses {
                let at = now();
                let asked = peer.ask(Code::AccountingRequest, |builder, _| {
                    builder.integer(attribute::ACCT_STATUS_TYPE, *status).unwrap();
                    builder.text(attribute::ACCT_SESSION_ID, "restart").unwrap();
                    builder.text(attribute::NAS_IDENTIFIER, &self.name).unwrap();
                    builder.integer(attribute::EVENT_TIMESTAMP, at.try_into().unwrap()).unwrap();
                });
                let (_, repeats) = asked.await;
                shared.records.fetch_add(1, Ordering::Relaxed);
                shared.repeats.fetch_add(repeats, Ordering::Relaxed);
                restarts.push(at);
            }
            // A session that is made of its Class alone knows when it was accepted in whole seconds.
            until_past(restarts.last().copied().unwrap_or_default()).await;
            next = self.records.load(Ordering::Relaxed) + load.restart_after;
        }
    }
}

/// One line of a NAS: a session at a time.
struct Line {
    auth: Peer,
    accounting: Peer,
    place: Place,
    shared: Arc<Shared>,
    chance: Chance,
    /// Where ports are used again, whether its sessions are all accepted elsewhere: one that has no Class may be any login on its port.
    elsewhere: bool,
    sessions: BTreeMap<String, Last>,
}

/// Where a line is.
enum Place {
    /// Each session has a port of its own.
    Lab,
    Edge(Arc<Device>),
    /// The ports it has had, the longest ago first.
    Dialin(VecDeque<Port>),
}

/// A port, and those that were on it, one after the other.
struct Port {
    number: u32,
    sessions: Vec<String>,
}

impl Line {
    async fn new([auth, accounting]: [SocketAddr; 2], place: Place, shared: Arc<Shared>, mut chance: Chance) -> Self {
        let (address, secret) = match &place {
            Place::Lab => (LAB.address, LAB.secret),
            Place::Edge(device) => (device.address, EDGE.secret),
            Place::Dialin(_) => (DIALIN.address, DIALIN.secret),
        };
        let auth = Peer::at(address, auth, secret).await;
        let accounting = Peer::at(address, accounting, secret).await;
        let elsewhere = chance.below(8) == 0;
        Self { auth, accounting, place, shared, chance, elsewhere, sessions: BTreeMap::new() }
    }

    async fn work(mut self) -> Self {
        while !self.shared.over.load(Ordering::Relaxed) {
            let mut port = self.port();
            // One in four is cut off after any of its records; of those whose ports are used again every second one.
            let cut_off = self.chance.below(if matches!(self.place, Place::Dialin(_)) { 2 } else { 4 }) == 0;
            let interims = self.chance.below(5);
            let records = if cut_off { 1 + self.chance.below(interims + 1) } else { interims + 2 };
            port.sessions.push(self.session(port.number, records, interims).await);
            if let Place::Dialin(ports) = &mut self.place {
                ports.push_back(port);
            }
        }
        // The last on a port stays: what came before it ends by it, however late that is heard of.
        if let Place::Dialin(ports) = &mut self.place {
            let mut ports = std::mem::take(ports);
            for port in &mut ports {
                while !self.is_free(port) {
                    sleep(Duration::from_millis(20)).await;
                }
                port.sessions.push(self.session(port.number, 1, 0).await);
            }
            self.place = Place::Dialin(ports);
        }
        self
    }

    /// The port of the next session.
    fn port(&mut self) -> Port {
        let number = || self.shared.ports.fetch_add(1, Ordering::Relaxed);
        let again = match &self.place {
            Place::Dialin(ports) => ports.front().is_some_and(|port| self.is_free(port)),
            _ => false,
        };
        match &mut self.place {
            Place::Dialin(ports) if again => ports.pop_front().unwrap(),
            _ => Port { number: number(), sessions: Vec::new() },
        }
    }

    /// Whether what begins there now is later in whole seconds than all that was said of the last.
    fn is_free(&self, port: &Port) -> bool {
        port.sessions.last().is_none_or(|last| self.sessions[last].heard_at <= now())
    }

    /// One session, from its login to its Stop or to what is the last of its records. One in eight was accepted elsewhere: its
    /// accounting has no Class. Half of all say nothing of Acct-Session-Time.
    async fn session(&mut self, port: u32, records: usize, interims: usize) -> String {
        let device = match &self.place {
            Place::Edge(device) => Some(Arc::clone(device)),
            _ => None,
        };
        let mut up = until_up(device.as_deref()).await;
        let restarts = up.as_ref().map(|restarts| restarts.len());
        let user = user(self.chance.below(USERS));
        let elsewhere = match self.place {
            Place::Dialin(_) => self.elsewhere,
            _ => self.chance.below(8) == 0,
        };
        let class = if elsewhere { None } else { Some(self.login(&user, port).await) };
        let id = format!("loss-{:08x}", self.shared.sessions.fetch_add(1, Ordering::Relaxed));
        let timed = self.chance.below(2) == 0;
        // Later than the Access-Accept in whole seconds, too.
        let began_at = now() + 1;
        let (mut input, mut output) = (0u64, 0u64);
        for nth in 0..records {
            if nth > 0 && device.is_some() {
                drop(up);
                up = until_up(device.as_deref()).await;
                if up.as_ref().map(|restarts| restarts.len()) != restarts {
                    break;
                }
            }
            let status = if nth == 0 {
                START
            } else if nth == interims + 1 {
                STOP
            } else {
                INTERIM_UPDATE
            };
            if status != START {
                // Past 32 bits now and then.
                input += u64::from(u32::from_be_bytes(self.chance.octets()));
                output += u64::from(u16::from_be_bytes(self.chance.octets()));
            }
            // Where something else may end it, its clock is not ahead of what ends it.
            let heard_at = if matches!(self.place, Place::Lab) {
                began_at + i64::try_from(nth).unwrap()
            } else {
                began_at.max(now())
            };
            let session_time = if timed { heard_at - began_at } else { 0 };
            let asked = Instant::now();
            let repeats = self.accounting.ask(Code::AccountingRequest, |builder, _| {
                builder.integer(attribute::ACCT_STATUS_TYPE, status).unwrap();
                builder.text(attribute::USER_NAME, &user).unwrap();
                builder.text(attribute::ACCT_SESSION_ID, &id).unwrap();
                builder.integer(attribute::NAS_PORT, port).unwrap();
                builder.integer(attribute::EVENT_TIMESTAMP, heard_at.try_into().unwrap()).unwrap();
                if let Some(device) = &device {
                    builder.text(attribute::NAS_IDENTIFIER, &device.name).unwrap();
                }
                if timed {
                    builder.integer(attribute::ACCT_SESSION_TIME, session_time.try_into().unwrap()).unwrap();
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
            if let Some(device) = &device {
                device.records.fetch_add(1, Ordering::Relaxed);
                device.heard_at.fetch_max(heard_at, Ordering::Relaxed);
            }
            let last = Last {
                records: u32::try_from(nth).unwrap() + 1,
                input: input.try_into().unwrap(),
                output: output.try_into().unwrap(),
                began_at,
                heard_at,
                session_time,
                end: if status == STOP { End::Stop } else { End::Open },
            };
            match self.sessions.get_mut(&id) {
                Some(known) => *known = last,
                None => drop(self.sessions.insert(id.clone(), last)),
            }
        }
        id
    }

    async fn login(&mut self, user: &str, port: u32) -> Vec<u8> {
        let (asked, secret) = (Instant::now(), self.auth.secret);
        let place = &self.place;
        let (reply, repeats) = self
            .auth
            .ask(Code::AccessRequest, |builder, authenticator| {
                let hidden = hide_user_password(PASSWORD.as_bytes(), secret.as_bytes(), authenticator).unwrap();
                builder.text(attribute::USER_NAME, user).unwrap();
                builder.attribute(attribute::USER_PASSWORD, &hidden).unwrap();
                builder.integer(attribute::NAS_PORT, port).unwrap();
                if let Place::Edge(device) = place {
                    builder.text(attribute::NAS_IDENTIFIER, &device.name).unwrap();
                }
            })
            .await;
        note(&self.shared.slowest_login, asked);
        self.shared.logins.fetch_add(1, Ordering::Relaxed);
        self.shared.repeats.fetch_add(repeats, Ordering::Relaxed);
        let packet = Packet::parse(&reply).unwrap();
        assert_eq!(packet.code(), Code::AccessAccept, "{user} has the right password");
        packet.first(attribute::CLASS).expect("every Access-Accept has a Class").to_vec()
    }

    /// Its sessions, and what ended them besides their Stops.
    async fn ended(self) -> BTreeMap<String, Last> {
        let Self { place, mut sessions, .. } = self;
        match place {
            Place::Lab => (),
            Place::Edge(device) => {
                let restarts = device.restarts.read().await;
                for last in sessions.values_mut().filter(|last| last.end == End::Open) {
                    let since: Vec<i64> = restarts.iter().copied().filter(|at| *at > last.heard_at).collect();
                    if !since.is_empty() {
                        last.end = End::Restart(since);
                    }
                }
            }
            Place::Dialin(ports) => {
                for port in ports {
                    let heard_at = port.sessions.last().map_or(0, |last| sessions[last].heard_at);
                    for pair in port.sessions.windows(2) {
                        let next_at = sessions[&pair[1]].began_at;
                        let last = sessions.get_mut(&pair[0]).unwrap();
                        if last.end == End::Open {
                            last.end = End::PortReused(next_at..=heard_at);
                        }
                    }
                }
            }
        }
        sessions
    }
}

/// Waits while the device restarts; until this is dropped it does not. Its restarts so far.
async fn until_up(device: Option<&Device>) -> Option<RwLockReadGuard<'_, Vec<i64>>> {
    match device {
        Some(device) => Some(device.restarts.read().await),
        None => None,
    }
}

/// Waits for the second after this one.
async fn until_past(second: i64) {
    while now() <= second {
        sleep(Duration::from_millis(20)).await;
    }
}

/// Seconds since 1970.
fn now() -> i64 {
    radhold::app::clock::now().as_secs()
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
        Self::at(Ipv4Addr::LOCALHOST, server, secret).await
    }

    /// At this address of the NAS.
    async fn at(address: Ipv4Addr, server: SocketAddr, secret: &'static str) -> Self {
        let socket = UdpSocket::bind((address, 0)).await.unwrap();
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
