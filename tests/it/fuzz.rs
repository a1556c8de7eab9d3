//! What the fuzzer started from and what it found, held against the same checks at each run of the tests.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[path = "../fuzz/checks.rs"]
mod checks;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz")
}

fn names(folder: &Path) -> BTreeSet<String> {
    let entries = std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    entries.map(|entry| entry.unwrap().path().file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

#[test]
fn everything_in_the_corpus_passes_its_check() {
    for (name, check) in checks::ALL {
        let folder = fuzz().join("corpus").join(name);
        let files: Vec<_> = std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        assert!(!files.is_empty(), "{} has nothing in it", folder.display());
        for file in files {
            let octets = std::fs::read(&file).unwrap();
            let passed = std::panic::catch_unwind(|| check(&octets));
            assert!(passed.is_ok(), "{} fails the check {name}", file.display());
        }
    }
}

#[test]
fn every_target_has_a_check_and_a_corpus() {
    let checks: BTreeSet<_> = checks::ALL.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(names(&fuzz().join("fuzz_targets")), checks);
    assert_eq!(names(&fuzz().join("corpus")), checks);
    let manifest = std::fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    for name in checks {
        assert!(manifest.contains(&format!("name = \"{name}\"\n")), "{name} is not in tests/fuzz/Cargo.toml");
    }
}
