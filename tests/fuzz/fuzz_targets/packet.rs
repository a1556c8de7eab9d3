//! Any datagram: parse, read everything, verify everything, build it again and parse that.
#![no_main]

use libfuzzer_sys::fuzz_target;
use radhold::radius::attribute::MESSAGE_AUTHENTICATOR;
use radhold::radius::{Code, Packet, PacketBuilder};

const SECRET: &[u8] = b"secret";

fuzz_target!(|datagram: &[u8]| {
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
});
