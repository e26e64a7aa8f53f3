//! What a table tool says, in order: lines of a severity and tables.

use serde_json::{Value, json};

use crate::evaluate::grid;
use crate::tracking::Level;

/// A table of texts with its heads.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextGrid {
    /// Heads of the columns; may have several lines.
    pub heads: Vec<String>,
    /// Cells.
    pub rows: Vec<Vec<String>>,
}

impl TextGrid {
    /// The grid of characters, without a line break at the end.
    pub fn text(&self) -> String {
        grid(&self.heads, &self.rows)
    }

    /// Heads, and rows as lists of texts.
    pub fn json(&self) -> Value {
        json!({ "headers": self.heads, "rows": self.rows })
    }
}

/// One thing that is said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Said {
    /// A line about what goes on.
    Line(Level, String),
    /// A line that belongs to the result, such as the title of a table.
    Result(String),
    /// A table.
    Table(TextGrid),
}

/// All that a table tool says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Printed(pub Vec<Said>);

impl Printed {
    /// Says what goes on.
    pub fn info(&mut self, text: impl Into<String>) {
        self.0.push(Said::Line(Level::Info, text.into()));
    }

    /// Says that something may not be as wished.
    pub fn warn(&mut self, text: impl Into<String>) {
        self.0.push(Said::Line(Level::Warn, text.into()));
    }

    /// Says that something is wrong.
    pub fn error(&mut self, text: impl Into<String>) {
        self.0.push(Said::Line(Level::Error, text.into()));
    }

    /// Says something that belongs to the result.
    pub fn result(&mut self, text: impl Into<String>) {
        self.0.push(Said::Result(text.into()));
    }

    /// Shows a table.
    pub fn table(&mut self, heads: Vec<String>, rows: Vec<Vec<String>>) {
        self.0.push(Said::Table(TextGrid { heads, rows }));
    }

    /// Tables and lines that belong to them, as text.
    pub fn text(&self) -> String {
        let mut out = String::new();
        for said in &self.0 {
            match said {
                Said::Line(..) => continue,
                Said::Result(text) => out.push_str(text),
                Said::Table(table) => out.push_str(&table.text()),
            }
            out.push('\n');
        }
        out
    }

    /// Lines about what goes on.
    pub fn lines(&self) -> impl Iterator<Item = (Level, &str)> {
        self.0.iter().filter_map(|said| match said {
            Said::Line(level, text) => Some((*level, text.as_str())),
            _ => None,
        })
    }

    /// Lines and tables as JSON.
    pub fn json(&self) -> Value {
        let said = self.0.iter().map(|said| match said {
            Said::Line(level, text) => json!({ "level": level, "text": text }),
            Said::Result(text) => json!({ "text": text }),
            Said::Table(table) => json!({ "table": table.json() }),
        });
        said.collect()
    }
}
