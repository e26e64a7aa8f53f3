//! Command lines of the original: which program, which words.

use std::borrow::Cow;

use super::at_word;
use crate::config::nearest::nearest;
use crate::config::problem::Problem;
use crate::config::source::Location;

/// What can be imported, for messages.
pub(super) const PROGRAMS: &str = "commands are `./train.py action=…`, `./infer.py --checkpoint …`, `./gpt_annotation.py …`, \
     `./dataset_annotation.py …` and `specificity_scores.py …`, files are flat YAML";

/// How words begin what stands for a variable that the script does not set.
pub(super) const VARIABLE: &str = "${env:";
/// Longest end of a name of a stage.
const MAX_LABEL: usize = 60;

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
    /// `specificity_scores.py`: scores weighted with how specific nouns are.
    Specificity,
}

const ALL: [Program; 5] = [
    Program::Train,
    Program::Infer,
    Program::AnnotateGpt,
    Program::AnnotateHuman,
    Program::Specificity,
];

impl Program {
    /// Name of its file.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Train => "train.py",
            Self::Infer => "infer.py",
            Self::AnnotateGpt => "gpt_annotation.py",
            Self::AnnotateHuman => "dataset_annotation.py",
            Self::Specificity => "specificity_scores.py",
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
    /// End of the name of its stage.
    pub label: Option<String>,
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
    // Only values of keys can be left to the environment.
    let is_lost = |word: &&String| {
        let is_value = match program {
            Program::Train => word.contains('='),
            Program::Infer => true,
            _ => false,
        };
        word.contains(VARIABLE) && !is_value
    };
    if let Some(word) = arguments.iter().find(is_lost) {
        let title = format!("`{}` takes no variables here: {word}", program.name());
        let problem = Problem::error(title).help("set it with NAME=value in the script");
        problems.push(match place {
            Some(place) => problem.at(place, ""),
            None => at_word(problem, word),
        });
        return None;
    }
    Some(Command {
        program,
        text: words
            .iter()
            .map(|word| quoted(word))
            .collect::<Vec<_>>()
            .join(" "),
        arguments,
        label: None,
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
    let first = words.first().map_or("", String::as_str);
    let problem = Problem::error(format!("`{first}` is no command of the original"));
    let problem = match place {
        Some(place) => problem.at(place, ""),
        None => at_word(problem, name.unwrap_or(first)),
    };
    let near = name.and_then(|name| nearest(name, ALL.map(Program::name)));
    let problem = near.into_iter().fold(problem, |problem, near| {
        problem.help(format!("did you mean `./{near}`?"))
    });
    problem.help(PROGRAMS)
}

/// The end of the name of a stage that stands in loops: their values, if they
/// are short.
pub(super) fn label(point: &[String]) -> Option<String> {
    let short = |value: &String| {
        let last = value.rsplit(['/', ':']).next().unwrap_or_default();
        last.replace(|c: char| !c.is_ascii_alphanumeric() && c != '-', "_")
    };
    let label = point.iter().map(short).collect::<Vec<_>>().join("_");
    let is_name = !label.is_empty() && label.len() <= MAX_LABEL;
    is_name.then_some(label)
}
