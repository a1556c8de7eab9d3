//! Every word a person reads in Telegram, and the keyboard.
//!
//! Pure. What came from the network (user names, addresses) is a guest here: shortened, freed of control and
//! direction-changing characters, escaped, and set as code, so that it can neither pose as our words nor become a link.
//! Knows no chat and no key.

use std::borrow::Cow;
use std::fmt::Write as _;

use teloxide::types::{InlineKeyboardButton, InlineKeyboardMarkup};
use teloxide::utils::html;

use crate::approver::Question;
use crate::model::Timestamp;
use crate::session::{ButtonError, Outcome, Told, Verdict};

/// What the approving button says.
pub(super) const YES: &str = "It's me";
/// What the denying button says.
pub(super) const NO: &str = "Not me";

/// The longest answer to a press, in characters (Bot API, answerCallbackQuery).
const REPLY: usize = 200;
/// Longest text from the network that is shown, in characters.
const GUEST: usize = 64;
/// Telegram's limit for a message, in UTF-16 code units at worst; ours are counted in characters, so stay well below.
const ALERT: usize = 2000;

/// The two buttons, with the data `seal` makes for each.
pub(super) fn keyboard(seal: impl Fn(Verdict) -> String) -> InlineKeyboardMarkup {
    InlineKeyboardMarkup::new([[
        InlineKeyboardButton::callback(YES, seal(Verdict::Approved)),
        InlineKeyboardButton::callback(NO, seal(Verdict::Denied)),
    ]])
}

/// The question, as HTML.
pub(super) fn prompt(question: &Question) -> String {
    let seconds = question.deadline.since(question.now).as_secs();
    format!(
        "<b>Is this you?</b>\nSomebody has logged in with your password.\n\n{}\n\n\
         Answer within {seconds} s (by {} UTC); without an answer the connection ends.",
        facts(question),
        clock(question.deadline),
    )
}

/// The question with its end, as HTML.
pub(super) fn outcome(question: &Question, outcome: Outcome) -> String {
    let (head, then) = match outcome {
        Outcome::Permitted => ("Confirmed. The connection is open.", NOT_YOU_CONFIRMED),
        Outcome::NasUnreachable => (
            "Confirmed, but the server has not reacted yet.",
            "We keep trying until the time is over. If it was not you, tell your administrator now.",
        ),
        Outcome::Denied => (
            "Denied. The connection is ended.",
            "If it was not you, somebody knows your password: change it now and tell your administrator.",
        ),
        Outcome::Expired => ("Nobody answered in time. The connection is ended.", AGAIN_OR_NOT_YOU),
        Outcome::NotLifted => (
            "Confirmed, but the server could not be told in time. The connection is ended.",
            "Please log in again, and tell your administrator if it happens again.",
        ),
        Outcome::Disconnected => ("The connection ended before anybody answered.", AGAIN_OR_NOT_YOU),
        Outcome::Kicked => (
            "An operator has ended the connection.",
            "If it was not you who logged in, change your password and tell your administrator.",
        ),
    };
    format!("<b>{head}</b>\n\n{}\n\n{then}", facts(question))
}

const AGAIN_OR_NOT_YOU: &str = "If it was you, log in again. If it was not, somebody knows your password: change it now \
     and tell your administrator.";
const NOT_YOU_CONFIRMED: &str =
    "If it was not you who confirmed, change your password and tell your administrator now.";

/// The answer to a press, and whether it must be acknowledged by the presser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// At most 200 characters (Bot API, answerCallbackQuery).
    pub(super) text: Cow<'static, str>,
    /// Shown as an alert instead of a line that passes.
    pub(super) alert: bool,
    /// The buttons of that message are of no more use.
    pub(super) spent: bool,
}

impl Reply {
    /// Words from elsewhere, cut to what fits.
    pub(super) fn plain(text: String, alert: bool) -> Self {
        let fits = text.char_indices().nth(REPLY).map_or(text.len(), |(at, _)| at);
        Self { text: Cow::Owned(text[..fits].to_owned()), alert, spent: false }
    }
}

