//! Completion in shells: commands and options, and what only the program
//! knows: keys and their values, groups, kinds, run ids.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};
use clap_complete::env::Shells;

use super::print::print;
use super::{CliError, Exit};
use crate::config::schema::{self, Key, Kind};
use crate::config::{Experiment, Request, StageKind};
use crate::stages as kinds;
use crate::store::Project;
use crate::tracking::{FIELDS, RunOverview, RunState, find_run, list_runs};

/// Print what a shell needs to complete commands of novic
///
/// Options, keys and their values, groups, actions and run ids are completed.
///
///   novic completions bash >> ~/.bashrc
///   novic completions zsh > ~/.zfunc/_novic
///   novic completions fish > ~/.config/fish/completions/novic.fish
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct CompletionsArgs {
    /// bash, elvish, fish, powershell or zsh
    shell: String,
    /// Print JSON: the script as a text
    #[arg(long)]
    json: bool,
}

/// Variable that makes the program complete instead of run.
pub(super) const VARIABLE: &str = "COMPLETE";

/// Prints the script of a shell.
pub fn cmd_completions(args: &CompletionsArgs) -> Result<Exit, CliError> {
    let script = script(&args.shell)?;
    if args.json {
        print(&format!("{:#}\n", serde_json::json!({ "script": script })))
    } else {
        print(&script)
    }
}

fn script(name: &str) -> Result<String, CliError> {
    let shells = Shells::builtins();
    let Some(shell) = shells.completer(name) else {
        let names: Vec<_> = shells.names().collect();
        return Err(CliError::usage(format!(
            "there is no completion for `{name}`, but for {}",
            names.join(", ")
        )));
    };
    let mut script = Vec::new();
    shell
        .write_registration(VARIABLE, "novic", "novic", "novic", &mut script)
        .map_err(|error| CliError::failed(format!("failed to write the script: {error}")))?;
    Ok(String::from_utf8_lossy(&script).into_owned())
}

/// Overrides that begin so: keys, and behind `=` their values.
pub(super) fn overrides(current: &OsStr) -> Vec<CompletionCandidate> {
    let Some(text) = current.to_str() else {
        return Vec::new();
    };
    let sign = text.len() - text.trim_start_matches(['+', '~']).len();
    let (sign, rest) = text.split_at(sign);
    match rest.split_once('=') {
        Some((name, value)) => values(name, value)
            .into_iter()
            .map(|value| CompletionCandidate::new(format!("{sign}{name}={value}")))
            .collect(),
        None => names(sign, rest),
    }
}

fn names(sign: &str, begun: &str) -> Vec<CompletionCandidate> {
    let end = if sign == "~" { "" } else { "=" };
    let candidate = |name: &str, key: &Key| {
        let help = key.doc.trim().lines().next().unwrap_or_default().to_owned();
        CompletionCandidate::new(format!("{sign}{name}{end}")).help(Some(help.into()))
    };
    // Those of stages, and those that describe the experiment.
    let nested = schema::keys()
        .iter()
        .chain(schema::document_keys())
        .filter(|key| key.path.starts_with(begun))
        .map(|key| candidate(key.path, key));
    // The original's names would be in the way of who does not ask for them.
    let flat = schema::keys()
        .iter()
        .filter_map(|key| Some((key.flat?, key)));
    let flat = flat
        .filter(|(name, _)| !begun.is_empty() && name.starts_with(begun))
        .map(|(name, key)| candidate(name, key));
    let groups = groups()
        .into_iter()
        .map(|(group, _)| format!("use.{group}"));
    let groups = groups
        .filter(|name| name.starts_with(begun))
        .map(|name| CompletionCandidate::new(format!("{sign}{name}{end}")));
    nested
        .chain(flat)
        .chain(groups)
        .chain(of_stages(sign, begun, end))
        .collect()
}

/// `stage.NAME.`, and behind it the keys.
fn of_stages(sign: &str, begun: &str, end: &str) -> Vec<CompletionCandidate> {
    let Some(rest) = begun.strip_prefix("stage.") else {
        return Vec::new();
    };
    let Some((stage, key)) = rest.split_once('.') else {
        let names = stage_names().into_iter();
        return names
            .filter(|name| name.starts_with(rest))
            .map(|name| CompletionCandidate::new(format!("{sign}stage.{name}.")))
            .collect();
    };
    let paths = schema::keys().iter().map(|key| key.path);
    let paths = ["kind", "inputs"].into_iter().chain(paths);
    paths
        .filter(|path| path.starts_with(key))
        .map(|path| CompletionCandidate::new(format!("{sign}stage.{stage}.{path}{end}")))
        .collect()
}

