//! The files of pppd's `radius.so`, read as it reads them (ppp 2.4.9), and what it would stumble over. Pure.

use std::collections::{BTreeMap, BTreeSet};

/// The longest secret pppd keeps; it cuts the rest.
pub(super) const SECRET_MOST: usize = 48;

/// The longest line of its `servers` file.
const SERVERS_LINE_MOST: usize = 126;

/// The longest name in its dictionary.
const NAME_MOST: usize = 32;

/// Types its dictionary knows.
const TYPES: [&str; 7] = ["string", "integer", "ipaddr", "date", "ifid", "ipv6addr", "ipv6prefix"];

/// What it must find in the dictionary for MS-CHAPv2 with MPPE, as vendor and number.
const NEEDED: [(u32, u32, &str); 20] = [
    (0, 1, "User-Name"),
    (0, 4, "NAS-IP-Address"),
    (0, 5, "NAS-Port"),
    (0, 6, "Service-Type"),
    (0, 7, "Framed-Protocol"),
    (0, 8, "Framed-IP-Address"),
    (0, 11, "Filter-Id"),
    (0, 18, "Reply-Message"),
    (0, 25, "Class"),
    (0, 27, "Session-Timeout"),
    (0, 31, "Calling-Station-Id"),
    (0, 32, "NAS-Identifier"),
    (0, 40, "Acct-Status-Type"),
    (0, 44, "Acct-Session-Id"),
    (311, 7, "MS-MPPE-Encryption-Policy"),
    (311, 11, "MS-CHAP-Challenge"),
    (311, 16, "MS-MPPE-Send-Key"),
    (311, 17, "MS-MPPE-Recv-Key"),
    (311, 25, "MS-CHAP2-Response"),
    (311, 26, "MS-CHAP2-Success"),
];

/// `radiusclient.conf`: its settings, and what is wrong with its form.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Settings {
    pub(super) values: BTreeMap<String, String>,
    pub(super) problems: Vec<String>,
}

/// Reads `radiusclient.conf`.
pub(super) fn settings(text: &str) -> Settings {
    let mut read = Settings::default();
    if !text.is_empty() && !text.ends_with('\n') {
        read.problems.push("its last line has no newline, so its last character is cut".to_owned());
    }
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let number = number + 1;
        let Some((key, value)) = line.split_once([' ', '\t']).filter(|(key, _)| !key.is_empty()) else {
            read.problems.push(format!("line {number} is not \"key value\" from its first column on"));
            continue;
        };
        let value = value.trim_start();
        if value.contains('#') || value.ends_with([' ', '\t']) {
            read.problems.push(format!("line {number}: blanks and comments behind a value belong to the value"));
        }
        read.values.insert(key.to_owned(), value.trim_end().to_owned());
    }
    for key in ["authserver", "acctserver", "servers", "dictionary", "mapfile", "seqfile"] {
        if read.values.get(key).is_none_or(String::is_empty) {
            read.problems.push(format!("{key} is missing"));
        }
    }
    for key in ["radius_timeout", "radius_retries"] {
        if read.number(key).is_none_or(|number| number == 0) {
            read.problems.push(format!("{key} is missing, or no number above 0"));
        }
    }
    read
}

impl Settings {
    pub(super) fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(String::as_str).filter(|value| !value.is_empty())
    }

    pub(super) fn number(&self, key: &str) -> Option<u64> {
        self.get(key)?.parse().ok()
    }

    /// How long pppd waits for an answer, in seconds.
    pub(super) fn patience(&self) -> Option<u64> {
        Some(self.number("radius_timeout")?.saturating_mul(self.number("radius_retries")?))
    }

    /// The hosts of `authserver` or `acctserver`, without their ports.
    pub(super) fn hosts(&self, key: &str) -> BTreeSet<&str> {
        let listed = self.get(key).unwrap_or_default().split([',', ' ', '\t']).filter(|host| !host.is_empty());
        listed.map(|host| host.split(':').next().unwrap_or(host)).collect()
    }
}

/// The secrets in the `servers` file by host, and what is wrong with it.
pub(super) fn secrets(text: &str) -> (BTreeMap<String, String>, Vec<String>) {
    let (mut secrets, mut problems) = (BTreeMap::new(), Vec::new());
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.starts_with('#')) {
        let mut words = line.split_whitespace();
        let (Some(host), secret) = (words.next(), words.next()) else { continue };
        let Some(secret) = secret else {
            problems.push(format!("line {}: {host} has no secret", number + 1));
            continue;
        };
        if line.len() > SERVERS_LINE_MOST {
            problems.push(format!("line {} has more than {SERVERS_LINE_MOST} characters", number + 1));
        }
        if secret.len() > SECRET_MOST {
            problems.push(format!("the secret of {host} has more than {SECRET_MOST} characters; pppd cuts it"));
        }
        secrets.entry(host.to_owned()).or_insert_with(|| secret.to_owned());
    }
    (secrets, problems)
}

