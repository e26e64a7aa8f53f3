//! The grammar of overrides: `key=value`, `+key=value`, `++key=value`, `~key`.
//!
//! Values are bare words, texts in quotes, lists `[a, b]` and tables
//! `{k: v, k = v}`. Bare words get their type from the key they are for
//! (`training.md` 1.6).

use std::ops::Range;

use super::node::{Field, Node, Raw};

/// What an override does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// `key=value`: sets what exists.
    Set,
    /// `+key=value`: adds an entry to a map.
    Add,
    /// `++key=value`: adds or sets.
    Force,
    /// `~key`: returns to the default.
    Remove,
}

/// A parsed override.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    /// What it does.
    pub operation: Operation,
    /// Parts of the key.
    pub key: Vec<KeyPart>,
    /// Byte range of the key.
    pub key_span: Range<usize>,
    /// The value; none exactly for `~key`.
    pub value: Option<Node>,
}

/// A part of a dotted key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyPart {
    /// The name.
    pub name: String,
    /// Byte range.
    pub span: Range<usize>,
}

/// Why a text is no override.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SyntaxError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Range<usize>,
    /// Way out.
    pub help: String,
}

fn error<T>(
    message: impl Into<String>,
    span: Range<usize>,
    help: impl Into<String>,
) -> Result<T, SyntaxError> {
    Err(SyntaxError {
        message: message.into(),
        span,
        help: help.into(),
    })
}

/// Parses an override.
pub fn parse(text: &str) -> Result<Override, SyntaxError> {
    let (operation, start) = if text.starts_with("++") {
        (Operation::Force, 2)
    } else if text.starts_with('+') {
        (Operation::Add, 1)
    } else if text.starts_with('~') {
        (Operation::Remove, 1)
    } else {
        (Operation::Set, 0)
    };
    let equals = text.find('=');
    let key_end = equals.unwrap_or(text.len());
    let (key, key_span) = parse_key(text, start.min(key_end)..key_end)?;
    match (operation, equals) {
        (Operation::Remove, None) => Ok(Override {
            operation,
            key,
            key_span,
            value: None,
        }),
        (Operation::Remove, Some(at)) => error(
            "`~` takes no value",
            at..text.len(),
            format!("write `~{}`", &text[key_span.clone()]),
        ),
        (_, None) => error(
            "expected `key=value`",
            0..text.len(),
            format!("write `{text}=…` to set it, `~{text}` to return to the default"),
        ),
        (_, Some(at)) => {
            let value = parse_value(text, at + 1)?;
            Ok(Override {
                operation,
                key,
                key_span,
                value: Some(value),
            })
        }
    }
}

/// Parses the value that begins at a byte offset and extends to the end.
pub fn parse_value(text: &str, offset: usize) -> Result<Node, SyntaxError> {
    if is_call(text[offset..].trim(), SWEEPS) {
        return error(
            "this is a sweep, not a value",
            offset..text.len(),
            "use `novic sweep run`, or put a text in quotes",
        );
    }
    if is_call(
        text[offset..].trim(),
        &["str", "int", "float", "bool", "json_str"],
    ) {
        return error(
            "values are read by the type of their key, not by casts",
            offset..text.len(),
            "write the value alone, or put a text in quotes",
        );
    }
    let mut parser = Parser { text, at: offset };
    parser.blanks();
    let node = match parser.peek() {
        None => Node {
            span: offset..text.len(),
            raw: Raw::Text(String::new()),
        },
        Some('[' | '{' | '"' | '\'') => parser.structure()?,
        Some(_) => parser.bare(Context::Whole)?,
    };
    parser.blanks();
    match parser.peek() {
        None => Ok(node),
        Some(',') => error(
            "a comma outside of brackets and quotes means a sweep",
            parser.at..parser.at + 1,
            "write a list in brackets, a text with a comma in quotes, or use `novic sweep run`",
        ),
        Some(_) => error(
            "unexpected text after the value",
            parser.at..text.len(),
            "put the whole value in quotes",
        ),
    }
}

/// Parses values separated by commas outside of brackets and quotes, from a
/// byte offset to the end: the choices of a sweep.
pub fn parse_choices(text: &str, offset: usize) -> Result<Vec<Node>, SyntaxError> {
    let mut parser = Parser { text, at: offset };
    let mut choices = Vec::new();
    loop {
        parser.blanks();
        choices.push(match parser.peek() {
            Some('[' | '{' | '"' | '\'') => parser.structure()?,
            _ => parser.bare(Context::Whole)?,
        });
        parser.blanks();
        match parser.peek() {
            None => return Ok(choices),
            Some(',') => parser.at += 1,
            Some(_) => {
                return error(
                    "unexpected text after the value",
                    parser.at..text.len(),
                    "put the whole value in quotes",
                );
            }
        }
    }
}

