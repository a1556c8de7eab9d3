//! The words a server speaks: embedded dictionaries and dialects, and those the operator adds from directories.

use std::io;
use std::path::{Path, PathBuf};

use crate::dialect::{DialectError, Dialects};
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
