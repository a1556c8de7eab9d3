//! From the spool to the store: presses and outcomes first, else in the order things came, at a bounded rate, between batches of
//! new ones. What cannot be understood is set aside, what the store is slow with is tried beside the rest, and neither blocks
//! anything. Knows how to read an entry, not what comes of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::super::{accounting, clock};
use super::committer::Item;
use super::flight::Next;
use super::keeper::{Keeper, within};
use super::pace::Pace;
use super::ticket::{Done, Ticket};
use crate::radius::Packet;
use crate::session::Press;
use crate::spool::{AccountingPacket, Entry, Number, SpoolError};
use crate::store::OrderId;
use crate::telemetry;

/// Entries in the first batch.
const FIRST: usize = 32;
/// Before another look when nothing could be moved.
const PAUSE: Duration = Duration::from_millis(500);
/// Before another look at what the store will not have in any form: somebody must mend it.
const LONG_PAUSE: Duration = Duration::from_secs(30);
/// Before another try of one that the store was slow with; doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// The same, at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);
/// One entry alone, beside the others, may take so many times as long as a batch: a store that is slow must not stand still.
const ALONE: u32 = 5;
/// How often it is said that sessions have not been heard in full yet.
const HEARING: Duration = Duration::from_secs(1);
/// A spool that has not become emptier for so long is stuck rather than draining.
const STANDSTILL: Duration = Duration::from_secs(60);
/// Between two looks whether somebody has put entries back.
const LOOK: Duration = Duration::from_secs(5);

/// How fast the spool empties.
pub(super) struct Drain {
    /// Entries in the next batch.
    pace: Pace,
    rate: u32,
    next_at: Instant,
    /// All has been looked at, and the next look is some time off.
    rests: bool,
    /// The last entry that was looked at: what the store will not have is passed over until all others have been tried.
    last: Number,
    /// When it was last said that sessions have not been heard in full.
    heard_at: Instant,
    /// When the store last took something.
    moved_at: Instant,
    /// The same among presses and outcomes, while there may be some that were not tried since the store is back: these go first.
    urgent: Option<Number>,
    /// Entries the store did not keep in time though it was there: when each is tried again, and how long it waited last.
    put_off: BTreeMap<Number, (Instant, Duration)>,
    alone: Option<Alone>,
}

/// An entry that was too slow for its place in a batch. Nobody waits for it.
struct Alone {
    number: Number,
    ticket: Arc<Ticket>,
    work: JoinHandle<Result<(), String>>,
}

impl Drain {
    pub(super) fn new(most: u32, rate: u32, patience: Duration) -> Self {
        Self {
            pace: Pace::new(FIRST, most as usize, patience),
            rate,
            next_at: Instant::now(),
            rests: false,
            last: 0,
            heard_at: Instant::now(),
            moved_at: Instant::now(),
            urgent: Some(0),
            put_off: BTreeMap::new(),
            alone: None,
        }
    }

    /// When the next batch may go.
    pub(super) fn next_at(&self) -> Instant {
        self.next_at
    }

    /// The store is back: all is looked at from the beginning.
    pub(super) fn begin(&mut self) {
        (self.next_at, self.last, self.urgent, self.rests) = (Instant::now(), 0, Some(0), false);
        self.moved_at = self.next_at;
    }

    /// The file is another: a number in hand may be another entry's.
    pub(super) fn begin_anew(&mut self) {
        self.alone = None;
        self.put_off.clear();
        self.begin();
    }

    /// More has come behind what waits, and is looked at in its turn; presses and outcomes go first.
    pub(super) fn follow(&mut self, with_urgent: bool, was_empty: bool) {
        if was_empty {
            self.moved_at = Instant::now();
        }
        if with_urgent && self.urgent.is_none() {
            self.urgent = Some(0);
        }
        if std::mem::take(&mut self.rests) || self.urgent.is_some() {
            self.next_at = self.next_at.min(Instant::now());
        }
    }

