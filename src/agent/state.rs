//! The state file: sessions and bans as they were, for the next start. A line for each, and another behind it whenever one changes, so
//! that a login costs the same however many there are; now and then it is written anew. Readable by its owner alone.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::PathBuf;

use ipnet::IpNet;
use serde::{Deserialize, Serialize};

use super::ban::Bans;
use super::moment::Uptime;
use super::notes::write_private;
use super::session::{Newest, Session};

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

/// What is from now on.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Line<S> {
    /// A session; without one there is none on this interface any more.
    Session { interface: String, session: Option<S> },
    /// A ban; without an end it is one until it is lifted.
    Ban { ban: IpNet, until: Option<Uptime>, lifted: bool },
    /// The newest requests that were carried out for a station of a captive network.
    Station { station: String, newest: Newest },
}

/// What is kept, borrowed from whoever keeps it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Kept<'a> {
    pub(super) sessions: &'a BTreeMap<String, Session>,
    pub(super) bans: &'a Bans,
    pub(super) stations: &'a BTreeMap<String, Newest>,
}

/// What is to be written of it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Changed<'a> {
    pub(super) interfaces: &'a [&'a str],
    pub(super) networks: &'a [IpNet],
    pub(super) stations: &'a [&'a str],
}

/// What was kept.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    pub(super) sessions: Vec<Session>,
    pub(super) bans: Bans,
    pub(super) stations: BTreeMap<String, Newest>,
}

/// Why the state is not in its file.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotWritten {
    /// There is no file any more.
    #[error("{0}; the file is removed, so a restart would sandbox all and forget bans")]
    Removed(io::Error),
    /// An old one is there still.
    #[error(
        "{why}; nor can the old file be removed ({error}): a restart would believe it, permits that were taken back too"
    )]
    StaysOld {
        /// Why it cannot be written.
        why: io::Error,
        /// Why it cannot be removed.
        error: io::Error,
    },
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

    /// Reads what was kept in this boot; nothing when there is no such file or it was of another boot.
    ///
    /// # Errors
    /// A file that cannot be read, or is not ours: the caller goes on without it, with every session in the sandbox.
    pub(super) fn load(&self) -> io::Result<Loaded> {
        let text = match fs::read_to_string(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(<_>::default()),
            text => text?,
        };
        // What was being written when the agent was killed was not answered yet.
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let mut lines = whole.lines();
        let head: Head = serde_json::from_str(lines.next().unwrap_or_default())?;
        if head.version != VERSION || head.boot != self.boot {
            return Ok(<_>::default());
        }
        let (mut sessions, mut bans, mut stations) = (BTreeMap::new(), Bans::default(), BTreeMap::new());
        for line in lines {
            match serde_json::from_str::<Line<Session>>(line)? {
                Line::Session { interface, session: Some(session) } => drop(sessions.insert(interface, session)),
                Line::Session { interface, session: None } => drop(sessions.remove(&interface)),
                Line::Ban { ban, lifted: true, .. } => bans.lift(ban),
                Line::Ban { ban, until, lifted: false } => bans.set(ban, until),
                Line::Station { station, newest } => drop(stations.insert(station, newest)),
            }
        }
        Ok(Loaded { sessions: sessions.into_values().collect(), bans, stations })
    }

    /// Writes down how these are now.
    ///
    /// # Errors
    /// As of [`State::write_anew`].
    pub(super) fn note(&mut self, changed: Changed<'_>, kept: Kept<'_>) -> Result<(), NotWritten> {
        let most = 2 * kept.lines() + SPARE;
        let Some(file) = self.file.as_mut().filter(|_| self.lines < most) else {
            return self.write_anew(kept);
        };
        let mut write = || -> io::Result<()> {
            let mut text = String::new();
            for interface in changed.interfaces {
                push(&mut text, interface, kept.sessions.get(*interface))?;
            }
            for network in changed.networks {
                push_ban(&mut text, *network, kept.bans.until(*network))?;
            }
            for station in changed.stations {
                push_station(&mut text, station, kept.stations.get(*station))?;
            }
            file.write_all(text.as_bytes())
        };
        if write().is_ok() {
            self.lines += changed.interfaces.len() + changed.networks.len() + changed.stations.len();
            return Ok(());
        }
        // Half a line may be there.
        self.write_anew(kept)
    }

    /// Writes everything, in place of what there was. When that fails there is no file any more: what it said, permits that were
    /// taken back among it, must not be believed at the next start.
    ///
    /// # Errors
    /// [`NotWritten`]; the next time everything is written.
    pub(super) fn write_anew(&mut self, kept: Kept<'_>) -> Result<(), NotWritten> {
        self.file = None;
        self.try_write_anew(kept).map_err(|why| match fs::remove_file(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => NotWritten::StaysOld { why, error },
            _ => NotWritten::Removed(why),
        })
    }

    fn try_write_anew(&mut self, kept: Kept<'_>) -> io::Result<()> {
        if let Some(parent) = self.path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut text = serde_json::to_string(&Head { version: VERSION, boot: self.boot.clone() })? + "\n";
        for (interface, session) in kept.sessions {
            push(&mut text, interface, Some(session))?;
        }
        for (network, until) in kept.bans.iter() {
            push_ban(&mut text, network, Some(until))?;
        }
        for (station, newest) in kept.stations {
            push_station(&mut text, station, Some(newest))?;
        }
        write_private(&self.path, text.as_bytes())?;
        self.file = Some(File::options().append(true).open(&self.path)?);
        self.lines = kept.lines();
        Ok(())
    }
}

