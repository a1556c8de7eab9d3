//! The texts under `dictionaries/`, built into the program.

use std::io;
use std::path::Path;

use super::{Dictionary, DictionaryError, load};

/// Name of the root file, and the prefix the files have in messages.
const ROOT: &str = "dictionaries/dictionary";

macro_rules! files {
    ($($name:literal)*) => {
        &[$((concat!("dictionaries/", $name), include_str!(concat!("../../../dictionaries/", $name)))),*]
    };
}

pub(super) const FILES: &[(&str, &str)] = files![
    "dictionary"
    "dictionary.accel-ppp"
    "dictionary.accounting"
    "dictionary.aruba"
    "dictionary.ascend"
    "dictionary.cisco"
    "dictionary.core"
    "dictionary.digest"
    "dictionary.dsl"
    "dictionary.dynauth"
    "dictionary.eap"
    "dictionary.extended"
    "dictionary.extensions"
    "dictionary.huawei"
    "dictionary.ieee8021"
    "dictionary.ipv6"
    "dictionary.juniper"
    "dictionary.location"
    "dictionary.management"
    "dictionary.microsoft"
    "dictionary.mikrotik"
    "dictionary.mobility"
    "dictionary.redback"
    "dictionary.roaringpenguin"
    "dictionary.ruckus"
    "dictionary.tunnel"
    "dictionary.wispr"
];

pub(super) fn load() -> Result<Dictionary, DictionaryError> {
    let mut dictionary = Dictionary::new();
    load::file(&mut dictionary, Path::new(ROOT), &mut |path| {
        FILES
            .iter()
            .find(|(name, _)| Path::new(name) == path)
            .map(|(_, text)| (*text).to_owned())
            .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "not among the embedded files"))
    })?;
    Ok(dictionary)
}
