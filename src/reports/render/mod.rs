//! Renderings of an evaluated table (`reports.md` 12). Equal tables give
//! byte-identical texts.

mod csv;
mod document;
mod html;
mod json;
mod latex;
mod markdown;
mod parquet;
mod text;

pub use csv::{csv, csv_lines};
pub use document::{Document, Format};
pub use html::{HTML_STYLE, SORT_SCRIPT, SORT_STYLE, html, html_page, html_with_runs};
pub use json::{cell_json, json};
pub use latex::latex;
pub use markdown::markdown;
pub use parquet::write_parquet;
pub use text::{Style, text};

use super::evaluate::{Cell, EvaluatedTable, Note};

/// What the last line of a rendering names: file and hash of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// Report or experiment file, as it was named.
    pub file: String,
    /// Hash of what it says.
    pub hash: String,
}

impl Origin {
    /// As one line without the signs of a comment.
    pub fn line(&self) -> String {
        format!("{} {}", self.file, self.hash)
    }
}

/// `2/3` of a cell whose replicates are not complete.
fn fraction(cell: &Cell) -> Option<String> {
    let statistics = cell.statistics().filter(|_| cell.partial)?;
    Some(format!("{}/{}", cell.n(), statistics.expected.unwrap_or(0)))
}

/// Footnotes of a table.
fn footnotes(table: &EvaluatedTable) -> impl Iterator<Item = &Note> {
    table.notes.iter().filter(|note| !note.mark.is_empty())
}
