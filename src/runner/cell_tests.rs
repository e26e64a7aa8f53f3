//! Tables and plots in plans: when they are made, and why.

use std::fs;
use std::path::Path;

use crate::config::CellKind;
use crate::tracking::StageOutcome;

use super::run_tests::{Bench, EXPERIMENT, experiment_in, project_in, registry};
use super::*;

/// Writes down the outputs of the stages that its cell lists as `of`; fails
/// with `fails = true`.
struct Notes;

impl CellMaker for Notes {
    fn kind(&self) -> CellKind {
        CellKind::Table
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self, query: &CellQuery<'_>) -> Result<CellReads, StageError> {
        let listed = query.cell.get("of").map(|of| of.value.to_json());
        let listed = listed.unwrap_or_default();
        let names = listed.as_array().cloned().unwrap_or_default();
        let steps = query.steps.iter().enumerate();
        let steps = steps.filter(|(_, step)| names.contains(&step.stage.as_str().into()));
        let mut reads = CellReads {
            steps: steps.map(|(at, _)| at).collect(),
            ..CellReads::default()
        };
        if query.cell.get("elsewhere").is_some() {
            reads.resources.push(Resource {
                role: "rows".into(),
                name: "a server".into(),
                path: None,
                identity: None,
                missing: None,
            });
        }
        Ok(reads)
    }

    fn make(&self, context: &CellContext<'_>, out: &Path) -> Result<(), StageError> {
        if context.cell.get("fails").is_some() {
            return Err(StageError::failed("no such field\n --> test.toml:20:1"));
        }
        let keys = context.plan.steps().iter();
        let keys = keys.map(|step| format!("{:?}\n", step.id));
        Ok(fs::write(out.join("keys"), keys.collect::<String>())?)
    }
}

const CELLS: &str = r#"
[table.both]
title = "Both"
of = ["joined"]

[table.one]
of = ["first"]
"#;

fn plan(bench: &Bench) -> Plan {
    let experiment = experiment_in(bench.dir.path(), &[]);
    let registry = registry().with_cells(&[&Notes]);
    Plan::in_project(&experiment, &registry, project_in(bench.dir.path()), false).unwrap()
}

fn make(bench: &Bench) -> Vec<(String, StageOutcome)> {
    let experiment = experiment_in(bench.dir.path(), &[]);
    let registry = registry().with_cells(&[&Notes]);
    let results = make_cells(&experiment, &plan(bench), &registry, "ovod_20250101_000000");
    let results = results.unwrap().into_iter();
    results
        .map(|result| (result.name, result.outcome))
        .collect()
}

/// The lines of the tables, without keys, sizes and times.
fn lines(plan: &Plan) -> Vec<String> {
    let replaced = [
        ("[0-9a-f]{8}", "KEY"),
        ("[0-9.]+ k?B", "SIZE"),
        (r" \((under|about)[^)]*\)", ""),
    ];
    let replaced = replaced.map(|(what, with)| (regex::Regex::new(what).unwrap(), with));
    let of_line = |line: &str| {
        let mut text = line.trim().to_owned();
        for (what, with) in &replaced {
            text = what.replace_all(&text, *with).into_owned();
        }
        text
    };
    let text = plan_text(plan);
    let cells = text.lines().skip_while(|line| !line.contains("  table"));
    cells.map(of_line).filter(|line| !line.is_empty()).collect()
}

fn outcomes(all: [(&str, StageOutcome); 2]) -> Vec<(String, StageOutcome)> {
    let owned = |(name, outcome): (&str, StageOutcome)| (name.to_owned(), outcome);
    all.into_iter().map(owned).collect()
}

#[test]
fn tables_wait_for_their_stages_and_are_made_once() {
    use StageOutcome::{Done, Skipped, UpToDate};
    let bench = Bench::new(&format!("{EXPERIMENT}{CELLS}"));
    assert_eq!(
        lines(&plan(&bench)),
        [
            "will run  table.both  table         ––––––––",
            "waits for first, second",
            "will run  table.one   table         ––––––––",
            "waits for first",
            "3 to run, 2 of 2 tables and plots to make",
        ]
    );
    assert!(
        !bench.dir.path().join(".novic").exists(),
        "plans write nothing"
    );
    assert_eq!(
        make(&bench),
        outcomes([("table.both", Skipped), ("table.one", Skipped)])
    );
    bench.run_with(&mut Quiet, |execution| {
        execution.selection.only = vec!["first".into()];
    });
    assert_eq!(
        make(&bench),
        outcomes([("table.both", Skipped), ("table.one", Done)])
    );
    bench.run();
    let kept = plan(&bench);
    assert!(kept.is_up_to_date() && !kept.is_all_up_to_date());
    assert!(
        plan_text(&kept)
            .ends_with("\nall stages are up to date, 1 of 2 tables and plots to make\n")
    );
    assert_eq!(
        make(&bench),
        outcomes([("table.both", Done), ("table.one", UpToDate)])
    );
    assert!(plan(&bench).is_all_up_to_date());
    assert!(plan_text(&plan(&bench)).ends_with("\neverything is up to date\n"));
}

