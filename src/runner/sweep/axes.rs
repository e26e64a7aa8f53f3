//! Reading axes: keys with several values.

use std::sync::Arc;

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution as _, Normal};
use serde_json::Value;

use crate::config::overrides::KeyPart;
use crate::config::schema::{self, Kind};
use crate::config::{
    Choices, Distribution, Location, Node, Problem, Raw, Setting, Source, parse_choices,
};

use super::fields::Fields;
use super::file::key_place;
use super::spec::{Axis, Block, Dimension, DimensionValues, Row, SweepSpec, Test};

/// Reads keys and values of one source.
pub(super) struct AxisReader<'a> {
    pub source: &'a Arc<Source>,
    pub problems: &'a mut Vec<Problem>,
}

impl<'a> AxisReader<'a> {
    pub fn of(fields: &'a mut Fields<'_>) -> AxisReader<'a> {
        AxisReader {
            source: fields.source,
            problems: fields.problems,
        }
    }

    fn at(&self, node: &Node) -> Location {
        Location::new(self.source, node.span.clone())
    }

    /// One value of a key.
    pub fn setting(&mut self, key: &[KeyPart], node: &Node) -> Option<Setting> {
        Setting::read(self.source, key, node, self.problems)
    }

    /// Several values: a list, or a text in the grammar of the command line.
    fn choices(&mut self, node: &Node) -> Option<Choices> {
        match &node.raw {
            Raw::List(items) => Some(Choices::Listed(items.clone())),
            Raw::Text(text) => match parse_choices(text, 0) {
                Ok(Choices::Listed(nodes)) => {
                    // Where the text stands in its file.
                    let placed = |value: Node| Node {
                        span: node.span.clone(),
                        ..value
                    };
                    Some(Choices::Listed(nodes.into_iter().map(placed).collect()))
                }
                Ok(drawn) => Some(drawn),
                Err(error) => {
                    let place = self.at(node);
                    self.problems
                        .push(Problem::error(error.message).at(place, "").help(error.help));
                    None
                }
            },
            _ => Some(Choices::Listed(vec![node.clone()])),
        }
    }

    /// An axis with the values of one key.
    pub fn axis(&mut self, key: &[KeyPart], node: &Node) -> Option<Axis> {
        let name = written(key);
        let nodes = match self.choices(node)? {
            Choices::Listed(nodes) => nodes,
            Choices::Drawn(_) => {
                let place = self.at(node);
                self.problems.push(
                    Problem::error(format!("{name}: a grid needs values that can be listed"))
                        .at(place, "")
                        .help("write a list or range(start, stop, step); or draw it in [random]"),
                );
                return None;
            }
        };
        if nodes.is_empty() {
            let place = self.at(node);
            self.problems.push(
                Problem::error(format!("the axis `{name}` has no values"))
                    .at(place, "")
                    .help("give it values, or take it out"),
            );
            return None;
        }
        let before = self.problems.len();
        let settings: Vec<_> = nodes
            .iter()
            .map(|value| self.setting(key, value))
            .collect::<Option<_>>()
            .filter(|_| self.problems.len() == before)?;
        let settings: Vec<Setting> = settings;
        let path = settings.first()?.path.clone();
        let rows = settings.into_iter().map(|setting| Row {
            settings: vec![setting],
            label: None,
        });
        Some(Axis {
            rows: rows.collect(),
            keys: vec![(path, key_place(self.source, key))],
        })
    }

    /// A key that is drawn.
    pub fn dimension(&mut self, key: &[KeyPart], node: &Node) -> Option<Dimension> {
        match self.choices(node)? {
            Choices::Listed(_) => {
                let axis = self.axis(key, node)?;
                let (path, location) = axis.keys.into_iter().next()?;
                let settings = axis.rows.into_iter().flat_map(|row| row.settings);
                Some(Dimension {
                    path,
                    location: Some(location),
                    values: DimensionValues::Listed(settings.collect()),
                })
            }
            Choices::Drawn(distribution) => {
                let whole = self.is_whole(key, node)?;
                // Both ends must be values of the key.
                let ends = match distribution {
                    Distribution::Interval { low, high, .. }
                    | Distribution::LogInterval { low, high } => vec![low, high],
                    Distribution::Normal { mean, .. } => vec![mean],
                };
                let mut path = None;
                for end in ends {
                    path = Some(self.setting(key, &number(end, whole, node))?.path);
                }
                Some(Dimension {
                    path: path?,
                    location: Some(key_place(self.source, key)),
                    values: DimensionValues::Numbers {
                        distribution,
                        whole,
                    },
                })
            }
        }
    }

    /// Whether a key takes whole numbers only.
    fn is_whole(&mut self, key: &[KeyPart], node: &Node) -> Option<bool> {
        let name = written(key);
        let inner = match name.strip_prefix("stage.").and_then(|r| r.split_once('.')) {
            Some((_, inner)) => inner,
            None => &name,
        };
        match schema::key(inner)
            .or_else(|| schema::key_by_flat_name(inner))
            .map(|key| key.kind)
        {
            Some(Kind::Int) => Some(true),
            Some(Kind::Float) => Some(false),
            Some(_) => {
                let place = self.at(node);
                self.problems.push(
                    Problem::error(format!("{name} is no number: its values must be listed"))
                        .at(place, "")
                        .help("write choice(a, b)"),
                );
                None
            }
            // That there is no such key is told with its first value.
            None => {
                self.setting(key, &number(1.0, true, node));
                None
            }
        }
    }

    /// An axis of drawn rows. More rows leave the first ones as they are, and so
    /// do more keys.
    pub fn drawn(&mut self, dimensions: &[Dimension], count: u64, seed: u64) -> Option<Axis> {
        if dimensions.is_empty() {
            return None;
        }
        let mut rows = vec![Row::default(); usize::try_from(count).ok()?];
        for dimension in dimensions {
            let mut random = generator(seed, &dimension.path);
            for row in &mut rows {
                let setting = draw(dimension, &mut random);
                if let Some(trouble) = out_of_range(&setting) {
                    let title = format!("{}: {trouble} was drawn", dimension.path);
                    let place = dimension.location.iter().cloned();
                    let problem = place.fold(Problem::error(title), |p, at| p.at(at, ""));
                    self.problems
                        .push(problem.help("draw from values that the key takes"));
                    return None;
                }
                row.settings.push(setting);
            }
        }
        let keys = dimensions
            .iter()
            .filter_map(|dimension| Some((dimension.path.clone(), dimension.location.clone()?)));
        Some(Axis {
            keys: keys.collect(),
            rows,
        })
    }

    /// A condition on the value of a key.
    pub fn test(&mut self, key: &[KeyPart], node: &Node) -> Option<(String, Test)> {
        match self.choices(node)? {
            Choices::Listed(_) => {
                let axis = self.axis(key, node)?;
                let values: Vec<Value> = axis
                    .rows
                    .iter()
                    .flat_map(|row| row.settings.iter().map(|setting| setting.value.clone()))
                    .collect();
                Some((axis.keys.into_iter().next()?.0, Test::AnyOf(values)))
            }
            Choices::Drawn(
                Distribution::Interval {
                    low,
                    high,
                    step: None,
                }
                | Distribution::LogInterval { low, high },
            ) => {
                let whole = self.is_whole(key, node)?;
                // Both ends must be values of the key.
                let ends = [low, high].map(|end| self.setting(key, &number(end, whole, node)));
                let [Some(low_end), Some(_)] = ends else {
                    return None;
                };
                Some((low_end.path, Test::Between(low, high)))
            }
            Choices::Drawn(Distribution::Interval { .. } | Distribution::Normal { .. }) => {
                let place = self.at(node);
                self.problems.push(
                    Problem::error(format!(
                        "{}: expected values or interval(low, high)",
                        written(key)
                    ))
                    .at(place, ""),
                );
                None
            }
        }
    }
}

