//! The reference pages, made of what commands, keys and stage kinds say of
//! themselves.

use std::fmt::Write as _;

use novic::config::VERSION;
use novic::config::schema::{self, Action, Key, Kind, SECTIONS};
use novic::decoder::checkpoint::FORMAT_VERSION;
use novic::runner::sweep::SWEEP_FORMAT;
use novic::store::ENTRY_FORMAT;
use novic::{cache, stages, tracking};
use serde_json::Value;

const MADE: &str = "<!-- Made by `cargo run --example pages -- reference docs/reference`. -->\n\n";

/// File name and text of every page.
pub fn pages() -> Vec<(&'static str, String)> {
    vec![
        ("commands.md", commands()),
        ("configuration.md", configuration()),
        ("formats.md", formats()),
        ("stages.md", kinds()),
    ]
}

/// What every command says with `--help`.
fn commands() -> String {
    let mut text = format!(
        "# Commands\n\n{MADE}What every command says with `--help`. Exit codes are in \
         [the architecture](../architecture.md#exit-codes).\n"
    );
    let root = novic::cli::command().term_width(88);
    let mut command = root.clone();
    // Options of parents and the names of commands are filled in.
    command.build();
    for command in command.get_subcommands_mut() {
        describe(command, 2, &mut text);
    }
    text
}

fn describe(command: &mut clap::Command, level: usize, text: &mut String) {
    if command.is_hide_set() || command.get_name() == "help" {
        return;
    }
    let name = command.get_bin_name().unwrap_or(command.get_name());
    let heading = "#".repeat(level);
    let _ = write!(text, "\n{heading} `{name}`\n\n");
    let help = command.clone().render_long_help().to_string();
    let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
    let _ = write!(text, "```text\n{}\n```\n", lines.join("\n").trim());
    for inner in command.get_subcommands_mut() {
        describe(inner, level + 1, text);
    }
}

/// Every key of the configuration.
fn configuration() -> String {
    let mut text = format!(
        "# Configuration\n\n{MADE}Every key of an experiment file, with the name that the \
         original has for it. How files, groups and overrides become a configuration is in \
         [the guide](../guide.md); `novic config FILE --origins` shows it for a file, and \
         [stages](stages.md) says which kind of stage reads what.\n"
    );
    let described = schema::json_schema();
    for section in SECTIONS {
        let doc = &described["properties"][*section];
        let doc = doc["description"]
            .as_str()
            .or_else(|| doc["anyOf"][0]["description"].as_str())
            .unwrap_or_default();
        section_of(section, doc, schema::keys(), &mut text);
    }
    text.push_str("\nThe sections below describe the experiment and belong to no stage.\n");
    for (section, doc) in [
        ("experiment", "What it is."),
        ("store", "Where outputs are kept."),
        ("slots", "What stages may occupy together."),
        (
            "hooks",
            "Whom to tell what happens; see [Be told](../guide.md#be-told).",
        ),
        (
            "launcher",
            "Where the points of a sweep run; see [clusters](../clusters.md).",
        ),
    ] {
        section_of(section, doc, schema::document_keys(), &mut text);
    }
    text
}

fn section_of(section: &str, doc: &str, keys: &[&'static Key], text: &mut String) {
    let own = |key: &&&'static Key| key.path.split('.').next() == Some(section);
    let keys: Vec<_> = keys.iter().filter(own).collect();
    if keys.is_empty() {
        return;
    }
    let _ = write!(text, "\n## `[{section}]`\n\n{doc}\n\n");
    text.push_str(
        "| key | value | default | original | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for key in keys {
        let _ = writeln!(
            text,
            "| `{}` | {} | {} | {} | {} |",
            key.path,
            cell(&value(key)),
            cell(&default(key)),
            key.flat.map(|name| format!("`{name}`")).unwrap_or_default(),
            cell(&meaning(key)),
        );
    }
}

/// What a key takes.
fn value(key: &Key) -> String {
    let mut text = kind(key.kind);
    if let Some(range) = key.range.text() {
        let _ = write!(text, ", {range}");
    }
    if !key.unit.is_empty() {
        let _ = write!(text, " ({})", key.unit);
    }
    if key.nullable {
        text.push_str(if key.kind == Kind::Bool {
            ", or `auto`"
        } else {
            ", or `none`"
        });
    }
    text
}

fn kind(kind: Kind) -> String {
    let names = |names: &[&str]| {
        let names: Vec<String> = names.iter().map(|name| format!("`{name}`")).collect();
        names.join(", ")
    };
    match kind {
        Kind::Bool => "`true`, `false`".to_owned(),
        Kind::Int => "whole number".to_owned(),
        Kind::Float => "number".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::Path => "path".to_owned(),
        Kind::Choice { names: all, .. } => names(all),
        Kind::ChoiceOrInt { names: all } => format!("{} or a whole number", names(all)),
        Kind::Fraction => "fraction".to_owned(),
        Kind::List(inner) => format!("list: {}", self::kind(*inner)),
        Kind::ListOrText(inner) => format!("one or a list: {}", self::kind(*inner)),
        Kind::CommaText => "text or list of texts".to_owned(),
    }
}

fn default(key: &Key) -> String {
    match (key.default)() {
        Value::Null if key.kind == Kind::Bool => "auto".to_owned(),
        Value::Null => "none".to_owned(),
        value => format!("`{value}`"),
    }
}

/// The meaning, and that of the choices that have one.
fn meaning(key: &Key) -> String {
    let mut text = key.doc.trim().to_owned();
    if let Kind::Choice { names, docs, .. } = key.kind {
        let docs = names.iter().zip(docs);
        let told = docs.filter(|(_, doc)| !doc.trim().is_empty());
        for (name, doc) in told {
            let _ = write!(text, "<br>`{name}`: {}", doc.trim());
        }
    }
    text
}

/// Text that stays within a cell of a table.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('\n', " ")
}

