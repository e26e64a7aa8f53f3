//! Marks of the best and second best cells (`reports.md` 11.5).

use super::cell::Mark;
use super::table::{Column, Group};
use crate::reports::spec::{Direction, MarkAxis, MarkScope, MarkSpec};

/// Marks the cells of a table.
pub(super) fn set(marks: &MarkSpec, columns: &[Column], groups: &mut [Group]) {
    if !marks.best && !marks.second {
        return;
    }
    // Places of cells: group, row, column.
    let mut lines: Vec<(Direction, Vec<[usize; 3]>)> = Vec::new();
    let takes_part = |column: &Column| column.mark && !column.reference;
    match marks.axis {
        MarkAxis::Row => {
            let first = columns.first().map_or(Direction::Max, |c| c.direction);
            for (g, group) in groups.iter().enumerate() {
                for (r, row) in group.rows.iter().enumerate().filter(|(_, r)| !r.reference) {
                    let places = (0..row.cells.len()).filter(|c| takes_part(&columns[*c]));
                    lines.push((first, places.map(|c| [g, r, c]).collect()));
                }
            }
        }
        MarkAxis::Column => {
            let own = columns.iter().enumerate().filter(|(_, c)| takes_part(c));
            for (c, column) in own {
                let mut line = Vec::new();
                for (g, group) in groups.iter().enumerate() {
                    let rows = group.rows.iter().enumerate().filter(|(_, r)| !r.reference);
                    line.extend(rows.map(|(r, _)| [g, r, c]));
                    if marks.scope == MarkScope::Group {
                        lines.push((column.direction, std::mem::take(&mut line)));
                    }
                }
                lines.push((column.direction, line));
            }
        }
    }
    for (direction, places) in lines {
        mark_line(marks, direction, &places, columns, groups);
    }
}

fn mark_line(
    marks: &MarkSpec,
    direction: Direction,
    places: &[[usize; 3]],
    columns: &[Column],
    groups: &mut [Group],
) {
    let ranks: Vec<([usize; 3], f64)> = places
        .iter()
        .filter_map(|&[g, r, c]| {
            let value = groups[g].rows[r].cells[c].value()?;
            let rank = rounded(value, columns[c].decimals);
            let rank = if direction == Direction::Max {
                rank
            } else {
                -rank
            };
            Some(([g, r, c], rank))
        })
        .collect();
    if ranks.len() < marks.min_cells {
        return;
    }
    let largest = |below: f64| {
        let lower = ranks.iter().map(|(_, rank)| *rank).filter(|r| *r < below);
        lower.fold(f64::NEG_INFINITY, f64::max)
    };
    let best = largest(f64::INFINITY);
    let of_rank = |wanted: f64| -> Vec<[usize; 3]> {
        let equal = ranks.iter().filter(|(_, rank)| *rank == wanted);
        equal.map(|(place, _)| *place).collect()
    };
    let winners = of_rank(best);
    let seconds = match winners.len() {
        1 => of_rank(largest(best)),
        _ => Vec::new(),
    };
    let mut set = |places: Vec<[usize; 3]>, mark: Mark| {
        for [g, r, c] in places {
            groups[g].rows[r].cells[c].mark = Some(mark);
        }
    };
    if marks.best {
        set(winners, Mark::Best);
    }
    if marks.second {
        set(seconds, Mark::Second);
    }
}

/// As it is printed with so many decimals.
fn rounded(value: f64, decimals: usize) -> f64 {
    format!("{value:.decimals$}").parse().unwrap_or(value)
}
