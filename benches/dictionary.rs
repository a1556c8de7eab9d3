//! Loading the embedded dictionaries, finding attributes in them, and writing and reading their text.

use std::hint::black_box;
use std::path::Path;

use criterion::{Criterion, criterion_group, criterion_main};
use radhold::radius::dictionary::Dictionary;

fn load(c: &mut Criterion) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("dictionaries/dictionary");
    c.bench_function("dictionary/load ours", |b| {
        b.iter(|| Dictionary::load(&root, |path| std::fs::read_to_string(path)).expect("ours are right"));
    });
    let debian = Path::new("/usr/share/freeradius/dictionary");
    if debian.exists() {
        c.bench_function("dictionary/load Debian's", |b| {
            b.iter(|| Dictionary::load(debian, |path| std::fs::read_to_string(path)).expect("theirs are right"));
        });
    }
}

fn look_up(c: &mut Criterion) {
    let d = Dictionary::embedded();
    c.bench_function("dictionary/by name", |b| b.iter(|| d.attribute(black_box("mikrotik-Rate-Limit"))));
    c.bench_function("dictionary/by kind", |b| b.iter(|| d.by_kind(black_box(27))));
    c.bench_function("dictionary/by vendor", |b| b.iter(|| d.by_vendor(black_box(14988), black_box(8))));
    let status = d.attribute("Acct-Status-Type").expect("defined");
    c.bench_function("dictionary/value name", |b| b.iter(|| status.value_name(black_box(3))));
    c.bench_function("dictionary/value number", |b| b.iter(|| status.value_number(black_box("Interim-Update"))));
}

fn text(c: &mut Criterion) {
    let d = Dictionary::embedded();
    c.bench_function("dictionary/encode", |b| b.iter(|| d.encode(black_box("Mikrotik-Rate-Limit"), "2M/2M")));
    let octets = d.encode("Mikrotik-Rate-Limit", "2M/2M").expect("encodes");
    c.bench_function("dictionary/describe", |b| b.iter(|| d.describe(26, black_box(&octets[2..]))));
}

criterion_group!(benches, load, look_up, text);
criterion_main!(benches);