/// A value that a key does not take, in words.
pub(super) fn out_of_range(setting: &Setting) -> Option<String> {
    let key = schema::key(setting.key())?;
    let value = setting.value.as_f64()?;
    (!key.range.contains(value)).then(|| setting.text.clone())
}

fn number(value: f64, whole: bool, node: &Node) -> Node {
    let raw = match whole && value.fract() == 0.0 {
        true => Raw::Int(value as i64),
        false => Raw::Float(value),
    };
    Node {
        span: node.span.clone(),
        raw,
    }
}

/// A key as it is written.
fn written(key: &[KeyPart]) -> String {
    let names: Vec<_> = key.iter().map(|part| part.name.as_str()).collect();
    names.join(".")
}

/// A generator of its own for each key.
fn generator(seed: u64, path: &str) -> ChaCha8Rng {
    let mut hasher = blake3::Hasher::new_derive_key("novic random axis");
    hasher.update(&seed.to_le_bytes()).update(path.as_bytes());
    ChaCha8Rng::from_seed(*hasher.finalize().as_bytes())
}

/// A value of a key, drawn.
pub(super) fn draw(dimension: &Dimension, random: &mut impl Rng) -> Setting {
    match &dimension.values {
        DimensionValues::Listed(settings) => {
            settings[random.random_range(0..settings.len())].clone()
        }
        DimensionValues::Numbers {
            distribution,
            whole,
        } => {
            let value = match *distribution {
                Distribution::Interval { low, high, step } => {
                    let step = step.or(whole.then_some(1.0));
                    match step {
                        Some(step) => {
                            let places = ((high - low) / step + 1e-9).floor() as u64;
                            low + random.random_range(0..=places) as f64 * step
                        }
                        None => random.random_range(low..=high),
                    }
                }
                Distribution::LogInterval { low, high } => random
                    .random_range(low.ln()..=high.ln())
                    .exp()
                    .clamp(low, high),
                Distribution::Normal { mean, deviation } => {
                    Normal::new(mean, deviation).map_or(mean, |normal| normal.sample(random))
                }
            };
            number_setting(&dimension.path, value, *whole)
        }
    }
}

