//! `novic config`: the resolved configuration of an experiment.

use std::path::{Path, PathBuf};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::{Map, Value, json};

use super::experiment::{load, report};
use super::print::print;
use super::{CliError, Exit, complete};
use crate::config::schema::{self, Config, Key};
use crate::config::show::{inputs_json, is_within, own_keys, shown_value, stack_json};
use crate::config::{
    Cell, Experiment, Origins, Show, StageSpec, VERSION, experiment_differences, experiment_json,
    flat_yaml, migrate, nearest,
};
use crate::store::write_file;

/// Show the resolved configuration of an experiment
///
/// All layers together: defaults, files named by `extends`, groups chosen by
/// `[use]`, the file itself, variables NOVIC__SECTION__FIELD, and overrides.
/// The text is an experiment file that gives the same experiment.
///
///   novic config experiments/ye2.toml --origins
///   novic config experiments/ye2.toml --stage train --flat
///   novic config experiments/ye2.toml --diff
///   novic config --diff experiments/ya2.toml experiments/ye2.toml
///   novic config mine.toml --migrate --write
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ConfigArgs {
    /// Experiment file
    file: PathBuf,
    /// Changes of values: `train.lr.init=1e-3`, `lr_warmup=2`, `use.embedder=so400m`, `~noise.scheme`; with --diff also another file
    #[arg(value_name = "KEY=VALUE", add = ArgValueCompleter::new(complete::overrides))]
    overrides: Vec<String>,
    /// Show where every value comes from, and what it replaces
    #[arg(long)]
    origins: bool,
    /// Show only a section or a key, such as `train.lr`; may be repeated
    #[arg(long, value_name = "NAME")]
    section: Vec<String>,
    /// Show what differs from the defaults, or what another file has different
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "")]
    diff: Option<String>,
    /// Show the whole configuration of one stage, or of one of its seeds: `train@2`
    #[arg(long, value_name = "NAME", add = ArgValueCompleter::new(complete::stages))]
    stage: Option<String>,
    /// Show the flat keys of the original
    #[arg(long, conflicts_with_all = ["origins", "section", "diff"])]
    flat: bool,
    /// Show how the file changes when it is written in the words of the present version
    #[arg(long, conflicts_with_all = ["origins", "section", "diff", "stage", "flat", "overrides"])]
    migrate: bool,
    /// With --migrate: change the file
    #[arg(long, requires = "migrate")]
    write: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Prints the resolved configuration of an experiment.
pub fn cmd_config(args: &ConfigArgs) -> Result<Exit, CliError> {
    if args.migrate {
        return migrate_file(args);
    }
    let (other, overrides) = other_file(args);
    let experiment = load(&args.file, &overrides)?;
    let sections = sections(args, &experiment)?;
    if let Some(other) = other {
        // Overrides are tried on both, unless they are all that is different.
        let experiment = match other == args.file {
            true => load(&args.file, &[])?,
            false => experiment,
        };
        let other = load(&other, &overrides)?;
        return print(&compare(args, &sections, &experiment, &other));
    }
    let stage = args.stage.as_deref();
    let stage = stage
        .map(|name| find_stage(&experiment, name))
        .transpose()?;
    let stage = stage.as_ref();
    let shown = if args.flat {
        let config = stage.map_or(&experiment.config, |stage| &stage.config);
        if args.json {
            pretty(&Value::Object(config.flat()))
        } else {
            flat_yaml(config)
        }
    } else if args.json {
        json(args, &sections, &experiment, stage)
    } else {
        let show = Show {
            origins: args.origins,
            sections,
            against: args.diff.as_ref().map(|_| Config::default()),
        };
        match stage {
            Some(stage) => show.stage(stage),
            None => show.experiment(&experiment),
        }
    };
    print(&shown)
}

/// The sections and keys that are asked for, by their nested names.
fn sections(args: &ConfigArgs, experiment: &Experiment) -> Result<Vec<String>, CliError> {
    let nested = |name: &String| {
        let key = schema::key_by_flat_name(name);
        key.map_or_else(|| name.clone(), |key| key.path.to_owned())
    };
    let names: Vec<String> = args.section.iter().map(nested).collect();
    let stages = experiment.stages.iter();
    let tables: Vec<String> = (stages.map(|stage| format!("stage.{}", stage.name)))
        .chain(experiment.cells.iter().map(Cell::path))
        .collect();
    let keys = schema::keys().iter().chain(schema::document_keys());
    let paths: Vec<&str> = keys.map(|key| key.path).collect();
    for name in &names {
        let is_key = |name: &str| paths.iter().any(|path| is_within(path, name));
        let in_stage = tables.iter().any(|table| {
            let rest = name.strip_prefix(table.as_str());
            rest.and_then(|rest| rest.strip_prefix('.'))
                .is_some_and(is_key)
        });
        if is_key(name) || in_stage || tables.iter().any(|table| is_within(table, name)) {
            continue;
        }
        let error = format!("there is no key, section, stage, table or plot `{name}` to show");
        let tables = tables.iter().map(String::as_str);
        let own = paths.iter().filter_map(|path| path.split('.').next());
        let sections = schema::SECTIONS.iter().copied().chain(own).chain(tables);
        return Err(match nearest(name, sections.chain(paths.iter().copied())) {
            Some(near) => CliError::usage(format!("{error}; did you mean `{near}`?")),
            None => CliError::usage(error),
        });
    }
    Ok(names)
}