/// Names of the stages of the experiment that the command line names.
fn stage_names() -> Vec<String> {
    let Some(file) = file() else {
        return Vec::new();
    };
    let experiment = Experiment::load(&Request::new(&file));
    let stages = experiment.map(|experiment| experiment.stages);
    let stages = stages.unwrap_or_default().into_iter();
    stages.map(|stage| stage.name).collect()
}

/// The experiment file on the command line that is being completed.
fn file() -> Option<PathBuf> {
    let words = std::env::args_os().skip(1).map(PathBuf::from);
    let mut files = words.filter(|word| word.extension().is_some_and(|e| e == "toml"));
    files.find(|file| file.is_file())
}

/// Stages that begin so.
pub(super) fn stages(current: &OsStr) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    let names = stage_names().into_iter();
    names
        .filter(|name| name.starts_with(begun.as_ref()))
        .map(CompletionCandidate::new)
        .collect()
}

fn values(name: &str, begun: &str) -> Vec<String> {
    // `stage.NAME.KEY` has the values of the key.
    let of_stage = name
        .strip_prefix("stage.")
        .and_then(|rest| rest.split_once('.'));
    if let Some((_, "kind")) = of_stage {
        let kinds = StageKind::names().filter(|kind| kind.starts_with(begun));
        return kinds.map(str::to_owned).collect();
    }
    let name = of_stage.map_or(name, |(_, key)| key);
    if let Some(group) = name.strip_prefix("use.") {
        let choices = groups().into_iter().filter(|(other, _)| other == group);
        let choices = choices.flat_map(|(_, names)| names);
        return choices.filter(|choice| choice.starts_with(begun)).collect();
    }
    let key = schema::key(name)
        .or_else(|| schema::key_by_flat_name(name))
        .or_else(|| schema::document_key(name));
    let Some(key) = key else {
        return Vec::new();
    };
    let names: &[&str] = match key.kind {
        Kind::Bool => &["true", "false"],
        Kind::Choice { names, .. } | Kind::ChoiceOrInt { names } => names,
        _ => &[],
    };
    let fits = |value: &&&str| !value.is_empty() && value.starts_with(begun);
    names
        .iter()
        .filter(fits)
        .map(|&name| name.to_owned())
        .collect()
}

/// Groups beside the experiment file and those that it extends, else beside the
/// shipped experiments or here, with their choices.
fn groups() -> Vec<(String, Vec<String>)> {
    match file() {
        Some(file) => groups_in(bases_of(&file)),
        None => groups_in(["experiments/base".into(), "base".into()].into()),
    }
}

/// Where the groups of an experiment are looked for; only beside the file itself
/// where it cannot be read.
fn bases_of(file: &Path) -> BTreeSet<PathBuf> {
    let experiment = Experiment::load(&Request::new(file));
    let files = experiment.map(|experiment| experiment.files);
    let files = files.unwrap_or_default();
    let files = files.iter().map(PathBuf::as_path).chain([file]);
    files.map(|file| file.with_file_name("base")).collect()
}

fn groups_in(bases: BTreeSet<PathBuf>) -> Vec<(String, Vec<String>)> {
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for base in bases {
        for folder in fs::read_dir(base).into_iter().flatten().flatten() {
            let files = fs::read_dir(folder.path()).into_iter().flatten().flatten();
            let files = files.map(|file| file.path());
            let toml = files.filter(|path| path.extension().is_some_and(|e| e == "toml"));
            let names = toml.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
            let names: Vec<String> = names.collect();
            if !names.is_empty() {
                let group = folder.file_name().to_string_lossy().into_owned();
                found.entry(group).or_default().extend(names);
            }
        }
    }
    let found = found.into_iter();
    found
        .map(|(group, names)| (group, names.into_iter().collect()))
        .collect()
}

