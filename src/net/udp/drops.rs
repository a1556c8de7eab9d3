//! What the system dropped before we saw it, because a socket's receive buffer was full: read from the system's table of sockets,
//! since the drops that come with datagrams (SO_RXQ_OVFL) are told only while datagrams get through.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rustix::fs::fstat;

use super::UdpPort;

/// The tables of UDP sockets (proc(5)).
const TABLES: [&str; 2] = ["/proc/net/udp", "/proc/net/udp6"];
/// Where the columns of inode and drops are.
const INODE: usize = 9;
const DROPS: usize = 12;

/// Watches sockets for what the system drops.
#[derive(Debug)]
pub struct KernelDrops {
    /// By inode, the drops that were told.
    told: BTreeMap<u64, u64>,
}

impl KernelDrops {
    /// Watches these sockets from now on.
    ///
    /// # Errors
    /// What the system says.
    pub fn of<'a>(ports: impl IntoIterator<Item = &'a UdpPort>) -> io::Result<Self> {
        let inodes = ports.into_iter().map(|port| Ok((fstat(&port.socket)?.st_ino, 0)));
        Ok(Self { told: inodes.collect::<io::Result<_>>()? })
    }

    /// How many datagrams were dropped since this was last asked.
    ///
    /// # Errors
    /// What the system says when a table cannot be read. That there is no IPv6 is no error.
    pub fn since_last(&mut self) -> io::Result<u64> {
        let mut new = 0;
        for table in TABLES {
            let table = match std::fs::read_to_string(table) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                table => table?,
            };
            new += self.read(&table);
        }
        Ok(new)
    }

    fn read(&mut self, table: &str) -> u64 {
        let mut new = 0;
        let mut read = BTreeSet::new();
        for line in table.lines().skip(1) {
            let number = |column| line.split_ascii_whitespace().nth(column)?.parse::<u64>().ok();
            let (Some(inode), Some(drops)) = (number(INODE), number(DROPS)) else { continue };
            // A socket that is moved while the table is read may stand in it twice.
            if let Some(told) = self.told.get_mut(&inode)
                && read.insert(inode)
            {
                new += drops.saturating_sub(*told);
                *told = drops;
            }
        }
        new
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::super::bind_shared;
    use super::*;

    #[test]
    fn what_finds_no_room_is_counted_once() {
        let ports = bind_shared("127.0.0.1:0".parse().unwrap(), 2, 4096).unwrap();
        let mut drops = KernelDrops::of(&ports).unwrap();
        assert_eq!(drops.since_last().unwrap(), 0);
        let client = UdpSocket::bind("127.0.0.1:0").unwrap();
        let to = ports[0].local_addr().unwrap();
        let room = || {
            ports.iter().map(|port| {
                let mut octets = [0; 100];
                std::iter::from_fn(|| port.socket.recv(&mut octets).ok()).count() as u64
            })
        };
        for _ in 0..2 {
            (0..1000).for_each(|_| drop(client.send_to(&[0; 100], to).unwrap()));
            let dropped = drops.since_last().unwrap();
            assert_eq!(dropped + room().sum::<u64>(), 1000);
            assert!(dropped > 0);
            assert_eq!(drops.since_last().unwrap(), 0, "nothing new");
        }
    }

    #[test]
    fn only_our_sockets_count() {
        let table = "   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops\n\
                     \x20 10: 0100007F:0714 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 77 2 0 5\n\
                     \x20 11: 0100007F:0715 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 78 2 0 6\n\
                     \x20 11: 0100007F:0715 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 78 2 0 6\n";
        let mut drops = KernelDrops { told: BTreeMap::from([(78, 2), (79, 0)]) };
        assert_eq!(drops.read(table), 4);
        assert_eq!(drops.read(table), 0);
    }
}
