//! Lines and columns that summarize others, and cells of several parts that
//! stand below each other.

use super::cell::{Cell, PartValue, write};
use super::summary::Statistics;
use super::table::{Column, Group, Row};
use crate::reports::spec::{Aggregate, ColumnSpec, Direction, Margin, TableSpec};

/// Adds the summaries that a table wants. `summarized` are the columns that
/// count, `specs` all there are.
pub(super) fn add(
    spec: &TableSpec,
    summarized: &[ColumnSpec],
    specs: &[ColumnSpec],
    columns: &mut Vec<Column>,
    groups: &mut Vec<Group>,
) {
    let Some(pattern) = summarized.first() else {
        return;
    };
    let first = spec.fields.iter().filter(|(first, _)| *first).count();
    let own = first..first + summarized.len();
    if let Some(margin) = &spec.margin_column {
        let at = if margin.first { own.start } else { own.end };
        for row in groups.iter_mut().flat_map(|group| &mut group.rows) {
            let cells = &row.cells[own.clone()];
            let cell = summary(margin, pattern, cells.iter(), &spec.missing);
            row.cells.insert(at, cell);
        }
        columns.insert(
            at,
            Column {
                label: margin.label.clone(),
                reference: pattern.reference,
                direction: pattern.direction,
                decimals: pattern.decimals,
                mark: pattern.mark,
            },
        );
    }
    if let Some(margin) = &spec.margin_row {
        let margin_at = spec
            .margin_column
            .as_ref()
            .map(|margin| if margin.first { own.start } else { own.end });
        let cells = (0..columns.len()).map(|at| {
            let column = match margin_at {
                Some(own) if at == own => Some(pattern),
                Some(own) if at > own => specs.get(at - 1),
                _ => specs.get(at),
            };
            let cells = groups.iter().flat_map(|group| &group.rows);
            let cells = cells.map(|row| &row.cells[at]);
            column.map_or_else(Cell::default, |column| {
                summary(margin, column, cells, &spec.missing)
            })
        });
        let row = Row {
            label: margin.label.clone(),
            reference: true,
            cells: cells.collect(),
            ..Row::default()
        };
        let group = Group {
            title: None,
            rows: vec![row],
        };
        match (margin.first, groups.len()) {
            (true, 1) => groups[0].rows.splice(0..0, group.rows).for_each(drop),
            (false, 1) => groups[0].rows.extend(group.rows),
            (true, _) => groups.insert(0, group),
            (false, _) => groups.push(group),
        }
    }
}

/// One cell of others: each part of theirs on its own.
fn summary<'a>(
    margin: &Margin,
    pattern: &ColumnSpec,
    cells: impl Iterator<Item = &'a Cell>,
    missing: &str,
) -> Cell {
    let cells: Vec<&Cell> = cells.collect();
    let best_is_max = pattern.direction == Direction::Max;
    let part = |(at, part): (usize, &crate::reports::spec::Part)| {
        let values: Vec<f64> = cells
            .iter()
            .filter_map(|cell| cell.parts.get(at)?.value)
            .collect();
        let statistics = Statistics::of(&values, None, best_is_max);
        let value = match margin.aggregate {
            Aggregate::Mean => statistics.mean,
            Aggregate::Max => statistics.max,
            Aggregate::Min => statistics.min,
            Aggregate::Median => statistics.median,
            Aggregate::Best => statistics.best,
            Aggregate::Sum => statistics.sum,
            Aggregate::Count => (!values.is_empty()).then_some(values.len() as f64),
            Aggregate::First => values.first().copied(),
            Aggregate::Last => values.last().copied(),
            Aggregate::Distinct => None,
        };
        PartValue {
            name: part.name.clone(),
            value,
            values,
            statistics,
            shown: None,
        }
    };
    let mut cell = Cell {
        parts: pattern.parts.iter().enumerate().map(part).collect(),
        ..Cell::default()
    };
    write(pattern, &mut cell, missing);
    cell
}

/// Joined cells stand below each other: the groups before the last are as wide
/// as the widest of the table.
pub(super) fn align_joined(groups: &mut [Group]) {
    let cells = || groups.iter().flat_map(|group| &group.rows);
    let mut widths: Vec<usize> = Vec::new();
    for cell in cells().flat_map(|row| &row.cells) {
        for (at, text) in cell.groups.iter().enumerate() {
            if widths.len() <= at {
                widths.push(0);
            }
            widths[at] = widths[at].max(text.chars().count());
        }
    }
    if widths.len() < 2 {
        return;
    }
    for row in groups.iter_mut().flat_map(|group| &mut group.rows) {
        for cell in row.cells.iter_mut().filter(|cell| !cell.groups.is_empty()) {
            let mut text = cell.text.clone();
            let whole: usize = cell.groups.iter().map(|group| group.chars().count()).sum();
            let total = text.chars().count();
            let between = (total - whole) / (cell.groups.len() - 1).max(1);
            let joint: String = text
                .chars()
                .skip(cell.groups[0].chars().count())
                .take(between)
                .collect();
            text.clear();
            for (at, group) in cell.groups.iter().enumerate() {
                if at > 0 {
                    text.push_str(&joint);
                }
                text.push_str(group);
                if at + 1 < cell.groups.len() {
                    let missing = widths[at] - group.chars().count();
                    text.extend(std::iter::repeat_n(' ', missing));
                }
            }
            cell.text = text;
        }
    }
}
