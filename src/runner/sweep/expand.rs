//! From axes to points.

use std::collections::HashMap;

use crate::config::{ConfigErrors, Problem, Setting};

use super::spec::{Axis, Block, SweepSpec};

/// Combinations that are looked through at most.
const MOST: usize = 2_000_000;

/// A point: values for some keys.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PointSpec {
    /// The values, sorted by key.
    pub settings: Vec<Setting>,
    /// Names of its rows in tables.
    pub labels: Vec<String>,
}

impl PointSpec {
    /// Names the point: equal for equal values.
    pub fn identity(&self) -> String {
        let texts: Vec<_> = self.settings.iter().map(Setting::as_override).collect();
        texts.join(" ")
    }
}

/// All points of a sweep, each once, in order: the blocks one after the other,
/// in each the last axis fastest.
///
/// # Errors
/// Too many points, or none.
pub fn points(spec: &SweepSpec) -> Result<Vec<PointSpec>, ConfigErrors> {
    let mut problems = Vec::new();
    let mut points: Vec<PointSpec> = Vec::new();
    let mut known: HashMap<String, usize> = HashMap::new();
    let mut excluded = 0usize;
    for block in &spec.blocks {
        check_exclusions(spec, block, &mut problems);
        let sizes: Vec<usize> = block.axes.iter().map(|axis| axis.rows.len()).collect();
        let all = sizes.iter().try_fold(1usize, |all, n| all.checked_mul(*n));
        let Some(all) = all.filter(|all| *all <= MOST) else {
            problems.push(too_many(spec, block, &sizes));
            continue;
        };
        for number in 0..all {
            let point = point(block, number);
            let is_excluded = block.exclusions.iter().any(|exclusion| {
                exclusion.conditions.iter().all(|(path, test)| {
                    let setting = point.settings.iter().find(|setting| setting.path == *path);
                    setting.is_some_and(|setting| test.holds(&setting.value))
                })
            });
            if is_excluded {
                excluded += 1;
                continue;
            }
            match known.get(&point.identity()) {
                Some(at) => {
                    let labels = point.labels.into_iter();
                    let at = &mut points[*at];
                    for label in labels {
                        if !at.labels.contains(&label) {
                            at.labels.push(label);
                        }
                    }
                }
                None => {
                    known.insert(point.identity(), points.len());
                    points.push(point);
                }
            }
        }
        let seeds = spec.seeds.as_ref().map_or(1, Vec::len);
        if points.len().saturating_mul(seeds) > spec.max_points {
            problems.push(too_many(spec, block, &sizes));
            break;
        }
    }
    if points.is_empty() && problems.is_empty() {
        let mut problem = Problem::error(format!("all {excluded} points are excluded"));
        for exclusion in spec.blocks.iter().flat_map(|block| &block.exclusions) {
            problem = problem.at(exclusion.location.clone(), "");
        }
        problems.push(problem.help("take an exclusion back, or give the axes more values"));
    }
    match problems.is_empty() {
        true => Ok(points),
        false => Err(ConfigErrors { problems }),
    }
}

/// The point at one place of each axis.
fn point(block: &Block, mut number: usize) -> PointSpec {
    let mut point = PointSpec::default();
    let mut labels = Vec::new();
    for axis in block.axes.iter().rev() {
        let row = &axis.rows[number % axis.rows.len()];
        number /= axis.rows.len();
        point.settings.extend(row.settings.iter().cloned());
        labels.extend(row.label.clone());
    }
    point.settings.extend(block.fixed.iter().cloned());
    point.settings.sort_by(|a, b| a.path.cmp(&b.path));
    labels.reverse();
    let label = labels.join(", ");
    match (&block.name, label.is_empty()) {
        (Some(name), true) => point.labels.push(format!("{name}: {}", values(&point))),
        (Some(name), false) => point.labels.push(format!("{name}: {label}")),
        (None, false) => point.labels.push(label),
        (None, true) => {}
    }
    point
}

/// The values in few words.
fn values(point: &PointSpec) -> String {
    match point.settings.as_slice() {
        [] => "as it is".to_owned(),
        settings => {
            let texts: Vec<_> = settings.iter().map(short).collect();
            texts.join(", ")
        }
    }
}

/// `vec_norm 2` for `noise.vec_norm=2`.
pub(super) fn short(setting: &Setting) -> String {
    let name = setting.path.rsplit('.').next().unwrap_or(&setting.path);
    format!("{name} {}", setting.text)
}

fn too_many(spec: &SweepSpec, block: &Block, sizes: &[usize]) -> Problem {
    let seeds = spec.seeds.as_ref().map_or(1, Vec::len);
    let mut factors: Vec<String> = sizes.iter().map(usize::to_string).collect();
    if seeds > 1 {
        factors.push(format!("{seeds} seeds"));
    }
    let all = sizes.iter().fold(seeds as f64, |all, n| all * *n as f64);
    let title = format!(
        "the sweep has more than {} points: {} = {all}",
        spec.max_points.min(MOST),
        factors.join(" × ")
    );
    let widest = block.axes.iter().max_by_key(|axis| axis.rows.len());
    let problem = Problem::error(title);
    let place = widest.and_then(|axis: &Axis| axis.keys.first());
    let problem = match place {
        Some((_, location)) => problem.at(location.clone(), "the longest axis"),
        None => problem,
    };
    problem.help("take values away, or raise max_points under [sweep]")
}

/// Exclusions that are for a key which nothing gives exclude nothing.
fn check_exclusions(spec: &SweepSpec, block: &Block, problems: &mut Vec<Problem>) {
    let varies = |path: &String| {
        spec.blocks.iter().any(|block| {
            let keys = block.axes.iter().flat_map(|axis| &axis.keys);
            keys.map(|(key, _)| key).any(|key| key == path)
                || block.fixed.iter().any(|setting| setting.path == *path)
        })
    };
    for exclusion in &block.exclusions {
        for (path, _) in exclusion
            .conditions
            .iter()
            .filter(|(path, _)| !varies(path))
        {
            let problem = Problem::error(format!("no axis varies `{path}`"))
                .at(exclusion.location.clone(), "")
                .help("an exclusion is for keys that vary");
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
}
