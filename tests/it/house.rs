//! The house stands as its map says: dependencies point downwards, the core does no I/O, and files stay readable.
//!
//! Reads the sources as text. Test code is left out: it may build what it likes.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// What each part may use of `crate::`, itself aside. The order is that of the map in `src/lib.rs`.
const MAY_USE: &[(&str, &[&str])] = &[
    ("radius", &[]),
    ("eap", &[]),
    ("model", &[]),
    ("policy", &["model", "auth"]),
    ("auth", &["radius", "model"]),
    ("accounting", &["radius", "model"]),
    ("dynauth", &["radius", "model"]),
    ("session", &["model", "policy", "auth", "accounting", "dynauth"]),
    ("dialect", &["radius", "model", "policy", "session", "dynauth"]),
    ("messages", &["model"]),
    ("places", &["model"]),
    ("listener", &[]),
    ("approver", &["model", "session", "messages", "telemetry", "listener"]),
    ("sqlite", &[]),
    ("store", &["model", "policy", "session", "telemetry", "sqlite"]),
    ("spool", &["model", "session", "sqlite"]),
    ("telemetry", &["model", "config"]),
    ("config", &["model", "policy", "session", "auth"]),
    ("net", &["radius", "model", "dynauth", "telemetry", "config"]),
    ("agent", &["radius", "model", "dynauth", "net", "telemetry", "config"]),
    ("http", &["model", "messages", "telemetry", "listener"]),
    (
        "app",
        &[
            "radius",
            "eap",
            "model",
            "policy",
            "auth",
            "accounting",
            "dynauth",
            "session",
            "dialect",
            "messages",
            "places",
            "approver",
            "store",
            "spool",
            "telemetry",
            "config",
            "net",
            "http",
        ],
    ),
    (
        "cli",
        &[
            "radius",
            "model",
            "policy",
            "auth",
            "accounting",
            "dynauth",
            "session",
            "dialect",
            "messages",
            "places",
            "approver",
            "store",
            "spool",
            "telemetry",
            "config",
            "net",
            "agent",
            "app",
        ],
    ),
];

/// The parts that take time, chance and secrets as arguments and do no I/O.
const PURE: &[&str] = &["radius", "eap", "model", "policy", "auth", "accounting", "dynauth", "session", "dialect"];

/// What gives I/O, a clock or randomness away.
const IMPURE: &[&str] = &[
    "tokio",
    "sqlx",
    "teloxide",
    "axum",
    "tracing",
    "getrandom",
    "rand",
    "async_trait",
    "socket2",
    "figment",
    "std::fs",
    "std::process",
    "std::env",
    "std::thread",
    "UdpSocket",
    "TcpStream",
    "TcpListener",
    "SystemTime",
    "Instant",
    "Utc::now",
    "Local::now",
    "now_v4",
    "new_v4",
    "now_v7",
    "OsRng",
];

const BANNED: &[&str] = &["openssl", "openssl-sys", "native-tls", "aws-lc-sys"];

const LICENCES: &[&str] = &[
    "MIT",
    "MIT-0",
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Zlib",
    "CC0-1.0",
    "Unicode-3.0",
    "Unlicense",
    "BSL-1.0",
    "CDLA-Permissive-2.0",
    "MPL-2.0",
    "0BSD",
];

#[test]
fn dependencies_point_downwards() {
    let mut broken = Vec::new();
    for (part, allowed) in MAY_USE {
        for source in sources(part) {
            for (number, line) in source.code() {
                for used in crate_paths(line) {
                    if used != *part && !allowed.contains(&used.as_str()) {
                        broken.push(format!("{}:{number}: {part} uses crate::{used}", source.path.display()));
                    }
                }
            }
        }
    }
    assert!(broken.is_empty(), "an arrow points up (see src/lib.rs):\n{}", broken.join("\n"));
}

#[test]
fn the_core_does_no_io_and_asks_neither_clock_nor_chance() {
    let mut broken = Vec::new();
    for part in PURE {
        for source in sources(part) {
            for (number, line) in source.code() {
                for word in IMPURE.iter().filter(|word| has_word(line, word)) {
                    broken.push(format!("{}:{number}: {word}", source.path.display()));
                }
            }
        }
    }
    assert!(broken.is_empty(), "time, chance and I/O arrive as arguments here:\n{}", broken.join("\n"));
}

