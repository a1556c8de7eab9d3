//! Which settings were said, to tell what a reload changes and what waits for a restart. Keeps no value: only whether it is another.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use figment::value::{Dict, Value};

/// What a running server takes over from a configuration that is read again: keys, or all that begins so. All else waits for a restart.
/// What belongs to the agent is no business of the server.
const TAKEN_OVER: [&str; 22] = [
    "accounting",
    "agent",
    "audit",
    "callers",
    "dialects",
    "dictionary",
    "enrolment",
    "guards",
    "hold",
    "lockout",
    "messages.directory",
    "nas",
    "places",
    "server.login_records_per_second",
    "server.max_requests_per_second",
    "server.reject_delay",
    "server.remember_passwords",
    "store.while_away",
    "strikes",
    "telegram.administrators",
    "telegram.strike_notices",
    "totp",
];

/// The settings that were said, by key, each with a mark of its value.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Said(BTreeMap<String, u64>);

impl Said {
    pub(super) fn new(values: &Dict) -> Self {
        let mut said = Self::default();
        said.note("", values);
        said
    }

    /// The keys that say something else than when the server began, or no longer anything, and that it goes on by as they were then.
    pub fn waiting_for_restart(&self, at_start: &Self) -> Vec<String> {
        let keys: std::collections::BTreeSet<&String> = self.0.keys().chain(at_start.0.keys()).collect();
        let waits = |key: &&&String| self.0.get(**key) != at_start.0.get(**key) && !is_taken_over(key);
        keys.iter().filter(waits).map(|key| (*key).clone()).collect()
    }

    fn note(&mut self, before: &str, values: &Dict) {
        for (key, value) in values {
            let key = if before.is_empty() { key.clone() } else { format!("{before}.{key}") };
            match value {
                Value::Dict(_, inner) => self.note(&key, inner),
                value => drop(self.0.insert(key, mark(value))),
            }
        }
    }
}

fn is_taken_over(key: &str) -> bool {
    TAKEN_OVER.iter().any(|taken| key.strip_prefix(taken).is_some_and(|rest| rest.is_empty() || rest.starts_with('.')))
}

/// The same for the same value, wherever it was said.
fn mark(value: &Value) -> u64 {
    let mut hasher = DefaultHasher::new();
    match value {
        Value::Array(_, items) => items.iter().for_each(|item| mark(item).hash(&mut hasher)),
        // Text and numbers alike: the environment knows text alone.
        Value::String(_, text) => text.hash(&mut hasher),
        Value::Char(_, c) => c.to_string().hash(&mut hasher),
        Value::Bool(_, truth) => truth.to_string().hash(&mut hasher),
        Value::Num(_, number) => {
            let text = number.to_i128().map(|it| it.to_string()).or_else(|| number.to_f64().map(|it| it.to_string()));
            text.unwrap_or_default().hash(&mut hasher);
        }
        Value::Empty(..) | Value::Dict(..) => {}
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::super::{Config, Flags, Setting, Surroundings};
    use super::*;

    fn said(settings: &[(&str, &str)]) -> Said {
        let settings = settings.iter().map(|(key, value)| Setting::new("--set", *key, *value)).collect();
        Config::load_in(&Flags { config: None, settings }, &Surroundings::default()).unwrap().said
    }

    #[test]
    fn what_a_reload_does_not_take_over_is_named() {
        let at_start = said(&[("hold.window", "1m"), ("spool.drain_rate", "5"), ("store.batch", "7")]);
        assert_eq!(
            said(&[("hold.window", "2m"), ("spool.drain_rate", "5"), ("store.batch", "7")])
                .waiting_for_restart(&at_start),
            [""; 0]
        );
        let now = said(&[
            ("spool.drain_rate", "6"),
            ("store.while_away", "reject"),
            ("messages.zone", "Asia/Tokyo"),
            ("portal.listen", "192.0.2.80"),
        ]);
        let waiting = ["messages.zone", "portal.listen", "spool.drain_rate", "store.batch"];
        assert_eq!(now.waiting_for_restart(&at_start), waiting);
        assert!(!format!("{now:?}").contains("Tokyo"), "no value is kept");
    }

    #[test]
    fn what_is_taken_over_names_keys_there_are() {
        let keys = super::super::read::keys();
        for taken in TAKEN_OVER {
            let known = keys.iter().any(|key| key == taken || key.starts_with(&format!("{taken}.")));
            assert!(known, "{taken} is no key: {keys:?}");
        }
    }
}
