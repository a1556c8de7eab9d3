//! Takes keys out of the merged layers, one typed call per key, and notes what is wrong.
//!
//! The calls are the schema: a key nobody asked for is unknown, so no second list of keys can fall behind. Knows no key by
//! itself.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt::Display;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::time::Duration;

use figment::value::{Dict, Value};

use super::error::{Place, Problem};
use super::layers::Layers;
use super::nearest::{join, siblings, suggestion};
use crate::model::Secret;
use crate::model::parse_duration;

/// What was found wrong, and which keys were asked for, over all sections.
pub(super) struct Report<'a> {
    layers: &'a Layers,
    problems: RefCell<Vec<Problem>>,
    warnings: RefCell<Vec<String>>,
    known: RefCell<BTreeSet<Vec<String>>>,
    unknown: RefCell<Vec<Unknown>>,
}

/// A key nobody asked for.
struct Unknown {
    path: Vec<String>,
    pattern: Vec<String>,
    place: Place,
}

/// A table of the configuration while it is read.
pub(super) struct Section<'a> {
    report: &'a Report<'a>,
    path: Vec<String>,
    /// The same with `NAME` for names the operator chooses.
    pattern: Vec<String>,
    values: Dict,
    present: bool,
}

/// Why a value is not what its key wants.
enum Wrong {
    Type,
    Value(String),
}

impl<'a> Report<'a> {
    /// `known` are the keys of sections that may not be read this time.
    pub(super) fn new(layers: &'a Layers, problems: Vec<Problem>, known: Vec<String>) -> Self {
        let split = |key: String| key.split('.').map(str::to_owned).collect();
        Self {
            layers,
            problems: RefCell::new(problems),
            warnings: RefCell::default(),
            known: RefCell::new(known.into_iter().map(split).collect()),
            unknown: RefCell::default(),
        }
    }

    /// The outermost table.
    pub(super) fn top(&'a self) -> Section<'a> {
        Section {
            report: self,
            path: Vec::new(),
            pattern: Vec::new(),
            values: self.layers.values.clone(),
            present: true,
        }
    }

    /// Notes what is allowed but hardly meant; once, however many keys name the same file.
    pub(super) fn warn(&self, warning: impl Into<String>) {
        let (warning, mut warnings) = (warning.into(), self.warnings.borrow_mut());
        if !warnings.contains(&warning) {
            warnings.push(warning);
        }
    }

    /// Every key that was asked for.
    pub(super) fn known(&self) -> Vec<String> {
        self.known.borrow().iter().map(|path| join(path)).collect()
    }

    /// All problems, in the order of places, and all warnings.
    pub(super) fn finish(&self) -> (Vec<Problem>, Vec<String>) {
        let mut problems = self.problems.take();
        let known = self.known.borrow();
        for Unknown { path, pattern, place } in self.unknown.take() {
            let near = suggestion(&known, &pattern);
            let stray = matches!(&place, Place::Variable(name) if !name.contains("__"));
            if stray && near.is_none() {
                // An orchestrator's own (RADHOLD_SERVICE_HOST for a service called radhold), or a test's.
                self.warn(format!("{place} is none of our settings and is ignored"));
                continue;
            }
            let advice = near.unwrap_or_else(|| siblings(&known, &pattern));
            problems.push(Problem { place, key: join(&path), message: format!("there is no such key; {advice}") });
        }
        problems.sort();
        problems.dedup();
        (problems, self.warnings.take())
    }

    fn problem(&self, path: &[String], place: Place, message: String) {
        self.problems.borrow_mut().push(Problem { place, key: join(path), message });
    }
}

impl<'a> Section<'a> {
    /// Whether anything was said in this table.
    pub(super) fn is_present(&self) -> bool {
        self.present
    }

    /// The name of this table.
    pub(super) fn name(&self) -> &str {
        self.path.last().map_or("", String::as_str)
    }

    /// A table within; empty when it is not there.
    pub(super) fn section(&mut self, key: &str) -> Section<'a> {
        let value = self.values.remove(key);
        self.below(key, key, value)
    }

