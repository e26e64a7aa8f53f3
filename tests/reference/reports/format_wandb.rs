//! `format_wandb.json` over the runs of `runs.json`: what is asked, and the
//! tables, letter by letter.

use std::cell::RefCell;
use std::path::PathBuf;

use jiff::tz::TimeZone;
use novic::config::schema::RunsTable;
use novic::reports::predictions::{Ambiguous, Places, TableStyle};
use novic::reports::printed::Printed;
use novic::reports::run_tables::{
    HostTag, LogFailure, Result, RunFilter, RunHead, RunOrigin, RunSource, RunTablesError,
    RunsRequest, Selection, format_runs,
};
use serde_json::{Map, Value, json};

use super::{AREA, assert_events, events, expected_events, inputs};
use crate::golden;

/// The runs of a case, as the service would give them.
struct Stored {
    runs: Vec<Value>,
    calls: RefCell<Vec<Value>>,
}

impl Stored {
    fn run(&self, head: &RunHead) -> &Value {
        self.runs.iter().find(|run| run["id"] == head.id).unwrap()
    }
}

impl RunSource for Stored {
    fn greet(&self, project: &str, out: &mut Printed) {
        out.info("Connecting to wandb API...");
        out.info(format!("Using wandb project: {project}"));
    }

    fn find(&self, project: &str, conditions: &Value) -> Result<Vec<RunHead>> {
        let filter = RunFilter::new(conditions)?;
        let holds = |run: &&Value| {
            filter.holds(&|name| match name {
                "state" | "host" => run.get(name).cloned(),
                "createdAt" => run.get("created_at").cloned(),
                name => run["config"].get(name.strip_prefix("config.")?).cloned(),
            })
        };
        let text = |run: &Value, key: &str| run[key].as_str().unwrap().to_owned();
        let found: Vec<RunHead> = self
            .runs
            .iter()
            .filter(holds)
            .map(|run| RunHead {
                id: text(run, "id"),
                state: text(run, "state"),
                created_at: text(run, "created_at"),
                host: Some(text(run, "host")),
                config: run["config"].as_object().unwrap().clone(),
            })
            .collect();
        let ids: Vec<&str> = found.iter().map(|run| run.id.as_str()).collect();
        let call = json!({ "path": project, "filters": conditions, "ids": ids });
        self.calls.borrow_mut().push(call);
        Ok(found)
    }

    fn history(&self, _: &str, run: &RunHead) -> Result<Vec<Map<String, Value>>> {
        let rows = self.run(run)["history"].as_array().unwrap().iter();
        Ok(rows.map(|row| row.as_object().unwrap().clone()).collect())
    }

    fn origin(&self, _: &str, run: &RunHead) -> Result<RunOrigin> {
        let metadata = &self.run(run)["metadata"];
        Ok(RunOrigin {
            host: metadata["host"].as_str().unwrap().to_owned(),
            args: serde_json::from_value(metadata["args"].clone()).unwrap(),
        })
    }

    fn log(&self, _: &str, run: &RunHead) -> std::result::Result<String, LogFailure> {
        let run = self.run(run);
        match &run["log_status"] {
            Value::Null => Ok(run["output_log"].as_str().unwrap_or_default().to_owned()),
            Value::Number(status) => {
                let status = u16::try_from(status.as_u64().unwrap()).unwrap();
                Err(LogFailure::Status(status))
            }
            _ => Err(LogFailure::Connection("connection refused".to_owned())),
        }
    }
}

