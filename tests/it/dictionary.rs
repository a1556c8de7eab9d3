//! Our dictionaries beside Debian's `freeradius-common`, which must load whole.

use std::path::Path;
use std::sync::OnceLock;

use radhold::radius::dictionary::Dictionary;

const DEBIAN: &str = "/usr/share/freeradius/dictionary";

fn debian() -> &'static Dictionary {
    static SET: OnceLock<Dictionary> = OnceLock::new();
    SET.get_or_init(|| {
        assert!(Path::new(DEBIAN).exists(), "{DEBIAN} is missing: install the Debian package freeradius-common");
        Dictionary::load(Path::new(DEBIAN), |path| std::fs::read_to_string(path))
            .unwrap_or_else(|error| panic!("{error}"))
    })
}

#[test]
fn debians_set_loads_whole() {
    let set = debian();
    assert!(set.attributes().count() > 7000, "{}", set.attributes().count());
}
