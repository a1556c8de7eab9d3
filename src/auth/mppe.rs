//! Keys for Microsoft Point-to-Point Encryption (RFC 3079), as RADIUS carries them: unhidden here, hidden by the wire.
//! Derives start keys only; the session keys that follow from them are the NAS's affair.

use std::fmt;

use sha1::{Digest as _, Sha1};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

use super::mschap::des_encrypt;
use super::{Credential, NtHash, PreparedNtHash};

/// What an Access-Accept gives the NAS to encrypt the link with. Prints nothing, is wiped on drop.
#[derive(Zeroize, ZeroizeOnDrop)]
pub enum MppeKeys {
    /// After MS-CHAPv1.
    V1 {
        /// The plain content of MS-CHAP-MPPE-Keys (RFC 2548 §2.4.1): 8 octets LM-Key, 16 octets NT-Key. The wire pads it
        /// to 32 and hides it as a User-Password.
        keys: [u8; 24],
    },
    /// After MS-CHAPv2.
    V2 {
        /// The key in MS-MPPE-Send-Key (RFC 2548 §2.4.2): for packets from the NAS to the peer.
        send_key: [u8; 16],
        /// The key in MS-MPPE-Recv-Key (RFC 2548 §2.4.3): for packets from the peer to the NAS.
        recv_key: [u8; 16],
    },
}

impl MppeKeys {
    /// The NT-Key is the hash of the NT hash, although RFC 2548 speaks of "the hashed Windows NT password": RFC 3079 §2.3
    /// starts from NtPasswordHashHash, a NAS has no other way to get it, every server sends it so, and the NT hash
    /// itself would hand the NAS a password.
    ///
    /// The LM-Key (RFC 3079 §2.1, §2.2: 40 and 56 bits) can be had from a clear password only; else it is zero and the
    /// link must use 128 bits.
    pub(super) fn for_v1(credential: &Credential, nt: &NtHash) -> Self {
        let mut keys = [0; 24];
        if let Credential::Password(password) = credential
            && let Some(lm) = lm_password_hash(password.expose())
        {
            keys[..8].copy_from_slice(&lm[..8]);
        }
        keys[8..].copy_from_slice(&nt.hash());
        Self::V1 { keys }
    }

    /// RFC 3079 §3.3. The NAS is the server side of the derivation, so its sending key is the one for `IsSend`,
    /// `IsServer`.
    pub(super) fn for_v2(nt: &PreparedNtHash, nt_response: &[u8; 24]) -> Self {
        let master = Zeroizing::new(master_key(nt.hash(), nt_response));
        Self::V2 { send_key: start_key(&master, SERVER_SENDS), recv_key: start_key(&master, SERVER_RECEIVES) }
    }
}

impl fmt::Debug for MppeKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V1 { .. } => "MppeKeys::V1(…)",
            Self::V2 { .. } => "MppeKeys::V2(…)",
        })
    }
}

/// Magic2 and Magic3 (RFC 3079 §3.4): which sentence is whose depends on the side; these are the server's names.
const SERVER_RECEIVES: &[u8; 84] =
    b"On the client side, this is the send key; on the server side, it is the receive key.";
const SERVER_SENDS: &[u8; 84] = b"On the client side, this is the receive key; on the server side, it is the send key.";

/// GetMasterKey (RFC 3079 §3.4).
fn master_key(hash_hash: &[u8; 16], nt_response: &[u8; 24]) -> [u8; 16] {
    const MAGIC_1: &[u8; 27] = b"This is the MPPE Master Key";
    first_16(Sha1::new().chain_update(hash_hash).chain_update(nt_response).chain_update(MAGIC_1))
}

/// GetAsymmetricStartKey for 16 octets (RFC 3079 §3.4).
fn start_key(master: &[u8; 16], sentence: &[u8; 84]) -> [u8; 16] {
    first_16(Sha1::new().chain_update(master).chain_update([0x00; 40]).chain_update(sentence).chain_update([0xF2; 40]))
}

fn first_16(hash: Sha1) -> [u8; 16] {
    let mut out = [0; 16];
    out.copy_from_slice(&hash.finalize()[..16]);
    out
}

