//! The codec on the packets of one real pppd login, beside the `radius` crate on the same octets.
//!
//! Knows no sockets: see what a request costs before and after the network. Both codecs are given what they need to
//! end at the same place: all attributes read, or all octets of the signed packet.

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use radhold::radius::{
    Checking, Code, Packet, PacketBuilder, PreparedSecret, RequestChecking, Signing, TOGETHER, attribute,
};
use radius::core::avp::AVP;
use radius::core::code::Code as TheirCode;
use radius::core::packet::Packet as TheirPacket;

const SECRET: &[u8] = b"lab-shared-secret";

/// The octets under `[name]` in the vectors of a real pppd.
fn pppd(name: &str) -> Vec<u8> {
    let file = include_str!("../tests/vectors/pppd.txt");
    let block = file.lines().skip_while(|line| *line != format!("[{name}]")).skip(1);
    let octets: String = block.take_while(|line| !line.starts_with(['[', '#'])).collect();
    let octets = hex::decode(octets.replace(' ', "")).expect("vectors are hexadecimal");
    assert!(!octets.is_empty(), "no vector [{name}]");
    octets
}

/// Reads a packet whole and adds its values up, so that no work can be left out.
fn parse_ours(datagram: &[u8]) -> usize {
    let packet = Packet::parse(datagram).expect("a captured packet");
    packet.attributes().map(|attribute| usize::from(attribute.kind) + attribute.value.len()).sum()
}

fn parse_theirs(datagram: &[u8]) -> TheirPacket {
    TheirPacket::decode(datagram, SECRET).expect("a captured packet")
}

/// The same Access-Request with what an access server adds: twelve attributes.
fn of_twelve_attributes() -> Vec<u8> {
    let octets = pppd("Access-Request");
    let packet = Packet::parse(&octets).expect("a captured packet");
    let mut builder = PacketBuilder::request(Code::AccessRequest, packet.identifier(), *packet.authenticator());
    let more: [(u8, &[u8]); 4] =
        [(31, b"02-00-5E-10-00-01"), (30, b"02-00-5E-10-00-02:lab"), (87, b"ge-0/0/1.100"), (44, b"4a5b6c7d")];
    let own = packet.attributes().map(|attribute| (attribute.kind, attribute.value));
    for (kind, value) in own.filter(|(kind, _)| more.iter().all(|(other, _)| other != kind)).chain(more).take(12) {
        builder.attribute(kind, value).expect("there is room");
    }
    let octets = builder.sign_request(SECRET).expect("it can be signed").to_vec();
    println!("attributes: {}", Packet::parse(&octets).expect("our own").attributes().count());
    octets
}

fn parse(criterion: &mut Criterion) {
    let packets = [
        ("Access-Request", pppd("Access-Request")),
        ("Access-Accept", pppd("Access-Accept")),
        ("Access-Request of 12 attributes", of_twelve_attributes()),
    ];
    for (name, datagram) in packets {
        let mut group = criterion.benchmark_group(format!("parse {name}"));
        group.throughput(Throughput::Bytes(datagram.len() as u64));
        group.bench_function("radhold", |bencher| bencher.iter(|| parse_ours(black_box(&datagram))));
        group.bench_function("radius 0.4", |bencher| bencher.iter(|| parse_theirs(black_box(&datagram))));
        group.finish();
    }
}

fn encode(criterion: &mut Criterion) {
    let (request, accept) = (pppd("Access-Request"), pppd("Access-Accept"));
    let (packet, reply) = (Packet::parse(&request).unwrap(), Packet::parse(&accept).unwrap());

    let mut group = criterion.benchmark_group("encode Access-Request");
    group.throughput(Throughput::Bytes(request.len() as u64));
    let mut builder = PacketBuilder::request(Code::AccessRequest, packet.identifier(), *packet.authenticator());
    for message_authenticator in [false, true] {
        let name = if message_authenticator { "radhold, Message-Authenticator" } else { "radhold" };
        group.bench_function(name, |bencher| {
            bencher.iter(|| {
                builder.restart_request(Code::AccessRequest, packet.identifier(), *packet.authenticator());
                builder.with_message_authenticator(message_authenticator);
                for attribute in packet.attributes() {
                    builder.attribute(attribute.kind, attribute.value).unwrap();
                }
                builder.sign_request(black_box(SECRET)).unwrap().len()
            });
        });
    }
    let theirs = parse_theirs(&request);
    group.bench_function("radius 0.4", |bencher| {
        bencher.iter(|| {
            let mut out = TheirPacket::new_with_identifier(TheirCode::AccessRequest, SECRET, theirs.get_identifier());
            for attribute in packet.attributes() {
                out.add(AVP::from_bytes(attribute.kind, attribute.value));
            }
            out.encode().unwrap().len()
        });
    });
    group.finish();

    // Ours carries a Message-Authenticator, which costs an HMAC; theirs has none to write.
    let mut group = criterion.benchmark_group("encode Access-Accept");
    group.throughput(Throughput::Bytes(accept.len() as u64));
    let mut builder = PacketBuilder::reply(&packet, Code::AccessAccept);
    group.bench_function("radhold, Message-Authenticator", |bencher| {
        bencher.iter(|| {
            builder.restart_reply(&packet, Code::AccessAccept);
            for attribute in reply.attributes() {
                builder.attribute(attribute.kind, attribute.value).unwrap();
            }
            builder.sign_reply(black_box(SECRET)).unwrap().len()
        });
    });
    group.bench_function("radius 0.4", |bencher| {
        bencher.iter(|| {
            let mut out = theirs.make_response_packet(TheirCode::AccessAccept);
            for attribute in reply.attributes() {
                out.add(AVP::from_bytes(attribute.kind, attribute.value));
            }
            out.encode().unwrap().len()
        });
    });
    group.finish();
}

