//! What Telegram takes: how long a text may be, and which tags it may have.
//!
//! Pure. The kind of a message is the beginning of its id, so that whoever writes one sees its limit.

/// Where a message is shown, which says how long it may be and whether it is HTML.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Form {
    /// In UTF-16 code units, as Telegram counts, of what is seen.
    limit: usize,
    html: bool,
}

/// Kinds by the beginning of the id. All others are messages or parts of them.
const FORMS: [(&str, Form); 7] = [
    // A line to the operator, in the log too; whoever posts it escapes it.
    ("alert-", Form { limit: 2000, html: false }),
    // answerCallbackQuery: 0-200 characters.
    ("answer-", Form { limit: 200, html: false }),
    // No limit is published; longer ones are cut by clients.
    ("button-", Form { limit: 40, html: false }),
    // BotCommand.description: 1-256 characters.
    ("command-", Form { limit: 256, html: false }),
    // On the portal's page, which escapes it; a phone's screen has room for so much.
    ("portal-", Form { limit: 240, html: false }),
    // A line a NAS may show in a Reply-Message of one attribute (RFC 2865 §5.18), which counts octets.
    ("reply-", Form { limit: 120, html: false }),
    // A word or two inside other messages, which are HTML.
    ("word-", Form { limit: 160, html: true }),
];

/// sendMessage: 1-4096 characters after entities parsing.
const MESSAGE: Form = Form { limit: 4096, html: true };

/// Tags of the Bot API's HTML style that we have a use for. `a` is left out: whatever looks like a link in a prompt is one that a
/// stranger may have put there.
const TAGS: [&str; 9] = ["b", "strong", "i", "em", "u", "s", "code", "pre", "blockquote"];

impl Form {
    /// That of a message.
    pub(super) fn of(id: &str) -> Self {
        FORMS.iter().find(|(start, _)| id.starts_with(start)).map_or(MESSAGE, |(_, form)| *form)
    }

    /// What Telegram would not take about a text.
    pub(super) fn check(self, text: &str) -> Result<(), String> {
        let seen = if self.html { seen(text)? } else { text.to_owned() };
        let length = seen.encode_utf16().count();
        if seen.trim().is_empty() {
            return Err("says nothing".to_owned());
        }
        if length > self.limit {
            return Err(format!("is {length} characters long at its longest; {} fit there", self.limit));
        }
        Ok(())
    }
}

/// What is seen of HTML, or why Telegram would refuse it.
pub(crate) fn seen(html: &str) -> Result<String, String> {
    let mut seen = String::new();
    let mut open: Vec<&str> = Vec::new();
    let mut rest = html;
    while let Some(at) = rest.find(['<', '&']) {
        seen.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(tag) = rest.strip_prefix('<') {
            let (tag, after) = tag.split_once('>').ok_or("has a < that begins no tag; write &lt;")?;
            match tag.strip_prefix('/') {
                Some(name) if open.last() == Some(&name) => drop(open.pop()),
                Some(name) => return Err(format!("has a </{name}> that closes no <{name}>")),
                None if TAGS.contains(&tag) => open.push(tag),
                None => return Err(format!("has <{tag}>; there are {}", TAGS.join(", "))),
            }
            rest = after;
        } else {
            let known = [("&lt;", '<'), ("&gt;", '>'), ("&amp;", '&'), ("&quot;", '"')];
            let (entity, means) = known
                .into_iter()
                .find(|(entity, _)| rest.starts_with(entity))
                .ok_or("has an & that begins none of &lt; &gt; &amp; &quot;; write &amp;")?;
            seen.push(means);
            rest = &rest[entity.len()..];
        }
    }
    seen.push_str(rest);
    match open.last() {
        Some(tag) => Err(format!("never closes its <{tag}>")),
        None => Ok(seen),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn html_is_what_telegram_takes() {
        assert_eq!(seen("<b>a <i>b</i></b> &lt;c&gt; &amp;"), Ok("a b <c> &".to_owned()));
        for wrong in ["<b>a", "a</b>", "<b><i>a</b></i>", "<script>a</script>", "a & b", "a < b", "<a href=\"x\">y</a>"]
        {
            assert!(seen(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn length_is_that_of_what_is_seen() {
        let long = "я".repeat(200);
        assert_eq!(Form::of("answer-x").check(&long), Ok(()));
        assert!(Form::of("answer-x").check(&format!("{long}a")).unwrap_err().contains("201"));
        assert!(Form::of("answer-x").check(&"😀".repeat(101)).unwrap_err().contains("202"), "as Telegram counts");
        assert_eq!(Form::of("prompt").check(&format!("<b>{}</b>", "a".repeat(4096))), Ok(()));
        assert!(Form::of("prompt").check(&"a".repeat(4097)).is_err());
        assert!(Form::of("prompt").check("<b> </b>").is_err());
    }
}
