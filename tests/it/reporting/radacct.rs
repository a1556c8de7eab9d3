//! The view `radacct` beside FreeRADIUS's own table: both servers get the same packets, and the rows are compared column by
//! column. What may differ is listed here, and in docs/reporting.md.

use std::net::SocketAddr;

use radhold::store;
use serde_json::Value;

use super::postgres_rows;
use crate::import::freeradius::{FreeRadius, SECRET};
use crate::postgres::Database;
use crate::radhold::{Radhold, radclient};

/// What both must say alike.
const SAME: [&str; 15] = [
    "acctsessionid",
    "username",
    "nasipaddress",
    "nasportid",
    "acctstarttime",
    "acctupdatetime",
    "acctstoptime",
    "acctsessiontime",
    "acctinputoctets",
    "acctoutputoctets",
    "calledstationid",
    "callingstationid",
    "acctterminatecause",
    "framedipaddress",
    "framedipv6prefix",
];

/// What radhold does not keep: null, whatever FreeRADIUS has.
const NOT_KEPT: [&str; 11] = [
    "realm",
    "nasporttype",
    "acctauthentic",
    "connectinfo_start",
    "connectinfo_stop",
    "servicetype",
    "framedprotocol",
    "framedipv6address",
    "framedinterfaceid",
    "delegatedipv6prefix",
    "class",
];

fn packets(begun: i64) -> Vec<String> {
    let who = |user: &str, id: &str, port: u32| {
        format!(
            "User-Name = \"{user}\", Acct-Session-Id = \"{id}\", NAS-IP-Address = 192.0.2.77, NAS-Port = {port}, \
             NAS-Port-Type = Virtual, Calling-Station-Id = \"203.0.113.9\", Called-Station-Id = \"vpn\", \
             Framed-IP-Address = 10.8.0.{port}, Framed-Protocol = PPP, Service-Type = Framed-User, Acct-Authentic = RADIUS"
        )
    };
    let alice = who("alice", "0000A1", 5);
    let bob = format!("{}, Framed-IPv6-Prefix = 2001:db8:5::/64, NAS-Port-Id = \"ether1\"", who("bob", "0000B2", 6));
    let (carol, dave) = (who("carol", "0000C3", 7), who("dave", "0000D4", 8));
    let packet = |who: &str, after: i64, rest: &str| {
        format!("{who}, Event-Timestamp = {}, Acct-Status-Type = {rest}", begun + after)
    };
    vec![
        // alice: her whole life, with more octets than 32 bits hold.
        packet(&alice, 0, "Start"),
        packet(
            &alice,
            60,
            "Interim-Update, Acct-Session-Time = 60, Acct-Input-Octets = 1000, Acct-Output-Octets = 3000",
        ),
        packet(
            &alice,
            90,
            "Stop, Acct-Session-Time = 90, Acct-Input-Octets = 5, Acct-Input-Gigawords = 1, Acct-Output-Octets = 4000, \
             Acct-Terminate-Cause = User-Request",
        ),
        // bob: online, with an address of IPv6.
        packet(&bob, 10, "Start"),
        packet(&bob, 40, "Interim-Update, Acct-Session-Time = 30, Acct-Input-Octets = 7, Acct-Output-Octets = 9"),
        // carol: started, and nothing since.
        packet(&carol, 50, "Start"),
        // dave: an end without a cause.
        packet(&dave, 60, "Start"),
        packet(&dave, 62, "Stop, Acct-Session-Time = 2, Acct-Input-Octets = 1, Acct-Output-Octets = 2"),
    ]
}

/// A time some minutes ago, with no midnight since.
fn some_minutes_ago() -> i64 {
    let begun = radhold::app::clock::now().as_secs() - 200;
    if begun % 86_400 > 86_400 - 200 { begun - 400 } else { begun }
}