fn push(text: &mut String, interface: &str, session: Option<&Session>) -> io::Result<()> {
    text.push_str(&serde_json::to_string(&Line::Session { interface: interface.to_owned(), session })?);
    text.push('\n');
    Ok(())
}

fn push_ban(text: &mut String, ban: IpNet, until: Option<Option<Uptime>>) -> io::Result<()> {
    let line = Line::<Session>::Ban { ban, until: until.flatten(), lifted: until.is_none() };
    text.push_str(&serde_json::to_string(&line)?);
    text.push('\n');
    Ok(())
}

fn push_station(text: &mut String, station: &str, newest: Option<&Newest>) -> io::Result<()> {
    let Some(newest) = newest.cloned() else { return Ok(()) };
    text.push_str(&serde_json::to_string(&Line::<Session>::Station { station: station.to_owned(), newest })?);
    text.push('\n');
    Ok(())
}

impl Kept<'_> {
    fn lines(&self) -> usize {
        self.sessions.len() + self.bans.len() + self.stations.len()
    }
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

    fn note(
        state: &mut State,
        interfaces: &[&str],
        networks: &[IpNet],
        sessions: &BTreeMap<String, Session>,
        bans: &Bans,
    ) -> Result<(), NotWritten> {
        let changed = Changed { interfaces, networks, ..Changed::default() };
        state.note(changed, Kept { sessions, bans, stations: &BTreeMap::new() })
    }

    fn loaded(state: &State) -> Vec<String> {
        state.load().unwrap().sessions.into_iter().map(|session| session.interface).collect()
    }

    #[test]
    fn changes_are_read_back_in_their_order_and_half_a_line_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = state(&dir);
        assert_eq!(loaded(&state), [""; 0]);
        let mut all = sessions(&["ppp0", "ppp1"]);
        let mut bans = Bans::default();
        let [one, other]: [IpNet; 2] = ["192.0.2.0/24", "2001:db8::/64"].map(|network| network.parse().unwrap());
        bans.set(one, None);
        note(&mut state, &["ppp0", "ppp1"], &[one], &all, &bans).unwrap();
        bans.lift(one);
        bans.set(other, Some(Uptime::after_boot(std::time::Duration::from_secs(9))));
        note(&mut state, &[], &[one, other], &all, &bans).unwrap();
        assert_eq!(state.load().unwrap().bans, bans);
        all.remove("ppp0");
        all.get_mut("ppp1").unwrap().ipv4.hear_down();
        all.extend(sessions(&["ppp2"]));
        note(&mut state, &["ppp0", "ppp1", "ppp2"], &[], &all, &bans).unwrap();
        assert_eq!(state.load().unwrap().bans, bans);
        assert_eq!(loaded(&state), ["ppp1", "ppp2"]);
        assert!(state.load().unwrap().sessions[0].ipv4.is_down());
        let before = fs::read_to_string(&state.path).unwrap();
        fs::write(&state.path, format!("{before}{{\"interface\":\"ppp1\",\"session\":nul")).unwrap();
        assert_eq!(loaded(&state), ["ppp1", "ppp2"]);
        fs::write(&state.path, format!("{before}odd\n")).unwrap();
        assert!(state.load().is_err());
        fs::write(&state.path, before.replacen("\"version\":3", "\"version\":2", 1)).unwrap();
        assert_eq!(loaded(&state), [""; 0]);
    }

    #[test]
    fn what_cannot_be_written_is_not_believed_later() {
        let dir = tempfile::tempdir().unwrap();
        let (mut state, bans) = (state(&dir), Bans::default());
        note(&mut state, &["ppp0"], &[], &sessions(&["ppp0"]), &bans).unwrap();
        assert_eq!(loaded(&state), ["ppp0"]);
        // As a full disk: no new file can be made, and the one that is open takes nothing.
        let in_the_way = dir.path().join("state/agent.json.new");
        fs::create_dir(&in_the_way).unwrap();
        state.file = Some(File::open(&state.path).unwrap());
        let none = sessions(&[]);
        assert!(matches!(note(&mut state, &["ppp0"], &[], &none, &bans), Err(NotWritten::Removed(_))));
        assert_eq!(loaded(&state), [""; 0]);
        fs::remove_dir(&in_the_way).unwrap();
        note(&mut state, &["ppp1"], &[], &sessions(&["ppp1"]), &bans).unwrap();
        assert_eq!(loaded(&state), ["ppp1"], "all is written at the next occasion");
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let dir = tempfile::tempdir().unwrap();
        let (mut state, all) = (state(&dir), sessions(&["ppp0"]));
        for _ in 0..3 * SPARE {
            note(&mut state, &["ppp0"], &[], &all, &Bans::default()).unwrap();
        }
        let lines = fs::read_to_string(&state.path).unwrap().lines().count();
        assert!(lines <= SPARE + 4, "{lines}");
        assert_eq!(loaded(&state), ["ppp0"]);
    }
}