    /// The tables within a table whose keys are names, by name.
    pub(super) fn named(&mut self, key: &str) -> Vec<Section<'a>> {
        let within = self.section(key);
        let names: Vec<_> = within.values.iter().map(|(name, value)| (name.clone(), value.clone())).collect();
        names.into_iter().map(|(name, value)| within.below(&name, "NAME", Some(value))).collect()
    }

    fn below(&self, key: &str, pattern: &str, value: Option<Value>) -> Section<'a> {
        let path = [self.path.as_slice(), &[key.to_owned()]].concat();
        let pattern = [self.pattern.as_slice(), &[pattern.to_owned()]].concat();
        let present = value.is_some();
        let values = match value {
            Some(Value::Dict(_, dict)) => dict,
            Some(other) => {
                let message = format!("expected a table, found {}", kind(&other));
                self.report.problem(&path, self.report.layers.place(&path, &other), message);
                Dict::new()
            }
            None => Dict::new(),
        };
        Section { report: self.report, path, pattern, values, present }
    }

    /// Notes that a key says what cannot be, or is missing: then its table's place is named.
    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        let path = self.path_of(key);
        let place = (1..=path.len())
            .rev()
            .map(|depth| self.report.layers.place(&path[..depth], &Value::from("")))
            .find(|place| *place != Place::Nowhere);
        self.report.problem(&path, place.unwrap_or(Place::Nowhere), message.into());
    }

    /// What remains is unknown.
    pub(super) fn finish(self) {
        for (key, value) in &self.values {
            let path = self.path_of(key);
            let place = self.report.layers.place(&path, value);
            let pattern = [self.pattern.as_slice(), std::slice::from_ref(key)].concat();
            self.report.unknown.borrow_mut().push(Unknown { path, pattern, place });
        }
    }

    /// Text.
    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        self.read(key, "text in quotes", |value, _| text(value).map(str::to_owned))
    }

    /// `true` or `false`.
    pub(super) fn boolean(&mut self, key: &str) -> Option<bool> {
        self.read(key, "true or false", |value, is_text_layer| match value {
            Value::Bool(_, boolean) => Ok(*boolean),
            Value::String(_, text) if is_text_layer => text.parse().map_err(|_| Wrong::Type),
            _ => Err(Wrong::Type),
        })
    }

    /// A whole number from `least` up.
    pub(super) fn number<T>(&mut self, key: &str, least: T) -> Option<T>
    where
        T: TryFrom<i128> + FromStr + PartialOrd + Display + Copy,
    {
        self.read(key, "a whole number", |value, is_text_layer| {
            let number = match value {
                Value::Num(..) => {
                    let number = value.to_i128().ok_or(Wrong::Type)?;
                    T::try_from(number).map_err(|_| Wrong::Value(format!("{number} is out of range")))?
                }
                Value::String(_, text) if is_text_layer => text.parse().map_err(|_| Wrong::Type)?,
                _ => return Err(Wrong::Type),
            };
            if number < least {
                Err(Wrong::Value(format!("{number} is too small; at least {least}")))
            } else {
                Ok(number)
            }
        })
    }

    /// A duration: text with units, or seconds.
    pub(super) fn duration(&mut self, key: &str) -> Option<Duration> {
        self.read(key, "a duration such as \"90s\" or \"2m\", or a number of seconds", |value, _| match value {
            Value::Num(..) => match (value.to_i128(), value.to_f64()) {
                (Some(seconds), _) => u64::try_from(seconds).map(Duration::from_secs).map_err(|_| Wrong::Type),
                (_, Some(seconds)) => Duration::try_from_secs_f64(seconds).map_err(|_| Wrong::Type),
                _ => Err(Wrong::Type),
            },
            _ => parse_duration(text(value)?).map_err(|error| Wrong::Value(error.to_string())),
        })
    }

    /// Text that `parse` understands.
    pub(super) fn parsed<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<T> {
        self.read(key, expected, |value, _| {
            let text = text(value)?;
            parse(text).map_err(|error| Wrong::Value(format!("{text:?} is not {expected}: {error}")))
        })
    }

    /// A list of texts or whole numbers that `parse` understands; in the environment, words between commas.
    pub(super) fn list<T>(
        &mut self,
        key: &str,
        expected: &str,
        parse: impl Fn(&str) -> Result<T, String>,
    ) -> Option<Vec<T>> {
        let parse_one =
            |text: &str| parse(text).map_err(|error| Wrong::Value(format!("{text:?} is not {expected}: {error}")));
        self.read(key, &format!("a list, each {expected}"), |value, is_text_layer| match value {
            Value::Array(_, items) => items
                .iter()
                .map(|item| match item.to_i128() {
                    Some(number) => parse_one(&number.to_string()),
                    None => parse_one(text(item)?),
                })
                .collect(),
            Value::String(_, text) if is_text_layer => {
                let inner = text.trim().strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
                // `[::1]:1812` begins with a bracket too, but a list in brackets also ends with one.
                let words = inner.unwrap_or(text).split(',').map(|word| word.trim().trim_matches('"'));
                words.filter(|word| !word.is_empty()).map(parse_one).collect()
            }
            _ => Err(Wrong::Type),
        })
    }

    /// A path; a relative one in the file is relative to the file's directory.
    pub(super) fn path(&mut self, key: &str) -> Option<PathBuf> {
        let base = self.values.get(key).map(|value| self.report.layers.base(value)).unwrap_or_default();
        self.read(key, "a path in quotes", |value, _| match text(value)? {
            "" => Err(Wrong::Value("the path is empty".to_owned())),
            path => Ok(base.join(path)),
        })
    }

    /// A list of paths, from where they were written.
    pub(super) fn paths(&mut self, key: &str) -> Option<Vec<PathBuf>> {
        let base = self.values.get(key).map(|value| self.report.layers.base(value)).unwrap_or_default();
        self.list(
            key,
            "a path",
            |text| if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(base.join(text)) },
        )
    }

    /// A secret: `key` itself, or the content of the file `key_file` without its trailing newline. When both are given, the
    /// later layer counts; both in one layer is a contradiction.
    pub(super) fn secret(&mut self, key: &str) -> Option<Secret> {
        let file_key = format!("{key}_file");
        if let (Some(inline), Some(file)) = (self.values.get(key), self.values.get(&file_key)) {
            let (inline, file) = (self.report.layers.rank(inline), self.report.layers.rank(file));
            if inline == file {
                self.problem(key, format!("is given beside {file_key}; keep one of them"));
            }
            let overruled = if inline > file { file_key.as_str() } else { key };
            self.values.remove(overruled);
        }
        let in_file = self.values.get(key).is_some_and(|value| !self.report.layers.is_text_layer(value));
        let inline = self.text(key).map(String::into_bytes);
        if inline.is_some() && in_file {
            self.warn_if_readable_by_all(self.report.layers.sources.file.as_deref(), "holds a secret and");
        }
        let from_file = self.path(&file_key).and_then(|path| self.content(&file_key, &path));
        let (octets, key) = match (inline, from_file) {
            (Some(octets), _) => (octets, key),
            (None, Some(octets)) => (octets, file_key.as_str()),
            (None, None) => return None,
        };
        if octets.is_empty() {
            self.problem(key, "the secret is empty");
            return None;
        }
        Some(Secret::new(octets))
    }

    /// Whether a key was given, before it is taken.
    pub(super) fn has(&self, key: &str) -> bool {
        self.values.contains_key(key)
    }

    fn content(&self, key: &str, path: &Path) -> Option<Vec<u8>> {
        match fs::read(path) {
            Ok(mut octets) => {
                self.warn_if_readable_by_all(Some(path), "");
                if octets.last() == Some(&b'\n') {
                    octets.pop();
                    if octets.last() == Some(&b'\r') {
                        octets.pop();
                    }
                }
                self.warn_if_several_lines(path, &octets);
                Some(octets)
            }
            Err(error) => {
                self.problem(key, format!("{} cannot be read: {error}", path.display()));
                None
            }
        }
    }

    /// A secret may hold newlines, of octets drawn at random it often does; text of several lines is rather a file with a note or an
    /// empty line in it, with which no NAS would agree.
    fn warn_if_several_lines(&self, path: &Path, octets: &[u8]) {
        if octets.contains(&b'\n') && std::str::from_utf8(octets).is_ok() {
            let shown = path.display();
            self.report.warn(format!(
                "{shown}: is several lines, all of which are the secret; keep one, if that alone is meant"
            ));
        }
    }

    fn warn_if_readable_by_all(&self, path: Option<&Path>, why: &str) {
        let Some(path) = path else { return };
        if fs::metadata(path).is_ok_and(|file| file.permissions().mode() & 0o004 != 0) {
            let why = if why.is_empty() { String::new() } else { format!("{why} ") };
            let shown = path.display();
            self.report.warn(format!("{shown}: {why}can be read by everybody on this host; chmod o-r {shown}"));
        }
    }

    fn path_of(&self, key: &str) -> Vec<String> {
        [self.path.as_slice(), &[key.to_owned()]].concat()
    }

    fn read<T>(
        &mut self,
        key: &str,
        expected: &str,
        convert: impl FnOnce(&Value, bool) -> Result<T, Wrong>,
    ) -> Option<T> {
        let pattern = [self.pattern.as_slice(), &[key.to_owned()]].concat();
        self.report.known.borrow_mut().insert(pattern);
        let value = self.values.remove(key)?;
        match convert(&value, self.report.layers.is_text_layer(&value)) {
            Ok(read) => Some(read),
            Err(wrong) => {
                let message = match wrong {
                    Wrong::Type => format!("expected {expected}, found {}", kind(&value)),
                    Wrong::Value(message) => message,
                };
                let path = self.path_of(key);
                self.report.problem(&path, self.report.layers.place(&path, &value), message);
                None
            }
        }
    }
}

fn text(value: &Value) -> Result<&str, Wrong> {
    value.as_str().ok_or(Wrong::Type)
}

/// What a value is, in words; never what it says, which may be a secret.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::String(..) | Value::Char(..) => "text",
        Value::Bool(..) => "true or false",
        Value::Num(..) if value.to_i128().is_some() => "a whole number",
        Value::Num(..) => "a number",
        Value::Empty(..) => "nothing",
        Value::Dict(..) => "a table",
        Value::Array(..) => "a list",
    }
}