/// Fields of runs that begin so.
pub(super) fn fields(current: &OsStr) -> Vec<CompletionCandidate> {
    let text = current.to_string_lossy();
    // The last of several columns; descending order.
    let at = text.rfind([',', '-']).map_or(0, |at| at + 1);
    let (before, begun) = text.split_at(at);
    fields_that_begin(begun)
        .map(|field| CompletionCandidate::new(format!("{before}{field}")))
        .collect()
}

fn fields_that_begin(begun: &str) -> impl Iterator<Item = &'static str> {
    let keys = schema::keys().iter().map(|key| key.path);
    let fields = FIELDS.into_iter().chain(keys);
    let fields = fields.chain(RunOverview::SURROUNDINGS);
    fields.filter(move |field| field.starts_with(begun))
}

/// Filters of runs: the field that is begun at their end, and behind an operator
/// its values.
pub(super) fn filters(current: &OsStr) -> Vec<CompletionCandidate> {
    let text = current.to_string_lossy();
    let is_operator = |c: char| "=!<>~".contains(c);
    let ends_field = |c: char| c.is_whitespace() || c == '(';
    if let Some(at) = text.rfind(is_operator) {
        let behind = &text[at + 1..];
        let value = behind.trim_start();
        if !value.contains(char::is_whitespace) {
            let field = text[..at].trim_end_matches(is_operator).trim_end();
            let field = field.rsplit(ends_field).next().unwrap_or(field);
            let before = &text[..text.len() - value.len()];
            return values_of_field(field, value)
                .into_iter()
                .map(|value| CompletionCandidate::new(format!("{before}{value}")))
                .collect();
        }
    }
    let at = text.rfind(ends_field).map_or(0, |at| at + 1);
    let (before, begun) = text.split_at(at);
    fields_that_begin(begun)
        .map(|field| CompletionCandidate::new(format!("{before}{field}")))
        .collect()
}

fn values_of_field(field: &str, begun: &str) -> Vec<String> {
    match field {
        "state" => {
            let words = RunState::WORDS.into_iter();
            let words = words.filter(|word| word.starts_with(begun));
            words.map(str::to_owned).collect()
        }
        "tags" | "labels" => tags_that_begin(begun, None),
        _ => values(field, begun),
    }
}

/// Tags of a run, else of all runs.
fn tags_that_begin(begun: &str, run: Option<RunOverview>) -> Vec<String> {
    let runs = match run {
        Some(run) => vec![run],
        None => Project::find(None)
            .ok()
            .and_then(|project| list_runs(&project).ok())
            .map_or_else(Vec::new, |(runs, _)| runs),
    };
    let tags: BTreeSet<String> = runs.into_iter().flat_map(|run| run.tags).collect();
    let tags = tags.into_iter();
    tags.filter(|tag| tag.starts_with(begun)).collect()
}

/// The run that the command line names.
fn run_of_line() -> Option<RunOverview> {
    let project = Project::find(None).ok()?;
    let words = std::env::args_os().filter_map(|word| word.into_string().ok());
    let mut runs = words
        .filter(|word| word == "latest" || word.chars().any(|c| c.is_ascii_digit()))
        .filter_map(|word| find_run(&project, &word).ok());
    runs.next().map(|(run, _)| run)
}

/// Tags, that begin so, of the run that the command line names.
pub(super) fn tags_of_run(current: &OsStr) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    let tags = tags_that_begin(&begun, run_of_line()).into_iter();
    tags.map(CompletionCandidate::new).collect()
}

/// Stages, that begin so, of the run that the command line names.
pub(super) fn stages_of_run(current: &OsStr) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    let stages = run_of_line().map(|run| run.stages).unwrap_or_default();
    let names = stages.into_iter().map(|stage| stage.name);
    names
        .filter(|name| name.starts_with(begun.as_ref()))
        .map(CompletionCandidate::new)
        .collect()
}

/// Run ids that contain what was begun, the newest first.
pub(super) fn runs(current: &OsStr) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    let Ok(project) = Project::find(None) else {
        return Vec::new();
    };
    let mut names: Vec<String> = fs::read_dir(project.runs_dir())
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| name.starts_with("ovod_") && name.contains(begun.as_ref()))
        .collect();
    names.sort();
    names.reverse();
    if "latest".starts_with(begun.as_ref()) {
        names.insert(0, "latest".to_owned());
    }
    names.into_iter().map(CompletionCandidate::new).collect()
}

