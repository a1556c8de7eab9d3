//! The layers over the defaults, merged by figment, and where each value was written.
//!
//! Knows no key. Values of the environment and of flags stay text: whoever reads a key knows what it should be, so a
//! token of digits alone is not mistaken for a number.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use figment::value::{Dict, Map, Value};
use figment::{Figment, Metadata, Profile, Provider};
use toml::de::{DeTable, DeValue};

use super::error::{Place, Problem};
use super::{Flags, Sources, Surroundings};

/// The prefix of our variables.
const PREFIX: &str = "RADHOLD_";

/// Not a setting but the place of the file.
const CONFIG_VARIABLE: &str = "RADHOLD_CONFIG";

/// Not a setting either: the secret `radhold client` signs with.
const SECRET_VARIABLE: &str = "RADHOLD_SECRET";

const FILE: &str = "file";
const ENVIRONMENT: &str = "environment";
const COMMAND_LINE: &str = "command line";

/// All that was said, and where.
pub(super) struct Layers {
    /// What was said, the later layers over the earlier.
    pub(super) values: Dict,
    /// Which layers said anything.
    pub(super) sources: Sources,
    figment: Figment,
    lines: BTreeMap<Vec<String>, usize>,
    variables: BTreeMap<Vec<String>, String>,
    flags: BTreeMap<Vec<String>, String>,
}

impl Layers {
    /// Reads all layers. What cannot be read is added to `problems`.
    pub(super) fn read(flags: &Flags, surroundings: &Surroundings, problems: &mut Vec<Problem>) -> Self {
        let (file, file_dict, lines) = read_file(flags, surroundings, problems);
        let (variables, env_dict) = read_environment(surroundings, problems);
        let (flags, flag_dict) = read_flags(flags, problems);
        let figment = Figment::new()
            .merge(Layer(FILE, file_dict))
            .merge(Layer(ENVIRONMENT, env_dict))
            .merge(Layer(COMMAND_LINE, flag_dict));
        // Our providers cannot fail, so neither can this.
        let values = figment.data().unwrap_or_default().remove(&Profile::Default).unwrap_or_default();
        let sources = Sources {
            file,
            variables: variables.values().cloned().collect(),
            flags: flags.values().cloned().collect(),
        };
        Self { values, sources, figment, lines, variables, flags }
    }

    /// Where the value of this key was written.
    pub(super) fn place(&self, path: &[String], value: &Value) -> Place {
        let layer = self.figment.get_metadata(value.tag()).map(|metadata| metadata.name.as_ref());
        let found = match layer {
            Some(ENVIRONMENT) => nearest(&self.variables, path).map(|name| Place::Variable(name.clone())),
            Some(COMMAND_LINE) => nearest(&self.flags, path).map(|flag| Place::Flag(flag.clone())),
            _ => None,
        };
        // A table can have been begun by the file and continued elsewhere; it then stands where it stands in the file.
        found
            .or_else(|| Some(Place::File(self.sources.file.clone()?, Some(self.line(path)?))))
            .or_else(|| nearest(&self.variables, path).map(|name| Place::Variable(name.clone())))
            .or_else(|| nearest(&self.flags, path).map(|flag| Place::Flag(flag.clone())))
            .unwrap_or(Place::Nowhere)
    }

    /// Whether a value is text only because its layer knows nothing else.
    pub(super) fn is_text_layer(&self, value: &Value) -> bool {
        self.rank(value) > 0
    }

    /// Of two values, the one with the higher rank wins.
    pub(super) fn rank(&self, value: &Value) -> u8 {
        match self.figment.get_metadata(value.tag()).map(|metadata| metadata.name.as_ref()) {
            Some(COMMAND_LINE) => 2,
            Some(ENVIRONMENT) => 1,
            _ => 0,
        }
    }

    /// What a relative path in this value is relative to: the file's directory, or the working directory.
    pub(super) fn base(&self, value: &Value) -> PathBuf {
        match &self.sources.file {
            Some(file) if !self.is_text_layer(value) => file.parent().unwrap_or(Path::new("")).to_owned(),
            _ => PathBuf::new(),
        }
    }

    fn line(&self, path: &[String]) -> Option<usize> {
        self.lines.get(path).copied()
    }
}

/// The entry of the key itself, or the first below it.
fn nearest<'a>(entries: &'a BTreeMap<Vec<String>, String>, path: &[String]) -> Option<&'a String> {
    entries.range(path.to_vec()..).next().filter(|(found, _)| found.starts_with(path)).map(|(_, name)| name)
}

