//! Keeps the tables of usage and sessions in shape: months made ahead, old ones given up, and sessions that are long over removed when
//! the operator said so; codes that are over are forgotten; the outbox is kept small. Every node does it; the store sees to it that
//! doing it twice does nothing.

use std::sync::Arc;
use std::time::Duration;

use super::clock;
use super::settings::SettingsHandle;
use crate::model::Timestamp;
use crate::store::{Store, StoreError};
use crate::telemetry;

/// Months are made two ahead, so that this may be seldom.
const PERIOD: Duration = Duration::from_secs(3600);
/// How often it is looked whether the outbox has grown.
const ORDERS_PERIOD: Duration = Duration::from_secs(10);
/// What is over of codes is kept so long: to be looked at, and since clocks differ.
const CODES_SHOWN: Duration = Duration::from_secs(30 * 86_400);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(60);
/// Between two steps of removing sessions.
const BETWEEN: Duration = Duration::from_millis(100);

/// Works for ever. Drop the future to stop.
pub(super) async fn run(store: Arc<dyn Store>, settings: SettingsHandle) {
    tokio::join!(keep_in_shape(&*store, &settings), keep_small(&*store));
}

/// Where it fails autovacuum does it, later; and that the store is away is told by others.
async fn keep_small(store: &dyn Store) {
    loop {
        tokio::time::sleep(ORDERS_PERIOD).await;
        if let Err(error) = store.tidy_orders().await {
            tracing::debug!(%error, "the outbox is not tidied");
        }
    }
}

async fn keep_in_shape(store: &dyn Store, settings: &SettingsHandle) {
    loop {
        let pause = match once(store, settings).await {
            Ok(()) => PERIOD,
            Err(error) => {
                telemetry::count("store.failed");
                tracing::warn!(%error, "usage and sessions could not be kept in shape; trying again");
                PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn once(store: &dyn Store, settings: &SettingsHandle) -> Result<(), StoreError> {
    let now = clock::now();
    store.prepare_usage(now).await?;
    store.forget_codes(now.before(CODES_SHOWN)).await?;
    let settings = settings.current();
    // No report is believed to be later than that.
    store.forget_restarts(now.before(settings.clock.delay + settings.clock.skew)).await?;
    if let Some(keep) = settings.keep_intervals {
        retire_usage(store, now.before(keep)).await?;
    }
    if let Some(keep) = settings.keep_sessions {
        forget_sessions(store, now.before(keep)).await?;
    }
    Ok(())
}

/// Step by step, so that nobody who writes waits long.
async fn forget_sessions(store: &dyn Store, before: Timestamp) -> Result<(), StoreError> {
    while store.forget_sessions(before).await? {
        tokio::time::sleep(BETWEEN).await;
    }
    Ok(())
}

async fn retire_usage(store: &dyn Store, before: Timestamp) -> Result<(), StoreError> {
    while store.retire_usage(before).await? {
        telemetry::count("usage.month-summed-up");
        tracing::info!("usage older than accounting.keep_intervals was summed up by day");
    }
    Ok(())
}
