//! What the user says about metrics (`tracking.wandb.metrics`): over which metric
//! each is shown, and what the summary has of it.

use std::collections::HashMap;

use serde_json::{Map, Value, json};

use crate::config::schema::{MetricRule, SummaryKind};

/// The rules, with what the rows came to so far.
#[derive(Debug, Default)]
pub(super) struct Definitions {
    rules: Vec<MetricRule>,
    /// Last values of the metrics that others are shown over.
    steps: HashMap<String, Value>,
    tallies: HashMap<String, Tally>,
}

/// How what is left of a metric came about, row by row, so that rows can be
/// taken back.
#[derive(Debug, Default)]
struct Tally {
    smallest: Vec<(u64, f64)>,
    largest: Vec<(u64, f64)>,
    sums: Vec<(u64, f64)>,
}

impl Tally {
    fn add(&mut self, row: u64, value: f64, kinds: &[SummaryKind]) {
        let last = |list: &[(u64, f64)]| list.last().map(|(_, value)| *value);
        for kind in kinds {
            match kind {
                SummaryKind::Min if last(&self.smallest).is_none_or(|min| value < min) => {
                    self.smallest.push((row, value));
                }
                SummaryKind::Max if last(&self.largest).is_none_or(|max| value > max) => {
                    self.largest.push((row, value));
                }
                SummaryKind::Mean => {
                    let sum = last(&self.sums).unwrap_or(0.0) + value;
                    self.sums.push((row, sum));
                }
                _ => {}
            }
        }
    }

    fn rewind(&mut self, row: u64) {
        for list in [&mut self.smallest, &mut self.largest, &mut self.sums] {
            let keep = list.partition_point(|(at, _)| *at < row);
            list.truncate(keep);
        }
    }

    fn value(&self, kind: SummaryKind) -> Option<f64> {
        let list = match kind {
            SummaryKind::Min => &self.smallest,
            SummaryKind::Max => &self.largest,
            SummaryKind::Mean => &self.sums,
            SummaryKind::Last | SummaryKind::None => return None,
        };
        let (_, value) = list.last()?;
        Some(match kind {
            SummaryKind::Mean => value / list.len() as f64,
            _ => *value,
        })
    }
}

impl Definitions {
    /// The rules of some texts; the configuration has checked them.
    pub(super) fn new(texts: &[String]) -> Definitions {
        let rules = texts.iter().filter_map(|text| MetricRule::read(text).ok());
        Definitions {
            rules: rules.collect(),
            ..Definitions::default()
        }
    }

    /// The rule of a metric: the one of its name, else the first of its
    /// beginning.
    fn rule(&self, name: &str) -> Option<&MetricRule> {
        let fits = |rule: &&MetricRule| {
            let beginning = rule.name.strip_suffix('*');
            beginning.is_some_and(|beginning| name.starts_with(beginning))
        };
        let exact = self.rules.iter().find(|rule| rule.name == name);
        exact.or_else(|| self.rules.iter().find(fits))
    }

    /// Adds to a row what its metrics are shown over.
    pub(super) fn complete(&mut self, row: &mut Map<String, Value>) {
        let wanted: Vec<String> = row
            .keys()
            .filter_map(|name| self.rule(name)?.step.clone())
            .collect();
        for step in wanted {
            if let Some(last) = self.steps.get(&step).filter(|_| !row.contains_key(&step)) {
                row.insert(step, last.clone());
            }
        }
        for rule in &self.rules {
            if let Some(step) = &rule.step
                && let Some(value) = row.get(step)
            {
                self.steps.insert(step.clone(), value.clone());
            }
        }
    }

    /// What the summary has of a metric after a row; nothing if it has none of
    /// it. `before` is what it had.
    pub(super) fn summary(
        &mut self,
        (number, name): (u64, &str),
        value: &Value,
        before: Option<&Value>,
    ) -> Option<Value> {
        let kinds = match self.rule(name) {
            Some(rule) if !rule.summary.is_empty() => rule.summary.clone(),
            _ => return Some(value.clone()),
        };
        if kinds.contains(&SummaryKind::None) {
            return None;
        }
        let tally = match self.tallies.get_mut(name) {
            Some(tally) => tally,
            None => {
                let tally = self.tallies.entry(name.to_owned()).or_default();
                // What an earlier process came to counts.
                for (kind, list) in [
                    (SummaryKind::Min, &mut tally.smallest),
                    (SummaryKind::Max, &mut tally.largest),
                ] {
                    let known = before.and_then(|before| before[kind.name()].as_f64());
                    list.extend(known.map(|known| (0, known)));
                }
                tally
            }
        };
        if let Some(value) = value.as_f64() {
            tally.add(number, value, &kinds);
        }
        let mut summary = Map::new();
        for kind in kinds {
            let value = match kind {
                SummaryKind::Last => Some(value.clone()),
                kind => tally.value(kind).map(|value| json!(value)),
            };
            summary.extend(value.map(|value| (kind.name().to_owned(), value)));
        }
        Some(Value::Object(summary))
    }

    /// Rows from `row` on are void.
    pub(super) fn rewind(&mut self, row: u64) {
        for tally in self.tallies.values_mut() {
            tally.rewind(row);
        }
    }
}

