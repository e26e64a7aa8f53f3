//! `novic ls`: the runs of a project.

use std::collections::BTreeSet;
use std::slice;
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use comfy_table::{CellAlignment, Table, presets};
use rayon::prelude::*;
use serde_json::{Map, Value, json};

use super::print::print;
use super::records::printable;
use super::{CliError, Exit, complete};
use crate::config::{nearest, schema};
use crate::runner::time_text;
use crate::store::Project;
use crate::tracking::{
    FIELDS, Fields, Filter, Picked, RunList, RunOverview, StageOutcome, order, plain,
};

/// List the runs of this project
///
/// The newest come last. A run whose process is gone is shown as what it is,
/// at once and from any process; nothing is ever left "running".
///
/// Filters, sorting and columns take fields of runs (run, experiment, title,
/// state, started, seconds or time, stages, heartbeat, exit_code, reason, tags,
/// note, labels), keys of the configuration by their nested or flat names,
/// results of stages (`top1`, or `STAGE.top1`), and what records say of program,
/// machine and sources (program, program_hash, command, host, system, cpu,
/// cpu_features, cpus, threads, memory, gpus, toolchain, git.commit, git.branch,
/// git.dirty, git.remote). Several filters must all hold.
///
///   novic ls
///   novic ls 'state = failed' 'train.lr.init < 0.01 or tags = paper'
///   novic ls 'time > 1h30m and host = node7' --columns=run,time,threads
///   novic ls experiment=ye2 --sort=-top1 --columns=run,noise.vec_norm,top1 --last 10
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct LsArgs {
    /// Conditions such as `experiment = quickstart` or `seconds > 60 and not state = failed`; operators are = != < <= > >= ~
    #[arg(value_name = "FILTER", add = ArgValueCompleter::new(complete::filters))]
    filters: Vec<Filter>,
    /// How many to list: of the newest, or of the first when sorted; 0 for all
    #[arg(long, value_name = "N", default_value_t = 20)]
    last: usize,
    /// Sort by a field; `-FIELD` for descending
    #[arg(long, value_name = "FIELD", allow_hyphen_values = true, add = ArgValueCompleter::new(complete::fields))]
    sort: Option<String>,
    /// Columns to show, separated by commas
    #[arg(long, value_name = "FIELDS", value_delimiter = ',', add = ArgValueCompleter::new(complete::fields))]
    columns: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the runs of the project.
pub fn cmd_ls(args: &LsArgs) -> Result<Exit, CliError> {
    let failed = |error| CliError::from_error(Exit::Failed, &error);
    let project =
        Project::find(None).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let runs = RunList::read(&project).map_err(failed)?;
    for error in runs.errors() {
        eprintln!("warning: {}", printable(&error.to_string()));
    }
    let names = names(args);
    let picked = pick(&names, &runs, &project);
    check(&args.filters, &picked)?;
    if runs.is_empty() && !args.json {
        return print(&format!("no runs in {}\n", project.home().display()));
    }
    warn_of_unknown_names(&names, &picked, || {
        (0..runs.len()).map(|at| runs.unlabelled(at)).collect()
    });
    let (chosen, hidden) = select(args, &picked);
    let shown = chosen.into_par_iter().map(|at| runs.overview(at));
    let mut shown: Vec<_> = shown.collect();
    if needs_surroundings(&names) {
        RunOverview::read_surroundings(&mut shown, &project);
    }
    if args.json {
        let runs: Vec<_> = shown.iter().map(|run| to_json(args, run)).collect();
        return print(&format!("{:#}\n", json!(runs)));
    }
    let mut text = match (hidden, &args.sort) {
        (0, _) => String::new(),
        (hidden, None) => format!("{hidden} older runs; --last 0 lists all\n"),
        (hidden, Some(_)) => format!("{hidden} more runs; --last 0 lists all\n"),
    };
    if shown.is_empty() {
        text.push_str("no run fulfils this\n");
    } else if args.columns.is_empty() {
        text.push_str(&table(&shown));
    } else {
        text.push_str(&columns_table(&args.columns, &shown));
    }
    print(&text)
}

/// Fields of all runs, without keeping more of them than that.
fn pick<'a>(names: &BTreeSet<&'a str>, runs: &RunList, project: &Project) -> Vec<Picked<'a>> {
    let labelled = ["tags", "note", "labels"]
        .iter()
        .any(|name| names.contains(name));
    let surroundings = needs_surroundings(names);
    let all = (0..runs.len()).into_par_iter().map(|at| {
        if names.is_empty() {
            return Picked::default();
        }
        let mut run = match labelled {
            true => runs.overview(at),
            false => runs.unlabelled(at),
        };
        if surroundings {
            RunOverview::read_surroundings(slice::from_mut(&mut run), project);
        }
        Picked::of(&run, names)
    });
    all.collect()
}

