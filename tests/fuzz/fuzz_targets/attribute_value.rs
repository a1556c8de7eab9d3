//! Any value as any type: what decodes must encode to something that decodes to the same. Also everything that looks
//! inside a value: tags, TLVs, vendors, hiding.
#![no_main]

use libfuzzer_sys::fuzz_target;
use radhold::radius::value::{DataType, Value};
use radhold::radius::{ValueError, hiding, tag, tlv, vendor};

const SECRET: &[u8] = b"secret";
const AUTHENTICATOR: [u8; 16] = *b"0123456789abcdef";

const DATA_TYPES: [DataType; 22] = [
    DataType::Text,
    DataType::Octets,
    DataType::Integer,
    DataType::Integer64,
    DataType::Byte,
    DataType::Short,
    DataType::Signed,
    DataType::Date,
    DataType::Ipv4Addr,
    DataType::Ipv6Addr,
    DataType::Ipv4Prefix,
    DataType::Ipv6Prefix,
    DataType::ComboIp,
    DataType::InterfaceId,
    DataType::Ether,
    DataType::Abinary,
    DataType::Tlv,
    DataType::Vsa,
    DataType::Extended,
    DataType::LongExtended,
    DataType::Evs,
    DataType::Struct,
];

fn walk(tlvs: Result<tlv::Tlvs<'_>, ValueError>) {
    tlvs.into_iter().flatten().for_each(|tlv| walk(tlv.children()));
}

fuzz_target!(|octets: &[u8]| {
    for data_type in DATA_TYPES {
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
        assert_eq!(&**plain, octets);
    }
});
