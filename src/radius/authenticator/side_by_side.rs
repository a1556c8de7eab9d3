//! MD5 (RFC 1321) of several messages side by side. Each step of MD5 waits for the one before, so that a core is mostly idle in it; eight
//! messages together take little longer than two one after the other. What is never one of several is left to the crate.

use std::num::Wrapping;
use std::ops::{Add, BitAnd, BitOr, BitXor, Not};

use wide::u32x8;

/// Messages side by side, at most.
pub(super) const WIDTH: usize = 8;

/// Octets of a block.
pub(super) const BLOCK: usize = 64;

/// Octets behind a message at least: one bit, and its length.
const PADDING: usize = 1 + 8;

/// What becomes of a message, block by block; and at the end its digest, in words.
pub(super) type State = [u32; 4];

/// Before the first block (RFC 1321 §3.3).
const START: State = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];

/// By how many bits each of the four steps of a round turns (RFC 1321 §3.4).
const TURNS: [[u32; 4]; 4] = [[7, 12, 17, 22], [5, 9, 14, 20], [4, 11, 16, 23], [6, 10, 15, 21]];

/// `floor(abs(sin(i + 1)) × 2³²)` (RFC 1321 §3.4).
const SINES: [u32; 64] = [
    0xd76a_a478,
    0xe8c7_b756,
    0x2420_70db,
    0xc1bd_ceee,
    0xf57c_0faf,
    0x4787_c62a,
    0xa830_4613,
    0xfd46_9501, //
    0x6980_98d8,
    0x8b44_f7af,
    0xffff_5bb1,
    0x895c_d7be,
    0x6b90_1122,
    0xfd98_7193,
    0xa679_438e,
    0x49b4_0821, //
    0xf61e_2562,
    0xc040_b340,
    0x265e_5a51,
    0xe9b6_c7aa,
    0xd62f_105d,
    0x0244_1453,
    0xd8a1_e681,
    0xe7d3_fbc8, //
    0x21e1_cde6,
    0xc337_07d6,
    0xf4d5_0d87,
    0x455a_14ed,
    0xa9e3_e905,
    0xfcef_a3f8,
    0x676f_02d9,
    0x8d2a_4c8a, //
    0xfffa_3942,
    0x8771_f681,
    0x6d9d_6122,
    0xfde5_380c,
    0xa4be_ea44,
    0x4bde_cfa9,
    0xf6bb_4b60,
    0xbebf_bc70, //
    0x289b_7ec6,
    0xeaa1_27fa,
    0xd4ef_3085,
    0x0488_1d05,
    0xd9d4_d039,
    0xe6db_99e5,
    0x1fa2_7cf8,
    0xc4ac_5665, //
    0xf429_2244,
    0x432a_ff97,
    0xab94_23a7,
    0xfc93_a039,
    0x655b_59c3,
    0x8f0c_cc92,
    0xffef_f47d,
    0x8584_5dd1, //
    0x6fa8_7e4f,
    0xfe2c_e6e0,
    0xa301_4314,
    0x4e08_11a1,
    0xf753_7e82,
    0xbd3a_f235,
    0x2ad7_d2bb,
    0xeb86_d391,
];

/// A message, or the rest of one.
#[derive(Clone, Copy)]
pub(super) struct Message<'a> {
    /// What became of the octets before.
    before: State,
    /// How many these were; whole blocks.
    octets_before: usize,
    octets: &'a [u8],
}

impl<'a> Message<'a> {
    /// A whole one.
    pub(super) fn whole(octets: &'a [u8]) -> Self {
        Self { before: START, octets_before: 0, octets }
    }

    /// What comes behind one block.
    pub(super) fn behind(block: State, octets: &'a [u8]) -> Self {
        Self { before: block, octets_before: BLOCK, octets }
    }

    fn blocks(&self) -> usize {
        (self.octets.len() + PADDING).div_ceil(BLOCK)
    }

