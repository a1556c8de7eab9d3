//! What holds for every packet: nothing panics, nothing is lost on a round trip, and a proof is earned.

use proptest::collection::vec;
use proptest::prelude::*;

use super::attribute::{MAX_VALUE, MESSAGE_AUTHENTICATOR};
use super::hiding::{self, Salt};
use super::tag::Tag;
use super::value::{DataType, Value};
use super::{Code, MAX_PACKET, Packet, PacketBuilder, tag, tlv, vendor};

/// Attributes a builder takes, few enough to fit in a packet.
fn attributes() -> impl Strategy<Value = Vec<(u8, Vec<u8>)>> {
    let kind = any::<u8>().prop_filter("written by signing", |kind| *kind != MESSAGE_AUTHENTICATOR);
    vec((kind, vec(any::<u8>(), 0..=MAX_VALUE)), 0..15)
}

fn request_code() -> impl Strategy<Value = Code> {
    prop_oneof![
        Just(Code::AccessRequest),
        Just(Code::StatusServer),
        Just(Code::AccountingRequest),
        Just(Code::CoaRequest),
        Just(Code::DisconnectRequest),
    ]
}

/// Octets that look enough like a packet to get past the header.
fn nearly_packet() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), vec(prop_oneof![any::<u8>(), 0..4_u8, Just(26), 241..=246_u8], 0..300)).prop_map(|(code, rest)| {
        let [high, low] = u16::try_from(20 + rest.len()).unwrap().to_be_bytes();
        [&[code, 0, high, low][..], &[0; 16], &rest].concat()
    })
}

/// Calls everything that reads a packet.
fn read_all(datagram: &[u8], secret: &[u8]) {
    let Ok(packet) = Packet::parse(datagram) else { return };
    assert!(packet.as_bytes().len() <= datagram.len().min(MAX_PACKET));
    let octets: usize = packet.attributes().map(|attribute| attribute.value.len() + 2).sum();
    assert_eq!(octets + 20, packet.as_bytes().len());
    for attribute in packet.attributes() {
        read_value(attribute.value, secret);
        assert!(packet.concat(attribute.kind).is_some());
    }
    for extended in packet.extended().flatten() {
        extended.vendor();
    }
    let carried: usize = packet.vendor_attributes().map(|inner| inner.value.len()).sum();
    assert!(carried <= octets);
    let _ = packet.verify_message_authenticator(secret);
    let _ = packet.verify_request_authenticator(secret);
    let _ = packet.verify_reply(secret, &[0; 16]);
}

/// Calls everything that reads a value; what decodes must encode to something that decodes to the same.
fn read_value(octets: &[u8], secret: &[u8]) {
    for data_type in DataType::ALL {
        if let Ok(value) = Value::decode(data_type, octets) {
            let mut again = Vec::new();
            value.encode(&mut again);
            assert_eq!(Value::decode(data_type, &again), Ok(value), "{data_type:?}");
        }
    }
    tag::split_string(octets);
    let _ = tag::split_integer(octets);
    walk(tlv::parse(octets));
    vendor::sub_attributes(octets).for_each(drop);
    let _ = hiding::reveal_user_password(octets, secret, &[0; 16]);
    let _ = hiding::reveal_tunnel_password(octets, secret, &[0; 16]);
    let _ = hiding::reveal_mppe_key(octets, secret, &[0; 16]);
    let _ = hiding::ascend_secret(octets, secret, &[0; 16]);
}

fn walk(tlvs: Result<tlv::Tlvs<'_>, super::ValueError>) {
    tlvs.into_iter().flatten().for_each(|tlv| walk(tlv.children()));
}

