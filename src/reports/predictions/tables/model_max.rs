//! `model_max_v1`: the best generation configuration of each model.

use std::cmp::Ordering;

use super::Table;
use super::scored::Scored;
use crate::reports::number_text::percent_text;
use crate::reports::predictions::error::Result;
use crate::reports::printed::Printed;

pub(super) fn show(table: &Table<'_>, scored: &[Scored], out: &mut Printed) -> Result<()> {
    out.result("Maximum top-1 prediction scores per-model across decoding strategies:");
    let mut heads = vec![
        table.model_head(),
        "Top-1 Details".to_owned(),
        "Top-1".to_owned(),
        "Top-1%".to_owned(),
    ];
    if table.is_full() {
        heads.push("Gen Cfg".to_owned());
    }
    heads.extend(table.extra_heads());
    let mut rows: Vec<(Option<f64>, Vec<String>)> = (0..table.files.len())
        .map(|file| {
            let best = best(scored.iter().filter(|scored| scored.file == file));
            (
                best.and_then(|best| best.top1().share()),
                row(table, file, best),
            )
        })
        .collect();
    rows.sort_by(|(left, left_row), (right, right_row)| {
        // Missing ones last.
        let shares = right.partial_cmp(left).unwrap_or(Ordering::Equal);
        shares.then_with(|| left_row.cmp(right_row))
    });
    let mut rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
    table.sort(&heads, &mut rows, out)?;
    out.table(heads, rows);
    Ok(())
}

/// The first of those with most points; none if there are no samples.
fn best<'a>(scored: impl Iterator<Item = &'a Scored>) -> Option<&'a Scored> {
    scored
        .filter(|scored| scored.top1().total > 0)
        .reduce(|best, next| {
            if next.top1().points > best.top1().points {
                next
            } else {
                best
            }
        })
}

fn row(table: &Table<'_>, file: usize, best: Option<&Scored>) -> Vec<String> {
    let mut row = vec![table.model(file)];
    match best {
        Some(best) => {
            let score = best.top1();
            let details = best.counters.first().cloned().unwrap_or_default();
            row.push(details.details(table.annotations, None));
            row.push(score.text(None, table.rounding()));
            row.push(score.percent_text(table.rounding()));
        }
        None => row.extend(["-".to_owned(), "-".to_owned(), percent_text("-")]),
    }
    if table.is_full() {
        row.push(best.map_or_else(|| "-".to_owned(), |best| best.gencfg.clone()));
    }
    row.extend(table.extra_cells(best));
    row
}
