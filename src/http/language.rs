//! Which languages a browser asks for, the best first (Accept-Language, RFC 9110 §12.5.4). Pure.

use crate::model::Language;

/// More than anybody reads.
const MOST: usize = 16;

/// The languages asked for, the most wanted first.
pub(super) fn wanted(header: &str) -> Vec<Language> {
    let mut wanted: Vec<(u16, Language)> = header.split(',').take(MOST).filter_map(one).collect();
    // Of those that are wanted alike the first named goes first.
    wanted.sort_by_key(|(weight, _)| std::cmp::Reverse(*weight));
    wanted.into_iter().map(|(_, language)| language).collect()
}

/// One language and its weight in thousandths; `None` for one that is not wanted.
fn one(text: &str) -> Option<(u16, Language)> {
    let (tag, parameters) = text.split_once(';').unwrap_or((text, ""));
    let weight = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("q="));
    let weight = match weight.map(str::parse::<f32>) {
        None => 1000,
        Some(Ok(weight @ 0.0..=1.0)) => (weight * 1000.0) as u16,
        Some(_) => return None,
    };
    Some((weight, tag.parse().ok()?)).filter(|(weight, _)| *weight > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_decide_and_then_the_order() {
        for (header, expected) in [
            ("ru", "ru"),
            ("ru-RU,ru;q=0.9,en-US;q=0.8,en;q=0.7", "ru ru en en"),
            ("en;q=0.1, de , ru;q=0.5", "de ru en"),
            ("ru;q=0,en", "en"),
            ("*;q=0.5,en;q=nonsense,x,ru;q=7", ""),
            ("", ""),
            ("en;level=1;q=0.4,ru;q=0.401", "ru en"),
        ] {
            let found: Vec<_> = wanted(header).iter().map(ToString::to_string).collect();
            assert_eq!(found.join(" "), expected, "{header:?}");
        }
        assert_eq!(wanted(&"ru,".repeat(10_000)).len(), MOST);
    }
}