/// What a presser is told when their press has reached its session.
pub(super) fn told(verdict: Verdict, told: Told) -> Reply {
    let (text, spent) = match (told, verdict) {
        (Told::Done, Verdict::Approved) => ("Confirmed. Your connection is being opened.", false),
        (Told::Done, Verdict::Denied) => ("Denied. The connection is being ended. Change your password.", false),
        (Told::Nothing, _) => ("That changed nothing.", false),
        (Told::AlreadyDecided(Verdict::Approved), Verdict::Approved) => ("Already confirmed.", true),
        (Told::AlreadyDecided(Verdict::Denied), Verdict::Denied) => ("Already denied.", true),
        (Told::AlreadyDecided(Verdict::Approved), Verdict::Denied) => (
            "Already confirmed: this \"no\" came too late. Tell your administrator now, and change your password.",
            true,
        ),
        (Told::AlreadyDecided(Verdict::Denied), Verdict::Approved) => {
            ("Already denied: the connection is being ended. If it was you, log in again.", true)
        }
        (Told::AlreadyExpired, _) => {
            ("Already expired: the time to answer is over. If it was you, log in again.", true)
        }
        (Told::SessionOver, _) => ("Too late: that connection is over. If it was you, log in again.", true),
        (Told::NotEntitled, _) => ("This chat is not bound to that user any more. Ask your administrator.", true),
        (Told::Noted, _) => {
            ("Your answer is kept, but cannot be carried out at this moment. This message will say how it ends.", false)
        }
        (Told::NotHeld, _) => ("There is nothing to confirm: that connection is not waiting for an answer.", true),
    };
    Reply { text: Cow::Borrowed(text), alert: told != Told::Done, spent }
}

/// What a presser is told whose press is refused.
pub(super) fn refused(error: ButtonError) -> Reply {
    let text = match error {
        ButtonError::Foreign => "Refused: this button is not one of ours.",
        ButtonError::NotYours => "Refused: this button is not yours to press.",
    };
    Reply { text: Cow::Borrowed(text), alert: true, spent: false }
}

/// The session took the press, but has not said yet what became of it.
pub(super) const UNSETTLED: Reply = Reply {
    text: Cow::Borrowed("Your answer is in, but not carried out yet. This message will say how it ends."),
    alert: true,
    spent: false,
};

/// The press could not be brought to its session.
pub(super) const NOT_TAKEN: Reply =
    Reply { text: Cow::Borrowed("Your answer could not be recorded. Please press again."), alert: true, spent: false };

/// An alert, as HTML.
pub(super) fn alert(text: &str) -> String {
    let kept = text.chars().filter(|c| *c == '\n' || !is_unprintable(*c)).take(ALERT).collect::<String>();
    format!("<b>radhold</b>: {}", html::escape(&kept))
}

fn facts(question: &Question) -> String {
    let mut out = format!("User: {}\nServer: {}\n", guest(&question.user), guest(&question.nas));
    let _ = match &question.calling_station_id {
        Some(from) => writeln!(out, "From: {}", guest(from)),
        None => writeln!(out, "From: unknown (the server did not say)"),
    };
    let _ = write!(out, "At: {}", moment(question.accepted_at));
    out
}

/// Text from the network, fit to be shown.
fn guest(text: &str) -> String {
    let clean: String = text.chars().filter(|c| !is_unprintable(*c)).collect();
    let mut shown: String = clean.trim().chars().take(GUEST).collect();
    if clean.trim().chars().count() > GUEST {
        shown.push('…');
    }
    if shown.is_empty() { "(empty)".to_owned() } else { format!("<code>{}</code>", html::escape(&shown)) }
}

/// Controls, and the format characters that hide text or turn its direction.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `2026-11-20 09:25:09 UTC`.
fn moment(at: Timestamp) -> String {
    at.to_string().replace('T', " ").replace('Z', " UTC")
}

/// `09:25:09`.
fn clock(at: Timestamp) -> String {
    let text = at.to_string();
    text.split_once('T').map_or(text.as_str(), |(_, time)| time.trim_end_matches('Z')).to_owned()
}

#[cfg(test)]
mod tests {
    use teloxide::types::InlineKeyboardButtonKind;
    use uuid::Uuid;

    use super::*;
    use crate::model::SessionId;

