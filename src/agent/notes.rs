//! Notes hooks leave for an agent that is away, and files only their owner reads. A hook is root, the directory of the socket is
//! the agent's, who need not be: so everything here goes by descriptors, and follows no link that is there.

use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, OFlags, Stat, Uid, fchown, fstat, mkdirat, openat, renameat, unlinkat};
use rustix::io::Errno;

use super::hook::{HookCall, HookEvent, is_interface};

/// Where notes lie: beside the socket.
pub(super) fn notes(socket: &Path) -> PathBuf {
    socket.with_extension("missed")
}

/// One note an interface: the last word of IPv4 counts, and says when it came [again](HookCall::again). That it went down is a
/// word too: its pppd may live on, with IPv6, or negotiate it again. The agent throws the notes of those away that have ended.
pub(super) fn leave_note(socket: &Path, call: &HookCall) -> io::Result<()> {
    if matches!(call.event, HookEvent::Ipv6Up | HookEvent::Ipv6Down) {
        return Ok(());
    }
    let (directory, owner) = make_notes(socket)?;
    let before = read_note(directory.as_fd(), &call.interface)?.flatten();
    let of_another = before.as_ref().is_some_and(|before| before.pid != call.pid);
    if of_another && call.event == HookEvent::IpDown {
        // It is of the next session on this interface, which has begun already.
        return Ok(());
    }
    let again = call.again || before.is_some_and(|before| comes_again(&before, call));
    let call = HookCall { again, ..call.clone() };
    write_at(directory.as_fd(), &call.interface, serde_json::to_string(&call)?.as_bytes(), Some(&owner))
}

/// Whether IPv4 was up before under the same Access-Accept, by the note before this one.
fn comes_again(before: &HookCall, call: &HookCall) -> bool {
    let comes_again = match (before.event, call.event) {
        (_, HookEvent::IpDown) => before.again,
        (HookEvent::IpPreUp, HookEvent::IpUp) => before.again,
        _ => true,
    };
    comes_again && before.pid == call.pid && before.accepted_at == call.accepted_at
}

/// What is found where a note should be.
pub(super) enum Note {
    /// A hook's.
    Of(HookCall),
    /// None.
    Away,
    /// One that nobody understands, and why.
    Odd(String),
}

/// The note of an interface, by the agent.
pub(super) fn read_note_of(directory: &Path, interface: &str) -> Note {
    let octets = match std::fs::read(directory.join(interface)) {
        Ok(octets) => octets,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Note::Away,
        Err(error) => return Note::Odd(error.to_string()),
    };
    match serde_json::from_slice::<HookCall>(&octets) {
        Ok(call) if call.interface == interface => Note::Of(call),
        Ok(call) => Note::Odd(format!("it is of {:?}", call.interface)),
        Err(error) => Note::Odd(error.to_string()),
    }
}

/// The interfaces there are notes of, in order. One that is being written has its name yet to get.
pub(super) fn interfaces_of_notes(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten();
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut names: Vec<_> = names.filter(|name| is_interface(name) && !name.ends_with(".new")).collect();
    names.sort_unstable();
    names
}

/// Takes a note that is not understood out of the way, for somebody to look at: one of each interface is kept.
pub(super) fn set_aside(directory: &Path, interface: &str) -> io::Result<PathBuf> {
    let mut aside = directory.as_os_str().to_owned();
    aside.push("-odd");
    let aside = PathBuf::from(aside);
    match std::fs::DirBuilder::new().mode(0o700).create(&aside) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => (),
    }
    let kept = aside.join(interface);
    std::fs::rename(directory.join(interface), &kept)?;
    Ok(kept)
}

/// Writes a file that only its owner reads, whole or not at all. It is not forced to the disk: what it says is true of this
/// boot alone, and until then the kernel keeps it.
pub(super) fn write_private(path: &Path, octets: &[u8]) -> io::Result<()> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or(io::ErrorKind::InvalidInput)?;
    // This one is in the configuration of whoever writes, so it may be a link.
    let directory = openat(CWD, parent(path), OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    write_at(directory.as_fd(), name, octets, None)
}