/// Which of the runs to list, in this order, and how many others fulfil the
/// filters.
fn select(args: &LsArgs, runs: &[impl Fields]) -> (Vec<usize>, usize) {
    let fulfils = |at: &usize| args.filters.iter().all(|filter| filter.matches(&runs[*at]));
    let mut chosen: Vec<usize> = (0..runs.len()).filter(fulfils).collect();
    let count = if args.last == 0 {
        chosen.len()
    } else {
        args.last
    };
    let hidden = chosen.len().saturating_sub(count);
    match args.sort.as_deref() {
        None => {
            chosen.drain(..hidden);
        }
        Some(sort) => {
            let (name, descending) = match sort.strip_prefix('-') {
                Some(name) => (name, true),
                None => (sort, false),
            };
            let keyed = chosen.into_iter().map(|at| (runs[at].field(name), at));
            let mut keyed: Vec<_> = keyed.collect();
            keyed.sort_by(|(a, _), (b, _)| match (a, b) {
                // Those without a value come last in both directions.
                (Some(_), Some(_)) if descending => order(b.as_ref(), a.as_ref()),
                _ => order(a.as_ref(), b.as_ref()),
            });
            keyed.truncate(count);
            chosen = keyed.into_iter().map(|(_, at)| at).collect();
        }
    }
    (chosen, hidden)
}

/// Names of all fields on the command line.
fn names(args: &LsArgs) -> BTreeSet<&str> {
    let sort = args.sort.as_deref();
    let sort = sort.map(|name| name.strip_prefix('-').unwrap_or(name));
    let columns = args.columns.iter().map(String::as_str);
    let filters = args.filters.iter().flat_map(Filter::names);
    filters.chain(sort).chain(columns).collect()
}

/// Whether only the records themselves have some of these fields.
pub(super) fn needs_surroundings(names: &BTreeSet<&str>) -> bool {
    RunOverview::SURROUNDINGS
        .iter()
        .any(|name| names.contains(name))
}

/// Refuses filters that compare fields with what they never hold.
pub(super) fn check(filters: &[Filter], runs: &[impl Fields]) -> Result<(), CliError> {
    filters
        .iter()
        .try_for_each(|filter| filter.check(runs))
        .map_err(|error| CliError::from_error(Exit::Usage, &error))
}

/// A name that no run has is probably a slip of the fingers.
fn warn_of_unknown_names(
    names: &BTreeSet<&str>,
    runs: &[impl Fields],
    whole: impl Fn() -> Vec<RunOverview>,
) {
    let fields = FIELDS.into_iter().chain(RunOverview::SURROUNDINGS);
    let known: BTreeSet<&str> = fields.collect();
    for name in names.difference(&known) {
        if !runs.is_empty() && runs.iter().all(|run| run.field(name).is_none()) {
            let near = near_field(name, &whole());
            let near = near.map(|near| format!("did you mean `{near}`? "));
            let near = near.unwrap_or_default();
            eprintln!("warning: no run has a field `{name}`; {near}see `novic ls --help`");
        }
    }
}

/// The field that is probably meant.
fn near_field(name: &str, runs: &[RunOverview]) -> Option<String> {
    let stages = runs.iter().flat_map(|run| &run.stages);
    let results = stages.filter_map(|stage| stage.results.as_object());
    let results = results.flat_map(Map::keys).map(String::as_str);
    let keys = schema::keys().iter();
    let keys = keys.flat_map(|key| [Some(key.path), key.flat]).flatten();
    let fields = FIELDS.into_iter().chain(RunOverview::SURROUNDINGS);
    nearest(name, fields.chain(results).chain(keys)).map(str::to_owned)
}

fn to_json(args: &LsArgs, run: &RunOverview) -> Value {
    if args.columns.is_empty() {
        return json!(run);
    }
    let fields = args.columns.iter();
    let fields: Map<String, Value> = fields
        .map(|name| (name.clone(), run.field(name).unwrap_or(Value::Null)))
        .collect();
    fields.into()
}