/// What `radius.so` would stumble over in a dictionary, the first of it; and what it lacks.
pub(super) fn dictionary(text: &str) -> Vec<String> {
    let mut vendors = BTreeMap::new();
    let mut known = BTreeSet::new();
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<_> = line.split_whitespace().collect();
        let wrong = |what: &str| vec![format!("line {}: {what}; radius.so reads no further", number + 1)];
        if words.iter().skip(1).any(|word| word.len() > NAME_MOST) {
            return wrong("a name is longer than 32 characters");
        }
        let number = |word: &str| word.parse::<u32>().ok();
        match words.as_slice() {
            ["VENDOR", name, code, ..] => match number(code) {
                Some(code) => drop(vendors.insert((*name).to_owned(), code)),
                None => return wrong("a vendor without number"),
            },
            ["ATTRIBUTE", _, code, kind, rest @ ..] => {
                let (Some(code), true) = (number(code), TYPES.contains(kind)) else {
                    return wrong("not a number, or not a type it knows");
                };
                let vendor = match rest {
                    [] => 0,
                    [vendor, ..] => match vendors.get(*vendor) {
                        Some(vendor) => *vendor,
                        None => return wrong("an unknown vendor"),
                    },
                };
                known.insert((vendor, code));
            }
            ["VALUE", _, _, value, ..] if number(value).is_some() => {}
            ["INCLUDE", path, ..] if path.starts_with('/') => {
                // What is in there may have all that is missed here.
                return Vec::new();
            }
            ["ATTRIBUTE" | "VALUE" | "VENDOR" | "INCLUDE", ..] => return wrong("not of the form it knows"),
            // It passes over what begins with another word.
            _ => {}
        }
    }
    let missing: Vec<_> = NEEDED
        .iter()
        .filter(|(vendor, code, _)| !known.contains(&(*vendor, *code)))
        .map(|(_, _, name)| *name)
        .collect();
    if missing.is_empty() { Vec::new() } else { vec![format!("{} missing", missing.join(", "))] }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONF: &str = include_str!("../../../pppd/files/etc/radiusclient/radiusclient.conf");
    const DICTIONARY: &str = include_str!("../../../pppd/files/etc/radiusclient/dictionary");

    #[test]
    fn what_we_ship_is_sound() {
        let shipped = settings(CONF);
        assert_eq!(shipped.problems, Vec::<String>::new());
        assert_eq!(shipped.patience(), Some(12));
        assert_eq!(shipped.hosts("authserver").into_iter().collect::<Vec<_>>(), ["127.0.0.1"]);
        assert_eq!(dictionary(DICTIONARY), Vec::<String>::new());
    }

    #[test]
    fn the_reader_is_crude_and_we_say_so() {
        let cut = settings(&format!("{CONF}bindaddr 127.0.0.1"));
        assert_eq!(cut.problems, ["its last line has no newline, so its last character is cut"]);
        let comment = settings(&CONF.replace("radius_timeout 3", "radius_timeout 3 # seconds"));
        assert!(comment.problems[0].contains("behind a value"), "{comment:?}");
        let indented = settings(&format!("{CONF} bindaddr 127.0.0.1\n"));
        assert!(indented.problems[0].contains("first column"), "{indented:?}");
        let nothing = settings("");
        assert_eq!(nothing.problems.len(), 8);
    }

    #[test]
    fn secrets_that_pppd_cuts_are_found() {
        let long = "x".repeat(49);
        let (secrets, problems) = secrets(&format!("# no\n127.0.0.1 abc\n\nhost {long}\nalone\n127.0.0.1 later\n"));
        assert_eq!(secrets["127.0.0.1"], "abc", "the first counts");
        assert_eq!(
            problems,
            ["the secret of host has more than 48 characters; pppd cuts it", "line 5: alone has no secret"]
        );
    }

    #[test]
    fn a_dictionary_is_read_as_radius_so_reads_it() {
        let without = |name: &str| -> String {
            DICTIONARY.lines().filter(|line| !line.contains(name)).map(|line| format!("{line}\n")).collect()
        };
        assert_eq!(dictionary(&without("MS-MPPE-Send-Key")), ["MS-MPPE-Send-Key missing"]);
        assert!(dictionary(&without("VENDOR     Microsoft"))[0].contains("unknown vendor"));
        for line in [
            "ATTRIBUTE Foo 1 octets",
            "ATTRIBUTE Foo x string",
            "ATTRIBUTE A-name-that-is-longer-than-all-of-them 1 string",
            "VALUE Foo Bar baz",
            "VENDOR Foo",
            "ATTRIBUTE Foo 1",
        ] {
            let text = format!("{DICTIONARY}{line}\n");
            assert!(dictionary(&text)[0].contains("reads no further"), "{line}");
        }
        assert!(dictionary(&format!("{DICTIONARY}$INCLUDE other\nBEGIN-VENDOR x\n")).is_empty());
    }
}
