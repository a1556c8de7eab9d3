use super::*;

#[test]
fn the_embedded_files_are_right() {
    assert_eq!(Dictionary::embedded().attribute("user-name").map(|a| a.path), Some(AttributePath::plain(1)));
}
