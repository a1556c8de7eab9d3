//! The state file: sessions as they were, for the next start. A line for each, and another behind it whenever one changes, so
//! that a login costs the same however many there are; now and then it is written anew. Readable by its owner alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::notes::write_private;
use super::session::Session;

/// The form of the file; another is not read.
const VERSION: u32 = 3;
/// Lines beyond twice the sessions there are, before the file is written anew.
const SPARE: usize = 256;

#[derive(Serialize, Deserialize)]
struct Head {
    version: u32,
    /// Process ids, start times and the time since boot mean something within one boot only.
    boot: String,
}

/// A session as it is from now on; without one there is none on this interface any more.
#[derive(Serialize, Deserialize)]
struct Line<S> {
    interface: String,
    session: Option<S>,
}

/// The state file, to be written.
#[derive(Debug)]
pub(super) struct State {
    path: PathBuf,
    boot: String,
    /// Open at its end; none before it is written anew.
    file: Option<File>,
    lines: usize,
}

impl State {
    /// Nothing is written yet.
    pub(super) fn new(path: PathBuf) -> Self {
        let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
        Self { path, boot, file: None, lines: 0 }
    }

    /// Reads the sessions of this boot; none when there is no such file or it was of another boot.
    ///
    /// # Errors
    /// A file that cannot be read, or is not ours: the caller goes on without it, with every session in the sandbox.
    pub(super) fn load(&self) -> io::Result<Vec<Session>> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            text => text?,
        };
        // What was being written when the agent was killed was not answered yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = whole.lines();
        let head: Head = serde_json::from_str(lines.next().unwrap_or_default())?;
        if head.version != VERSION || head.boot != self.boot {
            return Ok(Vec::new());
        }
        let mut sessions = BTreeMap::new();
        for line in lines {
            let Line { interface, session } = serde_json::from_str::<Line<Session>>(line)?;
            match session {
                Some(session) => sessions.insert(interface, session),
                None => sessions.remove(&interface),
            };
        }
        Ok(sessions.into_values().collect())
    }

    /// Writes down how the sessions of these interfaces are now.
    ///
    /// # Errors
    /// What the file system says; the next time everything is written.
    pub(super) fn note(&mut self, changed: &[&str], sessions: &BTreeMap<String, Session>) -> io::Result<()> {
        let Some(file) = self.file.as_mut().filter(|_| self.lines < 2 * sessions.len() + SPARE) else {
            return self.write_anew(sessions);
        };
        let mut text = String::new();
        for interface in changed {
            push(&mut text, interface, sessions.get(*interface))?;
        }
        let written = file.write_all(text.as_bytes());
        self.lines += changed.len();
        if written.is_err() {
            // Half a line may be there.
            self.file = None;
        }
        written
    }

    /// Writes all sessions, in place of what there was: whole or not at all.
    ///
    /// # Errors
    /// What the file system says.
    pub(super) fn write_anew(&mut self, sessions: &BTreeMap<String, Session>) -> io::Result<()> {
        self.file = None;
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut text = serde_json::to_string(&Head { version: VERSION, boot: self.boot.clone() })? + "\n";
        for (interface, session) in sessions {
            push(&mut text, interface, Some(session))?;
        }
        write_private(&self.path, text.as_bytes())?;
        self.file = Some(File::options().append(true).open(&self.path)?);
        self.lines = sessions.len();
        Ok(())
    }
}

fn push(text: &mut String, interface: &str, session: Option<&Session>) -> io::Result<()> {
    text.push_str(&serde_json::to_string(&Line { interface: interface.to_owned(), session })?);
    text.push('\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::session::tests::begun;
    use super::*;

    fn state(dir: &tempfile::TempDir) -> State {
        State::new(dir.path().join("state/agent.json"))
    }

    fn sessions(interfaces: &[&str]) -> BTreeMap<String, Session> {
        let session = |interface: &&str| Session { interface: (*interface).to_owned(), ..begun("") };
        interfaces.iter().map(|interface| ((*interface).to_owned(), session(interface))).collect()
    }

    fn loaded(state: &State) -> Vec<String> {
        state.load().unwrap().into_iter().map(|session| session.interface).collect()
    }

    #[test]
    fn changes_are_read_back_in_their_order_and_half_a_line_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = state(&dir);
        assert_eq!(loaded(&state), [""; 0]);
        let mut all = sessions(&["ppp0", "ppp1"]);
        state.note(&["ppp0", "ppp1"], &all).unwrap();
        all.remove("ppp0");
        all.get_mut("ppp1").unwrap().ipv4.hear_down();
        all.extend(sessions(&["ppp2"]));
        state.note(&["ppp0", "ppp1", "ppp2"], &all).unwrap();
        assert_eq!(loaded(&state), ["ppp1", "ppp2"]);
        assert!(state.load().unwrap()[0].ipv4.is_down());
        let before = fs::read_to_string(&state.path).unwrap();
        fs::write(&state.path, format!("{before}{{\"interface\":\"ppp1\",\"session\":nul")).unwrap();
        assert_eq!(loaded(&state), ["ppp1", "ppp2"]);
        fs::write(&state.path, format!("{before}odd\n")).unwrap();
        assert!(state.load().is_err());
        fs::write(&state.path, before.replacen("\"version\":3", "\"version\":2", 1)).unwrap();
        assert_eq!(loaded(&state), [""; 0]);
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (mut state, all) = (state(&dir), sessions(&["ppp0"]));
        for _ in 0..3 * SPARE {
            state.note(&["ppp0"], &all).unwrap();
        }
        let lines = fs::read_to_string(&state.path).unwrap().lines().count();
        assert!(lines <= SPARE + 4, "{lines}");
        assert_eq!(loaded(&state), ["ppp0"]);
    }
}