#[test]
fn sql_is_written_in_the_store_alone() {
    let mut broken = Vec::new();
    // The spool has a file of its own, and no other engine will ever hold it; both have their connections from `sqlite`.
    for (part, _) in MAY_USE.iter().filter(|(part, _)| !["store", "spool", "sqlite"].contains(part)) {
        for source in sources(part) {
            for (number, line) in source.code().filter(|(_, line)| has_word(line, "sqlx")) {
                broken.push(format!("{}:{number}: {line}", source.path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_part_is_in_the_map() {
    let map = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    let known: Vec<_> = MAY_USE.iter().map(|(part, _)| *part).collect();
    for entry in fs::read_dir(root().join("src")).unwrap() {
        let entry = entry.unwrap();
        let name = entry.file_name().into_string().unwrap();
        if entry.file_type().unwrap().is_dir() {
            assert!(known.contains(&name.as_str()), "src/{name} is in no row of this test");
            assert!(map.contains(&format!("[`{name}`]")), "src/{name} is not in the map of src/lib.rs");
        }
    }
}

#[test]
fn every_file_says_at_its_head_what_it_is() {
    for (part, _) in MAY_USE {
        for source in all_sources(part) {
            assert!(source.text.starts_with("//!"), "{} has no head", source.path.display());
        }
    }
}

/// What `cargo deny` would check without the network: licences we may ship, and crates we never want.
#[test]
fn dependencies_are_licensed_and_none_is_banned() {
    let metadata = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(metadata.status.success(), "{}", String::from_utf8_lossy(&metadata.stderr));
    let metadata: serde_json::Value = serde_json::from_slice(&metadata.stdout).unwrap();
    let mut wrong = Vec::new();
    for package in metadata["packages"].as_array().unwrap() {
        let (name, licence) = (package["name"].as_str().unwrap(), package["license"].as_str().unwrap_or("none"));
        if BANNED.contains(&name) {
            wrong.push(format!("{name} is banned: no OpenSSL, TLS is rustls"));
        }
        // An expression with OR is fine when one side is; AND needs all.
        let fine = licence.replace('/', " OR ").split(" OR ").any(|choice| {
            choice
                .trim_matches(['(', ')', ' '])
                .split(" AND ")
                .all(|one| LICENCES.contains(&one.trim_matches(['(', ')', ' '])))
        });
        if !fine {
            wrong.push(format!("{name} is licensed {licence}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// A message nobody says is a mistake, and one that is said by an id there is not would be read as that id.
#[test]
fn every_message_is_said_somewhere() {
    let code: String = MAY_USE.iter().flat_map(|(part, _)| sources(part)).map(|source| source.text).collect();
    let mut unsaid = Vec::new();
    for file in fs::read_dir(root().join("config/messages/en")).unwrap() {
        let path = file.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        for line in text.lines().filter(|line| line.starts_with(|c: char| c.is_ascii_lowercase())) {
            let id = line.split([' ', '=']).next().unwrap();
            if !code.contains(&format!("\"{id}\"")) {
                unsaid.push(format!("{}: {id}", path.display()));
            }
        }
    }
    assert!(unsaid.is_empty(), "nobody says:\n{}", unsaid.join("\n"));
}

#[test]
fn the_checks_of_this_file_can_fail() {
    assert_eq!(crate_paths("use crate::{store::Store, model::User};"), ["store", "model"]);
    assert_eq!(crate_paths("    let x = crate::store::open(y);"), ["store"]);
    assert!(has_word("let t = std::time::Instant::now();", "Instant"));
    assert!(!has_word("/// Instantly", "Instant"));
    let source = Source {
        path: PathBuf::new(),
        text: "use crate::a;\n// use crate::b;\n#[cfg(test)]\nmod tests {\n use crate::c;\n}\n".to_owned(),
    };
    assert_eq!(source.code().map(|(number, _)| number).collect::<Vec<_>>(), [1]);
}

struct Source {
    path: PathBuf,
    text: String,
}

impl Source {
    /// Lines of code that are not of tests, with their numbers. Tests stand last in a file (style).
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        self.text
            .lines()
            .enumerate()
            .take_while(|(_, line)| line.trim() != "#[cfg(test)]")
            .map(|(index, line)| (index + 1, line))
            .filter(|(_, line)| !line.trim_start().starts_with("//"))
    }
}

/// The sources of a part, without modules that are compiled for tests alone.
fn sources(part: &str) -> Vec<Source> {
    let all = all_sources(part);
    let mut test_modules = Vec::new();
    for source in &all {
        let lines: Vec<_> = source.text.lines().map(str::trim).collect();
        for pair in lines.windows(2).filter(|pair| pair[0] == "#[cfg(test)]") {
            if let Some(name) = pair[1].strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';')) {
                let beside = source.path.with_file_name(format!("{name}.rs"));
                let below = source.path.with_file_name(name);
                let inside = source.path.with_extension("").join(name);
                test_modules.extend([beside, below, inside.with_extension("rs"), inside]);
            }
        }
    }
    all.into_iter().filter(|source| !test_modules.iter().any(|module| source.path.starts_with(module))).collect()
}

fn all_sources(part: &str) -> Vec<Source> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root().join("src").join(part)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display())) {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.insert(path.clone(), fs::read_to_string(path).unwrap());
            }
        }
    }
    assert!(!found.is_empty(), "src/{part} has no sources");
    found.into_iter().map(|(path, text)| Source { path, text }).collect()
}

/// The parts named after `crate::`.
fn crate_paths(line: &str) -> Vec<String> {
    let ident = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut found = Vec::new();
    for (place, _) in line.match_indices("crate::") {
        let rest = &line[place + "crate::".len()..];
        match rest.strip_prefix('{') {
            Some(group) => found.extend(group.split(',').map(|item| ident(item.trim()))),
            None => found.push(ident(rest)),
        }
    }
    found.retain(|name| !name.is_empty() && name.starts_with(char::is_lowercase));
    found
}

fn has_word(line: &str, word: &str) -> bool {
    let edge = |c: Option<char>| !c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    line.match_indices(word)
        .any(|(place, _)| edge(line[..place].chars().next_back()) && edge(line[place + word.len()..].chars().next()))
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}