    /// Whether the store took something not long ago: what it will not have for longer than that keeps nobody from being silent.
    pub(super) fn has_lately_moved(&self) -> bool {
        self.moved_at.elapsed() < STANDSTILL
    }

    /// Whether presses or outcomes may wait that would change what a deadline does.
    pub(super) fn is_urgent(&self) -> bool {
        self.urgent.is_some()
    }

    fn passes_over(&self, number: Number, now: Instant) -> bool {
        self.alone.as_ref().is_some_and(|alone| alone.number == number)
            || self.put_off.get(&number).is_some_and(|(until, _)| *until > now)
    }

    fn put_off(&mut self, number: Number) {
        let pause = self.put_off.get(&number).map_or(FIRST_PAUSE, |(_, pause)| (*pause * 2).min(LONGEST_PAUSE));
        self.put_off.insert(number, (Instant::now() + pause, pause));
        tracing::warn!(number, ?pause, "the store does not keep an entry of the spool in time; others go before it");
    }

    /// How long until one that was put off may be tried.
    fn soonest(&self, now: Instant) -> Duration {
        let waits = self.put_off.values().map(|(until, _)| until.saturating_duration_since(now));
        waits.min().map_or(LONG_PAUSE, |soonest| soonest.clamp(PAUSE, LONG_PAUSE))
    }

    fn looked_at(&mut self, number: Number) {
        match &mut self.urgent {
            Some(last) => *last = number,
            None => self.last = number,
        }
    }
}

