//! Keeps the table of usage in shape: months made ahead, and old ones given up when the operator said so. Forgets codes that are over. Every node does it;
//! the store sees to it that doing it twice does nothing.

use std::sync::Arc;
use std::time::Duration;

use super::clock;
use super::settings::SettingsHandle;
use crate::store::{Store, StoreError};
use crate::telemetry;

/// Months are made two ahead, so that this may be seldom.
const PERIOD: Duration = Duration::from_secs(3600);
/// What is over of codes is kept so long: to be looked at, and since clocks differ.
const CODES_SHOWN: Duration = Duration::from_secs(30 * 86_400);
/// After a failure.
const PAUSE: Duration = Duration::from_secs(60);

/// Works for ever. Drop the future to stop.
pub(super) async fn run(store: Arc<dyn Store>, settings: SettingsHandle) {
    loop {
        let pause = match once(&*store, settings.current().keep_intervals).await {
            Ok(()) => PERIOD,
            Err(error) => {
                telemetry::count("store.failed");
                tracing::warn!(%error, "the table of usage could not be kept in shape; trying again");
                PAUSE
            }
        };
        tokio::time::sleep(pause).await;
    }
}

async fn once(store: &dyn Store, keep: Option<Duration>) -> Result<(), StoreError> {
    let now = clock::now();
    store.prepare_usage(now).await?;
    store.forget_codes(now.before(CODES_SHOWN)).await?;
    let Some(keep) = keep else { return Ok(()) };
    while store.retire_usage(now.before(keep)).await? {
        telemetry::count("usage.month-summed-up");
        tracing::info!("usage older than accounting.keep_intervals was summed up by day");
    }
    Ok(())
}
