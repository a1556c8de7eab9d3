//! Certificate, key and roots from files, and what they make of TLS. Read again when they change; connections that stand go on.
//!
//! Knows no RADIUS.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use sha2::{Digest as _, Sha256};
use tokio_rustls::rustls::client::WebPkiServerVerifier;
use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use tokio_rustls::rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use tokio_rustls::rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig,
    SignatureScheme,
};

use super::certificate::{Certificate, fingerprint};
use crate::config::TlsFiles;
use crate::model::{CertificateId, Timestamp};

/// Between looks at the files.
const LOOK: Duration = Duration::from_secs(2);

/// RFC 9765 §3.2: whoever speaks RADIUS/1.1 too learns that this is RADIUS/1.0.
const ALPN: &[u8] = b"radius/1.0";

/// Whether somebody is known by the certificate of this fingerprint (SHA-256), so that no root need vouch for it.
pub type IsPinned = dyn Fn(&[u8; 32]) -> bool + Send + Sync;

/// Why files make no TLS.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("{}: {problem}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What the system says.
        problem: std::io::Error,
    },
    /// A file does not hold what it should.
    #[error("{}: {problem}", path.display())]
    Content {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
}

/// Our certificate, our key and our roots, as they are now.
pub struct Credentials {
    files: TlsFiles,
    pinned: Arc<IsPinned>,
    now: Arc<RwLock<Arc<Material>>>,
}

/// What the files make.
struct Material {
    digest: [u8; 32],
    server: Arc<ServerConfig>,
    /// Asks the roots about clients.
    clients: Arc<dyn ClientCertVerifier>,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    roots: Arc<RootCertStore>,
    /// Of our own certificate.
    until: Timestamp,
}

impl Credentials {
    /// A client's certificate, the first of its chain, with what it is known by: its names when a root of ours vouches for them; one
    /// that is pinned may be of its owner's own making, and is known by its fingerprint alone. `None` when there is none to be read.
    ///
    /// How the handshake came to believe it is not asked: pins and roots may have changed since, and then the names count for nothing.
    pub(super) fn client_certificate(&self, chain: &[CertificateDer<'_>], now: Timestamp) -> Option<Certificate> {
        let (first, between) = chain.split_first()?;
        let certificate = Certificate::read(first)?;
        if (self.pinned)(&fingerprint(first)) {
            return Some(certificate);
        }
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs().try_into().unwrap_or_default()));
        let vouched = self.current().clients.verify_client_cert(first, between, now);
        Some(match vouched {
            Ok(proof) => certificate.vouched_for(&proof),
            Err(_) => certificate,
        })
    }

    /// Reads the files. A client whose certificate is `pinned` needs no root of ours.
    ///
    /// # Errors
    /// [`TlsError`]
    pub fn load(files: &TlsFiles, pinned: Arc<IsPinned>) -> Result<Self, TlsError> {
        let material = Material::read(files, &pinned)?;
        Ok(Self { files: files.clone(), pinned, now: Arc::new(RwLock::new(Arc::new(material))) })
    }

    /// Reads the files again when they have changed; says whether they had.
    ///
    /// # Errors
    /// [`TlsError`]; what was there before stays in force.
    pub fn refresh(&self) -> Result<bool, TlsError> {
        let digest = digest(&self.files)?;
        if digest == self.current().digest {
            return Ok(false);
        }
        let material = Material::read(&self.files, &self.pinned)?;
        *self.now.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(material);
        Ok(true)
    }

    /// Reads the files again whenever they change, for ever.
    pub async fn watch(self: Arc<Self>) {
        let mut complaint = String::new();
        loop {
            tokio::time::sleep(LOOK).await;
            match self.refresh() {
                Ok(true) => {
                    complaint.clear();
                    let until = self.until();
                    tracing::info!(certificate = %self.files.certificate.display(), %until,
                        "TLS files have changed; new connections use them");
                }
                Ok(false) => (),
                // A certificate and its key are seldom changed in one moment: what stays wrong is said.
                Err(error) => {
                    let error = error.to_string();
                    if error != complaint {
                        tracing::warn!(error, "TLS files have changed and cannot be used; those before stay in force");
                        complaint = error;
                    }
                }
            }
        }
    }

    /// Until when our own certificate is valid.
    pub fn until(&self) -> Timestamp {
        self.current().until
    }

    /// What a server speaks with.
    pub(super) fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current().server)
    }

    /// What a client speaks with to one of these.
    pub(super) fn client(&self, peers: &[CertificateId]) -> Result<Arc<ClientConfig>, Error> {
        let material = self.current();
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::clone(&material.roots), provider()).build();
        let inner = inner.map_err(|error| Error::General(error.to_string()))?;
        let verifier = Arc::new(ServerCheck { inner, peers: peers.to_vec() });
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(material.chain.clone(), material.key.clone_key())?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config))
    }

    fn current(&self) -> Arc<Material> {
        Arc::clone(&self.now.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Material {
    fn read(files: &TlsFiles, pinned: &Arc<IsPinned>) -> Result<Self, TlsError> {
        let digest = digest(files)?;
        let wrong = |path: &Path, problem: String| TlsError::Content { path: path.to_owned(), problem };
        let chain = certificates(&files.certificate)?;
        let ours = Certificate::read(&chain[0])
            .ok_or_else(|| wrong(&files.certificate, "the first certificate cannot be read".to_owned()))?;
        let key = PrivateKeyDer::from_pem_slice(&content(&files.key)?);
        let key = key.map_err(|error| wrong(&files.key, format!("no private key in PEM: {error}")))?;
        let mut roots = RootCertStore::empty();
        for root in certificates(&files.ca)? {
            roots.add(root).map_err(|error| wrong(&files.ca, format!("a root that cannot be one: {error}")))?;
        }
        let roots = Arc::new(roots);
        let verifier = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), provider()).build();
        let clients = verifier.map_err(|error| wrong(&files.ca, error.to_string()))?;
        let verifier = Arc::new(ClientCheck { inner: Arc::clone(&clients), pinned: Arc::clone(pinned) });
        let mut server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map(|builder| builder.with_client_cert_verifier(verifier))
            .and_then(|builder| builder.with_single_cert(chain.clone(), key.clone_key()))
            .map_err(|error| wrong(&files.key, format!("does not go with {}: {error}", files.certificate.display())))?;
        // A session that is resumed would skip the look at the certificate.
        server.session_storage = Arc::new(NoServerSessionStorage {});
        server.send_tls13_tickets = 0;
        server.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self { digest, server: Arc::new(server), clients, chain, key, roots, until: ours.until })
    }
}

