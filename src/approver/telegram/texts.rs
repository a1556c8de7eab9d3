//! What a person reads in Telegram, and the keyboard. The words themselves are `messages`'.
//!
//! Pure. What came from the network (user names, addresses) is a guest here: shortened, freed of control and
//! direction-changing characters, escaped, and set as code, so that it can neither pose as our words nor become a link.
//! Knows no chat and no key.

use teloxide::types::{InlineKeyboardButton, InlineKeyboardMarkup};
use teloxide::utils::html;

use crate::approver::{Ending, Notice, Question, Tone, Whose};
use crate::messages::Value;
use crate::model::{ApproverKind, Medium, Whereabouts, hardware_address};
use crate::session::{ButtonError, EndCause, NumberChoice, Outcome, Told, Verdict};

/// The longest answer to a press, in characters (Bot API, answerCallbackQuery).
const REPLY: usize = 200;
/// Longest text from the network that is shown, in characters.
const GUEST: usize = 64;
/// Telegram's limit for a message, in UTF-16 code units at worst; ours are counted in characters, so stay well below.
const ALERT: usize = 2000;

/// The two buttons, with the data `seal` makes for each.
pub(super) fn keyboard(tone: &Tone, about: Whose, seal: impl Fn(Verdict) -> String) -> InlineKeyboardMarkup {
    let (yes, no) = match about {
        Whose::Own => ("button-yes", "button-no"),
        Whose::Anothers => ("button-yes-for-another", "button-no-for-another"),
    };
    InlineKeyboardMarkup::new([[
        InlineKeyboardButton::callback(tone.say(yes, &[]), seal(Verdict::Approved)),
        InlineKeyboardButton::callback(tone.say(no, &[]), seal(Verdict::Denied)),
    ]])
}

/// Three numbers in a row, and the no below, with the data made for each.
pub(super) fn number_keyboard(
    tone: &Tone,
    choice: NumberChoice,
    seal: impl Fn(u8) -> String,
    no: String,
) -> InlineKeyboardMarkup {
    let numbers = choice.numbers().map(|number| InlineKeyboardButton::callback(number.to_string(), seal(number)));
    let no = InlineKeyboardButton::callback(tone.say("button-no", &[]), no);
    InlineKeyboardMarkup::new([numbers.to_vec(), vec![no]])
}

/// The question, as HTML.
pub(super) fn prompt(tone: &Tone, question: &Question) -> String {
    let seconds = question.deadline.since(question.now).as_secs();
    let until = tone.zone().clock(question.deadline);
    let id = match (question.about, question.numbers) {
        (Whose::Anothers, _) => "prompt-for-another",
        (Whose::Own, Some(_)) => "prompt-numbers",
        (Whose::Own, None) => "prompt",
    };
    let facts = facts(tone, question);
    tone.say(id, &[("facts", facts.into()), ("seconds", seconds.into()), ("until", until.into())])
}

/// The question with its outcome, as HTML; where nothing may sound, with its end too.
pub(super) fn outcome(tone: &Tone, question: &Question, outcome: Outcome) -> String {
    let by_operator = question.decided == Some(ApproverKind::Operator);
    let (id, for_another) = match outcome {
        Outcome::Permitted if by_operator => ("outcome-lifted", "outcome-lifted-for-another"),
        Outcome::Permitted => ("outcome-permitted", "outcome-permitted-for-another"),
        Outcome::NasUnreachable => ("outcome-nas-unreachable", "outcome-nas-unreachable-for-another"),
        Outcome::Denied if by_operator => ("outcome-refused", "outcome-refused-for-another"),
        Outcome::Denied => ("outcome-denied", "outcome-denied-for-another"),
        Outcome::Expired => ("outcome-expired", "outcome-expired-for-another"),
        Outcome::NotLifted => ("outcome-not-lifted", "outcome-not-lifted-for-another"),
        Outcome::Disconnected if question.decided.is_some() => {
            ("outcome-disconnected-confirmed", "outcome-disconnected-confirmed-for-another")
        }
        Outcome::Disconnected => ("outcome-disconnected", "outcome-disconnected-for-another"),
        Outcome::Kicked => ("outcome-kicked", "outcome-kicked-for-another"),
        Outcome::WrongNumber => ("outcome-wrong-number", "outcome-wrong-number-for-another"),
        Outcome::Superseded => ("outcome-superseded", "outcome-superseded-for-another"),
    };
    let facts = facts(tone, question);
    let said = match question.about {
        Whose::Own => tone.say(id, &[("facts", facts.into())]),
        // Advice about passwords is for whoever's login it is.
        Whose::Anothers => {
            let head = tone.say(for_another, &[]);
            tone.say("outcome-for-another", &[("head", head.into()), ("facts", facts.into())])
        }
    };
    match &question.ended {
        Some(ending) if tone.is_quiet() => {
            let below = tone.say("ended-below", &[("summary", summary(tone, ending).into())]);
            format!("{said}\n\n{below}")
        }
        _ => said,
    }
}

