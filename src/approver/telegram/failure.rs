//! What a failed Bot API call means: try again (and when), never, or that what was wanted is so already.
//!
//! Pure. The Bot API tells errors apart by status and by a sentence; teloxide gives us the sentence, so what is not
//! one of its known variants is judged by the sentence's first words, which are the status's name.

use std::error::Error;
use std::time::Duration;

use teloxide::{ApiError, RequestError};

use crate::approver::AskError;

/// What a failed call means for whoever asked for it.
pub(super) fn classify(error: &RequestError) -> AskError {
    match error {
        RequestError::RetryAfter(wait) => AskError::Later {
            after: Some(wait.duration()),
            reason: format!("Telegram asks us to wait {} s", wait.seconds()),
        },
        RequestError::MigrateToChatId(chat) => {
            AskError::Undeliverable(format!("the group has become a supergroup: bind chat {chat} instead"))
        }
        RequestError::Api(error) => match never(error) {
            Some(reason) => AskError::Undeliverable(reason),
            None => later(format!("Telegram says: {error}")),
        },
        RequestError::Network(error) => later(format!("Telegram cannot be reached: {}", innermost(&**error))),
        RequestError::InvalidJson { source, .. } => later(format!("Telegram's answer makes no sense: {source}")),
        RequestError::Io(error) => later(format!("I/O: {error}")),
    }
}

/// No usable answer in time. teloxide 0.17 keeps 5xx answers back for ten seconds, so these end here as well.
pub(super) fn timed_out(limit: Duration) -> AskError {
    later(format!("no usable answer from Telegram within {} s", limit.as_secs_f32()))
}

/// Whether another poll with the same token has ended this one.
pub(super) fn is_polled_elsewhere(error: &RequestError) -> bool {
    match error {
        RequestError::Api(ApiError::TerminatedByOtherGetUpdates) => true,
        RequestError::Api(ApiError::Unknown(text)) => text.starts_with("Conflict: terminated by other"),
        _ => false,
    }
}

/// Whether there is nothing to poll since a webhook is set.
pub(super) fn is_webhook_set(error: &RequestError) -> bool {
    match error {
        RequestError::Api(ApiError::CantGetUpdates) => true,
        RequestError::Api(ApiError::Unknown(text)) => text.contains("while webhook is active"),
        _ => false,
    }
}

/// Whether an edit failed only because there is nothing left to edit.
pub(super) fn nothing_to_edit(error: &RequestError) -> bool {
    let RequestError::Api(error) = error else { return false };
    match error {
        ApiError::MessageNotModified
        | ApiError::MessageToEditNotFound
        | ApiError::MessageIdInvalid
        | ApiError::MessageCantBeEdited => true,
        ApiError::Unknown(text) => text.starts_with("Bad Request: message is not modified"),
        _ => false,
    }
}

/// One error for several: worth repeating as soon as one of them is, after the longest wait asked for.
pub(super) fn of_all(errors: Vec<AskError>) -> AskError {
    let mut never = Vec::new();
    let mut again: Option<(Option<Duration>, String)> = None;
    for error in errors {
        match error {
            AskError::Undeliverable(reason) => never.push(reason),
            AskError::Later { after, reason } => {
                again = Some(match again {
                    Some((longest, first)) => (longest.max(after), first),
                    None => (after, reason),
                });
            }
        }
    }
    match again {
        Some((after, reason)) => AskError::Later { after, reason },
        None if never.is_empty() => AskError::Undeliverable("the user is bound to no Telegram chat".to_owned()),
        None => AskError::Undeliverable(never.join("; ")),
    }
}

fn later(reason: String) -> AskError {
    AskError::Later { after: None, reason }
}

/// The cause itself. The errors above it name the whole address, and the token is part of that.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(Error::source) {
        cause = Some(deeper);
    }
    cause.map_or_else(|| "connection lost".to_owned(), ToString::to_string)
}

/// Why repeating cannot help; `None` when it may.
fn never(error: &ApiError) -> Option<String> {
    let reason = match error {
        ApiError::InvalidToken => "Telegram does not accept the bot's token (or that address is no Bot API)",
        ApiError::BotBlocked => "the person has blocked the bot",
        ApiError::UserDeactivated => "the person's Telegram account is gone",
        ApiError::ChatNotFound | ApiError::CantInitiateConversation => {
            "there is no such chat, or its owner has never written to the bot"
        }
        ApiError::BotKicked | ApiError::BotKickedFromSupergroup | ApiError::BotKickedFromChannel => {
            "the bot was removed from the group"
        }
        _ => {
            let text = match error {
                ApiError::Unknown(text) => text.clone(),
                known => known.to_string(),
            };
            let refused = ["Bad Request", "Forbidden", "Unauthorized"].iter().any(|status| text.starts_with(status));
            return refused.then(|| format!("Telegram refuses: {text}"));
        }
    };
    Some(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use teloxide::types::{ChatId, Seconds};

    use super::*;

    fn api(text: &str) -> RequestError {
        RequestError::Api(serde_json::from_value(text.into()).unwrap())
    }

    #[test]
    fn a_rate_limit_says_when() {
        let limited = classify(&RequestError::RetryAfter(Seconds::from_seconds(17)));
        assert!(matches!(limited, AskError::Later { after: Some(wait), .. } if wait == Duration::from_secs(17)));
    }

    #[test]
    fn what_repeating_cannot_mend_is_undeliverable() {
        for text in [
            "Bad Request: chat not found",
            "Bad Request: something nobody has seen yet",
            "Forbidden: bot was blocked by the user",
            "Forbidden: user is deactivated",
            "Forbidden: bot was kicked from the group chat",
            "Unauthorized",
            "Not Found",
        ] {
            assert!(matches!(classify(&api(text)), AskError::Undeliverable(_)), "{text}");
        }
        let moved = classify(&RequestError::MigrateToChatId(ChatId(-100_777)));
        assert!(matches!(moved, AskError::Undeliverable(reason) if reason.contains("-100777")));
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for text in ["Internal Server Error", "Bad Gateway", "Conflict: terminated by other getUpdates request"] {
            assert!(matches!(classify(&api(text)), AskError::Later { after: None, .. }), "{text}");
        }
        assert!(matches!(timed_out(Duration::from_secs(8)), AskError::Later { after: None, .. }));
    }

    #[test]
    fn an_edit_that_changes_nothing_is_done() {
        for text in [
            "Bad Request: message is not modified: specified new message content and reply markup are exactly the \
             same as a current content and reply markup of the message",
            "Bad Request: message is not modified",
            "Bad Request: message to edit not found",
            "Bad Request: message can't be edited",
        ] {
            assert!(nothing_to_edit(&api(text)), "{text}");
        }
        assert!(!nothing_to_edit(&api("Bad Request: chat not found")));
        assert!(!nothing_to_edit(&api("Internal Server Error")));
    }

    #[test]
    fn several_failures_make_one() {
        let never = |reason: &str| AskError::Undeliverable(reason.into());
        let wait = |secs: Option<u64>| AskError::Later { after: secs.map(Duration::from_secs), reason: "busy".into() };
        assert_eq!(of_all(vec![never("a"), never("b")]), never("a; b"));
        assert_eq!(of_all(vec![never("a"), wait(None)]), wait(None));
        assert_eq!(of_all(vec![wait(Some(3)), never("a"), wait(Some(9)), wait(None)]), wait(Some(9)));
        assert!(matches!(of_all(Vec::new()), AskError::Undeliverable(_)));
    }
}
