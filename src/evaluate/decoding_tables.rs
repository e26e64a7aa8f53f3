//! Tables of datasets × models × generation configurations (`eval-infer.md`
//! section 7).

use std::cmp::Ordering;

use serde_json::{Map, Value, json};

use super::statistics::TopKStatistics;
use super::terminal::{Colour, TextTable, percent};

/// Ranks of the tables of means.
const MEAN_RANKS: usize = 3;
/// Ranks of the printed overall table.
const PRINTED_RANKS: usize = 2;

/// What one configuration of one model gave on one dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct DecodingScore {
    /// Name of the generation configuration.
    pub gen_cfg: String,
    /// Share of samples with a correct one among the first `1 … K`.
    pub topk: Vec<f32>,
    /// Share of samples with one that is no known noun.
    pub invalid: Vec<f32>,
}

impl DecodingScore {
    /// The score that counters hold.
    pub fn new(gen_cfg: impl Into<String>, statistics: &TopKStatistics) -> Self {
        let ratios = statistics.ratios();
        Self {
            gen_cfg: gen_cfg.into(),
            topk: ratios.iter().map(|ratios| ratios.correct).collect(),
            invalid: ratios.iter().map(|ratios| ratios.invalid).collect(),
        }
    }
}

/// What a model gave on a dataset under all configurations.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelScores {
    /// Name of the model: directory and file.
    pub model: String,
    /// One per configuration.
    pub scores: Vec<DecodingScore>,
}

/// What all models gave on a dataset.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetScores {
    /// `name split variant`.
    pub dataset: String,
    /// One per model.
    pub models: Vec<ModelScores>,
}

/// Values of one tracking step and the table for people.
#[derive(Clone, Debug, PartialEq)]
pub struct TrackedTable {
    /// What is logged, in order.
    pub values: Map<String, Value>,
    /// What is printed.
    pub text: String,
}

impl ModelScores {
    /// Table of a model on a dataset.
    pub fn table(&self, dataset: &str) -> TrackedTable {
        let ranks = max_ranks(&self.scores);
        let mut sorted: Vec<&DecodingScore> = self.scores.iter().collect();
        sorted.sort_by(|a, b| best_first(top(a, 0), top(b, 0), &a.gen_cfg, &b.gen_cfg));
        let heads = ["Dataset", "Model", "Gen Cfg"]
            .map(str::to_owned)
            .into_iter();
        let heads = heads
            .chain((1..=ranks).map(|rank| format!("Top-{rank}")))
            .chain((1..=ranks).map(|rank| format!("ITop-{rank}")));
        let rows: Vec<Value> = sorted
            .iter()
            .map(|score| {
                let mut row = vec![
                    json!(in_table(dataset)),
                    json!(self.model),
                    json!(score.gen_cfg),
                ];
                for shares in [&score.topk, &score.invalid] {
                    row.extend((0..ranks).map(|rank| {
                        shares
                            .get(rank)
                            .map_or(Value::Null, |&share| json!(f64::from(share) * 100.0))
                    }));
                }
                Value::Array(row)
            })
            .collect();
        let mut text = TextTable::new(
            std::iter::once("Gen Cfg".to_owned())
                .chain((1..=ranks).map(|rank| format!("Top-{rank}"))),
        );
        for score in &sorted {
            let cells = (0..ranks).map(|rank| {
                let (Some(&correct), Some(&invalid)) =
                    (score.topk.get(rank), score.invalid.get(rank))
                else {
                    return String::new();
                };
                let best = extreme(sorted.iter().filter_map(|s| s.topk.get(rank)), f32::max);
                let worst = extreme(sorted.iter().filter_map(|s| s.invalid.get(rank)), f32::max);
                let correct = painted(percent(f64::from(correct)), correct == best, Colour::Green);
                let invalid_text = format!("{}%", short(f64::from(invalid) * 100.0));
                let invalid = painted(invalid_text, invalid == worst, Colour::Red);
                format!("{correct} ~ {invalid}")
            });
            let cells: Vec<String> = cells.collect();
            text.row(std::iter::once(Colour::Cyan.paint(&score.gen_cfg)).chain(cells));
        }
        let columns: Vec<String> = heads.collect();
        TrackedTable {
            values: object([(
                "table_per_model".to_owned(),
                json!({ "columns": columns, "data": rows }),
            )]),
            text: text.render(),
        }
    }

