//! Tries Accounting-Requests in quarantine again when an operator asks for it. Judges none of them: the ledger does, and puts
//! what still fits nowhere back with its new reason.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::accounting;
use super::ledger::{Job, Ledger};
use super::settings::SettingsHandle;
use crate::radius::Packet;
use crate::spool::AccountingPacket;
use crate::store::{QuarantineId, Quarantined, Store};
use crate::telemetry;

/// How soon it is noticed that somebody asks.
const PERIOD: Duration = Duration::from_secs(2);
/// Tried at once.
const BATCH: u32 = 64;

/// Works for ever. Drop the future to stop.
pub(super) async fn run(store: Arc<dyn Store>, ledger: Ledger, settings: SettingsHandle) {
    loop {
        tokio::time::sleep(PERIOD).await;
        // That the store is away is said elsewhere.
        for (id, misfit) in store.claim_quarantined(BATCH).await.unwrap_or_default() {
            if let Err(error) = again(&*store, &ledger, &settings, id, misfit).await {
                tracing::warn!(id = id.0, error, "an Accounting-Request stays in quarantine");
            }
        }
    }
}

async fn again(
    store: &dyn Store,
    ledger: &Ledger,
    settings: &SettingsHandle,
    id: QuarantineId,
    misfit: Quarantined,
) -> Result<(), String> {
    if bring(ledger, settings, misfit).await? {
        telemetry::count("quarantine.retried");
        store.drop_quarantined(&[id]).await.map_err(|error| error.to_string())?;
        return Ok(());
    }
    // Claimed by this node alone: so that some node tries it again, it must be asked for again.
    store.retry_quarantined(&[id], true).await.map_err(|error| error.to_string())?;
    Err("it was not kept; trying again".to_owned())
}

/// Whether the ledger has kept it; an error when it cannot even be read.
async fn bring(ledger: &Ledger, settings: &SettingsHandle, misfit: Quarantined) -> Result<bool, String> {
    let settings = settings.current();
    let nas = settings.nases.named(misfit.nas.as_str()).ok_or_else(|| format!("there is no NAS {}", misfit.nas))?;
    let packet = Packet::parse(&misfit.packet).map_err(|error| error.to_string())?;
    let request = accounting::read(&settings, nas, &packet, misfit.received_at).map_err(|error| error.to_string())?;
    let packet = Box::new(AccountingPacket {
        nas: misfit.nas.clone(),
        source: misfit.nas_address,
        received_at: misfit.received_at,
        packet: misfit.packet.clone(),
    });
    let (kept, is_kept) = oneshot::channel();
    let job = Job::Accounting { nas: Arc::clone(nas), packet, request: Box::new(request), asker: Box::new(kept) };
    Ok(ledger.try_send(job).is_ok() && is_kept.await.is_ok())
}
