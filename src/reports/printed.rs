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
    /// A line.
    Line(Level, String),
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

    /// Shows a table.
    pub fn table(&mut self, heads: Vec<String>, rows: Vec<Vec<String>>) {
        self.0.push(Said::Table(TextGrid { heads, rows }));
    }

    /// The tables with the line that announces each, as text.
    pub fn tables_text(&self) -> String {
        let mut out = String::new();
        let mut title: Option<&str> = None;
        for said in &self.0 {
            match said {
                Said::Line(Level::Info, text) if text.ends_with(':') => title = Some(text),
                Said::Line(..) => {}
                Said::Table(table) => {
                    if let Some(title) = title.take() {
                        out.push_str(title);
                        out.push('\n');
                    }
                    out.push_str(&table.text());
                    out.push('\n');
                }
            }
        }
        out
    }

    /// Lines and tables as JSON.
    pub fn json(&self) -> Value {
        let said = self.0.iter().map(|said| match said {
            Said::Line(level, text) => json!({ "level": level, "text": text }),
            Said::Table(table) => json!({ "table": table.json() }),
        });
        said.collect()
    }
}