/// LmPasswordHash (RFC 2433 §A.8). `None` where LAN Manager had none: over 14 characters, or outside ASCII, where its
/// OEM code page is anybody's guess.
fn lm_password_hash(password: &[u8]) -> Option<[u8; 16]> {
    if password.len() > 14 || !password.is_ascii() {
        return None;
    }
    let mut upper = Zeroizing::new([0_u8; 14]);
    upper[..password.len()].copy_from_slice(password);
    upper.make_ascii_uppercase();
    let mut hash = [0; 16];
    for (half, out) in upper.chunks_exact(7).zip(hash.chunks_exact_mut(8)) {
        out.copy_from_slice(&des_encrypt(b"KGS!@#$%", half));
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::super::ClearPassword;
    use super::super::tests::array;
    use super::*;

    const NT_RESPONSE: &str = "82 30 9E CD 8D 70 8B 5E A0 8F AA 39 81 CD 83 54 42 33 11 4A 3D 85 D6 DF";

    fn client_pass() -> NtHash {
        NtHash::of_password(b"clientPass").unwrap()
    }

    #[test]
    fn rfc3079_section_3_5_3_master_key() {
        let master = master_key(&client_pass().hash(), &array(NT_RESPONSE));
        assert_eq!(master, array("FD EC E3 71 7A 8C 83 8C B3 88 E5 27 AE 3C DD 31"));
    }

    #[test]
    fn rfc3079_section_3_5_3_send_start_key_128() {
        let keys = MppeKeys::for_v2(&PreparedNtHash::new(&client_pass()), &array(NT_RESPONSE));
        let MppeKeys::V2 { send_key, recv_key } = &keys else { panic!("{keys:?}") };
        assert_eq!(send_key, &array("8B 7C DC 14 9B 99 3A 1B A1 18 CB 15 3F 56 DC CB"));
        assert_ne!(send_key, recv_key);
    }

    /// §3.5.1 and §3.5.2: the 40- and 56-bit start keys are the same key's first 8 octets, which is why RADIUS carries
    /// 16 and the NAS cuts (RFC 2548 §2.4.2, implementation notes).
    #[test]
    fn rfc3079_sections_3_5_1_and_3_5_2_shorter_start_keys_are_prefixes() {
        let keys = MppeKeys::for_v2(&PreparedNtHash::new(&client_pass()), &array(NT_RESPONSE));
        let MppeKeys::V2 { send_key, .. } = &keys else { panic!("{keys:?}") };
        assert_eq!(send_key[..8], array::<8>("8B 7C DC 14 9B 99 3A 1B"));
    }

    #[test]
    fn rfc3079_section_2_5_1_lm_password_hash() {
        assert_eq!(lm_password_hash(b"clientPass"), Some(array("76 a1 52 93 60 96 d7 83 0e 23 90 22 74 04 af d2")));
        assert_eq!(lm_password_hash(b"fifteen letters"), None);
        assert_eq!(lm_password_hash("größe".as_bytes()), None);
    }

    #[test]
    fn rfc3079_sections_2_5_2_and_2_5_3_both_keys_of_ms_chap_mppe_keys() {
        let password = Credential::Password(ClearPassword::new("clientPass").unwrap());
        let keys = MppeKeys::for_v1(&password, &client_pass());
        let MppeKeys::V1 { keys: value } = &keys else { panic!("{keys:?}") };
        assert_eq!(value, &array("76 a1 52 93 60 96 d7 83 41 c0 0c 58 4b d2 d9 1c 40 17 a2 a1 2f a5 9f 3f"));
    }

    /// §2.5.3 from step 3: with what we hand over, a NAS arrives at the RFC's session key. (Its step 3 prints one octet
    /// of the initial key as `ca` and step 4 as `c1`; the outcome in step 5 follows from `c1`.)
    #[test]
    fn rfc3079_section_2_5_3_a_nas_gets_its_session_key_from_ours() {
        let keys = MppeKeys::for_v1(&Credential::NtHash(client_pass()), &client_pass());
        let MppeKeys::V1 { keys: value } = &keys else { panic!("{keys:?}") };
        assert_eq!(value[..8], [0; 8], "no LM hash without the password");
        let challenge: [u8; 8] = array("10 2d b5 df 08 5d 30 41");
        let initial = first_16(Sha1::new().chain_update(&value[8..]).chain_update(&value[8..]).chain_update(challenge));
        assert_eq!(initial, array("a8 94 78 50 cf c0 ac c1 d1 78 9f b6 2d dc dd b0"));
        let padded = Sha1::new().chain_update(initial).chain_update([0x00; 40]);
        let session = first_16(padded.chain_update(initial).chain_update([0xF2; 40]));
        assert_eq!(session, array("59 d1 59 bc 09 f7 6f 1d a2 a8 6a 28 ff ec 0b 1e"));
    }
}
