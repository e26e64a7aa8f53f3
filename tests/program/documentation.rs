//! The documentation is whole: reference pages are those that the program makes
//! of itself, every page is in the book, and links lead somewhere.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

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

#[test]
fn every_page_is_in_the_book() {
    let docs = repository("docs");
    let summary = Page::read(&docs.join("SUMMARY.md"));
    let listed: BTreeSet<PathBuf> = summary.links.iter().map(|link| docs.join(link)).collect();
    let mut pages: BTreeSet<PathBuf> = markdown_in(&docs).into_iter().collect();
    pages.remove(&docs.join("SUMMARY.md"));
    assert_eq!(listed, pages, "docs/SUMMARY.md and the pages in docs/");
}

#[test]
fn links_lead_somewhere() {
    let docs = repository("docs");
    let mut pages = markdown_in(&docs);
    pages.extend(["README.md", "CONTRIBUTING.md", "python/README.md"].map(repository));
    let mut broken = Vec::new();
    for path in pages {
        for link in Page::read(&path).links {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            // A book does not reach beyond its folder.
            let stays = !path.starts_with(&docs) || !leaves(&docs, &target);
            let whole = stays
                && target.exists()
                && (heading.is_empty() || Page::read(&target).headings.contains(heading));
            if !whole {
                broken.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

fn leaves(folder: &Path, target: &Path) -> bool {
    let target = target.canonicalize();
    !target.is_ok_and(|target| target.starts_with(folder.canonicalize().unwrap()))
}

#[test]
fn commands_that_are_named_exist() {
    let mut program = novic::cli::command();
    // Then `help` is among them.
    program.build();
    let mut pages = markdown_in(&repository("docs"));
    pages.extend(["README.md", "CONTRIBUTING.md", "python/README.md"].map(repository));
    let mut unknown = Vec::new();
    for path in pages {
        for code in Page::read(&path).code {
            let mut words = code.split_whitespace();
            if words.next() != Some("novic") {
                continue;
            }
            let mut command = &program;
            for word in words {
                // Words in capitals stand for others, and options end the name.
                let is_name = word.chars().all(|c| c.is_ascii_lowercase() || c == '-');
                if command.get_subcommands().next().is_none() || !is_name {
                    break;
                }
                match command.find_subcommand(word) {
                    Some(found) => command = found,
                    None => {
                        unknown.push(format!("{}: {code}", path.display()));
                        break;
                    }
                }
            }
        }
    }
    assert!(unknown.is_empty(), "{unknown:#?}");
}

/// What leads from and to a page, and what it names.
struct Page {
    links: Vec<String>,
    /// Code within its lines.
    code: Vec<String>,
    /// As they stand behind `#` in links.
    headings: BTreeSet<String>,
}

impl Page {
    fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let (mut links, mut code, mut headings) = (Vec::new(), Vec::new(), BTreeSet::new());
        let mut heading: Option<String> = None;
        for event in Parser::new_ext(&text, Options::ENABLE_TABLES) {
            match event {
                Event::Start(Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. }) => {
                    links.push(dest_url.into_string());
                }
                Event::Start(Tag::Heading { .. }) => heading = Some(String::new()),
                Event::End(TagEnd::Heading(_)) => {
                    headings.extend(heading.take().map(|text| anchor(&text)));
                }
                Event::Text(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                }
                Event::Code(text) => {
                    if let Some(heading) = &mut heading {
                        heading.push_str(&text);
                    }
                    code.push(text.into_string());
                }
                _ => {}
            }
        }
        Self {
            links,
            code,
            headings,
        }
    }
}

/// The name of a heading in links.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase().replace(' ', "-");
    kept.chars()
        .filter(|c| c.is_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}

fn markdown_in(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(markdown_in(&path));
        } else if path.extension().is_some_and(|ending| ending == "md") {
            found.push(path);
        }
    }
    found
}
