//! What the Bot API refuses in a message: its text, its HTML, its keyboard.
//!
//! Pure. Knows no chat.

use serde_json::Value;

use super::{Button, Refusal};

/// A message's text as people see it, and what is marked in it: tag, start, end (in UTF-16 code units).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Formatted {
    pub(super) text: String,
    pub(super) marks: Vec<(String, usize, usize)>,
}

/// The text of a message: 1 to 4096 characters after its entities are parsed.
pub(super) fn formatted(text: Option<String>, parse_mode: Option<&str>) -> Result<Formatted, Refusal> {
    let raw = text.unwrap_or_default();
    let mut formatted = match parse_mode.map(str::to_ascii_lowercase).as_deref() {
        None | Some("") => Formatted { text: raw, marks: Vec::new() },
        Some("html") => html(&raw).map_err(|why| Refusal::bad(format!("can't parse entities: {why}")))?,
        Some(_) => return Err(Refusal::bad("unsupported parse_mode")),
    };
    formatted.text = formatted.text.trim_end().to_owned();
    match formatted.text.trim().encode_utf16().count() {
        0 => Err(Refusal::bad("message text is empty")),
        1..=4096 => Ok(formatted),
        _ => Err(Refusal::bad("message is too long")),
    }
}

/// An inline keyboard: at most 100 buttons, 8 in a row, each with a text and exactly one action; `callback_data` of
/// 1 to 64 octets.
pub(super) fn keyboard(markup: Option<Value>) -> Result<Vec<Vec<Button>>, Refusal> {
    let Some(markup) = markup else { return Ok(Vec::new()) };
    let markup = markup.as_object().ok_or_else(|| Refusal::bad("object expected as reply markup"))?;
    let Some(rows) = markup.get("inline_keyboard") else { return Ok(Vec::new()) };
    let rows = rows.as_array().ok_or_else(|| Refusal::bad("field \"inline_keyboard\" must be of type Array"))?;
    let mut keyboard = Vec::new();
    for row in rows {
        let row = row.as_array().ok_or_else(|| Refusal::bad("inline keyboard row must be of type Array"))?;
        let row = row.iter().map(button).collect::<Result<Vec<_>, _>>()?;
        if row.len() > 8 {
            return Err(Refusal::bad("BUTTON_ROW_TOO_LONG"));
        }
        if !row.is_empty() {
            keyboard.push(row);
        }
    }
    if keyboard.iter().flatten().count() > 100 {
        return Err(Refusal::bad("reply markup is too long"));
    }
    Ok(keyboard)
}

fn button(button: &Value) -> Result<Button, Refusal> {
    const ACTIONS: [&str; 9] = [
        "callback_data",
        "url",
        "web_app",
        "login_url",
        "switch_inline_query",
        "switch_inline_query_current_chat",
        "copy_text",
        "callback_game",
        "pay",
    ];
    let unfit = |why: &str| Refusal::bad(format!("can't parse inline keyboard button: {why}"));
    let fields = button.as_object().ok_or_else(|| unfit("Object expected"))?;
    let text = fields.get("text").and_then(Value::as_str).ok_or_else(|| unfit("Can't find field \"text\""))?;
    if text.trim().is_empty() {
        return Err(unfit("Text must be non-empty"));
    }
    match ACTIONS.iter().filter(|action| fields.contains_key(**action)).count() {
        0 => return Err(unfit("Text buttons are unallowed in the inline keyboard")),
        1 => {}
        _ => return Err(unfit("exactly one action must be given")),
    }
    let data = match fields.get("callback_data") {
        None => None,
        Some(Value::String(data)) if (1..=64).contains(&data.len()) => Some(data.clone()),
        Some(Value::String(_)) => return Err(Refusal::bad("BUTTON_DATA_INVALID")),
        Some(_) => return Err(unfit("Field \"callback_data\" must be of type String")),
    };
    Ok(Button { text: text.to_owned(), data })
}

fn html(raw: &str) -> Result<Formatted, String> {
    const TAGS: [&str; 13] =
        ["b", "strong", "i", "em", "u", "ins", "s", "strike", "del", "code", "pre", "a", "blockquote"];
    let mut out = Formatted::default();
    let mut open: Vec<(String, usize)> = Vec::new();
    let mut length = 0;
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        if c == '<' {
            let (tag, after) = rest[1..].split_once('>').ok_or("Unclosed start tag")?;
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                let (opened, start) = open.pop().ok_or("Unexpected end tag")?;
                if opened != name {
                    return Err(format!("Unmatched end tag, expected \"</{opened}>\", found \"</{name}>\""));
                }
                out.marks.push((opened, start, length));
            } else {
                let name = tag.split(' ').next().unwrap_or_default().to_ascii_lowercase();
                if !TAGS.contains(&name.as_str()) {
                    return Err(format!("Unsupported start tag \"{name}\""));
                }
                open.push((name, length));
            }
            continue;
        }
        let (shown, taken) = entity(rest).unwrap_or((c, c.len_utf8()));
        out.text.push(shown);
        length += shown.len_utf16();
        rest = &rest[taken..];
    }
    match open.pop() {
        Some((name, _)) => Err(format!("Can't find end tag corresponding to start tag \"{name}\"")),
        None => Ok(out),
    }
}

fn entity(text: &str) -> Option<(char, usize)> {
    let known = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')];
    known.into_iter().find(|(name, _)| text.starts_with(name)).map(|(name, shown)| (shown, name.len()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn html_is_taken_as_telegram_takes_it() {
        let ok = formatted(Some("<b>A &lt; B</b> &amp; <code>x</code>".into()), Some("HTML")).unwrap();
        assert_eq!(ok.text, "A < B & x");
        assert_eq!(ok.marks, [("b".into(), 0, 5), ("code".into(), 8, 9)]);
        for bad in ["<b>", "</b>", "<b><i></b></i>", "<marquee>x</marquee>", "a < b"] {
            let refusal = formatted(Some(bad.into()), Some("HTML")).unwrap_err();
            assert!(refusal.description.starts_with("Bad Request: can't parse entities"), "{bad}");
        }
    }

    #[test]
    fn texts_are_1_to_4096_characters() {
        assert!(formatted(None, None).is_err());
        assert!(formatted(Some(" \n".into()), None).is_err());
        assert!(formatted(Some("x".repeat(4096)), None).is_ok());
        assert!(formatted(Some("x".repeat(4097)), None).is_err());
        assert!(formatted(Some(format!("<b>{}</b>", "x".repeat(4096))), Some("HTML")).is_ok());
    }

    #[test]
    fn keyboards_keep_the_published_limits() {
        let with = |button: Value| keyboard(Some(json!({ "inline_keyboard": [[button]] })));
        assert!(with(json!({ "text": "a", "callback_data": "x".repeat(64) })).is_ok());
        for bad in [
            json!({ "text": "a", "callback_data": "x".repeat(65) }),
            json!({ "text": "a", "callback_data": "" }),
            json!({ "text": "", "callback_data": "x" }),
            json!({ "text": "a" }),
            json!({ "text": "a", "callback_data": "x", "url": "https://example.org" }),
            json!({ "callback_data": "x" }),
            json!("a"),
        ] {
            assert!(with(bad.clone()).is_err(), "{bad}");
        }
        let row = vec![json!({ "text": "a", "callback_data": "x" }); 5];
        assert!(keyboard(Some(json!({ "inline_keyboard": vec![row.clone(); 20] }))).is_ok());
        assert!(keyboard(Some(json!({ "inline_keyboard": vec![row; 21] }))).is_err());
    }
}