/// The setting of a number, without digits that mean nothing.
pub(super) fn number_setting(path: &str, value: f64, whole: bool) -> Setting {
    let value = match whole {
        true => Value::from(value.round() as i64),
        false => Value::from(crate::config::rounded(value) + 0.0),
    };
    Setting::of(path.to_owned(), value)
}

/// No key stands twice among what a block varies and sets.
pub(super) fn check_twice(spec: &SweepSpec, block: &Block, problems: &mut Vec<Problem>) {
    let keys: Vec<&(String, Location)> = block.axes.iter().flat_map(|axis| &axis.keys).collect();
    for (at, (path, place)) in keys.iter().enumerate() {
        let twice = keys[..at].iter().find(|(other, _)| clashes(other, path));
        if let Some((other, first)) = twice {
            let title = match other == path {
                true => format!("the sweep has two axes `{path}`"),
                false => format!("the axes `{other}` and `{path}` are for the same value"),
            };
            let problem = Problem::error(title)
                .at(place.clone(), "again here")
                .at(first.clone(), "here")
                .help("put all values into one of them");
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        let fixed = spec.fixed.iter().chain(&block.fixed);
        if let Some(setting) = fixed.clone().find(|setting| clashes(&setting.path, path)) {
            let title = format!("`{}` is set for all points and varies", setting.path);
            let problem = Problem::error(title)
                .at(place.clone(), "varies here")
                .help("take it out of [set]");
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
    }
}

/// Whether two settings are for the same value of some stage.
pub(super) fn clashes(a: &str, b: &str) -> bool {
    fn split(path: &str) -> (Option<&str>, &str) {
        match path.strip_prefix("stage.").and_then(|r| r.split_once('.')) {
            Some((stage, key)) => (Some(stage), key),
            None => (None, path),
        }
    }
    let ((stage_a, key_a), (stage_b, key_b)) = (split(a), split(b));
    key_a == key_b && (stage_a.is_none() || stage_b.is_none() || stage_a == stage_b)
}