fn columns_table(names: &[String], runs: &[RunOverview]) -> String {
    let rows = runs.iter().map(|run| {
        let cells = names
            .iter()
            .map(|name| match (name.as_str(), run.field(name)) {
                ("time", _) => run_time(run),
                ("stages", _) => stages_text(run),
                ("labels", _) => labels_text(run),
                (_, Some(Value::Array(items))) => {
                    items.iter().map(plain).collect::<Vec<_>>().join(", ")
                }
                (_, Some(value)) => plain(&value),
                (_, None) => "–".to_owned(),
            });
        cells.collect::<Vec<_>>()
    });
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    lines(&names, rows, None)
}

fn table(runs: &[RunOverview]) -> String {
    let labelled = runs
        .iter()
        .any(|run| !run.tags.is_empty() || !run.note.is_empty());
    let mut header = vec!["run", "experiment", "time", "stages", "state"];
    if labelled {
        header.push("labels");
    }
    let rows = runs.iter().map(|run| {
        let mut row = vec![
            run.run.clone(),
            run.experiment.clone(),
            run_time(run),
            stages_text(run),
            run.state_text(),
        ];
        if labelled {
            row.push(labels_text(run));
        }
        row
    });
    lines(&header, rows, Some(2))
}

fn run_time(run: &RunOverview) -> String {
    match run.state.is_unreadable() && run.stages.is_empty() {
        true => "–".to_owned(),
        false => time_text(Duration::from_secs_f64(run.seconds())),
    }
}

/// Tags and the first line of the note.
fn labels_text(run: &RunOverview) -> String {
    let tags = run.tags.join(", ");
    let note = run.note.lines().next().unwrap_or_default();
    let both = [tags.as_str(), note].map(str::trim).into_iter();
    let both: Vec<_> = both.filter(|text| !text.is_empty()).collect();
    both.join(": ")
}

fn lines(header: &[&str], rows: impl Iterator<Item = Vec<String>>, right: Option<usize>) -> String {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING);
    table.set_header(header.to_vec());
    let shown = |row: Vec<String>| row.iter().map(|cell| printable(cell)).collect::<Vec<_>>();
    table.add_rows(rows.map(shown));
    if let Some(column) = right.and_then(|at| table.column_mut(at)) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let lines: Vec<_> = table
        .lines()
        .map(|line| line.trim_end().trim_start_matches(' ').to_owned())
        .collect();
    format!("{}\n", lines.join("\n"))
}

/// Which stage is at work or went wrong, else how many are done.
fn stages_text(run: &RunOverview) -> String {
    if run.state.is_unreadable() && run.stages.is_empty() {
        return "–".to_owned();
    }
    let all = run.stages.len();
    let good = |outcome| matches!(outcome, StageOutcome::Done | StageOutcome::UpToDate);
    let done = run
        .stages
        .iter()
        .filter(|stage| stage.outcome.is_some_and(good))
        .count();
    let failed = run
        .stages
        .iter()
        .find(|stage| stage.outcome == Some(StageOutcome::Failed));
    let at_work = run
        .stages
        .iter()
        .find(|stage| stage.started && stage.outcome.is_none());
    match (failed, at_work) {
        (Some(stage), _) => format!("{done}/{all}, {} failed", stage.name),
        (None, Some(stage)) => match &stage.progress {
            Some((done_units, Some(total), _)) if *total > 0 => {
                let percent = (*done_units).min(*total).saturating_mul(100) / total;
                format!("{done}/{all}, {} at {percent} %", stage.name)
            }
            _ => format!("{done}/{all}, {}", stage.name),
        },
        (None, None) => format!("{done}/{all}"),
    }
}

#[cfg(test)]
mod tests {
    use crate::tracking::{RunState, StageOverview};

    use super::*;

    fn run(number: u32, state: RunState, stages: Vec<StageOverview>) -> RunOverview {
        RunOverview {
            format: 2,
            run: format!("ovod_20261124_17050{number}"),
            experiment: "quickstart".into(),
            title: String::new(),
            started_ms: 0,
            last_ms: 65_400,
            outputs: "outputs".into(),
            state,
            exit_code: None,
            reason: None,
            values: Map::new(),
            tags: Vec::new(),
            note: String::new(),
            surroundings: Map::new(),
            stages,
        }
    }