/// Every format on disk that is this program's own, with its version.
fn formats() -> String {
    let mut text = format!(
        "# Versions of formats\n\n{MADE}Files of these versions are written, and those of all \
         earlier ones are read; a newer one is refused by its number. [Formats](../formats.md) \
         describes them.\n\n| file | what it is | version |\n| --- | --- | --- |\n"
    );
    let [plain, compact] = [cache::header::VERSION, cache::header::VERSION_COMPACT];
    let rows = [
        (
            "experiment files",
            "`version`, which they may leave out",
            "",
            VERSION.to_string(),
        ),
        (
            "`entry.json`",
            "output of a stage",
            "entries-of-the-store",
            ENTRY_FORMAT.to_string(),
        ),
        (
            "`record.novic`, `metrics.novic`",
            "record of a run, metrics of a stage",
            "run-records",
            tracking::RECORD_FORMAT.to_string(),
        ),
        (
            "`summary.json`",
            "what lists tell of a run",
            "run-records",
            tracking::OVERVIEW_FORMAT.to_string(),
        ),
        (
            "`labels.json`",
            "tags and note of a run",
            "run-records",
            tracking::LABELS_FORMAT.to_string(),
        ),
        (
            "`sweep.json` and beside it",
            "points of a sweep",
            "sweeps",
            SWEEP_FORMAT.to_string(),
        ),
        (
            "`cache.bin`",
            "embedding cache; the later version with `data.storage`",
            "embedding-caches",
            format!("{plain}, {compact}"),
        ),
        (
            "`cache.json`",
            "caches that are read as one",
            "embedding-caches",
            cache::VIRTUAL_MERGE_FORMAT.to_string(),
        ),
        (
            "checkpoints (`.safetensors`)",
            "trained decoder",
            "checkpoints",
            FORMAT_VERSION.to_string(),
        ),
    ];
    for (file, what, heading, version) in rows {
        let what = match heading {
            "" => what.to_owned(),
            heading => format!("[{what}](../formats.md#{heading})"),
        };
        let _ = writeln!(text, "| {file} | {what} | {version} |");
    }
    text
}

/// Every kind of stage.
fn kinds() -> String {
    let mut text = format!(
        "# Stages\n\n{MADE}Kinds of stages are the actions of the original and `nothing`. \
         A stage reads these keys and sections of the [configuration](configuration.md) and \
         no others; it runs again when one of their values changes.\n\n\
         | kind | what it does | reads |\n| --- | --- | --- |\n"
    );
    for kind in stages::registry().kinds() {
        let action = Action::ALL
            .iter()
            .position(|action| action.as_str() == kind.name());
        let doc = match (action, <Action as schema::Leaf>::KIND) {
            (Some(at), Kind::Choice { docs, .. }) => docs.get(at).copied().unwrap_or_default(),
            _ => "Does nothing; for measurements.",
        };
        let mut reads: Vec<String> = kind.reads().iter().map(|key| format!("`{key}`")).collect();
        reads.sort();
        reads.dedup();
        if kind.draws_random() {
            reads.push("`run.seed`".to_owned());
        }
        let _ = writeln!(
            text,
            "| `{}` | {} | {} |",
            kind.name(),
            cell(doc.trim()),
            reads.join(", ")
        );
    }
    text
}
