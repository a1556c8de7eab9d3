//! One file in MaxMind's format, read again when it changes.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use maxminddb::Reader;
use serde_json::Value;

use crate::model::{Language, Names, Whereabouts};

/// How often to look whether a file has changed.
const EVERY: Duration = Duration::from_secs(5);

/// Why a file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlacesError {
    /// It cannot be read.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// It is not in MaxMind's format.
    #[error("{} is no database in MaxMind's format: {reason}", path.display())]
    Malformed {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// By what a change is noticed.
type Stamp = (Option<SystemTime>, u64);

#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    state: Arc<Mutex<State>>,
}

struct State {
    reader: Arc<Reader<Vec<u8>>>,
    stamp: Stamp,
    looked_at: Instant,
}

impl Database {
    pub(super) fn open(path: &Path) -> Result<Self, PlacesError> {
        let (reader, stamp) = read(path)?;
        let state = State { reader: Arc::new(reader), stamp, looked_at: Instant::now() };
        Ok(Self { path: path.to_owned(), state: Arc::new(Mutex::new(state)) })
    }

    /// Adds what the file knows of an address and is not known yet.
    pub(super) async fn look(&self, address: IpAddr, whereabouts: &mut Whereabouts) {
        self.refresh(EVERY).await;
        let reader = Arc::clone(&self.lock().reader);
        let found = reader.lookup(address.to_canonical()).and_then(|found| found.decode::<Value>());
        match found {
            Ok(Some(record)) => absorb(whereabouts, &record),
            Ok(None) => {}
            Err(error) => tracing::warn!(file = %self.path.display(), %error, "a record makes no sense"),
        }
    }

    /// Reads the file again when it has changed, and looks whether it has not more often than that.
    async fn refresh(&self, every: Duration) {
        {
            let mut state = self.lock();
            if state.looked_at.elapsed() < every {
                return;
            }
            state.looked_at = Instant::now();
        }
        let (path, state) = (self.path.clone(), Arc::clone(&self.state));
        // Files of cities are large. Who asks now is answered from the new one, as everybody after them.
        let refreshed = tokio::task::spawn_blocking(move || {
            let known = state.lock().unwrap_or_else(PoisonError::into_inner).stamp;
            let now = stamp(&path)?;
            if now == known {
                return Ok(());
            }
            let read = read(&path);
            let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
            // One that cannot be used is not read again until it changes.
            state.stamp = now;
            let (reader, stamp) = read?;
            (state.reader, state.stamp) = (Arc::new(reader), stamp);
            tracing::info!(file = %path.display(), "places read anew");
            Ok::<_, PlacesError>(())
        });
        if let Ok(Err(error)) = refreshed.await {
            tracing::warn!(%error, "the places known stay");
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("stamp", &self.stamp).finish_non_exhaustive()
    }
}

/// The file whole: it may be replaced or written over at any time.
fn read(path: &Path) -> Result<(Reader<Vec<u8>>, Stamp), PlacesError> {
    let unreadable = |problem| PlacesError::Unreadable { path: path.to_owned(), problem };
    let malformed = |reason: String| PlacesError::Malformed { path: path.to_owned(), reason };
    let before = stamp(path)?;
    let octets = fs::read(path).map_err(unreadable)?;
    if stamp(path)? != before {
        return Err(malformed("it is being written".to_owned()));
    }
    let reader = Reader::from_source(octets).map_err(|error| malformed(error.to_string()))?;
    Ok((reader, before))
}

fn stamp(path: &Path) -> Result<Stamp, PlacesError> {
    let about = fs::metadata(path).map_err(|problem| PlacesError::Unreadable { path: path.to_owned(), problem })?;
    Ok((about.modified().ok(), about.len()))
}

/// Takes over what is not known yet. Makers of such files agree on the format and differ in the fields: names by language in
/// MaxMind's and DB-IP's, plain texts in IPinfo's.
fn absorb(whereabouts: &mut Whereabouts, record: &Value) {
    let text = |keys: &[&str]| keys.iter().find_map(|key| record[*key].as_str()).map(str::to_owned);
    let fill = |names: &mut Names, key: &str| {
        if names.0.is_empty() {
            *names = names_of(&record[key]);
        }
    };
    fill(&mut whereabouts.country, "country");
    fill(&mut whereabouts.country, "registered_country");
    fill(&mut whereabouts.city, "city");
    let number = || {
        let plain = record["autonomous_system_number"].as_u64().and_then(|number| u32::try_from(number).ok());
        plain.or_else(|| record["asn"].as_str()?.trim_start_matches("AS").parse().ok())
    };
    whereabouts.system = whereabouts.system.or_else(number);
    let network = || text(&["autonomous_system_organization", "as_name", "isp", "organization"]);
    whereabouts.network = whereabouts.network.take().or_else(network);
}

fn names_of(place: &Value) -> Names {
    if let Some(name) = place.as_str() {
        return Names([(Language::english(), name.to_owned())].into());
    }
    let names = place["names"].as_object().into_iter().flatten();
    let named = names.filter_map(|(tag, name)| Some((tag.parse().ok()?, name.as_str()?.to_owned())));
    Names(named.collect())
}

#[cfg(test)]
#[path = "../../tests/it/mmdb.rs"]
mod mmdb;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::mmdb;
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn berlin() -> Value {
        json!({
            "city": { "names": { "en": "Berlin", "ru": "Берлин", "zh-CN": "柏林" } },
            "country": { "iso_code": "DE", "names": { "en": "Germany", "ru": "Германия" } },
        })
    }

