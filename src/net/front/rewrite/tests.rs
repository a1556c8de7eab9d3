//! What pppd gets back verifies with its secret and reveals the same keys, whatever the secrets and the keys.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::radius::attribute::{FILTER_ID, FRAMED_PROTOCOL};
use crate::radius::tag::Tag;

const PROXY_STATE_OF_OURS: &[u8] = b"ours";

fn outward<'a>(inner: &'a Secret, outer: &'a Secret, authenticator: [u8; 16]) -> Outward<'a> {
    Outward { inner, outer, identifier: 9, authenticator, nas_identifier: "nas-1", proxy_state: PROXY_STATE_OF_OURS }
}

fn homeward<'a>(inner: &'a Secret, outer: &'a Secret, authenticator: &'a [u8; 16]) -> Homeward<'a> {
    Homeward { inner, outer, authenticator, proxy_state: PROXY_STATE_OF_OURS }
}

fn secret() -> impl Strategy<Value = Secret> {
    vec(any::<u8>(), 1..48).prop_map(Secret::new)
}

/// Access-Request as pppd makes it: without Message-Authenticator.
fn unsigned(authenticator: [u8; 16], fill: impl FnOnce(&mut PacketBuilder)) -> Vec<u8> {
    let mut builder = PacketBuilder::request(Code::AccessRequest, 3, authenticator);
    fill(builder.with_message_authenticator(false));
    builder.sign_request(b"of no matter").unwrap().to_vec()
}

fn salts() -> impl FnMut() -> Salt {
    let mut salt = 0_u16;
    move || {
        salt += 1;
        Salt::new(salt.to_be_bytes())
    }
}

fn accounting(inner: &Secret, id: &str, port: u32, class: &[u8]) -> Vec<u8> {
    let mut builder = PacketBuilder::request(Code::AccountingRequest, 3, [0; 16]);
    builder.text(ACCT_SESSION_ID, id).unwrap().integer(NAS_PORT, port).unwrap();
    if !class.is_empty() {
        builder.attribute(CLASS, class).unwrap();
    }
    builder.text(CALLING_STATION_ID, "10.90.0.2").unwrap();
    builder.sign_request(inner.expose()).unwrap().to_vec()
}

