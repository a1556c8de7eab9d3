//! Spools of several nodes: while one is cut off the others go on, and the reports of one session may lie in two spools.

use std::net::SocketAddr;

use radhold::radius::{Code, PacketBuilder, attribute};
use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tempfile::TempDir;
use tokio::task::block_in_place;

use crate::failover::{Engine, Wire};
use crate::fleet::{Fleet, SECRET};
use crate::loss::until_drained;
use crate::radhold::{PATIENCE, Radhold};

const PASSWORD: &str = "s3cret-pass";

/// Two nodes on one PostgreSQL, each with a wire of its own to it.
struct Two {
    nodes: [Radhold; 2],
    wires: [Wire; 2],
    engine: Engine,
    fleet: Fleet,
    _keys: TempDir,
}

/// A session as it is in the store: its state, what ended it, its octets, those of all its intervals, and whether its beginning is
/// known.
type Row = (String, Option<String>, i64, i64, bool);

impl Two {
    async fn start() -> Self {
        let engine = Engine::start().await;
        let wires = [Wire::to(engine.at).await, Wire::to(engine.at).await];
        let keys = tempfile::tempdir().unwrap();
        let (socket, address) = Fleet::place().await;
        let node = |nth: usize| {
            let head = format!(
                "node = \"n{nth}\"\nstore.url = \"postgres://radhold@{}/postgres\"\nkeys.sealing_file = \"{}\"\n",
                wires[nth].address,
                keys.path().join("sealing.key").display()
            );
            let toml = "[server]\nreject_delay = \"0s\"\n".to_owned() + &Fleet::section(address);
            block_in_place(|| Radhold::start_with(&head, &toml))
        };
        let nodes = [node(0), node(1)];
        block_in_place(|| nodes[0].add_user("alice", PASSWORD, &["--store-as", "clear", "--no-second-factor"]));
        let [auth, accounting] =
            [|node: &Radhold| node.auth, |node: &Radhold| node.accounting].map(|of| nodes.iter().map(of).collect());
        let fleet = Fleet::start(socket, auth, accounting);
        let two = Self { nodes, wires, engine, fleet, _keys: keys };
        // Both have met her, so that she can log in at either while PostgreSQL is away.
        for node in 0..2 {
            two.login(9000 + node as u32, node).await;
        }
        two
    }

    fn cut(&self, node: usize, cut: bool) {
        self.wires[node].cut.send_replace(cut);
    }

    fn cut_both(&self, cut: bool) {
        self.cut(0, cut);
        self.cut(1, cut);
    }

    async fn login(&self, nth: u32, node: usize) {
        let request = self.fleet.try_login(nth, "alice", PASSWORD, node, PATIENCE).await;
        assert_eq!(request, Some(Code::AccessAccept));
    }

    /// Brings a report to one node alone, until it is acknowledged.
    async fn account(&self, nth: u32, status: u32, octets: u32, node: usize) {
        let request = self.fleet.accounting_request(nth, status, octets);
        self.fleet.ask(&[self.nodes[node].accounting], 0, &request).await;
    }

    /// The same of a session that nobody accepted.
    async fn observe(&self, name: &str, status: u32, octets: u32, node: usize) {
        let mut request = PacketBuilder::request(Code::AccountingRequest, 1, [0; 16]);
        request.integer(attribute::ACCT_STATUS_TYPE, status).unwrap();
        request.text(attribute::ACCT_SESSION_ID, name).unwrap().text(attribute::USER_NAME, "carol").unwrap();
        request.integer(attribute::ACCT_INPUT_OCTETS, octets).unwrap();
        request.integer(attribute::ACCT_SESSION_TIME, octets).unwrap();
        let request = request.sign_request(SECRET.as_bytes()).unwrap().to_vec();
        self.fleet.ask(&[self.nodes[node].accounting], 0, &request).await;
    }

    /// How much waits in the spool of a node.
    fn waiting(&self, node: usize) -> i64 {
        let ran = block_in_place(|| self.nodes[node].cli(&["spool", "--json"], ""));
        assert_eq!(ran.code, 0, "{ran:?}");
        serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap()["waiting"].as_i64().unwrap()
    }

    /// The session of that Acct-Session-Id, past all wires.
    async fn session(&self, name: &str) -> Option<Row> {
        let mut connection = PgConnection::connect(&self.engine.address("postgres")).await.unwrap();
        let mut found: Vec<Row> = sqlx::query_as(
            "SELECT state, end_cause, input_octets,
                (SELECT coalesce(sum(input_octets), 0)::bigint FROM usage WHERE session_id = sessions.id), started_at IS NOT NULL
             FROM sessions WHERE acct_session_id = $1",
        )
        .bind(name)
        .fetch_all(&mut connection)
        .await
        .unwrap();
        let quarantined: i64 =
            sqlx::query_scalar("SELECT count(*) FROM quarantine").fetch_one(&mut connection).await.unwrap();
        connection.close().await.unwrap();
        assert!(found.len() < 2 && quarantined == 0, "{quarantined} in quarantine, {found:?}");
        found.pop()
    }
}

