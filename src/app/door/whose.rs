//! Whose a packet is: of the NASes at its address, the one by whose secret it was made. Says why it believes none; what becomes of
//! the packet then is for others.

use std::net::IpAddr;
use std::sync::Arc;

use super::Port;
use crate::app::settings::Known;
use crate::model::{Nas, Timestamp};
use crate::radius::hiding;
use crate::radius::{
    AuthenticatorError, CheckedRequest, Code, MessageAuthenticatorError, Packet, PreparedSecret, attribute,
};

/// What makes a packet its NAS's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Proof {
    /// Its source address, which anybody may write.
    None,
    /// It was made with the secret.
    Secret,
}

/// Why a packet is not believed. Costs nothing until somebody reads it: strangers may send many.
#[derive(Debug, thiserror::Error)]
pub(super) enum Distrust {
    #[error("{0}; is the secret the same on both sides?")]
    MessageAuthenticator(MessageAuthenticatorError),
    #[error("{0}; is the secret the same on both sides?")]
    RequestAuthenticator(AuthenticatorError),
    #[error(
        "Access-Request without Message-Authenticator (CVE-2024-3596); a NAS that cannot send it needs \
         require_message_authenticator = false"
    )]
    UnsignedLogin,
    #[error("Status-Server without Message-Authenticator")]
    UnsignedStatus,
    #[error("several NASes have this address, so each must send a Message-Authenticator")]
    UnsignedAmongSeveral,
    #[error("{code} does not belong on the {port:?} port")]
    OutOfPlace { code: Code, port: Port },
    #[error("NAS-Identifier is {0:?}, and no NAS at this address goes by that")]
    UnknownNasIdentifier(String),
}

impl Distrust {
    /// The label it is counted by.
    pub(super) fn label(&self) -> &'static str {
        match self {
            Self::MessageAuthenticator(error) => error.reason(),
            Self::RequestAuthenticator(error) => error.reason(),
            Self::UnsignedLogin | Self::UnsignedStatus | Self::UnsignedAmongSeveral => {
                "packet.message-authenticator-absent"
            }
            Self::OutOfPlace { .. } => "packet.code-out-of-place",
            Self::UnknownNasIdentifier(_) => "packet.unknown-nas-identifier",
        }
    }
}

/// Of the NASes at an address, the one whose packet this is, by the secret it was made with. At most two are asked, with two
/// secrets each: the one that goes by the packet's NAS-Identifier, and the one that goes by none. And what makes it that NAS's.
/// What was checked beforehand is not checked again.
pub(super) fn whose<'a>(
    port: Port,
    packet: &Packet<'_>,
    (there, source): (&'a [Arc<Known>], IpAddr),
    checked: Option<&CheckedRequest<'_>>,
    now: Timestamp,
) -> Result<(&'a Arc<Nas>, &'a PreparedSecret, Proof), Distrust> {
    let mut wrong = None;
    for known in meant(packet, there) {
        let mut by_secret = known.by_secret(source, now);
        while let Some((nas, secret, previous)) = by_secret.next() {
            match prove(port, packet, nas, secret, checked) {
                // Anybody can write a NAS-Identifier.
                Ok(Proof::None) if there.len() > 1 => return Err(Distrust::UnsignedAmongSeveral),
                Ok(Proof::None) => {
                    // One password is read of a packet, and so one is checked and counted, however many secrets there are.
                    let other = by_secret.next().filter(|(_, other, _)| !reads(packet, secret) && reads(packet, other));
                    let (nas, secret) = other.map_or((nas, secret), |(nas, secret, _)| (nas, secret));
                    return Ok((nas, secret, Proof::None));
                }
                Ok(Proof::Secret) => {
                    known.proved_by(previous, source, now);
                    return Ok((nas, secret, Proof::Secret));
                }
                Err(error) => wrong = wrong.or(Some(error)),
            }
        }
    }
    Err(wrong.unwrap_or_else(|| {
        let identifier = packet.first(attribute::NAS_IDENTIFIER);
        let identifier = identifier.map_or("none".into(), String::from_utf8_lossy);
        Distrust::UnknownNasIdentifier(identifier.into_owned())
    }))
}