struct Layer(&'static str, Dict);

impl Provider for Layer {
    fn metadata(&self) -> Metadata {
        Metadata::named(self.0)
    }

    fn data(&self) -> Result<Map<Profile, Dict>, figment::Error> {
        Ok(Map::from([(Profile::Default, self.1.clone())]))
    }
}

// -- the file

type FileLayer = (Option<PathBuf>, Dict, BTreeMap<Vec<String>, usize>);

fn read_file(flags: &Flags, surroundings: &Surroundings, problems: &mut Vec<Problem>) -> FileLayer {
    let named = flags.config.clone().or_else(|| surroundings.variables.get(CONFIG_VARIABLE).map(PathBuf::from));
    let Some(path) = named.or_else(|| surroundings.default_file.clone()) else {
        return FileLayer::default();
    };
    let mut problem = |line: Option<usize>, message: String| {
        problems.push(Problem { place: Place::File(path.clone(), line), key: String::new(), message });
    };
    let text = match fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) => {
            problem(None, format!("cannot be read: {error}"));
            return (Some(path), Dict::new(), BTreeMap::new());
        }
    };
    let (table, errors) = DeTable::parse_recoverable(&text);
    for error in errors {
        problem(error.span().map(|span| line_of(&text, span.start)), error.message().replace('\n', "; "));
    }
    let mut lines = BTreeMap::new();
    let dict = from_table(table.get_ref(), &text, &mut Vec::new(), &mut lines);
    (Some(path), dict, lines)
}

fn from_table(
    table: &DeTable<'_>,
    text: &str,
    path: &mut Vec<String>,
    lines: &mut BTreeMap<Vec<String>, usize>,
) -> Dict {
    let mut dict = Dict::new();
    for (key, value) in table {
        path.push(key.get_ref().to_string());
        lines.insert(path.clone(), line_of(text, key.span().start));
        dict.insert(key.get_ref().to_string(), from_value(value.get_ref(), text, path, lines));
        path.pop();
    }
    dict
}

fn from_value(
    value: &DeValue<'_>,
    text: &str,
    path: &mut Vec<String>,
    lines: &mut BTreeMap<Vec<String>, usize>,
) -> Value {
    match value {
        DeValue::String(string) => Value::from(string.as_ref()),
        DeValue::Integer(integer) => {
            i64::from_str_radix(integer.as_str(), integer.radix()).map_or_else(|_| integer.as_str().into(), Value::from)
        }
        DeValue::Float(float) => {
            float.as_str().parse::<f64>().map_or_else(|_| Value::from(float.as_str()), Value::from)
        }
        DeValue::Boolean(boolean) => Value::from(*boolean),
        // We have no key that takes one; whoever reads the key says so.
        DeValue::Datetime(datetime) => Value::from(datetime.to_string()),
        DeValue::Array(array) => {
            array.iter().map(|item| from_value(item.get_ref(), text, path, lines)).collect::<Vec<_>>().into()
        }
        DeValue::Table(table) => from_table(table, text, path, lines).into(),
    }
}

fn line_of(text: &str, offset: usize) -> usize {
    1 + text.as_bytes()[..offset.min(text.len())].iter().filter(|&&octet| octet == b'\n').count()
}

// -- the environment and the command line

type TextLayer = (BTreeMap<Vec<String>, String>, Dict);

fn read_environment(surroundings: &Surroundings, problems: &mut Vec<Problem>) -> TextLayer {
    let mut layer = TextLayer::default();
    for (name, value) in &surroundings.variables {
        let Some(key) = name.strip_prefix(PREFIX).filter(|_| name != CONFIG_VARIABLE && name != SECRET_VARIABLE) else {
            continue;
        };
        let path: Vec<String> = key.to_lowercase().split("__").map(str::to_owned).collect();
        insert(&mut layer, path, name, value, Place::Variable(name.clone()), problems);
    }
    layer
}

fn read_flags(flags: &Flags, problems: &mut Vec<Problem>) -> TextLayer {
    let mut layer = TextLayer::default();
    for setting in &flags.settings {
        let path: Vec<String> = setting.key.split('.').map(str::to_owned).collect();
        insert(&mut layer, path, &setting.flag, &setting.value, Place::Flag(setting.flag.clone()), problems);
    }
    layer
}

fn insert(
    (names, dict): &mut TextLayer,
    path: Vec<String>,
    name: &str,
    value: &str,
    place: Place,
    problems: &mut Vec<Problem>,
) {
    fn put(dict: &mut Dict, path: &[String], value: &str) -> bool {
        let Some((first, rest)) = path.split_first() else { return false };
        if rest.is_empty() {
            let taken = matches!(dict.get(first), Some(Value::Dict(..)));
            dict.insert(first.clone(), Value::from(value));
            return !taken;
        }
        match dict.entry(first.clone()).or_insert_with(|| Value::from(Dict::new())) {
            Value::Dict(_, inner) => put(inner, rest, value),
            _ => false,
        }
    }
    if path.iter().any(String::is_empty) || !put(dict, &path, value) {
        let message = "contradicts another setting of the same place, or names no key".to_owned();
        problems.push(Problem { place, key: path.join("."), message });
        return;
    }
    names.insert(path, name.to_owned());
}
