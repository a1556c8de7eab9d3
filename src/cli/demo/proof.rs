//! Whether every step of the hold was seen on the wire. Judges the timeline of `--auto`, and nothing else.

use std::time::Duration;

use tokio::time::Instant;

use crate::radius::{Code, Packet, attribute};

use super::nas::{What, terminate_cause};
use super::timeline::Entry;

/// How soon after a decision, or after the deadline, the NAS must have been told.
const PROMPT: Duration = Duration::from_secs(5);

/// Acct-Status-Type (RFC 2866 §5.1).
const START: u32 = 1;
const STOP: u32 = 2;
const INTERIM_UPDATE: u32 = 3;

/// What was not seen, one line each; nothing when all was.
pub(super) fn missing(entries: &[Entry], window: Duration) -> Vec<String> {
    let mut missing = Vec::new();
    for entry in entries {
        if let Entry::Nas(seen) = entry
            && let What::Dropped { why, .. } = &seen.what
        {
            missing.push(format!("every packet genuine: the NAS dropped one, {why}"));
        }
    }
    alice(&mut Path::of("alice", entries, &mut missing), window);
    bob(&mut Path::of("bob", entries, &mut missing));
    carol(&mut Path::of("carol", entries, &mut missing), window);
    missing
}

fn alice(path: &mut Path<'_>, window: Duration) {
    let accepted = path.login();
    let approved = path.find("the approval", |entry| is_note(entry, "approved"));
    let lifted = path.find("CoA-Request with Filter-Id permit", |entry| {
        received(entry, Code::CoaRequest).is_some_and(|packet| filter_is(&packet, "permit"))
    });
    path.soon("CoA-Request", approved, lifted);
    path.find("the filter permit in force", |entry| is_filter(entry, "permit"));
    path.find("CoA-ACK", |entry| sent(entry, Code::CoaAck).is_some());
    path.accounting(INTERIM_UPDATE, "permit", None);
    path.accounting(INTERIM_UPDATE, "permit", None);
    let ended = path.find("the end by User-Request", |entry| is_end(entry, terminate_cause::USER_REQUEST));
    if let (Some(accepted), Some(ended)) = (accepted, ended)
        && ended < accepted + window
    {
        path.miss("still on after her deadline");
    }
    path.accounting(STOP, "permit", Some(terminate_cause::USER_REQUEST));
    path.never(Code::DisconnectRequest);
}

fn bob(path: &mut Path<'_>) {
    path.login();
    let denied = path.find("the denial", |entry| is_note(entry, "denied"));
    let told = path.disconnect();
    path.soon("Disconnect-Request", denied, told);
    path.never(Code::CoaRequest);
}

fn carol(path: &mut Path<'_>, window: Duration) {
    let asked = path.entries.iter().find(|entry| sent(entry, Code::AccessRequest).is_some()).map(|entry| entry.at());
    let accepted = path.login();
    path.find("the deadline", |entry| is_note(entry, "did not answer"));
    let told = path.disconnect();
    // The server's window began somewhere between the Access-Request and the Access-Accept.
    if let (Some(asked), Some(told)) = (asked, told)
        && told < asked + window
    {
        path.miss("no Disconnect-Request before the deadline");
    }
    path.soon("Disconnect-Request", accepted.map(|accepted| accepted + window), told);
    path.never(Code::CoaRequest);
}

/// What concerns one person, walked once from its beginning.
struct Path<'a> {
    user: &'static str,
    entries: Vec<&'a Entry>,
    next: usize,
    missing: &'a mut Vec<String>,
}

impl<'a> Path<'a> {
    fn of(user: &'static str, entries: &'a [Entry], missing: &'a mut Vec<String>) -> Self {
        let entries = entries.iter().filter(|entry| entry.user() == Some(user)).collect();
        Self { user, entries, next: 0, missing }
    }

    fn miss(&mut self, what: &str) {
        self.missing.push(format!("{}: {what}", self.user));
    }

