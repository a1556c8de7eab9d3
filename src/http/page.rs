//! What is shown, as HTML, and the same for the page's script and for RFC 8908. Pure.
//!
//! Needs no script: without one the page loads itself again, except where somebody may be typing. Texts are plain and escaped here.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value as Json, json};
use url::Url;

use super::{Phase, Seen, Shown, WaitsFor};
use crate::messages::Messages;
use crate::model::Language;

/// One page.
pub(super) struct Page<'a> {
    pub(super) messages: &'a Messages,
    pub(super) language: &'a Language,
    pub(super) seen: &'a Seen,
    /// What became of the code that was sent before.
    pub(super) said: Option<Said>,
}

/// What is said above the page after a code. Never that it was right: that shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Said {
    Wrong,
    TooLate,
    TooOften,
    Counted,
    Away,
}

/// A headline, what it means, and how it looks.
struct Words {
    headline: &'static str,
    text: &'static str,
    mood: &'static str,
}

impl Said {
    const ALL: [Self; 5] = [Self::Wrong, Self::TooLate, Self::TooOften, Self::Counted, Self::Away];

    /// The word in the address of a page.
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Wrong => "wrong",
            Self::TooLate => "too-late",
            Self::TooOften => "too-often",
            Self::Counted => "counted",
            Self::Away => "away",
        }
    }

    /// Reads that word.
    pub(super) fn read(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|said| said.as_str() == word)
    }

    /// Whether it can be so: a link of somebody else's must not make the page say things.
    fn fits(self, seen: &Seen, is_waiting: bool) -> bool {
        match self {
            Self::Wrong | Self::TooOften | Self::Away => takes_code(seen),
            Self::Counted => is_waiting && !takes_code(seen),
            Self::TooLate => shown(seen).is_some(),
        }
    }

    const fn mood(self) -> &'static str {
        match self {
            Self::Counted => "good",
            Self::Wrong | Self::TooLate | Self::TooOften | Self::Away => "bad",
        }
    }

    const fn message(self) -> &'static str {
        match self {
            Self::Wrong => "portal-wrong",
            Self::TooLate => "portal-too-late",
            Self::TooOften => "portal-too-often",
            Self::Counted => "portal-counted",
            Self::Away => "portal-codes-away",
        }
    }
}

