//! What somebody meant who wrote a key there is not. Knows keys by their paths alone.

use std::collections::BTreeSet;

/// `a.b.c`, with quotes where TOML wants them.
pub(super) fn join(path: &[String]) -> String {
    let bare = |part: &String| {
        let is_bare = part.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_') && !part.is_empty();
        if is_bare { part.clone() } else { format!("{part:?}") }
    };
    path.iter().map(bare).collect::<Vec<_>>().join(".")
}

/// The known key that was probably meant: spelled alike in the same table, or the same in another one.
pub(super) fn suggestion(known: &BTreeSet<Vec<String>>, unknown: &[String]) -> Option<String> {
    let (name, table) = unknown.split_last()?;
    let here = known.iter().filter(|path| path.len() > table.len() && path.starts_with(table));
    let alike = here
        .map(|path| &path[table.len()])
        .map(|candidate| (strsim::damerau_levenshtein(candidate, name), candidate))
        .min()
        .filter(|(distance, candidate)| *distance <= candidate.len().max(name.len()).div_ceil(3));
    if let Some((_, candidate)) = alike {
        let path = [table, std::slice::from_ref(candidate)].concat();
        return Some(format!("did you mean {}?", join(&path)));
    }
    let elsewhere = known.iter().find(|path| path.last() == Some(name))?;
    Some(format!("did you mean {}?", join(elsewhere)))
}

/// The keys there are beside an unknown one.
pub(super) fn siblings(known: &BTreeSet<Vec<String>>, unknown: &[String]) -> String {
    let table = &unknown[..unknown.len().saturating_sub(1)];
    let names: BTreeSet<&str> = known
        .iter()
        .filter(|path| path.len() > table.len() && path.starts_with(table))
        .map(|path| path[table.len()].as_str())
        .collect();
    if names.is_empty() {
        return "there is nothing of that name at all".to_owned();
    }
    format!("there are {}", names.into_iter().collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(key: &str) -> Vec<String> {
        key.split('.').map(str::to_owned).collect()
    }

    #[test]
    fn alike_here_comes_before_the_same_elsewhere() {
        let known: BTreeSet<_> = ["hold.window", "hold.grace", "log.filter", "node"].map(path).into();
        let suggested = |key: &str| suggestion(&known, &path(key));
        assert_eq!(suggested("hold.windwo").as_deref(), Some("did you mean hold.window?"));
        assert_eq!(suggested("hodl").as_deref(), Some("did you mean hold?"));
        assert_eq!(suggested("window").as_deref(), Some("did you mean hold.window?"));
        assert_eq!(suggested("hold.zebra"), None);
        assert_eq!(siblings(&known, &path("hold.zebra")), "there are grace, window");
    }

    #[test]
    fn a_name_with_a_dot_is_quoted() {
        assert_eq!(join(&["nas".to_owned(), "edge.example".to_owned()]), "nas.\"edge.example\"");
    }
}
