//! Reads the embedded texts and the operator's over them, and checks every one of them.
//!
//! A text that cannot be sent would be found when somebody waits for it, so nothing is left to that moment.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, RwLock};

use fluent_bundle::FluentResource;
use fluent_bundle::concurrent::FluentBundle;
use fluent_syntax::ast::{Entry, Message};
use fluent_syntax::parser;
use unic_langid::LanguageIdentifier;

use super::arguments::{self, Arguments};
use super::error::{MessageProblem, MessagesError};
use super::form::Form;
use super::{Language, Messages, Said};

/// Language, file name, text.
const EMBEDDED: &[(&str, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/messages.rs"));

/// How alike an unknown id and a known one must be to be taken for a slip (0 to 1).
const ALIKE: f64 = 0.7;

/// One file of one language.
struct Source {
    language: Language,
    /// As it is named in errors.
    file: String,
    text: String,
    /// One of those in the binary, and not the operator's.
    embedded: bool,
}

impl Messages {
    /// The embedded texts, and over them those of a directory of the same shape (`LANGUAGE/*.ftl`): what a file there does not say
    /// stays as it is. A language of its own is welcome there too; what it does not say is said in English.
    ///
    /// # Errors
    /// [`MessagesError`] with everything that is wrong: a file that cannot be read or parsed, an id there is not, an
    /// argument the message has not, a text that cannot be formatted or that Telegram would not take.
    pub fn load(overrides: Option<&Path>) -> Result<Self, MessagesError> {
        let mut problems = Vec::new();
        let mut sources = embedded();
        if let Some(directory) = overrides {
            sources.extend(read(directory, &mut problems));
        }
        let said = build(sources, &mut problems);
        if problems.is_empty() { Ok(Self(RwLock::new(Arc::new(said)))) } else { Err(MessagesError { problems }) }
    }
}

fn embedded() -> Vec<Source> {
    let source = |(language, name, text): &(&str, &str, &str)| Source {
        language: language.parse().expect("a folder of config/messages is a language"),
        file: format!("config/messages/{language}/{name}"),
        text: (*text).to_owned(),
        embedded: true,
    };
    EMBEDDED.iter().map(source).collect()
}

fn read(directory: &Path, problems: &mut Vec<MessageProblem>) -> Vec<Source> {
    let mut sources = Vec::new();
    for folder in entries(directory, problems) {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !folder.is_dir() {
            if name.ends_with(".ftl") {
                problems.push(about(&folder, "belongs into the folder of its language, such as en or ru"));
            }
            continue;
        }
        let language = match name.parse::<Language>() {
            Ok(language) if language.as_str() == name => language,
            _ => {
                problems.push(about(&folder, "is no language; name the folder en, ru or the like"));
                continue;
            }
        };
        for file in
            entries(&folder, problems).into_iter().filter(|file| file.extension().is_some_and(|ext| ext == "ftl"))
        {
            match fs::read_to_string(&file) {
                Ok(text) => sources.push(Source {
                    language: language.clone(),
                    file: file.display().to_string(),
                    text,
                    embedded: false,
                }),
                Err(error) => problems.push(about(&file, &error.to_string())),
            }
        }
    }
    sources
}

fn entries(directory: &Path, problems: &mut Vec<MessageProblem>) -> Vec<PathBuf> {
    let listed = fs::read_dir(directory).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut entries: Vec<PathBuf> = listed.unwrap_or_else(|error| {
        problems.push(about(directory, &error.to_string()));
        Vec::new()
    });
    entries.sort();
    entries
}

fn about(path: &Path, what: &str) -> MessageProblem {
    MessageProblem { file: path.display().to_string(), line: None, what: what.to_owned() }
}

fn build(sources: Vec<Source>, problems: &mut Vec<MessageProblem>) -> Said {
    let known = documented(&sources, problems);
    let mut languages = BTreeMap::new();
    // Where each message of a language was last said, for the check of how it reads.
    let mut said: BTreeMap<(Language, String), (String, usize)> = BTreeMap::new();
    for source in sources {
        let bundle = languages.entry(source.language.clone()).or_insert_with(|| bundle(&source.language));
        let resource = match FluentResource::try_new(source.text.clone()) {
            Ok(resource) => resource,
            Err((resource, errors)) => {
                problems.extend(errors.into_iter().map(|error| MessageProblem {
                    file: source.file.clone(),
                    line: Some(line_of(&source.text, error.pos.start)),
                    what: format!("{}", error.kind),
                }));
                resource
            }
        };
        let mut here = BTreeSet::new();
        for message in messages(&resource) {
            let line = line_saying(&source.text, message.id.name);
            let mut problem = |what: String| {
                problems.push(MessageProblem { file: source.file.clone(), line: Some(line), what });
            };
            let id = message.id.name.to_owned();
            let place = (source.language.clone(), id.clone());
            if !here.insert(id.clone()) || (source.embedded && said.contains_key(&place)) {
                problem(format!("{id} is said twice"));
            }
            match (known.get(&id), &message.value) {
                (None, _) => problem(format!("there is no message {id}{}", nearest(&known, &id))),
                (Some(_), None) => problem(format!("{id} says nothing")),
                (Some(arguments), Some(value)) => {
                    for name in arguments::used(value).into_iter().filter(|name| !arguments.contains_key(*name)) {
                        problem(format!("{id} has no argument ${name}{}", there_are(arguments)));
                    }
                    said.insert(place, (source.file.clone(), line));
                }
            }
        }
        bundle.add_resource_overriding(resource);
    }
    let said_now = Said { languages, arguments: known };
    // What is wrong in itself need not be tried.
    if problems.is_empty() {
        problems.extend(said.into_iter().filter_map(|((language, id), (file, line))| {
            let what = said_now.try_out(&language, &id).err()?;
            Some(MessageProblem { file, line: Some(line), what: format!("{id} {what}") })
        }));
    }
    said_now
}

/// The arguments of every message, as the comments of the embedded English texts give them.
fn documented(sources: &[Source], problems: &mut Vec<MessageProblem>) -> BTreeMap<String, Arguments> {
    let mut known = BTreeMap::new();
    for source in sources.iter().filter(|source| source.embedded && source.language == Language::english()) {
        let tree = parser::parse(source.text.as_str()).unwrap_or_else(|(tree, _)| tree);
        for message in tree.body.iter().filter_map(message) {
            let comment = message.comment.iter().flat_map(|comment| comment.content.iter().copied());
            let arguments = arguments::read(comment).unwrap_or_else(|what| {
                let line = Some(line_saying(&source.text, message.id.name));
                problems.push(MessageProblem {
                    file: source.file.clone(),
                    line,
                    what: format!("{}: {what}", message.id.name),
                });
                Arguments::new()
            });
            known.insert(message.id.name.to_owned(), arguments);
        }
    }
    known
}

impl Said {
    /// Formats with sample arguments.
    fn try_out(&self, language: &Language, id: &str) -> Result<(), String> {
        let bundle = &self.languages[language];
        let pattern = bundle.get_message(id).and_then(|message| message.value()).ok_or("says nothing")?;
        for sample in arguments::samples(&self.arguments[id]) {
            let sample = sample.into_iter().collect();
            let mut errors = Vec::new();
            let text = bundle.format_pattern(pattern, Some(&sample), &mut errors);
            if let Some(error) = errors.first() {
                return Err(format!("cannot be said: {error}"));
            }
            Form::of(id).check(&text)?;
        }
        Ok(())
    }
}

fn bundle(language: &Language) -> FluentBundle<FluentResource> {
    let tag = language.as_str().parse::<LanguageIdentifier>().unwrap_or_default();
    let mut bundle = FluentBundle::new_concurrent(vec![tag]);
    // Isolating characters would be copied along with commands and ids. Guests have no characters that turn the direction.
    bundle.set_use_isolating(false);
    bundle
}

fn messages(resource: &FluentResource) -> impl Iterator<Item = &Message<&str>> {
    resource.entries().filter_map(message)
}

fn message<'a, 's>(entry: &'a Entry<&'s str>) -> Option<&'a Message<&'s str>> {
    match entry {
        Entry::Message(message) => Some(message),
        _ => None,
    }
}

fn line_of(text: &str, octet: usize) -> usize {
    text.as_bytes().iter().take(octet).filter(|octet| **octet == b'\n').count() + 1
}

/// The last line that begins a message of that id.
fn line_saying(text: &str, id: &str) -> usize {
    let begins = |line: &str| line.strip_prefix(id).is_some_and(|rest| rest.trim_start().starts_with('='));
    let lines = text.lines().enumerate().filter(|(_, line)| begins(line));
    lines.last().map_or(1, |(index, _)| index + 1)
}

fn nearest(known: &BTreeMap<String, Arguments>, id: &str) -> String {
    let likeness = |candidate: &&String| strsim::normalized_damerau_levenshtein(candidate, id);
    let best = known.keys().max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    match best.filter(|candidate| likeness(candidate) >= ALIKE) {
        Some(candidate) => format!("; did you mean {candidate}?"),
        None => String::new(),
    }
}

fn there_are(arguments: &Arguments) -> String {
    if arguments.is_empty() {
        return "; it has none".to_owned();
    }
    format!("; it has {}", arguments.keys().map(|name| format!("${name}")).collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::super::Value;
    use super::*;

    fn language(tag: &str) -> Language {
        tag.parse().unwrap()
    }

    /// A directory with these files.
    fn directory(files: &[(&str, &str)]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = directory.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        directory
    }

    fn refused(file: &str, text: &str) -> String {
        let directory = directory(&[(file, text)]);
        let error = Messages::load(Some(directory.path())).expect_err(text).to_string();
        error.replace(&format!("{}/", directory.path().display()), "")
    }

    #[test]
    fn the_embedded_texts_are_sound_and_russian_lacks_none() {
        let messages = Messages::load(None).unwrap_or_else(|error| panic!("{error}"));
        let russian = language("ru");
        let missing: Vec<_> = messages.ids().into_iter().filter(|id| !messages.says(&russian, id)).collect();
        assert!(missing.is_empty(), "not said in Russian: {missing:?}");
        assert!(!messages.ids().is_empty());
    }

    #[test]
    fn an_operator_may_say_it_differently_message_by_message() {
        let directory = directory(&[
            ("en/mine.ftl", "button-yes = Yes, me\n"),
            ("de/approver.ftl", "button-yes = Ja, ich\n"),
            ("README", "not a message"),
        ]);
        let messages = Messages::load(Some(directory.path())).unwrap();
        let say = |tag: &str, id: &str| messages.say(&language(tag), id, &[]);
        assert_eq!(say("en", "button-yes"), "Yes, me");
        assert_eq!(say("en", "button-no"), "Not me");
        assert_eq!(say("ru", "button-yes"), "Это я");
        assert_eq!(say("de", "button-yes"), "Ja, ich");
        assert_eq!(say("de", "button-no"), "Not me");
        assert_eq!(say("fr", "button-yes"), "Yes, me");
        assert!(messages.speaks(&language("de")) && !messages.speaks(&language("fr")));
    }

    #[test]
    fn others_take_their_place_while_they_are_in_use() {
        let directory = directory(&[("en/mine.ftl", "button-yes = Yes, me\n"), ("de/a.ftl", "button-no = Nein\n")]);
        let messages = Messages::load(None).unwrap();
        messages.replace(&Messages::load(Some(directory.path())).unwrap());
        assert_eq!(messages.say(&language("en"), "button-yes", &[]), "Yes, me");
        assert!(messages.speaks(&language("de")) && messages.languages().len() == 3);
    }

    #[test]
    fn what_is_wrong_is_named_by_file_and_line() {
        for (file, text, expected) in [
            ("ru/a.ftl", "\nbuton-yes = Да\n", "ru/a.ftl:2: there is no message buton-yes; did you mean button-yes?"),
            ("en/a.ftl", "zebra = x\n", "en/a.ftl:1: there is no message zebra"),
            ("en/a.ftl", "button-yes = x\nbutton-yes = y\n", "en/a.ftl:2: button-yes is said twice"),
            ("en/a.ftl", "button-yes = { $who }\n", "en/a.ftl:1: button-yes has no argument $who; it has none"),
            ("en/a.ftl", "button-yes = { button-yess }\n", "en/a.ftl:1: button-yes cannot be said: "),
            ("en/a.ftl", "button-yes = { NUMBERS(1) }\n", "en/a.ftl:1: button-yes cannot be said: "),
            ("en/a.ftl", "button-yes\n  .x = y\n", "en/a.ftl:1: "),
            ("en/a.ftl", "# x\nbutton-yes = {\n", "en/a.ftl:"),
            ("english/a.ftl", "button-yes = x\n", "english: is no language"),
            ("a.ftl", "button-yes = x\n", "a.ftl: belongs into the folder of its language"),
        ] {
            let error = refused(file, text);
            assert!(error.starts_with(expected), "{text:?} gives {error:?}");
        }
        let long = format!("button-yes = {}\n", "x".repeat(41));
        assert!(refused("en/a.ftl", &long).contains("button-yes is 41 characters long"));
        let missing = Messages::load(Some(Path::new("/nonexistent/messages"))).unwrap_err().to_string();
        assert!(missing.starts_with("/nonexistent/messages: "), "{missing}");
    }

    #[test]
    fn values_are_what_they_are_made_of() {
        assert_eq!(Value::from(7_u32), Value::Number(7));
        assert_eq!(Value::from(u64::MAX), Value::Number(i64::MAX));
        assert_eq!(Value::from("a"), Value::from("a".to_owned()));
    }
}
