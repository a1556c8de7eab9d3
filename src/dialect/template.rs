//! Attributes with places for a session's own values: `Filter-Id = "{filter}"`. Knows no session.

use crate::radius::dictionary::{Attribute, AttributePath, Dictionary, EncodeError, quote};
use crate::radius::value::DataType;

use super::error::Problem;

/// The placeholders a template may have.
pub(super) const PLACEHOLDERS: &[&str] = &["filter", "session_timeout", "user"];

/// What stands for the placeholders.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) filter: &'a str,
    pub(super) session_timeout: Option<u32>,
    pub(super) user: &'a str,
}

/// One attribute of a packet to be.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Item {
    name: String,
    pub(super) path: AttributePath,
    value: Value,
}

#[derive(Debug, Clone, PartialEq)]
enum Value {
    /// The octets, header included.
    Constant(Vec<u8>),
    Template {
        parts: Vec<Part>,
        quoted: bool,
    },
}

#[derive(Debug, Clone, PartialEq)]
enum Part {
    Text(String),
    Filter,
    SessionTimeout,
    User,
}

impl Item {
    /// Reads `name = "text"`, and tries it with sample values, so that a mistake shows when the file is read.
    pub(super) fn parse(name: &str, text: &str, dictionary: &Dictionary) -> Result<Self, Problem> {
        let parts = parts(name, text)?;
        let (path, quoted) = match attribute(name, dictionary) {
            Some(attribute) => (attribute.path, attribute.data_type == DataType::Text),
            // Says what is wrong with the name, or reads `Attr-26.9.1`.
            None => (path_of(&dictionary.encode(name, "0x00")?), false),
        };
        if super::is_ours(&path) {
            return Err(Problem::Ours(name.to_owned()));
        }
        let sample = Values { filter: "sample", session_timeout: Some(60), user: "sample" };
        let mut item = Self { name: name.to_owned(), path, value: Value::Template { parts, quoted } };
        let octets = item.render(sample, dictionary)?.unwrap_or_default();
        if !item.has_placeholder() {
            item.value = Value::Constant(octets);
        }
        Ok(item)
    }

    /// The attribute's octets; `None` when a value it needs is absent.
    pub(super) fn render(&self, values: Values<'_>, dictionary: &Dictionary) -> Result<Option<Vec<u8>>, EncodeError> {
        let (parts, quoted) = match &self.value {
            Value::Constant(octets) => return Ok(Some(octets.clone())),
            Value::Template { parts, quoted } => (parts, *quoted),
        };
        let mut text = String::new();
        for part in parts {
            match part {
                Part::Text(part) => text.push_str(part),
                Part::Filter => text.push_str(values.filter),
                Part::User => text.push_str(values.user),
                Part::SessionTimeout => match values.session_timeout {
                    Some(secs) => text.push_str(&secs.to_string()),
                    None => return Ok(None),
                },
            }
        }
        // Names come from outside: quoted, none of their characters means anything to the dictionary.
        let text = if quoted { quote(&text) } else { text };
        dictionary.encode(&self.name, &text).map(Some)
    }

    pub(super) fn has_placeholder(&self) -> bool {
        match &self.value {
            Value::Constant(_) => false,
            Value::Template { parts, .. } => parts.iter().any(|part| !matches!(part, Part::Text(_))),
        }
    }

    pub(super) fn has_session_timeout(&self) -> bool {
        self.has(&Part::SessionTimeout)
    }

    pub(super) fn has_filter(&self) -> bool {
        self.has(&Part::Filter)
    }

    fn has(&self, part: &Part) -> bool {
        matches!(&self.value, Value::Template { parts, .. } if parts.contains(part))
    }
}

/// The attribute of a name, whether or not a tag stands behind it.
pub(super) fn attribute<'a>(name: &str, dictionary: &'a Dictionary) -> Option<&'a Attribute> {
    dictionary.attribute(name.split_once(':').map_or(name, |(bare, _)| bare))
}

/// Where an encoded attribute sits, as far as its header tells.
pub(super) fn path_of(octets: &[u8]) -> AttributePath {
    match *octets {
        [26, _, a, b, c, d, vendor_type, ..] => {
            AttributePath::vendor_specific(u32::from_be_bytes([a, b, c, d]), vendor_type.into())
        }
        [kind, ..] => AttributePath::plain(kind),
        [] => AttributePath::plain(0),
    }
}

fn parts(name: &str, text: &str) -> Result<Vec<Part>, Problem> {
    let mut parts = Vec::new();
    let mut literal = String::new();
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '{' | '}' if chars.peek() == Some(&c) => {
                chars.next();
                literal.push(c);
            }
            '{' => {
                let mut placeholder = String::new();
                loop {
                    match chars.next() {
                        Some('}') => break,
                        Some(c) => placeholder.push(c),
                        None => return Err(Problem::Brace(name.to_owned())),
                    }
                }
                if !literal.is_empty() {
                    parts.push(Part::Text(std::mem::take(&mut literal)));
                }
                parts.push(match placeholder.as_str() {
                    "filter" => Part::Filter,
                    "session_timeout" => Part::SessionTimeout,
                    "user" => Part::User,
                    _ => {
                        return Err(Problem::Unknown { what: "placeholder", name: placeholder, known: PLACEHOLDERS });
                    }
                });
            }
            '}' => return Err(Problem::Brace(name.to_owned())),
            c => literal.push(c),
        }
    }
    if !literal.is_empty() {
        parts.push(Part::Text(literal));
    }
    Ok(parts)
}
