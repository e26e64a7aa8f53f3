//! CSV with numbers as they are, not as they are shown.

use crate::reports::evaluate::{EvaluatedTable, Mark, PartValue};
use crate::reports::record::plain;

/// The table as CSV: group, label, then per value its number, standard
/// deviation, replicates and mark.
pub fn csv(table: &EvaluatedTable) -> String {
    let corner = if table.corner.is_empty() {
        "row"
    } else {
        &table.corner
    };
    let mut out = format!("group,{}", quoted(corner));
    for (at, column) in table.columns.iter().enumerate() {
        for name in names(table, at) {
            let label = if name.is_empty() {
                column.label.clone()
            } else {
                format!("{} {name}", column.label)
            };
            for suffix in ["", " std", " n", " mark"] {
                out.push(',');
                out.push_str(&quoted(&format!("{label}{suffix}")));
            }
        }
    }
    out.push('\n');
    for group in &table.groups {
        for row in &group.rows {
            out.push_str(&quoted(group.title.as_deref().unwrap_or_default()));
            out.push(',');
            out.push_str(&quoted(&row.label));
            for (at, cell) in row.cells.iter().enumerate() {
                let mark = match cell.mark {
                    Some(Mark::Best) => "best",
                    Some(Mark::Second) => "second",
                    None => "",
                };
                for (part, _) in names(table, at).iter().enumerate() {
                    let own = cell.parts.get(part);
                    let value = own.map(value).unwrap_or_default();
                    let std = own.and_then(|own| own.statistics.std);
                    let std = std.map(|std| std.to_string()).unwrap_or_default();
                    let n = own.map_or(0, |own| own.statistics.n);
                    out.push_str(&format!(",{},{std},{n},{mark}", quoted(&value)));
                }
            }
            out.push('\n');
        }
    }
    out
}

/// Lines of texts as CSV.
pub fn csv_lines(lines: &[Vec<String>]) -> String {
    let line = |cells: &Vec<String>| {
        let cells: Vec<String> = cells.iter().map(|cell| quoted(cell)).collect();
        format!("{}\n", cells.join(","))
    };
    lines.iter().map(line).collect()
}

/// Names of the values of a column.
fn names(table: &EvaluatedTable, column: usize) -> Vec<&str> {
    let cells = table.rows().filter_map(|row| row.cells.get(column));
    let longest = cells.max_by_key(|cell| cell.parts.len());
    match longest.filter(|cell| !cell.parts.is_empty()) {
        Some(cell) => cell.parts.iter().map(|part| part.name.as_str()).collect(),
        None => vec![""],
    }
}

fn value(part: &PartValue) -> String {
    match part.value {
        Some(number) => number.to_string(),
        None => part.shown.as_ref().map(plain).unwrap_or_default(),
    }
}

fn quoted(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}