/// Believes clients whom a root vouches for, and those who are pinned.
#[derive(Clone)]
struct ClientCheck {
    inner: Arc<dyn ClientCertVerifier>,
    pinned: Arc<IsPinned>,
}

impl fmt::Debug for ClientCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ClientCheck")
    }
}

impl ClientCertVerifier for ClientCheck {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        // A client that is pinned, with a certificate of its own making, must not be kept from showing it.
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.inner.verify_client_cert(end_entity, intermediates, now).or_else(|error| {
            if !(self.pinned)(&fingerprint(end_entity)) {
                return Err(error);
            }
            in_time(end_entity, now).map(|()| ClientCertVerified::assertion())
        })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Believes a server that a root vouches for under one of these names, or that has one of these fingerprints.
#[derive(Debug)]
struct ServerCheck {
    inner: Arc<WebPkiServerVerifier>,
    peers: Vec<CertificateId>,
}

impl ServerCertVerifier for ServerCheck {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _asked: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if self.peers.contains(&CertificateId::Sha256(fingerprint(end_entity))) {
            return in_time(end_entity, now).map(|()| ServerCertVerified::assertion());
        }
        let mut refused = Error::InvalidCertificate(CertificateError::NotValidForName);
        for name in self.peers.iter().filter_map(server_name) {
            match self.inner.verify_server_cert(end_entity, intermediates, &name, ocsp, now) {
                Ok(believed) => return Ok(believed),
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// The name a certificate is checked against; a fingerprint is none.
pub(super) fn server_name(id: &CertificateId) -> Option<ServerName<'static>> {
    match id {
        CertificateId::Dns(name) => ServerName::try_from(name.clone()).ok(),
        CertificateId::Ip(address) => Some(ServerName::IpAddress((*address).into())),
        CertificateId::Sha256(_) => None,
    }
}

fn in_time(der: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let certificate = Certificate::read(der).ok_or(Error::InvalidCertificate(CertificateError::BadEncoding))?;
    let now = Timestamp::from_secs(i64::try_from(now.as_secs()).unwrap_or(i64::MAX));
    match certificate.is_in_time(now) {
        true => Ok(()),
        false if now < certificate.from => Err(Error::InvalidCertificate(CertificateError::NotValidYet)),
        false => Err(Error::InvalidCertificate(CertificateError::Expired)),
    }
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let wrong = |problem: String| TlsError::Content { path: path.to_owned(), problem };
    let content = content(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&content).collect();
    match certificates {
        Ok(none) if none.is_empty() => Err(wrong("no certificate in PEM".to_owned())),
        Ok(certificates) => Ok(certificates),
        Err(error) => Err(wrong(format!("no certificate in PEM: {error}"))),
    }
}

fn content(path: &Path) -> Result<Vec<u8>, TlsError> {
    fs::read(path).map_err(|problem| TlsError::File { path: path.to_owned(), problem })
}

fn digest(files: &TlsFiles) -> Result<[u8; 32], TlsError> {
    let mut hash = Sha256::new();
    for path in [&files.certificate, &files.key, &files.ca] {
        hash.update(Sha256::digest(content(path)?));
    }
    Ok(hash.finalize().into())
}

#[cfg(test)]
mod tests {
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};
    use tempfile::TempDir;

    use super::*;

    /// A CA that vouches for names.
    struct Ca(Issuer<'static, KeyPair>);

    impl Ca {
        /// One whose certificate is in that file.
        fn new(path: &Path, name: &str) -> Self {
            let key = KeyPair::generate().unwrap();
            let mut params = CertificateParams::new(vec![]).unwrap();
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, name);
            fs::write(path, params.self_signed(&key).unwrap().pem()).unwrap();
            Self(Issuer::new(params, key))
        }

        fn sign(&self) -> (rcgen::Certificate, KeyPair) {
            let key = KeyPair::generate().unwrap();
            (params().signed_by(&key, &self.0).unwrap(), key)
        }
    }

    /// That of the NAS branch, whoever makes it.
    fn params() -> CertificateParams {
        let mut params = CertificateParams::new(vec!["branch.example.org".to_owned()]).unwrap();
        (params.not_before, params.not_after) = (date_time_ymd(2020, 1, 1), date_time_ymd(2030, 1, 1));
        params
    }

    #[test]
    fn names_count_only_while_a_root_vouches_for_them() {
        let dir = TempDir::new().unwrap();
        let path = |name: &str| dir.path().join(name);
        let files = TlsFiles { certificate: path("own.pem"), key: path("own.key"), ca: path("ca.pem") };
        let ca = Ca::new(&files.ca, "ours");
        let (own, key) = ca.sign();
        fs::write(&files.certificate, own.pem()).unwrap();
        fs::write(&files.key, key.serialize_pem()).unwrap();
        let (vouched, _) = ca.sign();
        let own_make = params().self_signed(&KeyPair::generate().unwrap()).unwrap();
        let foreign = Ca::new(&path("other.pem"), "another").sign().0;

        let pin = CertificateId::Sha256;
        let name: CertificateId = "dns:branch.example.org".parse().unwrap();
        let [in_time, late] = [1_700_000_000, 1_900_000_000].map(Timestamp::from_secs);
        let known_by = |credentials: &Credentials, certificate: &rcgen::Certificate, now| {
            let chain = [certificate.der().clone()];
            credentials.client_certificate(&chain, now).unwrap().ids().to_vec()
        };
        let fingerprint = |certificate: &rcgen::Certificate| pin(fingerprint(certificate.der()));

        let unpinned = Credentials::load(&files, Arc::new(|_| false)).unwrap();
        assert_eq!(known_by(&unpinned, &vouched, in_time), [name, fingerprint(&vouched)]);
        assert_eq!(known_by(&unpinned, &vouched, late), [fingerprint(&vouched)], "its time is over");
        // A pin that was taken away while it shook hands leaves its names to nobody.
        for stranger in [&own_make, &foreign] {
            assert_eq!(known_by(&unpinned, stranger, in_time), [fingerprint(stranger)]);
        }
        let pinned = Credentials::load(&files, Arc::new(|_| true)).unwrap();
        for certificate in [&vouched, &own_make, &foreign] {
            assert_eq!(known_by(&pinned, certificate, in_time), [fingerprint(certificate)]);
        }
        assert_eq!(unpinned.client_certificate(&[], in_time), None);
        // Nor does a root that we have believed and believe no more vouch for any.
        fs::copy(path("other.pem"), &files.ca).unwrap();
        assert!(unpinned.refresh().unwrap());
        assert_eq!(known_by(&unpinned, &vouched, in_time), [fingerprint(&vouched)]);
    }
}
