//! Noun lists of the command line.

use std::collections::HashSet;
use std::path::Path;

use super::InferArgs;
use super::cache_rows;
use crate::cache::CacheFile;
use crate::cli::{CliError, Exit};
use crate::infer::{NounList, known_spellings};
use crate::nouns::{ClassNameVariant, EMBEDDED, VariantMap, Vocabulary, class_names};

/// The nouns to choose from, each once; none for the model's own.
pub(super) fn nouns(
    args: &InferArgs,
    log: &mut dyn FnMut(&str),
) -> Result<Option<Vec<String>>, CliError> {
    let mut lists = Vec::new();
    for name in &args.guide {
        lists.push(named(name)?);
    }
    if let Some(path) = &args.guide_targets_file {
        lists.push(read(path)?);
    }
    if !args.guide_targets.is_empty() {
        lists.push(NounList {
            nouns: args.guide_targets.clone(),
            repeated: Vec::new(),
        });
    }
    if lists.is_empty() {
        return Ok(None);
    }
    let mut seen = HashSet::new();
    let mut all = NounList::default();
    for list in lists {
        all.repeated.extend(list.repeated);
        for noun in list.nouns {
            if seen.insert(noun.clone()) {
                all.nouns.push(noun);
            } else {
                all.repeated.push(noun);
            }
        }
    }
    if let Some(note) = all.note() {
        log(&format!("warning: {note}"));
    }
    Ok(Some(all.nouns))
}

/// Nouns as a model knows them: those that it does not know are looked up in
/// the dictionary, and what it knows of the same entry takes their place.
pub(super) fn as_known(
    nouns: &[String],
    vocabulary: &[String],
    log: &mut dyn FnMut(&str),
) -> Result<Vec<String>, CliError> {
    let dictionary = Vocabulary::load(Path::new(EMBEDDED), 0)
        .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let variants = VariantMap::new(dictionary.dictionary());
    let known = known_spellings(nouns, vocabulary, &variants);
    if let Some(note) = known.note() {
        log(&note);
    }
    Ok(known.nouns)
}

fn read(path: &Path) -> Result<NounList, CliError> {
    NounList::read(path).map_err(|error| CliError::from_error(Exit::Usage, &error))
}

/// A file, `dictionary[:THRESHOLD]`, or the class names of a dataset.
fn named(name: &str) -> Result<NounList, CliError> {
    if CacheFile::is_one(name) {
        return cache_rows::nouns(Path::new(name));
    }
    if Path::new(name).exists() {
        return read(Path::new(name));
    }
    let usage = |error: &dyn std::error::Error| CliError::from_error(Exit::Usage, error);
    let (head, tail) = match name.split_once(':') {
        Some((head, tail)) => (head, Some(tail)),
        None => (name, None),
    };
    if head == "dictionary" {
        let threshold = tail.unwrap_or("0").parse().map_err(|_| {
            CliError::usage(format!(
                "--guide {name}: the threshold must be a whole number"
            ))
        })?;
        let vocabulary =
            Vocabulary::load(Path::new(EMBEDDED), threshold).map_err(|error| usage(&error))?;
        return Ok(NounList {
            nouns: vocabulary.nouns().map(|noun| noun.target.clone()).collect(),
            repeated: Vec::new(),
        });
    }
    let variant = match tail {
        Some(tail) => ClassNameVariant::named(tail).map_err(|error| usage(&error))?,
        None => ClassNameVariant::Clip,
    };
    let data = Path::new("data");
    let classes = class_names(variant, head, Some(data)).map_err(|error| usage(&error))?;
    let classes = classes.ok_or_else(|| {
        CliError::usage(format!(
            "--guide {name}: no such file, and the {} list has no such dataset; give a file with \
             one noun per line, a dataset such as imagenet1k:multi, or dictionary",
            variant.name()
        ))
    })?;
    let mut list = NounList::default();
    let mut seen = HashSet::new();
    for class in classes {
        for part in class
            .split(',')
            .map(str::trim)
            .filter(|part| !part.is_empty())
        {
            if seen.insert(part.to_owned()) {
                list.nouns.push(part.to_owned());
            }
        }
    }
    Ok(list)
}