/// The directory a path is in.
fn parent(path: &Path) -> &Path {
    path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

fn open_directory(at: BorrowedFd<'_>, path: &Path) -> rustix::io::Result<OwnedFd> {
    openat(at, path, OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// The directory of the notes, and whose the directory of the socket is: theirs the notes are to be.
fn make_notes(socket: &Path) -> io::Result<(OwnedFd, Stat)> {
    let (notes, beside) = (notes(socket), parent(socket));
    if !beside.exists() {
        std::fs::create_dir_all(beside)?;
    }
    let beside = open_directory(CWD, beside)?;
    let owner = fstat(&beside)?;
    let name = Path::new(notes.file_name().ok_or(io::ErrorKind::InvalidInput)?);
    let made = match mkdirat(&beside, name, Mode::RWXU) {
        Ok(()) => true,
        Err(Errno::EXIST) => false,
        Err(error) => return Err(error.into()),
    };
    let directory = open_directory(beside.as_fd(), name)?;
    let found = fstat(&directory)?;
    // Given away is only what was made just now, not what somebody put there.
    if made && found.st_uid == rustix::process::geteuid().as_raw() {
        give(directory.as_fd(), &owner)?;
    } else if found.st_uid != owner.st_uid {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "the notes' directory is another's"));
    }
    Ok((directory, owner))
}

fn give(file: BorrowedFd<'_>, owner: &Stat) -> rustix::io::Result<()> {
    fchown(file, Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)))
}

/// `None` when there is no note, `Some(None)` when it is none of ours.
fn read_note(directory: BorrowedFd<'_>, interface: &str) -> io::Result<Option<Option<HookCall>>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let note = match openat(directory, interface, flags, Mode::empty()) {
        Ok(note) => note,
        Err(Errno::NOENT) => return Ok(None),
        Err(Errno::LOOP) => return Ok(Some(None)),
        Err(error) => return Err(error.into()),
    };
    let mut octets = Vec::new();
    File::from(note).take(64 << 10).read_to_end(&mut octets)?;
    Ok(Some(serde_json::from_slice(&octets).ok()))
}

