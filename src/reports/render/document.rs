//! Tables that make one file, with title, text and the line that names what
//! they were made of.

use std::io;

use serde_json::Value;

use super::{Origin, Style, csv, html_page, json, latex, markdown, text, write_parquet};
use crate::reports::evaluate::EvaluatedTable;
use crate::reports::page::markdown as prose;

/// Formats of files of tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A grid for terminals.
    Text,
    /// Markdown.
    Markdown,
    /// CSV.
    Csv,
    /// LaTeX.
    Latex,
    /// A page.
    Html,
    /// JSON.
    Json,
    /// Parquet.
    Parquet,
}

impl Format {
    /// Ending of its files.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Markdown => "md",
            Self::Csv => "csv",
            Self::Latex => "tex",
            Self::Html => "html",
            Self::Json => "json",
            Self::Parquet => "parquet",
        }
    }
}

/// Tables that are written to one file.
#[derive(Debug)]
pub struct Document {
    /// Name of the file without its ending.
    pub name: String,
    /// Above everything.
    pub title: Option<String>,
    /// Markdown below the title.
    pub text: Option<String>,
    /// The tables.
    pub tables: Vec<EvaluatedTable>,
    /// What they were made of.
    pub origin: Origin,
}

impl Document {
    /// Its tables in one of the formats; `style` is that of text.
    ///
    /// # Errors
    /// The values fit no columns of a Parquet file.
    pub fn render(&self, format: Format, style: Style) -> io::Result<Vec<u8>> {
        let mut parts: Vec<String> = Vec::new();
        let partial: Vec<&str> = self
            .tables
            .iter()
            .flat_map(|table| &table.notes)
            .filter(|note| note.mark.is_empty())
            .map(|note| note.text.as_str())
            .collect();
        let listed = |sign: &str| {
            let lines = partial.iter().map(|text| format!("{sign}{text}\n"));
            lines.collect::<String>()
        };
        let title = self.title.as_deref();
        match format {
            Format::Text => {
                parts.extend(title.map(|title| format!("{title}\n")));
                let tables = self.tables.iter();
                parts.extend(tables.map(|table| text(table, style)));
                if !partial.is_empty() {
                    parts.push(format!("incomplete:\n{}", listed("  ")));
                }
            }
            Format::Markdown => {
                parts.extend(title.map(|title| format!("# {title}\n")));
                let text = self.text.as_deref();
                parts.extend(text.map(|text| format!("{}\n", text.trim())));
                parts.extend(self.tables.iter().map(markdown));
                if !partial.is_empty() {
                    parts.push(format!("Incomplete:\n\n{}", listed("- ")));
                }
                parts.push(format!("<!-- {} -->\n", self.origin.line()));
            }
            Format::Latex => {
                parts.extend(title.map(|title| format!("% {title}\n")));
                parts.extend(self.tables.iter().map(latex));
                if !partial.is_empty() {
                    parts.push(format!("% incomplete:\n{}", listed("%   ")));
                }
                return Ok(format!("{}% {}\n", parts.join("\n"), self.origin.line()).into_bytes());
            }
            Format::Csv => parts.extend(self.tables.iter().map(csv)),
            Format::Html => {
                let text = self.text.as_deref().map(prose).unwrap_or_default();
                let heading = title.map(|title| format!("# {title}"));
                let heading = heading.as_deref().map(prose).unwrap_or_default();
                let page = html_page(
                    title.unwrap_or(&self.name),
                    &format!("{}{}", heading.into_string(), text.into_string()),
                    &self.tables,
                    &self.origin,
                );
                return Ok(page.into_bytes());
            }
            Format::Json => {
                let tables: Vec<Value> = self.tables.iter().map(json).collect();
                parts.push(format!("{:#}\n", Value::from(tables)));
            }
            Format::Parquet => {
                let mut bytes = Vec::new();
                write_parquet(&self.tables, &mut bytes)?;
                return Ok(bytes);
            }
        }
        Ok(parts.join("\n").into_bytes())
    }
}