    fn score(&self, gen_cfg: &str) -> Option<&DecodingScore> {
        self.scores.iter().find(|score| score.gen_cfg == gen_cfg)
    }
}

impl DatasetScores {
    /// Table of all models on the dataset.
    pub fn table(&self) -> TrackedTable {
        let ranks = self.ranks();
        let rows = self.means();
        let columns = ["Dataset", "Gen Cfg"].map(str::to_owned).into_iter();
        let columns: Vec<String> = columns
            .chain((1..=ranks).map(|rank| format!("Top-{rank} Mean")))
            .collect();
        let data: Vec<Value> = rows
            .iter()
            .map(|(gen_cfg, means)| {
                let mut row = vec![json!(in_table(&self.dataset)), json!(gen_cfg)];
                row.extend(means.iter().map(|&mean| percentage(mean)));
                Value::Array(row)
            })
            .collect();
        let mut values = object([(
            "table_per_dataset".to_owned(),
            json!({ "columns": columns, "data": data }),
        )]);
        if let Some((gen_cfg, means)) = rows.first() {
            let key = in_key(&self.dataset);
            values.insert(format!("{key}/best_gen_cfg"), json!(gen_cfg));
            for (rank, &mean) in (1..).zip(means) {
                values.insert(format!("{key}/best_top{rank}_mean"), percentage(mean));
            }
        }
        let mut text = TextTable::new(
            ["Gen Cfg".to_owned(), "Mean Top-k".to_owned()]
                .into_iter()
                .chain(self.models.iter().map(|model| head(&model.model))),
        );
        let of_model = |model: &ModelScores, gen_cfg: &str, rank: usize| {
            model
                .score(gen_cfg)
                .and_then(|score| score.topk.get(rank).copied())
        };
        for (gen_cfg, means) in &rows {
            let mut cells = vec![Colour::Cyan.paint(gen_cfg)];
            cells.push(joined(" < ", ranks, |rank| {
                let best = extreme(rows.iter().filter_map(|row| row.1[rank].as_ref()), f32::max);
                means[rank]
                    .map(|mean| painted(percent(f64::from(mean)), mean == best, Colour::Green))
            }));
            for model in &self.models {
                cells.push(joined(" < ", ranks, |rank| {
                    let column: Vec<f32> = rows
                        .iter()
                        .filter_map(|row| of_model(model, row.0, rank))
                        .collect();
                    let best = extreme(column.iter(), f32::max);
                    of_model(model, gen_cfg, rank).map(|share| {
                        painted(percent(f64::from(share)), share == best, Colour::Green)
                    })
                }));
            }
            text.row(cells);
        }
        TrackedTable {
            values,
            text: text.render(),
        }
    }

    fn ranks(&self) -> usize {
        let ranks = self.models.iter().map(|model| max_ranks(&model.scores));
        ranks.max().unwrap_or(0).min(MEAN_RANKS)
    }

    /// Mean over the models of each configuration for each rank, best first.
    fn means(&self) -> Vec<(&str, Vec<Option<f32>>)> {
        let ranks = self.ranks();
        let mut rows: Vec<(&str, Vec<Option<f32>>)> = self
            .gen_cfgs()
            .map(|gen_cfg| {
                let means = (0..ranks).map(|rank| self.mean(gen_cfg, rank)).collect();
                (gen_cfg, means)
            })
            .collect();
        rows.sort_by(|a, b| best_first(first(&a.1), first(&b.1), a.0, b.0));
        rows
    }

