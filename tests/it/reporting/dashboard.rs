//! The Grafana dashboard: every query in it runs on PostgreSQL, on data that makes it answer something, and the file is shaped as
//! Grafana documents it. Runs no Grafana.

use std::collections::BTreeSet;

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

/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// What Grafana replaces itself, by what it is called behind the `$`.
fn is_builtin(name: &str) -> bool {
    name.starts_with("__")
}

/// Names of the variables in a text: `$name`, `${name}` and `${name:format}`.
fn variables(text: &str) -> Vec<String> {
    let name = |rest: &str| {
        let rest = rest.strip_prefix('{').unwrap_or(rest);
        rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect::<String>()
    };
    text.split('$').skip(1).map(name).collect()
}

/// Every text of a document, wherever it stands.
fn texts<'a>(value: &'a Value, found: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => found.push(text),
        Value::Array(values) => values.iter().for_each(|value| texts(value, found)),
        Value::Object(members) => members.values().for_each(|value| texts(value, found)),
        _ => (),
    }
}

#[test]
fn the_dashboard_is_shaped_as_an_import_wants_it() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    for (key, is_right) in [
        ("title", dashboard["title"].as_str().is_some_and(|title| !title.is_empty())),
        ("uid", dashboard["uid"].as_str().is_some_and(|uid| (1..=40).contains(&uid.len()))),
        ("schemaVersion", dashboard["schemaVersion"].as_u64().is_some_and(|version| version >= 30)),
        ("time", dashboard["time"]["from"].is_string() && dashboard["time"]["to"].is_string()),
        // An import gives it one; a number from elsewhere would overwrite somebody's dashboard.
        ("id", dashboard["id"].is_null()),
    ] {
        assert!(is_right, "{key}: {}", dashboard[key]);
    }

    let list = dashboard["templating"]["list"].as_array().unwrap();
    let defined: BTreeSet<_> = list.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    assert_eq!(defined.len(), list.len(), "a variable is defined twice");
    let source = list.iter().find(|variable| variable["name"] == "datasource").unwrap();
    let kind = "grafana-postgresql-datasource";
    assert_eq!((&source["type"], &source["query"]), (&"datasource".into(), &kind.into()));
    let mut found = Vec::new();
    texts(&dashboard, &mut found);
    let used: BTreeSet<String> = found.into_iter().flat_map(variables).filter(|name| !is_builtin(name)).collect();
    assert!(used.iter().map(String::as_str).eq(defined.iter().copied()), "used {used:?}, defined {defined:?}");

    let panels = dashboard["panels"].as_array().unwrap();
    let ids: BTreeSet<u64> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "two panels have one id");
    let mut cells = BTreeSet::new();
    for panel in panels {
        let title = panel["title"].as_str().unwrap();
        assert!(
            ["stat", "timeseries", "table"].contains(&panel["type"].as_str().unwrap()),
            "{title}: {}",
            panel["type"]
        );
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(w > 0 && h > 0 && x + w <= COLUMNS, "{title} is outside of the grid");
        for cell in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(cells.insert(cell), "{title} lies over another panel at {cell:?}");
        }
        let targets = panel["targets"].as_array().unwrap();
        let refs: BTreeSet<_> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert!(!targets.is_empty() && refs.len() == targets.len(), "{title}: {refs:?}");
        for asks in targets.iter().chain([panel]) {
            let chosen = (&asks["datasource"]["type"], &asks["datasource"]["uid"]);
            assert_eq!(chosen, (&kind.into(), &"${datasource}".into()), "{title} asks another data source");
        }
        for target in targets {
            assert_eq!(target["rawQuery"], true, "{title}: without it the query is made by Grafana's editor");
            assert!(["table", "time_series"].contains(&target["format"].as_str().unwrap()), "{title}");
        }
    }
}
