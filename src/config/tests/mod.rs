//! Tests of the room as a whole: files in, experiments or problems out.

mod errors;
mod grammar;
mod hydra_corpus;
mod import;
mod json_schema;
mod layers;
mod recipes;

use std::fs;

use super::{Experiment, Request};

/// Loads `main.toml` from a directory with these files. Problems come as text,
/// the name of the directory left out.
fn load(files: &[(&str, &str)], overrides: &[&str]) -> Result<Experiment, String> {
    load_with(files, overrides, &[])
}

fn load_with(
    files: &[(&str, &str)],
    overrides: &[&str],
    environment: &[(&str, &str)],
) -> Result<Experiment, String> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    for (name, text) in files {
        let path = directory.path().join(name);
        fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        fs::write(path, text).expect("a file");
    }
    let request = Request {
        file: directory.path().join("main.toml"),
        environment: environment
            .iter()
            .map(|&(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
        overrides: overrides.iter().map(|&text| text.to_owned()).collect(),
        ..Request::default()
    };
    let prefix = format!("{}/", directory.path().display());
    Experiment::load(&request).map_err(|errors| errors.to_string().replace(&prefix, ""))
}
