//! Published packets and a real pppd's, from `tests/vectors/`: named blocks of hexadecimal octets, `#` for comments.
//!
//! Anyone may add a block; the tests below name the RFC section they take theirs from.

use super::attribute::*;
use super::hiding::{hide_user_password, reveal_mppe_key, reveal_tunnel_password, reveal_user_password};
use super::vendor::{MICROSOFT, microsoft};
use super::{Code, MessageAuthenticatorError, Packet, PacketBuilder, ValueError, tlv};

const RFC_SECRET: &[u8] = b"xyzzy5461";
const FREERADIUS_SECRET: &[u8] = b"testing123";
const PPPD_SECRET: &[u8] = b"lab-shared-secret";

/// The octets under `[name]` in a file of vectors.
fn vector(file: &str, name: &str) -> Vec<u8> {
    let mut lines = file.lines().skip_while(|line| *line != format!("[{name}]"));
    assert!(lines.next().is_some(), "no vector [{name}]");
    let block: String = lines.take_while(|line| !line.starts_with(['[', '#'])).collect();
    hex::decode(block.replace(' ', "")).expect("vectors are hexadecimal")
}

fn rfc2865(name: &str) -> Vec<u8> {
    vector(include_str!("../../tests/vectors/rfc2865.txt"), name)
}

fn rfc2868(name: &str) -> Vec<u8> {
    vector(include_str!("../../tests/vectors/rfc2868.txt"), name)
}

fn rfc3579(name: &str) -> Vec<u8> {
    vector(include_str!("../../tests/vectors/rfc3579.txt"), name)
}

fn rfc5176(name: &str) -> Vec<u8> {
    vector(include_str!("../../tests/vectors/rfc5176.txt"), name)
}

fn rfc5997(name: &str) -> Vec<u8> {
    vector(include_str!("../../tests/vectors/rfc5997.txt"), name)
}

/// An Access-Request around the attributes of an example.
fn rfc6929(name: &str) -> Vec<u8> {
    let attributes = vector(include_str!("../../tests/vectors/rfc6929.txt"), name);
    let mut packet = vec![1, 0, 0, u8::try_from(20 + attributes.len()).unwrap()];
    packet.extend_from_slice(&[0; 16]);
    packet.extend_from_slice(&attributes);
    packet
}

fn pppd(name: &str) -> Vec<u8> {
    vector(include_str!("../../tests/vectors/pppd.txt"), name)
}

/// Rebuilds a packet without Message-Authenticator from its attributes.
fn rebuilt(bytes: &[u8], secret: &[u8], request: Option<&[u8]>) -> Vec<u8> {
    let packet = Packet::parse(bytes).unwrap();
    let mut builder = match request {
        Some(request) => PacketBuilder::reply(&Packet::parse(request).unwrap(), packet.code()),
        None => PacketBuilder::request(packet.code(), packet.identifier(), *packet.authenticator()),
    };
    builder.with_message_authenticator(false);
    for attribute in packet.attributes() {
        builder.attribute(attribute.kind, attribute.value).unwrap();
    }
    let signed = if request.is_some() { builder.sign_reply(secret) } else { builder.sign_request(secret) };
    signed.unwrap().to_vec()
}

#[test]
fn rfc2865_section_7_1() {
    let request = rfc2865("7.1 Access-Request");
    let packet = Packet::parse(&request).unwrap();
    assert_eq!((packet.code(), packet.identifier()), (Code::AccessRequest, 0));
    assert_eq!(packet.text(USER_NAME), Some("nemo"));
    assert_eq!(packet.ipv4(NAS_IP_ADDRESS), Some([192, 168, 1, 16].into()));
    assert_eq!(packet.integer(NAS_PORT), Some(3));
    let hidden = packet.first(USER_PASSWORD).unwrap();
    assert_eq!(reveal_user_password(hidden, RFC_SECRET, packet.authenticator()).unwrap(), b"arctangent");
    assert_eq!(hide_user_password(b"arctangent", RFC_SECRET, packet.authenticator()).unwrap(), hidden);
    assert_eq!(rebuilt(&request, RFC_SECRET, None), request);

    let accept = rfc2865("7.1 Access-Accept");
    let reply = Packet::parse(&accept).unwrap();
    let proof = reply.verify_reply(RFC_SECRET, packet.authenticator()).unwrap();
    assert!(!proof.message_authenticator());
    assert_eq!(reply.ipv4(LOGIN_IP_HOST), Some([192, 168, 1, 3].into()));
}

