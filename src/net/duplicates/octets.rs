//! Replies in blocks that are used again and again: what was kept once leaves room for what comes later, and nothing is asked of the
//! allocator when there is a free block. Knows nothing of whose a reply is.

/// Octets of a block; a reply takes as many as it needs, the last one in part.
pub(super) const BLOCK: usize = 64;
const NONE: u32 = u32::MAX;

/// Octets kept, in chains of blocks.
#[derive(Debug)]
pub(super) struct Octets {
    blocks: Vec<[u8; BLOCK]>,
    /// By block, the one after it: of its reply, or of those that are free.
    next: Vec<u32>,
    free: u32,
    used: usize,
}

/// Where a reply is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stored {
    first: u32,
    octets: u32,
}

impl Octets {
    pub(super) const fn new() -> Self {
        Self { blocks: Vec::new(), next: Vec::new(), free: NONE, used: 0 }
    }

    /// How much memory a reply of so many octets takes.
    pub(super) const fn cost(octets: usize) -> usize {
        octets.div_ceil(BLOCK) * (BLOCK + size_of::<u32>())
    }

    /// How much memory all of them take.
    pub(super) const fn used(&self) -> usize {
        self.used * (BLOCK + size_of::<u32>())
    }

    /// Keeps a reply.
    pub(super) fn keep(&mut self, reply: &[u8]) -> Stored {
        let mut first = NONE;
        // From its end, so that each block knows the one after it.
        for part in reply.chunks(BLOCK).rev() {
            let block = self.take_block();
            self.blocks[block as usize][..part.len()].copy_from_slice(part);
            self.next[block as usize] = first;
            first = block;
        }
        Stored { first, octets: u32::try_from(reply.len()).expect("a reply has at most 4096 octets (RFC 2865 §3)") }
    }

    /// Writes a reply to `into`, in the place of what is there.
    pub(super) fn read(&self, stored: Stored, into: &mut Vec<u8>) {
        into.clear();
        let (mut block, mut rest) = (stored.first, stored.octets as usize);
        while block != NONE {
            let part = rest.min(BLOCK);
            into.extend_from_slice(&self.blocks[block as usize][..part]);
            rest -= part;
            block = self.next[block as usize];
        }
    }

    /// Gives a reply's blocks back.
    pub(super) fn forget(&mut self, stored: Stored) {
        let mut block = stored.first;
        while block != NONE {
            let next = self.next[block as usize];
            self.next[block as usize] = self.free;
            self.free = block;
            self.used -= 1;
            block = next;
        }
    }

    fn take_block(&mut self) -> u32 {
        self.used += 1;
        match self.free {
            NONE => {
                self.blocks.push([0; BLOCK]);
                self.next.push(NONE);
                u32::try_from(self.blocks.len() - 1).expect("bounded by memory, far below 2³² blocks")
            }
            block => {
                self.free = self.next[block as usize];
                block
            }
        }
    }
}
