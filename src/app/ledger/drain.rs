//! From the spool to the store: in the order things came, at a bounded rate, between batches of new ones. What cannot be
//! understood is set aside, and blocks nothing. Knows how to read an entry, not what comes of it.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::super::{accounting, clock};
use super::committer::Item;
use super::keeper::{Keeper, within};
use super::ticket::{Done, Ticket};
use crate::radius::Packet;
use crate::session::Press;
use crate::spool::{AccountingPacket, Entry, Number, SpoolError};
use crate::store::OrderId;
use crate::telemetry;

/// Entries in the first batch.
const FIRST: u32 = 32;
/// Before another look when nothing could be moved.
const PAUSE: Duration = Duration::from_millis(500);
/// Before another look at what the store will not have in any form: somebody must mend it.
const LONG_PAUSE: Duration = Duration::from_secs(30);
/// One entry alone may take so many times as long as a batch: a store that is slow must not stand still.
const ALONE: u32 = 5;
/// How often it is said that sessions have not been heard in full yet.
const HEARING: Duration = Duration::from_secs(1);

/// How fast the spool empties.
pub(super) struct Drain {
    most: u32,
    /// Entries in the next batch: fewer when the store was slow with one, more when it was not.
    size: u32,
    rate: u32,
    next_at: Instant,
    /// The last entry that was looked at: what the store will not have is passed over until all others have been tried.
    last: Number,
    /// When it was last said that sessions have not been heard in full.
    heard_at: Instant,
}

impl Drain {
    pub(super) fn new(most: u32, rate: u32) -> Self {
        Self { most, size: FIRST.min(most), rate, next_at: Instant::now(), last: 0, heard_at: Instant::now() }
    }

    /// When the next batch may go.
    pub(super) fn next_at(&self) -> Instant {
        self.next_at
    }
}

impl Keeper {
    /// Moves a batch from the spool to the store, when it is time for one.
    pub(super) async fn drain_some(&mut self) {
        if self.spool.waiting() == 0 || Instant::now() < self.drain.next_at {
            return;
        }
        let begun = Instant::now();
        let taken = match self.spool.oldest(self.drain.last, self.drain.size).await {
            Ok(taken) if taken.is_empty() => {
                (self.drain.last, self.drain.next_at) = (0, begun + LONG_PAUSE);
                return;
            }
            Ok(taken) => taken,
            Err(SpoolError::Damaged(damage)) => return self.begin_anew(damage).await,
            Err(error) => {
                tracing::error!(%error, "the spool cannot be read; trying again");
                self.drain.next_at = begun + PAUSE;
                return;
            }
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
        let patience = if self.drain.size == 1 { self.after * ALONE } else { self.after };
        let done = within(patience, self.committer.keep(items)).await;
        let kept: Vec<Number> =
            tickets.iter().filter(|(_, ticket)| ticket.is_kept()).map(|(number, _)| *number).collect();
        if let Err(error) = self.spool.strike_off(&kept).await {
            tracing::error!(%error, "what the store has stays in the spool, and is brought again");
        }
        kept.iter().for_each(|_| telemetry::count("spool.drained"));
        let mut passed_over = self.drain.last;
        for (number, ticket) in &tickets {
            match ticket.refusal() {
                // It stays: what was acknowledged is given up by people alone.
                Some(_) if ticket.packet().is_some() => passed_over = *number,
                Some(reason) => self.set_aside(*number, &reason).await,
                None => (),
            }
        }
        let pause = Duration::from_secs(1) * u32::try_from(kept.len()).unwrap_or(u32::MAX) / self.drain.rate;
        self.drain.next_at = begun + if kept.is_empty() { PAUSE } else { pause };
        match done {
            Ok(()) => {
                self.drain.last = passed_over;
                // New records wait meanwhile: a batch should not take long.
                let took = begun.elapsed();
                if took > self.after / 4 {
                    self.drain.size = (self.drain.size / 2).max(1);
                } else if took < self.after / 16 {
                    self.drain.size = self.drain.size.saturating_mul(2).min(self.drain.most);
                }
                // While records wait here, no session is silent for that long; and from now on none wait.
                let empty = self.spool.waiting() == 0;
                if empty || self.drain.heard_at.elapsed() >= HEARING {
                    self.drain.heard_at = Instant::now();
                    self.committer.settings.listen_anew(clock::now());
                }
                if empty {
                    tracing::info!("the spool is empty");
                }
            }
            Err(trouble) => {
                self.drain.size = (self.drain.size / 2).max(1);
                self.store_is_away(&trouble);
            }
        }
    }

    async fn set_aside(&self, number: Number, reason: &str) {
        telemetry::count("spool.set-aside");
        tracing::error!(number, reason, "an entry of the spool is set aside (radhold spool)");
        if let Err(error) = self.spool.set_aside(number, reason).await {
            tracing::error!(number, %error, "it could not be set aside");
        }
    }

    /// What is to be done about an entry.
    fn item_of(&self, entry: Entry) -> Result<(Item, Arc<Ticket>), String> {
        match &entry {
            Entry::Accounting(_) => {
                let ticket = Ticket::new(Some(entry), Done::Nobody);
                Ok((self.accounting(&ticket), ticket))
            }
            Entry::Press { button, approver, presser, .. } => {
                let press: Press = self.unsealed(button, *approver, presser)?;
                let ticket = Ticket::new(None, Done::Nobody);
                Ok((Item::Press(press, Arc::clone(&ticket)), ticket))
            }
            Entry::Outcome { session, order, event, .. } => {
                let (session, event, settles) = (*session, (**event).clone(), Some(OrderId(*order)));
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
                Item::Accounting { nas: Arc::clone(nas), source: *source, request, ticket: Arc::clone(ticket) }
            }
            Err(error) => misfit(error.to_string()),
        }
    }
}