#[test]
fn rfc2865_section_7_2() {
    let request = rfc2865("7.2 Access-Request");
    let packet = Packet::parse(&request).unwrap();
    assert_eq!(packet.first(CHAP_PASSWORD).map(<[u8]>::len), Some(17));
    assert_eq!(packet.integer(FRAMED_PROTOCOL), Some(1));
    let accept = rfc2865("7.2 Access-Accept");
    let reply = Packet::parse(&accept).unwrap();
    assert!(reply.verify_reply(RFC_SECRET, packet.authenticator()).is_ok());
    assert_eq!(reply.integer(FRAMED_MTU), Some(1500));
}

#[test]
fn rfc2865_section_7_3() {
    let exchanges = [
        ("7.3 Access-Request 1", "7.3 Access-Challenge", &b"challenge"[..]),
        ("7.3 Access-Request 2", "7.3 Access-Reject", b"99101462"),
    ];
    for (request, reply, password) in exchanges {
        let (request, reply) = (rfc2865(request), rfc2865(reply));
        let packet = Packet::parse(&request).unwrap();
        let hidden = packet.first(USER_PASSWORD).unwrap();
        assert_eq!(reveal_user_password(hidden, RFC_SECRET, packet.authenticator()).unwrap(), password);
        assert!(Packet::parse(&reply).unwrap().verify_reply(RFC_SECRET, packet.authenticator()).is_ok());
    }
    let challenge = rfc2865("7.3 Access-Challenge");
    let challenge = Packet::parse(&challenge).unwrap();
    assert_eq!((challenge.code(), challenge.text(STATE)), (Code::AccessChallenge, Some("32769430")));
}

#[test]
fn rfc2868_section_3_5_tunnel_passwords_of_freeradius() {
    let authenticator = std::array::from_fn(|index| index as u8);
    for password in ["foo", "bar", "barbar"] {
        let value = rfc2868(&format!("3.5 {password}"));
        let (tag, plain) = reveal_tunnel_password(&value, FREERADIUS_SECRET, &authenticator).unwrap();
        assert_eq!((tag, &*plain), (None, password.as_bytes()));
    }
}

#[test]
fn rfc3579_section_3_2_access_request_of_radclient() {
    let request = rfc3579("3.2 Access-Request");
    let packet = Packet::parse(&request).unwrap();
    assert!(packet.verify_message_authenticator(RFC_SECRET).is_ok());
    assert_eq!(packet.concat(EAP_MESSAGE), Some(vec![2, 0, 0, 9, 1, b'a', b'b', b'c', b'd']));
    // RFC 2865 §5.2, over three blocks.
    let (hidden, password) = (packet.first(USER_PASSWORD).unwrap(), b"a password of more than sixteen octets");
    assert_eq!(reveal_user_password(hidden, RFC_SECRET, packet.authenticator()).unwrap(), password);
    assert_eq!(hide_user_password(password, RFC_SECRET, packet.authenticator()).unwrap(), hidden);
}

#[test]
fn rfc3579_section_3_2_accounting_request_of_radclient() {
    let request = rfc3579("3.2 Accounting-Request");
    let packet = Packet::parse(&request).unwrap();
    assert!(packet.verify_request_authenticator(RFC_SECRET).is_ok());
    assert!(packet.verify_message_authenticator(RFC_SECRET).is_ok());
}

