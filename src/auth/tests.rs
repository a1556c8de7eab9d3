//! The whole check from the outside: a login captured from a real pppd, the RFCs' examples, and properties.

use md5::Md5;
use proptest::prelude::*;
use sha2::Digest as _;

use super::argon::tests::cheapest;
use super::*;

/// Octets as the RFCs print them.
pub(super) fn bytes(text: &str) -> Vec<u8> {
    hex::decode(text.split_whitespace().collect::<String>()).expect("a vector is hexadecimal")
}

pub(super) fn array<const N: usize>(text: &str) -> [u8; N] {
    bytes(text).try_into().expect("a vector has its length")
}

fn password(text: &str) -> Credential {
    Credential::Password(ClearPassword::new(text).unwrap())
}

fn nt(text: &str) -> Credential {
    Credential::NtHash(NtHash::of_password(text.as_bytes()).unwrap())
}

fn accepted(verdict: Verdict) -> Proof {
    match verdict {
        Verdict::Accepted(proof) => proof,
        Verdict::Refused(why) => panic!("refused: {why}"),
    }
}

fn refused(verdict: Verdict) -> Why {
    match verdict {
        Verdict::Accepted(proof) => panic!("accepted: {proof:?}"),
        Verdict::Refused(why) => why,
    }
}

/// A login of alice with `s3cret-pass` through pptpd and pppd 2.4.9, recorded with its RADIUS exchange; the link came up
/// with 128-bit MPPE, so what the Access-Accept carried was right in every octet.
mod pppd {
    use super::*;

    pub(super) const CHALLENGE: &str = "8b27905209a025a7b9324c0fa7baf42c";
    pub(super) const RESPONSE: &str = "d500 102aa770c45815bfd972d91934af310e 0000000000000000
        c1ee12a9bab228c693cf80b640e8c8bf0bf1fe3da5cd08b1";

    fn offer() -> Method<'static> {
        Method::ms_chap_v2(&bytes(CHALLENGE), &bytes(RESPONSE)).unwrap()
    }

    #[test]
    fn alice_is_accepted_and_gets_the_43_octets_pppd_wants() {
        for credential in [password("s3cret-pass"), nt("s3cret-pass")] {
            let proof = accepted(verify(&credential, b"alice", &offer()));
            assert_eq!(proof.method(), MethodKind::MsChapV2);
            assert_eq!(proof.ms_chap2_success().unwrap(), b"\xd5S=1480BE619EC4725CE0D4EBF3A3BAF1D43ABC4FF5");
        }
    }

    #[test]
    fn a_domain_before_the_name_changes_nothing() {
        accepted(verify(&nt("s3cret-pass"), b"LAB\\alice", &offer()));
    }

    #[test]
    fn another_name_or_password_is_refused() {
        assert_eq!(refused(verify(&nt("s3cret-pass"), b"Alice", &offer())), Why::WrongPassword);
        assert_eq!(refused(verify(&nt("s3cret-pass"), b"alice@lab", &offer())), Why::WrongPassword);
        assert_eq!(refused(verify(&nt("s3cret-pas"), b"alice", &offer())), Why::WrongPassword);
    }

    /// RFC 2548 §2.4.2 undone for the captured attributes: Salt, then Key-Length and key under MD5.
    fn unhidden(value: &str) -> Vec<u8> {
        let value = bytes(value);
        let (salt, hidden) = value.split_at(2);
        let mut before = [bytes("dba7ca84321c396a65cf08b86f476cfc").as_slice(), salt].concat();
        let mut plain = Vec::new();
        for block in hidden.chunks(16) {
            let pad = Md5::new().chain_update(b"lab-shared-secret").chain_update(&before).finalize();
            plain.extend(block.iter().zip(pad).map(|(a, b)| a ^ b));
            before = block.to_vec();
        }
        plain[1..=usize::from(plain[0])].to_vec()
    }

    #[test]
    fn mppe_keys_are_those_the_captured_accept_carried() {
        let proof = accepted(verify(&nt("s3cret-pass"), b"alice", &offer()));
        let Some(MppeKeys::V2 { send_key, recv_key }) = proof.mppe_keys() else { panic!("{proof:?}") };
        let recv = "868c d4cf dba1 9bd2 4ac1 682f 2115 aa5b 27fa 4ec4 499d 7f7d 62c7 695e b5e2 ab73 522e";
        let send = "8c03 34d3 57aa bd05 fc66 f68f 27fd 8e83 b9fb 61ee 91de 127a 5e39 0e80 278d ec4e 71e0";
        assert_eq!(send_key.as_slice(), unhidden(send));
        assert_eq!(recv_key.as_slice(), unhidden(recv));
    }
}

