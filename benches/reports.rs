//! What tables and pages cost, beside their bars:
//!
//! ```text
//! cargo bench --bench reports -- [RUNS]
//! ```
//!
//! Times are the best of several tries. `RUNS` is the number of runs (10,000).
//! The table has a row per configuration, three seeds each, and 50 columns.

use std::error::Error;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

use novic::config::{Experiment, Request};
use novic::reports::document::Report;
use novic::reports::evaluate::evaluate;
use novic::reports::experiment::{ExperimentReport, RECORDS_FILE};
use novic::reports::render;
use novic::reports::sources::Loader;
use novic::runner::{
    Execution, Interrupt, Nothing, Plan, Quiet, Registry, Retries, Selection, Slots, execute,
};
use novic::store::{EntryDescription, EntryFile, Key, Manifest, Project};
use novic::tracking::{RunEnd, RunRecorder, RunStart};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

/// Columns of the table.
const COLUMNS: usize = 50;
/// Samples and resamples of the bootstrap.
const SAMPLES: usize = 272;
/// Models whose scores have intervals.
const MODELS: usize = 60;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let runs: usize = args.next().map_or(Ok(10_000), |arg| arg.parse())?;
    many_runs(runs)?;
    many_predictions()?;
    page()
}

fn say(what: &str, time: Duration, bar: &str) {
    let time = time.as_secs_f64() * 1e3;
    println!("{what:<52} {time:>10.2} ms   bar {bar}");
}

fn best<T>(
    tries: usize,
    mut work: impl FnMut() -> Result<T, Box<dyn Error>>,
) -> Result<Duration, Box<dyn Error>> {
    let mut best = Duration::MAX;
    for _ in 0..tries {
        let begun = Instant::now();
        work()?;
        best = best.min(begun.elapsed());
    }
    Ok(best)
}

/// Outputs of so many runs in a store, and tables over them.
fn many_runs(runs: usize) -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let project = Project::locate(dir.path(), Some(&dir.path().join(".novic")), None);
    make_outputs(&project, runs)?;
    let report = Report::load(&report_file(dir.path())?, &[])?;
    let spec = &report.tables[0];
    let loader = Loader::new(&project, dir.path());
    let whole = best(3, || {
        let tables = evaluate(spec, &loader.load(spec)?)?;
        Ok(tables.iter().map(render::markdown).collect::<String>())
    })?;
    say(
        &format!("report over {runs} runs in the store"),
        whole,
        "1 s",
    );
    let sources = loader.load(spec)?;
    let cells = best(3, || Ok(evaluate(spec, &sources)?))?;
    say(&format!("its {COLUMNS} columns alone"), cells, "1 s");
    let with_bootstrap = Report::load(&bootstrap_file(dir.path())?, &[])?;
    let spec = &with_bootstrap.tables[0];
    let shown = best(2, || {
        let tables = evaluate(spec, &loader.load(spec)?)?;
        let text: String = tables.iter().map(render::markdown).collect();
        match text.contains("–") {
            true => Ok(text),
            false => Err("there are no intervals".into()),
        }
    })?;
    let what = format!("the same with {MODELS} models, bootstrap of {SAMPLES} samples");
    say(&what, shown, "2 s");
    Ok(())
}

