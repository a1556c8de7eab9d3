//! What lies in a spool stays, in order, through a reopening; what is damaged costs no more than itself.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use tempfile::TempDir;
use uuid::Uuid;

use super::*;
use crate::model::{ApproverKind, SessionId};
use crate::session::Event;

const NOON: Timestamp = Timestamp::from_secs(1_795_176_000);
const MEBIBYTE: u64 = 1 << 20;

fn packet(number: u8) -> Entry {
    Entry::Accounting(AccountingPacket {
        nas: "edge".into(),
        source: "192.0.2.1".parse().unwrap(),
        received_at: NOON,
        packet: vec![number; 300],
    })
}

fn outcome() -> Entry {
    let event = Event::CoaNaked { attempt: 3, error_cause: Some(503) };
    Entry::outcome(NOON, SessionId(Uuid::from_u128(7)), 12, &event).unwrap()
}

fn press() -> Entry {
    let (button, presser) = ("y…".to_owned(), "77".to_owned());
    Entry::Press { at: NOON, button, approver: ApproverKind::Telegram, presser }
}

fn home() -> (TempDir, PathBuf) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("spool.sqlite");
    (home, path)
}

async fn open(path: &Path) -> Spool {
    let (spool, moved) = Spool::open(path, MEBIBYTE, NOON).await.unwrap();
    assert_eq!(moved, None);
    spool
}

async fn entries(spool: &Spool) -> Vec<Entry> {
    spool.oldest(0, 1000).await.unwrap().into_iter().map(|(_, entry)| entry.unwrap()).collect()
}

#[tokio::test]
async fn entries_leave_in_the_order_they_came_and_only_when_struck_off() {
    let (_home, path) = home();
    let spool = open(&path).await;
    spool.put(&[packet(1), outcome()]).await.unwrap();
    spool.put(&[press(), packet(2)]).await.unwrap();
    drop(spool);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);

    let spool = open(&path).await;
    assert_eq!(entries(&spool).await, [packet(1), outcome(), press(), packet(2)]);
    let first = spool.oldest(0, 2).await.unwrap();
    assert_eq!(first.len(), 2);
    assert_eq!(spool.oldest(first[1].0, 10).await.unwrap()[0].1, Ok(press()));
    spool.strike_off(&first.iter().map(|(number, _)| *number).collect::<Vec<_>>()).await.unwrap();
    assert_eq!(spool.waiting(), 2);
    assert_eq!(entries(&spool).await, [press(), packet(2)]);
    let fill = spool.fill().await.unwrap();
    assert_eq!((fill.waiting, fill.oldest, fill.set_aside, fill.limit), (2, Some(NOON), 0, MEBIBYTE));
    assert!(!fill.is_alarming());
}

#[test]
fn what_somebody_decided_is_no_outcome() {
    let session = SessionId(Uuid::from_u128(7));
    assert_eq!(Entry::outcome(NOON, session, 12, &Event::TimerPassed), None);
    let approval = crate::session::Approval::by_operator("eve");
    assert_eq!(Entry::outcome(NOON, session, 12, &Event::Approved(approval)), None);
}

#[tokio::test]
async fn a_damaged_entry_is_set_aside_and_blocks_nobody() {
    let (_home, path) = home();
    let spool = open(&path).await;
    spool.put(&[packet(1), packet(2), packet(3)]).await.unwrap();
    sqlx::query("UPDATE entries SET packet = zeroblob(300) WHERE seq = 2").execute(&spool.pool).await.unwrap();
    let taken = spool.oldest(0, 10).await.unwrap();
    assert_eq!(taken[1], (2, Err("its checksum does not match".to_owned())));
    assert_eq!(taken[2], (3, Ok(packet(3))));
    spool.set_aside(2, "its checksum does not match").await.unwrap();
    assert_eq!(entries(&spool).await, [packet(1), packet(3)]);
    assert_eq!((spool.waiting(), spool.fill().await.unwrap().set_aside), (2, 1));
    let aside = spool.list_set_aside(10).await.unwrap();
    assert_eq!((aside[0].number, aside[0].at, aside[0].reason.as_str()), (2, NOON, "its checksum does not match"));
    assert!(aside[0].about.contains("edge"));
}

#[tokio::test]
async fn it_is_full_at_its_bound_and_keeps_nothing_of_what_does_not_fit() {
    let (_home, path) = home();
    let (spool, _) = Spool::open(&path, 256 * 1024, NOON).await.unwrap();
    let batch: Vec<Entry> = (0..50).map(packet).collect();
    let mut alarmed = 0;
    let full = loop {
        if let Err(error) = spool.put(&batch).await {
            break error;
        }
        alarmed += u32::from(spool.fill().await.unwrap().is_alarming());
        assert!(spool.waiting() < 1000, "256 KiB hold no 300 KiB");
    };
    assert!(matches!(full, SpoolError::Full), "{full:?}");
    assert!(alarmed > 0, "the alarm comes before the end");
    assert_eq!(entries(&spool).await.len() as u64, spool.waiting());
    assert_eq!(spool.waiting() % 50, 0, "all of a batch, or nothing");

    // What has left makes room.
    let taken = spool.oldest(0, 1000).await.unwrap();
    spool.strike_off(&taken.iter().map(|(number, _)| *number).collect::<Vec<_>>()).await.unwrap();
    spool.put(&batch).await.unwrap();
}

#[tokio::test]
async fn a_file_that_is_none_is_moved_aside() {
    let (home, path) = home();
    fs::write(&path, "this is no database, but somebody's shopping list").unwrap();
    let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
    let moved = moved.unwrap();
    assert_eq!(fs::read(&moved.to).unwrap(), b"this is no database, but somebody's shopping list");
    assert_eq!((moved.saved, moved.to.parent()), (0, Some(home.path())));
    spool.put(&[packet(1)]).await.unwrap();
    assert_eq!(entries(&open(&path).await).await, [packet(1)]);
}

#[tokio::test]
async fn what_a_damaged_file_still_tells_is_saved() {
    let (_home, path) = home();
    let spool = open(&path).await;
    let all: Vec<Entry> = (0..200).map(packet).collect();
    spool.put(&all).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&spool.pool).await.unwrap();
    spool.pool.close().await;
    // A leaf in the midst of the table.
    let mut octets = fs::read(&path).unwrap();
    let middle = octets.len() / 4096 / 2 * 4096;
    octets[middle..middle + 4096].fill(0xAA);
    fs::write(&path, octets).unwrap();

    let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
    let moved = moved.unwrap();
    let saved = entries(&spool).await;
    assert_eq!(saved.len() as u64, moved.saved);
    assert!((150..200).contains(&saved.len()), "all but one page of them: {}", saved.len());
    assert!(saved.iter().all(|entry| all.contains(entry)));
    assert_eq!((saved.first(), saved.last()), (all.first(), all.last()));
}
