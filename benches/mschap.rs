//! What one password check costs on a network thread. argon2id is left out: it is meant to cost, and it runs elsewhere.

use std::hint::black_box;

use criterion::{Criterion, criterion_group, criterion_main};
use radhold::auth::{ClearPassword, Credential, Method, NtHash, PreparedNtHash, Verdict, verify, verify_ms_chap_v2};

fn octets(text: &str) -> Vec<u8> {
    hex::decode(text).expect("a vector is hexadecimal")
}

fn accept(credential: &Credential, user: &[u8], method: &Method<'_>) {
    assert!(matches!(verify(black_box(credential), black_box(user), black_box(method)), Verdict::Accepted(_)));
}

fn checks(c: &mut Criterion) {
    // RFC 2759 §9.2 and RFC 2433 §B.2.
    let response = "0100 21402324255e262a28295f2b3a337c7e 0000000000000000
        82309ecd8d708b5ea08faa3981cd83544233114a3d85d6df"
        .split_whitespace()
        .collect::<String>();
    let v2 = Method::ms_chap_v2(&octets("5b5d7c7d7b3f2f3e3c2c602132262628"), &octets(&response)).expect("a response");
    let response = format!("0101{}4e9d3c8f9cfd385d5bf4d3246791956ca4c351ab409a3d61", "00".repeat(24));
    let v1 = Method::ms_chap_v1(&octets("102db5df085d3041"), &octets(&response)).expect("a response");
    let clear = |text: &str| Credential::Password(ClearPassword::new(text).expect("not empty"));
    let nt = |text: &str| Credential::NtHash(NtHash::of_password(text.as_bytes()).expect("UTF-8"));

    c.bench_function("MS-CHAPv2, NT hash", |b| {
        let stored = nt("clientPass");
        b.iter(|| accept(&stored, b"User", &v2));
    });
    c.bench_function("MS-CHAPv2, NT hash of somebody remembered", |b| {
        let stored = PreparedNtHash::new(&NtHash::of_password(b"clientPass").expect("UTF-8"));
        let Method::MsChapV2 { challenge, response } = &v2 else { unreachable!("it was made of MS-CHAPv2's values") };
        let check = || verify_ms_chap_v2(black_box(&stored), black_box(b"User"), challenge, black_box(response));
        b.iter(|| assert!(matches!(check(), Verdict::Accepted(_))));
    });
    c.bench_function("MS-CHAPv2, clear", |b| {
        let stored = clear("clientPass");
        b.iter(|| accept(&stored, b"User", &v2));
    });
    c.bench_function("MS-CHAPv1, NT hash", |b| {
        let stored = nt("MyPw");
        b.iter(|| accept(&stored, b"User", &v1));
    });
    c.bench_function("PAP, clear", |b| {
        let stored = clear("arctangent");
        b.iter(|| accept(&stored, b"nemo", &Method::Pap { password: b"arctangent" }));
    });
    c.bench_function("CHAP", |b| {
        // RFC 2865 §7.2.
        let (stored, challenge) = (clear("arctangent"), octets("2aee86f08d0d55969ca5978e0d3367a2"));
        let method = Method::chap(&octets("16e97557c316185895f293ff6344077275"), &challenge).expect("a CHAP-Password");
        b.iter(|| accept(&stored, b"flopsy", &method));
    });
}

criterion_group!(benches, checks);
criterion_main!(benches);