    /// The time of the next entry that is as wanted; those before it are behind us.
    fn find(&mut self, what: &str, wanted: impl Fn(&Entry) -> bool) -> Option<Instant> {
        match self.entries[self.next..].iter().position(|entry| wanted(entry)) {
            Some(offset) => {
                let found = self.next + offset;
                self.next = found + 1;
                Some(self.entries[found].at())
            }
            None => {
                self.miss(what);
                None
            }
        }
    }

    fn soon(&mut self, what: &str, cause: Option<Instant>, effect: Option<Instant>) {
        if let (Some(cause), Some(effect)) = (cause, effect)
            && effect > cause + PROMPT
        {
            let late = (effect - cause).as_secs_f64();
            self.miss(&format!("{what} within {} s (it took {late:.1} s)", PROMPT.as_secs()));
        }
    }

    fn never(&mut self, code: Code) {
        if self.entries.iter().any(|entry| received(entry, code).is_some()) {
            self.miss(&format!("no {code}"));
        }
    }

    /// From the Access-Request to the answered Start; the time of the Access-Accept.
    fn login(&mut self) -> Option<Instant> {
        self.find("Access-Request", |entry| sent(entry, Code::AccessRequest).is_some());
        let accept = "Access-Accept with Filter-Id sandbox, Class, and Message-Authenticator first";
        let accepted = self.find(accept, |entry| {
            received(entry, Code::AccessAccept).is_some_and(|packet| {
                let first = packet.attributes().next().map(|attribute| attribute.kind);
                filter_is(&packet, "sandbox")
                    && packet.has(attribute::CLASS)
                    && first == Some(attribute::MESSAGE_AUTHENTICATOR)
            })
        });
        self.accounting(START, "sandbox", None);
        accepted
    }

    /// From the Disconnect-Request to the answered Stop; the time of the Disconnect-Request.
    fn disconnect(&mut self) -> Option<Instant> {
        let told = self.find("Disconnect-Request", |entry| received(entry, Code::DisconnectRequest).is_some());
        self.find("the end by Admin-Reset", |entry| is_end(entry, terminate_cause::ADMIN_RESET));
        self.find("Disconnect-ACK", |entry| sent(entry, Code::DisconnectAck).is_some());
        self.accounting(STOP, "sandbox", Some(terminate_cause::ADMIN_RESET));
        told
    }

    /// An Accounting-Request that echoes the Class of the Access-Accept, and its Accounting-Response.
    fn accounting(&mut self, status: u32, filter: &str, cause: Option<u32>) {
        let name = match status {
            START => "Start",
            STOP => "Stop",
            _ => "Interim-Update",
        };
        let class = self
            .entries
            .iter()
            .filter_map(|entry| received(entry, Code::AccessAccept))
            .find_map(|packet| packet.first(attribute::CLASS).map(<[u8]>::to_vec));
        self.find(&format!("Accounting-Request {name} with Filter-Id {filter}"), |entry| {
            sent(entry, Code::AccountingRequest).is_some_and(|packet| {
                packet.integer(attribute::ACCT_STATUS_TYPE) == Some(status)
                    && packet.integer(attribute::ACCT_TERMINATE_CAUSE) == cause
                    && packet.first(attribute::CLASS) == class.as_deref()
                    && filter_is(&packet, filter)
            })
        });
        self.find(&format!("Accounting-Response to the {name}"), |entry| {
            received(entry, Code::AccountingResponse).is_some()
        });
    }
}

fn sent(entry: &Entry, code: Code) -> Option<Packet<'_>> {
    let Entry::Nas(seen) = entry else { return None };
    let sent = matches!(seen.what, What::Sent { .. });
    seen.packet().filter(|packet| sent && packet.code() == code)
}

fn received(entry: &Entry, code: Code) -> Option<Packet<'_>> {
    let Entry::Nas(seen) = entry else { return None };
    let received = matches!(seen.what, What::Received { .. });
    seen.packet().filter(|packet| received && packet.code() == code)
}