impl Page<'_> {
    pub(super) fn html(&self) -> String {
        let shown = shown(self.seen);
        let words = words(self.seen);
        let mut page = String::with_capacity(4096);
        let _ = write!(
            page,
            "<!doctype html>\n<html lang=\"{}\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"color-scheme\" content=\"light dark\">\n<meta name=\"robots\" content=\"noindex\">\n\
             <title>{}</title>\n<link rel=\"icon\" href=\"data:,\">\n<link rel=\"stylesheet\" href=\"/portal.css\">\n\
             <script src=\"/portal.js\" defer></script>\n",
            self.language,
            self.text("portal-title")
        );
        // Whoever types is not disturbed; there is a link instead.
        let refresh = again(self.seen).filter(|_| !takes_code(self.seen)).map(|seconds| seconds.max(5));
        if let Some(seconds) = refresh {
            let _ = writeln!(page, "<noscript><meta http-equiv=\"refresh\" content=\"{seconds};url=/\"></noscript>");
        }
        let _ = write!(
            page,
            "</head>\n<body>\n<main class=\"{}\" data-key=\"{}\" data-again=\"{}\">\n",
            words.mood,
            key(self.seen),
            again(self.seen).unwrap_or(0)
        );
        let _ = writeln!(page, "<h1>{}</h1>", self.text(words.headline));
        if let Some(number) = shown.and_then(|shown| shown.number) {
            let _ = writeln!(page, "<p class=\"number\">{number:02}</p>");
        }
        let _ = writeln!(page, "<p>{}</p>", self.text(words.text));
        let is_waiting = shown.is_some_and(|shown| matches!(shown.phase, Phase::Waits(_)));
        if let Some(said) = self.said.filter(|said| said.fits(self.seen, is_waiting)) {
            let (class, text) = (said.mood(), self.text(said.message()));
            let _ = writeln!(page, "<p class=\"said {class}\" role=\"alert\">{text}</p>");
        }
        if let Some(form) = shown.and_then(|shown| shown.form.as_deref()) {
            if words.headline != "portal-asks-code" {
                let _ = writeln!(page, "<p class=\"or\">{}</p>", self.text("portal-or"));
            }
            self.forms(&mut page, form);
        }
        if let Some(left) = shown.filter(|_| is_waiting).and_then(|shown| shown.left) {
            let _ = writeln!(
                page,
                "<p class=\"left\">{} <time data-left=\"{}\">{}</time></p>",
                self.text("portal-left"),
                left.as_secs(),
                clock(left)
            );
        }
        if takes_code(self.seen) {
            let _ = writeln!(page, "<noscript><p><a href=\"/\">{}</a></p></noscript>", self.text("portal-again"));
        }
        let _ = writeln!(page, "<p class=\"lost\" hidden>{}</p>", self.text("portal-lost"));
        page.push_str("</main>\n</body>\n</html>\n");
        page
    }

    /// One field for six digits, which brings up digits on a phone, and one for the codes on paper, which have letters.
    fn forms(&self, page: &mut String, form: &str) {
        let form = escaped(form);
        let send = self.text("portal-send");
        let _ = write!(
            page,
            "<form method=\"post\" action=\"/\">\n<label for=\"code\">{}</label>\n\
             <input id=\"code\" name=\"code\" inputmode=\"numeric\" autocomplete=\"one-time-code\" maxlength=\"12\" \
             spellcheck=\"false\" required>\n<input type=\"hidden\" name=\"form\" value=\"{form}\">\n\
             <button>{send}</button>\n</form>\n\
             <details>\n<summary>{}</summary>\n<form method=\"post\" action=\"/\">\n<label for=\"spare\">{}</label>\n\
             <input id=\"spare\" name=\"code\" autocomplete=\"off\" autocapitalize=\"characters\" maxlength=\"32\" \
             spellcheck=\"false\" required>\n<input type=\"hidden\" name=\"form\" value=\"{form}\">\n\
             <button>{send}</button>\n</form>\n</details>\n",
            self.text("portal-code"),
            self.text("portal-no-phone"),
            self.text("portal-spare"),
        );
    }

    fn text(&self, id: &str) -> String {
        escaped(&self.messages.say(self.language, id, &[]))
    }
}

/// What the page's script goes by: whether it shows what is, how long that lasts, and when to look again.
pub(super) fn state(seen: &Seen) -> Json {
    let left = shown(seen).filter(|shown| matches!(shown.phase, Phase::Waits(_))).and_then(|shown| shown.left);
    json!({
        "key": key(seen),
        "left": left.map(|left| left.as_secs()),
        "code": takes_code(seen),
        "again": again(seen),
    })
}

/// RFC 8908 §5: the remaining seconds are those of a session that is let through.
pub(super) fn captive(seen: &Seen, home: &Url) -> Json {
    let through = shown(seen).filter(|shown| shown.phase == Phase::Through);
    let mut answer = json!({"captive": through.is_none(), "user-portal-url": home.as_str()});
    if let Some(left) = through.and_then(|shown| shown.left) {
        answer["seconds-remaining"] = left.as_secs().into();
        answer["can-extend-session"] = false.into();
    }
    answer
}

fn shown(seen: &Seen) -> Option<&Shown> {
    match seen {
        Seen::Session(shown) => Some(shown),
        Seen::Nothing | Seen::Shared | Seen::Away => None,
    }
}

fn takes_code(seen: &Seen) -> bool {
    shown(seen).is_some_and(|shown| shown.form.is_some())
}

/// Seconds until the page looks again; `None` when nothing more is to come.
fn again(seen: &Seen) -> Option<u64> {
    match seen {
        Seen::Session(shown) => match shown.phase {
            Phase::Waits(_) => Some(2),
            Phase::Confirmed => Some(1),
            Phase::Through => None,
            Phase::Denied | Phase::TimeUp | Phase::Replaced | Phase::Ended => Some(10),
        },
        Seen::Nothing | Seen::Away => Some(5),
        Seen::Shared => Some(30),
    }
}

