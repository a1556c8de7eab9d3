//! Sets the demo up: a temporary directory, the server, three users, the NAS. And takes it all down again.

use std::fs::DirBuilder;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::sync::mpsc;

use crate::app::{Server, chance, clock};
use crate::auth::{
    ClearPassword, Credential, CredentialError, NtHash, PasswordCost, SealingKey, StoredCredential, hash_password,
};
use crate::config::{Config, Flags, Setting, Surroundings};
use crate::model::{Secret, User};
use crate::session::Timing;
use crate::store::Store;
use crate::telemetry;

use super::nas::{Credentials, Seen, Settings, SimulatedNas};
use crate::cli::failure::Failure;

/// What begins the names of the environment that concern the log.
const LOG: &str = "RADHOLD_LOG__";

/// Everything the demo needs.
pub(super) struct Stage {
    /// How long a hold lasts.
    pub(super) window: Duration,
    /// The server's times.
    pub(super) timing: Timing,
    /// The NAS.
    pub(super) nas: SimulatedNas,
    server: Server,
    // Last, so that it is removed when nobody writes there any more.
    _directory: TemporaryDirectory,
}

/// Somebody who logs in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Person {
    /// User-Name.
    pub(super) name: &'static str,
    /// Calling-Station-Id: where they come from.
    pub(super) calling_station_id: &'static str,
    password: &'static str,
}

pub(super) const ALICE: Person =
    Person { name: "alice", calling_station_id: "192.0.2.11", password: "correct horse battery" };
pub(super) const BOB: Person = Person { name: "bob", calling_station_id: "198.51.100.22", password: "hunter2 hunter2" };
pub(super) const CAROL: Person = Person { name: "carol", calling_station_id: "203.0.113.33", password: "arctangent" };

impl Person {
    /// Each logs in by another method, and is stored in another form.
    pub(super) fn credentials(&self) -> Credentials {
        let password = self.password.to_owned();
        match self.name {
            "alice" => Credentials::MsChapV2(password),
            "bob" => Credentials::Pap(password),
            _ => Credentials::Chap(password),
        }
    }

    fn stored(&self) -> Result<Credential, CredentialError> {
        let password = self.password.as_bytes();
        match self.name {
            "alice" => Ok(Credential::NtHash(NtHash::of_password(password).expect("a constant of ASCII"))),
            "bob" => Ok(Credential::Argon2id(hash_password(password, &chance::octets(), PasswordCost::default())?)),
            _ => Ok(Credential::Password(ClearPassword::new(password)?)),
        }
    }
}

impl Stage {
    /// Starts everything; the NAS tells what it sees.
    pub(super) async fn set_up(window: Duration) -> Result<(Self, mpsc::UnboundedReceiver<Seen>), Failure> {
        let directory = TemporaryDirectory::make()?;
        let dynauth = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0))?;
        let secret = hex::encode(chance::octets::<16>());
        let config = configuration(&directory.0, window, dynauth.local_addr()?, &secret)?;
        let server = Server::start(&config).await?;
        for person in [ALICE, BOB, CAROL] {
            add_user(&**server.store(), &person, server.sealing_key()).await?;
        }
        let first = |addresses: &[SocketAddr]| {
            addresses.first().copied().ok_or_else(|| Failure::failed("the server listens nowhere"))
        };
        let settings = Settings {
            auth: first(server.auth())?,
            accounting: first(server.accounting())?,
            dynauth,
            secret: secret.into_bytes(),
            identifier: "demo-nas".to_owned(),
            retry_after: Duration::from_secs(2),
            access_tries: 3,
        };
        let (nas, seen) = SimulatedNas::start(settings)?;
        let timing = config.hold.timing;
        Ok((Self { window, timing, nas, server, _directory: directory }, seen))
    }

    /// Where the server takes Access-Requests.
    pub(super) fn auth(&self) -> SocketAddr {
        self.server.auth()[0]
    }

    /// Where the server takes Accounting-Requests.
    pub(super) fn accounting(&self) -> SocketAddr {
        self.server.accounting()[0]
    }

    /// The server's store, as an operator's command sees it.
    pub(super) fn store(&self) -> &dyn Store {
        &**self.server.store()
    }

    /// Takes everything down, the NAS first.
    pub(super) async fn strike(self) {
        drop(self.nas);
        self.server.stop().await;
    }
}

/// Sets the log up when the environment asks for one. Otherwise the timeline is all there is to see.
pub(super) fn log() -> Result<(), Failure> {
    let surroundings = surroundings(Path::new(""));
    if surroundings.variables.is_empty() {
        return Ok(());
    }
    let loaded = Config::load_in(&Flags::default(), &surroundings)?;
    telemetry::init(&loaded.config.log)?;
    Ok(())
}

fn configuration(directory: &Path, window: Duration, coa: SocketAddr, secret: &str) -> Result<Config, Failure> {
    let settings = [
        ("server.auth", "127.0.0.1:0".to_owned()),
        ("server.accounting", "127.0.0.1:0".to_owned()),
        ("hold.window", format!("{}s", window.as_secs())),
        ("hold.sandbox_filter", "sandbox".to_owned()),
        ("hold.permit_filter", "permit".to_owned()),
        ("nas.demo-nas.address", "127.0.0.1".to_owned()),
        ("nas.demo-nas.secret", secret.to_owned()),
        ("nas.demo-nas.coa_port", coa.port().to_string()),
    ];
    let settings = settings.into_iter().map(|(key, value)| Setting::new("the demo", key, value)).collect();
    Ok(Config::load_in(&Flags { config: None, settings }, &surroundings(directory))?.config)
}

/// What is set for the real server on this host does not concern the demo, but for the log.
fn surroundings(directory: &Path) -> Surroundings {
    let here = Surroundings::of_this_process();
    Surroundings {
        variables: here.variables.into_iter().filter(|(name, _)| name.starts_with(LOG)).collect(),
        default_file: None,
        state_dir: directory.to_owned(),
        host_name: "demo".to_owned(),
        cores: here.cores,
    }
}

async fn add_user(store: &dyn Store, person: &Person, key: &SealingKey) -> Result<(), Failure> {
    let stored = StoredCredential::seal(&person.stored()?, key, person.name, &chance::octets());
    let user = User::new(person.name, Secret::new(stored.to_text()), clock::now());
    Ok(store.add_user(&user).await?)
}

/// A directory only we can read, removed with all that is in it when dropped.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn make() -> io::Result<Self> {
        let path = std::env::temp_dir().join(format!("radhold-demo-{}", hex::encode(chance::octets::<8>())));
        DirBuilder::new().mode(0o700).create(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("radhold: {} stays behind: {error}", self.0.display());
        }
    }
}
