//! Commands and configurations of the original as experiment files.
//!
//! [`import_command`], [`import_script`] and [`import_yaml`] give the text of a
//! file whose stages have the values that the original would have had, with
//! comments where something means more, less or something else here. Stages
//! that read a cache which another one of the same script writes are linked.

mod annotation;
mod draft;
mod infer;
mod script;
mod train;
mod write;
mod yaml;

use std::path::Path;

use super::problem::{ConfigErrors, Problem, Severity};
use super::show::toml_value;
use super::source::{Location, Source, SourceKind};
use annotation::Annotation;
use draft::Draft;
use script::{Command, Program};

/// An imported experiment.
#[derive(Debug, Clone)]
pub struct Imported {
    /// The experiment file.
    pub text: String,
    /// What has no counterpart here and was left out.
    pub warnings: Vec<Problem>,
}

/// Imports one command line, given as words, `./train.py` and the like first.
///
/// # Errors
/// All problems of the command at once, each with the word it stands in.
pub fn import_command(words: &[String], name: Option<&str>) -> Result<Imported, ConfigErrors> {
    let mut problems = Vec::new();
    let command = script::command(words.to_vec(), None, &mut problems);
    let mut parts = Parts::default();
    if let Some(command) = &command {
        parts.add(command, &mut problems);
    }
    finish(parts, name, problems)
}

/// Imports all commands of a shell script. Only plain commands are understood:
/// no loops and no variables but a leading `$SOURCE`.
///
/// # Errors
/// All problems of all commands at once.
pub fn import_script(
    path: &Path,
    text: &str,
    name: Option<&str>,
) -> Result<Imported, ConfigErrors> {
    let mut problems = Vec::new();
    let source = Source::new(SourceKind::File(path.to_owned()), text);
    let mut parts = Parts::default();
    for command in script::commands(&source, &mut problems) {
        parts.add(&command, &mut problems);
    }
    if parts.is_empty() && problems.is_empty() {
        let problem = Problem::error(format!("{} has no commands", path.display()));
        problems.push(problem.help(script::PROGRAMS));
    }
    finish(parts, name.or(stem(path).as_deref()), problems)
}

/// Imports a flat configuration file of the original, such as the one that it
/// leaves in the directory of every run.
///
/// # Errors
/// All problems of the file at once.
pub fn import_yaml(path: &Path, text: &str, name: Option<&str>) -> Result<Imported, ConfigErrors> {
    let mut problems = Vec::new();
    let source = Source::new(SourceKind::File(path.to_owned()), text);
    let draft = yaml::draft(&source, &mut problems);
    let parts = Parts {
        drafts: draft.into_iter().collect(),
        ..Parts::default()
    };
    finish(parts, name, problems)
}

/// What commands become.
#[derive(Default)]
struct Parts {
    drafts: Vec<Draft>,
    annotations: Vec<Annotation>,
}

impl Parts {
    fn add(&mut self, command: &Command, problems: &mut Vec<Problem>) {
        match command.program {
            Program::Train => self.drafts.extend(train::draft(command, problems)),
            Program::Infer => self.drafts.extend(infer::draft(command, problems)),
            Program::AnnotateGpt | Program::AnnotateHuman => {
                self.annotations
                    .extend(annotation::annotation(command, problems));
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.drafts.is_empty() && self.annotations.is_empty()
    }
}

fn finish(
    parts: Parts,
    name: Option<&str>,
    problems: Vec<Problem>,
) -> Result<Imported, ConfigErrors> {
    if problems.iter().any(|p| p.severity == Severity::Error) {
        return Err(ConfigErrors { problems });
    }
    let stages = draft::linked(parts.drafts);
    let text = match stages.is_empty() {
        true => format!(
            "[experiment]\nname = {}\n",
            toml_value(&name.unwrap_or("annotation").into())
        ),
        false => write::file(&stages, name),
    };
    Ok(Imported {
        text: text + &annotation::text(&parts.annotations),
        warnings: problems,
    })
}

fn stem(path: &Path) -> Option<String> {
    Some(path.file_stem()?.to_string_lossy().into_owned())
}

/// A problem at a whole word of the command line.
fn at_word(problem: Problem, word: &str) -> Problem {
    let source = Source::new(SourceKind::Argument, word);
    let span = 0..word.len();
    problem.at(Location::new(&source, span), "")
}
