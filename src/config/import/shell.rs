//! Shell scripts: which commands they run, with which words.
//!
//! Variables, loops over words, groups and lists of commands are followed. A
//! variable that the script does not set is left to the environment of the
//! experiment. Nothing is run: what only a shell can know is a problem.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use super::shell_words::{Piece, Token, Word, tokens};
use crate::config::experiment::push_new;
use crate::config::problem::Problem;
use crate::config::source::{Location, Source};

/// Most turns of all loops together.
const MAX_TURNS: usize = 10_000;
/// Names that the original fills in itself.
const KEPT: &[&str] = &["SOURCE", "IMAGEDIR", "EMBEDDER"];
/// Commands that matter to the shell alone.
const IDLE: &[&str] = &[
    ":",
    "clear",
    "date",
    "echo",
    "exit",
    "hostname",
    "mkdir",
    "nvidia-smi",
    "printf",
    "set",
    "shopt",
    "sleep",
    "trap",
    "true",
    "ulimit",
    "umask",
    "unset",
    "wait",
];
/// Commands that prepare what the commands behind them need.
const PREPARING: &[&str] = &[
    ".",
    "cd",
    "conda",
    "eval",
    "mamba",
    "micromamba",
    "module",
    "popd",
    "pushd",
    "source",
];
/// Commands that set variables.
const SETTING: &[&str] = &["declare", "export", "local", "readonly", "typeset"];

/// A command with the values of its variables put in.
#[derive(Debug)]
pub(super) struct Line {
    /// Its words.
    pub words: Vec<String>,
    /// Where it stands.
    pub place: Location,
    /// Values of the loops around it, the outermost first.
    pub point: Vec<String>,
}

/// What a script runs.
#[derive(Debug, Default)]
pub(super) struct Script {
    /// The commands, loops unrolled.
    pub lines: Vec<Line>,
    /// Commands that matter to the shell alone.
    pub left_out: Vec<String>,
}

/// Reads a script.
pub(super) fn read(source: &Arc<Source>, problems: &mut Vec<Problem>) -> Script {
    let tokens = tokens(source, problems);
    let mut parser = Parser {
        source,
        tokens: &tokens,
        at: 0,
        problems,
    };
    let (statements, _) = parser.statements(false);
    let mut runner = Runner {
        source,
        variables: BTreeMap::new(),
        point: Vec::new(),
        turns: 0,
        script: Script::default(),
        problems,
    };
    runner.run(&statements);
    runner.script
}

fn problem(source: &Arc<Source>, span: &Range<usize>, title: &str, help: &str) -> Problem {
    let place = Location::new(source, span.clone());
    Problem::error(title).at(place, "").help(help)
}

/// A part of a script.
enum Statement {
    /// A command or assignments.
    Plain(Vec<Word>),
    /// `for NAME in WORDS; do BODY; done`.
    Loop {
        name: String,
        words: Vec<Word>,
        body: Vec<Statement>,
    },
}

struct Parser<'a> {
    source: &'a Arc<Source>,
    tokens: &'a [Token],
    at: usize,
    problems: &'a mut Vec<Problem>,
}

impl<'a> Parser<'a> {
    fn problem(&mut self, span: &Range<usize>, title: &str, help: &str) {
        let problem = problem(self.source, span, title, help);
        push_new(self.problems, problem);
    }

    /// Statements up to the end, or to the `done` of a loop; whether that was
    /// there.
    fn statements(&mut self, in_loop: bool) -> (Vec<Statement>, bool) {
        let tokens = self.tokens;
        let mut statements = Vec::new();
        while let Some(token) = tokens.get(self.at) {
            match token {
                Token::Operator("|" | "||", span) => self.other_side(span),
                Token::Operator("\n" | ";" | "&&" | "&" | "(" | ")", _) => self.at += 1,
                // Where the output of a loop or group goes.
                Token::Operator(..) => self.at += 2,
                Token::Word(word) => match word.plain().unwrap_or_default() {
                    "for" => statements.extend(self.for_loop(word)),
                    "done" if in_loop => {
                        self.at += 1;
                        return (statements, true);
                    }
                    "{" | "}" | "!" | "time" => self.at += 1,
                    keyword @ ("if" | "while" | "until" | "case" | "select" | "function") => {
                        let title = format!("`{keyword}` cannot be imported");
                        let help = "write the commands out that are to run, one on a line";
                        self.problem(&word.span, &title, help);
                        self.at += 1;
                        self.skip_block();
                    }
                    _ => statements.push(Statement::Plain(self.plain())),
                },
            }
        }
        (statements, false)
    }

