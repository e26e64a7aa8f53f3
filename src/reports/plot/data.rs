//! From the records of a plot to its layers.

use std::collections::{BTreeMap, HashMap};

use super::figure::{Bar, Figure, Layer, PlotError, Scale, Square, range};
use super::spec::{Band, PlotKind, PlotSpec};
use crate::reports::evaluate::{Combination, Combinations, Statistics, combination_label, key_of};
use crate::reports::field::Field;
use crate::reports::record::{Record, plain};
use crate::reports::spec::Order;
use crate::reports::statistics::Correlation;

/// Points of a curve that are drawn; of more, means are.
const POINTS: usize = 400;

/// The figure of a plot.
pub fn figure(spec: &PlotSpec, records: &[Vec<Record>]) -> Result<Figure, PlotError> {
    let selected = selected(spec, records);
    let mut figure = empty(spec, runs_of(&selected));
    match spec.kind {
        PlotKind::Curve => curves(spec, &selected, &mut figure),
        PlotKind::Bar => bars(spec, &selected, &mut figure),
        PlotKind::Scatter => scatter(spec, &selected, &mut figure),
        PlotKind::Heat | PlotKind::Confusion => heat(spec, &selected, &mut figure),
        PlotKind::Histogram => histogram(spec, &selected, &mut figure),
        PlotKind::Rank => rank(spec, &selected, &mut figure),
        PlotKind::Gallery => {
            return Err(PlotError {
                plot: spec.name.clone(),
                reason: "a gallery needs its pictures, not only records".to_owned(),
            });
        }
    }
    finish(spec, &mut figure);
    Ok(figure)
}

/// The records of all sources that count.
pub(super) fn selected<'r>(spec: &PlotSpec, records: &'r [Vec<Record>]) -> Vec<&'r Record> {
    let sources = spec.sources.iter().zip(records);
    let selected = sources.flat_map(|(source, records)| {
        let holds =
            |record: &&Record| source.condition.holds(record) && spec.condition.holds(record);
        records.iter().filter(holds)
    });
    selected.collect()
}

/// The runs of records.
pub(super) fn runs_of(records: &[&Record]) -> Vec<String> {
    let runs = records.iter().filter_map(|record| record.text("run.id"));
    let mut runs: Vec<String> = runs.map(str::to_owned).collect();
    runs.sort_unstable();
    runs.dedup();
    runs
}

/// The figure before anything is in it.
pub(super) fn empty(spec: &PlotSpec, runs: Vec<String>) -> Figure {
    let name = |field: &Option<Field>| {
        field
            .as_ref()
            .map_or_else(String::new, |field| field.name().to_owned())
    };
    Figure {
        title: spec.title.clone().unwrap_or_else(|| spec.name.clone()),
        caption: spec.caption.clone(),
        x_label: name(&spec.x),
        y_label: name(&spec.y),
        x: Scale::Linear(0.0, 1.0),
        y: Scale::Linear(0.0, 1.0),
        size: spec.size,
        layers: Vec::new(),
        runs,
        note: None,
    }
}

/// What the keys say about the axes.
fn finish(spec: &PlotSpec, figure: &mut Figure) {
    for (at, label) in spec.labels.iter().enumerate() {
        if let Some(label) = label {
            let own = if at == 0 {
                &mut figure.x_label
            } else {
                &mut figure.y_label
            };
            own.clone_from(label);
        }
    }
    for (at, limits) in spec.limits.iter().enumerate() {
        let scale = if at == 0 {
            &mut figure.x
        } else {
            &mut figure.y
        };
        match (&scale, limits) {
            (Scale::Linear(..), Some((low, high))) => *scale = Scale::Linear(*low, *high),
            (Scale::Log(..), Some((low, high))) if *low > 0.0 => *scale = Scale::Log(*low, *high),
            _ => {}
        }
    }
    figure
        .layers
        .extend(spec.upright.iter().map(|at| Layer::Upright(*at)));
}

/// A series: its name and records.
fn series<'r>(spec: &PlotSpec, records: &[&'r Record]) -> Vec<(String, Vec<&'r Record>)> {
    if spec.by.is_empty() {
        return vec![(String::new(), records.to_vec())];
    }
    let mut of_key: HashMap<String, Vec<&Record>> = HashMap::new();
    for record in records {
        of_key
            .entry(key_of(&spec.by, record))
            .or_default()
            .push(record);
    }
    let combinations = Combinations::of(&spec.by, Order::Value, records.iter().copied());
    let label = |own: &Combination<'_>| combination_label(&spec.by, spec.label.as_ref(), own, "-");
    combinations
        .keys
        .iter()
        .map(|own| (label(own), of_key.remove(&own.text).unwrap_or_default()))
        .collect()
}

