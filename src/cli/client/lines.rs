//! Attributes as people write them: `Name = value`, one a line or several with commas between, a blank line between
//! packets. What `radclient` reads, this reads. Knows no dictionary.

use crate::radius::dictionary::quote;

/// One `Name = value`, not yet understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The name, with `:tag` where there is one.
    pub(super) name: String,
    /// The value as the dictionary reads it.
    pub(super) text: String,
}

/// All packets of a text; `source` names it in errors.
pub(super) fn packets(source: &str, text: &str) -> Result<Vec<Vec<Line>>, String> {
    let mut packets = vec![vec![]];
    for (number, row) in text.lines().enumerate() {
        let row = row.trim();
        if row.is_empty() {
            packets.push(vec![]);
        } else if !row.starts_with('#') {
            let lines = self::lines(row).map_err(|error| format!("{source}:{}: {error}", number + 1))?;
            packets.last_mut().expect("begins with one").extend(lines);
        }
    }
    packets.retain(|packet| !packet.is_empty());
    Ok(packets)
}

/// The attributes of one row.
pub(super) fn lines(row: &str) -> Result<Vec<Line>, String> {
    split(row)?.into_iter().map(str::trim).filter(|part| !part.is_empty()).map(line).collect()
}

fn line(part: &str) -> Result<Line, String> {
    // The value is not repeated: it may be a password in the wrong place.
    let wrong = || format!("write Name = value ({} characters without an = or without one side of it)", part.len());
    let (name, text) = part.split_once('=').ok_or_else(wrong)?;
    // radclient's other operators say the same here.
    let name = name.trim_end_matches([':', '+']).trim();
    let text = text.trim_start_matches('=').trim();
    if name.is_empty() || text.is_empty() {
        return Err(wrong());
    }
    Ok(Line { name: name.to_owned(), text: without_single_quotes(text) })
}

/// The row's parts between commas that are in no quotation marks.
fn split(row: &str) -> Result<Vec<&str>, String> {
    let mut parts = vec![];
    let (mut start, mut open, mut escaped) = (0, None, false);
    // A quotation mark opens a text only where a value begins: an apostrophe may stand inside one.
    let mut value_begins = false;
    for (at, c) in row.char_indices() {
        match open {
            Some(_) if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(mark) if c == mark => open = None,
            Some(_) => {}
            None if c == ',' => {
                parts.push(&row[start..at]);
                start = at + 1;
            }
            None if value_begins && matches!(c, '"' | '\'') => open = Some(c),
            None => {}
        }
        value_begins = c == '=' || (value_begins && c.is_whitespace());
    }
    if open.is_some() {
        return Err("a quotation mark without its partner".to_owned());
    }
    parts.push(&row[start..]);
    Ok(parts)
}

/// In single quotation marks a backslash stands for itself except before such a mark.
fn without_single_quotes(text: &str) -> String {
    match text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        Some(inner) => quote(&inner.replace("\\'", "'")),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Vec<(String, String)>> {
        let packets = packets("text", text).unwrap();
        packets.into_iter().map(|packet| packet.into_iter().map(|line| (line.name, line.text)).collect()).collect()
    }

    fn pair(name: &str, text: &str) -> (String, String) {
        (name.to_owned(), text.to_owned())
    }

    #[test]
    fn rows_commas_and_comments_are_those_of_radclient() {
        let packets = read("# a login\nUser-Name = nemo, User-Password := \"a, b\",\nNAS-Port += 3\n\n\nUser-Name=x\n");
        let first = vec![pair("User-Name", "nemo"), pair("User-Password", "\"a, b\""), pair("NAS-Port", "3")];
        assert_eq!(packets, [first, vec![pair("User-Name", "x")]]);
    }

    #[test]
    fn a_value_may_hold_anything_between_its_marks() {
        let avpair = "Cisco-AVPair = \"ip:addr=\\\",\\\\\", Reply-Message = 'don\\'t, \\n', Filter-Id = o'neil,";
        let wanted = [
            pair("Cisco-AVPair", "\"ip:addr=\\\",\\\\\""),
            pair("Reply-Message", "\"don't, \\\\n\""),
            pair("Filter-Id", "o'neil"),
        ];
        assert_eq!(read(avpair), [wanted]);
    }

    #[test]
    fn what_is_no_attribute_names_its_place_and_not_its_text() {
        for text in ["User-Name = x\nhunter2", "User-Name = x\n= hunter2", "User-Name = x\nUser-Password = \"hunter2"] {
            let error = packets("text", text).unwrap_err();
            assert!(error.starts_with("text:2: ") && !error.contains("hunter2"), "{error}");
        }
    }
}