/// Prediction files of `models` models with their annotations.
fn make_predictions(dir: &Path, models: usize, samples: usize, topk: usize) -> std::io::Result<()> {
    let folder = dir.join("predictions");
    fs::create_dir_all(&folder)?;
    let names: Vec<String> = (0..samples).map(|at| format!("{at}.jpg")).collect();
    let noun =
        |model: usize, at: usize, rank: usize| format!("noun{}", (at * 7 + model * rank) % 31);
    let annotations: Map<String, Value> = names
        .iter()
        .enumerate()
        .map(|(at, name)| {
            let of = |rest: usize| -> Vec<String> {
                (0..31)
                    .filter(|n| (n + at) % 3 == rest)
                    .map(|n| format!("noun{n}"))
                    .collect()
            };
            let categories = json!({
                "correct_primary": of(0), "close_primary": of(1), "incorrect": of(2),
            });
            (name.clone(), categories)
        })
        .collect();
    fs::write(
        dir.join("annotations.json"),
        Value::from(annotations).to_string(),
    )?;
    (0..models).into_par_iter().try_for_each(|model| {
        let rows: Vec<Vec<String>> = (0..samples)
            .map(|at| (0..topk).map(|rank| noun(model, at, rank + 1)).collect())
            .collect();
        let numbers = |value: f64| vec![vec![value; topk]; samples];
        let file = json!({
            "version": 1, "model": format!("run/m{model}"), "model_dir": "run",
            "model_name": format!("m{model}"), "model_cfg": {"num_layers": model},
            "infer_cfg": {"infer_image_dir": "extras/world", "num_layers": model}, "vocab_targets": ["noun1"],
            "guide_targets": [], "samples": names,
            "predictions": {"beam": {
                "gen_cfg": {"topk": topk}, "pred": rows, "score": numbers(0.5),
                "result": vec![vec![2; topk]; samples],
            }},
        });
        fs::write(folder.join(format!("m{model:04}.json")), file.to_string())
    })
}

/// Prediction files as records: reading and scoring.
fn many_predictions() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    make_predictions(dir.path(), 1000, 1000, 10)?;
    let project = Project::locate(dir.path(), Some(&dir.path().join(".novic")), None);
    let path = dir.path().join("scores.toml");
    fs::write(
        &path,
        "[source]\nkind = \"predictions\"\nfrom = [\"predictions/*.json\"]\n\
         [source.predictions]\nannotations = { human = \"annotations.json\" }\n\
         [rows]\nby = [\"model.spec\"]\n[[col]]\nlabel = \"Score\"\nvalue = \"pred.score@10\"\n",
    )?;
    let report = Report::load(&path, &[])?;
    let loader = Loader::new(&project, dir.path());
    let time = best(2, || {
        let spec = &report.tables[0];
        Ok(evaluate(spec, &loader.load(spec)?)?)
    })?;
    say(
        "1,000 prediction files of 1,000 samples, top 10",
        time,
        "2 s",
    );
    Ok(())
}

fn make_outputs(project: &Project, runs: usize) -> Result<(), Box<dyn Error>> {
    let root = project.store_dir().join("eval_cls_decoding");
    (0..runs)
        .into_par_iter()
        .try_for_each(|at| -> std::io::Result<()> {
            let key = Key::of(&at.to_le_bytes());
            let dir = root.join(key.to_string());
            fs::create_dir_all(&dir)?;
            let mut record = Map::new();
            for column in 0..COLUMNS {
                let value = ((at * 31 + column * 17) % 997) as f64 / 10.0;
                record.insert(format!("metric{column}"), value.into());
            }
            record.insert("dataset".into(), "ImageNet1K".into());
            let records = Value::from(vec![Value::Object(record)]).to_string();
            fs::write(dir.join(RECORDS_FILE), &records)?;
            let manifest = Manifest {
                format: 1,
                kind: "eval_cls_decoding".into(),
                key,
                published_ms: 1_700_000_000_000 + at as u64,
                bytes: records.len() as u64,
                files: vec![EntryFile {
                    path: RECORDS_FILE.into(),
                    bytes: records.len() as u64,
                    blake3: String::new(),
                }],
                description: EntryDescription {
                    stage: "eval".into(),
                    experiment: "bench".into(),
                    seed: Some(at as u64 % 3),
                    config: json!({
                        "model.layers": at / 3, "noise.vec_norm": 3.25, "cls.split": "valid",
                    }),
                    run: format!("ovod_{at:08}"),
                    ..EntryDescription::default()
                },
            };
            fs::write(dir.join("entry.json"), serde_json::to_vec(&manifest)?)
        })?;
    Ok(())
}