/// The values of a place, one per replicate: the last of each.
#[derive(Default)]
struct Replicates(BTreeMap<String, f64>);

impl Replicates {
    fn statistics(&self) -> Statistics {
        let values: Vec<f64> = self.0.values().copied().collect();
        Statistics::of(&values, None, true)
    }
}

fn band_of(spec: &PlotSpec, statistics: &Statistics) -> Option<(f64, f64)> {
    let mean = statistics.mean?;
    match spec.band {
        Band::Std => statistics.std.map(|std| (mean - std, mean + std)),
        Band::Interval => statistics.interval,
        Band::Range if statistics.n > 1 => Some((statistics.min?, statistics.max?)),
        Band::Range | Band::None => None,
    }
}

fn number(field: &Option<Field>, record: &Record) -> Option<f64> {
    field.as_ref()?.of(record)?.as_f64()
}

fn curves(spec: &PlotSpec, records: &[&Record], figure: &mut Figure) {
    for (name, records) in series(spec, records) {
        let mut places: BTreeMap<u64, (f64, Replicates)> = BTreeMap::new();
        for record in records {
            let (Some(x), Some(y)) = (number(&spec.x, record), number(&spec.y, record)) else {
                continue;
            };
            let (at, replicates) = places.entry(ordered(x)).or_default();
            *at = x;
            let key = key_of(&spec.replicates, record);
            replicates.0.insert(key, y * spec.scale);
        }
        let mut points = Vec::new();
        let mut band = Vec::new();
        for (x, replicates) in places.into_values() {
            let statistics = replicates.statistics();
            points.extend(statistics.mean.map(|mean| (x, mean)));
            band.extend(band_of(spec, &statistics).map(|(low, high)| (x, low, high)));
        }
        // What has no such values is no series of this plot.
        if points.is_empty() {
            continue;
        }
        let (points, band) = (thinned(points), thinned_band(band));
        figure.layers.push(Layer::Line {
            name,
            points,
            band,
            filled: spec.fill,
        });
    }
    scales(spec, figure);
}

/// A key that sorts numbers as numbers.
fn ordered(value: f64) -> u64 {
    let bits = value.to_bits();
    if bits >> 63 == 1 {
        !bits
    } else {
        bits | 1 << 63
    }
}

/// Means of neighbouring points, where there are more than can be seen.
fn thinned(points: Vec<(f64, f64)>) -> Vec<(f64, f64)> {
    let size = points.len().div_ceil(POINTS).max(1);
    let mean = |chunk: &[(f64, f64)]| {
        let count = chunk.len() as f64;
        let sum = chunk
            .iter()
            .fold((0.0, 0.0), |sum, p| (sum.0 + p.0, sum.1 + p.1));
        (sum.0 / count, sum.1 / count)
    };
    points.chunks(size).map(mean).collect()
}

fn thinned_band(band: Vec<(f64, f64, f64)>) -> Vec<(f64, f64, f64)> {
    let low = thinned(band.iter().map(|p| (p.0, p.1)).collect());
    let high = thinned(band.iter().map(|p| (p.0, p.2)).collect());
    let pairs = low.into_iter().zip(high);
    pairs.map(|(low, high)| (low.0, low.1, high.1)).collect()
}

/// Scales that hold all points of lines and dots.
fn scales(spec: &PlotSpec, figure: &mut Figure) {
    let mut xs = Vec::new();
    let mut ys = Vec::new();
    for layer in &figure.layers {
        match layer {
            Layer::Line { points, band, .. } => {
                xs.extend(points.iter().map(|p| p.0));
                ys.extend(points.iter().map(|p| p.1));
                ys.extend(band.iter().flat_map(|p| [p.1, p.2]));
            }
            Layer::Dots { points, .. } => {
                xs.extend(points.iter().map(|p| p.0));
                ys.extend(points.iter().map(|p| p.1));
            }
            _ => {}
        }
    }
    let scale = |values: Vec<f64>, log: bool, pad: f64| {
        if log {
            let (low, high) = range(values.into_iter().filter(|value| *value > 0.0));
            return Scale::Log(low.max(f64::MIN_POSITIVE), high.max(low * 1.01));
        }
        let (low, high) = range(values.into_iter());
        let pad = (high - low) * pad;
        Scale::Linear(low - pad, high + pad)
    };
    let x_pad = if spec.kind == PlotKind::Scatter {
        0.05
    } else {
        0.0
    };
    figure.x = scale(xs, spec.log[0], x_pad);
    figure.y = scale(ys, spec.log[1], 0.05);
}

