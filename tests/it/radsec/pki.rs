//! Certificates of a test's own, made when it runs.

use std::fs;
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, date_time_ymd,
};
use tempfile::TempDir;

/// A CA, and what it has signed, in files.
pub(super) struct Pki {
    dir: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate with its key, in PEM and in DER.
#[derive(Clone)]
pub(super) struct Identity {
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
    pub(super) der: Vec<u8>,
    pub(super) key_der: Vec<u8>,
}

impl Pki {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(vec![]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        // Two CAs of one name would be one that has changed its key.
        let name = format!("CA {}", dir.path().display());
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let certificate = params.self_signed(&key).unwrap();
        fs::write(dir.path().join("ca.pem"), certificate.pem()).unwrap();
        Self { dir, issuer: Issuer::new(params, key) }
    }

    /// The CA's certificate.
    pub(super) fn ca(&self) -> PathBuf {
        self.path("ca.pem")
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// A certificate for both sides, with these names.
    pub(super) fn sign(&self, name: &str, names: &[&str]) -> Identity {
        self.sign_with(name, names, |_| ())
    }

    /// One whose time is over.
    pub(super) fn sign_expired(&self, name: &str, names: &[&str]) -> Identity {
        self.sign_with(name, names, |params| {
            params.not_before = date_time_ymd(2020, 1, 1);
            params.not_after = date_time_ymd(2021, 1, 1);
        })
    }

    /// One that nobody vouches for.
    pub(super) fn self_signed(&self, name: &str, names: &[&str]) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params(name, names).self_signed(&key).unwrap();
        self.keep(name, &certificate.pem(), certificate.der(), &key)
    }

    fn sign_with(&self, name: &str, names: &[&str], change: impl Fn(&mut CertificateParams)) -> Identity {
        let key = KeyPair::generate().unwrap();
        let mut params = params(name, names);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        self.keep(name, &certificate.pem(), certificate.der(), &key)
    }

    fn keep(&self, name: &str, pem: &str, der: &[u8], key: &KeyPair) -> Identity {
        let [certificate, key_file] = ["pem", "key"].map(|kind| self.path(&format!("{name}.{kind}")));
        fs::write(&certificate, pem).unwrap();
        fs::write(&key_file, key.serialize_pem()).unwrap();
        Identity { certificate, key: key_file, der: der.to_vec(), key_der: key.serialize_der() }
    }

    /// `[radsec]` for a server with that certificate, on a port of its own.
    pub(super) fn section(&self, server: &Identity, more: &str) -> String {
        let [certificate, key, ca] = [&server.certificate, &server.key, &self.ca()].map(|path| text(path));
        format!(
            "[radsec]\nlisten = [\"127.0.0.1:0\"]\ncertificate = \"{certificate}\"\nkey = \"{key}\"\nclient_ca = \"{ca}\"\n{more}\n"
        )
    }
}

pub(super) fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

fn params(name: &str, names: &[&str]) -> CertificateParams {
    let mut params = CertificateParams::new(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>()).unwrap();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth, ExtendedKeyUsagePurpose::ServerAuth];
    params
}
