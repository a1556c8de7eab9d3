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
    assert_eq!(moved, []);
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
    let [moved] = &moved[..] else { panic!("{moved:?}") };
    assert_eq!(fs::read(&moved.to).unwrap(), b"this is no database, but somebody's shopping list");
    assert_eq!((moved.saved, moved.set_aside, moved.unreadable, moved.to.parent()), (0, 0, None, Some(home.path())));
    assert_eq!(
        spool.damaged().await.unwrap(),
        [Damaged { file: moved.to.clone(), no_room: Some(0), unreadable: None }]
    );
    spool.told().await.unwrap();
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
    let [moved] = &moved[..] else { panic!("{moved:?}") };
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
    let [moved] = &moved[..] else { panic!("{moved:?}") };
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
    let told = [Damaged { file: moved.to.clone(), no_room: Some(0), unreadable: moved.unreadable }];
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
    assert_eq!(moved.len(), 1);
    assert_saved(&spool, &all).await;

    // When the damaged one has been moved aside, and part of what was beside it.
    spool.pool.close().await;
    fs::rename(&path, beside(&path, ".new")).unwrap();
    fs::write(beside(&path, "-wal"), "of the damaged one").unwrap();
    let (spool, again) = Spool::open(&path, MEBIBYTE, NOON + std::time::Duration::from_secs(1)).await.unwrap();
    assert_eq!(again, moved, "as it was found then");
    assert!(moved[0].to.exists());
    assert_eq!(fs::read(beside(&moved[0].to, "-wal")).unwrap(), b"of the damaged one");
    assert_saved(&spool, &all).await;

    // When nobody was told yet.
    drop(spool);
    let (spool, again) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
    assert_eq!(again, moved);
    spool.told().await.unwrap();
    drop(spool);
    open(&path).await;
}

/// A closed file of these entries, all of it in one place.
async fn closed(path: &Path, all: &[Entry]) {
    let spool = open(path).await;
    spool.put(all).await.unwrap();
    close(spool).await;
}

async fn close(spool: Spool) {
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&spool.pool).await.unwrap();
    spool.pool.close().await;
}

/// Pages of a file.
fn pages(path: &Path) -> Vec<Vec<u8>> {
    fs::read(path).unwrap().chunks(4096).map(<[u8]>::to_vec).collect()
}

/// Where the numbers of a leaf's entries are, each of one octet.
fn numbers(page: &[u8]) -> Vec<usize> {
    let u16_at = |at: usize| usize::from(u16::from_be_bytes([page[at], page[at + 1]]));
    if page[0] != 13 {
        return Vec::new();
    }
    let cells = (0..u16_at(3)).map(|cell| u16_at(8 + 2 * cell));
    // The length before it takes two: more than 300 octets.
    cells.filter(|cell| page[*cell] >= 0x80 && page[cell + 1] < 0x80).map(|cell| cell + 2).collect()
}

/// Gives an entry the number of another, or of none.
fn renumber(path: &Path, from: u8, to: u8) {
    let mut pages = pages(path);
    let mut changed = 0;
    for page in &mut pages {
        for at in numbers(page).into_iter().filter(|at| page[*at] == from).collect::<Vec<_>>() {
            page[at] = to;
            changed += 1;
        }
    }
    assert_eq!(changed, 1);
    fs::write(path, pages.concat()).unwrap();
}

/// All that wait, in the order of their octets.
async fn sorted(spool: &Spool) -> Vec<u8> {
    let of = |entry: Entry| match entry {
        Entry::Accounting(packet) => packet.packet[0],
        other => panic!("{other:?}"),
    };
    let mut octets: Vec<u8> = entries(spool).await.into_iter().map(of).collect();
    octets.sort_unstable();
    octets
}

async fn next_number(spool: &Spool) -> Number {
    spool.put(&[packet(255)]).await.unwrap();
    spool.oldest(0, 1000).await.unwrap().pop().unwrap().0
}

#[tokio::test]
async fn a_wrong_number_costs_no_entry() {
    for (from, to) in [(10, 90), (10, 2), (10, 0), (10, 127), (1, 90), (100, 3), (50, 51)] {
        let (_home, path) = home();
        closed(&path, &(1..=100).map(packet).collect::<Vec<_>>()).await;
        renumber(&path, from, to);
        let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
        // The last of all with a higher number is in order.
        let [moved] = &moved[..] else { panic!("{from} -> {to}: {moved:?}") };
        assert_eq!((moved.saved, moved.set_aside, moved.no_room), (100, 0, 0), "{from} -> {to}");
        assert!(moved.unreadable.unwrap() <= 1, "{from} -> {to}: {moved:?}");
        assert_eq!(sorted(&spool).await, (1..=100).collect::<Vec<_>>(), "{from} -> {to}");
        assert!(next_number(&spool).await > 100, "{from} -> {to}");
    }
}

