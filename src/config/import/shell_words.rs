//! Words and operators of a shell script.

use std::ops::Range;
use std::sync::Arc;

use crate::config::problem::Problem;
use crate::config::source::{Location, Source};

/// What ends words, the longest first.
const OPERATORS: &[&str] = &[
    "<<<", "&>>", "&&", "||", ";;", "<<", ">>", ">&", "<&", ">|", "&>", "\n", ";", "|", "&", "<",
    ">", "(", ")",
];

/// A part of a word.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Piece {
    /// A text; whether it stands in quotes.
    Text { text: String, quoted: bool },
    /// A variable, what holds where it is not set, and whether it stands in
    /// quotes.
    Variable {
        name: String,
        default: Option<String>,
        quoted: bool,
    },
    /// What only a shell knows.
    Unknown(String),
}

/// A word.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Word {
    /// Its parts.
    pub pieces: Vec<Piece>,
    /// Where it stands.
    pub span: Range<usize>,
}

impl Word {
    /// Its text if it has neither quotes nor variables.
    pub fn plain(&self) -> Option<&str> {
        match self.pieces.as_slice() {
            [Piece::Text { text, quoted }] if !quoted => Some(text),
            _ => None,
        }
    }

    /// Name and value of `NAME=value`.
    pub fn assigned(&self) -> Option<(&str, Self)> {
        let (first, rest) = self.pieces.split_first()?;
        let (name, begin) = match first {
            Piece::Text { text, quoted } if !quoted => text.split_once('=')?,
            _ => return None,
        };
        if name.is_empty() || name_length(name) < name.len() {
            return None;
        }
        let begin = Piece::Text {
            text: begin.to_owned(),
            quoted: true,
        };
        let pieces = std::iter::once(begin).chain(rest.iter().cloned()).collect();
        let span = self.span.clone();
        Some((name, Self { pieces, span }))
    }
}

/// A word or what stands between words.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// A word.
    Word(Word),
    /// An operator or the end of a line.
    Operator(&'static str, Range<usize>),
}

/// What is wrong with a text, and where.
struct Fault {
    at: usize,
    title: &'static str,
    help: &'static str,
}

/// The tokens of a script; none where it cannot be read.
pub(super) fn tokens(source: &Arc<Source>, problems: &mut Vec<Problem>) -> Vec<Token> {
    let mut lexer = Lexer {
        text: &source.text,
        at: 0,
    };
    let mut tokens = Vec::new();
    loop {
        match lexer.token() {
            Ok(Some(token)) => tokens.push(token),
            Ok(None) => return tokens,
            Err(fault) => {
                let place = Location::new(source, fault.at..fault.at + 1);
                let problem = Problem::error(fault.title).at(place, "");
                problems.push(problem.help(fault.help));
                return Vec::new();
            }
        }
    }
}

/// Length of the name of a variable at the beginning of a text.
fn name_length(text: &str) -> usize {
    if text.starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    let inside = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.find(|c: char| !inside(c)).unwrap_or(text.len())
}

