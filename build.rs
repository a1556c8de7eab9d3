//! Migrations and messages are read into the binary; a new file among them must build it anew.
//!
//! Of the messages (`config/messages/LANGUAGE/NAME.ftl`) it writes a table, so that a new file needs no line of code.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    println!("cargo::rerun-if-changed=migrations");
    println!("cargo::rerun-if-changed=config/messages");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("config/messages");
    let mut table = String::from("&[\n");
    for language in entries(&root) {
        for file in entries(&language) {
            println!("cargo::rerun-if-changed={}", file.display());
            let (language, name) = (name(&language), name(&file));
            let _ = writeln!(table, "    ({language:?}, {name:?}, include_str!({:?})),", file.display());
        }
    }
    table.push_str("]\n");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("messages.rs"), table).expect("OUT_DIR can be written");
}

fn entries(directory: &Path) -> Vec<PathBuf> {
    let listed = fs::read_dir(directory).unwrap_or_else(|error| panic!("{}: {error}", directory.display()));
    let mut entries: Vec<_> = listed.map(|entry| entry.expect("a readable directory").path()).collect();
    entries.sort();
    entries
}

fn name(path: &Path) -> String {
    path.file_name().expect("an entry has a name").to_string_lossy().into_owned()
}
