//! Where one packet ends and the next begins in a stream (RFC 6613 §2.6.1): by the Length of each. Pure; knows no socket, and of a
//! packet nothing but its header.

use crate::radius::MAX_PACKET;

/// Code, Identifier, Length, authenticator (RFC 2865 §3).
const HEADER: usize = 20;

/// Octets of a stream, and how far they have been taken.
#[derive(Debug, Default)]
pub struct Frames {
    octets: Vec<u8>,
    taken: usize,
}

/// The stream cannot be followed any further: where the next packet begins is not known (RFC 6613 §2.6.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a packet says that it has {0} octets, and none has fewer than 20 or more than 4096")]
pub struct FrameError(pub u16);

impl Frames {
    /// Adds what was read. Take all packets there are before: so never more is held than was read at once, and one packet.
    pub fn add(&mut self, read: &[u8]) {
        self.octets.drain(..self.taken);
        self.taken = 0;
        self.octets.extend_from_slice(read);
    }

    /// The next packet that is there as a whole.
    ///
    /// # Errors
    /// [`FrameError`], and from then on always.
    pub fn take(&mut self) -> Result<Option<&[u8]>, FrameError> {
        let rest = &self.octets[self.taken..];
        let Some(&[_, _, high, low]) = rest.first_chunk() else { return Ok(None) };
        let length = u16::from_be_bytes([high, low]);
        let octets = usize::from(length);
        if !(HEADER..=MAX_PACKET).contains(&octets) {
            return Err(FrameError(length));
        }
        if rest.len() < octets {
            return Ok(None);
        }
        let from = self.taken;
        self.taken += octets;
        Ok(Some(&self.octets[from..self.taken]))
    }

    /// Whether a packet has begun and not ended.
    pub fn is_amid(&self) -> bool {
        self.taken < self.octets.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn packet(length: u16, filling: u8) -> Vec<u8> {
        let mut packet = vec![filling; usize::from(length)];
        packet[2..4].copy_from_slice(&length.to_be_bytes());
        packet
    }

    #[test]
    fn rfc_6613_section_2_6_4_a_length_that_cannot_be_ends_it() {
        for length in [0, 1, 19, 4097, u16::MAX] {
            let mut frames = Frames::default();
            frames.add(&packet(20, 1));
            frames.add(&[1, 2]);
            frames.add(&length.to_be_bytes());
            assert_eq!(frames.take().unwrap(), Some(&packet(20, 1)[..]));
            assert_eq!(frames.take(), Err(FrameError(length)));
            assert_eq!(frames.take(), Err(FrameError(length)));
        }
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in_however_they_were_cut(
            lengths in prop::collection::vec(20u16..=4096, 1..12),
            cuts in prop::collection::vec(1usize..3000, 1..40),
        ) {
            let packets: Vec<_> = lengths.iter().zip(1..).map(|(length, filling)| packet(*length, filling)).collect();
            let stream = packets.concat();
            let (mut frames, mut seen, mut rest) = (Frames::default(), Vec::new(), &stream[..]);
            for cut in cuts.iter().cycle() {
                let (now, later) = rest.split_at((*cut).min(rest.len()));
                frames.add(now);
                while let Some(packet) = frames.take().unwrap() {
                    seen.push(packet.to_vec());
                }
                prop_assert!(frames.octets.len() <= 4096 + 3000);
                rest = later;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(seen, packets);
            prop_assert!(!frames.is_amid());
        }
    }
}