    fn mean(&self, gen_cfg: &str, rank: usize) -> Option<f32> {
        let shares: Option<Vec<f32>> = self
            .models
            .iter()
            .filter_map(|model| model.score(gen_cfg))
            .map(|score| score.topk.get(rank).copied())
            .collect();
        mean(&shares?)
    }

    /// Configurations in the order of their first use.
    fn gen_cfgs(&self) -> impl Iterator<Item = &str> {
        let mut seen: Vec<&str> = Vec::new();
        for score in self.models.iter().flat_map(|model| &model.scores) {
            if !seen.contains(&score.gen_cfg.as_str()) {
                seen.push(&score.gen_cfg);
            }
        }
        seen.into_iter()
    }
}

/// Table of all datasets, each of which must be there once.
pub fn overall_table(datasets: &[DatasetScores]) -> TrackedTable {
    let ranks = datasets.iter().map(DatasetScores::ranks).max().unwrap_or(0);
    let mut gen_cfgs: Vec<&str> = Vec::new();
    for gen_cfg in datasets.iter().flat_map(DatasetScores::gen_cfgs) {
        if !gen_cfgs.contains(&gen_cfg) {
            gen_cfgs.push(gen_cfg);
        }
    }
    // [configuration][rank][dataset]
    let mut rows: Vec<(&str, Vec<Vec<Option<f32>>>)> = gen_cfgs
        .into_iter()
        .map(|gen_cfg| {
            let means = (0..ranks).map(|rank| {
                let of = |dataset: &DatasetScores| dataset.mean(gen_cfg, rank);
                datasets.iter().map(of).collect()
            });
            (gen_cfg, means.collect())
        })
        .collect();
    let total =
        |row: &(&str, Vec<Vec<Option<f32>>>)| row.1.first().and_then(|means| mean_of_all(means));
    rows.sort_by(|a, b| best_first(total(a), total(b), a.0, b.0));
    let mut columns = vec!["Gen Cfg".to_owned()];
    for rank in 1..=ranks {
        for dataset in datasets {
            columns.push(format!("Top-{rank} {} Mean", in_table(&dataset.dataset)));
        }
    }
    let data: Vec<Value> = rows
        .iter()
        .map(|(gen_cfg, means)| {
            let mut row = vec![json!(gen_cfg)];
            row.extend(means.iter().flatten().map(|&mean| percentage(mean)));
            Value::Array(row)
        })
        .collect();
    let mut values = object([(
        "table_overall".to_owned(),
        json!({ "columns": columns, "data": data }),
    )]);
    if let Some((gen_cfg, means)) = rows.first() {
        values.insert("best_gen_cfg".to_owned(), json!(gen_cfg));
        for (rank, means) in (1..).zip(means) {
            values.insert(
                format!("best_top{rank}_mean"),
                percentage(mean_of_all(means)),
            );
        }
        for (rank, means) in (1..).zip(means) {
            for (dataset, &mean) in datasets.iter().zip(means) {
                let key = format!("best_top{rank}_{}_mean", in_key(&dataset.dataset));
                values.insert(key, percentage(mean));
            }
        }
    }
    TrackedTable {
        values,
        text: overall_text(datasets, &rows),
    }
}

