//! The queries of docs/reporting.md, taken out of the document and run. A block of `sql` runs on both engines, one of
//! `sql postgres` there.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Stage, on_both, take_age};

const DOCUMENT: &str = include_str!("../../../docs/reporting.md");

/// A query, its heading, and whether SQLite runs it too.
struct Block {
    heading: String,
    sql: String,
    both: bool,
}

fn blocks() -> Vec<Block> {
    let (mut blocks, mut heading, mut open) = (vec![], String::new(), None::<Block>);
    for line in DOCUMENT.lines() {
        match (&mut open, line.strip_prefix("```")) {
            (None, Some(info)) if info.split(' ').next() == Some("sql") => {
                let both = match info.strip_prefix("sql").unwrap().trim() {
                    "" => true,
                    "postgres" => false,
                    other => panic!("a block for {other:?}"),
                };
                open = Some(Block { heading: heading.clone(), sql: String::new(), both });
            }
            (Some(_), Some(_)) => blocks.extend(open.take()),
            (Some(block), None) => block.sql += &format!("{line}\n"),
            (None, _) => {
                if let Some(words) = line.strip_prefix("##") {
                    heading = words.trim_start_matches('#').trim().to_owned();
                }
            }
        }
    }
    assert!(open.is_none(), "a block does not end");
    blocks
}

/// What the data of `data.rs` comes to.
fn answers() -> BTreeMap<&'static str, Value> {
    let rows = [
        (
            "1. Online now",
            json!([{
                "user_name": "erin", "nas": "edge", "state": "held", "framed_ip": "10.0.0.7", "input_octets": 0, "output_octets": 0
            }]),
        ),
        (
            "2. Per-user month",
            json!([
                { "user_name": "alice", "days": 3, "input_octets": 1016, "output_octets": 3014, "session_time": 10800 },
                { "user_name": "bob", "days": 1, "input_octets": 7, "output_octets": 100, "session_time": 1800 },
                { "user_name": "dave", "days": 1, "input_octets": 50, "output_octets": 0, "session_time": 60 }
            ]),
        ),
        ("3. Top talkers", json!([{ "user_name": "alice", "octets": 4030 }, { "user_name": "bob", "octets": 107 }])),
        ("4. Busiest hour", json!([{ "hour": "2026-03-01T11:00:00Z", "sessions": 2, "octets": 2107 }])),
        (
            "5. Concurrent sessions over time",
            json!([
                { "at": "2026-03-01T10:30:00Z", "sessions": 1 },
                { "at": "2026-03-01T11:00:00Z", "sessions": 2 },
                { "at": "2026-03-01T11:30:00Z", "sessions": 1 },
                { "at": "2026-03-01T12:30:00Z", "sessions": 0 }
            ]),
        ),
        (
            "6. Holds by outcome, and the median time to approve",
            json!([
                { "outcome": "permitted", "holds": 3, "median_seconds": 20 },
                { "outcome": "denied", "holds": 1, "median_seconds": 5 },
                { "outcome": "expired", "holds": 1, "median_seconds": null }
            ]),
        ),
        (
            "7. Rejected logins by reason and source",
            json!([
                { "reason": "wrong-password", "source": "203.0.113.9", "users": 2, "logins": 3 },
                { "reason": "challenged-again", "source": "203.0.113.9", "users": 1, "logins": 1 },
                { "reason": "unknown-user", "source": "192.0.2.1", "users": 1, "logins": 1 },
                { "reason": "unknown-user", "source": "203.0.113.9", "users": 1, "logins": 1 }
            ]),
        ),
        (
            "8. NAS health",
            json!([
                { "nas": "core", "silent_seconds": null, "sessions_open": 0, "sessions_held": 0, "logins_24h": 0, "rejected_24h": 0,
                  "not_lifted_24h": 0, "ghosts_24h": 0, "orders_waiting": 0 },
                { "nas": "edge", "sessions_open": 1, "sessions_held": 1, "logins_24h": 3, "rejected_24h": 2,
                  "not_lifted_24h": 0, "ghosts_24h": 0, "orders_waiting": 1 },
                { "nas": "silent", "silent_seconds": null, "sessions_open": 0, "sessions_held": 0, "logins_24h": 0, "rejected_24h": 0,
                  "not_lifted_24h": 0, "ghosts_24h": 0, "orders_waiting": 0 }
            ]),
        ),
        (
            "9. Ghost sessions closed",
            json!([
                { "nas": "core", "end_cause": "nas-restart", "sessions": 1, "longest_silence": 300 },
                { "nas": "core", "end_cause": "stale", "sessions": 1, "longest_silence": 1800 }
            ]),
        ),
        (
            "10. Quota burn-down",
            json!([
                { "user_name": "alice", "day": "2026-03-01", "used_octets": 4000, "used_so_far": 4000, "remaining_octets": 6000 },
                { "user_name": "alice", "day": "2026-03-02", "used_octets": 21, "used_so_far": 4021, "remaining_octets": 5979 },
                { "user_name": "alice", "day": "2026-03-03", "used_octets": 9, "used_so_far": 4030, "remaining_octets": 5970 }
            ]),
        ),
        (
            "Reports written for FreeRADIUS",
            json!([
                { "username": "alice", "sessions": 2, "octets": 4030 },
                { "username": "bob", "sessions": 1, "octets": 107 },
                { "username": "carol", "sessions": 2, "octets": 0 },
                { "username": "dave", "sessions": 1, "octets": 100 }
            ]),
        ),
    ];
    BTreeMap::from(rows)
}

