//! `gencfg_model_v1`: a row per generation configuration, a column per model.

use std::cmp::Ordering;

use super::Table;
use super::scored::Scored;
use crate::reports::number_text::{Fraction, digits, fixed, percent};
use crate::reports::predictions::compare::in_lines;
use crate::reports::predictions::error::{PredictionsError, Result};
use crate::reports::predictions::score::{Rounding, Score};
use crate::reports::printed::Printed;
use crate::reports::python_text::python_repr;

/// A score or a mean of scores: points and their share of the most there could
/// be, exactly where that is possible.
#[derive(Clone, Copy, Debug)]
struct Value {
    points: f64,
    share: f64,
    exact: Option<(Fraction, Fraction)>,
}

impl Value {
    fn of(score: Score) -> Option<Self> {
        let exact = Fraction::new(score.tenths.into(), 10).zip(score.exact_share());
        Some(Self {
            points: score.points,
            share: score.share()?,
            exact,
        })
    }

    /// Mean of values, added in their order; `None` of none.
    fn mean(values: &[Self]) -> Option<Self> {
        let count = values.len() as f64;
        let exact = |part: fn(&(Fraction, Fraction)) -> Fraction| {
            let mut sum = Fraction::new(0, 1)?;
            for value in values {
                sum = sum.plus(part(value.exact.as_ref()?))?;
            }
            sum.times(1, values.len() as i128)
        };
        (!values.is_empty()).then(|| Self {
            points: values.iter().map(|value| value.points).sum::<f64>() / count,
            share: values.iter().map(|value| value.share).sum::<f64>() / count,
            exact: exact(|pair| pair.0).zip(exact(|pair| pair.1)),
        })
    }

    /// The larger points and the larger share, each for itself.
    fn max(self, other: Self) -> Self {
        let larger = |own: Fraction, others: Fraction, more: bool| if more { others } else { own };
        let (more_points, more_share) = (other.points > self.points, other.share > self.share);
        let exact = self.exact.zip(other.exact).map(|(own, others)| {
            (
                larger(own.0, others.0, more_points),
                larger(own.1, others.1, more_share),
            )
        });
        Self {
            points: if more_points {
                other.points
            } else {
                self.points
            },
            share: if more_share { other.share } else { self.share },
            exact,
        }
    }

    fn points_text(&self, width: usize, rounding: Rounding) -> String {
        let text = match (rounding, self.exact) {
            (Rounding::Exact, Some((points, _))) => points.fixed(1),
            _ => fixed(self.points, 1),
        };
        format!("{text:>width$}")
    }

    fn percent_text(&self, rounding: Rounding) -> String {
        match (rounding, self.exact) {
            (Rounding::Exact, Some((_, share))) => share.percent(),
            _ => percent(self.share * 100.0),
        }
    }
}

/// Values of the ranks; the first may be lacking only if all are.
type Cell = Vec<Option<Value>>;

pub(super) fn show(table: &Table<'_>, scored: &[Scored], out: &mut Printed) -> Result<()> {
    let nothing = |what: &str| PredictionsError::Nothing {
        what: what.to_owned(),
    };
    let scored: Vec<&Scored> = scored
        .iter()
        .filter(|scored| scored.top1().total > 0)
        .collect();
    let Some(best) = best(table, &scored) else {
        return Err(nothing(
            "no file holds predictions for samples under any generation configuration",
        ));
    };
    let ranks = scored.iter().map(|scored| scored.scores.len()).max();
    let ranks = ranks.unwrap_or(0);
    let mut gencfgs: Vec<&str> = Vec::new();
    for one in &scored {
        if !gencfgs.contains(&one.gencfg.as_str()) {
            gencfgs.push(&one.gencfg);
        }
    }
    let mut totals: Vec<u64> = scored.iter().map(|scored| scored.top1().total).collect();
    totals.sort_unstable();
    totals.dedup();
    out.result(format!(
        "Top-k (up to {ranks}) prediction scores across models and decoding strategies:"
    ));
    if totals.len() > 1 {
        out.warn(format!(
            "Not all prediction JSONs have the same number of samples, so treat means in the table below with caution: {}",
            python_repr(&totals.clone().into())
        ));
    }
    if scored.len() < gencfgs.len() * table.files.len() {
        out.warn("Not all combinations of gencfg and model have data available, so not all means in the table below are actually directly comparable");
    }
    let layout = Layout {
        ranks,
        width: digits(totals.last().copied().unwrap_or(0)),
        rounding: table.rounding(),
    };
    let mut lines: Vec<Line> = gencfgs
        .iter()
        .map(|gencfg| Line::of(gencfg, &scored, table.files.len(), ranks))
        .collect();
    let maximum = Line::maximum(&lines);
    let mut rows: Vec<(Line, Vec<String>)> = lines
        .drain(..)
        .map(|line| {
            let row = line.row(&layout, table.is_full());
            (line, row)
        })
        .collect();
    rows.sort_by(|(left, left_row), (right, right_row)| {
        left.compare(right).then_with(|| left_row.cmp(right_row))
    });
    let mut heads = vec!["\nGen Cfg".to_owned(), "\nMean Top-k".to_owned()];
    heads.extend((0..table.files.len()).map(|file| {
        if table.request.model_spec {
            table.model(file).replace('/', "/\n")
        } else {
            in_lines(&table.files[file].stem())
        }
    }));
    if table.is_full() {
        heads.push("\nUnannotated".to_owned());
    }
    let mut rows: Vec<Vec<String>> = rows.into_iter().map(|(_, row)| row).collect();
    let names: Vec<String> = heads.iter().map(|head| head.replace('\n', "")).collect();
    table.sort(&names, &mut rows, out)?;
    rows.insert(0, maximum.row(&layout, table.is_full()));
    out.table(heads, rows);
    let percent = best.top1().percent_text(table.rounding());
    out.result(format!(
        "Best seen top-1 prediction score is {} by {} with {}",
        if table.is_full() {
            percent.trim_start()
        } else {
            &percent
        },
        table.model(best.file),
        best.gencfg
    ));
    Ok(())
}