fn overall_text(datasets: &[DatasetScores], rows: &[(&str, Vec<Vec<Option<f32>>>)]) -> String {
    let mut models: Vec<&str> = Vec::new();
    for model in datasets.iter().flat_map(|dataset| &dataset.models) {
        if !models.contains(&model.model.as_str()) {
            models.push(&model.model);
        }
    }
    let heads = std::iter::once("Gen Cfg".to_owned())
        .chain((1..=PRINTED_RANKS).map(|rank| format!("Mean Top-{rank}")))
        .chain(models.iter().map(|model| head(model)));
    let mut text = TextTable::new(heads);
    let share = |dataset: &DatasetScores, model: &str, gen_cfg: &str, rank: usize| {
        let found = dataset.models.iter().find(|scores| scores.model == model)?;
        found.score(gen_cfg)?.topk.get(rank).copied()
    };
    for (gen_cfg, means) in rows {
        let mut cells = vec![Colour::Cyan.paint(gen_cfg)];
        for rank in 0..PRINTED_RANKS {
            cells.push(joined(" + ", datasets.len(), |dataset| {
                let column = rows
                    .iter()
                    .filter_map(|row| row.1.get(rank)?[dataset].as_ref());
                let best = extreme(column, f32::max);
                means.get(rank)?[dataset]
                    .map(|mean| painted(percent(f64::from(mean)), mean == best, Colour::Green))
            }));
        }
        for model in &models {
            cells.push(joined(" < ", PRINTED_RANKS, |rank| {
                let part = joined(" + ", datasets.len(), |dataset| {
                    let dataset = &datasets[dataset];
                    let column: Vec<f32> = rows
                        .iter()
                        .filter_map(|row| share(dataset, model, row.0, rank))
                        .collect();
                    let best = extreme(column.iter(), f32::max);
                    share(dataset, model, gen_cfg, rank).map(|share| {
                        painted(percent(f64::from(share)), share == best, Colour::Green)
                    })
                });
                (!part.is_empty()).then_some(part)
            }));
        }
        text.row(cells);
    }
    text.render()
}

/// `name split variant` as tables have it.
fn in_table(dataset: &str) -> String {
    dataset.replace(' ', "/")
}

/// `name split variant` as keys have it.
fn in_key(dataset: &str) -> String {
    dataset.replace(' ', "_")
}

/// A model's name in magenta, each part on a line of its own.
fn head(model: &str) -> String {
    let lines: Vec<String> = match model.split_once('/') {
        Some((directory, file)) => vec![format!("{directory}/"), file.to_owned()],
        None => vec![model.to_owned()],
    };
    let lines: Vec<String> = lines
        .iter()
        .map(|line| Colour::Magenta.paint(line))
        .collect();
    lines.join("\n")
}

fn object(values: impl IntoIterator<Item = (String, Value)>) -> Map<String, Value> {
    values.into_iter().collect()
}

fn max_ranks(scores: &[DecodingScore]) -> usize {
    scores
        .iter()
        .map(|score| score.topk.len())
        .max()
        .unwrap_or(0)
}

fn top(score: &DecodingScore, rank: usize) -> Option<f32> {
    score.topk.get(rank).copied()
}

fn first(means: &[Option<f32>]) -> Option<f32> {
    means.first().copied().flatten()
}

fn best_first(a: Option<f32>, b: Option<f32>, name_a: &str, name_b: &str) -> Ordering {
    let order = |value: Option<f32>| value.unwrap_or(f32::NEG_INFINITY);
    order(b)
        .total_cmp(&order(a))
        .then_with(|| name_a.cmp(name_b))
}

/// In single precision, as the original has it.
fn mean(shares: &[f32]) -> Option<f32> {
    (!shares.is_empty()).then(|| shares.iter().sum::<f32>() / shares.len() as f32)
}

/// None if one is missing.
fn mean_of_all(means: &[Option<f32>]) -> Option<f32> {
    mean(&means.iter().copied().collect::<Option<Vec<f32>>>()?)
}

fn percentage(share: Option<f32>) -> Value {
    share.map_or(Value::Null, |share| json!(f64::from(share * 100.0)))
}

fn extreme<'a>(values: impl Iterator<Item = &'a f32>, pick: fn(f32, f32) -> f32) -> f32 {
    values.copied().fold(f32::NEG_INFINITY, pick)
}

fn painted(text: String, is_extreme: bool, colour: Colour) -> String {
    if is_extreme {
        colour.paint(&text)
    } else {
        text
    }
}

/// At most three decimals, without trailing zeros.
fn short(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn joined(separator: &str, count: usize, cell: impl Fn(usize) -> Option<String>) -> String {
    let cells: Vec<String> = (0..count).map_while(cell).collect();
    cells.join(separator)
}
