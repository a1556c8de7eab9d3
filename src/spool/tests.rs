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
    Entry::Press { at: NOON, button, approver: ApproverKind::Telegram, chat: Some("1001".to_owned()), presser }
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

#[tokio::test]
async fn presses_and_outcomes_can_be_taken_first() {
    let (_home, path) = home();
    let spool = open(&path).await;
    spool.put(&[packet(1), outcome(), packet(2), press()]).await.unwrap();
    let urgent = spool.urgent(0, 10).await.unwrap();
    assert_eq!(urgent, [(2, Ok(outcome())), (4, Ok(press()))]);
    assert_eq!(spool.urgent(2, 10).await.unwrap(), [(4, Ok(press()))]);
    assert_eq!(spool.urgent(4, 10).await.unwrap(), []);
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

    // Somebody mends it, beside the server that has the file open.
    sqlx::query(
        "UPDATE set_aside SET packet = (SELECT packet FROM entries WHERE seq = 1), checksum = (SELECT checksum \
                 FROM entries WHERE seq = 1)",
    )
    .execute(&spool.pool)
    .await
    .unwrap();
    let beside = Spool::look(&path, MEBIBYTE).await.unwrap();
    assert_eq!(beside.put_back(&[2, 99]).await.unwrap(), 1);
    assert_eq!(spool.recount().await.unwrap(), 3);
    assert_eq!(entries(&spool).await, [packet(1), packet(1), packet(3)], "in its place");
    spool.set_aside(3, "once more").await.unwrap();
    assert_eq!((spool.drop_set_aside(&[3]).await.unwrap(), spool.drop_set_aside(&[3]).await.unwrap()), (1, 0));
    assert_eq!((spool.waiting(), spool.fill().await.unwrap().set_aside), (2, 0));
}

#[tokio::test]
async fn a_damaged_entry_that_is_no_text_any_more_hides_no_other() {
    let (_home, path) = home();
    let spool = open(&path).await;
    spool.put(&[packet(1), packet(2)]).await.unwrap();
    sqlx::query("UPDATE entries SET about = CAST(x'80ff' AS TEXT) WHERE seq = 1").execute(&spool.pool).await.unwrap();
    let taken = spool.oldest(0, 10).await.unwrap();
    assert_eq!(taken[1], (2, Ok(packet(2))));
    spool.set_aside(1, taken[0].1.as_ref().unwrap_err()).await.unwrap();
    spool.set_aside(2, "odd").await.unwrap();
    let aside = spool.list_set_aside(10).await.unwrap();
    assert_eq!(aside.iter().map(|it| it.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(aside[0].about, "\u{fffd}\u{fffd}");
    assert_eq!(spool.put_back(&[1, 2]).await.unwrap(), 2);
    assert!(matches!(&spool.oldest(0, 10).await.unwrap()[..], [(1, Err(_)), (2, Ok(_))]), "as it was");
}

#[tokio::test]
async fn what_another_process_put_back_can_be_struck_off_before_it_was_counted() {
    let (_home, path) = home();
    let spool = open(&path).await;
    spool.put(&[packet(1)]).await.unwrap();
    spool.set_aside(1, "for a while").await.unwrap();
    Spool::look(&path, MEBIBYTE).await.unwrap().put_back(&[1]).await.unwrap();
    spool.strike_off(&[1]).await.unwrap();
    assert_eq!(spool.waiting(), 0);
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
    assert_eq!((moved.saved, moved.set_aside, moved.unreadable, moved.to.parent()), (0, 0, None, Some(home.path())));
    assert_eq!(spool.damaged().await.unwrap(), [Damaged { file: moved.to, unreadable: None }]);
    spool.put(&[packet(1)]).await.unwrap();
    assert_eq!(entries(&open(&path).await).await, [packet(1)]);
}

/// A file of 200 entries with a page of them spoilt in the midst.
async fn damaged(path: &Path) -> Vec<Entry> {
    let spool = open(path).await;
    let all: Vec<Entry> = (0..200).map(packet).collect();
    spool.put(&[press()]).await.unwrap();
    spool.set_aside(1, "odd").await.unwrap();
    spool.put(&all).await.unwrap();
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&spool.pool).await.unwrap();
    spool.pool.close().await;
    let mut octets = fs::read(path).unwrap();
    let middle = octets.len() / 4096 / 2 * 4096;
    octets[middle..middle + 4096].fill(0xAA);
    fs::write(path, octets).unwrap();
    all
}

async fn assert_saved(spool: &Spool, all: &[Entry]) {
    let saved = entries(spool).await;
    assert!((150..200).contains(&saved.len()), "all but one page of them: {}", saved.len());
    assert!(saved.iter().all(|entry| all.contains(entry)));
    assert_eq!((saved.first(), saved.last()), (all.first(), all.last()));
    assert_eq!(spool.list_set_aside(10).await.unwrap()[0].reason, "odd");
}

#[tokio::test]
async fn what_a_damaged_file_still_tells_is_saved() {
    let (_home, path) = home();
    let all = damaged(&path).await;
    let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
    let moved = moved.unwrap();
    assert_eq!((moved.saved, moved.set_aside), (spool.waiting(), 0), "what was set aside before is no news");
    assert_eq!(moved.saved + moved.unreadable.unwrap(), all.len() as u64, "none is forgotten");
    assert_saved(&spool, &all).await;
}

#[tokio::test]
async fn what_a_damaged_file_still_tells_and_makes_no_sense_is_set_aside_and_counted() {
    let (_home, path) = home();
    let all = damaged(&path).await;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(&path);
    let file = SqlitePool::connect_with(options).await.unwrap();
    for change in ["packet = zeroblob(300)", "about = CAST(x'80ff' AS TEXT)"] {
        let seq: i64 =
            sqlx::query_scalar("SELECT seq FROM entries ORDER BY seq LIMIT 1 OFFSET 1").fetch_one(&file).await.unwrap();
        let statement =
            format!("UPDATE entries SET {change} WHERE seq = {}", seq + i64::from(change.starts_with("about")));
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&file).await.unwrap();
    }
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&file).await.unwrap();
    file.close().await;

    let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
    let moved = moved.unwrap();
    assert_eq!((moved.saved, moved.set_aside), (spool.waiting(), 2));
    assert_eq!(moved.saved + moved.set_aside + moved.unreadable.unwrap(), all.len() as u64, "none is forgotten");
    assert!(moved.unreadable.unwrap() > 0);
    assert_saved(&spool, &all).await;
    let aside = spool.list_set_aside(10).await.unwrap();
    let reasons: Vec<_> = aside.iter().map(|it| (it.number, it.reason.contains("checksum"))).collect();
    assert_eq!(reasons, [(1, false), (3, true), (4, false)], "{aside:?}");
    assert_eq!(aside[2].about, "\u{fffd}\u{fffd}");
    assert_eq!(spool.fill().await.unwrap().set_aside, 3);
    // It is told again until somebody takes the file away.
    let told = [Damaged { file: moved.to.clone(), unreadable: moved.unreadable }];
    assert_eq!(Spool::look(&path, MEBIBYTE).await.unwrap().damaged().await.unwrap(), told);
    fs::remove_file(&moved.to).unwrap();
    assert_eq!(spool.damaged().await.unwrap(), []);
}

