//! A dialect file from text to [`Dialect`]. Opens no file.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use crate::radius::attribute::SESSION_TIMEOUT;
use crate::radius::dictionary::{AttributePath, Dictionary};

use super::error::{DialectError, Problem};
use super::identify::{Key, NAMES};
use super::template::{Item, attribute};
use super::{CountsFrom, Dialect};

/// Every key of a dialect file, in the order they are best written.
const KEYS: &[&str] = &[
    "coa_port",
    "confines",
    "message_authenticator",
    "event_timestamp",
    "one_attribute_per_coa",
    "fresh_port",
    "session_timeout_can_be_raised",
    "session_timeout_counts_from",
    "unlimited_session_timeout",
    "accounting_shows_filter",
    "unique_ports",
    "bans",
    "identify",
    "identify_fully",
    "withhold",
    "held",
    "waived",
    "permit",
];

const COUNTS_FROM: &[&str] = &["request", "start"];

impl Dialect {
    /// Reads a dialect. `file_name` is named in errors, and its last part without `.toml` is the dialect's name.
    ///
    /// # Errors [`DialectError`] with file and line: text that is not TOML, unknown keys, placeholders and
    /// attributes, values that do not fit, missing keys, and settings under which a hold would not end by itself.
    pub fn parse(file_name: &str, text: &str, dictionary: &Dictionary) -> Result<Self, DialectError> {
        let reader = Reader { text, dictionary };
        reader.dialect(file_name).map_err(|(at, problem)| DialectError {
            file: file_name.to_owned(),
            line: 1 + text.get(..at).unwrap_or(text).matches('\n').count(),
            problem,
        })
    }
}

/// A problem, and the offset where it is.
type At<T> = Result<T, (usize, Problem)>;

struct Reader<'a> {
    text: &'a str,
    dictionary: &'a Dictionary,
}

impl Reader<'_> {
    fn dialect(&self, file_name: &str) -> At<Dialect> {
        let root = DeTable::parse(self.text).map_err(|error| {
            let at = error.span().map_or(0, |span| span.start);
            (at, Problem::Toml(error.message().to_owned()))
        })?;
        let root = Table(root.get_ref());
        for key in root.0.keys() {
            let name = key.get_ref();
            if !KEYS.contains(&name.as_ref()) {
                let unknown = Problem::Unknown { what: "key", name: name.to_string(), known: KEYS };
                return Err((key.span().start, unknown));
            }
        }
        let held = self.items(&root, "held")?;
        let waived = self.items(&root, "waived")?;
        let permit = self.items(&root, "permit")?;
        let can_be_raised = root.bool("session_timeout_can_be_raised")?;
        let mut withheld: BTreeSet<AttributePath> =
            permit.iter().chain(held.iter().filter(|item| item.has_placeholder())).map(|item| item.path).collect();
        if !can_be_raised {
            withheld.remove(&AttributePath::plain(SESSION_TIMEOUT));
        }
        for (name, span) in root.names("withhold")? {
            let attribute = match attribute(&name, self.dictionary) {
                Some(attribute) => attribute,
                None => {
                    let error = self.dictionary.encode(&name, "0x00").err();
                    return Err((
                        span.start,
                        error.map_or(
                            Problem::Type { key: name, wanted: "the name of an attribute" },
                            Problem::Attribute,
                        ),
                    ));
                }
            };
            withheld.insert(attribute.path);
        }
        let dialect = Dialect {
            name: name_of(file_name).to_owned(),
            coa_port: root.number("coa_port")?.ok_or((0, Problem::Missing("coa_port")))?,
            confines: root.bool("confines")?,
            message_authenticator: root.bool("message_authenticator")?,
            event_timestamp: root.bool("event_timestamp")?,
            one_attribute_per_coa: root.bool("one_attribute_per_coa")?,
            fresh_port: root.bool("fresh_port")?,
            session_timeout_can_be_raised: can_be_raised,
            session_timeout_counts_from: root.counts_from()?,
            unlimited_session_timeout: root.number("unlimited_session_timeout")?,
            accounting_shows_filter: root.bool("accounting_shows_filter")?,
            unique_ports: root.get("unique_ports").is_some() && root.bool("unique_ports")?,
            bans: root.get("bans").is_some() && root.bool("bans")?,
            identify: root.keys("identify")?,
            identify_fully: root.keys("identify_fully")?,
            withheld,
            held,
            waived,
            permit,
        };
        let at = |key: &str| root.get(key).map_or(0, |value| value.span().start);
        consistent(&dialect).map_err(|(key, problem)| (at(key), Problem::Contradiction(problem)))?;
        Ok(dialect)
    }

    /// The attributes of a table, in the order of the file.
    fn items(&self, root: &Table<'_, '_>, key: &'static str) -> At<Vec<Item>> {
        let value = root.required(key)?;
        let DeValue::Table(table) = value.get_ref() else {
            return Err(wrong(value.span(), key, "a table of attributes"));
        };
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        let mut items = Vec::new();
        for (name, value) in entries {
            let one = |value: &Spanned<DeValue<'_>>| -> At<Item> {
                let wanted = "a text, a number, or a list of them";
                let text = text_of(value).ok_or_else(|| wrong(value.span(), name.get_ref(), wanted))?;
                Item::parse(name.get_ref(), &text, self.dictionary).map_err(|problem| (value.span().start, problem))
            };
            match value.get_ref() {
                DeValue::Array(values) => {
                    for value in values.iter() {
                        items.push(one(value)?);
                    }
                }
                _ => items.push(one(value)?),
            }
        }
        Ok(items)
    }
}

