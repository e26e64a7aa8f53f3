//! Tables for terminals, and the plain grid of the original.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{Attribute, Cell as TextCell, CellAlignment, Color, ContentArrangement, Table};

use super::{footnotes, fraction};
use crate::evaluate::TextTable;
use crate::reports::evaluate::{Cell, EvaluatedTable, Mark, Row};

/// How a table is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Box characters.
    Terminal,
    /// Box characters and colours.
    Colour,
    /// The plain grid of the original.
    Compat,
}

/// The table for a terminal.
pub fn text(table: &EvaluatedTable, style: Style) -> String {
    let mut out = String::new();
    if let Some(title) = &table.title {
        out.push_str(title);
        out.push('\n');
    }
    match style {
        Style::Compat => out.push_str(&grid(table)),
        Style::Terminal | Style::Colour => {
            out.push_str(&boxes(table, style == Style::Colour));
            out.push('\n');
        }
    }
    if let Some(caption) = &table.caption {
        out.push_str(caption);
        out.push('\n');
    }
    for note in footnotes(table) {
        out.push_str(&format!("{} {}\n", note.mark, note.text));
    }
    out
}

fn boxes(table: &EvaluatedTable, colour: bool) -> String {
    let mut grid = Table::new();
    grid.load_preset(UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Disabled);
    if colour {
        grid.enforce_styling();
    } else {
        grid.force_no_tty();
    }
    let bold = |label: &str| TextCell::new(label).add_attribute(Attribute::Bold);
    let columns = table
        .columns
        .iter()
        .map(|column| bold(&column.label).set_alignment(CellAlignment::Right));
    grid.set_header(std::iter::once(bold(&table.corner)).chain(columns));
    for group in &table.groups {
        if let Some(title) = &group.title {
            let empty = table.columns.iter().map(|_| TextCell::new(""));
            let title = TextCell::new(title).add_attribute(Attribute::Italic);
            grid.add_row(std::iter::once(title).chain(empty));
        }
        for row in &group.rows {
            let cells = row.cells.iter().zip(&table.columns).map(|(cell, column)| {
                let mut shown = TextCell::new(cell_text(cell)).set_alignment(CellAlignment::Right);
                match cell.mark {
                    Some(Mark::Best) => shown = shown.add_attribute(Attribute::Bold),
                    Some(Mark::Second) => shown = shown.add_attribute(Attribute::Underlined),
                    None => {}
                }
                if row.reference || column.reference {
                    shown = shown.add_attribute(Attribute::Italic);
                }
                match cell.color.as_deref().and_then(color) {
                    Some(color) => shown.fg(color),
                    None => shown,
                }
            });
            grid.add_row(std::iter::once(TextCell::new(label(row))).chain(cells));
        }
    }
    grid.to_string()
}

fn grid(table: &EvaluatedTable) -> String {
    let heads = std::iter::once(table.corner.clone());
    let heads = heads.chain(table.columns.iter().map(|column| column.label.clone()));
    let mut grid = TextTable::new(heads);
    for row in table.rows() {
        let cells = row.cells.iter().map(|cell| cell.text.clone());
        grid.row(std::iter::once(row.label.clone()).chain(cells));
    }
    let mut text = grid.render();
    if !text.ends_with('\n') {
        text.push('\n');
    }
    text
}

fn label(row: &Row) -> String {
    let star = if row.baseline { "*" } else { "" };
    format!("{}{}{star}", "  ".repeat(row.indent), row.label)
}

fn cell_text(cell: &Cell) -> String {
    let mut text = cell.text.clone();
    for mark in &cell.footnotes {
        text.push_str(mark);
    }
    if let Some(fraction) = fraction(cell) {
        text.push_str(&format!(" ({fraction})"));
    }
    text
}

fn color(name: &str) -> Option<Color> {
    Some(match name {
        "correct" | "correct_primary" | "green" | "P" => Color::Green,
        "guide" | "magenta" => Color::Magenta,
        "vocab" | "yellow" | "orange" => Color::Yellow,
        "other" | "incorrect" | "red" | "I" => Color::Red,
        _ => return None,
    })
}
