//! From the lines of dictionary files to a [`Dictionary`].
//!
//! Keeps files, blocks and what must wait; [`define`](super::define) takes the lines that define something.
//! Opens no file: texts come from the caller's closure. Each file starts outside any block, and a block still open at
//! its end is closed there, as FreeRADIUS 3 has it.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};

use crate::radius::value::DataType;

use super::attribute::{Attribute, AttributePath, Origin, VENDOR_SPECIFIC, Values, number};
use super::error::{DictionaryError, Problem};
use super::{Dictionary, define, line};

/// How deep files may include each other.
const INCLUDE_DEPTH: usize = 16;

/// Where texts come from.
type Read<'a> = &'a mut dyn FnMut(&Path) -> io::Result<String>;

/// Reads `root` and all it includes into `dictionary`.
pub(super) fn file(dictionary: &mut Dictionary, root: &Path, read: Read<'_>) -> Result<(), DictionaryError> {
    let text = read(root).map_err(|error| DictionaryError {
        file: root.display().to_string(),
        line: 0,
        problem: Box::new(Problem::Unreadable(error.to_string())),
    })?;
    let mut loader = Loader::new(dictionary, Some(read));
    loader.file(root, &text)?;
    loader.finish()
}

/// Reads one text that includes nothing.
pub(super) fn text(dictionary: &mut Dictionary, text: &str) -> Result<(), DictionaryError> {
    let mut loader = Loader::new(dictionary, None);
    loader.file(Path::new("text"), text)?;
    loader.finish()
}

/// What one load carries from file to file.
pub(super) struct Loader<'a> {
    pub(super) dictionary: &'a mut Dictionary,
    read: Option<Read<'a>>,
    /// Files being read, outermost first.
    open: Vec<PathBuf>,
    /// `VALUE` lines whose attribute may be defined further down.
    pub(super) values: Vec<Later<[String; 3]>>,
    /// `ALIAS` lines: the new name and what it stands for.
    aliases: Vec<Later<[String; 2]>>,
    /// Attributes that use the names of an `ENUM`.
    pub(super) named_by: Vec<Later<(u32, String)>>,
    /// `ENUM`s by lower-case name.
    pub(super) enums: BTreeMap<String, (DataType, Values)>,
    /// `MEMBER`s, `STRUCT`s and `DEFINE`s by lower-case name: they have no place of their own on the wire, so only
    /// their names are kept, for the `VALUE`s that follow.
    pub(super) unplaced: BTreeSet<String>,
}

pub(super) struct Later<T> {
    pub(super) what: T,
    pub(super) origin: Origin,
}

/// Where in a file we are.
pub(super) struct Context {
    pub(super) origin: Origin,
    folder: PathBuf,
    /// The open blocks, outermost first.
    blocks: Vec<Block>,
    /// The container that `.1` counts from.
    pub(super) relative: Option<AttributePath>,
    /// `FLAGS internal`.
    pub(super) internal: bool,
    /// Inside a protocol that is not RADIUS: its name.
    foreign: Option<String>,
}

/// An open `BEGIN-…`: its name, and the path that definitions inside it continue.
struct Block {
    kind: BlockKind,
    name: String,
    path: Option<AttributePath>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum BlockKind {
    Vendor,
    Tlv,
    Protocol,
}

impl Context {
    pub(super) fn prefix(&self) -> Option<AttributePath> {
        self.blocks.iter().rev().find_map(|block| block.path)
    }
}

impl<'a> Loader<'a> {
    fn new(dictionary: &'a mut Dictionary, read: Option<Read<'a>>) -> Self {
        Self {
            dictionary,
            read,
            open: Vec::new(),
            values: Vec::new(),
            aliases: Vec::new(),
            named_by: Vec::new(),
            enums: BTreeMap::new(),
            unplaced: BTreeSet::new(),
        }
    }

    fn error(&self, origin: Origin, problem: Problem) -> DictionaryError {
        let file = self.dictionary.files.get(origin.file as usize).map_or("?", |name| name);
        DictionaryError { file: file.to_owned(), line: origin.line, problem: Box::new(problem) }
    }