#[test]
fn a_table_is_made_again_for_its_own_keys_and_for_new_records() {
    use StageOutcome::{Done, UpToDate};
    let bench = Bench::new(&format!("{EXPERIMENT}{CELLS}"));
    bench.run();
    make(&bench);
    // Its own keys; the order of keys and other tables are none of its business.
    bench.write(&format!("{EXPERIMENT}{}", CELLS.replace("Both", "Two")));
    let open = plan(&bench);
    assert_eq!(
        lines(&open),
        [
            "will run  table.both  table         KEY",
            "changed: table.both.title \"Both\" → \"Two\"",
            "up to date  table.one   table         KEY  SIZE",
            "all stages are up to date, 1 of 2 tables and plots to make",
        ]
    );
    let experiment = experiment_in(bench.dir.path(), &[]);
    let text = why_text(&Why::of(&experiment, &open, "both").unwrap()[0]);
    assert!(text.starts_with("table.both (table): will run\n"), "{text}");
    let place = "      set by ";
    assert!(
        text.contains("  table.both.title \"Both\" → \"Two\"\n") && text.contains(place),
        "{text}"
    );
    bench.write(&format!("{EXPERIMENT}{CELLS}"));
    assert!(plan(&bench).is_all_up_to_date(), "old tables come back");
    // The same output of another run: rows name the run.
    bench.run_with(&mut Quiet, |execution| {
        execution.selection.force = vec!["first".into()];
    });
    assert_eq!(
        make(&bench),
        outcomes([("table.both", Done), ("table.one", Done)])
    );
    // A stage that it reads through another.
    let changed = EXPERIMENT.replace("max_chunks = 40", "max_chunks = 41");
    bench.write(&format!("{changed}{CELLS}"));
    let stale = plan(&bench);
    assert_eq!(
        lines(&stale),
        [
            "stale  table.both  table         ––––––––",
            "because second will run",
            "up to date  table.one   table         KEY  SIZE",
            "1 up to date, 2 to run, 1 of 2 tables and plots to make",
        ]
    );
    let experiment = experiment_in(bench.dir.path(), &[]);
    let why = Why::of(&experiment, &stale, "table.both").unwrap();
    let json = why_json(&why[0]);
    assert_eq!(json["state"], "stale");
    assert_eq!(json["waits_for"], serde_json::json!(["second"]));
    assert_eq!(json["reasons"][0]["path"], "train.max_chunks");
    assert_eq!(json["reasons"][0]["step"], "second");
    let second = Why::of(&experiment, &stale, "second").unwrap();
    let downstream: Vec<_> = second[0].downstream.iter().map(|step| &step.name).collect();
    assert_eq!(downstream, ["joined", "table.both"]);
    let json = plan_json(&stale);
    assert_eq!(json["up_to_date"], false);
    assert_eq!(json["steps"][3]["kind"], "table");
    assert_eq!(json["steps"][3]["state"], "stale");
    assert_eq!(json["steps"][4]["state"], "up_to_date");
    bench.run();
    assert_eq!(
        make(&bench),
        outcomes([("table.both", Done), ("table.one", UpToDate)])
    );
}

#[test]
fn mistakes_missing_stages_and_servers_are_told() {
    use StageOutcome::{Blocked, Done, Failed};
    let stage = "
[stage.captions]
kind = \"cache_captions\"
captions.path = \"captions.json\"

[stage.other]
kind = \"nothing\"
";
    let cells = "
[table.a]
of = [\"captions\"]

[table.b]
of = [\"other\"]
fails = true
";
    let bench = Bench::new(&format!("{stage}{cells}"));
    let _ = bench.run_with(&mut Quiet, |execution| execution.keep_going = true);
    assert_eq!(
        make(&bench),
        outcomes([("table.a", Blocked), ("table.b", Failed)])
    );
    let text = plan_text(&plan(&bench));
    for part in [
        "    blocked  table.a",
        "its input `captions` is blocked",
        "     failed  table.b",
        "             in ovod_20250101_000000: no such field\n              --> test.toml:20:1\n",
    ] {
        assert!(text.contains(part), "no `{part}` in:\n{text}");
    }
    // What may be another each time is made each time, and not kept.
    bench.write(&format!(
        "{stage}{}",
        cells.replace("fails = true", "elsewhere = true")
    ));
    for _ in 0..2 {
        assert_eq!(
            make(&bench),
            outcomes([("table.a", Blocked), ("table.b", Done)])
        );
        let text = plan_text(&plan(&bench));
        assert!(text.contains("every time, as it reads a server"), "{text}");
    }
}
