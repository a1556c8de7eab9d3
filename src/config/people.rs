//! How people are spoken to: `[messages]` and `[places]`.

use std::path::PathBuf;
use std::time::Duration;

use super::reader::Section;
use crate::model::{Language, Zone};

/// The words people read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Messages {
    /// A directory whose `LANGUAGE/*.ftl` take the place of embedded messages.
    pub directory: Option<PathBuf>,
    /// The language of chats that have said nothing about it.
    pub language: Language,
    /// The time zone of chats that have said nothing about it.
    pub zone: Zone,
}

/// What is known of addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places {
    /// Files in MaxMind's format.
    pub files: Vec<PathBuf>,
    /// Ask the DNS for the names of addresses.
    pub host_names: bool,
    /// How long to wait for a name.
    pub patience: Duration,
}

/// A prompt waits for this.
const LONGEST: Duration = Duration::from_secs(5);

pub(super) fn messages(mut section: Section<'_>) -> Messages {
    let directory = section.path("directory");
    if let Some(path) = directory.as_ref().filter(|path| !path.is_dir()) {
        section.problem("directory", format!("{} is no directory", path.display()));
    }
    let messages = Messages {
        directory,
        language: section.parsed("language", "a language such as en or ru", str::parse).unwrap_or_default(),
        zone: section.parsed("zone", "a time zone such as Europe/Berlin", str::parse).unwrap_or_default(),
    };
    section.finish();
    messages
}

pub(super) fn places(mut section: Section<'_>) -> Places {
    let places = Places {
        files: section.paths("files").unwrap_or_default(),
        host_names: section.boolean("host_names").unwrap_or(false),
        patience: section.duration("patience").unwrap_or(Duration::from_secs(1)),
    };
    if let Some(file) = places.files.iter().find(|file| !file.is_file()) {
        section.problem("files", format!("{} is no file", file.display()));
    }
    if places.patience.is_zero() || places.patience > LONGEST {
        section.problem("patience", "is not within 5s; every prompt waits for it");
    }
    section.finish();
    places
}