/// The end of what was open, as HTML: a message of its own.
pub(super) fn ended(tone: &Tone, question: &Question, ending: &Ending) -> String {
    let facts = [
        tone.say("fact-user", &[("user", guest(tone, &question.user).into())]),
        tone.say("fact-nas", &[("nas", guest(tone, &question.nas).into())]),
    ];
    tone.say("ended", &[("facts", facts.join("\n").into()), ("summary", summary(tone, ending).into())])
}

fn summary(tone: &Tone, ending: &Ending) -> String {
    let (messages, language) = (tone.messages(), tone.language());
    tone.say(
        "ended-summary",
        &[
            ("at", tone.zone().moment(ending.at).into()),
            ("lasted", messages.duration(language, ending.lasted).into()),
            ("received", messages.size(language, ending.output_octets).into()),
            ("sent", messages.size(language, ending.input_octets).into()),
            ("why", why(tone, ending).into()),
        ],
    )
}

/// Acct-Terminate-Cause in words, or how we know of the end without one.
fn why(tone: &Tone, ending: &Ending) -> String {
    let id = match (ending.cause, ending.terminate_cause) {
        (EndCause::NasRestart, _) => "word-end-nas-restart",
        (EndCause::SessionGone, _) => "word-end-session-gone",
        (EndCause::Stale, _) => "word-end-stale",
        (EndCause::PortReused, _) => "word-end-port-reused",
        (EndCause::Stop | EndCause::NeverStarted, None) => "word-cause-none",
        (EndCause::Stop | EndCause::NeverStarted, Some(number)) => match CAUSES.get(number as usize) {
            Some(id) if number > 0 => id,
            _ => return tone.say("word-cause-other", &[("number", number.into())]),
        },
    };
    tone.say(id, &[])
}

/// By Acct-Terminate-Cause; there is no 0.
const CAUSES: [&str; 24] = [
    "",
    "word-cause-1",
    "word-cause-2",
    "word-cause-3",
    "word-cause-4",
    "word-cause-5",
    "word-cause-6",
    "word-cause-7",
    "word-cause-8",
    "word-cause-9",
    "word-cause-10",
    "word-cause-11",
    "word-cause-12",
    "word-cause-13",
    "word-cause-14",
    "word-cause-15",
    "word-cause-16",
    "word-cause-17",
    "word-cause-18",
    "word-cause-19",
    "word-cause-20",
    "word-cause-21",
    "word-cause-22",
    "word-cause-23",
];

/// The answer to a press, and whether it must be acknowledged by the presser.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    /// At most 200 characters (Bot API, answerCallbackQuery).
    pub(super) text: String,
    /// Shown as an alert instead of a line that passes.
    pub(super) alert: bool,
    /// The buttons of that message are of no more use.
    pub(super) spent: bool,
}

impl Reply {
    /// Words from elsewhere, cut to what fits.
    pub(super) fn plain(text: String, alert: bool) -> Self {
        let fits = text.char_indices().nth(REPLY).map_or(text.len(), |(at, _)| at);
        Self { text: text[..fits].to_owned(), alert, spent: false }
    }

    fn alert(tone: &Tone, id: &str) -> Self {
        Self { text: tone.say(id, &[]), alert: true, spent: false }
    }
}

/// What a presser is told when their press has reached its session.
pub(super) fn told(tone: &Tone, verdict: Verdict, by_number: bool, told: Told) -> Reply {
    let wrong_number = by_number && verdict == Verdict::Denied;
    let (id, spent) = match (told, verdict) {
        (Told::Done, Verdict::Denied) if by_number => ("answer-wrong-number", false),
        (Told::Done, Verdict::Approved) => ("answer-approved", false),
        (Told::Done, Verdict::Denied) => ("answer-denied", false),
        (Told::Counted { .. }, _) => ("answer-counted", false),
        (Told::Nothing, _) => ("answer-nothing", false),
        (Told::AlreadyDecided(Verdict::Approved), Verdict::Approved) => ("answer-already-approved", true),
        (Told::AlreadyDecided(Verdict::Denied), Verdict::Denied) => ("answer-already-denied", true),
        (Told::AlreadyDecided(Verdict::Approved), Verdict::Denied) => ("answer-approved-before-no", true),
        (Told::AlreadyDecided(Verdict::Denied), Verdict::Approved) => ("answer-denied-before-yes", true),
        (Told::AlreadyExpired, _) => ("answer-expired", true),
        (Told::AlreadySuperseded, _) => ("answer-superseded", true),
        (Told::SessionOver, _) => ("answer-over", true),
        (Told::NotEntitled, _) => ("answer-not-entitled", true),
        (Told::Noted, _) => ("answer-noted", false),
        (Told::NotHeld, _) => ("answer-not-held", true),
    };
    let alert = wrong_number || !matches!(told, Told::Done | Told::Counted { .. });
    Reply { text: tone.say(id, &[]), alert, spent }
}

