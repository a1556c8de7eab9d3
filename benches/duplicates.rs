//! Duplicate detection: a new request and its reply, the repeat of one, and expiry, each with 65,536 requests remembered.

use std::hint::black_box;
use std::net::SocketAddr;
use std::time::Duration;

use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use radhold::model::Timestamp;
use radhold::net::{Admission, Duplicates, RequestKey};

const REMEMBERED: u64 = 65_536;
const WINDOW: Duration = Duration::from_secs(30);
/// An Access-Accept with a filter, a Class and keys.
const REPLY: [u8; 200] = [2; 200];

/// The request of that number: 256 Identifiers to a port, as a busy NAS sends them.
fn key(number: u64) -> RequestKey {
    let port = u16::try_from(1024 + (number / 256) % 60_000).unwrap();
    let identifier = u8::try_from(number % 256).unwrap();
    let mut authenticator = [0; 16];
    authenticator[..8].copy_from_slice(&number.to_be_bytes());
    RequestKey { source: SocketAddr::new([192, 0, 2, 1].into(), port), connection: 0, identifier, authenticator }
}

/// Requests come so far apart that as many are remembered.
fn at(number: u64) -> Timestamp {
    Timestamp::from_secs(1_795_000_000) + Duration::from_nanos(number * (WINDOW.as_nanos() as u64 / REMEMBERED))
}

fn full() -> Duplicates {
    let mut seen = Duplicates::new(WINDOW, 64 << 20);
    for number in 0..2 * REMEMBERED {
        seen.admit(&key(number), at(number));
        seen.answered(&key(number), &REPLY);
    }
    seen
}

fn duplicates(criterion: &mut Criterion) {
    let mut seen = full();
    let mut number = 2 * REMEMBERED;
    criterion.bench_function("new request, answered, and an old one expired", |bencher| {
        bencher.iter(|| {
            number += 1;
            let key = key(number);
            assert!(matches!(seen.admit(black_box(&key), at(number)), Admission::New));
            seen.answered(&key, black_box(&REPLY));
        });
    });
    let newest = number;
    let mut repeated = 0;
    criterion.bench_function("repeat of an answered request", |bencher| {
        bencher.iter(|| {
            // One that is not in the processor's cache any more.
            repeated = (repeated + 4099) % (REMEMBERED / 2);
            let admission = seen.admit(black_box(&key(newest - repeated)), at(newest));
            assert!(matches!(admission, Admission::Answered(reply) if reply.len() == REPLY.len()));
        });
    });
    criterion.bench_function("65,536 requests expired at once", |bencher| {
        let late = at(10 * REMEMBERED);
        bencher.iter_batched_ref(
            full,
            |seen| {
                seen.admit(black_box(&key(1)), late);
                assert_eq!(seen.len(), 1);
            },
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, duplicates);
criterion_main!(benches);