    fn file(&mut self, path: &Path, text: &str) -> Result<(), DictionaryError> {
        let index = self.dictionary.files.len() as u32;
        self.dictionary.files.push(path.display().to_string().into());
        self.open.push(path.to_owned());
        let mut context = Context {
            origin: Origin { file: index, line: 0 },
            folder: path.parent().map(Path::to_owned).unwrap_or_default(),
            blocks: Vec::new(),
            relative: None,
            internal: false,
            foreign: None,
        };
        let mut words = Vec::with_capacity(8);
        for text in text.lines() {
            context.origin.line = context.origin.line.saturating_add(1);
            let text = text.split('#').next().unwrap_or_default();
            if text.chars().any(|c| c.is_control() && !c.is_whitespace()) {
                return Err(self.error(context.origin, Problem::NotText));
            }
            words.clear();
            words.extend(text.split_whitespace());
            match (words.first(), &context.foreign) {
                (None, _) => {}
                (Some(keyword), Some(name)) => {
                    if keyword.eq_ignore_ascii_case("END-PROTOCOL")
                        && words.get(1).is_some_and(|w| w.eq_ignore_ascii_case(name))
                    {
                        context.foreign = None;
                    }
                }
                (Some(keyword), None) if keyword.to_ascii_uppercase().starts_with("$INCLUDE") => {
                    self.include(&context, &words)?;
                }
                (Some(_), None) => {
                    self.line(&mut context, &words).map_err(|problem| self.error(context.origin, problem))?;
                }
            }
        }
        self.open.pop();
        Ok(())
    }

    fn include(&mut self, context: &Context, words: &[&str]) -> Result<(), DictionaryError> {
        let fail = |loader: &Self, problem| Err(loader.error(context.origin, problem));
        let optional = match words[0].to_ascii_uppercase().as_str() {
            "$INCLUDE" => false,
            "$INCLUDE-" => true,
            _ => return fail(self, Problem::Keyword(words[0].to_owned())),
        };
        let &[_, name] = words else {
            return fail(self, Problem::Usage("$INCLUDE file"));
        };
        let path = context.folder.join(name.trim_matches('"'));
        if self.open.contains(&path) {
            return fail(self, Problem::IncludeLoop(path.display().to_string()));
        }
        if self.open.len() >= INCLUDE_DEPTH {
            return fail(self, Problem::IncludeDepth(INCLUDE_DEPTH));
        }
        let Some(read) = self.read.as_mut() else {
            return if optional { Ok(()) } else { fail(self, Problem::IncludeInText) };
        };
        match read(&path) {
            Ok(text) => self.file(&path, &text),
            Err(error) if optional && error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => fail(self, Problem::Unreadable(format!("{}: {error}", path.display()))),
        }
    }

