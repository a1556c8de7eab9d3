//! Any stream, cut anywhere: packets come out whole, one after the other, and the same however it was cut.
#![no_main]

use libfuzzer_sys::fuzz_target;
use radhold::net::radsec::{FrameError, Frames};
use radhold::radius::Packet;

/// The packets of a stream that arrives in pieces of that size, and how it ended.
fn packets(stream: &[u8], size: usize) -> (Vec<Vec<u8>>, Option<FrameError>, bool) {
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

fuzz_target!(|input: &[u8]| {
    let Some((&size, stream)) = input.split_first() else { return };
    let (whole, end, amid) = packets(stream, usize::MAX);
    assert_eq!(packets(stream, usize::from(size) + 1), (whole.clone(), end, amid));
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
});
