//! Files below a root, which is `/` or a tree that looks like it. Only reads.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

/// The files of a host.
#[derive(Debug, Clone)]
pub(super) struct Tree(PathBuf);

impl Tree {
    pub(super) fn new(root: &Path) -> Self {
        Self(root.to_owned())
    }

    /// Where a path of the host is for us; a leading slash is the root's.
    pub(super) fn path(&self, path: &str) -> PathBuf {
        self.0.join(path.trim_start_matches('/'))
    }

    pub(super) fn exists(&self, path: &str) -> bool {
        self.path(path).exists()
    }

    /// The text of a file; what is not UTF-8 in it is replaced. `None` when it cannot be read.
    pub(super) fn text(&self, path: &str) -> Option<String> {
        fs::read(self.path(path)).ok().map(|octets| String::from_utf8_lossy(&octets).into_owned())
    }

    /// The same without what surrounds it.
    pub(super) fn word(&self, path: &str) -> Option<String> {
        self.text(path).map(|text| text.trim().to_owned())
    }

    pub(super) fn mode(&self, path: &str) -> Option<u32> {
        fs::metadata(self.path(path)).ok().map(|file| file.permissions().mode() & 0o7777)
    }

    pub(super) fn is_executable(&self, path: &str) -> bool {
        self.path(path).is_file() && self.mode(path).is_some_and(|mode| mode & 0o111 != 0)
    }

    /// The names in a directory, in order.
    pub(super) fn names(&self, path: &str) -> Vec<String> {
        let mut names: Vec<_> = fs::read_dir(self.path(path))
            .into_iter()
            .flatten()
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .collect();
        names.sort();
        names
    }
}