async fn every_query_of_the_document_gives_the_known_answer(stage: &Stage) {
    let (blocks, answers) = (blocks(), answers());
    let mut told: Vec<&str> = blocks.iter().map(|block| block.heading.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, answers.keys().copied().collect::<Vec<_>>(), "each query has an answer, each answer a query");
    for block in blocks.iter().filter(|block| block.both || stage.url.starts_with("postgres")) {
        let mut rows = stage.rows(&block.sql).await;
        match block.heading.as_str() {
            "1. Online now" => {
                take_age(&mut rows[0], "online_seconds", 100);
                take_age(&mut rows[0], "silent_seconds", 40);
                assert!(rows[0].as_object_mut().unwrap().remove("started_at").unwrap().is_string());
            }
            "8. NAS health" => take_age(&mut rows[1], "silent_seconds", 40),
            _ => {}
        }
        assert_eq!(Value::Array(rows), answers[block.heading.as_str()], "{}\n{}", block.heading, block.sql);
    }
}

/// The shares of an interval add up to it, to the octet, however it lies.
async fn hours_add_up(stage: &Stage) {
    let rows = stage
        .rows(
            "SELECT hour, input_octets, output_octets, session_time FROM report_usage_hours
             WHERE user_name = 'alice' AND nas = 'edge' ORDER BY hour",
        )
        .await;
    let hour = |hour, input, output, time| json!({ "hour": format!("2026-03-01T{hour}:00:00Z"), "input_octets": input, "output_octets": output, "session_time": time });
    assert_eq!(rows, [hour(10, 250, 750, 1800), hour(11, 500, 1500, 3600), hour(12, 250, 750, 1800)]);
    let whole = stage.rows("SELECT sum(input_octets) AS octets FROM report_usage_hours").await;
    let parts = stage.rows("SELECT sum(input_octets) AS octets FROM report_usage").await;
    assert_eq!(whole, parts);
}

/// Each view the document names is there, with a comment where the engine has them; and each there is named.
async fn the_document_names_every_view(stage: &Stage) {
    let catalogue = if stage.url.starts_with("sqlite") {
        "SELECT name FROM sqlite_schema WHERE type = 'view' AND name LIKE 'report%' ORDER BY 1"
    } else {
        "SELECT viewname AS name FROM pg_views WHERE schemaname = 'public' AND viewname LIKE 'report%' ORDER BY 1"
    };
    let there = stage.rows(catalogue).await;
    assert!(there.len() >= 13, "{there:?}");
    for view in there {
        let name = view["name"].as_str().unwrap();
        assert!(DOCUMENT.contains(&format!("`{name}`")), "{name} is not in docs/reporting.md");
    }
}

on_both! {
    every_query_of_the_document_gives_the_known_answer,
    hours_add_up,
    the_document_names_every_view,
}
