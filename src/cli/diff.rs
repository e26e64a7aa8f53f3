//! `novic diff`: what two runs have different.

use std::collections::{BTreeMap, BTreeSet};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::{Map, Value, json};

use super::print::print;
use super::records::printable;
use super::{CliError, Exit, complete};
use crate::store::{EntryId, Project, Store};
use crate::tracking::{
    METRICS_FILE, Metrics, RunRecord, StageOutcome, StageOverview, find_run, plain, read_metrics,
    read_record,
};

/// Longest value that is shown as it is.
const LONGEST_VALUE: usize = 80;

/// Show what two runs have different
///
/// Values of the configuration, the program, the machine and the sources, and
/// what came out: results and last metrics.
///
///   novic diff 170509 latest
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DiffArgs {
    /// Run id, a unique part of one, or `latest`
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    a: String,
    /// Another one
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    b: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the differences of two runs.
pub fn cmd_diff(args: &DiffArgs) -> Result<Exit, CliError> {
    let project =
        Project::find(None).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let read = |run: &str| {
        let (_, dir) =
            find_run(&project, run).map_err(|error| CliError::from_error(Exit::Usage, &error))?;
        read_record(&dir).map_err(|error| CliError::from_error(Exit::Failed, &error))
    };
    let (a, b) = (read(&args.a)?, read(&args.b)?);
    let parts = parts(&a, &b, &project.store());
    if args.json {
        let mut object = Map::new();
        object.insert("a".into(), a.header.run.as_str().into());
        object.insert("b".into(), b.header.run.as_str().into());
        for (name, found) in parts {
            let found: Map<_, _> = found
                .into_iter()
                .map(|(name, (a, b))| (name, json!({ "a": a, "b": b })))
                .collect();
            object.insert(name.into(), found.into());
        }
        return print(&format!("{:#}\n", Value::Object(object)));
    }
    print(&printable(&text(&a.header.run, &b.header.run, &parts)))
}

/// What is different, part by part.
fn parts(a: &RunRecord, b: &RunRecord, store: &Store) -> [(&'static str, Differences); 3] {
    let (mut config_a, mut config_b) = (configuration(a), configuration(b));
    complete(&mut config_a, &config_b);
    complete(&mut config_b, &config_a);
    [
        ("configuration", differences(&config_a, &config_b)),
        ("environment", differences(&environment(a), &environment(b))),
        (
            "results",
            differences(&results(a, store), &results(b, store)),
        ),
    ]
}

type Values = BTreeMap<String, Value>;
type Differences = BTreeMap<String, (Option<Value>, Option<Value>)>;

fn differences(a: &Values, b: &Values) -> Differences {
    let names: BTreeSet<&String> = a.keys().chain(b.keys()).collect();
    // What is null is not there.
    let of = |values: &Values, name: &String| {
        let value = values.get(name).filter(|value| !value.is_null());
        value.cloned()
    };
    names
        .into_iter()
        .map(|name| (name.clone(), (of(a, name), of(b, name))))
        .filter(|(_, (a, b))| a != b)
        .collect()
}

/// Values of the shared sections and, as `stage.NAME.KEY`, of the stages.
fn configuration(record: &RunRecord) -> Values {
    let mut values = Values::new();
    for name in ["config", "experiment"] {
        flatten(
            if name == "config" { "" } else { name },
            &record.config[name],
            &mut values,
        );
    }
    for stage in record.config["stages"].as_array().into_iter().flatten() {
        let prefix = format!("stage.{}", plain(&stage["name"]));
        for name in ["kind", "inputs"] {
            values.insert(format!("{prefix}.{name}"), stage[name].clone());
        }
        flatten(&prefix, &stage["config"], &mut values);
    }
    values
}

/// Adds what stages have of the shared sections, where the other run has a value
/// of the stage's own.
fn complete(values: &mut Values, other: &Values) {
    let shared = |name: &String| {
        let (stage, path) = name.strip_prefix("stage.")?.split_once('.')?;
        let is_there = values.contains_key(&format!("stage.{stage}.kind"));
        let shared = values.get(path).filter(|_| is_there)?;
        Some((name.clone(), shared.clone()))
    };
    let missing = other.keys().filter(|name| !values.contains_key(*name));
    let found: Values = missing.filter_map(shared).collect();
    values.extend(found);
}

/// The leaves of nested objects by their dotted paths.
fn flatten(prefix: &str, value: &Value, values: &mut Values) {
    let Value::Object(fields) = value else {
        if !value.is_null() {
            values.insert(prefix.to_owned(), value.clone());
        }
        return;
    };
    for (name, inner) in fields {
        let path = if prefix.is_empty() {
            name.clone()
        } else {
            format!("{prefix}.{name}")
        };
        flatten(&path, inner, values);
    }
}

fn environment(record: &RunRecord) -> Values {
    let mut values = Values::new();
    values.insert("program".into(), record.header.program.as_str().into());
    flatten("machine", &json!(record.environment), &mut values);
    values.insert("program_hash".into(), json!(record.program_hash));
    let mut git = json!(record.git);
    if let Some(patch) = record.git.as_ref().and_then(|git| git.patch.as_ref()) {
        // Too long to be shown; `novic show --patch` does.
        let hash = blake3::hash(patch.as_bytes()).to_hex();
        git["patch"] = format!("patch {}", &hash[..16]).into();
    }
    flatten("sources", &git, &mut values);
    values
}

/// Results of the stages, and the last value of each of their metrics; of stages
/// that were up to date, those that their outputs have.
fn results(record: &RunRecord, store: &Store) -> Values {
    let mut values = Values::new();
    for stage in record.overview().stages {
        flatten(&stage.name, &stage.results, &mut values);
        let outcome = match stage.outcome {
            // There is an output, whoever made it.
            Some(StageOutcome::UpToDate) => Some(StageOutcome::Done),
            outcome => outcome,
        };
        values.insert(format!("{}.outcome", stage.name), json!(outcome));
        let kept = match record.metrics.contains_key(&stage.name) {
            true => None,
            false => metrics_of(&stage, store),
        };
        let metrics = record.metrics.get(&stage.name).or(kept.as_ref());
        for name in metrics.map(Metrics::names).into_iter().flatten() {
            if let Some(last) = metrics.and_then(|metrics| metrics.last(name)) {
                values.insert(format!("{}.last.{name}", stage.name), last.to_json());
            }
        }
    }
    values
}

/// Metrics that the output of a stage has, if it is still there.
fn metrics_of(stage: &StageOverview, store: &Store) -> Option<Metrics> {
    let id = EntryId::new(&stage.kind, stage.key.parse().ok()?).ok()?;
    let entry = store.get(&id).ok()??;
    read_metrics(&entry.dir().join(METRICS_FILE)).ok()
}

/// A value in a line; tables and long texts by their length and a hash.
fn short(value: &Value) -> String {
    let text = plain(value);
    let length = text.chars().count();
    if length <= LONGEST_VALUE && !text.contains('\n') {
        return text;
    }
    let hash = blake3::hash(text.as_bytes()).to_hex();
    format!("{length} characters ({})", &hash[..8])
}

fn text(a: &str, b: &str, parts: &[(&str, Differences)]) -> String {
    let mut text = format!("- {a}\n+ {b}\n");
    let shown = |value: &Option<Value>| value.as_ref().map_or("–".to_owned(), short);
    for (name, found) in parts.iter().filter(|(_, found)| !found.is_empty()) {
        text.push_str(&format!("\n{name}\n"));
        let width = found
            .keys()
            .map(|name| name.chars().count())
            .max()
            .unwrap_or(0);
        for (name, (a, b)) in found {
            let change = match (a, b) {
                (Some(Value::Number(a)), Some(Value::Number(b))) => {
                    let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
                    format!("  ({:+.3e})", b - a)
                }
                _ => String::new(),
            };
            text.push_str(&format!(
                "  {name:width$}  {} → {}{change}\n",
                shown(a),
                shown(b)
            ));
        }
    }
    if parts.iter().all(|(_, found)| found.is_empty()) {
        text.push_str("\nthe same\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use crate::tracking::{Event, RunEnd, RunRecorder, RunStart, Surroundings};

    use super::*;

    #[test]
    fn values_results_and_metrics_are_compared() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let record = |rate: f64, loss: f64| {
            let stage = json!({"name": "train", "kind": "train", "inputs": [], "config": {"model.layers": 2}});
            let start = RunStart {
                config: json!({"config": {"train": {"lr": {"init": rate}}}, "stages": [stage]}),
                // Found out beside the run, which does not wait for it for long.
                surroundings: Some(Surroundings::default()),
                ..Default::default()
            };
            let run = RunRecorder::start(&project, start).unwrap();
            run.event(Event::StageQueued {
                stage: "train".into(),
                kind: "train".into(),
                key: String::new(),
            });
            run.stage("train").row(&[("loss", loss.into())]);
            run.event(Event::StageFinished {
                stage: "train".into(),
                outcome: StageOutcome::Done,
                seconds: 1.0,
                message: None,
                results: json!({"best": loss}),
            });
            let dir = run.dir().to_owned();
            run.finish(RunEnd {
                exit_code: 0,
                reason: String::new(),
            })
            .unwrap();
            read_record(&dir).unwrap()
        };
        let (a, b) = (record(0.5, 2.0), record(0.25, 1.5));
        let parts = parts(&a, &b, &project.store());
        insta::assert_snapshot!(text("A", "B", &parts), @r"
        - A
        + B

        configuration
          train.lr.init  0.5 → 0.25  (-2.500e-1)

        results
          train.best       2.0 → 1.5  (-5.000e-1)
          train.last.loss  2.0 → 1.5  (-5.000e-1)
        ");
        assert!(differences(&configuration(&a), &configuration(&a)).is_empty());
    }

    #[test]
    fn what_one_run_leaves_to_the_sections_is_taken_from_there() {
        let values = |pairs: &[(&str, i32)]| -> Values {
            let pairs = pairs.iter();
            pairs
                .map(|(name, value)| ((*name).to_owned(), json!(value)))
                .collect()
        };
        let shared = values(&[("train.max_chunks", 2), ("stage.train.kind", 0)]);
        let mut own = shared.clone();
        own.insert("stage.train.train.max_chunks".into(), json!(40));
        own.insert("stage.other.train.max_chunks".into(), json!(40));
        let mut completed = shared;
        complete(&mut completed, &own);
        let found = differences(&completed, &own);
        assert_eq!(
            found["stage.train.train.max_chunks"],
            (Some(json!(2)), Some(json!(40)))
        );
        assert_eq!(
            found["stage.other.train.max_chunks"],
            (None, Some(json!(40)))
        );
    }

    #[test]
    fn what_is_null_is_not_there() {
        let values = |value: Value| Values::from([("train.outcome".to_owned(), value)]);
        let (none, null) = (Values::new(), values(json!(null)));
        assert!(differences(&none, &null).is_empty());
        let found = differences(&null, &values(json!("done")));
        assert_eq!(found["train.outcome"], (None, Some(json!("done"))));
        assert!(!text("A", "B", &[("results", found)]).contains("null"));
    }

    #[test]
    fn tables_are_not_shown_as_one_line() {
        assert_eq!(short(&json!("a text")), "a text");
        let table = short(&json!({ "rows": vec!["value"; 100] }));
        assert!(table.contains(" characters ("), "{table}");
    }
}