/// As many Access-Accepts as a lane signs together, by a secret that is ready; and the same checked, as the load generator does.
fn together(criterion: &mut Criterion) {
    let (request, accept) = (pppd("Access-Request"), pppd("Access-Accept"));
    let (packet, reply) = (Packet::parse(&request).unwrap(), Packet::parse(&accept).unwrap());
    let secret = PreparedSecret::new(SECRET);
    let mut builder = PacketBuilder::reply(&packet, Code::AccessAccept);
    for attribute in reply.attributes().filter(|attribute| attribute.kind != attribute::MESSAGE_AUTHENTICATOR) {
        builder.attribute(attribute.kind, attribute.value).unwrap();
    }
    let signed = builder.sign_reply_by(&secret).unwrap().to_vec();

    let mut group = criterion.benchmark_group("sign eight Access-Accepts");
    group.throughput(Throughput::Elements(TOGETHER as u64));
    group.bench_function("one by one", |bencher| {
        bencher.iter(|| (0..TOGETHER).map(|_| builder.sign_reply_by(black_box(&secret)).unwrap().len()).sum::<usize>());
    });
    let mut signing = Signing::default();
    group.bench_function("together", |bencher| {
        bencher.iter(|| {
            (0..TOGETHER).for_each(|_| builder.sign_reply_together(black_box(&secret), &mut signing).unwrap());
            signing.sign().map(<[u8]>::len).sum::<usize>()
        });
    });
    group.finish();

    let (reply, authenticator) = (Packet::parse(&signed).unwrap(), packet.authenticator());
    let mut group = criterion.benchmark_group("check eight Access-Accepts");
    group.throughput(Throughput::Elements(TOGETHER as u64));
    group.bench_function("one by one", |bencher| {
        bencher.iter(|| (0..TOGETHER).all(|_| reply.verify_reply_by(black_box(&secret), authenticator).is_ok()));
    });
    let mut checking = Checking::default();
    group.bench_function("together", |bencher| {
        bencher.iter(|| {
            (0..TOGETHER).for_each(|_| checking.add(&reply, black_box(&secret), authenticator));
            checking.check().all(|checked| checked.is_ok())
        });
    });
    group.finish();

    let mut builder = PacketBuilder::request(Code::AccessRequest, 1, *packet.authenticator());
    for attribute in packet.attributes().filter(|attribute| attribute.kind != attribute::MESSAGE_AUTHENTICATOR) {
        builder.attribute(attribute.kind, attribute.value).unwrap();
    }
    let signed = builder.sign_request(SECRET).unwrap().to_vec();
    let packet = Packet::parse(&signed).unwrap();
    let requests = [Some((&packet, &secret)); TOGETHER];
    let mut group = criterion.benchmark_group("check eight Access-Requests");
    group.throughput(Throughput::Elements(TOGETHER as u64));
    group.bench_function("one by one", |bencher| {
        bencher.iter(|| {
            let mut verdicts = black_box(requests).into_iter().flatten();
            verdicts.all(|(packet, secret)| packet.verify_message_authenticator_by(secret).is_ok())
        });
    });
    let mut checking = RequestChecking::default();
    group.bench_function("together", |bencher| {
        bencher.iter(|| {
            let checked = checking.check(black_box(requests));
            let verdicts = checked.iter().zip(&requests).filter_map(|(checked, request)| {
                let (packet, secret) = request.as_ref()?;
                checked.as_ref()?.verdict(packet, secret)
            });
            verdicts.filter(Result::is_ok).count() == TOGETHER
        });
    });
    group.finish();
}

fn authenticators(criterion: &mut Criterion) {
    let (request, accept) = (pppd("Access-Request"), pppd("Access-Accept"));
    let accounting = pppd("Accounting-Request Start");
    let (packet, reply) = (Packet::parse(&request).unwrap(), Packet::parse(&accept).unwrap());

    let mut group = criterion.benchmark_group("verify Response Authenticator");
    group.bench_function("radhold", |bencher| {
        bencher.iter(|| reply.verify_reply(black_box(SECRET), packet.authenticator()).expect("genuine"));
    });
    group.bench_function("radius 0.4", |bencher| {
        bencher.iter(|| assert!(TheirPacket::is_authentic_response(&accept, &request, black_box(SECRET))));
    });
    group.finish();

    let mut group = criterion.benchmark_group("verify Request Authenticator");
    let packet = Packet::parse(&accounting).unwrap();
    group.bench_function("radhold", |bencher| {
        bencher.iter(|| packet.verify_request_authenticator(black_box(SECRET)).expect("genuine"));
    });
    group.bench_function("radius 0.4", |bencher| {
        bencher.iter(|| assert!(TheirPacket::is_authentic_request(&accounting, black_box(SECRET))));
    });
    group.finish();

    let mut builder = PacketBuilder::request(Code::AccessRequest, 1, [7; 16]);
    for attribute in Packet::parse(&request).unwrap().attributes() {
        builder.attribute(attribute.kind, attribute.value).unwrap();
    }
    let signed = builder.sign_request(SECRET).unwrap().to_vec();
    let packet = Packet::parse(&signed).unwrap();
    criterion.bench_function("verify Message-Authenticator", |bencher| {
        bencher.iter(|| packet.verify_message_authenticator(black_box(SECRET)).expect("genuine"));
    });
}

criterion_group!(codec, parse, encode, together, authenticators);
criterion_main!(codec);