#[tokio::test]
async fn a_wrong_number_beside_a_page_that_is_gone_hides_nothing() {
    let (_home, path) = home();
    closed(&path, &(1..=100).map(packet).collect::<Vec<_>>()).await;
    renumber(&path, 10, 90);
    let mut pages = pages(&path);
    let of = |page: &[u8], number: u8| numbers(page).iter().any(|at| page[*at] == number);
    let lost = |page: &Vec<u8>| of(page, 45) || of(page, 75);
    let gone: usize = pages.iter().filter(|page| lost(page)).map(|page| numbers(page).len()).sum();
    pages.iter_mut().filter(|page| lost(page)).for_each(|page| page.fill(0xAA));
    fs::write(&path, pages.concat()).unwrap();
    let (_spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
    assert_eq!(moved[0].saved, 100 - gone as u64, "what lies between two pages too");
    assert!((gone as u64..=gone as u64 + 1).contains(&moved[0].unreadable.unwrap()), "{moved:?}");
}

#[tokio::test]
async fn no_number_is_given_twice_after_damage() {
    let (_home, path) = home();
    let all: Vec<Entry> = (1..=100).map(packet).collect();
    closed(&path, &all).await;
    let spool = open(&path).await;
    spool.strike_off(&(20..=100).collect::<Vec<_>>()).await.unwrap();
    spool.set_aside(7, "odd").await.unwrap();
    close(spool).await;
    renumber(&path, 5, 15);
    let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
    assert_eq!(moved[0].saved, 18);
    assert!(next_number(&spool).await > 101, "one has a new one already");
}

#[tokio::test]
async fn where_the_last_number_given_is_wrong_or_gone_none_is_forgotten() {
    for change in ["UPDATE sqlite_sequence SET seq = 5", "DELETE FROM sqlite_sequence"] {
        let (_home, path) = home();
        closed(&path, &(1..=100).map(packet).collect::<Vec<_>>()).await;
        let spool = open(&path).await;
        sqlx::query(change).execute(&spool.pool).await.unwrap();
        close(spool).await;
        let mut pages = pages(&path);
        let lost = |page: &&mut Vec<u8>| numbers(page).iter().any(|at| [20, 40].contains(&page[*at]));
        pages.iter_mut().filter(lost).for_each(|page| page.fill(0xAA));
        let most = pages.len() as u64 * 64;
        fs::write(&path, pages.concat()).unwrap();
        let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
        let (saved, unreadable) = (moved[0].saved, moved[0].unreadable.unwrap());
        assert!((70..100).contains(&saved) && (100 - saved..most).contains(&unreadable), "{change}: {moved:?}");
        assert_eq!(spool.waiting(), saved, "{change}");
        assert!(next_number(&spool).await as u64 > saved, "{change}");
    }
}

#[tokio::test]
async fn numbers_that_nobody_gave_are_replaced() {
    for seq in ["9223372036854775807", "-3", "0"] {
        let (_home, path) = home();
        closed(&path, &(1..=3).map(packet).collect::<Vec<_>>()).await;
        let spool = open(&path).await;
        let statement = format!("UPDATE entries SET seq = {seq} WHERE seq = 2");
        sqlx::query(sqlx::AssertSqlSafe(statement)).execute(&spool.pool).await.unwrap();
        close(spool).await;
        let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
        assert_eq!((moved.len(), moved[0].saved), (1, 3), "{seq}");
        assert_eq!(next_number(&spool).await, 5, "{seq}");
        assert_eq!(sorted(&spool).await, [1, 2, 3, 255], "{seq}");
        drop(spool);
        let (_spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
        assert_eq!(moved.len(), 1, "untold, and not damaged again: {seq}");
    }
}

#[tokio::test]
async fn an_entry_whose_number_is_set_aside_already_is_set_aside_and_put_back() {
    let (_home, path) = home();
    let spool = open(&path).await;
    spool.put(&[packet(1), packet(2), packet(3)]).await.unwrap();
    spool.set_aside(1, "odd").await.unwrap();
    sqlx::query("INSERT INTO set_aside SELECT 2, at, about, packet, checksum, 'twice' FROM set_aside")
        .execute(&spool.pool)
        .await
        .unwrap();
    spool.set_aside(2, "odd").await.unwrap();
    let numbers = |aside: Vec<SetAside>| aside.into_iter().map(|it| it.number).collect::<Vec<_>>();
    assert_eq!(numbers(spool.list_set_aside(10).await.unwrap()), [1, 2, 4]);
    sqlx::query("UPDATE set_aside SET seq = 3 WHERE seq = 4").execute(&spool.pool).await.unwrap();
    assert_eq!(spool.put_back(&[1, 3]).await.unwrap(), 2);
    assert_eq!(sorted(&spool).await, [1, 2, 3]);
}

#[tokio::test]
async fn an_older_file_that_is_full_is_opened() {
    let (_home, path) = home();
    let create = || sqlx::sqlite::SqliteConnectOptions::new().filename(&path).create_if_missing(true).page_size(4096);
    let old = SqlitePool::connect_with(create().pragma("max_page_count", "16")).await.unwrap();
    for statement in [
        "CREATE TABLE entries (seq INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, about TEXT NOT NULL,
             packet BLOB NOT NULL, checksum BLOB NOT NULL) STRICT",
        "CREATE TABLE set_aside (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, about TEXT NOT NULL,
             packet BLOB NOT NULL, checksum BLOB NOT NULL, reason TEXT NOT NULL) STRICT",
        "CREATE INDEX urgent ON entries (seq) WHERE length(packet) = 0",
    ] {
        sqlx::query(statement).execute(&old).await.unwrap();
    }
    let fill = "INSERT INTO entries (at, about, packet, checksum) VALUES (0, '', zeroblob(3000), x'')";
    let mut count = 0;
    while sqlx::query(fill).execute(&old).await.is_ok() {
        count += 1;
    }
    old.close().await;
    let (spool, moved) = Spool::open(&path, 16 * 4096, NOON).await.unwrap();
    assert_eq!((moved, spool.waiting(), spool.damaged().await.unwrap()), (Vec::new(), count, Vec::new()));
    assert!(matches!(spool.put(&[packet(1)]).await, Err(SpoolError::Full) | Ok(())));
}