/// Checkpoints: runs, the embedded one, and files.
pub(super) fn checkpoints(current: &OsStr) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    let mut found = match "embedded".starts_with(begun.as_ref()) {
        true => vec![CompletionCandidate::new("embedded")],
        false => Vec::new(),
    };
    found.extend(runs(current));
    found.extend(PathCompleter::any().complete(current));
    found
}

/// Actions that begin so.
pub(super) fn actions(current: &OsStr) -> Vec<CompletionCandidate> {
    let begun = current.to_string_lossy();
    let registry = kinds::registry();
    let kinds = registry.kinds().iter().map(|kind| kind.name());
    kinds
        .filter(|name| name.starts_with(begun.as_ref()))
        .map(CompletionCandidate::new)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(found: Vec<CompletionCandidate>) -> Vec<String> {
        let texts = found.iter().map(CompletionCandidate::get_value);
        texts
            .map(|text| text.to_string_lossy().into_owned())
            .collect()
    }

    fn completed(text: &str) -> Vec<String> {
        texts(overrides(OsStr::new(text)))
    }

    #[test]
    fn keys_are_completed_by_both_names_and_values_by_their_key() {
        assert_eq!(
            completed("train.lr."),
            ["init", "final", "schedule", "warmup_chunks"].map(|name| format!("train.lr.{name}="))
        );
        assert_eq!(completed("lr_w"), ["lr_warmup="]);
        assert_eq!(completed("~train.lr.f"), ["~train.lr.final"]);
        assert_eq!(
            completed("train.optimizer.type=AdamP"),
            ["train.optimizer.type=AdamP"]
        );
        assert_eq!(completed("++noun_cache=t"), ["++noun_cache=true"]);
        assert!(completed("train.lr.init=").is_empty());
        assert!(completed("").len() >= schema::keys().len());
        assert_eq!(
            texts(actions(OsStr::new("embedder_"))),
            ["embedder_zero_shot"]
        );
    }

    #[test]
    fn what_describes_experiments_stages_and_runs_is_completed() {
        assert!(completed("hooks.f").contains(&"hooks.finish=".to_owned()));
        assert_eq!(completed("slots.g"), ["slots.gpus="]);
        assert_eq!(completed("stage.a.kin"), ["stage.a.kind="]);
        assert_eq!(completed("stage.a.kind=noth"), ["stage.a.kind=nothing"]);
        assert_eq!(texts(fields(OsStr::new("sec"))), ["seconds"]);
        assert_eq!(
            texts(fields(OsStr::new("run,sta"))),
            ["run,state", "run,started", "run,stages"]
        );
        assert_eq!(texts(fields(OsStr::new("-secon"))), ["-seconds"]);
        assert_eq!(texts(fields(OsStr::new("run,git.c"))), ["run,git.commit"]);
    }

    #[test]
    fn filters_are_completed_field_by_field() {
        let filters = |text: &str| texts(filters(OsStr::new(text)));
        assert_eq!(filters("secon"), ["seconds"]);
        assert_eq!(
            filters("state = failed and (hear"),
            ["state = failed and (heartbeat"]
        );
        assert_eq!(filters("state = fa"), ["state = failed"]);
        assert_eq!(filters("not state!=fin"), ["not state!=finished"]);
        assert_eq!(filters("nouns.cache=t"), ["nouns.cache=true"]);
        assert!(filters("seconds > 1").is_empty());
    }

    #[test]
    fn groups_of_extended_files_are_found() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::create_dir_all(path("other/base/size")).unwrap();
        fs::write(path("other/base/size/big.toml"), "").unwrap();
        fs::write(path("other/main.toml"), "").unwrap();
        fs::write(path("mine.toml"), "extends = \"other/main.toml\"\n").unwrap();
        let found = groups_in(bases_of(&path("mine.toml")));
        assert_eq!(found, [("size".to_owned(), vec!["big".to_owned()])]);
    }

    #[test]
    fn every_shell_has_a_script() {
        for shell in Shells::builtins().names() {
            assert!(
                script(shell).expect("a script").contains("novic"),
                "{shell}"
            );
        }
        assert!(script("dos").is_err());
    }
}