fn write_at(directory: BorrowedFd<'_>, name: &str, octets: &[u8], owner: Option<&Stat>) -> io::Result<()> {
    let new = format!("{name}.new");
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let create = || openat(directory, new.as_str(), flags, Mode::RUSR | Mode::WUSR);
    let file = match create() {
        // Of one that was interrupted, or a trap: it goes, wherever it points to.
        Err(Errno::EXIST) => {
            unlinkat(directory, new.as_str(), AtFlags::empty())?;
            create()?
        }
        file => file?,
    };
    let mut file = File::from(file);
    file.write_all(octets)?;
    if let Some(owner) = owner {
        give(file.as_fd(), owner)?;
    }
    Ok(renameat(directory, new.as_str(), directory, name)?)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    use super::*;

    fn call(event: HookEvent) -> HookCall {
        let said = [("IFNAME", "ppp3"), ("PPPD_PID", "7")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        HookCall::from_environment(event, &BTreeMap::from(said)).unwrap()
    }

    #[test]
    fn the_last_word_counts() {
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("agent.sock");
        leave_note(&socket, &call(HookEvent::IpPreUp)).unwrap();
        let note = notes(&socket).join("ppp3");
        let read: HookCall = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
        assert_eq!(read, call(HookEvent::IpPreUp));
        leave_note(&socket, &HookCall { pid: Some(6), ..call(HookEvent::IpDown) }).unwrap();
        assert!(note.exists(), "an earlier session's end is not this one's");
        leave_note(&socket, &call(HookEvent::IpDown)).unwrap();
        let read: HookCall = serde_json::from_slice(&fs::read(&note).unwrap()).unwrap();
        assert_eq!(read, call(HookEvent::IpDown));
    }

    #[test]
    fn it_is_noted_that_ipv4_came_again() {
        use HookEvent::{IpDown, IpPreUp, IpUp};
        let later = Some((2, 0));
        for (events, again) in [
            (&[(IpPreUp, None), (IpUp, None)][..], false),
            (&[(IpPreUp, None), (IpUp, None), (IpDown, None)], false),
            (&[(IpPreUp, None), (IpUp, None), (IpDown, None), (IpPreUp, None)], true),
            (&[(IpPreUp, None), (IpUp, None), (IpPreUp, None)], true),
            (&[(IpPreUp, None), (IpPreUp, None)], true),
            (&[(IpUp, None), (IpUp, None)], true),
            (&[(IpPreUp, None), (IpUp, None), (IpPreUp, None), (IpDown, None), (IpUp, None)], true),
            (&[(IpUp, None), (IpDown, None), (IpPreUp, later), (IpUp, later)], false),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let socket = dir.path().join("agent.sock");
            for (event, accepted_at) in events {
                leave_note(&socket, &HookCall { accepted_at: *accepted_at, ..call(*event) }).unwrap();
            }
            leave_note(&socket, &call(HookEvent::Ipv6Up)).unwrap();
            let Note::Of(read) = read_note_of(&notes(&socket), "ppp3") else { panic!("there is a note") };
            assert_eq!((read.again, read.event), (again, events.last().unwrap().0), "{events:?}");
            let next = HookCall { pid: Some(8), ..call(HookEvent::IpPreUp) };
            leave_note(&socket, &next).unwrap();
            assert!(matches!(read_note_of(&notes(&socket), "ppp3"), Note::Of(read) if !read.again));
        }
    }

    #[test]
    fn what_nobody_understands_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let directory = notes(&dir.path().join("agent.sock"));
        fs::create_dir(&directory).unwrap();
        leave_note(&dir.path().join("agent.sock"), &call(HookEvent::IpPreUp)).unwrap();
        fs::copy(directory.join("ppp3"), directory.join("ppp4")).unwrap();
        fs::write(directory.join("ppp5"), "{").unwrap();
        fs::write(directory.join("ppp6.new"), "{").unwrap();
        assert_eq!(interfaces_of_notes(&directory), ["ppp3", "ppp4", "ppp5"]);
        assert!(matches!(read_note_of(&directory, "ppp3"), Note::Of(_)));
        assert!(matches!(read_note_of(&directory, "ppp9"), Note::Away));
        for odd in ["ppp4", "ppp5", "ppp5"] {
            fs::write(directory.join("ppp5"), "{").unwrap();
            assert!(matches!(read_note_of(&directory, odd), Note::Odd(_)), "{odd}");
            assert!(set_aside(&directory, odd).unwrap().exists());
            assert!(matches!(read_note_of(&directory, odd), Note::Away), "{odd}");
        }
    }

    #[test]
    fn links_are_not_followed() {
        let (dir, theirs) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let socket = dir.path().join("agent.sock");
        let precious = theirs.path().join("shadow");
        fs::write(&precious, "precious").unwrap();
        symlink(theirs.path(), notes(&socket)).unwrap();
        assert!(leave_note(&socket, &call(HookEvent::IpPreUp)).is_err(), "the directory is a link");
        assert_eq!(fs::read_dir(theirs.path()).unwrap().count(), 1);
        fs::remove_file(notes(&socket)).unwrap();
        fs::create_dir(notes(&socket)).unwrap();
        for name in ["ppp3", "ppp3.new"] {
            symlink(&precious, notes(&socket).join(name)).unwrap();
        }
        leave_note(&socket, &call(HookEvent::IpPreUp)).unwrap();
        let note = fs::symlink_metadata(notes(&socket).join("ppp3")).unwrap();
        assert!(note.is_file() && note.permissions().mode() & 0o777 == 0o600);
        assert_eq!(note.uid(), fs::metadata(dir.path()).unwrap().uid());
        symlink(&precious, theirs.path().join("state.new")).unwrap();
        write_private(&theirs.path().join("state"), b"state").unwrap();
        assert_eq!(fs::read_to_string(&precious).unwrap(), "precious");
    }
}