/// Shows, or makes, the changes of `--migrate`.
fn migrate_file(args: &ConfigArgs) -> Result<Exit, CliError> {
    let (file, shown) = (&args.file, args.file.display());
    let text = std::fs::read_to_string(file)
        .map_err(|error| CliError::usage(format!("cannot read {shown}: {error}")))?;
    let migrated = migrate(file, &text).map_err(report)?;
    if args.write && !migrated.changes.is_empty() {
        write_file(file, migrated.text.as_bytes())
            .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    }
    if args.json {
        let changes = migrated.changes.iter();
        let changes = changes.map(|(line, old, new)| json!({"line": line, "old": old, "new": new}));
        let changes: Vec<_> = changes.collect();
        return print(&pretty(
            &json!({ "changes": changes, "written": args.write }),
        ));
    }
    if migrated.changes.is_empty() {
        return print(&format!("{shown} has the words of version {VERSION}\n"));
    }
    let mut lines = String::new();
    for (line, old, new) in &migrated.changes {
        lines.push_str(&format!("@@ line {line} @@\n"));
        if let Some(old) = old {
            lines.push_str(&format!("-{old}\n"));
        }
        lines.push_str(&format!("+{new}\n"));
    }
    print(&lines)
}

/// The file that `--diff=FILE` or a second file names, and the overrides.
fn other_file(args: &ConfigArgs) -> (Option<PathBuf>, Vec<String>) {
    let mut overrides = args.overrides.clone();
    let other = match args.diff.as_deref() {
        None => None,
        Some("") => {
            let is_file = |text: &String| !text.contains('=') && text.ends_with(".toml");
            let at = overrides.iter().position(is_file);
            at.map(|at| PathBuf::from(overrides.remove(at)))
        }
        Some(file) => Some(PathBuf::from(file)),
    };
    (other, overrides)
}

/// What `other` has different, a line per value.
fn compare(
    args: &ConfigArgs,
    sections: &[String],
    experiment: &Experiment,
    other: &Experiment,
) -> String {
    let wanted = |path: &str| {
        let stage = args.stage.as_ref().map(|name| format!("stage.{name}."));
        let path = match &stage {
            Some(prefix) => path.strip_prefix(prefix.as_str()).unwrap_or(path),
            None => path,
        };
        sections.is_empty() || sections.iter().any(|name| is_within(path, name))
    };
    let mut found = experiment_differences(experiment, other);
    found.retain(|difference| wanted(&difference.path));
    if args.json {
        return pretty(
            &found
                .iter()
                .map(|difference| difference.to_json())
                .collect(),
        );
    }
    let mut text = format!(
        "- {}\n+ {}\n",
        experiment.file.display(),
        other.file.display()
    );
    for difference in &found {
        let [a, b] = difference.texts();
        text.push_str(&format!("\n{}\n", difference.path));
        for (sign, value, side) in [
            ('-', a, &difference.sides[0]),
            ('+', b, &difference.sides[1]),
        ] {
            match side {
                Some((_, origin)) if args.origins => {
                    text.push_str(&format!("  {sign} {value}  # {origin}\n"));
                }
                _ => text.push_str(&format!("  {sign} {value}\n")),
            }
        }
    }
    if found.is_empty() {
        text.push_str("\nthe same\n");
    }
    text
}

/// Values by dotted name; with origins, each with the stack of its layers.
fn json(
    args: &ConfigArgs,
    sections: &[String],
    experiment: &Experiment,
    stage: Option<&StageSpec>,
) -> String {
    if stage.is_none() && sections.is_empty() && args.diff.is_none() {
        return pretty(&experiment_json(experiment, args.origins));
    }
    let lists =
        |path: &str| sections.is_empty() || sections.iter().any(|name| is_within(path, name));
    let shown = |path: String, key: &Key, value: Value, origins: &Origins| {
        if args.diff.is_some() && value == (key.default)() {
            return None;
        }
        let shown = match args.origins {
            true => json!({"value": value, "stack": stack_json(key, origins)}),
            false => value,
        };
        Some((path, shown))
    };
    if let Some(stage) = stage {
        let keys = schema::keys().iter().filter(|key| lists(key.path));
        let values = keys.filter_map(|key| {
            let value = stage.config.get(key.path).unwrap_or_default();
            shown(key.path.to_owned(), key, value, &stage.origins)
        });
        return pretty(&Value::Object(values.collect()));
    }
    let keys = schema::document_keys().iter().chain(schema::keys());
    let keys = keys.filter(|key| lists(key.path));
    let values = keys.filter_map(|key| {
        let value = shown_value(key, experiment);
        shown(key.path.to_owned(), key, value, &experiment.origins)
    });
    let mut values: Map<String, Value> = values.collect();
    for stage in &experiment.stages {
        let table = format!("stage.{}", stage.name);
        for key in own_keys(stage, &experiment.config) {
            let path = format!("{table}.{}", key.path);
            if lists(&path) || lists(key.path) {
                let value = stage.config.get(key.path).unwrap_or_default();
                values.extend(shown(path, key, value, &stage.origins));
            }
        }
        if lists(&table) {
            values.insert(format!("{table}.kind"), stage.kind.as_str().into());
            values.insert(format!("{table}.inputs"), inputs_json(&stage.inputs));
        }
    }
    for cell in experiment.cells.iter().filter(|cell| lists(&cell.path())) {
        values.insert(cell.path(), cell.to_json());
    }
    pretty(&Value::Object(values))
}

fn find_stage(experiment: &Experiment, name: &str) -> Result<StageSpec, CliError> {
    experiment.seeded_stage(name).ok_or_else(|| {
        let stages = experiment.stages.iter();
        let names: Vec<_> = stages.map(|stage| stage.name.as_str()).collect();
        let file: &Path = &experiment.file;
        CliError::usage(format!(
            "{} has no stage `{name}`; it has {}",
            file.display(),
            names.join(", ")
        ))
    })
}

fn pretty(value: &Value) -> String {
    format!("{value:#}\n")
}