/// What a presser is told whose press is refused.
pub(super) fn refused(tone: &Tone, error: ButtonError) -> Reply {
    Reply::alert(
        tone,
        match error {
            ButtonError::Foreign => "answer-foreign",
            ButtonError::NotYours => "answer-not-yours",
        },
    )
}

/// The session took the press, but has not said yet what became of it.
pub(super) fn unsettled(tone: &Tone) -> Reply {
    Reply::alert(tone, "answer-unsettled")
}

/// The press could not be brought to its session.
pub(super) fn not_taken(tone: &Tone) -> Reply {
    Reply::alert(tone, "answer-not-taken")
}

/// An alert, as HTML.
pub(super) fn alert(tone: &Tone, notice: &Notice) -> String {
    let text = notice.say(tone.messages(), tone.language(), tone.zone());
    let kept = text.chars().filter(|c| *c == '\n' || !is_unprintable(*c)).take(ALERT).collect::<String>();
    tone.say("alert", &[("text", html::escape(&kept).into())])
}

/// What is known of a login, a line each.
fn facts(tone: &Tone, question: &Question) -> String {
    let mut lines = Vec::new();
    let mut fact = |id, argument: Option<(&str, String)>| {
        let argument = argument.map(|(name, text)| (name, Value::from(text)));
        lines.push(tone.say(id, argument.as_slice()));
    };
    fact("fact-user", Some(("user", guest(tone, &question.user))));
    fact("fact-nas", Some(("nas", guest(tone, &question.nas))));
    match &question.calling_station_id {
        Some(station) => match hardware_address(station) {
            Some(address) => fact("fact-device", Some(("address", guest(tone, &address)))),
            None => fact("fact-from", Some(("address", guest(tone, station)))),
        },
        None => fact("fact-from-unknown", None),
    }
    let Whereabouts { country, city, system, network, host } = &question.whereabouts;
    let (city, country) = (city.in_language(tone.language()), country.in_language(tone.language()));
    match (city, country) {
        (Some(city), Some(country)) => {
            let parts = [("city", guest(tone, city).into()), ("country", guest(tone, country).into())];
            fact("fact-place", Some(("place", tone.say("word-city-and-country", &parts))));
        }
        (Some(place), None) | (None, Some(place)) => fact("fact-place", Some(("place", guest(tone, place)))),
        (None, None) => {}
    }
    let network = network.as_ref().map(|network| guest(tone, network));
    let system = system.map(|number| format!("AS{number}"));
    let networks: Vec<String> = network.into_iter().chain(system).collect();
    if !networks.is_empty() {
        fact("fact-network", Some(("network", networks.join(", "))));
    }
    if let Some(host) = host {
        fact("fact-host", Some(("host", guest(tone, host))));
    }
    if let Some(medium) = question.medium {
        fact("fact-medium", Some(("medium", tone.say(word_of(medium), &[]))));
    }
    fact("fact-at", Some(("moment", tone.zone().moment(question.accepted_at))));
    lines.join("\n")
}

fn word_of(medium: Medium) -> &'static str {
    match medium {
        Medium::Pptp => "word-medium-pptp",
        Medium::L2tp => "word-medium-l2tp",
        Medium::Ipsec => "word-medium-ipsec",
        Medium::Sstp => "word-medium-sstp",
        Medium::Openvpn => "word-medium-openvpn",
        Medium::SslVpn => "word-medium-ssl-vpn",
        Medium::Virtual => "word-medium-virtual",
        Medium::Pppoe => "word-medium-pppoe",
        Medium::Ppp => "word-medium-ppp",
        Medium::Isdn => "word-medium-isdn",
        Medium::Dsl => "word-medium-dsl",
        Medium::Cable => "word-medium-cable",
        Medium::Fibre => "word-medium-fibre",
        Medium::Ethernet => "word-medium-ethernet",
        Medium::Wifi => "word-medium-wifi",
        Medium::Wireless => "word-medium-wireless",
        Medium::Console => "word-medium-console",
    }
}

/// Text from the network, fit to be shown.
fn guest(tone: &Tone, text: &str) -> String {
    let clean: String = text.chars().filter(|c| !is_unprintable(*c)).collect();
    let mut shown: String = clean.trim().chars().take(GUEST).collect();
    if clean.trim().chars().count() > GUEST {
        shown.push('…');
    }
    if shown.is_empty() { tone.say("word-empty", &[]) } else { format!("<code>{}</code>", html::escape(&shown)) }
}

/// Controls, and the format characters that hide text or turn its direction.
fn is_unprintable(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests;
