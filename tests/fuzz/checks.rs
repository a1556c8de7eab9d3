//! What must hold of any octets: one function for each fuzz target.
//!
//! Shared by the targets, which look for octets of which it does not hold, and by the tests, which replay the corpus (`corpus/`, a
//! folder for each target) so that what was found once is not found again. A crash that was mended goes there.

use std::time::Duration;

use radhold::accounting::{ClockBounds, Reading, Request, identity_of};
use radhold::auth::StoredCredential;
use radhold::config::{Config, Flags, Surroundings};
use radhold::dynauth::server::{Rules, verify};
use radhold::eap;
use radhold::model::{ApproverKind, OctetDirection, Secret, Timestamp};
use radhold::net::radsec::{FrameError, Frames};
use radhold::policy::Caller;
use radhold::radius::attribute::MESSAGE_AUTHENTICATOR;
use radhold::radius::dictionary::Dictionary;
use radhold::radius::value::{DataType, Value};
use radhold::radius::{
    Code, Packet, PacketBuilder, PreparedSecret, RequestChecking, TOGETHER, ValueError, hiding, tag, tlv, vendor,
};
use radhold::session::{ButtonKey, ClassKey, Place};

/// A check of any octets.
pub(crate) type Check = fn(&[u8]);

/// Every target by its name.
pub(crate) const ALL: [(&str, Check); 9] = [
    ("packet", packet),
    ("attribute_value", attribute_value),
    ("dictionary", dictionary),
    ("class", class),
    ("button", button),
    ("configuration", configuration),
    ("accounting", accounting),
    ("stored", stored),
    ("radsec_frames", radsec_frames),
];

const SECRET: &[u8] = b"secret";
const AUTHENTICATOR: [u8; 16] = *b"0123456789abcdef";

/// Any datagram: parse, read everything, verify everything, build it again and parse that; and verified beside others it is what it is alone.
pub(crate) fn packet(datagram: &[u8]) {
    let Ok(packet) = Packet::parse(datagram) else { return };
    for attribute in packet.attributes() {
        packet.text(attribute.kind);
        packet.integer(attribute.kind);
        packet.ipv6(attribute.kind);
        assert!(packet.concat(attribute.kind).is_some());
    }
    packet.vendor_attributes().for_each(drop);
    packet.extended().flatten().for_each(|extended| {
        extended.vendor();
    });
    let _ = packet.verify_message_authenticator(SECRET);
    let _ = packet.verify_request_authenticator(SECRET);
    let _ = packet.verify_reply(SECRET, packet.authenticator());
    let rules = Rules { message_authenticator: false, event_timestamp: false, window: Duration::from_secs(300) };
    let _ = verify(packet, SECRET, &rules, Timestamp::from_secs(1_795_166_709));
    if let Some(message) = packet.concat(radhold::radius::attribute::EAP_MESSAGE) {
        let _ = eap::refuse(&message);
    }

    // Signing writes the Message-Authenticator, so it is the one attribute not copied.
    let wanted: Vec<_> = packet.attributes().filter(|attribute| attribute.kind != MESSAGE_AUTHENTICATOR).collect();
    let mut builder = PacketBuilder::request(Code::AccessRequest, packet.identifier(), *packet.authenticator());
    builder.with_message_authenticator(false);
    for attribute in &wanted {
        builder.attribute(attribute.kind, attribute.value).expect("no larger than it came");
    }
    let again = builder.sign_request(SECRET).expect("no larger than it came");
    let again = Packet::parse(again).expect("what we build, we read");
    assert!(again.attributes().eq(wanted));
    checked_together(&packet);
}

/// A request of anybody's beside a genuine one.
fn checked_together(packet: &Packet<'_>) {
    let secret = PreparedSecret::new(SECRET);
    let mut builder = PacketBuilder::request(Code::AccessRequest, 1, AUTHENTICATOR);
    let genuine = Packet::parse(builder.sign_request(SECRET).expect("it is short")).expect("what we build, we read");
    let mut checking = RequestChecking::default();
    for genuine_ones in [0x00_u8, 0x01, 0x80, 0x55, 0xfe] {
        let beside: [_; TOGETHER] =
            std::array::from_fn(|place| if genuine_ones & 1 << place == 0 { packet } else { &genuine });
        for (request, checked) in beside.iter().zip(checking.check(beside.map(|request| Some((request, &secret))))) {
            let verdict = checked.map(|checked| checked.verdict(request, &secret).expect("of this very one").is_ok());
            let alone = request.verify_message_authenticator_by(&secret).is_ok();
            assert!(verdict.is_none_or(|verdict| verdict == alone));
            assert!(!std::ptr::eq(*request, &genuine) || verdict == Some(true));
        }
    }
}

/// Any value as any type: what decodes must encode to something that decodes to the same. Also everything that looks inside a value:
/// tags, TLVs, vendors, hiding.
pub(crate) fn attribute_value(octets: &[u8]) {
    for data_type in DataType::ALL {
        if let Ok(value) = Value::decode(data_type, octets) {
            let mut again = Vec::new();
            value.encode(&mut again);
            assert_eq!(Value::decode(data_type, &again), Ok(value));
        }
    }
    tag::split_string(octets);
    let _ = tag::split_integer(octets);
    walk(tlv::parse(octets));
    vendor::sub_attributes(octets).for_each(drop);
    let _ = hiding::reveal_user_password(octets, SECRET, &AUTHENTICATOR);
    let _ = hiding::reveal_tunnel_password(octets, SECRET, &AUTHENTICATOR);
    if let Ok(hidden) = hiding::hide_mppe_key(octets, SECRET, &AUTHENTICATOR, hiding::Salt::new([1, 2])) {
        let plain = hiding::reveal_mppe_key(&hidden, SECRET, &AUTHENTICATOR).expect("our own");
        assert_eq!(&*plain, octets);
    }
}