fn text(field: &Option<Field>, record: &Record) -> Option<String> {
    field.as_ref()?.of(record).map(plain)
}

/// Distinct texts of a field in order of their values, or of how often they
/// occur.
fn names(
    spec: &PlotSpec,
    field: &Option<Field>,
    records: &[&Record],
    by_count: bool,
) -> Vec<String> {
    let Some(field) = field else {
        return Vec::new();
    };
    let own = std::slice::from_ref(field);
    let has = records
        .iter()
        .copied()
        .filter(|record| field.of(record).is_some());
    let has: Vec<&Record> = has.collect();
    let combinations = Combinations::of(own, Order::Value, has.iter().copied());
    let mut names: Vec<String> = combinations
        .keys
        .iter()
        .map(|own| own.key.iter().flatten().map(plain).collect())
        .collect();
    if by_count {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for record in has {
            if let Some(value) = field.of(record) {
                *counts.entry(plain(value)).or_default() += 1;
            }
        }
        names.sort_by(|left, right| counts[right].cmp(&counts[left]).then(left.cmp(right)));
    }
    names.truncate(spec.top);
    names
}

fn bars(spec: &PlotSpec, records: &[&Record], figure: &mut Figure) {
    let names = names(spec, &spec.x, records, spec.y.is_none());
    let all = series(spec, records);
    let width = 0.8 / all.len().max(1) as f64;
    let mut highest = Vec::new();
    for (at, (name, records)) in all.into_iter().enumerate() {
        let mut bars = Vec::new();
        for (place, own) in names.iter().enumerate() {
            let mut replicates = Replicates::default();
            let mut count = 0.0;
            for record in &records {
                if text(&spec.x, record).as_ref() != Some(own) {
                    continue;
                }
                count += 1.0;
                if let Some(y) = number(&spec.y, record) {
                    let key = key_of(&spec.replicates, record);
                    replicates.0.insert(key, y * spec.scale);
                }
            }
            let statistics = replicates.statistics();
            let height = match (&spec.y, statistics.mean) {
                (None, _) => Some(count),
                (Some(_), mean) => mean,
            };
            let Some(height) = height else { continue };
            let interval = band_of(spec, &statistics);
            highest.push(height);
            highest.extend(interval.map(|interval| interval.1));
            let left = place as f64 + 0.1 + width * at as f64;
            bars.push(Bar {
                span: (left, left + width),
                height,
                interval,
            });
        }
        figure.layers.push(Layer::Bars { name, bars });
    }
    if spec.y.is_none() {
        figure.y_label = "count".to_owned();
    }
    figure.x = Scale::Names(names);
    let (low, high) = range(highest.into_iter().chain([0.0]));
    figure.y = Scale::Linear(low.min(0.0), high * 1.05);
}

fn scatter(spec: &PlotSpec, records: &[&Record], figure: &mut Figure) {
    let mut all = Vec::new();
    for (name, records) in series(spec, records) {
        let points: Vec<(f64, f64)> = match &spec.pair {
            None => records
                .iter()
                .filter_map(|record| Some((number(&spec.x, record)?, number(&spec.y, record)?)))
                .collect(),
            Some((of_x, of_y)) => {
                let side = |condition: &crate::reports::condition::Condition, field| {
                    let mut found: BTreeMap<String, f64> = BTreeMap::new();
                    for record in records.iter().filter(|record| condition.holds(record)) {
                        if let Some(value) = number(field, record) {
                            found.insert(key_of(&spec.join, record), value);
                        }
                    }
                    found
                };
                let (x, y) = (side(of_x, &spec.x), side(of_y, &spec.y));
                x.iter()
                    .filter_map(|(key, x)| Some((*x, *y.get(key)?)))
                    .collect()
            }
        };
        if points.is_empty() {
            continue;
        }
        all.extend(points.iter().copied());
        figure.layers.push(Layer::Dots { name, points });
    }
    scales(spec, figure);
    if !spec.fit {
        return;
    }
    if let Some(fit) = Correlation::of(&all) {
        let (low, high) = range(all.iter().map(|point| point.0));
        let at = |x: f64| (x, fit.slope * x + fit.intercept);
        figure.layers.push(Layer::Trend([at(low), at(high)]));
        let given = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.3}"));
        figure.note = Some(format!(
            "y = {:.4} x {:+.4}; residual RMSE {:.3}; Pearson {}, Spearman {}; n = {}",
            fit.slope,
            fit.intercept,
            fit.residual_rmse,
            given(fit.pearson),
            given(fit.spearman),
            fit.n
        ));
    }
}

