//! Accounting-Requests in work: from the door to the ledger, and back when they are kept. No task waits for one: whoever keeps a batch says so
//! of each, and one task answers all that were kept at about the same moment.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::{Door, settled, write_reply};
use crate::accounting::Status;
use crate::app::accounting;
use crate::app::ledger::{Asker, Job};
use crate::app::settings::Settings;
use crate::model::{Nas, Timestamp};
use crate::net::{PATIENCE, Replier, RequestKey};
use crate::radius::{Code, Packet, PacketBuilder, PreparedSecret};
use crate::spool::AccountingPacket;
use crate::telemetry;

/// Replies written before they leave: the first of many kept together need not wait for the last.
const AT_ONCE: usize = 128;

/// Requests that are kept and not answered yet, in the order in which they were kept.
#[derive(Debug, Default)]
pub(super) struct Answerable(Mutex<Vec<Record>>);

impl Answerable {
    /// Adds one; whether it is the first, so that somebody must be sent to answer.
    fn add(&self, record: Record) -> bool {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.push(record);
        records.len() == 1
    }

    fn take(&self) -> Vec<Record> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An Accounting-Request in work. Dropped without an answer, it is handled as new when it comes again.
#[derive(Debug)]
struct Record {
    door: Arc<Door>,
    nas: Arc<Nas>,
    datagram: Vec<u8>,
    /// Until it is answered.
    key: Option<RequestKey>,
    replier: Replier,
    _place: OwnedSemaphorePermit,
}

impl Asker for Record {
    fn kept(self: Box<Self>) {
        let door = Arc::clone(&self.door);
        if door.answerable.add(*self) {
            let runtime = door.runtime.clone();
            runtime.spawn(answer(First { door, waits: true }));
        }
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end("accounting.not-kept");
    }
}

impl Record {
    fn reply<'b>(&self, builder: &'b mut PacketBuilder, secret: &PreparedSecret) -> Result<&'b [u8], &'static str> {
        let request = Packet::parse(&self.datagram).map_err(|error| error.reason())?;
        write_reply(builder, Code::AccountingResponse, &request, &self.nas, secret)
    }

    /// Ends it without an answer, unless it has one.
    fn end(&mut self, label: &'static str) {
        if let Some(key) = self.key.take() {
            self.door.duplicates().forget(&key);
            telemetry::count(label);
        }
    }
}

impl Door {
    /// Hands an Accounting-Request to the ledger; else gives the label of its end.
    pub(super) fn record(
        self: &Arc<Self>,
        packet: &Packet<'_>,
        nas: &Arc<Nas>,
        key: RequestKey,
        (replier, place): (Replier, OwnedSemaphorePermit),
        (settings, received_at): (&Settings, Timestamp),
    ) -> Result<(), &'static str> {
        let source = replier.peer().ip().to_canonical();
        let request = match accounting::read(settings, nas, packet, received_at) {
            Ok(request) => Box::new(request),
            Err(error) => {
                self.complain(source, error.reason(), received_at, &error);
                return Err(error.reason());
            }
        };
        if request.status == Status::Start && request.classes.is_empty() {
            self.access.heard_without_class(&nas.name);
        }
        let room = self.ledger.room_for_one().map_err(|_| "accounting.overload")?;
        let datagram = packet.as_bytes().to_vec();
        let received = AccountingPacket { nas: nas.name.clone(), source, received_at, packet: datagram.clone() };
        let record =
            Record { door: Arc::clone(self), nas: Arc::clone(nas), datagram, key: Some(key), replier, _place: place };
        let asker = Box::new(record);
        room.send(Job::Accounting { nas: Arc::clone(nas), packet: Box::new(received), request, asker });
        Ok(())
    }
}

/// Whoever was kept first has all answered. Were that stopped before it has begun, nobody would be answered any more.
struct First {
    door: Arc<Door>,
    waits: bool,
}

impl Drop for First {
    fn drop(&mut self) {
        if self.waits {
            drop(self.door.answerable.take());
        }
    }
}

/// Answers what is kept by now. RFC 2866 §4.1: no response before the record is kept.
async fn answer(mut first: First) {
    first.waits = false;
    let mut kept = first.door.answerable.take().into_iter();
    // The system may have no room for so long, for all of them: whoever comes last would wait the longest.
    let until = Instant::now() + PATIENCE;
    while !kept.as_slice().is_empty() {
        let mut some: Vec<Record> = kept.by_ref().take(AT_ONCE).collect();
        let replies = write_replies(&mut some);
        Replier::send_all(replies, until, settled).await;
    }
}

/// Their replies, which repeats get too from now on.
fn write_replies(records: &mut [Record]) -> Vec<(Replier, Vec<u8>)> {
    let mut replies = Vec::with_capacity(records.len());
    let mut builder = PacketBuilder::request(Code::AccountingRequest, 0, [0; 16]);
    for of_one_nas in records.chunk_by_mut(|one, next| Arc::ptr_eq(&one.nas, &next.nas)) {
        let secret = PreparedSecret::new(of_one_nas[0].nas.secret.expose());
        for record in of_one_nas {
            match record.reply(&mut builder, &secret) {
                Ok(reply) => {
                    if let Some(key) = record.key.take() {
                        record.door.duplicates().answered(&key, reply);
                    }
                    replies.push((record.replier.clone(), reply.to_vec()));
                }
                Err(label) => record.end(label),
            }
        }
    }
    replies
}