/// The request of a case; none if there is no such table.
fn request(cfg: &Value, now: &str) -> Option<RunsRequest> {
    let text = |key: &str| cfg[key].as_str().unwrap_or_default().to_owned();
    let project = text("wandb_project");
    let now: jiff::Timestamp = now.parse().unwrap();
    Some(RunsRequest {
        selection: Selection {
            table: text("fmt_type").parse::<RunsTable>().ok()?,
            models: text("fmt_models"),
            model_hosts: text("fmt_model_hosts"),
            hosts: text("fmt_hosts"),
            min_ago: text("fmt_min_ago"),
            max_ago: text("fmt_max_ago"),
            min_stamp: text("fmt_min_stamp"),
            max_stamp: text("fmt_max_stamp"),
            image_dir: text("infer_image_dir"),
            annotations: text("infer_ann_json"),
            gencfg: text("gencfg"),
        },
        project: match cfg["wandb_entity"].as_str() {
            Some(entity) => format!("{entity}/{project}"),
            None => project,
        },
        sort: text("fmt_sort"),
        places: Places {
            source: PathBuf::from("/"),
            image_dir: inputs().join("runs").display().to_string(),
        },
        host_tag: HostTag::new(HostTag::ORIGINAL).unwrap(),
        style: TableStyle::Compat,
        ambiguous: Ambiguous::First,
        each_missing: true,
        now: now.to_zoned(TimeZone::UTC),
    })
}

/// What a server gives that lists runs in this order.
fn in_order(runs: &Value, order: &str) -> Vec<Value> {
    let mut runs = runs.as_array().unwrap().clone();
    runs.sort_by_key(|run| run["created_at"].as_str().unwrap().to_owned());
    if order == "newest_first" {
        runs.reverse();
    }
    runs
}

#[test]
fn tables_and_questions_are_those_of_the_original() {
    let runs = golden::json(AREA, "runs.json");
    let now = runs["now"].as_str().unwrap();
    let cases = golden::json(AREA, "format_wandb.json");
    let cases = cases.as_array().unwrap();
    let mut compared = 0;
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let crashed = !case["exception"].is_null();
        let Some(request) = request(&case["cfg"], now) else {
            assert!(crashed, "{name}: there is no such table");
            continue;
        };
        let order = case["order"].as_str().unwrap();
        let source = Stored {
            runs: in_order(&runs[case["records"].as_str().unwrap()], order),
            calls: RefCell::default(),
        };
        let mut printed = Printed::default();
        let result = format_runs(&request, &source, &mut printed);
        let found = events(&printed);
        // Whatever the order of the server, the newest runs count: the same is
        // printed as in the case that lists them first.
        let expected = cases.iter().find(|other| {
            other["order"] == "newest_first"
                && other["records"] == case["records"]
                && other["cfg"] == case["cfg"]
        });
        let expected = expected.unwrap_or(case);
        match (crashed, result) {
            (false, Ok(())) => {
                assert_events(name, &found, &expected_events(expected));
                compared += 1;
                assert_calls(name, &source.calls.borrow(), case, order);
            }
            (false, Err(error)) => panic!("{name}: {error}"),
            (true, Ok(())) => {
                let expected = expected_events(case);
                assert!(found.len() > expected.len(), "{name}: nothing more");
                assert_events(name, &found[..expected.len()], &expected);
            }
            (true, Err(error)) => {
                // What is wrong with the request is said before anything is
                // asked; a file is missing only once it is needed.
                let asked = !source.calls.borrow().is_empty();
                let is_file = matches!(error, RunTablesError::Predictions(_));
                assert_eq!(asked, is_file, "{name}: {error}");
            }
        }
    }
    assert!(compared > cases.len() / 2);
}

/// The questions; those about trainings come in the order in which models are
/// met, which differs if the server lists the oldest runs first.
fn assert_calls(name: &str, found: &[Value], case: &Value, order: &str) {
    let mut found = found.to_vec();
    let mut expected = case["calls"].as_array().unwrap().clone();
    if order != "newest_first" {
        let key = |call: &Value| call["filters"].to_string();
        found.sort_by_key(key);
        expected.sort_by_key(key);
    }
    assert_eq!(found.len(), expected.len(), "{name}: number of questions");
    for (found, expected) in found.iter().zip(&expected) {
        assert_eq!(found, expected, "{name}");
    }
}