/// By which secret [`whose`] checks a Message-Authenticator first, of a login and of Status-Server.
pub(super) fn first_asked<'a>(
    port: Port,
    packet: &Packet<'_>,
    (there, source): (&'a [Arc<Known>], IpAddr),
    now: Timestamp,
) -> Option<&'a PreparedSecret> {
    let signs = matches!((port, packet.code()), (Port::Access, Code::AccessRequest) | (_, Code::StatusServer));
    let known = signs.then(|| meant(packet, there).next())??;
    known.by_secret(source, now).next().map(|(_, secret, _)| secret)
}

/// Those that go by the packet's NAS-Identifier or by none.
fn meant<'a>(packet: &Packet<'_>, there: &'a [Arc<Known>]) -> impl Iterator<Item = &'a Arc<Known>> {
    let identifier = packet.first(attribute::NAS_IDENTIFIER);
    there
        .iter()
        .filter(move |known| known.nas.nas_identifier.as_ref().is_none_or(|name| identifier == Some(name.as_bytes())))
}

/// Whether this secret makes text of the packet's User-Password; another makes noise of it. That is no proof: noise is text once in
/// some 360,000 times.
fn reads(packet: &Packet<'_>, secret: &PreparedSecret) -> bool {
    let hidden = packet.first(attribute::USER_PASSWORD);
    let reveal = |hidden| hiding::reveal_user_password(hidden, secret.expose(), packet.authenticator()).ok();
    let is_text = |octets: &[u8]| str::from_utf8(octets).is_ok_and(|text| !text.chars().any(char::is_control));
    hidden.and_then(reveal).is_some_and(|password| is_text(&password))
}