proptest! {
    #[test]
    fn a_password_arrives_under_the_servers_secret(
        inner in secret(), outer in secret(), before: [u8; 16], after: [u8; 16], password in "[a-zà-ÿ]{1,40}",
    ) {
        let hidden = hiding::hide_user_password(password.as_bytes(), inner.expose(), &before).unwrap();
        let asked = unsigned(before, |builder| { builder.attribute(USER_PASSWORD, &hidden).unwrap(); });
        let out = request(&Packet::parse(&asked).unwrap(), &outward(&inner, &outer, after)).unwrap();
        let out = Packet::parse(&out).unwrap();
        prop_assert!(out.verify_message_authenticator(outer.expose()).is_ok());
        prop_assert_eq!(out.authenticator(), &after);
        let revealed = hiding::reveal_user_password(out.first(USER_PASSWORD).unwrap(), outer.expose(), &after).unwrap();
        prop_assert_eq!(&*revealed, password.as_bytes());
    }

    #[test]
    fn keys_come_home_the_same(
        inner in secret(), outer in secret(), before: [u8; 16], after: [u8; 16],
        send: [u8; 16], recv: [u8; 16], old: [u8; 24], tunnel in vec(any::<u8>(), 1..60),
    ) {
        let asked = unsigned(before, |builder| { builder.text(USER_NAME, "alice").unwrap(); });
        let asked = Packet::parse(&asked).unwrap();
        let out = request(&asked, &outward(&inner, &outer, after)).unwrap();
        let mut server = PacketBuilder::reply(&Packet::parse(&out).unwrap(), Code::AccessAccept);
        let hide = |key: &[u8], salt| hiding::hide_mppe_key(key, outer.expose(), &after, Salt::new(salt)).unwrap();
        let (send_hidden, recv_hidden) = (hide(&send, [1, 1]), hide(&recv, [1, 2]));
        // Both in one Vendor-Specific, with a third between them that is no key.
        let mut both = MICROSOFT.to_be_bytes().to_vec();
        for (kind, value) in [
            (microsoft::MS_MPPE_SEND_KEY, &send_hidden[..]),
            (microsoft::MS_MPPE_ENCRYPTION_POLICY, &[0, 0, 0, 1]),
            (microsoft::MS_MPPE_RECV_KEY, &recv_hidden[..]),
        ] {
            both.extend([kind, u8::try_from(value.len() + 2).unwrap()]);
            both.extend(value);
        }
        let padded = [&old[..], &[0; 8]].concat();
        let old_hidden = hiding::hide_user_password(&padded, outer.expose(), &after).unwrap();
        let tunnel_hidden =
            hiding::hide_tunnel_password(Tag::new(2), &tunnel, outer.expose(), &after, Salt::new([1, 3])).unwrap();
        server.attribute(VENDOR_SPECIFIC, &both).unwrap();
        server.vendor(MICROSOFT, microsoft::MS_CHAP_MPPE_KEYS, &old_hidden).unwrap();
        server.attribute(TUNNEL_PASSWORD, &tunnel_hidden).unwrap();
        server.attribute(FILTER_ID, b"sandbox").unwrap().attribute(PROXY_STATE, PROXY_STATE_OF_OURS).unwrap();
        let answer = server.sign_reply(outer.expose()).unwrap().to_vec();

        let home = reply(&Packet::parse(&answer).unwrap(), &asked, &homeward(&inner, &outer, &after), salts()).unwrap();
        let home = Packet::parse(&home).unwrap();
        prop_assert!(home.verify_reply(inner.expose(), &before).unwrap().message_authenticator());
        prop_assert_eq!((home.code(), home.identifier()), (Code::AccessAccept, 3));
        let reveal = |kind| {
            let value = home.vendor_first(MICROSOFT, kind).unwrap();
            (value.len(), value[0] & 0x80, hiding::reveal_mppe_key(value, inner.expose(), &before).unwrap().to_vec())
        };
        // pppd wants 34 octets and the salt's top bit.
        prop_assert_eq!(reveal(microsoft::MS_MPPE_SEND_KEY), (34, 0x80, send.to_vec()));
        prop_assert_eq!(reveal(microsoft::MS_MPPE_RECV_KEY), (34, 0x80, recv.to_vec()));
        let policy = home.vendor_first(MICROSOFT, microsoft::MS_MPPE_ENCRYPTION_POLICY);
        prop_assert_eq!(policy, Some(&[0, 0, 0, 1][..]));
        let value = home.vendor_first(MICROSOFT, microsoft::MS_CHAP_MPPE_KEYS).unwrap();
        prop_assert_eq!(value.len(), 32);
        let mut revealed = hiding::reveal_user_password(value, inner.expose(), &before).unwrap().to_vec();
        revealed.resize(32, 0);
        prop_assert_eq!(revealed, padded);
        let value = home.first(TUNNEL_PASSWORD).unwrap();
        let (tag, revealed) = hiding::reveal_tunnel_password(value, inner.expose(), &before).unwrap();
        prop_assert_eq!((tag, &*revealed), (Tag::new(2), &tunnel[..]));
        prop_assert_eq!(home.text(FILTER_ID), Some("sandbox"));
        prop_assert!(!home.has(PROXY_STATE));
    }

    #[test]
    fn what_it_does_not_know_passes_unchanged_and_in_order(
        inner in secret(), outer in secret(), before: [u8; 16], after: [u8; 16],
        attributes in vec((5..=31_u8, vec(any::<u8>(), 0..40)), 0..12),
    ) {
        let known = [VENDOR_SPECIFIC, REPLY_MESSAGE];
        let attributes: Vec<_> = attributes.into_iter().filter(|(kind, _)| !known.contains(kind)).collect();
        let asked = unsigned(before, |builder| {
            for (kind, value) in &attributes {
                builder.attribute(*kind, value).unwrap();
            }
        });
        let asked = Packet::parse(&asked).unwrap();
        let out = request(&asked, &outward(&inner, &outer, after)).unwrap();
        let passed = |packet: &Packet<'_>| -> Vec<(u8, Vec<u8>)> {
            let ours = [MESSAGE_AUTHENTICATOR, NAS_IDENTIFIER, PROXY_STATE];
            let all = packet.attributes().filter(|attribute| !ours.contains(&attribute.kind));
            all.map(|attribute| (attribute.kind, attribute.value.to_vec())).collect()
        };
        let out = Packet::parse(&out).unwrap();
        prop_assert_eq!(passed(&out), attributes.clone());
        let mut server = PacketBuilder::reply(&out, Code::AccessReject);
        for (kind, value) in &attributes {
            server.attribute(*kind, value).unwrap();
        }
        let answer = server.sign_reply(outer.expose()).unwrap().to_vec();
        let home = reply(&Packet::parse(&answer).unwrap(), &asked, &homeward(&inner, &outer, &after), salts()).unwrap();
        prop_assert_eq!(passed(&Packet::parse(&home).unwrap()), attributes);
    }

    #[test]
    fn no_octets_make_it_panic(
        octets in vec(any::<u8>(), 0..200), inner in secret(), outer in secret(), after: [u8; 16], code in 1..13_u8,
    ) {
        let mut datagram = vec![code, 0];
        datagram.extend(u16::try_from(20 + octets.len()).unwrap().to_be_bytes());
        datagram.extend([7; 16]);
        datagram.extend(&octets);
        if let Ok(packet) = Packet::parse(&datagram) {
            let _ = admit(&packet, &inner);
            let _ = request(&packet, &outward(&inner, &outer, after));
            let asked = unsigned([1; 16], |_| ());
            let _ = reply(&packet, &Packet::parse(&asked).unwrap(), &homeward(&inner, &outer, &after), salts());
        }
    }
}

