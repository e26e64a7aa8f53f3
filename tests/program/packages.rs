//! What packages are made of.

use std::fs;
use std::path::{Component, Path, PathBuf};

use regex::Regex;

use crate::folder::repository;

/// A path without `..`.
fn plain(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                plain.pop();
            }
            part => plain.push(part),
        }
    }
    plain
}

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
}

#[test]
fn what_the_program_contains_is_in_the_context_of_the_container() {
    let root = repository("");
    let ignored = fs::read_to_string(root.join(".dockerignore")).unwrap();
    let context: Vec<&str> = ignored
        .lines()
        .filter_map(|line| line.strip_prefix('!'))
        .collect();
    let mut files = vec![root.join("build.rs")];
    sources(&root.join("src"), &mut files);
    let include = Regex::new(r#"include_(?:str|bytes)!\(\s*"([^"]+)""#).unwrap();
    let mut seen = 0;
    for file in &files {
        let text = fs::read_to_string(file).unwrap();
        let program = text.split("#[cfg(test)]").next().unwrap();
        for found in include.captures_iter(program) {
            let included = plain(&file.parent().unwrap().join(&found[1]));
            let in_context = |part: &&str| included.starts_with(root.join(part));
            assert!(
                context.iter().any(in_context),
                "{} is not in .dockerignore, but {} includes it",
                included.display(),
                file.display()
            );
            seen += 1;
        }
    }
    assert!(seen > 30, "only {seen} included files were found");
}
