//! A test per Error-Cause, with packets.

use super::*;
use crate::dynauth::server::{Rules, verify};
use crate::model::Timestamp;
use crate::radius::{Packet, PacketBuilder};

const SECRET: &[u8] = b"a secret of twenty-odd octets";

type Attributes<'a> = &'a [(u8, &'a [u8])];

const ALICE: (u8, &[u8]) = (attribute::USER_NAME, b"alice");
const BOB: (u8, &[u8]) = (attribute::USER_NAME, b"bob");
const PERMIT: (u8, &[u8]) = (attribute::FILTER_ID, b"permit");

/// Two sessions of alice on ports 1 and 2, one of bob on port 3, and one of carol that cannot be ended.
fn sessions() -> Vec<(u32, Facts)> {
    let names = ["", "alice", "alice", "bob", "carol"];
    (1..=4_u8)
        .map(|port| {
            let facts = Facts {
                user_name: Some(names[usize::from(port)].to_owned()),
                nas_port: Some(port.into()),
                nas_port_ids: vec![format!("ppp{port}"), format!("/dev/pts/{port}")],
                framed_ip_address: Some([10, 0, 0, port].into()),
                framed_ipv6_addresses: vec![format!("fe80::{port}").parse().unwrap()],
                ipv6_prefixes: vec![format!("2001:db8:{port}::/48").parse().unwrap()],
                framed_interface_id: Some([0, 0, 0, 0, 0, 0, 0, port]),
                calling_station_id: Some(format!("192.0.2.{port}")),
                acct_session_id: (port != 2).then(|| format!("A{port}")),
                class: Some(format!("c{port}")),
                since: Timestamp::default(),
                pid: None,
                removable: port != 4,
            };
            (port.into(), facts)
        })
        .collect()
}

fn judged(code: Code, attributes: Attributes<'_>) -> Verdict<u32> {
    let mut request = PacketBuilder::request(code, 9, [0; 16]);
    for (kind, value) in attributes {
        request.attribute(*kind, value).unwrap();
    }
    let rules = Rules { message_authenticator: true, event_timestamp: false, window: Duration::from_secs(300) };
    let octets = request.sign_request(SECRET).unwrap();
    let request = verify(Packet::parse(octets).unwrap(), SECRET, &rules, Timestamp::default()).unwrap();
    let nas = NasNames {
        identifiers: vec!["nas-1".to_owned()],
        addresses: vec!["192.0.2.10".parse().unwrap()],
        through_front: false,
    };
    let sessions = sessions();
    let sessions = sessions.iter().map(|(port, facts)| (*port, facts));
    judge(&request, &nas, sessions, |filter| matches!(filter, "permit" | "sandbox"))
}

fn coa(attributes: Attributes<'_>) -> Verdict<u32> {
    judged(Code::CoaRequest, attributes)
}

fn disconnect(attributes: Attributes<'_>) -> Verdict<u32> {
    judged(Code::DisconnectRequest, attributes)
}

#[test]
fn each_identification_finds_its_session() {
    let cases: [(u8, &[u8]); 11] = [
        (attribute::USER_NAME, b"bob"),
        (attribute::NAS_PORT, &[0, 0, 0, 3]),
        (attribute::NAS_PORT_ID, b"ppp3"),
        (attribute::NAS_PORT_ID, b"/dev/pts/3"),
        (attribute::FRAMED_IP_ADDRESS, &[10, 0, 0, 3]),
        (attribute::FRAMED_IPV6_ADDRESS, &[0xfe, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 3]),
        (attribute::FRAMED_IPV6_PREFIX, &[0, 48, 0x20, 1, 0x0d, 0xb8, 0, 3]),
        (attribute::FRAMED_INTERFACE_ID, &[0, 0, 0, 0, 0, 0, 0, 3]),
        (attribute::CALLING_STATION_ID, b"192.0.2.3"),
        (attribute::ACCT_SESSION_ID, b"A3"),
        (attribute::CLASS, b"c3"),
    ];
    for one in cases {
        // Beside port 2, whose Acct-Session-Id nobody told us: not knowing is not matching.
        assert_eq!(disconnect(&[one]), Verdict::End(3), "{one:?}");
    }
    assert_eq!(disconnect(&cases), Verdict::Refuse(INVALID_REQUEST), "NAS-Port-Id is there twice");
    assert_eq!(disconnect(&[&cases[..3], &cases[4..]].concat()), Verdict::End(3), "all together");
}

#[test]
fn rfc5176_section_3_all_that_is_given_must_match() {
    assert_eq!(disconnect(&[ALICE, (attribute::NAS_PORT, &[0, 0, 0, 2])]), Verdict::End(2));
    assert_eq!(disconnect(&[BOB, (attribute::NAS_PORT, &[0, 0, 0, 2])]), Verdict::Refuse(SESSION_CONTEXT_NOT_FOUND));
    let two = [(attribute::NAS_PORT, &[0, 0, 0, 2][..]), (attribute::ACCT_SESSION_ID, b"whatever pppd made")];
    assert_eq!(disconnect(&two), Verdict::End(2), "what we never learnt decides nothing");
}

#[test]
fn a_coa_says_what_changes() {
    let change = |change| Verdict::Change(3, change);
    assert_eq!(coa(&[BOB, PERMIT]), change(Change { filter_id: Some("permit".to_owned()), ..Change::default() }));
    let times = coa(&[
        BOB,
        (attribute::SESSION_TIMEOUT, &[0, 0, 1, 0]),
        (attribute::IDLE_TIMEOUT, &[0, 0, 0, 60]),
        (attribute::NAS_IDENTIFIER, b"nas-1"),
        (attribute::NAS_IP_ADDRESS, &[192, 0, 2, 10]),
        (attribute::PROXY_STATE, b"x"),
        (attribute::PROXY_STATE, b"y"),
    ]);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(
        times,
        change(Change { filter_id: None, session_timeout: seconds(256), idle_timeout: seconds(60), rates: None })
    );
    let up: (u8, &[u8]) = (attribute::VENDOR_SPECIFIC, &[0, 0, 0x37, 0x2a, 7, 6, 0, 0, 4, 0]);
    let rates = Some(RateOrder { up: Some(1024), down: None });
    assert_eq!(coa(&[BOB, up]), change(Change { rates, ..Change::default() }));
}

#[test]
fn rfc5176_section_3_5_error_causes() {
    let service_type: (u8, &[u8]) = (attribute::SERVICE_TYPE, &[0, 0, 0, 17]);
    let cases: &[(Attributes<'_>, ErrorCause)] = &[
        (&[BOB, PERMIT, (attribute::FRAMED_POOL, b"x")], UNSUPPORTED_ATTRIBUTE),
        (&[BOB, PERMIT, (attribute::VENDOR_SPECIFIC, &[0, 0, 0, 9, 1, 3, b'x'])], UNSUPPORTED_ATTRIBUTE),
        (&[BOB, PERMIT, (attribute::STATE, b"x")], UNSUPPORTED_ATTRIBUTE),
        (&[BOB, PERMIT, (attribute::VENDOR_SPECIFIC, b"odd")], UNSUPPORTED_ATTRIBUTE),
        (&[BOB, (attribute::VENDOR_SPECIFIC, &[0, 0, 0x37, 0x2a, 7, 3, 1])], INVALID_ATTRIBUTE_VALUE),
        (&[PERMIT], MISSING_ATTRIBUTE),
        (&[BOB], MISSING_ATTRIBUTE),
        (&[], MISSING_ATTRIBUTE),
        (&[BOB, PERMIT, (attribute::NAS_IDENTIFIER, b"nas-2")], NAS_IDENTIFICATION_MISMATCH),
        (&[BOB, PERMIT, (attribute::NAS_IP_ADDRESS, &[192, 0, 2, 11])], NAS_IDENTIFICATION_MISMATCH),
        (&[BOB, PERMIT, (attribute::NAS_IPV6_ADDRESS, &[1; 16])], NAS_IDENTIFICATION_MISMATCH),
        (&[BOB, PERMIT, (attribute::NAS_PORT, &[3])], INVALID_REQUEST),
        (&[BOB, (attribute::SESSION_TIMEOUT, &[1, 2])], INVALID_REQUEST),
        (&[BOB, ALICE, PERMIT], INVALID_REQUEST),
        (&[BOB, PERMIT, PERMIT], INVALID_REQUEST),
        (&[BOB, (attribute::FILTER_ID, b"")], INVALID_REQUEST),
        (&[BOB, PERMIT, service_type, (attribute::STATE, b"x")], UNSUPPORTED_SERVICE),
        (&[BOB, (attribute::FILTER_ID, b"platinum")], INVALID_ATTRIBUTE_VALUE),
        (&[(attribute::USER_NAME, b"dave"), PERMIT], SESSION_CONTEXT_NOT_FOUND),
        (&[(attribute::USER_NAME, b"carol"), (attribute::SESSION_TIMEOUT, &[0; 4])], SESSION_CONTEXT_NOT_REMOVABLE),
        (&[ALICE, PERMIT], MULTIPLE_SESSION_SELECTION_UNSUPPORTED),
    ];
    for (attributes, cause) in cases {
        assert_eq!(coa(attributes), Verdict::Refuse(*cause), "{attributes:?}");
    }
    assert_eq!(disconnect(&[ALICE]), Verdict::Refuse(MULTIPLE_SESSION_SELECTION_UNSUPPORTED));
    assert_eq!(disconnect(&[BOB, PERMIT]), Verdict::Refuse(UNSUPPORTED_ATTRIBUTE));
    assert_eq!(disconnect(&[BOB, service_type]), Verdict::Refuse(UNSUPPORTED_SERVICE));
    assert_eq!(disconnect(&[(attribute::USER_NAME, b"carol")]), Verdict::Refuse(SESSION_CONTEXT_NOT_REMOVABLE));
}
