//! A time wheel: entries by the tick at which their time is over, in the order they came. Entering, leaving and finding the oldest
//! cost the same however many there are. Knows entries by number only, and ticks as numbers.

const NONE: u32 = u32::MAX;

/// How many ticks ahead an entry's time may end, this one included.
pub(super) const SLOTS: u64 = 256;

/// Entries by the end of their time.
#[derive(Debug)]
pub(super) struct Wheel {
    slots: Vec<Ends>,
    /// By entry.
    links: Vec<Link>,
    /// No entry's time is over before this tick.
    first: u64,
    len: usize,
}

/// First and last entry of a slot.
#[derive(Debug, Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
}

/// What stands before and behind an entry in its slot.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    before: u32,
    behind: u32,
    slot: u32,
}

impl Wheel {
    pub(super) fn new() -> Self {
        let empty = Ends { first: NONE, last: NONE };
        Self { slots: std::iter::repeat_n(empty, SLOTS as usize).collect(), links: Vec::new(), first: 0, len: 0 }
    }

    /// Enters an entry behind all others of its tick. The ticks of all that are in lie less than [`SLOTS`] apart.
    pub(super) fn enter(&mut self, entry: u32, tick: u64) {
        if self.len == 0 || tick < self.first {
            self.first = tick;
        }
        self.len += 1;
        let slot = slot_of(tick);
        let ends = &mut self.slots[slot as usize];
        let link = Link { before: ends.last, behind: NONE, slot };
        match std::mem::replace(&mut ends.last, entry) {
            NONE => ends.first = entry,
            last => self.links[last as usize].behind = entry,
        }
        match self.links.get_mut(entry as usize) {
            Some(place) => *place = link,
            // Numbers are given out one by one.
            None => self.links.push(link),
        }
    }

    /// Takes an entry out that is in.
    pub(super) fn leave(&mut self, entry: u32) {
        let Link { before, behind, slot } = self.links[entry as usize];
        match before {
            NONE => self.slots[slot as usize].first = behind,
            before => self.links[before as usize].behind = behind,
        }
        match behind {
            NONE => self.slots[slot as usize].last = before,
            behind => self.links[behind as usize].before = before,
        }
        self.len -= 1;
    }

    /// The entry whose time is over first: of those of the first tick, the one that came first.
    pub(super) fn oldest(&mut self) -> Option<u32> {
        if self.len == 0 {
            return None;
        }
        loop {
            match self.slots[slot_of(self.first) as usize].first {
                NONE => self.first += 1,
                entry => return Some(entry),
            }
        }
    }
}

fn slot_of(tick: u64) -> u32 {
    u32::try_from(tick % SLOTS).expect("below SLOTS")
}
