//! From attributes in words and a password to a signed request. Draws no chance and sends nothing.

use zeroize::Zeroizing;

use super::lines::Line;

use crate::auth::peer;
use crate::auth::{ClearPassword, Credential, Method, NtHash, Verdict, verify};
use crate::radius::dictionary::{Dictionary, EncodeError, Encryption};
use crate::radius::hiding::{self, Salt};
use crate::radius::vendor::{MICROSOFT, microsoft};
use crate::radius::{Code, HidingError, Packet, PacketBuilder, attribute};

/// What to send, as often as wanted.
#[derive(Debug)]
pub(super) struct Recipe {
    pub(super) code: Code,
    /// In their order; passwords among them are found by name.
    pub(super) lines: Vec<Line>,
    /// A password that came by itself.
    pub(super) login: Option<Login>,
    /// `None` for what the code has by itself.
    pub(super) message_authenticator: Option<bool>,
}

/// A password and how it is proven.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) method: LoginMethod,
    pub(super) password: Zeroizing<Vec<u8>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum LoginMethod {
    /// User-Password, hidden with the secret (RFC 2865 §5.2).
    Pap,
    /// CHAP-Password; the Request Authenticator is the challenge (RFC 2865 §2.2).
    Chap,
    /// MS-CHAP-Response (RFC 2548 §2.1.3).
    #[value(name = "mschapv1")]
    MsChapV1,
    /// MS-CHAP2-Response; the server must prove itself, too (RFC 2548 §2.3.2).
    #[value(name = "mschapv2")]
    MsChapV2,
}

/// All the chance one request takes.
#[derive(Debug, Clone, Copy)]
pub(super) struct Chance {
    pub(super) authenticator: [u8; 16],
    /// The challenge of MS-CHAP, of which version 1 takes half.
    pub(super) challenge: [u8; 16],
    pub(super) peer_challenge: [u8; 16],
    pub(super) ident: u8,
    pub(super) salt: u16,
}

/// A request ready to be sent.
#[derive(Debug)]
pub(super) struct Request {
    pub(super) octets: Vec<u8>,
    /// The MS-CHAP2-Success only a server that knows the password can give (RFC 2759 §8.8).
    pub(super) success: Option<[u8; 43]>,
}

impl Recipe {
    /// Makes a request of the recipe. The error is a sentence that shows no password.
    pub(super) fn build(
        &self,
        dictionary: &Dictionary,
        secret: &[u8],
        identifier: u8,
        chance: &Chance,
    ) -> Result<Request, String> {
        let mut builder = PacketBuilder::request(self.code, identifier, chance.authenticator);
        if let Some(wanted) = self.message_authenticator {
            builder.with_message_authenticator(wanted);
        }
        // Salted values of Accounting-, CoA- and Disconnect-Requests are hidden before there is an authenticator, with
        // zeroes in its place, as RFC 5176 §3.4 has it for the Message-Authenticator.
        let nonce = matches!(self.code, Code::AccessRequest | Code::StatusServer);
        let mut hider = Hider {
            secret,
            authenticator: if nonce { chance.authenticator } else { [0; 16] },
            salt: chance.salt,
            error: None,
        };
        let mut logins = vec![];
        for line in &self.lines {
            if line.name.eq_ignore_ascii_case("Message-Authenticator") {
                // Signing makes the value; whoever writes the line wants one.
                builder.with_message_authenticator(true);
            } else if let Some(method) = by_name(line) {
                logins.push((method, plain(dictionary, line)?));
            } else {
                let octets = hider.encode(dictionary, line)?;
                builder.encoded(&octets).map_err(|error| format!("{}: {error}", line.name))?;
            }
        }
        logins.extend(self.login.iter().map(|login| (login.method, login.password.clone())));
        let mut success = None;
        for (method, password) in logins {
            let user_name = {
                let so_far = builder.sign_request(secret).map_err(|error| error.to_string())?;
                let packet = Packet::parse(so_far).expect("we made it");
                packet.first(attribute::USER_NAME).unwrap_or_default().to_vec()
            };
            success = login(&mut builder, method, &password, &user_name, &mut hider, chance)?.or(success);
        }
        let octets = builder.sign_request(secret).map_err(|error| error.to_string())?.to_vec();
        Ok(Request { octets, success })
    }
}

/// The attributes whose value in words is a password that a response is made of. The last two are in no dictionary: the
/// first of them is `radclient`'s, the other its sister.
fn by_name(line: &Line) -> Option<LoginMethod> {
    let is = |name: &str| line.name.eq_ignore_ascii_case(name);
    match () {
        // Octets are a response that was made elsewhere.
        () if is("CHAP-Password") && !line.text.starts_with("0x") => Some(LoginMethod::Chap),
        () if is("MS-CHAP-Password") => Some(LoginMethod::MsChapV1),
        () if is("MS-CHAP2-Password") => Some(LoginMethod::MsChapV2),
        () => None,
    }
}

/// Whether a line's value must not be seen.
pub(super) fn is_secret(dictionary: &Dictionary, line: &Line) -> bool {
    let name = line.name.split(':').next().unwrap_or_default();
    by_name(line).is_some() || dictionary.attribute(name).is_some_and(|attribute| attribute.is_hidden())
}