#[test]
fn rfc2865_section_5_3_the_challenge_of_chap_is_made_explicit() {
    let (inner, outer) = (Secret::new("inner"), Secret::new("outer"));
    let asked = unsigned([5; 16], |builder| {
        builder.attribute(CHAP_PASSWORD, &[1; 17]).unwrap();
    });
    let out = request(&Packet::parse(&asked).unwrap(), &outward(&inner, &outer, [6; 16])).unwrap();
    assert_eq!(Packet::parse(&out).unwrap().first(CHAP_CHALLENGE), Some(&[5; 16][..]));

    let asked = unsigned([5; 16], |builder| {
        builder.attribute(CHAP_PASSWORD, &[1; 17]).unwrap().attribute(CHAP_CHALLENGE, b"its own").unwrap();
    });
    let out = request(&Packet::parse(&asked).unwrap(), &outward(&inner, &outer, [6; 16])).unwrap();
    assert_eq!(Packet::parse(&out).unwrap().all(CHAP_CHALLENGE).collect::<Vec<_>>(), [b"its own"]);
}

#[test]
fn the_name_is_ours_and_proxy_states_of_others_stay() {
    let (inner, outer) = (Secret::new("inner"), Secret::new("outer"));
    let asked = unsigned([5; 16], |builder| {
        builder.text(NAS_IDENTIFIER, "nas-x").unwrap().attribute(PROXY_STATE, b"theirs").unwrap();
        builder.integer(FRAMED_PROTOCOL, 1).unwrap();
    });
    let asked = Packet::parse(&asked).unwrap();
    let out = request(&asked, &outward(&inner, &outer, [6; 16])).unwrap();
    let out = Packet::parse(&out).unwrap();
    assert_eq!(out.all(NAS_IDENTIFIER).collect::<Vec<_>>(), [b"nas-1"]);
    assert_eq!(out.all(PROXY_STATE).collect::<Vec<_>>(), [&b"theirs"[..], PROXY_STATE_OF_OURS]);
    let mut server = PacketBuilder::reply(&out, Code::AccessAccept);
    let answer = server.proxy_states_of(&out).unwrap().sign_reply(outer.expose()).unwrap().to_vec();
    let home = reply(&Packet::parse(&answer).unwrap(), &asked, &homeward(&inner, &outer, &[6; 16]), salts()).unwrap();
    assert_eq!(Packet::parse(&home).unwrap().all(PROXY_STATE).collect::<Vec<_>>(), [b"theirs"]);
}

