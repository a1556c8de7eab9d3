//! What an operator sees of the sessions. Changes nothing.

use serde_json::{Value, json};
use tracing::error;

use super::Keeper;
use crate::agent::moment::Moment;
use crate::dynauth::server::Facts;

impl Keeper {
    pub(super) async fn status(&self, now: Moment) -> Value {
        let sessions: Vec<Value> = self
            .sessions
            .values()
            .filter(|session| session.ending.is_some() || !session.ipv4.is_over())
            .map(|session| {
                let Facts { user_name, framed_ip_address, calling_station_id, since, .. } = &session.facts;
                json!({
                    "interface": session.interface,
                    "state": session.state(),
                    "filter": session.filter,
                    "user": user_name,
                    "address": framed_ip_address,
                    "calling": calling_station_id,
                    "pid": session.process.map(|process| process.pid),
                    "up_bits_per_second": session.rates.up,
                    "down_bits_per_second": session.rates.down,
                    "since": since.to_string(),
                    "age_seconds": now.up.since(session.begun).as_secs(),
                    "sandboxed_seconds": session.sandboxed_since.map(|since| now.up.since(since).as_secs()),
                    "session_timeout_seconds": session.timeout().map(|timeout| timeout.as_secs()),
                    "idle_timeout_seconds": session.idle_timeout.map(|timeout| timeout.as_secs()),
                })
            })
            .collect();
        let stations = self.table.stations().await.unwrap_or_else(|error| {
            error!(%error, "the stations that are let through cannot be listed");
            Vec::new()
        });
        let filter_of = |set: &str| self.config.filters.iter().find(|known| known.set == set).map(|known| &known.name);
        let stations: Vec<Value> = stations
            .iter()
            .map(|station| {
                json!({"station": station.mac, "filter": filter_of(&station.set), "left_seconds": station.left.as_secs()})
            })
            .collect();
        json!({"sessions": sessions, "stations": stations, "counters": crate::telemetry::snapshot()})
    }
}
