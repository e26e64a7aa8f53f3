//! Markdown pipe tables.

use super::{footnotes, fraction};
use crate::reports::evaluate::{Cell, EvaluatedTable, Mark, Row};

/// The table as a Markdown pipe table.
pub fn markdown(table: &EvaluatedTable) -> String {
    let mut out = String::new();
    if let Some(title) = &table.title {
        out.push_str(&format!("**{}**\n\n", escaped(title)));
    }
    let header = table.columns.iter().map(|column| escaped(&column.label));
    line(
        &mut out,
        std::iter::once(escaped(&table.corner)).chain(header),
    );
    let rules = std::iter::once("---").chain(table.columns.iter().map(|_| "---:"));
    line(&mut out, rules.map(str::to_owned));
    for group in &table.groups {
        if let Some(title) = &group.title {
            let empty = table.columns.iter().map(|_| String::new());
            line(
                &mut out,
                std::iter::once(format!("*{}*", escaped(title))).chain(empty),
            );
        }
        for row in &group.rows {
            let cells = row.cells.iter().zip(&table.columns);
            let cells = cells.map(|(own, column)| cell(own, row.reference || column.reference));
            line(&mut out, std::iter::once(label(row)).chain(cells));
        }
    }
    if let Some(caption) = &table.caption {
        out.push_str(&format!("\n{}\n", escaped(caption)));
    }
    for note in footnotes(table) {
        out.push_str(&format!(
            "\n{} {}\n",
            escaped(&note.mark),
            escaped(&note.text)
        ));
    }
    out
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    out.push('|');
    for cell in cells {
        out.push(' ');
        out.push_str(&cell);
        out.push_str(" |");
    }
    out.push('\n');
}

fn label(row: &Row) -> String {
    format!(
        "{}{}{}",
        "&nbsp;&nbsp;".repeat(row.indent),
        escaped(&row.label),
        if row.baseline { "\\*" } else { "" }
    )
}

fn cell(cell: &Cell, reference: bool) -> String {
    let text = escaped(&cell.text);
    let mut out = match cell.mark {
        Some(Mark::Best) => format!("**{text}**"),
        Some(Mark::Second) => format!("<u>{text}</u>"),
        None if reference && !text.is_empty() => format!("*{text}*"),
        None => text,
    };
    for mark in &cell.footnotes {
        out.push_str(&escaped(mark));
    }
    if let Some(fraction) = fraction(cell) {
        out.push_str(&format!(" ({fraction})"));
    }
    out
}

/// Text as it is shown; a cell stays in its line.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '\\' | '|' | '*' | '_' => {
                out.push('\\');
                out.push(symbol);
            }
            '<' => out.push_str("&lt;"),
            '\n' => out.push_str("<br>"),
            other => out.push(other),
        }
    }
    out
}