/// The octets of a password in words. The dictionary reads all texts alike, so it reads this one as a User-Password.
fn plain(dictionary: &Dictionary, line: &Line) -> Result<Zeroizing<Vec<u8>>, String> {
    let mut octets = Zeroizing::new(vec![]);
    let read = dictionary.encode_with("User-Password", &line.text, |_, plain| {
        *octets = plain.to_vec();
        Some(vec![0; 16])
    });
    read.map_err(|error| without_value(line, error))?;
    Ok(octets)
}

/// What went wrong with a line; of a password, without the password.
fn without_value(line: &Line, error: EncodeError) -> String {
    match error {
        EncodeError::Text(..) => format!("{}: the value is not what this attribute takes", line.name),
        other => other.to_string(),
    }
}

/// Hides the values that travel hidden, each with a salt of its own.
struct Hider<'a> {
    secret: &'a [u8],
    authenticator: [u8; 16],
    salt: u16,
    error: Option<HidingError>,
}

impl Hider<'_> {
    fn encode(&mut self, dictionary: &Dictionary, line: &Line) -> Result<Vec<u8>, String> {
        let encoded = dictionary.encode_with(&line.name, &line.text, |encryption, plain| self.hide(encryption, plain));
        encoded.map_err(|error| match self.error.take() {
            Some(error) => format!("{}: {error}", line.name),
            None if is_secret(dictionary, line) => without_value(line, error),
            None => error.to_string(),
        })
    }

    fn hide(&mut self, encryption: Encryption, plain: &[u8]) -> Option<Vec<u8>> {
        let hidden = match encryption {
            Encryption::UserPassword => {
                hiding::hide_user_password(plain, self.secret, &self.authenticator).map(|hidden| hidden.to_vec())
            }
            Encryption::TunnelPassword => {
                self.salt = self.salt.wrapping_add(1);
                let salt = Salt::new(self.salt.to_be_bytes());
                // Salt and hidden octets; the dictionary puts the tag of a Tunnel-Password in front.
                hiding::hide_mppe_key(plain, self.secret, &self.authenticator, salt).map(|hidden| hidden.to_vec())
            }
            Encryption::AscendSecret => {
                hiding::ascend_secret(plain, self.secret, &self.authenticator).map(|block| block.to_vec())
            }
        };
        hidden.map_err(|error| self.error = Some(error)).ok()
    }
}

/// Adds what proves the password; gives the MS-CHAP2-Success to expect.
fn login(
    builder: &mut PacketBuilder,
    method: LoginMethod,
    password: &[u8],
    user_name: &[u8],
    hider: &mut Hider<'_>,
    chance: &Chance,
) -> Result<Option<[u8; 43]>, String> {
    let nt_hash = || NtHash::of_password(password).ok_or("MS-CHAP takes a password in UTF-8 only".to_owned());
    let full = |error: crate::radius::EncodeError| error.to_string();
    let Chance { ident, challenge, peer_challenge, .. } = chance;
    match method {
        LoginMethod::Pap => {
            let hidden = hider.hide(Encryption::UserPassword, password);
            let hidden = hidden.ok_or("User-Password takes at most 128 octets (RFC 2865 §5.2)")?;
            builder.attribute(attribute::USER_PASSWORD, &hidden).map_err(full)?;
        }
        LoginMethod::Chap => {
            let mut value = vec![*ident];
            value.extend(peer::chap(*ident, password, &chance.authenticator));
            builder.attribute(attribute::CHAP_PASSWORD, &value).map_err(full)?;
        }
        LoginMethod::MsChapV1 => {
            let challenge = challenge.first_chunk().expect("16 octets have a first 8");
            // Flags 1: the NT-Response counts; the LM-Response stays zero.
            let mut value = vec![*ident, 1];
            value.extend([0; 24]);
            value.extend(peer::ms_chap_v1(&nt_hash()?, challenge));
            builder.vendor(MICROSOFT, microsoft::MS_CHAP_CHALLENGE, challenge).map_err(full)?;
            builder.vendor(MICROSOFT, microsoft::MS_CHAP_RESPONSE, &value).map_err(full)?;
        }
        LoginMethod::MsChapV2 => {
            if user_name.is_empty() {
                return Err("MS-CHAPv2 hashes the User-Name, and there is none".to_owned());
            }
            // Ident, Flags, Peer-Challenge, eight reserved octets, Response.
            let mut value = vec![*ident, 0];
            value.extend(peer_challenge);
            value.extend([0; 8]);
            value.extend(peer::ms_chap_v2(&nt_hash()?, challenge, peer_challenge, user_name));
            builder.vendor(MICROSOFT, microsoft::MS_CHAP_CHALLENGE, challenge).map_err(full)?;
            builder.vendor(MICROSOFT, microsoft::MS_CHAP2_RESPONSE, &value).map_err(full)?;
            return expected_success(password, user_name, challenge, &value).map(Some);
        }
    }
    Ok(None)
}

/// What a server that knows the password answers, by the server's own code.
fn expected_success(
    password: &[u8],
    user_name: &[u8],
    challenge: &[u8; 16],
    response: &[u8],
) -> Result<[u8; 43], String> {
    let password = ClearPassword::new(password).map_err(|error| error.to_string())?;
    let method = Method::ms_chap_v2(challenge, response).map_err(|error| error.to_string())?;
    match verify(&Credential::Password(password), user_name, &method) {
        Verdict::Accepted(proof) => proof.ms_chap2_success().copied(),
        Verdict::Refused(_) => None,
    }
    .ok_or_else(|| "our own MS-CHAPv2 response does not verify; this is a defect of radhold".to_owned())
}
