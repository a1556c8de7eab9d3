//! Where an address is, as far as this host can tell by itself: from local files in MaxMind's format, and from the DNS.
//!
//! | file | what it is |
//! |---|---|
//! | `database.rs` | one file, read again when it changes |
//! | `names.rs` | names of addresses in the DNS, where that is wanted |
//!
//! Never asks the web, and never keeps anybody waiting for long: what is not known in time is not known. What it gives is what others
//! wrote down, and a guest wherever it is shown.

mod database;
mod names;

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use self::database::Database;
pub use self::database::PlacesError;
use self::names::HostNames;
use crate::model::Whereabouts;

/// What to look places up in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlacesSettings {
    /// Files in MaxMind's format. What several know, the first one says.
    pub files: Vec<PathBuf>,
    /// Ask the DNS for names.
    pub host_names: bool,
    /// How long to wait for a name.
    pub patience: Duration,
}

/// Looks places up.
#[derive(Debug)]
pub struct Places {
    databases: Vec<Database>,
    names: Option<HostNames>,
}

impl Places {
    /// Opens the files.
    ///
    /// # Errors
    /// [`PlacesError`] when one cannot be read or is not in MaxMind's format. Later such a file is kept as it was.
    pub fn open(settings: &PlacesSettings) -> Result<Self, PlacesError> {
        Ok(Self {
            databases: settings.files.iter().map(|path| Database::open(path)).collect::<Result<_, _>>()?,
            names: settings.host_names.then(|| HostNames::new(settings.patience)),
        })
    }

    /// Knows nothing.
    pub fn unknown() -> Self {
        Self { databases: Vec::new(), names: None }
    }

    /// Where an address is.
    pub async fn whereabouts(&self, address: IpAddr) -> Whereabouts {
        let mut whereabouts = Whereabouts::default();
        for database in &self.databases {
            database.look(address, &mut whereabouts).await;
        }
        if let Some(names) = &self.names {
            whereabouts.host = names.of(address).await;
        }
        whereabouts
    }
}
