//! The two key files, and what they seal.
//!
//! A key that is not there is made: 32 random octets as 64 hexadecimal digits, readable by its owner alone. When several
//! processes start at once, one makes it and the others read that one.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use super::chance;
use crate::auth::{ClearPassword, Credential, CredentialError, SealingKey, StoredCredential};
use crate::model::{Nas, NasName, PreviousSecret, Secret};

/// Why there is no key.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file cannot be read, or made.
    #[error("key file {}: {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system says.
        problem: io::Error,
    },
    /// The file is there and is no key.
    #[error("key file {}: this is no key; it holds 64 hexadecimal digits or base64 of 32 octets", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
    },
}

/// The key that all nodes of a store share, for Class and buttons: 32 octets. Made when there is none.
///
/// # Errors
/// [`KeyError`]
pub fn cluster_key(path: &Path) -> Result<Secret, KeyError> {
    let key = sealing_key(path)?;
    // The same 32 octets in the same text; only their use differs.
    Ok(Secret::new(hex::decode(key.to_text().as_bytes()).expect("a key is written in hexadecimal")))
}

/// The key that passwords and NAS secrets are sealed with in the store. Made when there is none.
///
/// # Errors
/// [`KeyError`]
pub fn sealing_key(path: &Path) -> Result<SealingKey, KeyError> {
    let file_error = |problem| KeyError::File { path: path.to_owned(), problem };
    let text = match fs::read_to_string(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            make(path).map_err(file_error)?;
            fs::read_to_string(path).map_err(file_error)?
        }
        read => read.map_err(file_error)?,
    };
    if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
        tracing::warn!(path = %path.display(), "this key can be read by everybody on this host; chmod o-r it");
    }
    SealingKey::parse(&text).map_err(|_| KeyError::Malformed { path: path.to_owned() })
}

/// Seals the secret of a NAS for the store, bound to the NAS's name.
///
/// # Errors
/// [`CredentialError::EmptyPassword`] when the secret is empty.
pub fn seal_nas(nas: Nas, key: &SealingKey) -> Result<Nas, CredentialError> {
    let seal = |secret: &Secret, purpose: &str| {
        let secret = Credential::Password(ClearPassword::new(secret.expose())?);
        let sealed = StoredCredential::seal(&secret, key, purpose, &chance::octets());
        Ok::<_, CredentialError>(Secret::new(sealed.to_text()))
    };
    let secret = seal(&nas.secret, &purpose(&nas.name))?;
    let previous_secret = match nas.previous_secret {
        Some(previous) => {
            Some(PreviousSecret { secret: seal(&previous.secret, &previous_purpose(&nas.name))?, ..previous })
        }
        None => None,
    };
    Ok(Nas { secret, previous_secret, ..nas })
}

/// Opens the secret of a NAS from the store.
///
/// # Errors
/// [`CredentialError`] when it was sealed with another key or for another NAS, or is no sealed secret.
pub fn open_nas(nas: Nas, key: &SealingKey) -> Result<Nas, CredentialError> {
    let open = |secret: &Secret, purpose: &str| {
        let text = std::str::from_utf8(secret.expose()).map_err(|_| CredentialError::Malformed("not UTF-8"))?;
        match StoredCredential::parse(text)?.open(key, purpose)? {
            Credential::Password(secret) => Ok(Secret::new(secret.expose())),
            Credential::Argon2id(_) | Credential::NtHash(_) => {
                Err(CredentialError::Malformed("a NAS needs its secret itself, not a hash of it"))
            }
        }
    };
    let secret = open(&nas.secret, &purpose(&nas.name))?;
    let previous_secret = match nas.previous_secret {
        Some(previous) => {
            Some(PreviousSecret { secret: open(&previous.secret, &previous_purpose(&nas.name))?, ..previous })
        }
        None => None,
    };
    Ok(Nas { secret, previous_secret, ..nas })
}

/// What a NAS's secret is sealed for.
fn purpose(name: &NasName) -> String {
    format!("nas:{name}")
}

/// What the secret before it is sealed for.
fn previous_purpose(name: &NasName) -> String {
    format!("nas-previous:{name}")
}

/// Writes a new key beside the path and links it there, so that nobody ever reads half a key.
fn make(path: &Path) -> io::Result<()> {
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if !directory.exists() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let draft = directory.join(format!(".{name}.{}", hex::encode(chance::octets::<8>())));
    let written = write_draft(&draft).and_then(|()| match fs::hard_link(&draft, path) {
        // Somebody else was faster; theirs counts.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    });
    // A draft that stays behind is no harm, so the first error is the one to tell.
    let removed = fs::remove_file(&draft);
    written.and(removed)?;
    File::open(directory)?.sync_all()
}

fn write_draft(draft: &Path) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(draft)?;
    let key = SealingKey::from_bytes(chance::octets());
    file.write_all(key.to_text().as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nas(name: &str) -> Nas {
        Nas::new(name, "192.0.2.1/32".parse::<ipnet::IpNet>().unwrap(), Secret::new("xyzzy5461"))
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state/sealing.key");
        let made = sealing_key(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(path.parent().unwrap()).unwrap().permissions().mode() & 0o777, 0o700);
        assert_eq!(sealing_key(&path).unwrap().id(), made.id());
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft stays behind");
        let other = cluster_key(&dir.path().join("cluster.key")).unwrap();
        assert_eq!(other.expose().len(), 32);
        assert_ne!(hex::encode(other.expose()), *made.to_text());
    }

    #[test]
    fn all_who_start_at_once_get_the_same_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealing.key");
        let ids = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| sealing_key(&path).unwrap().id())).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(ids.iter().all(|id| *id == ids[0]));
    }

    #[test]
    fn a_file_that_is_no_key_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("sealing.key");
        fs::write(&path, "hello\n").unwrap();
        assert!(matches!(sealing_key(&path), Err(KeyError::Malformed { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "hello\n");
    }

    #[test]
    fn a_nas_secret_opens_for_its_nas_and_key_alone() {
        let key = SealingKey::from_bytes([1; 32]);
        let sealed = seal_nas(nas("edge"), &key).unwrap();
        assert!(!String::from_utf8_lossy(sealed.secret.expose()).contains("xyzzy"));
        assert_eq!(open_nas(sealed.clone(), &key).unwrap(), nas("edge"));
        let previous = Some(PreviousSecret { secret: Secret::new("old-one"), until: None });
        let two = seal_nas(Nas { previous_secret: previous.clone(), ..nas("edge") }, &key).unwrap();
        assert_ne!(two.previous_secret, previous);
        assert_eq!(open_nas(two, &key).unwrap(), Nas { previous_secret: previous, ..nas("edge") });
        assert!(open_nas(Nas { name: "core".into(), ..sealed.clone() }, &key).is_err());
        assert!(open_nas(sealed, &SealingKey::from_bytes([2; 32])).is_err());
    }
}
