//! The data behind a button: bound to one subject, chat, presser and answer or act.
//!
//! Needs no table of its own: the MAC says that we made it for just that place, and the state of what it is about (a session,
//! an enrolment, a ban) lets it work once. 45 characters, within Telegram's 64 octets of `callback_data`. Never knows whether
//! the presser may do what the button says: that may have changed since it was made, and is asked of the store.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use super::decision::Verdict;
use super::number;
use crate::model::{ApproverKind, Secret, SessionId};

const MAC: usize = 16;

/// The cluster's key for buttons.
#[derive(Debug, Clone)]
pub struct ButtonKey(Secret);

/// A button that was pressed where and by whom it may be. Only [`ButtonKey::redeem`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Press {
    session: SessionId,
    verdict: Verdict,
    /// The number that was chosen, where numbers are matched.
    number: Option<u8>,
    approver: ApproverKind,
    chat: String,
    presser: String,
}

/// The presser of a button that anybody in its chat may press.
pub const ANYONE: &str = "";

/// What a button other than yes or no asks for, and about what.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Act {
    /// What is to be done.
    pub verb: Verb,
    /// To what, as the verb says: a session, an enrolment, or the name of a ban.
    pub subject: Uuid,
}

/// What a button can ask for besides an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Verb {
    /// A person ends a session of their own.
    End,
    /// An administrator lets a held session through.
    Permit,
    /// An administrator ends a session.
    Kick,
    /// An administrator bans the caller of a session.
    BanCaller,
    /// An administrator bans the account of a session.
    BanAccount,
    /// An administrator lifts a ban.
    LiftBan,
    /// An administrator lets a chat be bound.
    ConfirmBinding,
    /// An administrator refuses a chat.
    RefuseBinding,
    /// A person trusts a place no more.
    RevokeTrust,
}

/// A button of an [`Act`] that was pressed where and by whom it may be. Only [`ButtonKey::redeem_any`] makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActPress {
    act: Act,
    approver: ApproverKind,
    chat: String,
    presser: String,
}

/// Any button of ours that was pressed where and by whom it may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pressed {
    /// An answer.
    Answer(Press),
    /// An act.
    Act(ActPress),
}

/// Why a press is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ButtonError {
    /// The data was not made by us.
    #[error("this button is not one of ours")]
    Foreign,
    /// Made by us, but for another chat or person (or forged).
    #[error("this button is not yours to press")]
    NotYours,
}

/// Where a button is shown and who may press it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    /// By which channel.
    pub approver: ApproverKind,
    /// The chat.
    pub chat: &'a str,
    /// The person.
    pub presser: &'a str,
}

impl ButtonKey {
    /// Derives the key for buttons from the cluster key.
    pub fn new(cluster_key: &Secret) -> Self {
        let mut mac = hmac(cluster_key);
        mac.update(b"radhold button v1");
        Self(Secret::new(mac.finalize().into_bytes().to_vec()))
    }

    /// The data of a button that answers.
    pub fn seal(&self, session: SessionId, verdict: Verdict, place: Place<'_>) -> String {
        self.sealed(letter(verdict), session.0, place)
    }

    /// The data of a button that chooses a number. Says which number, as the button does, and not whether it is right.
    pub fn seal_number(&self, session: SessionId, number: u8, place: Place<'_>) -> String {
        self.sealed(&number::label(number), session.0, place)
    }

    /// The data of a button that does what this press did, at that place.
    pub fn seal_again(&self, press: &Press, place: Place<'_>) -> String {
        match press.number {
            Some(number) => self.seal_number(press.session, number, place),
            None => self.seal(press.session, press.verdict, place),
        }
    }

    /// The data of a button that acts. With [`ANYONE`] as the presser, anybody in the chat may press it.
    pub fn seal_act(&self, act: Act, place: Place<'_>) -> String {
        self.sealed(act.verb.letter(), act.subject, place)
    }

    /// Checks the data of any pressed button of ours against where and by whom it was pressed.
    ///
    /// # Errors
    /// [`ButtonError`] when it was not made by us for that place.
    pub fn redeem_any(&self, data: &str, place: Place<'_>) -> Result<Pressed, ButtonError> {
        let verb = Verb::ALL.into_iter().find(|verb| data.starts_with(verb.letter()));
        let Some(verb) = verb else { return self.redeem(data, place).map(Pressed::Answer) };
        let letter = verb.letter();
        let subject = self
            .opened(letter, data, place)
            .or_else(|_| self.opened(letter, data, Place { presser: ANYONE, ..place }))?;
        Ok(Pressed::Act(ActPress {
            act: Act { verb, subject },
            approver: place.approver,
            chat: place.chat.to_owned(),
            presser: place.presser.to_owned(),
        }))
    }

