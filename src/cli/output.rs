//! Printing: tables for people, JSON for programs.
//!
//! Names and identifiers may have come out of packets, so nothing unprintable reaches the terminal. No colours: what is
//! printed may be a pipe.

use std::io::{self, Write as _};

use comfy_table::{Table, presets};
use serde::Serialize;

use super::failure::Failure;

/// Writes text and a newline to standard output. A reader that has gone away is no failure.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        done => Ok(done?),
    }
}

/// Writes one JSON document.
pub(super) fn print_json(value: &impl Serialize) -> Result<(), Failure> {
    let text = serde_json::to_string_pretty(value).map_err(|error| Failure::failed(error.to_string()))?;
    print(&text)
}

/// Writes a table with a head, or says that there is nothing.
pub(super) fn print_table<const N: usize>(
    head: [&str; N],
    rows: Vec<[String; N]>,
    nothing: &str,
) -> Result<(), Failure> {
    if rows.is_empty() {
        return print(nothing);
    }
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_header(head);
    for row in rows {
        table.add_row(row.map(|cell| printable(&cell)));
    }
    let lines: Vec<String> = table.lines().map(|line| line.trim_end().to_owned()).collect();
    print(&lines.join("\n"))
}

/// Writes facts about one thing, one a line; those without a value are left out.
pub(super) fn print_facts(facts: &[(&str, Option<String>)]) -> Result<(), Failure> {
    let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    let lines: Vec<String> = facts
        .iter()
        .filter_map(|(name, value)| Some(format!("{name:width$}  {}", printable(value.as_ref()?))))
        .collect();
    print(&lines.join("\n"))
}

/// The text with what is unprintable as escapes.
pub(super) fn printable(text: &str) -> String {
    let hidden = |c: char| c.is_control() || matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if hidden(c) { c.escape_default().to_string() } else { c.to_string() }).collect()
}

/// `-` for what is not there.
pub(super) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_from_a_packet_cannot_steer_the_terminal() {
        assert_eq!(printable("al\u{1b}[2Jice\n"), "al\\u{1b}[2Jice\\n");
        assert_eq!(printable("Zoë 🔑"), "Zoë 🔑");
    }
}
