//! Any text as a dictionary: an error or a dictionary, never a panic and never without end.
#![no_main]

use libfuzzer_sys::fuzz_target;
use radhold::radius::dictionary::Dictionary;

fuzz_target!(|text: &str| {
    let _ = Dictionary::parse_str(text);
});
