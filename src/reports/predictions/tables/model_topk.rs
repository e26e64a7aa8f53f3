//! `model_topk_v1`: a table per generation configuration, a row per model.

use super::Table;
use super::scored::Scored;
use crate::reports::predictions::error::{PredictionsError, Result};
use crate::reports::printed::Printed;

pub(super) fn show(table: &Table<'_>, scored: &[Scored], out: &mut Printed) -> Result<()> {
    if scored.is_empty() && table.is_full() {
        return Err(PredictionsError::Nothing {
            what: "no file holds predictions under any generation configuration".to_owned(),
        });
    }
    let mut gencfgs: Vec<&str> = scored.iter().map(|scored| scored.gencfg.as_str()).collect();
    gencfgs.sort_unstable();
    gencfgs.dedup();
    for gencfg in gencfgs {
        out.result(format!(
            "Top-k (up to {}) prediction scores when models are decoded with {gencfg}:",
            table.request.topk
        ));
        let of_gencfg = || scored.iter().filter(|scored| scored.gencfg == gencfg);
        let ranks = of_gencfg().map(|scored| scored.scores.len()).max();
        let ranks = ranks.unwrap_or(0);
        let mut heads = vec![table.model_head(), "Top-1 Details".to_owned()];
        heads.extend((1..=ranks).map(|rank| format!("Top-{rank}")));
        heads.extend((1..=ranks).map(|rank| format!("Top-{rank}%")));
        heads.extend(table.extra_heads());
        let mut rows: Vec<Vec<String>> = of_gencfg()
            .map(|scored| row(table, scored, ranks))
            .collect();
        if table.sort.is_some() {
            rows.sort_unstable();
            table.sort(&heads, &mut rows, out)?;
        }
        out.table(heads, rows);
    }
    Ok(())
}

/// Ranks that a file lacks are empty.
fn row(table: &Table<'_>, scored: &Scored, ranks: usize) -> Vec<String> {
    let rounding = table.rounding();
    let details = scored.counters.first().cloned().unwrap_or_default();
    let mut row = vec![
        table.model(scored.file),
        details.details(table.annotations, None),
    ];
    let mut points: Vec<String> = scored
        .scores
        .iter()
        .map(|score| score.text(None, rounding))
        .collect();
    points.resize(ranks, String::new());
    let mut percents: Vec<String> = scored
        .scores
        .iter()
        .map(|score| score.percent_text(rounding))
        .collect();
    percents.resize(ranks, String::new());
    row.extend(points);
    row.extend(percents);
    row.extend(table.extra_cells(Some(scored)));
    row
}