    /// Checks the data of a pressed button against where and by whom it was pressed.
    ///
    /// # Errors
    /// [`ButtonError`] when it was not made by us for that place.
    pub fn redeem(&self, data: &str, place: Place<'_>) -> Result<Press, ButtonError> {
        if let Some(chosen) = number::read(data) {
            let session = SessionId(self.opened(&number::label(chosen), data, place)?);
            let right = chosen == self.number(session);
            let verdict = if right { Verdict::Approved } else { Verdict::Denied };
            return Ok(Press::at(place, session, verdict, Some(chosen)));
        }
        let verdict = match data.as_bytes().first() {
            Some(b'y') => Verdict::Approved,
            Some(b'n') => Verdict::Denied,
            _ => return Err(ButtonError::Foreign),
        };
        let session = SessionId(self.opened(letter(verdict), data, place)?);
        Ok(Press::at(place, session, verdict, None))
    }

    pub(super) fn secret(&self) -> &Secret {
        &self.0
    }

    fn sealed(&self, letter: &str, subject: Uuid, place: Place<'_>) -> String {
        let mac = self.mac(letter, subject, place);
        format!("{letter}{}{}", URL_SAFE_NO_PAD.encode(subject.as_bytes()), URL_SAFE_NO_PAD.encode(mac))
    }

    /// The subject of data that begins with this letter.
    fn opened(&self, letter: &str, data: &str, place: Place<'_>) -> Result<Uuid, ButtonError> {
        let rest = data.strip_prefix(letter).ok_or(ButtonError::Foreign)?;
        let (id, mac) = rest.split_at_checked(22).ok_or(ButtonError::Foreign)?;
        let id = URL_SAFE_NO_PAD.decode(id).map_err(|_| ButtonError::Foreign)?;
        let mac = URL_SAFE_NO_PAD.decode(mac).map_err(|_| ButtonError::Foreign)?;
        let subject = Uuid::from_slice(&id).map_err(|_| ButtonError::Foreign)?;
        if !bool::from(subtle::ConstantTimeEq::ct_eq(&self.mac(letter, subject, place)[..], &mac[..])) {
            return Err(ButtonError::NotYours);
        }
        Ok(subject)
    }

    fn mac(&self, letter: &str, subject: Uuid, place: Place<'_>) -> [u8; MAC] {
        let mut mac = hmac(&self.0);
        for part in [
            letter.as_bytes(),
            subject.as_bytes(),
            place.approver.as_str().as_bytes(),
            place.chat.as_bytes(),
            place.presser.as_bytes(),
        ] {
            mac.update(&u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
            mac.update(part);
        }
        let mut out = [0; MAC];
        out.copy_from_slice(&mac.finalize().into_bytes()[..MAC]);
        out
    }
}

impl Press {
    fn at(place: Place<'_>, session: SessionId, verdict: Verdict, number: Option<u8>) -> Self {
        let (chat, presser) = (place.chat.to_owned(), place.presser.to_owned());
        Self { session, verdict, number, approver: place.approver, chat, presser }
    }

    /// The same as made in that chat, for one that was sealed again for another place. Nothing goes by it but the record.
    #[must_use]
    pub fn made_in(self, chat: &str) -> Self {
        Self { chat: chat.to_owned(), ..self }
    }

    /// The session it is for.
    pub fn session(&self) -> SessionId {
        self.session
    }

    /// Yes or no.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The number that was chosen, where numbers are matched.
    pub fn number(&self) -> Option<u8> {
        self.number
    }

    /// Whether a number was chosen: then a no is a wrong one.
    pub fn is_by_number(&self) -> bool {
        self.number.is_some()
    }

    /// By which channel.
    pub fn approver(&self) -> ApproverKind {
        self.approver
    }

    /// In which chat; empty when that is not known any more.
    pub fn chat(&self) -> &str {
        &self.chat
    }

    /// Who pressed.
    pub fn presser(&self) -> &str {
        &self.presser
    }
}

impl ActPress {
    /// What is asked for.
    pub fn act(&self) -> Act {
        self.act
    }

    /// By which channel.
    pub fn approver(&self) -> ApproverKind {
        self.approver
    }

    /// In which chat.
    pub fn chat(&self) -> &str {
        &self.chat
    }

    /// Who pressed.
    pub fn presser(&self) -> &str {
        &self.presser
    }
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::End,
        Self::Permit,
        Self::Kick,
        Self::BanCaller,
        Self::BanAccount,
        Self::LiftBan,
        Self::ConfirmBinding,
        Self::RefuseBinding,
        Self::RevokeTrust,
    ];

