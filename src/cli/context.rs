//! What commands need: configuration, the store, keys and words, each opened when it is asked for.

use std::path::PathBuf;
use std::sync::Arc;

use crate::app::{self, keys};
use crate::auth::SealingKey;
use crate::config::{Config, DEFAULT_FILE, Flags, Loaded, Log, LogFormat};
use crate::dialect::Dialects;
use crate::radius::dictionary::Dictionary;
use crate::store::Store;
use crate::telemetry;

use super::failure::Failure;

/// The configuration, and ways to what it names.
pub(super) struct Context {
    pub(super) config: Config,
    /// The file it was read from; `None` when there was none.
    file: Option<PathBuf>,
}

impl Context {
    pub(super) fn load(flags: &Flags) -> Result<Self, Failure> {
        let Loaded { config, sources, .. } = Config::load(flags)?;
        // A command is not the server: it says only what somebody must do.
        let log = Log { filter: "error,radhold=warn".to_owned(), format: LogFormat::Text };
        telemetry::init(&log).map_err(|error| Failure::failed(error.to_string()))?;
        Ok(Self { config, file: sources.file })
    }

    /// What was read, for whoever misses a setting there.
    pub(super) fn read_from(&self) -> String {
        match &self.file {
            Some(file) => format!("{} was read", file.display()),
            None => format!("no file was read: name it by --config or RADHOLD_CONFIG, or put it at {DEFAULT_FILE}"),
        }
    }

    /// The store, its schema up to date.
    pub(super) async fn store(&self) -> Result<Arc<dyn Store>, Failure> {
        let store = app::open_store(&self.config).await?;
        store.migrate().await?;
        Ok(store)
    }

    pub(super) fn sealing_key(&self) -> Result<SealingKey, Failure> {
        Ok(keys::sealing_key(&self.config.keys.sealing_file)?)
    }

    pub(super) fn dictionary(&self) -> Result<Dictionary, Failure> {
        Ok(app::dictionary(self.config.dictionary.as_deref())?)
    }

    pub(super) fn dialects(&self) -> Result<Dialects, Failure> {
        Ok(app::dialects(self.config.dialects.as_deref(), &self.dictionary()?)?)
    }
}