    fn stage(name: &str, outcome: Option<StageOutcome>) -> StageOverview {
        StageOverview {
            name: name.into(),
            kind: "train".into(),
            key: String::new(),
            outcome,
            started: true,
            started_us: 0,
            progress: Some((30, Some(120), "samples".into())),
            seconds: 0.0,
            message: None,
            results: json!(null),
        }
    }

    #[test]
    fn runs_are_listed_with_what_became_of_them() {
        let done = || stage("cache", Some(StageOutcome::UpToDate));
        let runs = [
            run(
                1,
                RunState::Finished,
                vec![done(), stage("train", Some(StageOutcome::Done))],
            ),
            run(
                2,
                RunState::Failed,
                vec![done(), stage("train", Some(StageOutcome::Failed))],
            ),
            run(
                3,
                RunState::Vanished { last_ms: 0 },
                vec![done(), stage("train", None)],
            ),
            RunOverview {
                experiment: String::new(),
                ..run(
                    4,
                    RunState::Unreadable {
                        what: "not a record (it is empty)".into(),
                    },
                    Vec::new(),
                )
            },
        ];
        let changing = regex::Regex::new("[0-9]+ days|[0-9]+-[0-9]+-[0-9]+ [0-9:]+").unwrap();
        insta::assert_snapshot!(changing.replace_all(&table(&runs), "N"), @r"
        run                   experiment    time  stages              state
        ovod_20261124_170501  quickstart  1m 05s  2/2                 finished
        ovod_20261124_170502  quickstart  1m 05s  1/2, train failed   failed
        ovod_20261124_170503  quickstart  1m 05s  1/2, train at 25 %  ended without a word N ago (last heartbeat N)
        ovod_20261124_170504                   –  –                   unreadable: not a record (it is empty)
        ");
    }

    fn list(arguments: &[&str], runs: Vec<RunOverview>) -> String {
        #[derive(clap::Parser)]
        struct Line {
            #[command(flatten)]
            args: LsArgs,
        }
        let words = ["ls"].iter().chain(arguments);
        let args = <Line as clap::Parser>::parse_from(words).args;
        let (chosen, hidden) = select(&args, &runs);
        let shown: Vec<_> = chosen.into_iter().map(|at| runs[at].clone()).collect();
        let text = if args.columns.is_empty() {
            table(&shown)
        } else {
            columns_table(&args.columns, &shown)
        };
        format!("{text}{hidden} hidden")
    }

    #[test]
    fn lists_are_filtered_sorted_and_cut() {
        let runs = || {
            let rates = [0.5, 0.1, 0.25];
            let runs = rates.iter().zip(1..).map(|(rate, number)| {
                let mut run = run(number, RunState::Finished, Vec::new());
                run.values.insert("train.lr.init".into(), json!(rate));
                run.tags = vec![format!("t{number}")];
                run
            });
            runs.collect::<Vec<_>>()
        };
        insta::assert_snapshot!(list(&["init_lr < 0.5", "--sort=-init_lr", "--columns=run,init_lr,tags"], runs()), @r"
        run                   init_lr  tags
        ovod_20261124_170503  0.25     t3
        ovod_20261124_170502  0.1      t2
        0 hidden
        ");
        insta::assert_snapshot!(list(&["--sort", "train.lr.init", "--last=1", "--columns=run"], runs()), @r"
        run
        ovod_20261124_170502
        2 hidden
        ");
        insta::assert_snapshot!(list(&["tags=t1", "not state = failed"], runs()), @r"
        run                   experiment    time  stages  state     labels
        ovod_20261124_170501  quickstart  1m 05s  0/0     finished  t1
        0 hidden
        ");
    }

    #[test]
    fn headings_are_columns_and_control_characters_are_spelled_out() {
        let done = stage("train", Some(StageOutcome::Done));
        let mut named = run(1, RunState::Finished, vec![done]);
        named.tags = vec!["a\u{1b}[31m".into()];
        named.note = "the best\nof all".into();
        insta::assert_snapshot!(list(&["stages = train", "--columns=time,stages,labels,state"], vec![named]), @r"
        time    stages  labels                 state
        1m 05s  1/1     a\u{1b}[31m: the best  finished
        0 hidden
        ");
    }
}
