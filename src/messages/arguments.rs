//! Which arguments a message has, and samples of them.
//!
//! The comment above an English message says so, one line for each: `$seconds (number): …`, `$user (text 65): …`,
//! `$kind (one of day, night): …`. Who translates reads it; the check at start formats with it.

use std::collections::{BTreeMap, BTreeSet};

use fluent_syntax::ast::{Expression, InlineExpression, Pattern, PatternElement};

use super::Value;

/// Numbers that differ in their plural forms, in English and in Slavic languages.
const NUMBERS: [i64; 7] = [0, 1, 2, 5, 11, 21, 999_999_999];
/// More combinations than this are not tried.
const MOST: usize = 20_000;
/// Characters of a text whose line does not say how many it may have.
const USUAL: usize = 64;

/// The arguments of a message.
pub(super) type Arguments = BTreeMap<String, Kind>;

/// What an argument can be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// A whole number.
    Number,
    /// A text of at most so many characters.
    Text(usize),
    /// One of these words.
    OneOf(Vec<String>),
}

/// Reads the lines of a comment that begin with `$`.
pub(super) fn read<'a>(comment: impl IntoIterator<Item = &'a str>) -> Result<Arguments, String> {
    let mut arguments = Arguments::new();
    for line in comment.into_iter().filter_map(|line| line.trim().strip_prefix('$')) {
        let (name, kind) = line
            .split_once(" (")
            .and_then(|(name, rest)| Some((name, rest.split_once(')')?.0)))
            .ok_or_else(|| format!("its comment says nothing of what ${line} can be"))?;
        let kind = match kind.split_once(' ') {
            None if kind == "number" => Kind::Number,
            None if kind == "text" => Kind::Text(USUAL),
            Some(("text", most)) => {
                Kind::Text(most.parse().map_err(|_| format!("its comment gives ${name} no number of characters"))?)
            }
            Some(("one", words)) if words.starts_with("of ") => {
                Kind::OneOf(words[3..].split(',').map(|word| word.trim().to_owned()).collect())
            }
            _ => return Err(format!("its comment calls ${name} {kind:?}; there are number, text N, one of A, B")),
        };
        arguments.insert(name.to_owned(), kind);
    }
    Ok(arguments)
}

/// The variables a pattern uses, in all its variants.
pub(super) fn used<'a>(pattern: &Pattern<&'a str>) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    walk(pattern, &mut found);
    found
}

fn walk<'a>(pattern: &Pattern<&'a str>, found: &mut BTreeSet<&'a str>) {
    for element in &pattern.elements {
        if let PatternElement::Placeable { expression } = element {
            expressed(expression, found);
        }
    }
}

fn expressed<'a>(expression: &Expression<&'a str>, found: &mut BTreeSet<&'a str>) {
    match expression {
        Expression::Inline(inline) => inlined(inline, found),
        Expression::Select { selector, variants } => {
            inlined(selector, found);
            for variant in variants {
                walk(&variant.value, found);
            }
        }
    }
}

fn inlined<'a>(inline: &InlineExpression<&'a str>, found: &mut BTreeSet<&'a str>) {
    match inline {
        InlineExpression::VariableReference { id } => drop(found.insert(id.name)),
        InlineExpression::Placeable { expression } => expressed(expression, found),
        InlineExpression::FunctionReference { arguments, .. }
        | InlineExpression::TermReference { arguments: Some(arguments), .. } => {
            arguments.positional.iter().for_each(|argument| inlined(argument, found));
            arguments.named.iter().for_each(|argument| inlined(&argument.value, found));
        }
        _ => {}
    }
}

/// Sample arguments: texts at their longest, with every number and word in all combinations.
pub(super) fn samples(arguments: &Arguments) -> impl Iterator<Item = Vec<(&str, Value<'static>)>> {
    let choices = |kind: &Kind| match kind {
        Kind::Number => NUMBERS.len(),
        Kind::Text(_) => 1,
        Kind::OneOf(words) => words.len(),
    };
    let combinations = arguments.values().map(choices).product::<usize>().min(MOST);
    (0..combinations).map(move |mut place| {
        let pick = |(name, kind)| {
            let count = choices(kind);
            let choice = place % count;
            place /= count;
            (name, sample(kind, choice))
        };
        arguments.iter().map(|(name, kind)| (name.as_str(), kind)).map(pick).collect()
    })
}

fn sample(kind: &Kind, choice: usize) -> Value<'static> {
    match kind {
        Kind::Number => Value::from(NUMBERS[choice]),
        Kind::Text(most) => Value::from("W".repeat(*most)),
        Kind::OneOf(words) => Value::from(words[choice].clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_comment_says_what_arguments_can_be() {
        let read =
            read(["The question.", "$user (text 65): who", "$left (number): seconds", "$at (one of day, night): when"]);
        let expected =
            [("user", Kind::Text(65)), ("left", Kind::Number), ("at", Kind::OneOf(vec!["day".into(), "night".into()]))];
        let expected: Arguments = expected.map(|(name, kind)| (name.to_owned(), kind)).into();
        assert_eq!(read, Ok(expected.clone()));
        assert_eq!(samples(&expected).count(), 14);
        assert!(samples(&expected).all(|sample| sample.len() == 3));
        assert_eq!(samples(&Arguments::new()).count(), 1);
        for wrong in ["$user", "$user (thing): x", "$user (text many): x"] {
            assert!(super::read([wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn variables_are_found_in_every_variant() {
        let text = "a = { $x ->\n [one] { $y }\n *[other] { \"{\" } { -t(u: 1) } { N($z) } { { $w } }\n }\n";
        let tree = fluent_syntax::parser::parse(text).unwrap();
        let fluent_syntax::ast::Entry::Message(message) = &tree.body[0] else { panic!("no message") };
        assert_eq!(used(message.value.as_ref().unwrap()), BTreeSet::from(["w", "x", "y", "z"]));
    }
}