struct Lexer<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn token(&mut self) -> Result<Option<Token>, Fault> {
        self.blanks();
        let start = self.at;
        if let Some(operator) = self.operator() {
            self.at += operator.len();
            return Ok(Some(Token::Operator(operator, start..self.at)));
        }
        if self.rest().is_empty() {
            return Ok(None);
        }
        let mut pieces = Vec::new();
        while let Some(c) = self.rest().chars().next() {
            match c {
                ' ' | '\t' | '\r' => break,
                _ if self.operator().is_some() => break,
                '\\' if self.continues() => {}
                '\\' => self.escaped(&mut pieces),
                '\'' => self.single(&mut pieces)?,
                '"' => self.double(&mut pieces)?,
                '$' | '`' => {
                    let piece = self.reference(false)?;
                    pieces.push(piece);
                }
                c => self.take(c, false, &mut pieces),
            }
        }
        let span = start..self.at;
        let word = Word { pieces, span };
        // The number of a stream, as in `2>&1`.
        let is_number = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
        let redirects = self.rest().starts_with(['<', '>']);
        if redirects && word.plain().is_some_and(is_number) {
            return self.token();
        }
        Ok(Some(Token::Word(word)))
    }

    fn operator(&self) -> Option<&'static str> {
        let rest = self.rest();
        let mut operators = OPERATORS.iter().copied();
        operators.find(|operator| rest.starts_with(*operator))
    }

    /// Blanks, lines that go on, and comments.
    fn blanks(&mut self) {
        loop {
            let rest = self.rest();
            if rest.starts_with([' ', '\t', '\r']) {
                self.at += 1;
            } else if rest.starts_with('#') {
                self.at += rest.find('\n').unwrap_or(rest.len());
            } else if !self.continues() {
                return;
            }
        }
    }

    /// Goes behind a backslash at the end of a line, if there is one.
    fn continues(&mut self) -> bool {
        let Some(rest) = self.rest().strip_prefix('\\') else {
            return false;
        };
        let end = rest.trim_start_matches([' ', '\t', '\r']);
        if !(end.starts_with('\n') || end.is_empty()) {
            return false;
        }
        self.at = self.text.len() - end.len();
        self.at += usize::from(!end.is_empty());
        true
    }

    /// Takes a character.
    fn take(&mut self, c: char, quoted: bool, pieces: &mut Vec<Piece>) {
        self.at += c.len_utf8();
        add(c.encode_utf8(&mut [0; 4]), quoted, pieces);
    }

    fn escaped(&mut self, pieces: &mut Vec<Piece>) {
        self.at += 1;
        if let Some(c) = self.rest().chars().next() {
            self.take(c, true, pieces);
        }
    }

    fn single(&mut self, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        let inner = &self.rest()[1..];
        let Some(length) = inner.find('\'') else {
            return Err(not_closed(self.at));
        };
        add(&inner[..length], true, pieces);
        self.at += length + 2;
        Ok(())
    }

    fn double(&mut self, pieces: &mut Vec<Piece>) -> Result<(), Fault> {
        let start = self.at;
        self.at += 1;
        add("", true, pieces);
        while let Some(c) = self.rest().chars().next() {
            let next = &self.rest()[c.len_utf8()..];
            let escapes = next.starts_with(['"', '\\', '$', '`']);
            match c {
                '"' => {
                    self.at += 1;
                    return Ok(());
                }
                '\\' if next.starts_with('\n') => self.at += 2,
                '\\' if escapes => self.escaped(pieces),
                '$' | '`' => {
                    let piece = self.reference(true)?;
                    pieces.push(piece);
                }
                c => self.take(c, true, pieces),
            }
        }
        Err(not_closed(start))
    }

    /// What begins with `$` or a backquote.
    fn reference(&mut self, quoted: bool) -> Result<Piece, Fault> {
        let start = self.at;
        let rest = self.rest();
        let fault = |title| Fault {
            at: start,
            title,
            help: "put a `$` that is meant as such in single quotes",
        };
        if let Some(inner) = rest.strip_prefix('`') {
            let length = inner.find('`').ok_or(not_closed(start))?;
            self.at += length + 2;
            return Ok(Piece::Unknown(self.text[start..self.at].to_owned()));
        }
        if rest.starts_with("$(") {
            let length = closing(rest).ok_or(fault("`)` is missing"))?;
            self.at += length;
            return Ok(Piece::Unknown(self.text[start..self.at].to_owned()));
        }
        if let Some(inner) = rest.strip_prefix("${") {
            let length = inner.find('}').ok_or(fault("`}` is missing"))?;
            self.at += length + 3;
            return Ok(in_braces(&inner[..length], quoted));
        }
        let after = &rest[1..];
        let length = name_length(after);
        if length == 0 {
            let special = |c: &char| "@*#?$!-'\"".contains(*c) || c.is_ascii_digit();
            let next = after.chars().next().filter(special);
            // `"…$"` ends a text with it.
            let Some(next) = next.filter(|next| !(quoted && "'\"".contains(*next))) else {
                self.at += 1;
                let text = "$".to_owned();
                return Ok(Piece::Text { text, quoted });
            };
            self.at += 2;
            return Ok(Piece::Unknown(format!("${next}")));
        }
        self.at += 1 + length;
        Ok(Piece::Variable {
            name: after[..length].to_owned(),
            default: None,
            quoted,
        })
    }
}

fn not_closed(at: usize) -> Fault {
    Fault {
        at,
        title: "a quote is not closed",
        help: "close it where the word ends",
    }
}

/// Adds a text to a word.
fn add(text: &str, quoted: bool, pieces: &mut Vec<Piece>) {
    match pieces.last_mut() {
        Some(Piece::Text {
            text: last,
            quoted: was,
        }) if *was == quoted => last.push_str(text),
        _ => pieces.push(Piece::Text {
            text: text.to_owned(),
            quoted,
        }),
    }
}

/// Length of `$(…)` with what is in it.
fn closing(text: &str) -> Option<usize> {
    let mut depth = 0;
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' if depth == 1 => return Some(at + 1),
            ')' => depth -= 1,
            _ => {}
        }
    }
    None
}

/// `${NAME}` and `${NAME:-default}`.
fn in_braces(inner: &str, quoted: bool) -> Piece {
    let (name, rest) = inner.split_at(name_length(inner));
    let default = rest.strip_prefix(":-").or(rest.strip_prefix('-'));
    let is_known = rest.is_empty() || default.is_some_and(|text| !text.contains(['$', '`']));
    if name.is_empty() || !is_known {
        return Piece::Unknown(format!("${{{inner}}}"));
    }
    Piece::Variable {
        name: name.to_owned(),
        default: default.map(str::to_owned),
        quoted,
    }
}