/// Whether the packet belongs on this port and is the NAS's own.
pub(super) fn prove(
    port: Port,
    packet: &Packet<'_>,
    nas: &Nas,
    secret: &PreparedSecret,
    checked: Option<&CheckedRequest<'_>>,
) -> Result<Proof, Distrust> {
    let message_authenticator = || {
        let verdict = checked.and_then(|checked| checked.verdict(packet, secret));
        match verdict.unwrap_or_else(|| packet.verify_message_authenticator_by(secret)) {
            Ok(_) => Ok(true),
            Err(MessageAuthenticatorError::Absent) => Ok(false),
            Err(error) => Err(Distrust::MessageAuthenticator(error)),
        }
    };
    match (port, packet.code()) {
        (Port::Access | Port::Tls, Code::AccessRequest) => {
            let present = message_authenticator()?;
            // RFC 3579 §3.2: EAP must come with it.
            let eap = packet.has(attribute::EAP_MESSAGE);
            let proxied = nas.limit_proxy_state && packet.has(attribute::PROXY_STATE);
            if !present && (nas.require_message_authenticator || eap || proxied) {
                return Err(Distrust::UnsignedLogin);
            }
            Ok(if present { Proof::Secret } else { Proof::None })
        }
        // RFC 6614 §2.5: over TLS an order is not out of place, and answered once it is proven (RFC 5176 §2.3).
        (Port::Accounting | Port::Tls, Code::AccountingRequest)
        | (Port::Tls, Code::CoaRequest | Code::DisconnectRequest) => {
            message_authenticator()?;
            packet
                .verify_request_authenticator(secret.expose())
                .map(|_| Proof::Secret)
                .map_err(Distrust::RequestAuthenticator)
        }
        // RFC 5997 §3: Status-Server must carry Message-Authenticator.
        (_, Code::StatusServer) if message_authenticator()? => Ok(Proof::Secret),
        (_, Code::StatusServer) => Err(Distrust::UnsignedStatus),
        (port, code) => Err(Distrust::OutOfPlace { code, port }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::app::settings::NasTable;
    use crate::model::{PreviousSecret, Secret};
    use crate::radius::{PacketBuilder, RequestChecking, TOGETHER};

    const SECRET: &[u8] = b"the secret of the tests";
    const PREVIOUS: &[u8] = b"the secret before that";
    const OTHER: &[u8] = b"nobody's secret";

    fn nas() -> Nas {
        Nas::new("edge", "192.0.2.1".parse::<IpAddr>().unwrap(), Secret::new(SECRET))
    }

    /// One that does not sign.
    fn plain() -> Nas {
        Nas { require_message_authenticator: false, ..nas() }
    }

    fn limited() -> Nas {
        Nas { limit_proxy_state: true, ..plain() }
    }

    /// A request with these attributes.
    fn request(code: Code, signed_by: Option<&[u8]>, attributes: &[u8]) -> Vec<u8> {
        let mut request = PacketBuilder::request(code, 1, [7; 16]);
        for kind in attributes {
            request.attribute(*kind, b"edge").unwrap();
        }
        request.with_message_authenticator(signed_by.is_some());
        request.sign_request(signed_by.unwrap_or(SECRET)).unwrap().to_vec()
    }

    fn login(signed_by: Option<&[u8]>, attributes: &[u8]) -> Vec<u8> {
        request(Code::AccessRequest, signed_by, attributes)
    }

    /// Whose the packet is, among these, and by what; or why nobody's.
    fn believed(
        port: Port,
        datagram: &[u8],
        nases: impl IntoIterator<Item = Nas>,
    ) -> Result<(String, Proof), Distrust> {
        let table = NasTable::new(nases);
        let packet = Packet::parse(datagram).unwrap();
        let source = [192, 0, 2, 1].into();
        let (nas, _, proof) = whose(port, &packet, (table.at(source), source), None, Timestamp::from_secs(0))?;
        Ok((nas.name.to_string(), proof))
    }

    fn proof(port: Port, datagram: &[u8], nas: Nas) -> Result<Proof, Distrust> {
        believed(port, datagram, [nas]).map(|(_, proof)| proof)
    }

    #[test]
    fn a_login_is_believed_when_it_is_signed() {
        let signed = login(Some(SECRET), &[]);
        assert_eq!(proof(Port::Access, &signed, nas()).unwrap(), Proof::Secret);
        assert_eq!(proof(Port::Access, &signed, plain()).unwrap(), Proof::Secret);
        for nas in [nas(), plain()] {
            let error = proof(Port::Access, &login(Some(OTHER), &[]), nas).unwrap_err();
            assert!(matches!(error, Distrust::MessageAuthenticator(MessageAuthenticatorError::Mismatch)), "{error:?}");
        }
    }

    #[test]
    fn a_login_that_is_not_signed_is_believed_of_a_nas_that_need_not() {
        let unsigned = login(None, &[]);
        let error = proof(Port::Access, &unsigned, nas()).unwrap_err();
        assert!(matches!(error, Distrust::UnsignedLogin), "{error:?}");
        assert_eq!(error.label(), "packet.message-authenticator-absent");
        assert_eq!(proof(Port::Access, &unsigned, plain()).unwrap(), Proof::None);
        // RFC 3579 §3.2.
        let error = proof(Port::Access, &login(None, &[attribute::EAP_MESSAGE]), plain()).unwrap_err();
        assert!(matches!(error, Distrust::UnsignedLogin), "{error:?}");
    }

    /// CVE-2024-3596: what is forged into the answer must have room in the request, and that is Proxy-State.
    #[test]
    fn limit_proxy_state_wants_proxy_state_signed_and_nothing_else() {
        let proxied = login(None, &[attribute::PROXY_STATE]);
        let error = proof(Port::Access, &proxied, limited()).unwrap_err();
        assert!(matches!(error, Distrust::UnsignedLogin), "{error:?}");
        assert_eq!(proof(Port::Access, &proxied, plain()).unwrap(), Proof::None);
        assert_eq!(proof(Port::Access, &login(None, &[]), limited()).unwrap(), Proof::None);
        let signed = login(Some(SECRET), &[attribute::PROXY_STATE]);
        assert_eq!(proof(Port::Access, &signed, limited()).unwrap(), Proof::Secret);
        let accounting = request(Code::AccountingRequest, None, &[attribute::PROXY_STATE]);
        assert_eq!(proof(Port::Accounting, &accounting, limited()).unwrap(), Proof::Secret);
    }

    #[test]
    fn accounting_is_believed_by_its_request_authenticator_and_by_what_else_it_is_signed_with() {
        let by = |secret: &[u8]| {
            let mut request = PacketBuilder::request(Code::AccountingRequest, 1, [0; 16]);
            request.with_message_authenticator(false);
            request.sign_request(secret).unwrap().to_vec()
        };
        assert_eq!(proof(Port::Accounting, &by(SECRET), nas()).unwrap(), Proof::Secret);
        let error = proof(Port::Accounting, &by(OTHER), plain()).unwrap_err();
        assert!(matches!(error, Distrust::RequestAuthenticator(_)), "{error:?}");
        let signed = request(Code::AccountingRequest, Some(OTHER), &[]);
        let error = proof(Port::Accounting, &signed, nas()).unwrap_err();
        assert!(matches!(error, Distrust::MessageAuthenticator(_)), "{error:?}");
    }

    #[test]
    fn status_server_is_believed_when_it_is_signed() {
        // RFC 2865 §3: Code, Identifier, Length and Authenticator, and no attributes.
        let unsigned = [&[12, 1, 0, 20][..], &[7; 16]].concat();
        for port in [Port::Access, Port::Accounting, Port::Tls] {
            let signed = request(Code::StatusServer, Some(SECRET), &[]);
            assert_eq!(proof(port, &signed, plain()).unwrap(), Proof::Secret);
            let error = proof(port, &unsigned, plain()).unwrap_err();
            assert!(matches!(error, Distrust::UnsignedStatus), "{error:?}");
        }
    }

    #[test]
    fn what_belongs_on_another_port_is_not_believed() {
        let accounting = request(Code::AccountingRequest, Some(SECRET), &[]);
        for (port, datagram) in [
            (Port::Access, &accounting),
            (Port::Accounting, &login(Some(SECRET), &[])),
            (Port::Access, &request(Code::CoaRequest, Some(SECRET), &[])),
        ] {
            let error = proof(port, datagram, nas()).unwrap_err();
            assert!(matches!(error, Distrust::OutOfPlace { .. }), "{error:?}");
        }
        assert_eq!(proof(Port::Tls, &accounting, nas()).unwrap(), Proof::Secret);
        assert_eq!(proof(Port::Tls, &login(Some(SECRET), &[]), nas()).unwrap(), Proof::Secret);
        // Believed, so that it can be refused (RFC 6614 §2.5).
        assert_eq!(proof(Port::Tls, &request(Code::CoaRequest, Some(SECRET), &[]), nas()).unwrap(), Proof::Secret);
    }

    #[test]
    fn of_several_at_one_address_the_one_is_believed_that_proves_itself() {
        let west =
            || Nas { name: "west".into(), nas_identifier: Some("west".into()), secret: Secret::new(OTHER), ..nas() };
        let east = || Nas { nas_identifier: Some("edge".into()), ..plain() };
        let named = &[attribute::NAS_IDENTIFIER];
        let (name, proof) = believed(Port::Access, &login(Some(SECRET), named), [west(), east()]).unwrap();
        assert_eq!((name.as_str(), proof), ("edge", Proof::Secret));
        let error = believed(Port::Access, &login(None, named), [west(), east()]).unwrap_err();
        assert!(matches!(error, Distrust::UnsignedAmongSeveral), "{error:?}");
        let error = believed(Port::Access, &login(Some(OTHER), named), [west(), east()]).unwrap_err();
        assert!(matches!(error, Distrust::MessageAuthenticator(_)), "another's secret: {error:?}");
        let error = believed(Port::Access, &login(Some(SECRET), &[]), [west(), east()]).unwrap_err();
        assert!(matches!(&error, Distrust::UnknownNasIdentifier(name) if name == "none"), "{error:?}");
        let error = believed(Port::Access, &login(Some(SECRET), named), [west()]).unwrap_err();
        assert!(matches!(&error, Distrust::UnknownNasIdentifier(name) if name == "edge"), "{error:?}");
        assert_eq!(error.label(), "packet.unknown-nas-identifier");
    }

    /// The secret by which a login that is not signed is believed.
    fn taken(table: &NasTable, attributes: &[(u8, &[u8])]) -> Vec<u8> {
        let mut request = PacketBuilder::request(Code::AccessRequest, 1, [7; 16]);
        for (kind, value) in attributes {
            request.attribute(*kind, value).unwrap();
        }
        let datagram = request.with_message_authenticator(false).sign_request(SECRET).unwrap();
        let (packet, source) = (Packet::parse(datagram).unwrap(), [192, 0, 2, 1].into());
        let whose = whose(Port::Access, &packet, (table.at(source), source), None, Timestamp::from_secs(0));
        let (nas, secret, proof) = whose.unwrap();
        assert_eq!((nas.secret.expose(), proof), (secret.expose(), Proof::None));
        secret.expose().to_vec()
    }

    #[test]
    fn of_two_secrets_an_unsigned_login_was_made_with_the_one_that_makes_text_of_its_password() {
        let previous = PreviousSecret { secret: Secret::new(PREVIOUS), until: None };
        let table = NasTable::new([Nas { previous_secret: Some(previous), ..plain() }]);
        let hidden = |password: &[u8], secret: &[u8]| hiding::hide_user_password(password, secret, &[7; 16]).unwrap();
        let pap =
            |password: &[u8], secret: &[u8]| taken(&table, &[(attribute::USER_PASSWORD, &hidden(password, secret))]);
        let signed = login(Some(SECRET), &[]);
        let source = [192, 0, 2, 1].into();
        for heard in [PREVIOUS, SECRET] {
            for password in ["s3cret-pass", "пароль", "", "a password of more than sixteen octets"] {
                for secret in [PREVIOUS, SECRET] {
                    assert_eq!(pap(password.as_bytes(), secret), secret, "{password:?}, last heard with {heard:?}");
                }
            }
            // What neither makes text of, and what no secret hides, says nothing.
            assert_eq!(pap(b"caf\xe9", PREVIOUS), heard);
            assert_eq!(pap(b"caf\xe9", SECRET), heard);
            assert_eq!(pap(b"s3cret-pass", OTHER), heard);
            assert_eq!(taken(&table, &[(attribute::CHAP_PASSWORD, &[1; 17])]), heard);
            let packet = Packet::parse(&signed).unwrap();
            whose(Port::Access, &packet, (table.at(source), source), None, Timestamp::from_secs(0)).unwrap();
        }
    }

    #[test]
    fn the_secret_before_counts_until_its_time() {
        let until = |seconds| {
            let previous = PreviousSecret { secret: Secret::new(PREVIOUS), until: Some(Timestamp::from_secs(seconds)) };
            Nas { previous_secret: Some(previous), ..nas() }
        };
        for secret in [PREVIOUS, SECRET] {
            assert_eq!(proof(Port::Access, &login(Some(secret), &[]), until(1)).unwrap(), Proof::Secret);
        }
        let error = proof(Port::Access, &login(Some(PREVIOUS), &[]), until(0)).unwrap_err();
        assert!(matches!(error, Distrust::MessageAuthenticator(_)), "{error:?}");
    }

    /// Of another packet, and of another secret, it says nothing, right or wrong.
    #[test]
    fn what_was_checked_beforehand_counts_for_that_packet_and_that_secret() {
        let previous = PreviousSecret { secret: Secret::new(PREVIOUS), until: None };
        let table = NasTable::new([Nas { previous_secret: Some(previous), ..nas() }]);
        let (source, now) = ([192, 0, 2, 1].into(), Timestamp::from_secs(0));
        let place = (table.at(source), source);
        let [signed, forged] = [SECRET, OTHER].map(|secret| login(Some(secret), &[]));
        let [signed, forged] = [&signed, &forged].map(|octets| Packet::parse(octets).unwrap());
        let again = signed.as_bytes().to_vec();
        let again = Packet::parse(&again).unwrap();
        let by = |packet: &Packet<'_>, checked: Option<&CheckedRequest<'_>>| {
            let whose = whose(Port::Access, packet, place, checked, now);
            whose.map(|(_, secret, proof)| (secret.expose().to_vec(), proof)).map_err(|error| error.label())
        };
        let (believed, refused) = (Ok((SECRET.to_vec(), Proof::Secret)), Err("message-authenticator-mismatch"));
        let mut checking = RequestChecking::default();
        // By the old secret, then, when somebody has used the new one, by that.
        for secret in [PREVIOUS, SECRET] {
            let first = first_asked(Port::Access, &signed, place, now).unwrap();
            assert_eq!(first.expose(), secret);
            let mut asked = [None; TOGETHER];
            asked[..2].copy_from_slice(&[Some((&signed, first)), Some((&forged, first))]);
            let checked = checking.check(asked);
            let holds = checked[0].as_ref().unwrap().verdict(&signed, first).unwrap().is_ok();
            assert_eq!(holds, secret == SECRET);
            for checked in [checked[0].as_ref(), None, checked[1].as_ref()] {
                assert_eq!(by(&signed, checked), believed);
                assert_eq!(by(&again, checked), believed);
                assert_eq!(by(&forged, checked), refused);
            }
        }
        for (port, code, asked) in [
            (Port::Access, Code::AccessRequest, true),
            (Port::Accounting, Code::AccessRequest, false),
            (Port::Access, Code::StatusServer, true),
            (Port::Accounting, Code::StatusServer, true),
            (Port::Accounting, Code::AccountingRequest, false),
        ] {
            let request = request(code, Some(SECRET), &[]);
            let packet = Packet::parse(&request).unwrap();
            assert_eq!(first_asked(port, &packet, place, now).is_some(), asked, "{port:?} {code}");
        }
    }
}