#[test]
fn rfc5176_coa_requests_of_radclient() {
    let (signed, plain) = (rfc5176("3.4 CoA-Request"), rfc5176("2.3 CoA-Request"));
    let packet = Packet::parse(&signed).unwrap();
    assert!(packet.verify_request_authenticator(RFC_SECRET).is_ok());
    assert!(packet.verify_message_authenticator(RFC_SECRET).is_ok());
    assert_eq!((packet.code(), packet.text(FILTER_ID)), (Code::CoaRequest, Some("permit")));
    assert!(Packet::parse(&plain).unwrap().verify_request_authenticator(RFC_SECRET).is_ok());
    assert_eq!(rebuilt(&plain, RFC_SECRET, None), plain);
}

#[test]
fn rfc5176_section_2_3_request_authenticator() {
    let request = rfc5176("2.3 Disconnect-Request");
    let packet = Packet::parse(&request).unwrap();
    assert!(packet.verify_request_authenticator(RFC_SECRET).is_ok());
    assert_eq!(packet.text(ACCT_SESSION_ID), Some("09042AF8"));
    assert_eq!(rebuilt(&request, RFC_SECRET, None), request);
}

#[test]
fn rfc5176_section_3_4_message_authenticator() {
    let request = rfc5176("3.4 Disconnect-Request");
    let packet = Packet::parse(&request).unwrap();
    assert!(packet.verify_request_authenticator(FREERADIUS_SECRET).is_ok());
    assert!(packet.verify_message_authenticator(FREERADIUS_SECRET).is_ok());
    let mut builder = PacketBuilder::request(Code::DisconnectRequest, packet.identifier(), [0; 16]);
    assert_eq!(builder.sign_request(FREERADIUS_SECRET).unwrap(), request);
}

/// Also RFC 3579 §3.2: the Message-Authenticator of a request over its own authenticator.
#[test]
fn rfc5997_section_6_1() {
    let request = rfc5997("6.1 Status-Server");
    let packet = Packet::parse(&request).unwrap();
    assert_eq!((packet.code(), packet.identifier()), (Code::StatusServer, 218));
    assert!(packet.verify_message_authenticator(RFC_SECRET).is_ok());
    let mut builder = PacketBuilder::request(Code::StatusServer, 218, *packet.authenticator());
    assert_eq!(builder.sign_request(RFC_SECRET).unwrap(), request);
    let accept = rfc5997("6.1 Access-Accept");
    assert!(Packet::parse(&accept).unwrap().verify_reply(RFC_SECRET, packet.authenticator()).is_ok());
}

#[test]
fn rfc5997_section_6_2() {
    let request = rfc5997("6.2 Status-Server");
    let packet = Packet::parse(&request).unwrap();
    assert!(packet.verify_message_authenticator(RFC_SECRET).is_ok());
    let response = rfc5997("6.2 Accounting-Response");
    let response = Packet::parse(&response).unwrap();
    assert!(response.verify_reply(RFC_SECRET, packet.authenticator()).is_ok());
    assert_eq!(response.code(), Code::AccountingResponse);
}

/// The one extended attribute of an example.
fn extended(name: &str) -> Result<(u8, u8, Vec<u8>), ValueError> {
    let bytes = rfc6929(name);
    let mut found = Packet::parse(&bytes).unwrap().extended();
    let first = found.next().expect("an extended attribute");
    assert!(found.next().is_none());
    first.map(|extended| (extended.kind, extended.extended_type, extended.value.into_owned()))
}

#[test]
fn rfc6929_section_9_values() {
    assert_eq!(extended("9 241.1 text bob"), Ok((241, 1, b"bob".to_vec())));
    assert_eq!(extended("9 245.1 text bob"), Ok((245, 1, b"bob".to_vec())));
}

