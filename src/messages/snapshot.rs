//! Pages of everything people read, kept in `tests/snapshots` for people to read, and compared with what is said now.
//!
//! After a change of words: `RADHOLD_RENEW=1 cargo test --lib snapshot`, then read the difference.

use std::fmt::Write as _;
use std::path::Path;
use std::{env, fs};

use super::arguments::{Arguments, Kind};
use super::{Messages, Value};

/// Fails when a page is not what is in its file; with `RADHOLD_RENEW` set the file is written instead.
pub(crate) fn compare_snapshot(name: &str, page: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/snapshots").join(name);
    if env::var_os("RADHOLD_RENEW").is_some() {
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, page).unwrap();
    }
    let kept = fs::read_to_string(&path).unwrap_or_default();
    let differs = kept.lines().zip(page.lines()).position(|(kept, now)| kept != now);
    let line = differs.unwrap_or_else(|| kept.lines().count().min(page.lines().count()));
    assert!(
        kept == page,
        "tests/snapshots/{name}:{}: kept is {:?}, said is {:?}; see src/messages/snapshot.rs",
        line + 1,
        kept.lines().nth(line),
        page.lines().nth(line)
    );
}

/// Arguments that can be told in the text: a text is its own name, numbers and words are tried one after the other.
fn readable(arguments: &Arguments) -> Vec<Vec<(&str, Value<'static>)>> {
    let mut samples = vec![Vec::new()];
    for (name, kind) in arguments {
        let values: Vec<Value<'static>> = match kind {
            Kind::Text(_) => vec![format!("<{name}>").into()],
            Kind::Number => [1_i64, 2, 5].map(Value::from).into(),
            Kind::OneOf(words) => words.iter().map(|word| Value::from(word.clone())).collect(),
        };
        samples = samples
            .iter()
            .flat_map(|sample| values.iter().map(|value| [&sample[..], &[(name.as_str(), value.clone())]].concat()))
            .collect();
    }
    samples
}

#[test]
fn the_snapshot_has_every_message_in_every_language() {
    let messages = Messages::load(None).unwrap();
    let mut page = String::from("Every message in every language, with its arguments in brackets.\n");
    for (id, arguments) in &messages.said().arguments {
        let _ = write!(page, "\n-------- {id}\n");
        for language in &messages.languages() {
            let mut said: Vec<String> = Vec::new();
            for sample in readable(arguments) {
                let text = messages.say(language, id, &sample);
                if !said.contains(&text) {
                    let _ = writeln!(page, "{language}: {}", text.replace('\n', "\n    "));
                    said.push(text);
                }
            }
        }
    }
    compare_snapshot("messages.txt", &page);
}
