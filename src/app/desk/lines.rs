//! Pieces of text: guests made fit to be shown, sizes, callers, the short form of an id.
//!
//! Pure.

use crate::model::SessionId;
use crate::session::Session;

/// Longest text from the network that is shown, in characters.
const GUEST: usize = 64;

/// Text from the network in HTML: shortened, freed of what is unprintable, escaped, and set as code, so that it can neither pose
/// as our words nor become a link.
pub(super) fn guest(text: &str) -> String {
    format!("<code>{}</code>", escaped(&printable(text)))
}

/// The same as plain text.
pub(super) fn printable(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !is_unprintable(*c)).collect();
    let mut shown: String = clean.trim().chars().take(GUEST).collect();
    if clean.trim().chars().count() > GUEST {
        shown.push('…');
    }
    if shown.is_empty() { "-".to_owned() } else { shown }
}

/// Several, with commas between.
pub(super) fn guests<'a>(texts: impl IntoIterator<Item = &'a str>) -> String {
    texts.into_iter().take(5).map(guest).collect::<Vec<_>>().join(", ")
}

/// Where a session's caller is, when the NAS says.
pub(super) fn caller(session: &Session, unknown: &str) -> String {
    session.identity.calling_station_id.as_deref().map_or_else(|| unknown.to_owned(), guest)
}

/// The last characters of an id: sessions of one minute share their first, and so do those that several NASes count alike.
pub(super) fn short(id: SessionId) -> String {
    let text = id.to_string();
    text[text.len() - 12..].to_owned()
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

/// Controls, and the format characters that hide text or turn its direction.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_guest_cannot_pose_as_us() {
        assert_eq!(guest("</code><b>Hi</b>&\n\u{202e}"), "<code>&lt;/code&gt;&lt;b&gt;Hi&lt;/b&gt;&amp;</code>");
        assert_eq!(guest(" \u{200b} "), "<code>-</code>");
        assert_eq!(guest(&"é".repeat(500)), format!("<code>{}…</code>", "é".repeat(64)));
    }
}
