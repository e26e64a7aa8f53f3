//! What is wrong with a configuration, and how that is shown: all problems at
//! once, each with an excerpt of where it stands and a way out.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use annotate_snippets::{AnnotationKind, Group, Level, Renderer, Snippet};

use super::source::{Location, Source};

/// Something wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Whether the configuration can be used all the same.
    pub severity: Severity,
    /// What is wrong, in one line.
    pub title: String,
    /// Where, with a note that stands at the caret. The first is the main one.
    pub places: Vec<(Location, String)>,
    /// Ways out.
    pub help: Vec<String>,
}

/// How bad a problem is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The configuration cannot be used.
    Error,
    /// It can, but probably not as meant.
    Warning,
}

impl Problem {
    /// An error without a place.
    pub fn error(title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            title: title.into(),
            places: Vec::new(),
            help: Vec::new(),
        }
    }

    /// A warning without a place.
    pub fn warning(title: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(title)
        }
    }

    /// Adds a place with a note (which may be empty).
    pub fn at(mut self, location: Location, note: impl Into<String>) -> Self {
        self.places.push((location, note.into()));
        self
    }

    /// Adds a way out.
    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help.push(help.into());
        self
    }

    fn group(&self) -> Group<'_> {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = Group::with_title(level.primary_title(self.title.as_str()));
        let mut shown: Vec<&Arc<Source>> = Vec::new();
        for (location, _) in &self.places {
            let source = &location.source;
            if shown.iter().any(|other| Arc::ptr_eq(other, source)) {
                continue;
            }
            shown.push(source);
            let annotations =
                self.places
                    .iter()
                    .enumerate()
                    .filter_map(|(other, (place, note))| {
                        if !Arc::ptr_eq(&place.source, source) {
                            return None;
                        }
                        let kind = if other == 0 {
                            AnnotationKind::Primary
                        } else {
                            AnnotationKind::Context
                        };
                        let annotation = kind.span(visible(&source.text, place.span.clone()));
                        Some(if note.is_empty() {
                            annotation
                        } else {
                            annotation.label(note.as_str())
                        })
                    });
            let snippet = Snippet::source(source.text.as_str())
                .path(source.name())
                .line_numbering(source.is_file())
                .annotations(annotations);
            group = group.element(snippet);
        }
        for help in &self.help {
            group = group.element(Level::HELP.message(help.as_str()));
        }
        group
    }
}

/// A span inside the text that covers at least one character where possible.
fn visible(text: &str, span: Range<usize>) -> Range<usize> {
    let start = span.start.min(text.len());
    let end = span.end.clamp(start, text.len());
    if start < end {
        return start..end;
    }
    let next = text[start..]
        .chars()
        .next()
        .map_or(start, |c| start + c.len_utf8());
    start..next
}

/// Problems that make a configuration unusable, all that were found.
///
/// Commands that get it print it and end with exit code 2.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ConfigErrors {
    /// The problems, in the order of the layers and of the text; warnings are
    /// among them.
    pub problems: Vec<Problem>,
}

impl ConfigErrors {
    /// Exit code of a command that ends with it.
    pub const EXIT_CODE: u8 = 2;

    /// The problems as text, with or without colours.
    pub fn render(&self, colour: bool) -> String {
        render(&self.problems, colour)
    }
}

impl From<Problem> for ConfigErrors {
    fn from(problem: Problem) -> Self {
        Self {
            problems: vec![problem],
        }
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

impl std::error::Error for ConfigErrors {}

/// Problems as text, a blank line between them.
pub fn render(problems: &[Problem], colour: bool) -> String {
    let renderer = if colour {
        Renderer::styled()
    } else {
        Renderer::plain()
    };
    let shown: Vec<_> = problems
        .iter()
        .map(|problem| renderer.render(&[problem.group()]))
        .collect();
    shown.join("\n\n")
}