impl Keeper {
    /// Moves a batch from the spool to the store, when it is time for one.
    pub(super) async fn drain_some(&mut self) {
        self.settle_alone().await;
        if Instant::now() < self.drain.next_at {
            return;
        }
        let begun = Instant::now();
        if self.spool.waiting() == 0 {
            self.drain.urgent = None;
            self.drain.put_off.clear();
            (self.drain.next_at, self.drain.rests) = (begun + LOOK, true);
            match self.spool.recount().await {
                Ok(0) => return,
                // Somebody put entries back. They take their turn.
                Ok(_) => return self.drain.begin(),
                Err(SpoolError::Damaged(damage)) => return self.begin_anew(damage).await,
                Err(error) => return tracing::warn!(%error, "the spool cannot be read; trying again"),
            }
        }
        let size = u32::try_from(self.drain.pace.size()).unwrap_or(u32::MAX);
        let taken = match self.drain.urgent {
            Some(after) => self.spool.urgent(after, size).await,
            None => self.spool.oldest(self.drain.last, size).await,
        };
        let mut taken = match taken {
            Ok(taken) if taken.is_empty() => {
                if self.drain.urgent.take().is_none() {
                    let pause = if self.drain.alone.is_some() { PAUSE } else { self.drain.soonest(begun) };
                    (self.drain.last, self.drain.next_at, self.drain.rests) = (0, begun + pause, true);
                }
                return;
            }
            Ok(taken) => taken,
            Err(SpoolError::Damaged(damage)) => {
                self.drain.next_at = begun + PAUSE;
                return self.begin_anew(damage).await;
            }
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read; trying again");
                self.drain.next_at = begun + PAUSE;
                return;
            }
        };
        let looked_at = taken.last().map_or(0, |(number, _)| *number);
        let fetched = taken.len();
        taken.retain(|(number, _)| !self.drain.passes_over(*number, begun));
        let passes_over = taken.len() < fetched;
        if taken.is_empty() {
            return self.drain.looked_at(looked_at);
        }
        let alone = match &taken[..] {
            [(number, Ok(entry))] => Some((*number, entry.clone())),
            _ => None,
        };
        let (mut items, mut tickets) = (Vec::with_capacity(taken.len()), Vec::with_capacity(taken.len()));
        for (number, entry) in taken {
            match entry.and_then(|entry| self.item_of(entry)) {
                Ok((item, ticket)) => {
                    items.push(item);
                    tickets.push((number, ticket));
                }
                Err(reason) => self.set_aside(number, &reason).await,
            }
        }
        let (count, sent) = (items.len(), Instant::now());
        let done = within(self.after, self.committer.keep(items, &Next::unasked())).await;
        let took = sent.elapsed();
        let kept = self.strike_off(&tickets).await;
        let mut refused = None;
        for (number, ticket) in &tickets {
            match ticket.refusal() {
                // It stays: what was acknowledged is given up by people alone.
                Some(_) if ticket.packet().is_some() => refused = Some(*number),
                Some(reason) => self.set_aside(*number, &reason).await,
                None => (),
            }
        }
        let pause = Duration::from_secs(1) * kept / self.drain.rate;
        self.drain.next_at = begun + if kept == 0 { PAUSE } else { pause };
        match done {
            Ok(()) => {
                if passes_over {
                    self.drain.looked_at(looked_at);
                } else if let Some(number) = refused {
                    self.drain.looked_at(number);
                }
                // New records wait meanwhile: a batch should not take long.
                self.drain.pace.kept(count, took);
                // While records wait here, no session is silent for that long; and from now on none wait.
                let empty = self.spool.waiting() == 0;
                if empty || self.drain.has_lately_moved() && self.drain.heard_at.elapsed() >= HEARING {
                    self.drain.heard_at = Instant::now();
                    self.committer.settings.listen_anew(clock::now());
                }
                if empty {
                    tracing::info!("the spool is empty");
                }
            }
            Err(trouble) => {
                self.drain.pace.failed(count);
                // One entry that waits for somebody's lock is no reason to send all others to the spool.
                match timeout(self.after, self.committer.store.ping()).await {
                    Ok(Ok(())) => {
                        telemetry::count("spool.slow");
                        tracing::warn!(trouble, "the store is there, but does not keep a batch from the spool");
                        if let Some((number, entry)) = alone {
                            self.try_alone(number, entry);
                        }
                    }
                    _ => self.store_is_away(&trouble),
                }
            }
        }
    }

    /// Takes from the spool what the store has kept; how many entries.
    async fn strike_off(&mut self, tickets: &[(Number, Arc<Ticket>)]) -> u32 {
        let kept: Vec<Number> =
            tickets.iter().filter(|(_, ticket)| ticket.is_kept()).map(|(number, _)| *number).collect();
        if kept.is_empty() {
            return 0;
        }
        match self.spool.strike_off(&kept).await {
            Ok(()) => self.look_for_room().await,
            Err(error) => tracing::error!(%error, "what the store has stays in the spool, and is brought again"),
        }
        self.drain.moved_at = Instant::now();
        for number in &kept {
            telemetry::count("spool.drained");
            self.drain.put_off.remove(number);
        }
        u32::try_from(kept.len()).unwrap_or(u32::MAX)
    }

    /// Has an entry tried beside the others, with more time, or later when another is.
    fn try_alone(&mut self, number: Number, entry: Entry) {
        if self.drain.alone.is_some() {
            return self.drain.put_off(number);
        }
        let Ok((item, ticket)) = self.item_of(entry) else { return };
        let (committer, patience) = (Arc::clone(&self.committer), self.after * ALONE);
        let work = tokio::spawn(async move { within(patience, committer.keep(vec![item], &Next::unasked())).await });
        self.drain.alone = Some(Alone { number, ticket, work });
    }

    /// Sees to what became of the entry that was tried alone.
    async fn settle_alone(&mut self) {
        let Some(Alone { number, ticket, .. }) = self.drain.alone.take_if(|alone| alone.work.is_finished()) else {
            return;
        };
        if self.strike_off(&[(number, Arc::clone(&ticket))]).await > 0 {
            return;
        }
        match ticket.refusal() {
            Some(reason) if ticket.packet().is_none() => self.set_aside(number, &reason).await,
            _ => self.drain.put_off(number),
        }
    }

    async fn set_aside(&self, number: Number, reason: &str) {
        match self.spool.set_aside(number, reason).await {
            Ok(()) => {
                telemetry::count("spool.set-aside");
                tracing::error!(number, reason, "an entry of the spool is set aside (radhold spool)");
            }
            Err(error) => tracing::error!(number, reason, %error, "an entry of the spool cannot be set aside"),
        }
    }

    /// What is to be done about an entry.
    fn item_of(&self, entry: Entry) -> Result<(Item, Arc<Ticket>), String> {
        match &entry {
            Entry::Accounting(_) => {
                let ticket = Ticket::new(Some(entry), Done::Nobody);
                Ok((self.accounting(&ticket), ticket))
            }
            Entry::Press { button, approver, chat, presser, .. } => {
                let press: Press = self.unsealed(button, *approver, chat.as_deref(), presser)?;
                let ticket = Ticket::new(None, Done::Nobody);
                Ok((Item::Press(press, Arc::clone(&ticket)), ticket))
            }
            Entry::Outcome { session, order, event, .. } => {
                let (session, event, settles) = (*session, event.clone(), Some(OrderId(*order)));
                let ticket = Ticket::new(None, Done::Nobody);
                Ok((Item::Fact { session, event, settles, ticket: Arc::clone(&ticket) }, ticket))
            }
        }
    }

    /// Reads an Accounting-Request as it would have been read when it came. What cannot be read now (its NAS is gone) is for
    /// quarantine, since it was acknowledged.
    fn accounting(&self, ticket: &Arc<Ticket>) -> Item {
        let misfit = |reason: String| Item::Misfit(Arc::clone(ticket), reason);
        let Some(AccountingPacket { nas, source, received_at, packet }) = ticket.packet() else {
            return misfit("this is no Accounting-Request".to_owned());
        };
        let settings = self.committer.settings.current();
        let Some(nas) = settings.nases.named(nas.as_str()) else {
            return misfit(format!("there is no NAS {nas} any more"));
        };
        let packet = match Packet::parse(packet) {
            Ok(packet) => packet,
            Err(error) => return misfit(error.to_string()),
        };
        match accounting::read(&settings, nas, &packet, *received_at) {
            Ok(request) => {
                Item::accounting(&settings.class_key, Arc::clone(nas), *source, Box::new(request), Arc::clone(ticket))
            }
            Err(error) => misfit(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A drain that has looked at all there was, and looks again some time from now.
    fn resting() -> Drain {
        let mut drain = Drain::new(64, 1000, Duration::from_secs(1));
        (drain.urgent, drain.rests, drain.next_at) = (None, true, Instant::now() + LONG_PAUSE);
        drain
    }

    #[test]
    fn what_comes_wakes_a_drain_that_rests() {
        let mut drain = resting();
        drain.follow(false, false);
        assert!(drain.next_at() <= Instant::now() && !drain.rests && !drain.is_urgent());
    }

    #[test]
    fn what_comes_while_it_works_takes_its_turn() {
        let mut drain = resting();
        let later = Instant::now() + LONG_PAUSE;
        (drain.rests, drain.next_at, drain.last) = (false, later, 17);
        drain.follow(false, false);
        assert_eq!((drain.next_at(), drain.last), (later, 17), "at its pace, and from where it was");
        drain.follow(true, false);
        assert!(drain.is_urgent() && drain.next_at() <= Instant::now(), "presses and outcomes wait for nobody");
        drain.urgent = Some(5);
        drain.follow(true, false);
        assert_eq!(drain.urgent, Some(5), "nor are those begun anew that were looked at already");
    }

    #[test]
    fn a_spool_that_was_empty_has_not_stood_still() {
        let mut drain = resting();
        drain.moved_at = Instant::now() - STANDSTILL * 2;
        drain.follow(false, false);
        assert!(!drain.has_lately_moved());
        drain.follow(false, true);
        assert!(drain.has_lately_moved());
    }
}
