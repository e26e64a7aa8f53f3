//! The results of a sweep as a table.

use crate::reports::evaluate::{Cell, EvaluatedTable, Row};
use crate::runner::sweep::{GroupResult, Sweep, SweepResults};

/// The table: a row for each set of values, the best first where points are
/// ranked.
pub(super) fn table(sweep: &Sweep, results: &SweepResults) -> EvaluatedTable {
    let keys = varying(sweep);
    let groups = ordered(results);
    let repeats = groups.iter().any(|group| group.points.len() > 1);
    let mut columns = keys.clone();
    columns.extend(repeats.then(|| "n".to_owned()));
    columns.extend(results.metrics.iter().map(ToString::to_string));
    let rows = groups
        .iter()
        .map(|group| row(sweep, results, &keys, group, repeats))
        .collect();
    let title = match sweep.header.title.as_str() {
        "" => sweep.header.name.clone(),
        title => title.to_owned(),
    };
    EvaluatedTable {
        name: sweep.header.name.clone(),
        title: Some(title),
        ..EvaluatedTable::of_rows("point", &columns, rows)
    }
}

/// The same as CSV, with means, deviations and counts unrounded.
pub(super) fn csv(sweep: &Sweep, results: &SweepResults) -> String {
    let quote = |text: &str| match text.contains([',', '"', '\n', '\r']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text.to_owned(),
    };
    let keys = varying(sweep);
    let mut header: Vec<String> = vec!["point".to_owned(), "label".to_owned()];
    header.extend(keys.iter().map(|key| quote(key)));
    for metric in &results.metrics {
        let name = metric.to_string();
        header.extend([
            quote(&name),
            quote(&format!("{name} std")),
            quote(&format!("{name} n")),
        ]);
    }
    let mut text = header.join(",") + "\n";
    for group in ordered(results) {
        let line = &sweep.points[group.first()];
        let mut cells = vec![line.point.to_string(), quote(&line.labels.join("; "))];
        for key in &keys {
            cells.push(quote(&value(sweep, group, key)));
        }
        let number = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
        for metric in 0..results.metrics.len() {
            cells.push(number(group.means[metric]));
            cells.push(number(group.deviations[metric]));
            cells.push(group.count(metric).to_string());
        }
        text.push_str(&cells.join(","));
        text.push('\n');
    }
    text
}

fn ordered(results: &SweepResults) -> Vec<&GroupResult> {
    let mut groups: Vec<&GroupResult> = results.groups.iter().collect();
    if results.ranked {
        let key = |group: &&GroupResult| {
            let value = group.means[0].map(|value| results.goal.loss(value));
            value.unwrap_or(f64::INFINITY)
        };
        groups.sort_by(|a, b| key(a).total_cmp(&key(b)));
    }
    groups
}

/// Keys of the points' values, in the order of their appearance.
fn varying(sweep: &Sweep) -> Vec<String> {
    let mut keys: Vec<String> = Vec::new();
    for point in sweep.active() {
        for setting in &sweep.settings[point] {
            if !keys.contains(&setting.path) {
                keys.push(setting.path.clone());
            }
        }
    }
    keys
}

fn value(sweep: &Sweep, group: &GroupResult, key: &str) -> String {
    let settings = sweep.settings[group.first()].iter();
    let found = settings.clone().find(|setting| setting.path == *key);
    found
        .map(|setting| setting.text.clone())
        .unwrap_or_default()
}

fn row(
    sweep: &Sweep,
    results: &SweepResults,
    keys: &[String],
    group: &GroupResult,
    repeats: bool,
) -> Row {
    let line = &sweep.points[group.first()];
    let label = match (group.points.as_slice(), line.labels.is_empty()) {
        (_, false) => line.labels.join(" · "),
        ([first, .., last], true) => format!("{}–{}", first.point, last.point),
        _ => line.point.to_string(),
    };
    let mut cells: Vec<Cell> = keys
        .iter()
        .map(|key| Cell::of_text(value(sweep, group, key)))
        .collect();
    if repeats {
        let done = group.points.iter().filter(|point| point.done).count();
        // Missing repeats are never averaged in silence.
        cells.push(Cell::of_text(match done == group.points.len() {
            true => done.to_string(),
            false => format!("{done}/{}", group.points.len()),
        }));
    }
    for (at, _) in results.metrics.iter().enumerate() {
        let shown = match (group.means[at], group.deviations[at]) {
            (Some(mean), Some(deviation)) => {
                format!("{} ± {}", number(mean), number(deviation))
            }
            (Some(mean), None) => number(mean),
            (None, _) => "–".to_owned(),
        };
        cells.push(match group.means[at] {
            Some(mean) => Cell::of_number(shown, mean, group.count(at)),
            None => Cell::of_text(shown),
        });
    }
    Row {
        label,
        cells,
        ..Row::default()
    }
}

/// Four digits or so.
pub(super) fn number(value: f64) -> String {
    let size = value.abs();
    if value.fract() == 0.0 && size < 1e9 {
        format!("{value:.0}")
    } else if (1e-3..1e6).contains(&size) {
        let before = size.log10().floor().max(0.0) as usize;
        format!("{value:.*}", 4usize.saturating_sub(before).clamp(1, 4))
    } else {
        format!("{value:.3e}")
    }
}