proptest! {
    #[test]
    fn any_octets_never_panic(datagram in vec(any::<u8>(), 0..400), secret in vec(any::<u8>(), 0..20)) {
        read_all(&datagram, &secret);
    }

    #[test]
    fn anything_like_a_packet_never_panics(datagram in nearly_packet(), secret in vec(any::<u8>(), 0..20)) {
        read_all(&datagram, &secret);
    }

    #[test]
    fn any_value_never_panics(octets in vec(any::<u8>(), 0..300), secret in vec(any::<u8>(), 0..20)) {
        read_value(&octets, &secret);
    }

    #[test]
    fn any_request_round_trips_and_is_proven(
        code in request_code(), identifier: u8, nonce: [u8; 16], signed: bool,
        attributes in attributes(), secret in vec(any::<u8>(), 0..64),
    ) {
        let mut builder = PacketBuilder::request(code, identifier, nonce);
        builder.with_message_authenticator(signed);
        for (kind, value) in &attributes {
            builder.attribute(*kind, value).unwrap();
        }
        let bytes = builder.sign_request(&secret).unwrap();
        let packet = Packet::parse(bytes).unwrap();
        prop_assert_eq!(packet.as_bytes(), bytes);
        prop_assert_eq!((packet.code(), packet.identifier()), (code, identifier));
        let signed = signed || code == Code::StatusServer;
        let found: Vec<_> = packet.attributes().skip(usize::from(signed)).map(|a| (a.kind, a.value.to_vec())).collect();
        prop_assert_eq!(found, attributes);
        prop_assert_eq!(packet.verify_message_authenticator(&secret).is_ok(), signed);
        let checked = matches!(code, Code::AccountingRequest | Code::CoaRequest | Code::DisconnectRequest);
        prop_assert_eq!(packet.verify_request_authenticator(&secret).is_ok(), checked);
        prop_assert_eq!(packet.authenticator() == &nonce, !checked);
    }

    #[test]
    fn any_reply_round_trips_and_is_proven(
        code in request_code(), reply: u8, nonce: [u8; 16],
        attributes in attributes(), secret in vec(any::<u8>(), 0..64), flip in any::<prop::sample::Index>(),
    ) {
        let mut request = PacketBuilder::request(code, 3, nonce);
        let request = Packet::parse(request.sign_request(&secret).unwrap()).unwrap();
        let mut builder = PacketBuilder::reply(&request, Code::from(reply));
        for (kind, value) in &attributes {
            builder.attribute(*kind, value).unwrap();
        }
        let mut bytes = builder.sign_reply(&secret).unwrap().to_vec();
        let packet = Packet::parse(&bytes).unwrap();
        let proof = packet.verify_reply(&secret, request.authenticator()).unwrap();
        prop_assert_eq!(proof.message_authenticator(), request.has_message_authenticator());
        prop_assert_eq!((packet.code(), packet.identifier()), (Code::from(reply), 3));
        let position = flip.index(bytes.len());
        bytes[position] ^= 1;
        if let Ok(packet) = Packet::parse(&bytes) {
            prop_assert!(packet.verify_reply(&secret, request.authenticator()).is_err());
        }
    }

    #[test]
    fn user_passwords_come_back(
        password in vec(any::<u8>(), 0..=128), secret in vec(any::<u8>(), 0..64), nonce: [u8; 16],
    ) {
        let hidden = hiding::hide_user_password(&password, &secret, &nonce).unwrap();
        let revealed = hiding::reveal_user_password(&hidden, &secret, &nonce).unwrap();
        // NULs at the end are padding and cannot be told from a password's own (RFC 2865 §5.2).
        let end = password.iter().rposition(|octet| *octet != 0).map_or(0, |last| last + 1);
        prop_assert_eq!(&*revealed, &password[..end]);
    }

    #[test]
    fn salted_values_come_back(
        plain in vec(any::<u8>(), 0..=239), secret in vec(any::<u8>(), 0..64), nonce: [u8; 16], salt: [u8; 2], tag: u8,
    ) {
        let salt = Salt::new(salt);
        let key = hiding::hide_mppe_key(&plain, &secret, &nonce, salt).unwrap();
        prop_assert_eq!(&*hiding::reveal_mppe_key(&key, &secret, &nonce).unwrap(), &plain);
        let password = hiding::hide_tunnel_password(Tag::new(tag), &plain, &secret, &nonce, salt).unwrap();
        prop_assert!(password.len() <= MAX_VALUE);
        let (found, revealed) = hiding::reveal_tunnel_password(&password, &secret, &nonce).unwrap();
        prop_assert_eq!((found, &*revealed), (Tag::new(tag), &plain[..]));
    }
}