fn account(server: SocketAddr, packet: &str) {
    let ran = radclient(server, "acct", SECRET, packet);
    assert!(ran.stdout.contains("Received Accounting-Response"), "{ran:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_view_has_every_column_of_the_table_in_its_type() {
    let freeradius = FreeRadius::start("").await;
    let database = Database::create().await;
    store::open(database.url()).await.unwrap().migrate().await.unwrap();
    let columns = "SELECT column_name::text AS name, data_type::text AS type FROM information_schema.columns
         WHERE table_name = 'radacct' ORDER BY ordinal_position";
    let theirs = postgres_rows(&freeradius.pool().await, columns).await;
    assert_eq!(theirs.len(), 29);
    assert_eq!(postgres_rows(&database.pool().await, columns).await, theirs);
    let mut told: Vec<&str> = [&SAME[..], &NOT_KEPT].concat();
    told.extend(["radacctid", "acctuniqueid", "acctinterval"]);
    assert_eq!(told.len(), 29, "each column is looked at below");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_of_that_name_is_left_alone() {
    let database = Database::create().await;
    let pool = database.pool().await;
    sqlx::raw_sql("CREATE TABLE radacct (mine text)").execute(&pool).await.unwrap();
    store::open(database.url()).await.unwrap().migrate().await.unwrap();
    sqlx::raw_sql("SELECT mine FROM radacct").execute(&pool).await.unwrap();
    sqlx::raw_sql("SELECT acctsessionid FROM report_radacct").execute(&pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_packets_make_the_same_rows() {
    let freeradius = FreeRadius::start("").await;
    let database = Database::create().await;
    let nas = format!("[nas.lab]\naddress = \"127.0.0.0/8\"\nsecret = \"{SECRET}\"\n");
    let radhold = Radhold::start(&format!("[store]\nurl = \"{}\"\n{nas}", database.url()));
    let begun = some_minutes_ago();
    for packet in packets(begun) {
        account(freeradius.accounting, &packet);
        account(radhold.accounting, &packet);
    }
    let (theirs, ours) = (freeradius.pool().await, database.pool().await);
    let rows = "SELECT * FROM radacct ORDER BY acctsessionid";
    let (theirs_rows, ours_rows) = (postgres_rows(&theirs, rows).await, postgres_rows(&ours, rows).await);
    assert_eq!((theirs_rows.len(), ours_rows.len()), (4, 4), "{ours_rows:#?}");
    for (their, our) in theirs_rows.iter().zip(&ours_rows) {
        let whose = &their["username"];
        for column in SAME {
            assert_eq!(our[column], their[column], "{column} of {whose}");
        }
        for column in NOT_KEPT {
            assert_eq!(our[column], Value::Null, "{column} of {whose}");
        }
        assert_eq!(our["acctuniqueid"].as_str().unwrap().len(), their["acctuniqueid"].as_str().unwrap().len());
        // What tells sessions apart that several NASes count alike is at the end of an id of version 8.
        let unique = our["acctuniqueid"].as_str().unwrap();
        assert_eq!(unique.as_bytes()[12], b'8', "nobody accepted these");
        assert_eq!(our["radacctid"].as_i64(), i64::from_str_radix(&unique[17..], 16).ok());
    }
    // Of a session that goes on the interval is the same; a Stop is a report too, for us.
    assert_eq!((&ours_rows[1]["acctinterval"], &theirs_rows[1]["acctinterval"]), (&30.into(), &30.into()));
    assert_eq!((&ours_rows[0]["acctinterval"], &theirs_rows[0]["acctinterval"]), (&30.into(), &60.into()));

    // The NAS comes up again: those that were open end then, by either.
    let boot = "Acct-Status-Type = Accounting-On, Acct-Session-Id = \"boot\", NAS-IP-Address = 192.0.2.77";
    account(freeradius.accounting, boot);
    account(radhold.accounting, boot);
    let ended =
        "SELECT username, acctterminatecause, acctstoptime IS NOT NULL AS stopped FROM radacct ORDER BY acctsessionid";
    let (their, our) = (postgres_rows(&theirs, ended).await, postgres_rows(&ours, ended).await);
    assert_eq!(our, their);
    assert_eq!(our[1]["acctterminatecause"], "NAS-Reboot");

    // A report written for the one runs on the other.
    let report =
        "SELECT username, count(*) AS sessions, sum(acctinputoctets)::bigint AS up, max(acctoutputoctets) AS down
         FROM radacct WHERE acctstarttime > now() - interval '1 day' GROUP BY username ORDER BY username";
    assert_eq!(postgres_rows(&ours, report).await, postgres_rows(&theirs, report).await);
}