/// Highest share; of equal ones the smallest path, then the smallest name.
fn best<'a>(table: &Table<'_>, scored: &[&'a Scored]) -> Option<&'a Scored> {
    let rank = |one: &&&Scored| (table.files[one.file].path.clone(), one.gencfg.clone());
    let share = |one: &&&Scored| one.top1().share().unwrap_or(f64::NEG_INFINITY);
    scored
        .iter()
        .min_by(|left, right| {
            let shares = share(right).total_cmp(&share(left));
            shares.then_with(|| rank(left).cmp(&rank(right)))
        })
        .copied()
}

/// Sizes common to all cells.
struct Layout {
    ranks: usize,
    width: usize,
    rounding: Rounding,
}

impl Layout {
    fn text(&self, cell: &Cell) -> String {
        let values: Vec<&Value> = cell.iter().flatten().collect();
        if values.is_empty() {
            return String::new();
        }
        let points: Vec<String> = values
            .iter()
            .map(|value| value.points_text(self.width + 2, self.rounding))
            .collect();
        let percents: Vec<String> = values
            .iter()
            .map(|value| value.percent_text(self.rounding))
            .collect();
        let width = (self.ranks * (self.width + 5)).saturating_sub(3);
        format!("{:<width$} = {}", points.join(" < "), percents.join(" < "))
    }
}

/// One generation configuration.
struct Line {
    name: String,
    mean: Cell,
    files: Vec<Cell>,
    unannotated: Option<u64>,
}

impl Line {
    fn of(gencfg: &str, scored: &[&Scored], files: usize, ranks: usize) -> Self {
        let own: Vec<&Scored> = scored
            .iter()
            .copied()
            .filter(|scored| scored.gencfg == gencfg)
            .collect();
        let cell = |file: usize| -> Cell {
            let found = own.iter().find(|scored| scored.file == file);
            let scores = found.map(|scored| scored.scores.as_slice());
            let scores = scores.unwrap_or_default().iter();
            scores.map(|score| Value::of(*score)).collect()
        };
        let files: Vec<Cell> = (0..files).map(cell).collect();
        let mean = (0..ranks).map(|rank| {
            let values: Vec<Value> = files
                .iter()
                .filter_map(|cell| cell.get(rank).copied().flatten())
                .collect();
            Value::mean(&values)
        });
        Self {
            name: gencfg.to_owned(),
            mean: mean.collect(),
            files,
            unannotated: Some(own.iter().map(|scored| scored.unannotated()).sum()),
        }
    }

    /// The largest values of all lines, each for itself.
    fn maximum(lines: &[Self]) -> Self {
        let largest = |cells: &mut dyn Iterator<Item = &Cell>| -> Cell {
            let mut largest = Cell::new();
            for cell in cells {
                largest.resize(largest.len().max(cell.len()), None);
                for (largest, value) in largest.iter_mut().zip(cell) {
                    *largest = match (*largest, *value) {
                        (Some(largest), Some(value)) => Some(largest.max(value)),
                        (largest, value) => largest.or(value),
                    };
                }
            }
            largest
        };
        let files = lines.first().map_or(0, |line| line.files.len());
        Self {
            name: "MAXIMUM (mixed gencfg)".to_owned(),
            mean: largest(&mut lines.iter().map(|line| &line.mean)),
            files: (0..files)
                .map(|file| largest(&mut lines.iter().map(|line| &line.files[file])))
                .collect(),
            unannotated: None,
        }
    }

    /// Falling means; a configuration with fewer ranks comes before another
    /// that is equal so far.
    fn compare(&self, other: &Self) -> Ordering {
        let key = |value: &Option<Value>| value.map_or(f64::NEG_INFINITY, |value| -value.share);
        let pairs = self.mean.iter().zip(&other.mean);
        pairs
            .map(|(left, right)| key(left).total_cmp(&key(right)))
            .find(|ordering| ordering.is_ne())
            .unwrap_or(Ordering::Equal)
    }

    fn row(&self, layout: &Layout, full: bool) -> Vec<String> {
        let mut row = vec![self.name.clone(), layout.text(&self.mean)];
        row.extend(self.files.iter().map(|cell| layout.text(cell)));
        if full {
            row.push(
                self.unannotated
                    .map(|count| count.to_string())
                    .unwrap_or_default(),
            );
        }
        row
    }
}
