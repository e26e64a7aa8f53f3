//! The documentation says what the program does: reference pages are those that
//! it makes of itself.

use std::fs;

use crate::folder::repository;

#[path = "../../examples/pages/reference.rs"]
mod reference;

#[test]
fn reference_pages_are_those_that_the_program_makes() {
    let folder = repository("docs/reference");
    let mut shipped: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    shipped.sort();
    let pages = reference::pages();
    let names: Vec<&str> = pages.iter().map(|(name, _)| *name).collect();
    assert_eq!(shipped, names);
    for (name, text) in pages {
        let shipped = fs::read_to_string(folder.join(name)).unwrap();
        assert!(
            shipped == text,
            "docs/reference/{name} is old; `cargo run --example pages -- reference docs/reference` makes it again"
        );
    }
}
