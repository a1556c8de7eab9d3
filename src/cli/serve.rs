//! `radhold serve`

use clap::Args;

use crate::app;
use crate::config::{Config, Flags, Setting};
use crate::telemetry;

use super::failure::Failure;
use super::manual;

/// Run the server.
///
/// Receives Access-Requests and Accounting-Requests, asks approvers, and lifts or ends sessions by CoA-Request and
/// Disconnect-Request. With nothing configured it keeps an SQLite file, serves a NAS on loopback with a secret made for it, and
/// prints the next steps.
///
/// SIGTERM and SIGINT stop it: requests in work are answered first. SIGHUP makes it read its configuration again; one that is wrong
/// changes nothing and is complained of in the log. The log goes to standard error.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold serve\n  radhold serve --config ./radhold.toml\n  radhold serve --auth 0.0.0.0:1812 --accounting 0.0.0.0:1813 --log radhold=debug,info"
))]
pub(super) struct ServeArgs {
    /// Receive Access-Requests at this UDP address; may be repeated (server.auth).
    #[arg(long, value_name = "ADDRESS:PORT")]
    auth: Vec<String>,
    /// Receive Accounting-Requests at this UDP address; may be repeated (server.accounting).
    #[arg(long, value_name = "ADDRESS:PORT")]
    accounting: Vec<String>,
    /// What to log: error, warn, info, debug, trace; by module too (log.filter).
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
}

impl ServeArgs {
    /// What these flags say of the configuration.
    pub(super) fn settings(&self) -> Vec<Setting> {
        let mut settings = Vec::new();
        for (flag, key, addresses) in
            [("--auth", "server.auth", &self.auth), ("--accounting", "server.accounting", &self.accounting)]
        {
            if !addresses.is_empty() {
                settings.push(Setting::new(flag, key, addresses.join(",")));
            }
        }
        settings.extend(self.log.iter().map(|filter| Setting::new("--log", "log.filter", filter)));
        settings
    }
}

pub(super) fn run(flags: &Flags) -> Result<(), Failure> {
    let loaded = Config::load(flags)?;
    let _log = telemetry::init_beside(&loaded.config.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    Ok(runtime.block_on(app::serve(loaded, || Config::load(flags)))?)
}