mod rfc2865 {
    use super::*;

    #[test]
    fn section_7_2_flopsy_is_accepted() {
        let authenticator = bytes("2a ee 86 f0 8d 0d 55 96 9c a5 97 8e 0d 33 67 a2");
        let chap_password = bytes("16 e9 75 57 c3 16 18 58 95 f2 93 ff 63 44 07 72 75");
        let method = Method::chap(&chap_password, &authenticator).unwrap();
        let proof = accepted(verify(&password("arctangent"), b"flopsy", &method));
        assert_eq!((proof.method(), proof.ms_chap2_success()), (MethodKind::Chap, None));
        assert!(proof.mppe_keys().is_none());
        assert_eq!(refused(verify(&password("arctangenT"), b"flopsy", &method)), Why::WrongPassword);
    }
}

mod rfc2433 {
    use super::*;

    fn response(flags: u8) -> Vec<u8> {
        let nt_response = bytes("4E 9D 3C 8F 9C FD 38 5D 5B F4 D3 24 67 91 95 6C A4 C3 51 AB 40 9A 3D 61");
        [&[9, flags], [0; 24].as_slice(), &nt_response].concat()
    }

    #[test]
    fn appendix_b_2_mypw_is_accepted_with_keys() {
        let method = Method::ms_chap_v1(&bytes("10 2D B5 DF 08 5D 30 41"), &response(1)).unwrap();
        assert_eq!(method.ms_chap_ident(), Some(9));
        let proof = accepted(verify(&nt("MyPw"), b"anybody", &method));
        assert!(matches!(proof.mppe_keys(), Some(MppeKeys::V1 { .. })));
        assert_eq!(proof.ms_chap2_success(), None);
        assert_eq!(refused(verify(&nt("MyPW"), b"anybody", &method)), Why::WrongPassword);
    }

    #[test]
    fn a_lan_manager_response_alone_proves_nothing() {
        let method = Method::ms_chap_v1(&bytes("10 2D B5 DF 08 5D 30 41"), &response(0)).unwrap();
        assert_eq!(refused(verify(&nt("MyPw"), b"anybody", &method)), Why::LmResponse);
    }
}

#[test]
fn argon2id_answers_pap_alone_and_says_so_to_the_operator() {
    let stored = Credential::Argon2id(hash_password(b"arctangent", &[7; 16], cheapest()).unwrap());
    let pap = Method::Pap { password: b"arctangent" };
    assert!(needs_slow_hash(&stored, &pap));
    accepted(verify(&stored, b"nemo", &pap));

    let chap = Method::chap(&[0; 17], b"challenge").unwrap();
    let v1 = Method::ms_chap_v1(&[0; 8], &[0; 50]).unwrap();
    let v2 = Method::ms_chap_v2(&[0; 16], &[0; 50]).unwrap();
    for method in [chap, v1, v2] {
        assert!(!needs_slow_hash(&stored, &method));
        let why = refused(verify(&stored, b"nemo", &method));
        assert_eq!(why, Why::CredentialCannot { method: method.kind(), credential: CredentialForm::Argon2id });
        assert_eq!(why.label(), "credential-cannot");
    }
    let why = refused(verify(&nt("arctangent"), b"nemo", &chap));
    assert_eq!(why.to_string(), "CHAP cannot be checked against a credential stored as nt-hash");
}

#[test]
fn octets_that_are_not_utf8_work_where_no_nt_hash_is_needed() {
    let latin1 = b"caf\xe9";
    let stored = Credential::Password(ClearPassword::new(latin1).unwrap());
    accepted(verify(&stored, b"nemo", &Method::Pap { password: latin1 }));
    let v2 = Method::ms_chap_v2(&[0; 16], &[0; 50]).unwrap();
    assert_eq!(refused(verify(&stored, b"nemo", &v2)), Why::NotUtf8);
    assert_eq!(refused(verify(&nt("café"), b"nemo", &Method::Pap { password: latin1 })), Why::NotUtf8);
}