#[test]
fn rfc6929_section_9_tlvs() {
    let (_, _, two) = extended("9 241.2 two TLVs").unwrap();
    let two: Vec<_> = tlv::parse(&two).unwrap().map(|tlv| (tlv.kind, tlv.value)).collect();
    assert_eq!(two, [(1, &[0x23, 0x45][..]), (2, &[0x67, 0x89])]);

    let (_, _, nested) = extended("9 241.2 TLV within TLV").unwrap();
    let outer = tlv::parse(&nested).unwrap().nth(1).unwrap();
    let inner: Vec<_> = outer.children().unwrap().map(|tlv| (tlv.kind, tlv.value)).collect();
    assert_eq!((outer.kind, inner), (3, vec![(1, &[0xab, 0xcd][..]), (2, b"foo")]));

    let (_, _, deep) = extended("9 241.1 five deep").unwrap();
    let mut tlv = tlv::parse(&deep).unwrap().next().unwrap();
    for kind in 2..=5 {
        tlv = tlv.children().unwrap().next().unwrap();
        assert_eq!(tlv.kind, kind);
    }
    assert_eq!(tlv.value, [0xcd, 0xef]);
}

#[test]
fn rfc6929_section_9_vendors() {
    for name in ["9 241.26.1.4 text test", "9 245.26.1.4 text test", "2.2 245.26.1.6 in two fragments"] {
        let bytes = rfc6929(name);
        let extended = Packet::parse(&bytes).unwrap().extended().next().unwrap().unwrap();
        let vendor = extended.vendor().unwrap();
        let wanted = if name.starts_with('9') { (1, 4, &b"test"[..]) } else { (1, 6, &[1][..]) };
        assert_eq!((vendor.vendor, vendor.kind, vendor.value), wanted, "{name}");
    }
}

#[test]
fn rfc6929_section_2_2_invalid_attributes() {
    assert_eq!(extended("2.2 245 without value"), Err(ValueError::ExtendedTruncated { octets: 2 }));
    assert_eq!(extended("2.2 245 without flags"), Err(ValueError::ExtendedTruncated { octets: 1 }));
    let endless = extended("2.2 245.26.1.6 without an end");
    assert_eq!(endless, Err(ValueError::FragmentMissing { kind: 245, extended_type: 26 }));
}

#[test]
fn rfc6929_section_9_builds_the_same_octets() {
    let build = |add: &dyn Fn(&mut PacketBuilder)| {
        let mut builder = PacketBuilder::request(Code::AccessRequest, 0, [0; 16]);
        add(builder.with_message_authenticator(false));
        builder.sign_request(RFC_SECRET).unwrap().to_vec()
    };
    let short = build(&|builder| {
        builder.extended(241, 1, b"bob").unwrap();
    });
    assert_eq!(short, rfc6929("9 241.1 text bob"));
    let long = build(&|builder| {
        builder.long_extended(245, 1, b"bob").unwrap();
    });
    assert_eq!(long, rfc6929("9 245.1 text bob"));
}

#[test]
fn pppd_access_request_and_accept() {
    let (request, accept) = (pppd("Access-Request"), pppd("Access-Accept"));
    let packet = Packet::parse(&request).unwrap();
    assert_eq!(packet.text(USER_NAME), Some("alice"));
    assert_eq!(packet.vendor_first(MICROSOFT, microsoft::MS_CHAP_CHALLENGE).map(<[u8]>::len), Some(16));
    assert_eq!(packet.vendor_first(MICROSOFT, microsoft::MS_CHAP2_RESPONSE).map(<[u8]>::len), Some(50));
    let absent = packet.verify_message_authenticator(PPPD_SECRET).unwrap_err();
    assert_eq!(absent, MessageAuthenticatorError::Absent);
    assert_eq!(rebuilt(&request, PPPD_SECRET, None), request);

    let reply = Packet::parse(&accept).unwrap();
    let proof = reply.verify_reply(PPPD_SECRET, packet.authenticator()).unwrap();
    assert!(!proof.message_authenticator());
    assert_eq!(reply.text(FILTER_ID), Some("gold"));
    assert_eq!(reply.vendor_first(MICROSOFT, microsoft::MS_CHAP2_SUCCESS).map(<[u8]>::len), Some(43));
}

