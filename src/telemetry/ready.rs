//! Tells whoever started this process that it is ready, as systemd's `Type=notify` wants it. Knows nothing of what is ready.

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use tracing::warn;

/// Says `READY=1` at the socket that NOTIFY_SOCKET names, if any (sd_notify(3)). Units that come after ours wait for this, and so
/// does `systemctl start`.
pub fn tell_ready() {
    let Some(socket) = std::env::var_os("NOTIFY_SOCKET") else { return };
    if let Err(error) = tell(&socket, b"READY=1") {
        warn!(?socket, %error, "nobody can be told that this is ready");
    }
}

/// A name that begins with `@` is none of the file system's.
fn tell(socket: &OsStr, word: &[u8]) -> io::Result<()> {
    let to = match socket.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(socket)?,
    };
    UnixDatagram::unbound()?.send_to_addr(word, &to).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_waits_at_the_socket_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let name = format!("radhold-{}", std::process::id());
        let hidden = UnixDatagram::bind_addr(&SocketAddr::from_abstract_name(name.as_bytes()).unwrap()).unwrap();
        for (waits, socket) in
            [(UnixDatagram::bind(&path).unwrap(), path.into_os_string()), (hidden, format!("@{name}").into())]
        {
            tell(&socket, b"READY=1").unwrap();
            let mut octets = [0; 64];
            let count = waits.recv(&mut octets).unwrap();
            assert_eq!(&octets[..count], b"READY=1");
        }
        assert!(tell(OsStr::new("/nowhere/at/all"), b"READY=1").is_err());
    }
}