/// What an honest peer with that password sends, one offer for each method.
fn honest<'a>(secret: &'a str, user: &str, challenge: &'a [u8; 16]) -> Vec<Method<'a>> {
    let hash = NtHash::of_password(secret.as_bytes()).unwrap();
    let v1_challenge = *challenge.first_chunk().unwrap();
    let peer_challenge = challenge.map(|octet| octet.wrapping_mul(7));
    let hashed = mschap::challenge_hash(&peer_challenge, challenge, user.as_bytes());
    let v1_response = PreparedNtHash::new(&hash).challenge_response(&v1_challenge);
    let v2_response = PreparedNtHash::new(&hash).challenge_response(&hashed);
    vec![
        Method::Pap { password: secret.as_bytes() },
        Method::Chap { id: 5, challenge, response: chap::response(5, secret.as_bytes(), challenge) },
        Method::MsChapV1 {
            challenge: v1_challenge,
            response: MsChapResponse { ident: 5, flags: 1, nt_response: v1_response },
        },
        Method::MsChapV2 {
            challenge: *challenge,
            response: MsChap2Response { ident: 5, flags: 0, peer_challenge, nt_response: v2_response },
        },
    ]
}

fn every_form(secret: &str) -> [Credential; 3] {
    [
        Credential::Argon2id(hash_password(secret.as_bytes(), &[7; 16], cheapest()).unwrap()),
        nt(secret),
        password(secret),
    ]
}

proptest! {
    #[test]
    fn the_right_password_is_accepted_by_every_form_that_can(
        secret in ".{1,40}", user in "[^\\\\]{0,20}", challenge: [u8; 16],
    ) {
        for credential in every_form(&secret) {
            for method in honest(&secret, &user, &challenge) {
                match verify(&credential, user.as_bytes(), &method) {
                    Verdict::Accepted(proof) => prop_assert_eq!(proof.method(), method.kind()),
                    Verdict::Refused(Why::CredentialCannot { .. }) => {}
                    Verdict::Refused(why) => prop_assert!(false, "{:?} with {:?}: {}", method, credential, why),
                }
            }
        }
    }

    #[test]
    fn another_password_is_refused_by_every_form(
        secret in ".{1,40}", other in ".{1,40}", user in "[^\\\\]{0,20}", challenge: [u8; 16],
    ) {
        prop_assume!(secret != other);
        for credential in every_form(&secret) {
            for method in honest(&other, &user, &challenge) {
                let verdict = verify(&credential, user.as_bytes(), &method);
                prop_assert!(
                    matches!(verdict, Verdict::Refused(Why::WrongPassword | Why::CredentialCannot { .. })),
                    "{:?}", verdict
                );
            }
        }
    }

    #[test]
    fn no_octets_make_it_panic_or_accept(
        first in prop::collection::vec(any::<u8>(), 0..60),
        second in prop::collection::vec(any::<u8>(), 0..60),
        user in prop::collection::vec(any::<u8>(), 0..60),
    ) {
        let offers = [
            Ok(Method::Pap { password: &first }),
            Method::chap(&first, &second),
            Method::ms_chap_v1(&first, &second),
            Method::ms_chap_v2(&first, &second),
        ];
        for method in offers.into_iter().flatten() {
            for credential in every_form("a password that no one guesses") {
                prop_assert!(matches!(verify(&credential, &user, &method), Verdict::Refused(_)));
            }
        }
    }

    #[test]
    fn responses_of_the_right_length_never_panic(
        response in prop::collection::vec(any::<u8>(), 50), challenge: [u8; 16],
        user in prop::collection::vec(any::<u8>(), 0..300),
    ) {
        let v1 = Method::ms_chap_v1(&challenge[..8], &response).unwrap();
        let v2 = Method::ms_chap_v2(&challenge, &response).unwrap();
        for method in [v1, v2] {
            for credential in every_form("a password that no one guesses") {
                prop_assert!(matches!(verify(&credential, &user, &method), Verdict::Refused(_)));
            }
        }
    }
}