    const OUTCOMES: [Outcome; 7] = [
        Outcome::Permitted,
        Outcome::NasUnreachable,
        Outcome::Denied,
        Outcome::Expired,
        Outcome::NotLifted,
        Outcome::Disconnected,
        Outcome::Kicked,
    ];

    fn question(user: &str, from: Option<&str>) -> Question {
        Question {
            session: SessionId(Uuid::from_u128(1)),
            user: user.into(),
            nas: "office".into(),
            calling_station_id: from.map(Into::into),
            accepted_at: Timestamp::from_secs(1_795_166_709),
            deadline: Timestamp::from_secs(1_795_166_829),
            now: Timestamp::from_secs(1_795_166_711),
        }
    }

    #[test]
    fn a_prompt_says_who_where_from_and_until_when() {
        let text = prompt(&question("alice", Some("203.0.113.7")));
        for part in [
            "<code>alice</code>",
            "<code>office</code>",
            "<code>203.0.113.7</code>",
            "2026-11-20 09:25:09 UTC",
            "within 118 s",
            "by 09:27:09 UTC",
        ] {
            assert!(text.contains(part), "{part:?} is missing in {text}");
        }
        assert!(prompt(&question("alice", None)).contains("From: unknown"));
    }

    #[test]
    fn a_guest_cannot_pose_as_us() {
        let text = prompt(&question("</code><b>Confirmed</b>&\n\u{202e}\u{0}", Some(" \u{200b} ")));
        assert!(text.contains("User: <code>&lt;/code&gt;&lt;b&gt;Confirmed&lt;/b&gt;&amp;</code>\n"), "{text}");
        assert!(text.contains("From: (empty)\n"), "{text}");
        let long = prompt(&question(&"é".repeat(5000), None));
        assert!(long.contains(&format!("<code>{}…</code>", "é".repeat(64))));
        assert!(long.chars().count() < 4096);
    }

    #[test]
    fn every_outcome_reads_differently_and_keeps_the_facts() {
        let texts: std::collections::BTreeSet<_> =
            OUTCOMES.into_iter().map(|end| outcome(&question("alice", None), end)).collect();
        assert_eq!(texts.len(), OUTCOMES.len());
        assert!(texts.iter().all(|text| text.contains("<code>alice</code>") && text.chars().count() < 4096));
    }

    #[test]
    fn the_keyboard_has_two_buttons_each_with_its_own_data() {
        let keyboard = keyboard(|verdict| verdict.to_string()).inline_keyboard;
        let buttons: Vec<_> = keyboard.iter().flatten().map(|button| (button.text.as_str(), &button.kind)).collect();
        let data = |text: &str| InlineKeyboardButtonKind::CallbackData(text.into());
        assert_eq!(buttons, [("It's me", &data("approved")), ("Not me", &data("denied"))]);
    }

    #[test]
    fn every_answer_to_a_press_fits_and_tells_verdicts_apart() {
        let mut all = vec![UNSETTLED, NOT_TAKEN, refused(ButtonError::Foreign), refused(ButtonError::NotYours)];
        for verdict in [Verdict::Approved, Verdict::Denied] {
            for said in [
                Told::Done,
                Told::Nothing,
                Told::AlreadyDecided(Verdict::Approved),
                Told::AlreadyDecided(Verdict::Denied),
                Told::AlreadyExpired,
                Told::SessionOver,
                Told::NotHeld,
                Told::NotEntitled,
                Told::Noted,
            ] {
                all.push(told(verdict, said));
            }
        }
        for reply in all {
            let length = reply.text.chars().count();
            assert!((1..=200).contains(&length), "{length}: {}", reply.text);
        }
        assert_ne!(told(Verdict::Approved, Told::Done), told(Verdict::Denied, Told::Done));
        assert!(!told(Verdict::Approved, Told::Done).alert && told(Verdict::Approved, Told::AlreadyExpired).alert);
    }

    #[test]
    fn an_alert_is_escaped_and_fits() {
        assert_eq!(alert("a <b>\u{7} & c\nd"), "<b>radhold</b>: a &lt;b&gt; &amp; c\nd");
        assert!(alert(&"x".repeat(10_000)).chars().count() < 4096);
    }
}