#[tokio::test]
async fn what_was_noted_of_one_damaged_file_outlives_the_next() {
    let (_home, path) = home();
    damaged(&path).await;
    let (spool, first) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
    spool.told().await.unwrap();
    close(spool).await;
    renumber(&path, 10, 90);
    let (spool, second) = Spool::open(&path, MEBIBYTE, NOON + std::time::Duration::from_secs(1)).await.unwrap();
    let seen = |moved: &MovedAside| Damaged { file: moved.to.clone(), no_room: Some(0), unreadable: moved.unreadable };
    assert_eq!(second.len(), 1, "the first was told");
    assert_eq!(spool.damaged().await.unwrap(), [seen(&first[0]), seen(&second[0])]);
}

#[tokio::test]
async fn at_most_is_no_more_than_the_file_can_hold() {
    let (_home, path) = home();
    closed(&path, &(1..=100).map(packet).collect::<Vec<_>>()).await;
    let spool = open(&path).await;
    sqlx::query("UPDATE entries SET seq = seq + 1000000").execute(&spool.pool).await.unwrap();
    sqlx::query("UPDATE sqlite_sequence SET seq = 1000100").execute(&spool.pool).await.unwrap();
    sqlx::query("INSERT INTO set_aside SELECT 17, at, about, packet, checksum, 'odd' FROM entries LIMIT 1")
        .execute(&spool.pool)
        .await
        .unwrap();
    close(spool).await;
    let mut pages = pages(&path);
    let most = pages.len() as u64 * 64;
    let root = pages.iter().position(|page| page[0] == 5).unwrap();
    let first = usize::from(u16::from_be_bytes([pages[root][12], pages[root][13]]));
    let first = u32::from_be_bytes(pages[root][first..first + 4].try_into().unwrap()) as usize - 1;
    pages[first].fill(0xAA);
    fs::write(&path, pages.concat()).unwrap();
    let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
    let (lost, unreadable) = (100 - moved[0].saved, moved[0].unreadable.unwrap());
    assert!((5..15).contains(&lost), "{moved:?}");
    assert!((lost..most).contains(&unreadable), "{moved:?}");
    assert_eq!(next_number(&spool).await, 1_000_101);
}

#[tokio::test]
async fn what_finds_no_room_in_the_new_file_is_told_apart() {
    let (_home, path) = home();
    let all: Vec<_> = (0..500).map(|number| packet((number % 250) as u8)).collect();
    closed(&path, &all).await;
    renumber(&path, 10, 90);
    // Somebody has it much smaller than it was.
    let (spool, moved) = Spool::open(&path, 16 * 4096, NOON).await.unwrap();
    let [moved] = &moved[..] else { panic!("{moved:?}") };
    assert_eq!((moved.saved + moved.no_room, moved.saved), (500, spool.waiting()), "{moved:?}");
    assert!(moved.unreadable.unwrap() <= 1, "what can be read is not unreadable: {moved:?}");
    assert!(moved.no_room > 0, "{moved:?}");
    assert_eq!(spool.damaged().await.unwrap()[0].no_room, Some(moved.no_room));
}