    fn line(&mut self, context: &mut Context, words: &[&str]) -> Result<(), Problem> {
        match words[0].to_ascii_uppercase().as_str() {
            "ATTRIBUTE" => self.attribute(context, words),
            "VALUE" => self.value(context, words),
            "VENDOR" => self.vendor(context, words),
            "BEGIN-VENDOR" => self.begin_vendor(context, words),
            "END-VENDOR" => end(context, BlockKind::Vendor, words),
            "BEGIN-TLV" | "BEGIN" => self.begin_tlv(context, words),
            "END-TLV" | "END" => end(context, BlockKind::Tlv, words),
            "PROTOCOL" => match words {
                [_, _, number_word] | [_, _, number_word, _] => {
                    number(number_word).map(|_| ()).ok_or_else(|| define::not_a_number(number_word))
                }
                _ => Err(Problem::Usage("PROTOCOL name number")),
            },
            "BEGIN-PROTOCOL" => {
                let &[_, name] = words else {
                    return Err(Problem::Usage("BEGIN-PROTOCOL name"));
                };
                if name.eq_ignore_ascii_case("RADIUS") {
                    context.blocks.push(Block { kind: BlockKind::Protocol, name: name.to_owned(), path: None });
                } else {
                    // Another protocol's numbers mean nothing in a RADIUS packet.
                    context.foreign = Some(name.to_owned());
                }
                Ok(())
            }
            "END-PROTOCOL" => end(context, BlockKind::Protocol, words),
            "ALIAS" => {
                let &[_, name, target] = words else {
                    return Err(Problem::Usage("ALIAS name target"));
                };
                let target = match (target.strip_prefix('.'), context.prefix()) {
                    (Some(rest), Some(prefix)) => format!("{prefix}.{rest}"),
                    (Some(rest), None) => rest.to_owned(),
                    (None, _) => target.to_owned(),
                };
                self.aliases.push(Later { what: [name.to_owned(), target], origin: context.origin });
                Ok(())
            }
            "ENUM" => {
                let &[_, name, type_word] = words else {
                    return Err(Problem::Usage("ENUM name type"));
                };
                let (data_type, _) = line::data_type(type_word)?;
                self.enums.entry(name.to_ascii_lowercase()).or_insert((data_type, Values::default())).0 = data_type;
                Ok(())
            }
            "STRUCT" => match words {
                [_, name, _parent, _key, ..] => {
                    self.unplaced.insert(name.to_ascii_lowercase());
                    Ok(())
                }
                _ => Err(Problem::Usage("STRUCT name parent value")),
            },
            "MEMBER" | "DEFINE" => match words {
                [_, name, type_word, flag_words @ ..] => {
                    line::data_type(type_word)?;
                    line::flags(flag_words)?;
                    self.unplaced.insert(name.to_ascii_lowercase());
                    Ok(())
                }
                _ => Err(Problem::Usage("MEMBER name type [flags]")),
            },
            "FLAGS" => match words {
                [_, flag] => {
                    context.internal =
                        line::flags(&[flag.trim_start_matches('!')])?.flags.virtual_only && !flag.starts_with('!');
                    Ok(())
                }
                _ => Err(Problem::Usage("FLAGS flag")),
            },
            _ => Err(Problem::Keyword(words[0].to_owned())),
        }
    }

    fn begin_vendor(&mut self, context: &mut Context, words: &[&str]) -> Result<(), Problem> {
        let (name, parent) = match *words {
            [_, name] => (name, None),
            [_, name, place] => (name, Some(place)),
            _ => return Err(Problem::Usage("BEGIN-VENDOR name [parent=Extended-Vendor-Specific-1..6]")),
        };
        let vendor = self.dictionary.vendor_by_name(name).ok_or_else(|| Problem::UnknownVendor(name.to_owned()))?;
        let above = match parent {
            None => AttributePath::plain(VENDOR_SPECIFIC as u8),
            Some(word) => {
                let holder = word.strip_prefix("parent=").or_else(|| word.strip_prefix("format="));
                let holder = holder.ok_or_else(|| Problem::Flag(word.to_owned()))?;
                let attribute = self.find(holder).ok_or_else(|| Problem::UnknownAttribute(holder.to_owned()))?;
                if !matches!(attribute.data_type, DataType::Evs | DataType::Vsa) {
                    return Err(Problem::NotAContainer(attribute.name.to_string()));
                }
                attribute.path
            }
        };
        let path = above.child(vendor.number).ok_or_else(|| Problem::Oid(above.to_string()))?;
        context.relative = None;
        context.blocks.push(Block { kind: BlockKind::Vendor, name: name.to_owned(), path: Some(path) });
        Ok(())
    }

    fn begin_tlv(&mut self, context: &mut Context, words: &[&str]) -> Result<(), Problem> {
        let &[_, name] = words else {
            return Err(Problem::Usage("BEGIN-TLV name"));
        };
        let attribute = self.find(name).ok_or_else(|| Problem::UnknownAttribute(name.to_owned()))?;
        if !define::is_container(attribute.data_type) {
            return Err(Problem::NotAContainer(attribute.name.to_string()));
        }
        let path = Some(attribute.path);
        context.blocks.push(Block { kind: BlockKind::Tlv, name: name.to_owned(), path });
        Ok(())
    }