    /// The words of a command; where its output goes is left out.
    fn plain(&mut self) -> Vec<Word> {
        let tokens = self.tokens;
        let mut words = Vec::new();
        while let Some(token) = tokens.get(self.at) {
            match token {
                Token::Word(word) => words.push(word.clone()),
                Token::Operator("\n" | ";" | ";;" | "&&" | "&" | "||" | "|" | ")", _) => break,
                Token::Operator("(", span) => {
                    let title = "arrays and functions of the shell cannot be imported";
                    self.problem(span, title, "write their words or commands out");
                    let rest = &tokens[self.at..];
                    let end = rest
                        .iter()
                        .position(|t| matches!(t, Token::Operator(")", _)));
                    self.at += end.unwrap_or(rest.len());
                }
                Token::Operator("<<", span) => {
                    let title = "a text that follows in the script cannot be imported";
                    self.problem(span, title, "write it into a file");
                    self.at += 1;
                }
                Token::Operator(..) => self.at += 1,
            }
            self.at += 1;
        }
        words
    }

    /// What stands behind `|` and `||` is left out, unless it is a command of
    /// the original.
    fn other_side(&mut self, span: &Range<usize>) {
        self.at += 1;
        while matches!(self.tokens.get(self.at), Some(Token::Operator("\n", _))) {
            self.at += 1;
        }
        let words = self.plain();
        let text = |word: &Word| self.source.text.get(word.span.clone()).unwrap_or_default();
        if words.iter().any(|word| text(word).ends_with(".py")) {
            let title = "whether the command behind this runs depends on the one before it";
            self.problem(
                span,
                title,
                "write each on a line of its own, or leave one out",
            );
        }
    }

    fn for_loop(&mut self, keyword: &Word) -> Option<Statement> {
        self.at += 1;
        let Some((name, words)) = self.loop_head() else {
            let title = "only loops over words can be imported";
            let help = "write `for NAME in A B C; do …; done`";
            self.problem(&keyword.span, title, help);
            self.skip_block();
            return None;
        };
        let (body, is_closed) = self.statements(true);
        if !is_closed {
            let help = "end the loop with `done`";
            self.problem(&keyword.span, "`done` is missing", help);
        }
        Some(Statement::Loop { name, words, body })
    }

    /// `NAME in WORDS; do`.
    fn loop_head(&mut self) -> Option<(String, Vec<Word>)> {
        let name = self.next_plain()?.to_owned();
        (self.next_plain()? == "in").then_some(())?;
        let words = self.plain();
        while matches!(
            self.tokens.get(self.at),
            Some(Token::Operator("\n" | ";", _))
        ) {
            self.at += 1;
        }
        (self.next_plain()? == "do").then_some((name, words))
    }

    fn next_plain(&mut self) -> Option<&'a str> {
        let tokens = self.tokens;
        match tokens.get(self.at)? {
            Token::Word(word) => {
                self.at += 1;
                word.plain()
            }
            Token::Operator(..) => None,
        }
    }

    /// Goes behind the end of a block that cannot be imported.
    fn skip_block(&mut self) {
        let mut depth = 1;
        while let Some(token) = self.tokens.get(self.at) {
            self.at += 1;
            let word = match token {
                Token::Word(word) => word.plain().unwrap_or_default(),
                Token::Operator(..) => continue,
            };
            match word {
                "for" | "if" | "while" | "until" | "case" | "select" => depth += 1,
                "done" | "fi" | "esac" | "}" => depth -= 1,
                _ => {}
            }
            if depth == 0 {
                return;
            }
        }
    }
}

struct Runner<'a> {
    source: &'a Arc<Source>,
    /// Values of variables; none: only a shell knows it.
    variables: BTreeMap<String, Option<String>>,
    point: Vec<String>,
    turns: usize,
    script: Script,
    problems: &'a mut Vec<Problem>,
}

