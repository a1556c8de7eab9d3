//! Why a server does not start or go on.

use std::io;
use std::net::SocketAddr;

use crate::app::keys::KeyError;
use crate::app::words::WordsError;
use crate::approver::telegram::TelegramError;
use crate::approver::webhook::WebhookError;
use crate::auth::CredentialError;
use crate::net::dynamic_authorization::SendError;
use crate::net::radsec::TlsError;
use crate::places::PlacesError;
use crate::spool::SpoolError;
use crate::store::StoreError;

/// Why a server does not start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The state directory cannot be made.
    #[error("state_dir {path}: {problem}")]
    StateDir {
        /// Which.
        path: String,
        /// What the system says.
        problem: io::Error,
    },
    /// A key cannot be read or made.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// The store cannot be opened.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The spool cannot be opened.
    #[error(transparent)]
    Spool(#[from] SpoolError),
    /// A dictionary or dialect is wrong.
    #[error(transparent)]
    Words(#[from] WordsError),
    /// A NAS's secret in the store cannot be opened.
    #[error("the secret of NAS {nas} in the store: {problem}")]
    NasSecret {
        /// Which.
        nas: String,
        /// Why.
        problem: CredentialError,
    },
    /// A NAS speaks a dialect that does not exist.
    #[error("NAS {nas} speaks the dialect {dialect:?}, which does not exist; there are {known}")]
    NoDialect {
        /// Which NAS.
        nas: String,
        /// What it says.
        dialect: String,
        /// What it could say.
        known: String,
    },
    /// The Telegram bot cannot be set up.
    #[error("telegram: {0}")]
    Telegram(#[from] TelegramError),
    /// The webhook cannot be set up.
    #[error("approver.webhook: {0}")]
    Webhook(#[from] WebhookError),
    /// A file of places cannot be used.
    #[error("places: {0}")]
    Places(#[from] PlacesError),
    /// A port cannot be listened on.
    #[error("cannot listen on UDP {address}: {problem}")]
    Bind {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        problem: io::Error,
    },
    /// A TCP port for RADIUS over TLS cannot be listened on.
    #[error("cannot listen on TCP {address}: {problem}")]
    BindTls {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        problem: io::Error,
    },
    /// The portal cannot be listened for.
    #[error("portal.listen: cannot listen on TCP {address}: {problem}")]
    BindPortal {
        /// Which.
        address: SocketAddr,
        /// What the system says.
        problem: io::Error,
    },
    /// Certificate, key or roots cannot be used.
    #[error("radsec: {0}")]
    Tls(#[from] TlsError),
    /// A configuration is not for this process: what it needs is set up at the start.
    #[error("{key} names {what}, which this process was started without; restart radhold, or take it out")]
    NotSetUp {
        /// Where it says so.
        key: String,
        /// What it names.
        what: String,
    },
    /// CoA-Requests cannot leave from where they should.
    #[error("CoA-Requests and Disconnect-Requests: {0}")]
    DynauthSource(#[from] SendError),
    /// A part of the server ended, which none should.
    #[error("a part of the server has ended by itself; see the log")]
    PartEnded,
    /// The system refuses something else.
    #[error(transparent)]
    System(#[from] io::Error),
}
