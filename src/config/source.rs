//! Texts that values come from, and places in them.

use std::fmt;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

/// A text that values come from.
#[derive(Debug, PartialEq, Eq)]
pub struct Source {
    /// What it is.
    pub kind: SourceKind,
    /// The whole text.
    pub text: String,
}

/// What kind of text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SourceKind {
    /// A file.
    File(PathBuf),
    /// An environment variable; the text is `NAME=value`.
    Environment,
    /// An argument of the command line.
    Argument,
    /// A value of a point of a sweep, as an override.
    Point,
}

impl Source {
    /// A new source.
    pub fn new(kind: SourceKind, text: impl Into<String>) -> Arc<Self> {
        Arc::new(Self {
            kind,
            text: text.into(),
        })
    }

    /// Whether it is a file. Values of sweep points, of the environment and of
    /// the command line hold for every stage, whatever files say.
    pub fn is_file(&self) -> bool {
        matches!(self.kind, SourceKind::File(_))
    }

    /// Name shown above excerpts.
    pub fn name(&self) -> String {
        match &self.kind {
            SourceKind::File(path) => path.display().to_string(),
            SourceKind::Environment => "environment".to_owned(),
            SourceKind::Argument => "command line".to_owned(),
            SourceKind::Point => "sweep".to_owned(),
        }
    }

    /// Line and column (in characters) of a byte offset, both from 1.
    pub fn line_column(&self, offset: usize) -> (usize, usize) {
        let before = self.text.get(..offset).unwrap_or(&self.text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        (
            before.matches('\n').count() + 1,
            before[line_start..].chars().count() + 1,
        )
    }
}

/// A place in a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Location {
    /// The source.
    pub source: Arc<Source>,
    /// Byte range in its text.
    pub span: Range<usize>,
}

impl Location {
    /// A place.
    pub fn new(source: &Arc<Source>, span: Range<usize>) -> Self {
        Self {
            source: Arc::clone(source),
            span,
        }
    }
}

impl fmt::Display for Location {
    /// `FILE:LINE:COLUMN`, or the variable or argument itself.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.source.kind {
            SourceKind::File(path) => {
                let (line, column) = self.source.line_column(self.span.start);
                write!(f, "{}:{line}:{column}", path.display())
            }
            SourceKind::Environment => {
                let name = self.source.text.split('=').next().unwrap_or_default();
                write!(f, "environment {name}")
            }
            SourceKind::Argument => write!(f, "command line `{}`", self.source.text),
            SourceKind::Point => write!(f, "sweep `{}`", self.source.text),
        }
    }
}
