//! Flat YAML configurations of the original.

use std::ops::Range;
use std::sync::Arc;

use saphyr_parser::{Event, Parser, ScalarStyle, Span};

use super::draft::Draft;
use super::train::{complete, left_out, take};
use crate::config::node::{Node, Raw};
use crate::config::problem::Problem;
use crate::config::schema::{Action, Config, key_by_flat_name};
use crate::config::source::{Location, Source};

/// The stage that a flat configuration describes: every value in it that is
/// not the original's default.
pub(super) fn draft(source: &Arc<Source>, problems: &mut Vec<Problem>) -> Option<Draft> {
    let entries = match entries(source) {
        Ok(entries) => entries,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    let defaults = Config::default().flat();
    let mut draft = Draft::new(source.name(), Action::Train);
    for (name, span, node) in entries {
        let Some(key) = key_by_flat_name(&name) else {
            problems.push(left_out(&name, Location::new(source, span)));
            continue;
        };
        if defaults.get(&name) != Some(&node.to_json()) {
            take(&mut draft, key, &name, &node, source, problems);
        }
    }
    complete(&mut draft);
    Some(draft)
}

type Entry = (String, Range<usize>, Node);

/// The keys and values of the one mapping that the file is.
fn entries(source: &Arc<Source>) -> Result<Vec<Entry>, Problem> {
    let mut reader = Reader {
        source,
        parser: Parser::new_from_str(&source.text),
        offsets: source.text.char_indices().map(|(at, _)| at).collect(),
    };
    loop {
        match reader.next()? {
            (Event::StreamStart | Event::DocumentStart(_) | Event::Nothing, _) => {}
            (Event::MappingStart(..), _) => break,
            (Event::StreamEnd, _) => return Ok(Vec::new()),
            (_, span) => return Err(reader.not_flat(&span)),
        }
    }
    let mut entries = Vec::new();
    loop {
        match reader.next()? {
            (Event::MappingEnd, _) => return Ok(entries),
            (Event::Scalar(name, ..), span) => {
                let name = name.into_owned();
                let span = reader.bytes(&span);
                let node = reader.value()?;
                entries.push((name, span, node));
            }
            (_, span) => return Err(reader.not_flat(&span)),
        }
    }
}

struct Reader<'a> {
    source: &'a Arc<Source>,
    parser: Parser<'a, saphyr_parser::StrInput<'a>>,
    /// Byte offset of every character.
    offsets: Vec<usize>,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), Problem> {
        match self.parser.next() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = self.offset(error.marker().index());
                let place = Location::new(self.source, at..at);
                Err(Problem::error(format!("invalid YAML: {}", error.info())).at(place, ""))
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    /// A scalar or a list of scalars.
    fn value(&mut self) -> Result<Node, Problem> {
        match self.next()? {
            (Event::Scalar(text, style, ..), span) => Ok(self.scalar(&text, style, &span)),
            (Event::SequenceStart(..), span) => {
                let mut items = Vec::new();
                loop {
                    match self.next()? {
                        (Event::SequenceEnd, _) => break,
                        (Event::Scalar(text, style, ..), span) => {
                            items.push(self.scalar(&text, style, &span));
                        }
                        (_, span) => return Err(self.not_flat(&span)),
                    }
                }
                let span = self.bytes(&span);
                let raw = Raw::List(items);
                Ok(Node { span, raw })
            }
            (_, span) => Err(self.not_flat(&span)),
        }
    }

    /// What stands without quotes gets its type from its key; YAML 1.1, which
    /// the original reads, has more words for null and the truth values.
    fn scalar(&self, text: &str, style: ScalarStyle, span: &Span) -> Node {
        let span = self.bytes(span);
        if style != ScalarStyle::Plain {
            let raw = Raw::Text(text.to_owned());
            return Node { span, raw };
        }
        let word = match text.to_lowercase().as_str() {
            "" | "~" => "null",
            "yes" | "on" => "true",
            "no" | "off" => "false",
            _ => text,
        };
        let raw = Raw::Word(word.to_owned());
        Node { span, raw }
    }

    fn bytes(&self, span: &Span) -> Range<usize> {
        self.offset(span.start.index())..self.offset(span.end.index())
    }

    fn offset(&self, character: usize) -> usize {
        let end = self.source.text.len();
        self.offsets.get(character).copied().unwrap_or(end)
    }

    fn not_flat(&self, span: &Span) -> Problem {
        let place = Location::new(self.source, self.bytes(span));
        Problem::error("not a flat configuration")
            .at(
                place,
                "expected `key: value` with a text, number, truth value, null or list",
            )
            .help("configurations of the original have 188 keys and no sections")
    }
}
