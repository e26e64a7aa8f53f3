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
mod shell;
mod shell_words;
mod train;
mod write;
mod yaml;

use std::path::Path;
use std::sync::Arc;

use super::compose::Request;
use super::experiment::{Experiment, push_new};
use super::problem::{ConfigErrors, Problem, Severity};
use super::show::toml_value;
use super::source::{Location, Source, SourceKind};
use annotation::Annotation;
use draft::{Draft, Drafted, Stage};
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

/// Imports all commands of a shell script. Variables, `for` loops over words and
/// lists of commands are followed; variables that the script does not set are
/// left to the environment.
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
    let script = shell::read(&source, &mut problems);
    for line in script.lines {
        let mut found = Vec::new();
        let place = line.place.clone();
        if let Some(mut command) = script::command(line.words, Some(line.place), &mut found) {
            command.label = script::label(&line.point);
            parts.add(&command, &mut found);
        }
        for problem in found {
            let mut places = problem.places.iter();
            let is_placed = places.any(|(other, _)| Arc::ptr_eq(&other.source, &source));
            let problem = match is_placed {
                true => problem,
                false => problem.help(format!("the command stands in {place}")),
            };
            push_new(&mut problems, problem);
        }
    }
    parts.left_out = script.left_out;
    if parts.is_empty() && problems.iter().all(|p| p.severity != Severity::Error) {
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
    /// Commands of a script that matter to the shell alone.
    left_out: Vec<String>,
}

impl Parts {
    fn add(&mut self, command: &Command, problems: &mut Vec<Problem>) {
        match command.program {
            Program::Train => self.stage(train::draft(command, problems), command),
            Program::Infer => self.stage(infer::draft(command, problems), command),
            Program::AnnotateGpt | Program::AnnotateHuman | Program::Specificity => {
                self.annotations
                    .extend(annotation::annotation(command, problems));
            }
        }
    }

    fn stage(&mut self, draft: Option<Draft>, command: &Command) {
        self.drafts.extend(draft.map(|draft| Draft {
            label: command.label.clone(),
            ..draft
        }));
    }

    fn is_empty(&self) -> bool {
        self.drafts.is_empty() && self.annotations.is_empty()
    }
}

fn finish(
    parts: Parts,
    name: Option<&str>,
    mut problems: Vec<Problem>,
) -> Result<Imported, ConfigErrors> {
    let is_wrong = |problems: &[Problem]| problems.iter().any(|p| p.severity == Severity::Error);
    if is_wrong(&problems) {
        return Err(ConfigErrors { problems });
    }
    let usual = parts.annotations.first().map(|other| other.name);
    let name = match parts.drafts.is_empty() {
        true => name.or(usual),
        false => name,
    };
    let stages = draft::linked(parts.drafts);
    let mut others = annotation::text(&parts.annotations);
    if !parts.left_out.is_empty() {
        others.push_str("\n# Left out, as it matters to the shell alone:\n");
    }
    for command in &parts.left_out {
        others.push_str(&format!("#   {command}\n"));
    }
    check(&stages, &others, name, &mut problems);
    if is_wrong(&problems) {
        return Err(ConfigErrors { problems });
    }
    Ok(Imported {
        text: text(&stages, &others, name),
        warnings: problems,
    })
}

/// An experiment file.
fn text(stages: &[Stage], others: &str, name: Option<&str>) -> String {
    let stages = match stages.is_empty() {
        true => {
            let name = name.unwrap_or("imported");
            format!("[experiment]\nname = {}\n", toml_value(&name.into()))
        }
        false => write::file(stages, name),
    };
    stages + others
}

/// Finds out why the program would refuse the file. What the environment gives
/// is not known yet: where it matters, problems are only warnings.
fn check(stages: &[Stage], others: &str, name: Option<&str>, problems: &mut Vec<Problem>) {
    let is_known = |drafted: &Drafted| !drafted.value.to_string().contains(script::VARIABLE);
    let mut known = stages.to_vec();
    for stage in &mut known {
        stage.draft.values.retain(|_, drafted| is_known(drafted));
    }
    let mut values = stages.iter().flat_map(|stage| stage.draft.values.values());
    let severity = match values.all(is_known) {
        true => Severity::Error,
        false => Severity::Warning,
    };
    let request = Request {
        file: "imported.toml".into(),
        text: Some(text(&known, others, name)),
        ..Request::default()
    };
    let errors = Experiment::load(&request).err().unwrap_or_default();
    for mut problem in errors.problems {
        if problem.severity == Severity::Error {
            problem.severity = severity;
            let help = "this is what the command would become: change the command";
            problems.push(problem.help(help));
        }
    }
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