/// The table over runs; `more` is what it says beside.
fn report_text(source: &str, columns: usize, more: &str) -> String {
    format!(
        "replicates = {{ by = [\"seed\"], expected = 3 }}\nmark = {{ best = true, second = true }}\n\
         {source}\nkind = \"runs\"\nwhere = {{ \"run.action\" = \"eval_cls_decoding\" }}\n\
         [rows]\nby = [\"config.model.layers\"]\n\
         [[col]]\nforeach = {{ k = \"0..{}\" }}\nlabel = \"M{{k}}\"\nvalue = \"metric{{k}}\"\n\
         where = {{ \"dataset\" = \"ImageNet1K\" }}\nformat = \"{{mean:.2f}} ± {{std:.2f}}\"\n{more}",
        columns - 1
    )
}

fn report_file(dir: &Path) -> Result<std::path::PathBuf, Box<dyn Error>> {
    let path = dir.join("bench.toml");
    fs::write(&path, report_text("[source]", COLUMNS, ""))?;
    Ok(path)
}

/// As many columns, of which one shows bootstrap intervals of scores.
fn bootstrap_file(dir: &Path) -> Result<std::path::PathBuf, Box<dyn Error>> {
    make_predictions(dir, MODELS, SAMPLES, 1)?;
    let path = dir.join("bootstrap.toml");
    let text = report_text("[source.runs]", COLUMNS - 1, "source = \"runs\"\n");
    let text = text.replace("[rows]\n", "[rows]\nunion = [\"runs\"]\n");
    let more = "[[col]]\nlabel = \"Score\"\nsource = \"open\"\n\
                values = { value = \"pred.score\", low = \"pred.ci_lo\", high = \"pred.ci_hi\" }\n\
                format = \"{value:.1f} ({low:.1f} – {high:.1f})\"\n\
                replicates = { by = [], expected = 1 }\n\
                [source.open]\nkind = \"predictions\"\nfrom = [\"predictions/*.json\"]\n\
                [source.open.predictions]\nannotations = { human = \"annotations.json\" }\n";
    fs::write(&path, format!("{text}{more}"))?;
    Ok(path)
}

/// The page of an experiment of 20 stages.
fn page() -> Result<(), Box<dyn Error>> {
    let dir = tempfile::tempdir()?;
    let project = Project::locate(dir.path(), Some(&dir.path().join(".novic")), None);
    let mut text = String::from("[experiment]\ntitle = \"Twenty stages\"\n");
    for at in 0..20 {
        text.push_str(&format!("[stage.s{at}]\nkind = \"nothing\"\n"));
        if at > 0 {
            text.push_str(&format!("inputs = [\"s{}\"]\n", at - 1));
        }
    }
    let request = Request {
        file: "bench.toml".into(),
        text: Some(text),
        ..Request::default()
    };
    let experiment = Experiment::load(&request)?;
    let registry = Registry::new(&[&Nothing]);
    let plan = Plan::in_project(&experiment, &registry, project.clone(), false)?;
    let recorder = RunRecorder::start(&project, RunStart::default())?;
    execute(
        &Execution {
            plan: &plan,
            registry: &registry,
            recorder: &recorder,
            interrupt: &Interrupt::new(),
            selection: Selection::default(),
            keep_going: false,
            retries: Retries::default(),
            slots: Slots::default(),
        },
        &mut Quiet,
    )?;
    recorder.finish(RunEnd {
        exit_code: 0,
        reason: String::new(),
    })?;
    let mut bytes = 0;
    let time = best(3, || {
        let plan = Plan::in_project(&experiment, &registry, project.clone(), false)?;
        let report = ExperimentReport::collect(&experiment, &plan)?;
        let run = plan.own_run()?.map(|run| run.run).unwrap_or_default();
        let html = report.notebook(&run, "")?.render().into_string();
        bytes = html.len();
        Ok(html)
    })?;
    say("page of an experiment of 20 stages", time, "1 s");
    println!(
        "{:<52} {:>10.2} MB   bar 3 MB",
        "its size",
        bytes as f64 / 1e6
    );
    Ok(())
}