#[test]
fn accounting_is_pppds_or_nothing_and_signed_anew() {
    let (inner, outer) = (Secret::new("inner"), Secret::new("outer"));
    let asked = accounting(&inner, "%lX6b000862%hX", 2, b"class");
    let packet = Packet::parse(&asked).unwrap();
    assert_eq!(admit(&packet, &inner), Ok(()));
    assert_eq!(admit(&packet, &outer), Err(RewriteError::Authenticator(AuthenticatorError::RequestMismatch)));
    let out = request(&packet, &outward(&inner, &outer, [6; 16])).unwrap();
    let out = Packet::parse(&out).unwrap();
    assert!(out.verify_request_authenticator(outer.expose()).is_ok());
    assert!(!out.has_message_authenticator(), "RFC 2866 has none");
    assert!(out.text(ACCT_SESSION_ID).unwrap().starts_with("6b000862-"), "{out:?}");
}

#[test]
fn sessions_of_one_second_get_ids_of_their_own_that_stay() {
    let inner = Secret::new("inner");
    let broken = "%lX6b000862%hX";
    let id = |id: &str, port, class: &[u8]| {
        let datagram = accounting(&inner, id, port, class);
        let packet = Packet::parse(&datagram).unwrap();
        session_id(&packet, packet.first(ACCT_SESSION_ID).unwrap())
    };
    let all = [
        id(broken, 2, b""),
        id(broken, 3, b""),
        id(broken, 2, b"first"),
        id(broken, 2, b"second"),
        id("%lX6b000863%hX", 2, b""),
    ];
    let mut different = all.to_vec();
    different.sort();
    different.dedup();
    assert_eq!(different.len(), all.len(), "{all:?}");
    // It is in servers' records: it must not change from one version of ours to the next.
    assert_eq!(all[0], "6b000862-17da97f5a5986181");
    assert_eq!(id(broken, 2, b"first"), all[2]);
    assert!(id(&"x".repeat(200), 2, b"").len() < 64);
}

#[test]
fn only_what_pppd_sends_is_admitted() {
    let secret = Secret::new("inner");
    for code in [Code::CoaRequest, Code::DisconnectRequest, Code::StatusServer, Code::AccessAccept] {
        let datagram = [&[code.as_u8(), 0, 0, 20][..], &[0; 16]].concat();
        assert_eq!(admit(&Packet::parse(&datagram).unwrap(), &secret), Err(RewriteError::Code(code)));
    }
    let mut signed = PacketBuilder::request(Code::AccessRequest, 3, [5; 16]);
    let signed = signed.sign_request(b"another secret").unwrap().to_vec();
    let wrong = admit(&Packet::parse(&signed).unwrap(), &secret);
    assert_eq!(wrong, Err(RewriteError::MessageAuthenticator(MessageAuthenticatorError::Mismatch)));
}

#[test]
fn reply_messages_fit_into_pppds_buffer() {
    let (inner, outer) = (Secret::new("inner"), Secret::new("outer"));
    let asked = unsigned([5; 16], |_| ());
    let asked = Packet::parse(&asked).unwrap();
    let out = request(&asked, &outward(&inner, &outer, [6; 16])).unwrap();
    let mut server = PacketBuilder::reply(&Packet::parse(&out).unwrap(), Code::AccessReject);
    for _ in 0..8 {
        server.text(REPLY_MESSAGE, &"é".repeat(100)).unwrap();
    }
    let answer = server.sign_reply(outer.expose()).unwrap().to_vec();
    let home = reply(&Packet::parse(&answer).unwrap(), &asked, &homeward(&inner, &outer, &[6; 16]), salts()).unwrap();
    let home = Packet::parse(&home).unwrap();
    let shown: Vec<_> = home.all(REPLY_MESSAGE).collect();
    let octets: usize = shown.iter().map(|message| message.len() + 1).sum();
    assert!((850..=REPLY_MESSAGES_MOST).contains(&octets), "{octets}");
    assert!(shown.iter().all(|message| std::str::from_utf8(message).is_ok()));
}
