//! Writes small databases in MaxMind's format, version 2.0, for tests: a tree of one-bit branches with records of 24 bits, then
//! the data, then the metadata. Made from the published specification of the format; used by unit tests too.

use std::net::IpAddr;
use std::path::Path;

use serde_json::{Value, json};

/// Networks, and what is known of each. None may lie within another.
pub(crate) fn write(path: &Path, networks: &[(&str, Value)]) {
    std::fs::write(path, database(networks)).unwrap();
}

/// A branch of the tree, by its number; or the data of a network, by their offset.
#[derive(Debug, Clone, Copy)]
enum Record {
    Nothing,
    Branch(usize),
    Data(usize),
}

fn database(networks: &[(&str, Value)]) -> Vec<u8> {
    let mut branches = vec![[Record::Nothing; 2]];
    let mut data = Vec::new();
    for (network, known) in networks {
        let (bits, length) = bits(network);
        let mut at = 0;
        for place in 0..length - 1 {
            let side = usize::from(bits >> (127 - place) & 1 == 1);
            at = match branches[at][side] {
                Record::Branch(next) => next,
                Record::Nothing => {
                    branches.push([Record::Nothing; 2]);
                    let next = branches.len() - 1;
                    branches[at][side] = Record::Branch(next);
                    next
                }
                Record::Data(_) => panic!("{network} lies within another network"),
            };
        }
        branches[at][usize::from(bits >> (128 - length) & 1 == 1)] = Record::Data(data.len());
        put(&mut data, known);
    }
    let count = branches.len();
    let number = |record: Record| match record {
        Record::Nothing => count,
        Record::Branch(at) => at,
        // The data section begins after sixteen octets of zeros, which offsets count.
        Record::Data(at) => count + 16 + at,
    };
    let mut file: Vec<u8> =
        branches.iter().flatten().flat_map(|record| number(*record).to_be_bytes()[5..].to_vec()).collect();
    file.extend([0; 16]);
    file.extend(data);
    file.extend(b"\xab\xcd\xefMaxMind.com");
    let about = json!({
        "node_count": count, "record_size": 24, "ip_version": 6, "database_type": "Test", "languages": ["en"],
        "binary_format_major_version": 2, "binary_format_minor_version": 0, "build_epoch": 1_795_000_000_u64,
        "description": { "en": "made by a test" },
    });
    put(&mut file, &about);
    file
}

/// A network's address as 128 bits, IPv4 at `::/96`, and how many of them count.
fn bits(network: &str) -> (u128, u32) {
    let (address, length) = network.split_once('/').unwrap();
    let length: u32 = length.parse().unwrap();
    match address.parse::<IpAddr>().unwrap() {
        IpAddr::V4(address) => (u128::from(u32::from(address)), length + 96),
        IpAddr::V6(address) => (address.into(), length),
    }
}

/// One value: a control octet with type and size, and its payload.
fn put(out: &mut Vec<u8>, value: &Value) {
    put_as(out, value, UINT32);
}

const UINT16: u8 = 5;
const UINT32: u8 = 6;
const UINT64: u8 = 9;

/// The type the specification gives a number of that name.
fn number_type(key: &str) -> u8 {
    match key {
        "build_epoch" => UINT64,
        "record_size" | "ip_version" | "binary_format_major_version" | "binary_format_minor_version" => UINT16,
        _ => UINT32,
    }
}

fn put_as(out: &mut Vec<u8>, value: &Value, kind: u8) {
    match value {
        Value::String(text) => {
            control(out, 2, text.len());
            out.extend(text.as_bytes());
        }
        Value::Number(number) => {
            let number = number.as_u64().unwrap();
            let octets: Vec<u8> = number.to_be_bytes().into_iter().skip_while(|octet| *octet == 0).collect();
            control(out, kind, octets.len());
            out.extend(octets);
        }
        Value::Object(map) => {
            control(out, 7, map.len());
            for (key, value) in map {
                put(out, &Value::String(key.clone()));
                put_as(out, value, number_type(key));
            }
        }
        Value::Array(values) => {
            control(out, 11, values.len());
            values.iter().for_each(|value| put(out, value));
        }
        other => panic!("{other} is not written here"),
    }
}

fn control(out: &mut Vec<u8>, kind: u8, size: usize) {
    let (short, rest) = match size {
        0..29 => (u8::try_from(size).unwrap(), None),
        29..285 => (29, Some(u8::try_from(size - 29).unwrap())),
        _ => panic!("a value of {size} is not written here"),
    };
    // Types from 8 on stand in an octet of their own.
    match kind {
        0..8 => out.push(kind << 5 | short),
        _ => out.extend([short, kind - 7]),
    }
    out.extend(rest);
}
