//! Where the prompts of one question are: `chat:message[,chat:message]`, the text a session keeps.
//!
//! Pure. Knows no session and sends nothing.

use teloxide::types::{ChatId, MessageId};

/// One prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reference {
    /// The chat it is in.
    pub(super) chat: ChatId,
    /// Its number in that chat.
    pub(super) message: MessageId,
}

/// As text, in the given order.
pub(super) fn print(references: &[Reference]) -> String {
    let parts: Vec<_> = references.iter().map(|at| format!("{}:{}", at.chat, at.message)).collect();
    parts.join(",")
}

/// From text; `None` when it is not one of ours.
pub(super) fn parse(text: &str) -> Option<Vec<Reference>> {
    text.split(',')
        .map(|part| {
            let (chat, message) = part.split_once(':')?;
            Some(Reference { chat: ChatId(chat.parse().ok()?), message: MessageId(message.parse().ok()?) })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn survives_being_kept() {
        let one = Reference { chat: ChatId(42), message: MessageId(7) };
        let two = Reference { chat: ChatId(-1_001_234_567_890), message: MessageId(i32::MAX) };
        assert_eq!(print(&[one, two]), "42:7,-1001234567890:2147483647");
        assert_eq!(parse(&print(&[one, two])), Some(vec![one, two]));
    }

    #[test]
    fn nonsense_is_not_a_reference() {
        for text in ["", "operator", "42", "42:", ":7", "42:7,", "42:7;43:8", "42:99999999999"] {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