/// Two pages with the same key look the same, but for the time that is left.
fn key(seen: &Seen) -> String {
    let Some(Shown { number, form, .. }) = shown(seen) else { return words(seen).headline.to_owned() };
    let number = number.map(|number| format!(" {number}")).unwrap_or_default();
    // Another session, another page.
    let form = form.as_ref().map(|form| format!(" {}", escaped(form))).unwrap_or_default();
    format!("{}{number}{form}", words(seen).headline)
}

fn words(seen: &Seen) -> Words {
    let words = |headline, text, mood| Words { headline, text, mood };
    let shown = match seen {
        Seen::Session(shown) => shown,
        Seen::Nothing => return words("portal-nothing", "portal-nothing-text", "over"),
        Seen::Shared => return words("portal-shared", "portal-shared-text", "bad"),
        Seen::Away => return words("portal-away", "portal-away-text", "bad"),
    };
    match (shown.phase, shown.number) {
        (Phase::Waits(_), Some(_)) => words("portal-number", "portal-number-text", "waits"),
        (Phase::Waits(WaitsFor::Person), None) => words("portal-person", "portal-person-text", "waits"),
        (Phase::Waits(WaitsFor::Others), None) => words("portal-others", "portal-others-text", "waits"),
        (Phase::Waits(WaitsFor::Operator), None) => words("portal-operator", "portal-operator-text", "waits"),
        (Phase::Waits(WaitsFor::Code), None) => words("portal-asks-code", "portal-asks-code-text", "waits"),
        (Phase::Confirmed, _) => words("portal-confirmed", "portal-confirmed-text", "good"),
        (Phase::Through, _) => words("portal-through", "portal-through-text", "good"),
        (Phase::Denied, _) => words("portal-denied", "portal-denied-text", "bad"),
        (Phase::TimeUp, _) => words("portal-time-up", "portal-time-up-text", "bad"),
        (Phase::Replaced, _) => words("portal-replaced", "portal-replaced-text", "over"),
        (Phase::Ended, _) => words("portal-ended", "portal-ended-text", "over"),
    }
}

fn clock(left: Duration) -> String {
    format!("{}:{:02}", left.as_secs() / 60, left.as_secs() % 60)
}

fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            c => escaped.push(c),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::compare_snapshot;

    fn waits(waits_for: WaitsFor) -> Shown {
        Shown { phase: Phase::Waits(waits_for), left: Some(Duration::from_secs(83)), number: None, form: None }
    }

    fn is(phase: Phase) -> Seen {
        Seen::Session(Shown { phase, left: Some(Duration::from_secs(3600)), number: None, form: None })
    }

    /// Every page there is.
    fn all() -> Vec<(&'static str, Seen, Option<Said>)> {
        let form = || Some("yF0rm\"<".to_owned());
        let session = Seen::Session;
        let code = || session(Shown { form: form(), ..waits(WaitsFor::Code) });
        vec![
            ("a number", session(Shown { number: Some(7), ..waits(WaitsFor::Person) }), None),
            ("a number or a code", session(Shown { number: Some(42), form: form(), ..waits(WaitsFor::Person) }), None),
            ("a button", session(waits(WaitsFor::Person)), None),
            ("others", session(waits(WaitsFor::Others)), Some(Said::Counted)),
            ("an operator", session(waits(WaitsFor::Operator)), None),
            ("a code", code(), None),
            ("a code was wrong", code(), Some(Said::Wrong)),
            ("a code came too late", session(waits(WaitsFor::Person)), Some(Said::TooLate)),
            ("too many codes", code(), Some(Said::TooOften)),
            ("codes cannot be checked", code(), Some(Said::Away)),
            ("confirmed", is(Phase::Confirmed), None),
            ("let through", is(Phase::Through), Some(Said::Wrong)),
            ("denied", is(Phase::Denied), None),
            ("time is up", is(Phase::TimeUp), None),
            ("replaced", is(Phase::Replaced), None),
            ("ended", is(Phase::Ended), None),
            ("nothing", Seen::Nothing, None),
            ("shared", Seen::Shared, None),
            ("away", Seen::Away, None),
        ]
    }

    #[test]
    fn the_snapshot_has_every_page_in_every_language() {
        let messages = Messages::load(None).unwrap();
        let mut pages = String::from("Every page of the portal in every language: what is seen of it.\n");
        for (name, seen, said) in &all() {
            for language in &messages.languages() {
                let html = Page { messages: &messages, language, seen, said: *said }.html();
                let _ = writeln!(pages, "\n-------- {name}, {language}\n{}", text_of(&html).join("\n"));
            }
        }
        compare_snapshot("portal.txt", &pages);
        let language = Language::english();
        let of = |name: &str| {
            let (_, seen, said) = all().into_iter().find(|(of, ..)| *of == name).unwrap();
            Page { messages: &messages, language: &language, seen: &seen, said }.html()
        };
        compare_snapshot("portal.html", &of("a number or a code"));
    }

    /// What a person sees, line by line; what is for browsers without a script is marked.
    fn text_of(html: &str) -> Vec<String> {
        let body = html.split_once("<body>").unwrap().1;
        let lines = body.lines().filter_map(|line| {
            let mut seen = String::new();
            let mut rest = line;
            while let Some((before, after)) = rest.split_once('<') {
                seen.push_str(before);
                let (tag, after) = after.split_once('>').unwrap();
                if tag.starts_with("input id") {
                    seen.push_str("[______]");
                }
                rest = after;
            }
            seen.push_str(rest);
            let mark = match line {
                line if line.contains("hidden>") => "(when lost) ",
                line if line.starts_with("<noscript>") => "(no script) ",
                _ => "",
            };
            (!seen.trim().is_empty()).then(|| format!("{mark}{}", seen.trim()))
        });
        lines.collect()
    }

    #[test]
    fn nothing_in_a_page_is_a_script_or_a_style_of_its_own() {
        let messages = Messages::load(None).unwrap();
        for (name, seen, said) in &all() {
            let html = Page { messages: &messages, language: &Language::english(), seen, said: *said }.html();
            assert!(!html.contains("style=") && !html.contains("<style") && !html.contains("javascript:"), "{name}");
            assert!(!html.contains(" on") || !html.contains("=\"return"), "{name}");
            assert_eq!(html.matches("<script").count(), 1, "{name}");
            assert!(!html.contains("F0rm\"<"), "{name}: what is put in is escaped");
            assert_eq!(html.contains("<form"), takes_code(seen), "{name}");
            let reloads = html.contains("http-equiv=\"refresh\"");
            assert!(!reloads || !html.contains("<form"), "{name}: whoever types is not disturbed");
        }
    }

    #[test]
    fn the_number_is_there_while_it_waits_and_two_digits_long() {
        let messages = Messages::load(None).unwrap();
        let page = |seen| Page { messages: &messages, language: &Language::english(), seen: &seen, said: None }.html();
        let waiting = page(Seen::Session(Shown { number: Some(7), ..waits(WaitsFor::Person) }));
        assert!(waiting.contains("<p class=\"number\">07</p>") && waiting.contains(">1:23</time>"));
        assert!(!page(is(Phase::Confirmed)).contains("class=\"number\""));
    }

    #[test]
    fn rfc8908_section_5_seconds_remain_of_what_is_let_through() {
        let home = Url::parse("https://portal.example/").unwrap();
        let url = "https://portal.example/";
        assert_eq!(captive(&Seen::Nothing, &home), json!({"captive": true, "user-portal-url": url}));
        let waiting = Seen::Session(waits(WaitsFor::Person));
        assert_eq!(captive(&waiting, &home), json!({"captive": true, "user-portal-url": url}));
        assert_eq!(
            captive(&is(Phase::Through), &home),
            json!({"captive": false, "user-portal-url": url, "seconds-remaining": 3600, "can-extend-session": false})
        );
        let endless = Seen::Session(Shown { phase: Phase::Through, left: None, number: None, form: None });
        assert_eq!(captive(&endless, &home), json!({"captive": false, "user-portal-url": url}));
    }

    #[test]
    fn a_page_looks_again_until_nothing_is_to_come() {
        assert_eq!(state(&is(Phase::Through))["again"], Json::Null);
        let (one, other) = (waits(WaitsFor::Code), waits(WaitsFor::Code));
        let of = |shown: Shown, form: &str| state(&Seen::Session(Shown { form: Some(form.to_owned()), ..shown }));
        let (one, other) = (of(one, "a"), of(other, "b"));
        assert_ne!(one["key"], other["key"], "another session is another page");
        assert_eq!((&one["left"], &one["code"]), (&json!(83), &json!(true)));
    }
}
