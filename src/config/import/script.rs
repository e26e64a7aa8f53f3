//! Command lines of the original: which program, which words.

use std::borrow::Cow;
use std::sync::Arc;

use super::at_word;
use crate::config::nearest::nearest;
use crate::config::problem::Problem;
use crate::config::source::{Location, Source};

/// What can be imported, for messages.
pub(super) const PROGRAMS: &str = "commands are `./train.py action=…`, `./infer.py --checkpoint …`, `./gpt_annotation.py …` and \
     `./dataset_annotation.py …`, files are flat YAML";

/// A program of the original that an experiment stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// `train.py`: the twenty actions.
    Train,
    /// `infer.py`: classifies pictures with one checkpoint.
    Infer,
    /// `gpt_annotation.py`: annotation by a model.
    AnnotateGpt,
    /// `dataset_annotation.py`: annotation by people.
    AnnotateHuman,
}

const ALL: [Program; 4] = [
    Program::Train,
    Program::Infer,
    Program::AnnotateGpt,
    Program::AnnotateHuman,
];

impl Program {
    /// Name of its file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Train => "train.py",
            Self::Infer => "infer.py",
            Self::AnnotateGpt => "gpt_annotation.py",
            Self::AnnotateHuman => "dataset_annotation.py",
        }
    }
}

/// A command line.
#[derive(Debug, Clone)]
pub(super) struct Command {
    /// Its program.
    pub program: Program,
    /// All of it, for the head of the file.
    pub text: String,
    /// What follows the program.
    pub arguments: Vec<String>,
}

/// The commands of a shell script, one per line; a backslash at the end of a
/// line goes on in the next.
pub(super) fn commands(source: &Arc<Source>, problems: &mut Vec<Problem>) -> Vec<Command> {
    let mut commands = Vec::new();
    let mut pending = String::new();
    let mut begin = 0;
    let mut offset = 0;
    for line in source.text.split_inclusive('\n') {
        if pending.is_empty() {
            begin = offset;
        }
        offset += line.len();
        let line = line.trim_end();
        if let Some(part) = line.strip_suffix('\\') {
            pending.push_str(part);
            continue;
        }
        pending.push_str(line);
        let text = std::mem::take(&mut pending);
        let trimmed = text.trim_start();
        if trimmed.is_empty() || trimmed.starts_with('#') {
            continue;
        }
        let place = Location::new(source, begin..begin + line.len());
        match shlex::split(&text) {
            Some(words) => commands.extend(command(words, Some(place), problems)),
            None => problems.push(
                Problem::error("a quote is not closed")
                    .at(place, "")
                    .help("a command stands on one line, or its lines end with a backslash"),
            ),
        }
    }
    commands
}

/// The command that words stand for; variables before it and the interpreter
/// are skipped.
pub(super) fn command(
    words: Vec<String>,
    place: Option<Location>,
    problems: &mut Vec<Problem>,
) -> Option<Command> {
    let at = words.iter().position(|word| word.ends_with(".py"));
    let name = at.map(|at| words[at].rsplit('/').next().unwrap_or_default());
    let known = ALL.into_iter().find(|program| name == Some(program.name()));
    let Some(program) = known else {
        problems.push(no_experiment(&words, name, place));
        return None;
    };
    let arguments = at.map_or(&[][..], |at| &words[at + 1..]).to_vec();
    Some(Command {
        program,
        text: words
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" "),
        arguments,
    })
}

/// A word as it may stand on a command line, in quotes only where it must.
pub(super) fn quoted(word: &str) -> Cow<'_, str> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./~-".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into();
    }
    shlex::try_quote(word).unwrap_or(word.into())
}

/// Why a command line cannot be imported.
fn no_experiment(words: &[String], name: Option<&str>, place: Option<Location>) -> Problem {
    let here = match name {
        Some("specificity_scores.py") => Some("novic specificity"),
        _ => None,
    };
    let first = words.first().map_or("", String::as_str);
    let problem = match (name, here) {
        (Some(name), Some(_)) => Problem::error(format!("`{name}` is no experiment")),
        _ => Problem::error(format!("`{first}` is no command of the original")),
    };
    let problem = match place {
        Some(place) => problem.at(place, ""),
        None => at_word(problem, name.unwrap_or(first)),
    };
    match here {
        Some(here) => problem.help(format!(
            "its command here is `{here}`, with the same options"
        )),
        None => {
            let names = ALL.map(Program::name);
            let near = name.and_then(|name| nearest(name, names));
            let problem = near.into_iter().fold(problem, |problem, near| {
                problem.help(format!("did you mean `./{near}`?"))
            });
            problem.help(PROGRAMS)
        }
    }
}
