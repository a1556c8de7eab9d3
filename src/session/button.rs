//! The data behind a button: bound to one session, chat, presser and answer.
//!
//! Needs no table of its own: the MAC says that we made it for just that place, and the session's state lets it work
//! once. 45 characters, within Telegram's 64 octets of `callback_data`.

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
    presser: String,
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

    /// The data of a button.
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

    /// Checks the data of a pressed button against where and by whom it was pressed.
    ///
    /// # Errors
    /// [`ButtonError`] when it was not made by us for that place.
    pub fn redeem(&self, data: &str, place: Place<'_>) -> Result<Press, ButtonError> {
        if let Some(chosen) = number::read(data) {
            let session = SessionId(self.opened(&number::label(chosen), data, place)?);
            let right = chosen == self.number(session);
            let verdict = if right { Verdict::Approved } else { Verdict::Denied };
            let presser = place.presser.to_owned();
            return Ok(Press { session, verdict, number: Some(chosen), approver: place.approver, presser });
        }
        let verdict = match data.as_bytes().first() {
            Some(b'y') => Verdict::Approved,
            Some(b'n') => Verdict::Denied,
            _ => return Err(ButtonError::Foreign),
        };
        let session = SessionId(self.opened(letter(verdict), data, place)?);
        let presser = place.presser.to_owned();
        Ok(Press { session, verdict, number: None, approver: place.approver, presser })
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

    /// Who pressed.
    pub fn presser(&self) -> &str {
        &self.presser
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
}
