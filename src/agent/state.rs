//! The state file: sessions as they were, for the next start. Written whole or not at all, readable by its owner alone.

use std::fs;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::notes::write_private;
use super::session::Session;

/// The form of the file; another is not read.
const VERSION: u32 = 2;

#[derive(Serialize, Deserialize)]
struct File<S> {
    version: u32,
    /// Process ids and start times mean something within one boot only.
    boot: String,
    sessions: Vec<S>,
}

/// Writes the sessions.
///
/// # Errors
/// What the file system says.
pub(super) fn save<'a>(path: &Path, boot: &str, sessions: impl Iterator<Item = &'a Session>) -> io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let file = File { version: VERSION, boot: boot.to_owned(), sessions: sessions.collect() };
    write_private(path, serde_json::to_string(&file)?.as_bytes())
}

/// Reads the sessions of this boot; none when there is no such file or it was of another boot.
///
/// # Errors
/// A file that cannot be read, or is not ours: the caller goes on without it, with every session in the sandbox.
pub(super) fn load(path: &Path, boot: &str) -> io::Result<Vec<Session>> {
    let text = match fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        text => text?,
    };
    let file: File<Session> = serde_json::from_slice(&text)?;
    if file.version != VERSION || file.boot != boot {
        return Ok(Vec::new());
    }
    Ok(file.sessions)
}

/// What tells this boot from others.
pub(super) fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