fn parse_key(text: &str, range: Range<usize>) -> Result<(Vec<KeyPart>, Range<usize>), SyntaxError> {
    let whole = &text[range.clone()];
    let start = range.start + (whole.len() - whole.trim_start().len());
    let end = start + whole.trim().len();
    if start == end {
        return error(
            "expected a key before `=`",
            0..text.len().min(range.end + 1),
            "write `key=value`",
        );
    }
    let mut parts = Vec::new();
    let mut at = start;
    for name in text[start..end].split('.') {
        let span = at..at + name.len();
        at = span.end + 1;
        let valid = |c: char| c.is_alphanumeric() || matches!(c, '_' | '-' | '@' | '/');
        if name.is_empty() || !name.chars().all(valid) {
            let shown = if name.is_empty() { start..end } else { span };
            return error(
                "invalid key",
                shown,
                "keys are names joined with dots: `train.lr.init`",
            );
        }
        parts.push(KeyPart {
            name: name.to_owned(),
            span,
        });
    }
    Ok((parts, start..end))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Context {
    Whole,
    List,
    Table,
}

/// Deepest nesting of lists and tables.
const MAX_DEPTH: usize = 32;

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl Parser<'_> {
    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn blanks(&mut self) {
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start().len();
    }

    fn structure(&mut self) -> Result<Node, SyntaxError> {
        self.nested(0)
    }

    fn nested(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        if depth > MAX_DEPTH {
            return error(
                "nested too deeply",
                self.at..self.at + 1,
                "use fewer brackets",
            );
        }
        match self.peek() {
            Some('[') => self.list(depth),
            Some('{') => self.table(depth),
            _ => self.quoted(),
        }
    }

    fn element(&mut self, context: Context, depth: usize) -> Result<Node, SyntaxError> {
        match self.peek() {
            Some('[' | '{' | '"' | '\'') => self.nested(depth + 1),
            _ => self.bare(context),
        }
    }

    fn list(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        let start = self.at;
        self.at += 1;
        let mut items = Vec::new();
        self.blanks();
        if self.peek() == Some(']') {
            self.at += 1;
            return Ok(Node {
                span: start..self.at,
                raw: Raw::List(items),
            });
        }
        loop {
            self.blanks();
            items.push(self.element(Context::List, depth)?);
            if self.separator(start, ']')? {
                return Ok(Node {
                    span: start..self.at,
                    raw: Raw::List(items),
                });
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Node, SyntaxError> {
        let start = self.at;
        self.at += 1;
        let mut fields: Vec<Field> = Vec::new();
        self.blanks();
        if self.peek() == Some('}') {
            self.at += 1;
            return Ok(Node {
                span: start..self.at,
                raw: Raw::Table(fields),
            });
        }
        loop {
            self.blanks();
            let key = match self.peek() {
                Some('"' | '\'') => self.quoted()?,
                _ => self.word_until(|c| matches!(c, ':' | '=' | ',' | '}' | ']')),
            };
            let name = key.text().unwrap_or_default().to_owned();
            self.blanks();
            if name.is_empty() || !matches!(self.peek(), Some(':' | '=')) {
                return error(
                    "expected `key: value`",
                    key.span.start..self.at.max(key.span.end),
                    "write tables as `{key: value, …}`",
                );
            }
            if fields.iter().any(|field| field.key == name) {
                return error(
                    "the key stands here twice",
                    key.span,
                    "leave out one of them",
                );
            }
            self.at += 1;
            self.blanks();
            let value = self.element(Context::Table, depth)?;
            fields.push(Field {
                key: name,
                key_span: key.span,
                value,
            });
            if self.separator(start, '}')? {
                return Ok(Node {
                    span: start..self.at,
                    raw: Raw::Table(fields),
                });
            }
        }
    }

    /// Takes `,` (false) or the closing bracket (true).
    fn separator(&mut self, start: usize, close: char) -> Result<bool, SyntaxError> {
        self.blanks();
        match self.peek() {
            Some(',') => {
                self.at += 1;
                Ok(false)
            }
            Some(c) if c == close => {
                self.at += 1;
                Ok(true)
            }
            Some(_) => error(
                format!("expected `,` or `{close}`"),
                self.at..self.text.len(),
                "put texts with brackets or quotes inside in quotes",
            ),
            None => error(
                format!("`{close}` is missing"),
                start..self.text.len(),
                "close the bracket; quote the argument for the shell",
            ),
        }
    }

    /// A text in quotes. Before a quote, a backslash takes the next character
    /// as it is; elsewhere backslashes are plain.
    fn quoted(&mut self) -> Result<Node, SyntaxError> {
        let start = self.at;
        let Some(quote) = self.peek() else {
            return error("expected a value", start..start, "put the text in quotes");
        };
        self.at += quote.len_utf8();
        let mut value = String::new();
        loop {
            let rest = &self.text[self.at..];
            let slashes = rest.bytes().take_while(|&b| b == b'\\').count();
            let next = rest[slashes..].chars().next();
            match next {
                None => {
                    return error(
                        "the closing quote is missing",
                        start..self.text.len(),
                        format!("end the text with {quote}"),
                    );
                }
                Some(c) if c == quote => {
                    value.extend(std::iter::repeat_n('\\', slashes / 2));
                    self.at += slashes + quote.len_utf8();
                    if slashes % 2 == 0 {
                        return Ok(Node {
                            span: start..self.at,
                            raw: Raw::Text(value),
                        });
                    }
                    value.push(quote);
                }
                Some(c) => {
                    value.extend(std::iter::repeat_n('\\', slashes));
                    value.push(c);
                    self.at += slashes + c.len_utf8();
                }
            }
        }
    }

    fn bare(&mut self, context: Context) -> Result<Node, SyntaxError> {
        let start = self.at;
        let node = self.word_until(|c| match context {
            Context::Whole => c == ',',
            Context::List => matches!(c, ',' | ']' | '[' | '{' | '}'),
            Context::Table => matches!(c, ',' | '}' | '[' | ']' | '{'),
        });
        let word = node.text().unwrap_or_default();
        if word.is_empty() {
            return error(
                "expected a value",
                start..(start + 1).min(self.text.len()),
                "write '' for an empty text",
            );
        }
        let plain = &self.text[node.span.clone()];
        let mut escaped = false;
        let mut references = 0usize;
        for (index, c) in plain.char_indices() {
            let at = node.span.start + index;
            match c {
                _ if escaped => escaped = false,
                '\\' => escaped = true,
                '{' if plain[..index].ends_with('$') => references += 1,
                '}' if references > 0 => references -= 1,
                '"' | '\'' | '[' | ']' | '{' | '}' => {
                    return error(
                        format!("`{c}` inside of a bare word"),
                        at..at + 1,
                        "put the text in quotes, or write a backslash before the character",
                    );
                }
                _ => {}
            }
        }
        Ok(node)
    }

    /// A word up to the first plain character that ends it; blanks around it
    /// are trimmed, `\x` is a plain x, `${…}` is taken whole.
    fn word_until(&mut self, ends: impl Fn(char) -> bool) -> Node {
        let start = self.at;
        let mut value = String::new();
        let mut kept = 0;
        let mut end = start;
        while let Some(c) = self.peek() {
            if self.text[self.at..].starts_with("${")
                && let Some(length) = self.text[self.at..].find('}')
            {
                let reference = &self.text[self.at..=self.at + length];
                value.push_str(reference);
                self.at += reference.len();
                (kept, end) = (value.len(), self.at);
                continue;
            }
            if ends(c) {
                break;
            }
            let mut next = self.text[self.at..].chars().skip(1);
            match next.next() {
                Some(escaped) if c == '\\' && is_escapable(escaped) => {
                    value.push(escaped);
                    self.at += 1 + escaped.len_utf8();
                    (kept, end) = (value.len(), self.at);
                }
                _ => {
                    value.push(c);
                    self.at += c.len_utf8();
                    if !c.is_whitespace() {
                        (kept, end) = (value.len(), self.at);
                    }
                }
            }
        }
        value.truncate(kept);
        Node {
            span: start..end,
            raw: Raw::Word(value),
        }
    }
}

fn is_escapable(c: char) -> bool {
    matches!(
        c,
        '\\' | '(' | ')' | '[' | ']' | '{' | '}' | ':' | '=' | ',' | '\'' | '"' | ' ' | '\t'
    )
}

/// Functions that give several values.
const SWEEPS: &[&str] = &[
    "choice", "range", "interval", "glob", "sort", "shuffle", "tag",
];

/// Whether a word is a call of one of the functions.
fn is_call(word: &str, functions: &[&str]) -> bool {
    functions.iter().any(|function| {
        word.strip_prefix(function)
            .is_some_and(|rest| rest.starts_with('(') && rest.ends_with(')'))
    })
}