/// The metrics that rules define: what others are shown over is defined too,
/// before them.
fn defined(rules: &[MetricRule]) -> Vec<MetricRule> {
    let mut all: Vec<MetricRule> = Vec::new();
    for rule in rules {
        if let Some(step) = &rule.step
            && !rules.iter().any(|other| other.name == *step)
            && !all.iter().any(|other| other.name == *step)
        {
            all.push(MetricRule {
                name: step.clone(),
                step: None,
                summary: Vec::new(),
            });
        }
        all.push(rule.clone());
    }
    all
}

/// The rules as the internal part of a configuration has them.
pub(super) fn for_config(texts: &[String]) -> Vec<Value> {
    let all = defined(&Definitions::new(texts).rules);
    let place = |step: &String| all.iter().position(|rule| rule.name == *step);
    let entry = |rule: &MetricRule| {
        let is_glob = rule.name.ends_with('*');
        let step = rule.step.as_ref().and_then(place);
        let options: Vec<u32> = [(1, step.is_some()), (3, !is_glob)]
            .into_iter()
            .filter_map(|(option, is)| is.then_some(option))
            .collect();
        let kinds = rule.summary.iter().map(|kind| match kind {
            SummaryKind::Min => 1,
            SummaryKind::Max => 2,
            SummaryKind::Mean => 3,
            SummaryKind::Last => 5,
            SummaryKind::None => 6,
        });
        let mut entry = json!({ "6": options, "7": kinds.collect::<Vec<u32>>() });
        entry[if is_glob { "2" } else { "1" }] = json!(rule.name);
        if let Some(step) = step {
            entry["5"] = json!(step + 1);
        }
        entry
    };
    all.iter().map(entry).collect()
}

/// The rules as records of a log.
pub(super) fn for_log(texts: &[String]) -> Vec<Value> {
    let all = defined(&Definitions::new(texts).rules);
    let record = |rule: &MetricRule| {
        let is_glob = rule.name.ends_with('*');
        let name = if is_glob { "glob_name" } else { "name" };
        let mut record = json!({ name: rule.name });
        let mut options = Map::new();
        if let Some(step) = &rule.step {
            record["step_metric"] = json!(step);
            options.insert("step_sync".to_owned(), json!(1));
        }
        if !is_glob {
            options.insert("defined".to_owned(), json!(1));
        }
        let kinds = rule.summary.iter();
        let kinds: Map<String, Value> = kinds
            .map(|kind| (kind.name().to_owned(), json!(1)))
            .collect();
        for (name, part) in [("options", options), ("summary", kinds)] {
            if !part.is_empty() {
                record[name] = Value::Object(part);
            }
        }
        record
    };
    all.iter().map(record).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|&text| text.to_owned()).collect()
    }

    #[test]
    fn definitions_are_told_as_the_service_knows_them() {
        assert_eq!(
            for_config(&texts(&[
                "epoch",
                "val/* by epoch",
                "loss by sample min last"
            ])),
            [
                json!({"1": "epoch", "6": [3], "7": []}),
                json!({"2": "val/*", "5": 1, "6": [1], "7": []}),
                json!({"1": "sample", "6": [3], "7": []}),
                json!({"1": "loss", "5": 3, "6": [1, 3], "7": [1, 5]}),
            ]
        );
        assert_eq!(
            for_log(&texts(&["loss by sample min"])),
            [
                json!({"name": "sample", "options": {"defined": 1}}),
                json!({
                    "name": "loss", "step_metric": "sample",
                    "options": {"step_sync": 1, "defined": 1}, "summary": {"min": 1},
                }),
            ]
        );
        assert!(for_config(&[]).is_empty());
    }

    #[test]
    fn summaries_have_what_is_wanted_and_take_rows_back() {
        let mut rules = Definitions::new(&texts(&["loss min mean", "val/* none"]));
        let mut last = None;
        for (row, value) in [4.0, 2.0, 3.0].into_iter().enumerate() {
            last = rules.summary((row as u64, "loss"), &json!(value), last.as_ref());
        }
        assert_eq!(last, Some(json!({"min": 2.0, "mean": 3.0})));
        rules.rewind(1);
        let last = rules.summary((1, "loss"), &json!(6.0), last.as_ref());
        assert_eq!(last, Some(json!({"min": 4.0, "mean": 5.0})));
        assert_eq!(rules.summary((1, "val/a"), &json!(1), None), None);
        assert_eq!(rules.summary((1, "top1"), &json!(7), None), Some(json!(7)));
        // What the service had before counts.
        let mut later = Definitions::new(&texts(&["loss min"]));
        let before = json!({"min": 1.5});
        let found = later.summary((9, "loss"), &json!(2.0), Some(&before));
        assert_eq!(found, Some(before));
    }

    #[test]
    fn rows_get_what_they_are_shown_over() {
        let mut rules = Definitions::new(&texts(&["val/* by epoch"]));
        let row = |value: Value| value.as_object().cloned().unwrap_or_default();
        let mut first = row(json!({"val/loss": 1}));
        rules.complete(&mut first);
        assert_eq!(Value::from(first), json!({"val/loss": 1}));
        rules.complete(&mut row(json!({"epoch": 2})));
        let mut second = row(json!({"val/loss": 1}));
        rules.complete(&mut second);
        assert_eq!(Value::from(second), json!({"val/loss": 1, "epoch": 2}));
    }
}