#[tokio::test]
async fn whoever_dies_while_replacing_a_damaged_file_loses_nothing_of_it() {
    let beside = |path: &Path, suffix: &str| PathBuf::from(format!("{}{suffix}", path.display()));
    // Before the new one is complete: the damaged one is still in its place.
    let (_home, path) = home();
    let all = damaged(&path).await;
    drop(open(&beside(&path, ".new")).await);
    let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
    assert!(moved.is_some());
    assert_saved(&spool, &all).await;

    // When the damaged one has been moved aside, and part of what was beside it.
    spool.pool.close().await;
    fs::rename(&path, beside(&path, ".new")).unwrap();
    fs::write(beside(&path, "-wal"), "of the damaged one").unwrap();
    let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
    let moved = moved.unwrap();
    assert_eq!((moved.saved, moved.set_aside, moved.unreadable), (spool.waiting(), 1, None));
    assert_eq!(fs::read(beside(&moved.to, "-wal")).unwrap(), b"of the damaged one");
    assert_saved(&spool, &all).await;
}

#[tokio::test]
async fn a_file_that_cannot_be_replaced_now_is_replaced_later() {
    let (_home, path) = home();
    let mut spool = open(&path).await;
    spool.put(&[packet(1)]).await.unwrap();
    let to = PathBuf::from(format!("{}.damaged-{}", path.display(), NOON.as_micros()));
    fs::create_dir(&to).unwrap();
    let refused = spool.begin_anew(NOON, "odd".to_owned()).await;
    assert!(matches!(refused, Err(SpoolError::Failed(_))), "{refused:?}");
    let put = spool.put(&[packet(2)]).await;
    assert!(matches!(put, Err(SpoolError::Damaged(_))), "{put:?}");
    let moved = spool.begin_anew(NOON + std::time::Duration::from_secs(1), "odd".to_owned()).await.unwrap();
    assert_eq!(moved.saved, 1);
    spool.put(&[packet(2)]).await.unwrap();
    assert_eq!(entries(&spool).await, [packet(1), packet(2)]);
}