    /// A block of it, padded where it has ended (RFC 1321 §3.1, §3.2).
    fn block(&self, number: usize) -> [u8; BLOCK] {
        let rest = &self.octets[(number * BLOCK).min(self.octets.len())..];
        if let Some(block) = rest.first_chunk() {
            return *block;
        }
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        if number == self.octets.len() / BLOCK {
            block[rest.len()] = 0x80;
        }
        if number + 1 == self.blocks() {
            let bits = (self.octets_before + self.octets.len()) as u64 * 8;
            block[BLOCK - 8..].copy_from_slice(&bits.to_le_bytes());
        }
        block
    }
}

/// What becomes of one block.
pub(super) fn after_block(block: &[u8; BLOCK]) -> State {
    let mut state = START.map(Wrapping);
    compress(&mut state, &words(block).map(Wrapping));
    state.map(|word| word.0)
}

/// The digest of one.
pub(super) fn digest(message: Message<'_>) -> State {
    let mut state = message.before.map(Wrapping);
    (0..message.blocks()).for_each(|number| compress(&mut state, &words(&message.block(number)).map(Wrapping)));
    state.map(|word| word.0)
}

/// Whether these take less together than one by one. Together they take as many steps as the longest, each of which is two and a half alone.
pub(super) fn is_shorter(messages: &[Message<'_>]) -> bool {
    let blocks = || messages.iter().map(Message::blocks);
    2 * blocks().sum::<usize>() > 5 * blocks().max().unwrap_or_default()
}

/// The digest of each.
pub(super) fn digests(messages: [Message<'_>; WIDTH]) -> [State; WIDTH] {
    let mut states = across(messages.map(|message| message.before));
    let blocks = messages.map(|message| message.blocks());
    let mut digests = [START; WIDTH];
    for number in 0..blocks.into_iter().max().unwrap_or_default() {
        // Of one that has ended nothing is wanted any more.
        compress(&mut states, &across(messages.map(|message| words(&message.block(number)))));
        let ended = states.map(u32x8::to_array);
        for (lane, digest) in digests.iter_mut().enumerate().filter(|(lane, _)| number + 1 == blocks[*lane]) {
            *digest = ended.map(|word| word[lane]);
        }
    }
    digests
}

/// A digest as it is written.
pub(super) fn octets(digest: State) -> [u8; 16] {
    let mut octets = [0; 16];
    octets.chunks_exact_mut(4).zip(digest).for_each(|(octets, word)| octets.copy_from_slice(&word.to_le_bytes()));
    octets
}

fn words(block: &[u8; BLOCK]) -> [u32; 16] {
    let (words, _) = block.as_chunks();
    std::array::from_fn(|word| u32::from_le_bytes(words[word]))
}

/// The same word of each together.
fn across<const WORDS: usize>(messages: [[u32; WORDS]; WIDTH]) -> [u32x8; WORDS] {
    std::array::from_fn(|word| u32x8::new(messages.each_ref().map(|message| message[word])))
}

/// A word, or one of each of several messages.
trait Word:
    Copy + Add<Output = Self> + BitAnd<Output = Self> + BitOr<Output = Self> + BitXor<Output = Self> + Not<Output = Self>
{
    fn of_all(word: u32) -> Self;
    fn turned(self, by: u32) -> Self;
}

impl Word for Wrapping<u32> {
    fn of_all(word: u32) -> Self {
        Self(word)
    }

    fn turned(self, by: u32) -> Self {
        Self(self.0.rotate_left(by))
    }
}

impl Word for u32x8 {
    fn of_all(word: u32) -> Self {
        Self::splat(word)
    }

    #[inline(always)]
    fn turned(self, by: u32) -> Self {
        (self << by) | (self >> (32 - by))
    }
}

/// One block (RFC 1321 §3.4).
#[inline(never)]
fn compress<W: Word>(state: &mut [W; 4], block: &[W; 16]) {
    let [mut a, mut b, mut c, mut d] = *state;
    macro_rules! step {
        ($round:literal, $mix:expr, $word:expr, $at:expr, $a:ident, $b:ident, $c:ident, $d:ident) => {
            let mixed = $a + $mix($b, $c, $d) + (block[($word) % 16] + W::of_all(SINES[16 * $round + $at]));
            $a = $b + mixed.turned(TURNS[$round][$at % 4]);
        };
    }
    // Which function, which word of the block comes first, and how many words further the next is. Written out, since by how many bits
    // something turns is part of an instruction.
    macro_rules! round {
        ($round:literal, $mix:expr, $first:literal, $apart:literal) => {
            round!($round, $mix, $first, $apart, 0, 4, 8, 12)
        };
        ($round:literal, $mix:expr, $first:literal, $apart:literal, $($at:literal),+) => {
            $(
                step!($round, $mix, $first + $apart * $at, $at, a, b, c, d);
                step!($round, $mix, $first + $apart * ($at + 1), ($at + 1), d, a, b, c);
                step!($round, $mix, $first + $apart * ($at + 2), ($at + 2), c, d, a, b);
                step!($round, $mix, $first + $apart * ($at + 3), ($at + 3), b, c, d, a);
            )+
        };
    }
    round!(0, |b: W, c: W, d: W| d ^ (b & (c ^ d)), 0, 1);
    round!(1, |b: W, c: W, d: W| c ^ (d & (b ^ c)), 1, 5);
    round!(2, |b: W, c: W, d: W| b ^ c ^ d, 5, 3);
    round!(3, |b: W, c: W, d: W| c ^ (b | !d), 0, 7);
    *state = [state[0] + a, state[1] + b, state[2] + c, state[3] + d];
}

#[cfg(test)]
mod tests {
    use md5::{Digest, Md5};
    use proptest::prelude::*;

    use super::*;

    fn one(octets: &[u8]) -> [u8; 16] {
        let alone = digest(Message::whole(octets));
        assert_eq!(digests([Message::whole(octets); WIDTH]), [alone; WIDTH]);
        self::octets(alone)
    }

    #[test]
    fn rfc1321_appendix_a_5_test_suite() {
        let suite: [(&[u8], u128); 7] = [
            (b"", 0xd41d8cd98f00b204e9800998ecf8427e),
            (b"a", 0x0cc175b9c0f1b6a831c399e269772661),
            (b"abc", 0x900150983cd24fb0d6963f7d28e17f72),
            (b"message digest", 0xf96b697d7cb7938d525a2f31aaf161d0),
            (b"abcdefghijklmnopqrstuvwxyz", 0xc3fcd3d76192e4007dfb496cca67e13b),
            (b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789", 0xd174ab98d277d9f5a5611c2c9f419d9f),
            (&b"1234567890".repeat(8), 0x57edf4a22be3c955ac49da2e2107b67a),
        ];
        for (message, digest) in suite {
            assert_eq!(one(message), digest.to_be_bytes());
        }
    }

    #[test]
    fn each_length_up_to_four_blocks() {
        let octets: Vec<u8> = (0..=255).collect();
        for length in 0..octets.len() {
            assert_eq!(one(&octets[..length]), <[u8; 16]>::from(Md5::digest(&octets[..length])), "{length}");
        }
    }

    proptest! {
        /// Whatever the others are, each is what it is alone; and behind a block that was hashed before.
        #[test]
        fn as_the_crate_has_it(messages in prop::array::uniform8(prop::collection::vec(any::<u8>(), 0..600)), block: [[u8; 32]; 2]) {
            let block: [u8; BLOCK] = block.concat().try_into().unwrap();
            let whole = digests(messages.each_ref().map(|message| Message::whole(message)));
            let behind = digests(messages.each_ref().map(|message| Message::behind(after_block(&block), message)));
            for (lane, message) in messages.iter().enumerate() {
                prop_assert_eq!(octets(whole[lane]), <[u8; 16]>::from(Md5::digest(message)));
                let both = Md5::new().chain_update(block).chain_update(message).finalize();
                prop_assert_eq!(octets(behind[lane]), <[u8; 16]>::from(both));
            }
        }
    }
}