fn row(state: &str, cause: Option<&str>, octets: i64) -> Option<Row> {
    Some((state.to_owned(), cause.map(str::to_owned), octets, octets, true))
}

fn name(nth: u32) -> String {
    format!("{nth:08}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reports_of_one_session_in_two_spools_come_to_the_same_whichever_empties_first() {
    let two = Two::start().await;
    for (first, nth) in [(0, 1), (1, 2)] {
        let carol = format!("carol-{nth}");
        assert_eq!(two.fleet.login(nth, "alice", PASSWORD, 0).await, Code::AccessAccept);
        two.account(nth, 1, 0, 0).await;
        assert_eq!(two.session(&name(nth)).await, row("permitted", None, 0));
        two.cut_both(true);
        // The Stop overtakes, and each node has some of it; of carol's not even the Start is in the store.
        for (status, octets, node) in [(3, 100, 0), (3, 300, 1), (3, 200, 0), (2, 500, 1), (3, 400, 0)] {
            two.account(nth, status, octets, node).await;
        }
        for (status, octets, node) in [(1, 0, 1), (3, 70, 0), (2, 200, 1), (3, 150, 0)] {
            two.observe(&carol, status, octets, node).await;
        }
        assert_eq!([0, 1].map(|node| two.waiting(node)), [5, 4]);

        // One is back, and goes on with what comes while the other's spool is nobody else's to read.
        two.cut(first, false);
        until_drained(&two.nodes[first]).await;
        let half = [row("permitted", None, 400), row("closed", Some("stop"), 500)];
        assert_eq!(two.session(&name(nth)).await, half[first]);
        let of_carol = [row("observed", None, 150), row("closed", Some("stop"), 200)];
        assert_eq!(two.session(&carol).await, of_carol[first]);
        let other = 100 + nth;
        assert_eq!(two.fleet.login(other, "alice", PASSWORD, first).await, Code::AccessAccept);
        for (status, octets) in [(1, 0), (3, 10), (2, 20)] {
            two.account(other, status, octets, first).await;
        }
        assert_eq!(two.session(&name(other)).await, row("closed", Some("stop"), 20));
        assert_eq!(two.waiting(1 - first), if first == 0 { 4 } else { 5 });

        two.cut(1 - first, false);
        until_drained(&two.nodes[1 - first]).await;
        assert_eq!(two.session(&name(nth)).await, row("closed", Some("stop"), 500), "spool {first} first");
        assert_eq!(two.session(&carol).await, row("closed", Some("stop"), 200), "spool {first} first");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_died_with_records_in_its_spool_keeps_nobody_waiting_and_brings_them_when_it_is_back() {
    let mut two = Two::start().await;
    two.cut_both(true);
    // Not even its offer is in the store: it will be rebuilt from its Class, at whichever node is first.
    assert_eq!(two.fleet.login(1, "alice", PASSWORD, 0).await, Code::AccessAccept);
    two.account(1, 1, 0, 0).await;
    two.account(1, 3, 100, 0).await;
    let accounting: [SocketAddr; 2] = [0, 1].map(|node| two.nodes[node].accounting);
    block_in_place(|| two.nodes[0].kill());
    two.cut_both(false);
    // Its NAS turns to the other.
    let begun = std::time::Instant::now();
    for (status, octets) in [(3, 250), (2, 300)] {
        let request = two.fleet.accounting_request(1, status, octets);
        two.fleet.ask(&accounting, 0, &request).await;
    }
    assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
    until_drained(&two.nodes[1]).await;
    let (state, cause, octets, used, _) = two.session(&name(1)).await.unwrap();
    assert_eq!((state.as_str(), cause.as_deref(), octets, used), ("closed", Some("stop"), 300, 300));

    block_in_place(|| two.nodes[0].restart());
    until_drained(&two.nodes[0]).await;
    assert_eq!(two.session(&name(1)).await, row("closed", Some("stop"), 300));
    let drained = block_in_place(|| two.nodes[0].counters())["spool.drained"];
    assert_eq!(drained, 2);
    two.account(1, 3, 290, 0).await;
    assert_eq!(two.session(&name(1)).await, row("closed", Some("stop"), 300), "a report that is late by more");
}