    /// An attribute by name, by dotted numbers, or by the last of dotted names.
    fn find(&self, name: &str) -> Option<&Attribute> {
        let name = name.trim_start_matches('.');
        self.dictionary
            .attribute(name)
            .or_else(|| self.dictionary.by_path(&name.parse().ok()?))
            .or_else(|| self.dictionary.attribute(name.rsplit_once('.')?.1))
    }

    /// What had to wait for the end of all files.
    fn finish(mut self) -> Result<(), DictionaryError> {
        self.finish_values()?;
        self.finish_enums()?;
        self.finish_aliases()?;
        // A `VALUE` may have named an alias; now nothing more can turn up.
        self.finish_values()?;
        match self.values.first() {
            Some(Later { what: [owner, ..], origin }) => {
                Err(self.error(*origin, Problem::UnknownAttribute(owner.clone())))
            }
            None => Ok(()),
        }
    }

    fn finish_values(&mut self) -> Result<(), DictionaryError> {
        for later in std::mem::take(&mut self.values) {
            let [owner, name, number_word] = &later.what;
            match self.add_value(owner, name, number_word, later.origin) {
                Ok(true) => {}
                Ok(false) => self.values.push(later),
                Err(problem) => return Err(self.error(later.origin, problem)),
            }
        }
        Ok(())
    }

    fn finish_enums(&mut self) -> Result<(), DictionaryError> {
        for Later { what: (index, names), origin } in std::mem::take(&mut self.named_by) {
            let Some((_, values)) = self.enums.get(&names.to_ascii_lowercase()) else {
                return Err(self.error(origin, Problem::UnknownAttribute(names)));
            };
            let attribute = &mut self.dictionary.attributes[index as usize];
            if let Err(known) = attribute.values.add_all(values) {
                let problem = Problem::Contradiction {
                    what: "value",
                    name: format!("{names} {}", known.name),
                    earlier: known.number.to_string(),
                    place: self.dictionary.place_of(known.origin),
                    later: format!("what {names} says"),
                };
                return Err(self.error(origin, problem));
            }
        }
        Ok(())
    }

    fn finish_aliases(&mut self) -> Result<(), DictionaryError> {
        for Later { what: [name, target], origin } in std::mem::take(&mut self.aliases) {
            let Some(known) = self.find(&target).cloned() else {
                return Err(self.error(origin, Problem::UnknownAttribute(target)));
            };
            // The number goes on being printed by its own name.
            let printed = self.dictionary.by_path(&known.path).map(|a| a.name.to_ascii_lowercase());
            let alias = Attribute { name: name.into(), origin, ..known };
            let path = alias.path;
            self.insert(alias).map_err(|problem| self.error(origin, problem))?;
            if let Some(index) = printed.and_then(|name| self.dictionary.by_name.get(&*name).copied()) {
                self.dictionary.set_printed(path, index);
            }
        }
        Ok(())
    }
}

fn end(context: &mut Context, kind: BlockKind, words: &[&str]) -> Result<(), Problem> {
    let &[keyword, name] = words else {
        return Err(Problem::Usage("END-VENDOR, END-TLV or END-PROTOCOL with the name of its BEGIN"));
    };
    match context.blocks.last() {
        Some(block) if block.kind == kind && block.name.eq_ignore_ascii_case(name) => {
            context.blocks.pop();
            context.relative = None;
            Ok(())
        }
        Some(block) => {
            let begin = match block.kind {
                BlockKind::Vendor => "END-VENDOR",
                BlockKind::Tlv => "END-TLV",
                BlockKind::Protocol => "END-PROTOCOL",
            };
            Err(Problem::Unbalanced(format!("{keyword} {name}"), format!("{begin} {}", block.name)))
        }
        None => Err(Problem::Unbalanced(format!("{keyword} {name}"), "no END at all".to_owned())),
    }
}