fn filter_is(packet: &Packet<'_>, name: &str) -> bool {
    packet.text(attribute::FILTER_ID) == Some(name)
}

fn is_filter(entry: &Entry, name: &str) -> bool {
    matches!(entry, Entry::Nas(seen) if matches!(&seen.what, What::Filter { to, .. } if to.as_deref() == Some(name)))
}

fn is_end(entry: &Entry, cause: u32) -> bool {
    matches!(entry, Entry::Nas(seen) if seen.what == What::Ended { cause })
}

fn is_note(entry: &Entry, words: &str) -> bool {
    matches!(entry, Entry::Note { text, .. } if text.contains(words))
}

#[cfg(test)]
mod tests {
    use super::super::nas::Seen;
    use super::super::play::Play;
    use super::super::stage::Stage;
    use super::super::timeline::{Style, Timeline};
    use super::*;

    const WINDOW: Duration = Duration::from_secs(3);

    fn octets(entry: &Entry) -> Option<&[u8]> {
        match entry {
            Entry::Nas(Seen { what: What::Sent { octets, .. } | What::Received { octets, .. }, .. }) => Some(octets),
            _ => None,
        }
    }

    fn without(entries: &[Entry], gone: impl Fn(&Entry) -> bool) -> Vec<Entry> {
        entries.iter().filter(|entry| !gone(entry)).cloned().collect()
    }

    fn find(entries: &[Entry], wanted: impl Fn(&Entry) -> bool) -> usize {
        entries.iter().position(wanted).expect("was played")
    }

    fn moved(entries: &[Entry], index: usize, by: Duration, earlier: bool) -> Vec<Entry> {
        let mut entries = entries.to_vec();
        if let Entry::Nas(seen) = &mut entries[index] {
            seen.at = if earlier { seen.at - by } else { seen.at + by };
        }
        entries.sort_by_key(Entry::at);
        entries
    }

    /// One real play, then plays that lack something.
    #[tokio::test(flavor = "multi_thread")]
    async fn no_step_can_be_left_out() {
        let mut tries = 0;
        let entries = loop {
            let (stage, seen) = Stage::set_up(WINDOW).await.unwrap();
            let timeline = Timeline::start(Style::Plain, seen);
            Play::new(&stage, &timeline).auto().await.unwrap();
            stage.strike().await;
            let entries = timeline.end();
            let missing = missing(&entries, WINDOW);
            if missing.is_empty() {
                break entries;
            }
            // A machine that does much else plays late; nothing but that may be wrong, and not each time.
            tries += 1;
            assert!(tries < 5 && missing.iter().all(|what| what.contains("(it took ")), "{missing:?}");
        };

        for packet in entries.iter().filter_map(octets) {
            let lacking = without(&entries, |entry| octets(entry) == Some(packet));
            let code = Packet::parse(packet).unwrap().code();
            assert_ne!(missing(&lacking, WINDOW), [""; 0], "{code} is not missed");
        }
        for words in ["approved", "denied", "did not answer"] {
            assert_ne!(missing(&without(&entries, |entry| is_note(entry, words)), WINDOW), [""; 0], "{words}");
        }

        let of = |user: &'static str, code: Code| {
            find(&entries, move |entry| entry.user() == Some(user) && received(entry, code).is_some())
        };
        let late = moved(&entries, of("alice", Code::CoaRequest), PROMPT, false);
        assert_ne!(missing(&late, WINDOW), [""; 0], "a late CoA-Request");
        let early = moved(&entries, of("carol", Code::DisconnectRequest), Duration::from_secs(1), true);
        assert_ne!(missing(&early, WINDOW), [""; 0], "a Disconnect-Request before the deadline");

        let mut forged = entries.clone();
        let dropped = What::Dropped { octets: Vec::new(), why: "wrong secret".to_owned() };
        forged.push(Entry::Nas(Seen { at: entries[0].at(), port: None, user: None, what: dropped }));
        assert_eq!(missing(&forged, WINDOW).len(), 1);
    }
}