/// What the keys must be to each other, so that a hold made of them ends by itself and can be lifted.
fn consistent(dialect: &Dialect) -> Result<(), (&'static str, &'static str)> {
    let timeout = |items: &[Item]| items.iter().any(Item::has_session_timeout);
    if dialect.session_timeout_can_be_raised {
        if !timeout(&dialect.held) {
            return Err((
                "held",
                "session_timeout_can_be_raised is true, but held has no {session_timeout}: the NAS would not end a \
                 held session by itself",
            ));
        }
        if !timeout(&dialect.permit) || dialect.unlimited_session_timeout.is_none() {
            return Err((
                "permit",
                "session_timeout_can_be_raised is true, so permit needs {session_timeout} and there must be an \
                 unlimited_session_timeout: a permitted session would keep the timeout of its hold",
            ));
        }
    }
    if timeout(&dialect.permit) && dialect.unlimited_session_timeout.is_none() {
        return Err(("permit", "permit has {session_timeout}, so there must be an unlimited_session_timeout"));
    }
    if dialect.permit.is_empty() {
        return Err(("permit", "permit must have an attribute: its acknowledgement is what lifts a hold"));
    }
    if dialect.confines && !(dialect.held.iter().any(Item::has_filter) && dialect.permit.iter().any(Item::has_filter)) {
        return Err(("held", "confines is true, so held and permit must both name a {filter}"));
    }
    if dialect.identify.is_empty() {
        return Err(("identify", "identify must name an attribute"));
    }
    if !dialect.identify_fully.contains(&Key::UserName) {
        return Err(("identify_fully", "identify_fully must contain User-Name, the one thing known of every session"));
    }
    Ok(())
}

/// A TOML table with the readings we need; absent flags are errors, so that every file says what its NAS does.
struct Table<'t, 'i>(&'t DeTable<'i>);

impl<'t, 'i> Table<'t, 'i> {
    fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'i>>> {
        self.0.iter().find(|(name, _)| name.get_ref() == key).map(|(_, value)| value)
    }

    fn required(&self, key: &'static str) -> At<&'t Spanned<DeValue<'i>>> {
        self.get(key).ok_or((0, Problem::Missing(key)))
    }

    fn bool(&self, key: &'static str) -> At<bool> {
        let value = self.required(key)?;
        value.get_ref().as_bool().ok_or_else(|| wrong(value.span(), key, "true or false"))
    }

    fn number<N: std::str::FromStr>(&self, key: &'static str) -> At<Option<N>> {
        let Some(value) = self.get(key) else { return Ok(None) };
        // Of 0x10, `as_str` is "10".
        let decimal = value.get_ref().as_integer().filter(|number| number.radix() == 10);
        let number = decimal.and_then(|number| number.as_str().parse().ok());
        number.map(Some).ok_or_else(|| wrong(value.span(), key, "a whole number in decimal, no greater than fits"))
    }

    fn counts_from(&self) -> At<CountsFrom> {
        let key = "session_timeout_counts_from";
        let value = self.required(key)?;
        match value.get_ref().as_str() {
            Some("request") => Ok(CountsFrom::Request),
            Some("start") => Ok(CountsFrom::Start),
            Some(other) => {
                let unknown = Problem::Unknown { what: "value", name: other.to_owned(), known: COUNTS_FROM };
                Err((value.span().start, unknown))
            }
            None => Err(wrong(value.span(), key, "\"request\" or \"start\"")),
        }
    }

    /// A list of names, empty when absent.
    fn names(&self, key: &'static str) -> At<Vec<(String, Range<usize>)>> {
        let Some(value) = self.get(key) else { return Ok(Vec::new()) };
        let list = value.get_ref().as_array().ok_or_else(|| wrong(value.span(), key, "a list of attribute names"))?;
        let name = |value: &Spanned<DeValue<'_>>| match value.get_ref().as_str() {
            Some(name) => Ok((name.to_owned(), value.span())),
            None => Err(wrong(value.span(), key, "a list of attribute names")),
        };
        list.iter().map(name).collect()
    }

    fn keys(&self, key: &'static str) -> At<Vec<Key>> {
        self.required(key)?;
        let known = |(name, span): (String, Range<usize>)| match Key::by_name(&name) {
            Some(key) => Ok(key),
            None => Err((span.start, Problem::Unknown { what: "identification attribute", name, known: NAMES })),
        };
        self.names(key)?.into_iter().map(known).collect()
    }
}

fn wrong(span: Range<usize>, key: &str, wanted: &'static str) -> (usize, Problem) {
    (span.start, Problem::Type { key: key.to_owned(), wanted })
}

/// A value as the text the dictionary reads.
fn text_of(value: &Spanned<DeValue<'_>>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Integer(number) if number.radix() == 10 => Some(number.as_str().to_owned()),
        _ => None,
    }
}

fn name_of(file_name: &str) -> &str {
    let last = file_name.rsplit('/').next().unwrap_or(file_name);
    last.strip_suffix(".toml").unwrap_or(last)
}
