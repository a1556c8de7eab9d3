//! `radhold migrate`

use clap::Args;

use super::context::Context;
use super::failure::Failure;
use super::{manual, output};

/// Bring the store's schema up to date.
///
/// `serve` and all commands that use the store do this by themselves; this is for those who want it done beforehand, or by a
/// database role with more rights. Several may run at once. Running it again changes nothing.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold migrate\n  radhold migrate --store sqlite:///srv/radhold/radhold.sqlite\n  RADHOLD_STORE__URL_FILE=/run/secrets/admin-url radhold migrate"
))]
pub(super) struct MigrateArgs {}

pub(super) async fn run(context: &Context) -> Result<(), Failure> {
    context.store().await?;
    output::print(&format!("the schema of {} is up to date", context.config.store.url))
}
