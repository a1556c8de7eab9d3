//! The words a server speaks: embedded dictionaries, dialects and messages, and those the operator adds from directories.

use std::io;
use std::path::{Path, PathBuf};

use crate::config;
use crate::dialect::{DialectError, Dialects};
use crate::messages::{Messages, MessagesError};
use crate::model::Language;
use crate::places::{Places, PlacesError, PlacesSettings};
use crate::radius::dictionary::{Dictionary, DictionaryError};

/// Why the words cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum WordsError {
    /// A directory or file cannot be read.
    #[error("{}: {problem}", path.display())]
    Unreadable {
        /// Which.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// A dictionary is wrong.
    #[error(transparent)]
    Dictionary(#[from] DictionaryError),
    /// A dialect is wrong.
    #[error(transparent)]
    Dialect(#[from] DialectError),
    /// A message is wrong.
    #[error(transparent)]
    Messages(#[from] MessagesError),
    /// A message cannot be in that language.
    #[error("messages.language: nothing is said in {0}; there are {1}")]
    Language(Language, String),
}

/// The embedded dictionary, extended by the files named `dictionary*` of a directory, in the order of their names.
///
/// # Errors
/// [`WordsError`], naming file and line.
pub fn dictionary(directory: Option<&Path>) -> Result<Dictionary, WordsError> {
    let files = match directory {
        Some(directory) => files(directory, |name| name.starts_with("dictionary"))?,
        None => Vec::new(),
    };
    Ok(Dictionary::embedded().extended(&files, |path| std::fs::read_to_string(path))?)
}

/// The embedded dialects and the `*.toml` files of a directory, in the order of their names.
///
/// # Errors
/// [`WordsError`], naming file and line.
pub fn dialects(directory: Option<&Path>, dictionary: &Dictionary) -> Result<Dialects, WordsError> {
    let mut dialects = Dialects::embedded(dictionary)?;
    if let Some(directory) = directory {
        for path in files(directory, |name| name.ends_with(".toml"))? {
            let text = std::fs::read_to_string(&path)
                .map_err(|problem| WordsError::Unreadable { path: path.clone(), problem })?;
            dialects.add(&path.to_string_lossy(), &text, dictionary)?;
        }
    }
    Ok(dialects)
}

/// The embedded messages, and those of the configured directory over them.
///
/// # Errors
/// [`WordsError`], naming file and line, and a language in which nothing is said.
pub fn messages(config: &config::Messages) -> Result<Messages, WordsError> {
    let messages = Messages::load(config.directory.as_deref())?;
    if !messages.speaks(&config.language) {
        let known = messages.languages().iter().map(Language::as_str).collect::<Vec<_>>().join(", ");
        return Err(WordsError::Language(config.language.clone(), known));
    }
    Ok(messages)
}

/// What places are looked up in.
///
/// # Errors
/// [`PlacesError`], naming the file.
pub fn places(config: &config::Places) -> Result<Places, PlacesError> {
    let config::Places { files, host_names, patience } = config.clone();
    Places::open(&PlacesSettings { files, host_names, patience })
}

fn files(directory: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, WordsError> {
    let unreadable = |problem| WordsError::Unreadable { path: directory.to_owned(), problem };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).map_err(unreadable)? {
        let entry = entry.map_err(unreadable)?;
        if wanted(&entry.file_name().to_string_lossy()) {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}
