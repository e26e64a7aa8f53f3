//! Published numbers beside ours: behind every column that has one, a column
//! of what was printed, and the difference.

use std::path::Path;

use serde_json::Value;

use super::cell::{Cell, PartValue};
use super::summary::Statistics;
use super::table::{Column, Group, Row};
use crate::reports::record::plain;
use crate::reports::spec::{Published, TableSpec};

/// The numbers printed in the paper, as they come with the program.
const PAPER: &str = include_str!("../../../reports/paper/paper_tables.json");

/// All published numbers: of a file, else those of the paper.
pub fn published_numbers(file: Option<&Path>) -> Result<Value, String> {
    let text = match file {
        None => PAPER.to_owned(),
        Some(path) => std::fs::read_to_string(path)
            .map_err(|error| format!("failed to read {}: {error}", path.display()))?,
    };
    serde_json::from_str(&text).map_err(|error| match file {
        Some(path) => format!("{}: {error}", path.display()),
        None => error.to_string(),
    })
}

/// Adds the columns.
pub(super) fn add(
    spec: &TableSpec,
    own: &Published,
    columns: &mut Vec<Column>,
    groups: &mut [Group],
) -> Result<(), String> {
    let all = published_numbers(own.file.as_deref().map(Path::new))?;
    let table = all.get(&own.table).ok_or_else(|| {
        let known: Vec<&String> = all
            .as_object()
            .into_iter()
            .flatten()
            .map(|(k, _)| k)
            .collect();
        let known: Vec<&str> = known.iter().map(|name| name.as_str()).collect();
        format!(
            "there is no published table `{}`; known are {}",
            own.table,
            known.join(", ")
        )
    })?;
    let key = table["column_key"].as_str().unwrap_or_default();
    let rows = rows_of(table);
    let printed = |group: Option<&str>, row: &Row, column: &Column| -> Option<&Value> {
        let mut wanted = own.rows.get(&row.label).unwrap_or(&row.label);
        let mut name = own.columns.get(&column.label).unwrap_or(&column.label);
        if own.transposed {
            std::mem::swap(&mut wanted, &mut name);
        }
        let is_row = |row: &&Value| row[key].as_str().is_some_and(|label| same(label, wanted));
        let mut found = rows.iter().filter(|(title, row)| {
            let fits = match (title, group) {
                (Some(title), Some(group)) => same(title, group),
                _ => true,
            };
            fits && is_row(row)
        });
        let found = found
            .next()
            .or_else(|| rows.iter().find(|(_, row)| is_row(row)))?;
        found.1.get(name).filter(|value| !value.is_null())
    };
    for at in (0..columns.len()).rev() {
        let any = groups.iter().any(|group| {
            let mut rows = group.rows.iter();
            rows.any(|row| printed(group.title.as_deref(), row, &columns[at]).is_some())
        });
        if !any {
            continue;
        }
        let decimals = columns[at].decimals;
        for group in groups.iter_mut() {
            for row in &mut group.rows {
                let value = printed(group.title.as_deref(), row, &columns[at]);
                let cell = cell_of(value, decimals, &spec.missing);
                let difference = match (row.cells[at].value(), cell.value()) {
                    (Some(ours), Some(theirs)) => Some(ours - theirs),
                    _ => None,
                };
                let mut text = cell_of(difference.map(Value::from).as_ref(), decimals, "");
                if let Some(difference) = difference {
                    text.text = format!("{difference:+.decimals$}");
                }
                row.cells.insert(at + 1, text);
                row.cells.insert(at + 1, cell);
            }
        }
        let label = columns[at].label.clone();
        let column = |label: String| Column {
            label,
            reference: true,
            direction: columns[at].direction,
            decimals,
            mark: false,
        };
        let (published, difference) = (
            column(format!("{label} (paper)")),
            column(format!("{label} Δ")),
        );
        columns.insert(at + 1, difference);
        columns.insert(at + 1, published);
    }
    Ok(())
}

/// The rows of a published table with the names of their groups.
fn rows_of(table: &Value) -> Vec<(Option<&str>, &Value)> {
    let plain = table["rows"].as_array().into_iter().flatten();
    let groups = table["groups"].as_array().into_iter().flatten();
    let grouped = groups.flat_map(|group| {
        let rows = group["rows"].as_array().into_iter().flatten();
        rows.map(|row| (group["name"].as_str(), row))
    });
    plain.map(|row| (None, row)).chain(grouped).collect()
}

/// Names are the same whatever their case and the mark of the baseline.
fn same(left: &str, right: &str) -> bool {
    let bare = |text: &str| text.trim_end_matches('*').trim().to_lowercase();
    bare(left) == bare(right)
}

fn cell_of(value: Option<&Value>, decimals: usize, missing: &str) -> Cell {
    let Some(value) = value else {
        return Cell {
            text: missing.to_owned(),
            ..Cell::default()
        };
    };
    let number = value.as_f64();
    let values: Vec<f64> = number.into_iter().collect();
    Cell {
        text: match number {
            Some(number) if value.is_f64() => format!("{number:.decimals$}"),
            _ => plain(value),
        },
        parts: vec![PartValue {
            value: number,
            shown: Some(value.clone()),
            statistics: Statistics {
                n: 1,
                ..Statistics::of(&values, None, true)
            },
            values,
            name: String::new(),
        }],
        ..Cell::default()
    }
}