fn heat(spec: &PlotSpec, records: &[&Record], figure: &mut Figure) {
    let counts = spec.kind == PlotKind::Confusion;
    let columns = names(spec, &spec.x, records, counts);
    let mut rows = names(spec, &spec.y, records, counts);
    rows.reverse();
    let place = |names: &[String], text: Option<String>| {
        let text = text?;
        names.iter().position(|name| *name == text)
    };
    let mut squares: BTreeMap<(usize, usize), (usize, Replicates)> = BTreeMap::new();
    for record in records {
        let column = place(&columns, text(&spec.x, record));
        let row = place(&rows, text(&spec.y, record));
        let (Some(column), Some(row)) = (column, row) else {
            continue;
        };
        let (count, replicates) = squares.entry((column, row)).or_default();
        *count += 1;
        if let Some(value) = number(&spec.value, record) {
            let key = key_of(&spec.replicates, record);
            replicates.0.insert(key, value * spec.scale);
        }
    }
    let values: BTreeMap<(usize, usize), f64> = squares
        .into_iter()
        .filter_map(|(place, (count, replicates))| {
            let value = match counts {
                true => Some(count as f64),
                false => replicates.statistics().mean,
            };
            Some((place, value?))
        })
        .collect();
    let (low, high) = match counts {
        true => (0.0, range(values.values().copied()).1),
        false => range(values.values().copied()),
    };
    let square = |(place, value): (&(usize, usize), &f64)| Square {
        place: *place,
        share: (value - low) / (high - low),
        text: match counts {
            true => format!("{value:.0}"),
            false => crate::evaluate::significant(*value, 4),
        },
    };
    figure
        .layers
        .push(Layer::Squares(values.iter().map(square).collect()));
    figure.x = Scale::Names(columns);
    figure.y = Scale::Names(rows);
}

fn histogram(spec: &PlotSpec, records: &[&Record], figure: &mut Figure) {
    let all = || records.iter().filter_map(|record| number(&spec.x, record));
    let (low, high) = spec.limits[0].unwrap_or_else(|| range(all()));
    let width = (high - low) / spec.bins as f64;
    let mut highest = 0.0_f64;
    for (name, records) in series(spec, records) {
        let mut counts = vec![0.0; spec.bins];
        let mut total = 0.0;
        for record in records {
            let Some(value) = number(&spec.x, record) else {
                continue;
            };
            if value < low || value > high {
                continue;
            }
            let times = match &spec.weight {
                Some(_) => number(&spec.weight, record).unwrap_or(0.0),
                None => 1.0,
            };
            let bin = (((value - low) / width) as usize).min(spec.bins - 1);
            counts[bin] += times;
            total += times;
        }
        if total == 0.0 {
            continue;
        }
        if spec.density {
            counts.iter_mut().for_each(|count| *count /= total * width);
        }
        highest = counts.iter().copied().fold(highest, f64::max);
        let mut points = Vec::with_capacity(counts.len() * 2);
        for (bin, count) in counts.into_iter().enumerate() {
            let left = low + width * bin as f64;
            points.extend([(left, count), (left + width, count)]);
        }
        figure.layers.push(Layer::Line {
            name,
            points,
            band: Vec::new(),
            filled: true,
        });
    }
    figure.y_label = if spec.density { "density" } else { "count" }.to_owned();
    figure.x = Scale::Linear(low, high);
    // Several series have a legend, for which there is room above.
    let room = if figure.layers.len() > 1 { 1.25 } else { 1.05 };
    figure.y = Scale::Linear(0.0, if highest > 0.0 { highest * room } else { 1.0 });
}

fn rank(spec: &PlotSpec, records: &[&Record], figure: &mut Figure) {
    for (name, records) in series(spec, records) {
        let mut counts: HashMap<String, usize> = HashMap::new();
        for value in records.iter().filter_map(|record| text(&spec.x, record)) {
            *counts.entry(value).or_default() += 1;
        }
        let mut counts: Vec<usize> = counts.into_values().collect();
        counts.sort_unstable_by(|left, right| right.cmp(left));
        counts.truncate(spec.top);
        let points = counts.iter().enumerate();
        let points = points.map(|(rank, count)| ((rank + 1) as f64, *count as f64));
        figure.layers.push(Layer::Line {
            name,
            points: points.collect(),
            band: Vec::new(),
            filled: true,
        });
    }
    scales(spec, figure);
    if let Scale::Linear(_, high) = figure.y {
        figure.y = Scale::Linear(0.0, high);
    }
    "rank".clone_into(&mut figure.x_label);
    "count".clone_into(&mut figure.y_label);
}