    /// How its data begins; y and n are answers.
    const fn letter(self) -> &'static str {
        match self {
            Self::End => "e",
            Self::Permit => "p",
            Self::Kick => "k",
            Self::BanCaller => "b",
            Self::BanAccount => "a",
            Self::LiftBan => "l",
            Self::ConfirmBinding => "c",
            Self::RefuseBinding => "r",
            Self::RevokeTrust => "t",
        }
    }
}

const fn letter(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Approved => "y",
        Verdict::Denied => "n",
    }
}

pub(super) fn hmac(key: &Secret) -> Hmac<Sha256> {
    Hmac::new_from_slice(key.expose()).expect("HMAC takes a key of any length")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOME: Place<'_> = Place { approver: ApproverKind::Telegram, chat: "100200300", presser: "100200300" };

    #[test]
    fn works_where_it_was_made_for() {
        let key = ButtonKey::new(&Secret::new("cluster"));
        let id = SessionId(Uuid::from_u128(9));
        for verdict in [Verdict::Approved, Verdict::Denied] {
            let data = key.seal(id, verdict, HOME);
            assert!(data.len() <= 64, "{} octets", data.len());
            let press = key.redeem(&data, HOME).unwrap();
            assert_eq!((press.session(), press.verdict(), press.presser()), (id, verdict, HOME.presser));
        }
    }

    #[test]
    fn works_nowhere_else() {
        let key = ButtonKey::new(&Secret::new("cluster"));
        let yes = key.seal(SessionId(Uuid::from_u128(9)), Verdict::Approved, HOME);
        assert_eq!(key.redeem(&yes, Place { chat: "5", ..HOME }), Err(ButtonError::NotYours));
        assert_eq!(key.redeem(&yes, Place { presser: "5", ..HOME }), Err(ButtonError::NotYours));
        let no_turned_yes = format!("y{}", &key.seal(SessionId(Uuid::from_u128(9)), Verdict::Denied, HOME)[1..]);
        assert_eq!(key.redeem(&no_turned_yes, HOME), Err(ButtonError::NotYours));
        for junk in ["", "y", "yé", "n0000", "hello there", &"y".repeat(64)] {
            assert!(key.redeem(junk, HOME).is_err(), "{junk:?}");
        }
    }

    #[test]
    fn acts_work_where_they_were_made_for_and_are_told_apart() {
        let key = ButtonKey::new(&Secret::new("cluster"));
        let subject = Uuid::from_u128(9);
        let mut seen = std::collections::BTreeSet::from(["y".to_owned(), "n".to_owned()]);
        for verb in Verb::ALL {
            let data = key.seal_act(Act { verb, subject }, HOME);
            assert!(data.len() <= 64 && seen.insert(data[..1].to_owned()), "{verb:?}: {data}");
            let Ok(Pressed::Act(press)) = key.redeem_any(&data, HOME) else { panic!("{verb:?} is refused") };
            assert_eq!((press.act(), press.chat(), press.presser()), (Act { verb, subject }, HOME.chat, HOME.presser));
            assert_eq!(key.redeem_any(&data, Place { chat: "5", ..HOME }), Err(ButtonError::NotYours));
            assert_eq!(key.redeem_any(&data, Place { presser: "5", ..HOME }), Err(ButtonError::NotYours));
            assert!(key.redeem(&data, HOME).is_err(), "{verb:?} answers nothing");
            for other in ["y", "p", "e"].into_iter().filter(|letter| *letter != verb.letter()) {
                let turned = format!("{other}{}", &data[1..]);
                assert_eq!(key.redeem_any(&turned, HOME), Err(ButtonError::NotYours), "{verb:?} as {other}");
            }
        }
    }

    #[test]
    fn what_anybody_may_press_is_theirs_in_that_chat_alone_and_never_an_answer() {
        let key = ButtonKey::new(&Secret::new("cluster"));
        let act = Act { verb: Verb::Permit, subject: Uuid::from_u128(9) };
        let data = key.seal_act(act, Place { presser: ANYONE, ..HOME });
        let Ok(Pressed::Act(press)) = key.redeem_any(&data, Place { presser: "5", ..HOME }) else { panic!("refused") };
        assert_eq!((press.act(), press.presser()), (act, "5"));
        assert_eq!(key.redeem_any(&data, Place { chat: "5", ..HOME }), Err(ButtonError::NotYours));
        let yes = key.seal(SessionId(act.subject), Verdict::Approved, Place { presser: ANYONE, ..HOME });
        assert_eq!(key.redeem_any(&yes, HOME), Err(ButtonError::NotYours));
    }
}