fn walk(tlvs: Result<tlv::Tlvs<'_>, ValueError>) {
    tlvs.into_iter().flatten().for_each(|tlv| walk(tlv.children()));
}

/// Any text as a dictionary: an error or a dictionary, never a panic and never without end.
pub(crate) fn dictionary(octets: &[u8]) {
    if let Ok(text) = std::str::from_utf8(octets) {
        let _ = Dictionary::parse_str(text);
    }
}

/// Any octets as Class: nothing that we did not seal opens; a changed octet of one that we did closes it.
pub(crate) fn class(octets: &[u8]) {
    let key = ClassKey::new(&Secret::new("cluster"));
    let nas = "edge".into();
    if let Ok(class) = key.open(octets, &nas) {
        // Only by having found the MAC, in other words: by having started from a seed.
        assert_eq!(key.seal(&class, &nas), octets);
        assert!(key.open(octets, &"another".into()).is_err());
    }
}

/// Any text as the data of a button: nothing that we did not seal is redeemed, and nothing anywhere else than where it was shown.
pub(crate) fn button(octets: &[u8]) {
    let Ok(data) = std::str::from_utf8(octets) else { return };
    let key = ButtonKey::new(&Secret::new("cluster"));
    let place = Place { approver: ApproverKind::Telegram, chat: "42", presser: "42" };
    if let Ok(press) = key.redeem(data, place) {
        assert_eq!(press.presser(), "42");
        for elsewhere in [
            Place { chat: "43", ..place },
            Place { presser: "43", ..place },
            Place { approver: ApproverKind::Operator, ..place },
        ] {
            assert!(key.redeem(data, elsewhere).is_err());
        }
    }
}

/// Any text as a configuration file: a configuration, or an error that says something.
pub(crate) fn configuration(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    let directory = std::env::temp_dir().join(format!("radhold-fuzz-{}", std::process::id()));
    let file = directory.join("radhold.toml");
    std::fs::create_dir_all(&directory).expect("a folder for temporary files");
    std::fs::write(&file, text).expect("room for a file");
    let flags = Flags { config: Some(file), ..Flags::default() };
    let surroundings =
        Surroundings { state_dir: directory, host_name: "host".to_owned(), cores: 2, ..Surroundings::default() };
    if let Err(error) = Config::load_in(&flags, &surroundings) {
        assert!(!error.to_string().is_empty());
    }
}

/// Any datagram as an Accounting-Request: read, or an error that says something.
pub(crate) fn accounting(datagram: &[u8]) {
    let Ok(packet) = Packet::parse(datagram) else { return };
    let identity = identity_of(&packet);
    if let Some(caller) = identity.calling_station_id.as_deref() {
        Caller::read(caller);
    }
    let received_at = Timestamp::from_secs(1_795_166_709);
    for octet_direction in [OctetDirection::Standard, OctetDirection::Swapped] {
        let clock = ClockBounds { skew: Duration::from_secs(300), delay: Duration::from_secs(86_400) };
        if let Err(error) = Request::read(&packet, received_at, &Reading { octet_direction, octet_wrap: true, clock }) {
            assert!(!error.to_string().is_empty());
        }
    }
}

/// Any text as a stored credential: what is read is written as it was read.
pub(crate) fn stored(octets: &[u8]) {
    let Ok(text) = std::str::from_utf8(octets) else { return };
    if let Ok(credential) = StoredCredential::parse(text) {
        let written = credential.to_text();
        assert_eq!(StoredCredential::parse(&written).map(|again| again.to_text()), Ok(written));
    }
}

/// Any stream, cut anywhere: packets come out whole, one after the other, and the same however it was cut. The first octet is how large
/// the pieces are.
pub(crate) fn radsec_frames(input: &[u8]) {
    let Some((&size, stream)) = input.split_first() else { return };
    let (whole, end, amid) = frames(stream, usize::MAX);
    assert_eq!(frames(stream, usize::from(size) + 1), (whole.clone(), end, amid));
    let octets: usize = whole.iter().map(Vec::len).sum();
    assert_eq!(whole.concat(), stream[..octets]);
    assert_eq!(amid, octets < stream.len());
    for packet in &whole {
        assert!((20..=4096).contains(&packet.len()));
        // A frame is as long as its packet says, or it is none.
        if let Ok(parsed) = Packet::parse(packet) {
            assert_eq!(parsed.as_bytes(), packet);
        }
    }
}

/// The packets of a stream that arrives in pieces of that size, how it ended, and whether amid a packet.
fn frames(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<FrameError>, bool) {
    let (mut frames, mut packets) = (Frames::default(), Vec::new());
    for piece in stream.chunks(size) {
        frames.add(piece);
        loop {
            match frames.take() {
                Ok(Some(packet)) => packets.push(packet.to_vec()),
                Ok(None) => break,
                Err(error) => return (packets, Some(error), true),
            }
        }
    }
    (packets, None, frames.is_amid())
}
