//! The Grafana dashboard: every query in it runs on PostgreSQL, on data that makes it answer something.

use serde_json::Value;

use super::Stage;

const DASHBOARD: &str = include_str!("../../../contrib/grafana/radhold.json");

/// What Grafana puts in the place of its macros.
fn expanded(query: &str) -> String {
    let (from, to) = ("'2026-03-01T00:00:00Z'", "'2026-03-31T23:59:59.999Z'");
    let mut text = query.replace("$__timeFrom()", from).replace("$__timeTo()", to);
    while let Some((before, rest)) = text.split_once("$__timeFilter(") {
        let (column, after) = rest.split_once(')').unwrap();
        text = format!("{before}{column} BETWEEN {from} AND {to}{after}");
    }
    assert!(!text.contains('$'), "a macro this test does not know: {text}");
    text
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_query_of_the_dashboard_runs() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    let stage = Stage::postgres().await;
    let mut queries = 0;
    for panel in dashboard["panels"].as_array().unwrap() {
        let title = panel["title"].as_str().unwrap();
        for target in panel["targets"].as_array().unwrap() {
            let rows = stage.rows(&expanded(target["rawSql"].as_str().unwrap())).await;
            queries += 1;
            // Quotas are of this month, in which nobody carried anything.
            assert_eq!(rows.is_empty(), title.starts_with("Quotas"), "{title}: {rows:?}");
            if target["format"] == "time_series" {
                assert!(rows.iter().all(|row| row["time"].is_string()), "{title}: {rows:?}");
            }
            for unit in panel["fieldConfig"]["overrides"].as_array().unwrap() {
                let column = unit["matcher"]["options"].as_str().unwrap();
                assert!(rows.iter().all(|row| row.get(column).is_some()), "{title} has no {column}");
            }
            if title == "Logins by the hour" {
                assert_eq!((&rows[0]["accepted"], &rows[0]["rejected"]), (&2.into(), &6.into()));
            }
            if title == "Ghost sessions closed" {
                assert_eq!(rows[0]["ghosts"], 2);
            }
        }
    }
    assert_eq!(queries, 13);
}