/// RFC 2548 §2.4.2 and §2.4.3: the keys a real pppd ran MPPE with.
#[test]
fn rfc2548_section_2_4_keys_pppd_accepted() {
    let (request, accept) = (pppd("Access-Request"), pppd("Access-Accept"));
    let (request, accept) = (Packet::parse(&request).unwrap(), Packet::parse(&accept).unwrap());
    let keys = [microsoft::MS_MPPE_SEND_KEY, microsoft::MS_MPPE_RECV_KEY].map(|kind| {
        let hidden = accept.vendor_first(MICROSOFT, kind).unwrap();
        reveal_mppe_key(hidden, PPPD_SECRET, request.authenticator()).unwrap()
    });
    assert_eq!(
        keys.each_ref().map(|key| hex::encode(&**key)),
        ["f47d9795ae9b874984c618d62e73be8f", "cb94df594857f82f998eba5fb4c5bb57"]
    );
}

#[test]
fn pppd_accounting() {
    for status in ["Start", "Interim-Update", "Stop"] {
        let request = pppd(&format!("Accounting-Request {status}"));
        let packet = Packet::parse(&request).unwrap();
        assert!(packet.verify_request_authenticator(PPPD_SECRET).is_ok(), "{status}");
        assert_eq!(packet.text(CLASS), Some("lab-class"));
        assert_eq!(rebuilt(&request, PPPD_SECRET, None), request);
        let response = pppd(&format!("Accounting-Response {status}"));
        assert!(Packet::parse(&response).unwrap().verify_reply(PPPD_SECRET, packet.authenticator()).is_ok());
        assert_eq!(rebuilt(&response, PPPD_SECRET, Some(&request)), response);
    }
}

/// What a server that wants Message-Authenticator and the checksum of RFC 2866 §3 says to a datagram.
fn outcome(datagram: &[u8]) -> Result<(), &'static str> {
    let packet = Packet::parse(datagram).map_err(|error| error.reason())?;
    match packet.code() {
        Code::AccountingRequest => packet.verify_request_authenticator(PPPD_SECRET).map(drop).map_err(|e| e.reason()),
        _ => packet.verify_message_authenticator(PPPD_SECRET).map(drop).map_err(|e| e.reason()),
    }
}

#[test]
fn the_malformed_corpus_ends_as_each_file_says() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/malformed");
    let mut files = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let text = std::fs::read_to_string(&path).unwrap();
        let said = text.lines().rfind(|line| line.starts_with('#')).expect("an outcome");
        let octets: String = text.lines().filter(|line| !line.starts_with('#')).collect();
        let datagram = hex::decode(octets.replace(' ', "")).unwrap();
        let found = match outcome(&datagram) {
            Ok(()) => "# parse: ok".to_owned(),
            Err(reason) => format!("# drop: {reason}"),
        };
        assert_eq!(found, said, "{}", path.display());
        files += 1;
    }
    assert!(files >= 40, "the corpus is here");
}

#[test]
fn nested_bombs_of_the_corpus_are_followed_no_deeper_than_we_say() {
    let text = include_str!("../../tests/vectors/malformed/tlv-bomb-extended.hex");
    let octets: String = text.lines().filter(|line| !line.starts_with('#')).collect();
    let datagram = hex::decode(octets.replace(' ', "")).unwrap();
    let extended = Packet::parse(&datagram).unwrap().extended().next().unwrap().unwrap();
    let mut level = tlv::parse(&extended.value).unwrap();
    let mut depth = 1;
    let error = loop {
        match level.next().expect("one TLV in each").children() {
            Ok(next) => (level, depth) = (next, depth + 1),
            Err(error) => break error,
        }
    };
    assert_eq!((depth, error), (tlv::MAX_DEPTH, ValueError::TooDeep { limit: tlv::MAX_DEPTH }));
}
