//! Experiment files in the words of the present version.
//!
//! Version 0 has the flat names of the original, which stay valid; version 1
//! has nested names and says `version = 1`. Only keys are rewritten, where they
//! stand: comments and everything else stay as they are.

use std::ops::Range;
use std::path::Path;

use super::layer::{LayerReader, mirror_switch};
use super::node::{Field, Raw};
use super::problem::{ConfigErrors, Problem};
use super::schema::key_by_flat_name;
use super::source::{Source, SourceKind};
use super::toml;

/// Version of experiment files that this program writes; it reads all up to it.
pub const VERSION: i64 = 1;

/// A file in other words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migrated {
    /// The whole file.
    pub text: String,
    /// Lines that change: number of the line in the old file (from 1), old text
    /// if there was one, new text.
    pub changes: Vec<(usize, Option<String>, String)>,
}

/// The file `path` with the content `text` in the words of [`VERSION`]; without
/// changes if it has them.
///
/// # Errors
/// The file is no TOML, or is not after the change: a table of it has a section
/// and keys of the same section outside of it. It says a version that this
/// program does not read.
pub fn migrate(path: &Path, text: &str) -> Result<Migrated, ConfigErrors> {
    let source = Source::new(SourceKind::File(path.to_owned()), text);
    let failed = |problem: Problem| ConfigErrors {
        problems: vec![problem],
    };
    let fields = toml::parse(&source).map_err(failed)?;
    let mut edits: Vec<(Range<usize>, String)> = Vec::new();
    if let Some(field) = fields.iter().find(|field| field.key == "version") {
        let mut problems = Vec::new();
        LayerReader::read(&source, std::slice::from_ref(field), &mut problems);
        if !problems.is_empty() {
            return Err(ConfigErrors { problems });
        }
        if field.value.raw != Raw::Int(VERSION) {
            edits.push((field.value.span.clone(), VERSION.to_string()));
        }
    }
    flat_keys(&fields, &mut edits);
    for field in &fields {
        if let ("stage", Raw::Table(stages)) = (field.key.as_str(), &field.value.raw) {
            for stage in stages {
                if let Raw::Table(fields) = &stage.value.raw {
                    flat_keys(fields, &mut edits);
                }
            }
        }
    }
    edits.sort_by_key(|(span, _)| span.start);
    let mut changed = String::with_capacity(text.len());
    let mut done = 0;
    for (span, name) in edits {
        changed.push_str(&text[done..span.start]);
        changed.push_str(&name);
        done = span.end;
    }
    changed.push_str(&text[done..]);
    let mut changes: Vec<_> = text
        .lines()
        .zip(changed.lines())
        .zip(1..)
        .filter(|((old, new), _)| old != new)
        .map(|((old, new), line)| (line, Some(old.to_owned()), new.to_owned()))
        .collect();
    if !fields.iter().any(|field| field.key == "version") {
        // Behind the comments at the top, before the first key.
        let is_head = |line: &&str| line.starts_with('#') || line.trim().is_empty();
        let head: Vec<_> = changed.split_inclusive('\n').take_while(is_head).collect();
        let (lines, at) = (head.len(), head.iter().map(|line| line.len()).sum());
        let line = format!("version = {VERSION}");
        changed.insert_str(at, &format!("{line}\n"));
        changes.insert(0, (lines + 1, None, line));
    }
    let again = Source::new(SourceKind::File(path.to_owned()), changed.as_str());
    toml::parse(&again).map_err(|problem| {
        failed(problem.help("this is the file after the change: gather the keys of the section"))
    })?;
    Ok(Migrated {
        text: changed,
        changes,
    })
}

/// Places of flat names, and what belongs there.
fn flat_keys(fields: &[Field], edits: &mut Vec<(Range<usize>, String)>) {
    for field in fields {
        // Tables are sections, and the one flat name with other values stays.
        if matches!(field.value.raw, Raw::Table(_)) {
            continue;
        }
        if let Some(key) = key_by_flat_name(&field.key)
            && mirror_switch(key, &field.value, true).is_none()
            && key.path != field.key
        {
            edits.push((field.key_span.clone(), key.path.to_owned()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Experiment, Request};
    use super::*;

    fn load(text: &str) -> Experiment {
        let request = Request {
            file: "mine.toml".into(),
            text: Some(text.to_owned()),
            ..Request::default()
        };
        Experiment::load(&request).unwrap()
    }

    #[test]
    fn flat_names_become_nested_ones_where_they_stand() {
        let old = "# Mine.\n\ninit_lr = 0.5   # large\nwandb = true\n\n[stage.train]\nkind = \"train\"\nbatch_size = 3 # small\ntrain.max_epochs = 2\n";
        let migrated = migrate(Path::new("mine.toml"), old).unwrap();
        assert_eq!(
            migrated.text,
            "# Mine.\n\nversion = 1\ntrain.lr.init = 0.5   # large\nwandb = true\n\n[stage.train]\nkind = \"train\"\ndata.batch_size = 3 # small\ntrain.max_epochs = 2\n"
        );
        let lines: Vec<_> = migrated.changes.iter().map(|change| change.0).collect();
        assert_eq!(lines, [3, 3, 8]);
        let (before, after) = (load(old), load(&migrated.text));
        assert_eq!(before.config, after.config);
        assert_eq!(before.stages[0].config, after.stages[0].config);
        let again = migrate(Path::new("mine.toml"), &migrated.text).unwrap();
        assert!(again.changes.is_empty() && again.text == migrated.text);
    }

    #[test]
    fn what_cannot_be_rewritten_is_shown() {
        let text = "init_lr = 0.5\n[train]\nmax_epochs = 2\n";
        let error = migrate(Path::new("mine.toml"), text)
            .unwrap_err()
            .to_string();
        assert!(error.contains("gather the keys"), "{error}");
    }

    #[test]
    fn versions_are_read_as_by_all_commands() {
        let migrated = |text: &str| migrate(Path::new("mine.toml"), text);
        let zero = migrated("version = 0 # old\ninit_lr = 0.5\n").unwrap();
        assert_eq!(zero.text, "version = 1 # old\ntrain.lr.init = 0.5\n");
        assert_eq!(zero.changes.len(), 2);
        assert!(migrated("version = 1\n").unwrap().changes.is_empty());
        for (version, said) in [
            ("\"a\"", "expected a number"),
            ("2", "newer novic"),
            ("-1", "version -1"),
        ] {
            let text = format!("version = {version}\n");
            let error = migrated(&text).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
            let request = Request {
                file: "mine.toml".into(),
                text: Some(text),
                ..Request::default()
            };
            assert_eq!(Experiment::load(&request).unwrap_err().to_string(), error);
        }
    }

    #[test]
    fn files_of_later_versions_are_refused() {
        let request = Request {
            file: "mine.toml".into(),
            text: Some("version = 2\n".into()),
            ..Request::default()
        };
        let error = Experiment::load(&request).unwrap_err().to_string();
        assert!(
            error.contains("version 2") && error.contains("newer novic"),
            "{error}"
        );
    }
}