#[tokio::test]
async fn what_is_read_backwards_takes_no_more_room() {
    const LIMIT: u64 = 4 * MEBIBYTE;
    let (_home, path) = home();
    let spool = Spool::open(&path, LIMIT, NOON).await.unwrap().0;
    let mut count = 0;
    while spool.fill().await.unwrap().used < LIMIT / 10 * 9 {
        spool.put(&(0..250).map(packet).collect::<Vec<_>>()).await.unwrap();
        count += 250;
    }
    close(spool).await;
    // Nearly all of it lies behind the damage.
    let mut pages = pages(&path);
    let leaf = pages.iter().skip(8).position(|page| page[0] == 13).unwrap() + 8;
    pages[leaf].fill(0xAA);
    fs::write(&path, pages.concat()).unwrap();
    let (spool, moved) = Spool::open(&path, LIMIT, NOON).await.unwrap();
    assert_eq!(moved[0].no_room, 0, "{moved:?}");
    assert!(moved[0].saved > count - 100, "{count}: {moved:?}");
    let fill = spool.fill().await.unwrap();
    assert!(fill.used <= fill.limit, "{fill:?}");
}

#[tokio::test]
async fn a_column_that_is_called_something_else_is_damage() {
    for (table, column, other) in [("entries", "checksum", "checksul"), ("set_aside", "about", "abouu")] {
        let (_home, path) = home();
        closed(&path, &(1..=100).map(packet).collect::<Vec<_>>()).await;
        let mut octets = fs::read(&path).unwrap();
        let find = |octets: &[u8], what: &str| octets.windows(what.len()).position(|some| some == what.as_bytes());
        let made = find(&octets, &format!("CREATE TABLE {table}")).unwrap();
        let at = made + find(&octets[made..], column).unwrap();
        octets[at..at + column.len()].copy_from_slice(other.as_bytes());
        fs::write(&path, octets).unwrap();
        let (spool, moved) = Spool::open(&path, MEBIBYTE, NOON).await.unwrap();
        assert_eq!((moved.len(), spool.waiting()), (1, 100), "{moved:?}");
        spool.put(&[packet(101)]).await.unwrap();
        assert_eq!(entries(&spool).await.len(), 101);
    }
}

#[tokio::test]
async fn whoever_looks_makes_no_file() {
    let (_home, path) = home();
    assert!(Spool::look(&path, MEBIBYTE).await.is_err() && !path.exists());
}

#[tokio::test]
async fn whatever_is_in_the_file_there_is_a_spool() {
    let (_home, source) = home();
    closed(&source, &(1..=100).map(packet).collect::<Vec<_>>()).await;
    let sound = fs::read(&source).unwrap();
    let (_home, path) = home();
    let flipped = (0..100).map(|at| {
        let mut octets = sound.clone();
        octets[at] ^= 0xFF;
        (format!("octet {at}"), octets)
    });
    let spoilt = (0..sound.len() / 4096).map(|page| {
        let mut octets = sound.clone();
        octets[page * 4096..(page + 1) * 4096].fill(0xAA);
        (format!("page {page}"), octets)
    });
    let cut = (0..sound.len() / 4096).map(|pages| (format!("cut after {pages}"), sound[..pages * 4096].to_vec()));
    for (what, octets) in flipped.chain(spoilt).chain(cut) {
        for file in fs::read_dir(path.parent().unwrap()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
        fs::write(&path, octets).unwrap();
        let opened = Spool::open(&path, MEBIBYTE, NOON).await;
        let (spool, moved) = opened.unwrap_or_else(|error| panic!("{what}: {error}"));
        spool.put(&[packet(255)]).await.unwrap_or_else(|error| panic!("{what}: {error}"));
        let least: u64 = moved.iter().map(|moved| moved.saved + moved.unreadable.unwrap_or(100)).sum();
        assert!(moved.is_empty() || least >= 100, "{what}: {moved:?}");
        // All entries are in other pages than the first.
        let in_header = what.strip_prefix("octet ").is_some();
        assert!(!in_header || moved.iter().all(|moved| moved.saved == 100), "{what}: {moved:?}");
    }
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
    assert_eq!((moved.len(), moved[0].saved), (1, 1));
    spool.put(&[packet(2)]).await.unwrap();
    assert_eq!(entries(&spool).await, [packet(1), packet(2)]);
}