    async fn look(database: &Database, at: &str) -> Whereabouts {
        let mut whereabouts = Whereabouts::default();
        database.look(address(at), &mut whereabouts).await;
        whereabouts
    }

    #[tokio::test]
    async fn places_and_networks_are_found_in_either_family() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("places.mmdb");
        let network = json!({ "autonomous_system_number": 64500, "autonomous_system_organization": "Example Net" });
        let plain = json!({ "country": "France", "asn": "AS64501", "as_name": "Exemple" });
        mmdb::write(&path, &[("203.0.113.0/24", berlin()), ("2001:db8::/32", network), ("198.51.100.128/25", plain)]);
        let database = Database::open(&path).unwrap();
        let found = look(&database, "203.0.113.7").await;
        let name = |names: &Names, tag: &str| names.in_language(&tag.parse().unwrap()).map(str::to_owned);
        assert_eq!(name(&found.city, "ru").as_deref(), Some("Берлин"));
        assert_eq!(name(&found.country, "en").as_deref(), Some("Germany"));
        assert_eq!(look(&database, "::ffff:203.0.113.7").await, found);
        let found = look(&database, "2001:db8::7").await;
        assert_eq!((found.system, found.network.as_deref()), (Some(64_500), Some("Example Net")));
        let found = look(&database, "198.51.100.200").await;
        assert_eq!(name(&found.country, "ru").as_deref(), Some("France"));
        assert_eq!((found.system, found.network.as_deref()), (Some(64_501), Some("Exemple")));
        for elsewhere in ["198.51.100.1", "203.0.112.255", "2001:db9::1", "::1"] {
            assert_eq!(look(&database, elsewhere).await, Whereabouts::default(), "{elsewhere}");
        }
    }

    #[tokio::test]
    async fn what_one_file_knows_another_does_not_overwrite() {
        let mut whereabouts = Whereabouts::default();
        absorb(&mut whereabouts, &berlin());
        absorb(&mut whereabouts, &json!({ "country": { "names": { "en": "France" } }, "autonomous_system_number": 1 }));
        assert_eq!(whereabouts.country.in_language(&Language::english()), Some("Germany"));
        assert_eq!(whereabouts.system, Some(1));
        absorb(&mut whereabouts, &json!(["nonsense"]));
    }

    #[tokio::test]
    async fn a_file_that_changes_is_read_again_and_a_broken_one_is_not() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("places.mmdb");
        mmdb::write(&path, &[("203.0.113.0/24", berlin())]);
        let database = Database::open(&path).unwrap();
        let city = async |database: &Database| {
            database.refresh(Duration::ZERO).await;
            look(database, "203.0.113.7").await.city.in_language(&Language::english()).map(str::to_owned)
        };
        assert_eq!(city(&database).await.as_deref(), Some("Berlin"));
        fs::write(&path, "no database").unwrap();
        assert_eq!(city(&database).await.as_deref(), Some("Berlin"));
        fs::remove_file(&path).unwrap();
        assert_eq!(city(&database).await.as_deref(), Some("Berlin"));
        mmdb::write(&path, &[("203.0.113.0/24", json!({ "city": { "names": { "en": "Potsdam" } } }))]);
        assert_eq!(city(&database).await.as_deref(), Some("Potsdam"));
    }

    #[test]
    fn what_is_no_database_is_refused_by_name() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("places.mmdb");
        assert!(matches!(Database::open(&path), Err(PlacesError::Unreadable { .. })));
        fs::write(&path, "no database").unwrap();
        let error = Database::open(&path).unwrap_err().to_string();
        assert!(error.contains("places.mmdb is no database in MaxMind's format"), "{error}");
    }
}