impl Runner<'_> {
    fn run(&mut self, statements: &[Statement]) {
        for statement in statements {
            match statement {
                Statement::Plain(words) => self.plain(words),
                Statement::Loop { name, words, body } => self.turn(name, words, body),
            }
        }
    }

    fn turn(&mut self, name: &str, words: &[Word], body: &[Statement]) {
        let mut values = Vec::new();
        for word in words {
            match braces(word) {
                Some(listed) => values.extend(listed),
                None => values.extend(self.expanded(word).unwrap_or_default()),
            }
        }
        for value in values {
            if self.turns >= MAX_TURNS {
                let span = words.first().map_or(0..0, |word| word.span.clone());
                let title = format!("the loops have more than {MAX_TURNS} turns");
                let help = "import one turn, then vary keys with `novic sweep`";
                let problem = problem(self.source, &span, &title, help);
                return push_new(self.problems, problem);
            }
            self.turns += 1;
            self.variables.insert(name.to_owned(), Some(value.clone()));
            self.point.push(value);
            self.run(body);
            self.point.pop();
        }
    }

    fn plain(&mut self, words: &[Word]) {
        let assignments = words.iter().take_while(|word| word.assigned().is_some());
        let (before, rest) = words.split_at(assignments.count());
        let Some(first) = rest.first() else {
            return before.iter().for_each(|word| self.assign(word));
        };
        let end = rest.last().map_or(first.span.end, |word| word.span.end);
        let text = self.source.text.get(first.span.start..end);
        let text = text.unwrap_or_default().split_whitespace();
        let text = text.collect::<Vec<_>>().join(" ");
        let name = first.plain().unwrap_or_default();
        if SETTING.contains(&name) {
            rest.iter().for_each(|word| self.assign(word));
        } else if IDLE.contains(&name) {
            if !self.script.left_out.contains(&text) {
                self.script.left_out.push(text);
            }
        } else if PREPARING.contains(&name) && !text.contains(".py") {
            let help = match name {
                "cd" | "pushd" | "popd" => {
                    "relative paths start at the directory in which `novic` runs"
                }
                _ => "do it before `novic` runs, if it is still needed",
            };
            let place = Location::new(self.source, first.span.start..end);
            let problem = Problem::warning(format!("`{name}` is left out"));
            push_new(self.problems, problem.at(place, "").help(help));
        } else {
            let expanded = words.iter().map(|word| self.expanded(word));
            // One after the other, so that all problems are told.
            let expanded: Vec<_> = expanded.collect();
            let begin = words.first().map_or(first.span.start, |w| w.span.start);
            if let Some(expanded) = expanded.into_iter().collect::<Option<Vec<_>>>() {
                self.script.lines.push(Line {
                    words: expanded.concat(),
                    place: Location::new(self.source, begin..end),
                    point: self.point.clone(),
                });
            }
        }
    }

    fn assign(&mut self, word: &Word) {
        if let Some((name, value)) = word.assigned() {
            let value: Result<String, String> =
                value.pieces.iter().map(|piece| self.text(piece)).collect();
            self.variables.insert(name.to_owned(), value.ok());
        }
    }

    /// The words that a word becomes, unless only a shell knows.
    fn expanded(&mut self, word: &Word) -> Option<Vec<String>> {
        match self.expand(word) {
            Ok(words) => Some(words),
            Err(unknown) => {
                let title = format!("`{unknown}` is only known to a shell");
                let help = "write its value out, or set it with NAME=value in the script";
                let problem = problem(self.source, &word.span, &title, help);
                push_new(self.problems, problem);
                None
            }
        }
    }

    /// A variable without quotes is split at blanks, as a shell does.
    fn expand(&self, word: &Word) -> Result<Vec<String>, String> {
        let mut words = Vec::new();
        let mut current: Option<String> = None;
        for piece in &word.pieces {
            let text = self.text(piece)?;
            let splits = match piece {
                Piece::Variable { name, quoted, .. } => {
                    !quoted && self.variables.contains_key(name)
                }
                _ => false,
            };
            if !splits {
                current.get_or_insert_default().push_str(&text);
                continue;
            }
            if text.starts_with(char::is_whitespace) {
                words.extend(current.take());
            }
            let mut parts = text.split_whitespace();
            if let Some(first) = parts.next() {
                current.get_or_insert_default().push_str(first);
            }
            for part in parts {
                words.extend(current.replace(part.to_owned()));
            }
            if text.ends_with(char::is_whitespace) {
                words.extend(current.take());
            }
        }
        words.extend(current);
        Ok(words)
    }

    fn text(&self, piece: &Piece) -> Result<String, String> {
        match piece {
            Piece::Text { text, .. } => Ok(text.clone()),
            Piece::Unknown(text) => Err(text.clone()),
            Piece::Variable { name, default, .. } => match (self.variables.get(name), default) {
                (Some(Some(value)), _) => Ok(value.clone()),
                (Some(None), _) => Err(format!("${name}")),
                (None, _) if KEPT.contains(&name.as_str()) => Ok(format!("${name}")),
                (None, Some(default)) => Ok(format!("${{env:{name},{default}}}")),
                (None, None) => Ok(format!("${{env:{name}}}")),
            },
        }
    }
}

/// `{1..5}` and `{a,b}` of a loop.
fn braces(word: &Word) -> Option<Vec<String>> {
    let inner = word.plain()?.strip_prefix('{')?.strip_suffix('}')?;
    if let Some((first, last)) = inner.split_once("..") {
        let (first, last) = (first.parse::<i64>().ok()?, last.parse::<i64>().ok()?);
        let numbers = (first..=last).take(MAX_TURNS + 1);
        return Some(numbers.map(|number| number.to_string()).collect());
    }
    Some(inner.split(',').map(str::to_owned).collect())
}
