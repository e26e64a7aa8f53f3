//! `novic checkpoint`: checkpoint files of either form.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use serde_json::{Map, Value, json};

use super::print::print;
use super::{CliError, Exit};
use crate::config::compare::{self, Weight};
use crate::config::schema::{Action, Config, key_by_flat_name};
use crate::decoder::checkpoint::{Checkpoint, CheckpointHeader, RESERVED_PREFIXES};
use crate::infer::{CheckpointNames, ProjectPlaces};
use crate::store::Project;
use crate::train::exchange::{self, Form};
use crate::train::repair;

/// Look at, convert, check and repair checkpoints
///
/// Both forms are read everywhere: the native one (.safetensors) and that of
/// the original (.train, .model). Nothing in a file is ever executed.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct CheckpointArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Info(InfoArgs),
    Convert(ConvertArgs),
    Verify(VerifyArgs),
    Diff(DiffArgs),
    Fix(FixArgs),
}

/// Show what a checkpoint is and how it was trained
///
///   novic checkpoint info outputs/RUN
///   novic checkpoint info --json FILE
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct InfoArgs {
    /// Files, directories (their newest) or run ids
    #[arg(required = true)]
    checkpoints: Vec<String>,
    /// Print JSON, with the whole configuration
    #[arg(long)]
    json: bool,
}

/// Convert between the native form and that of the original
///
/// The ending of the output decides: .safetensors is native, .train and
/// .model are the original's. Nothing is lost on the way forth and back.
///
///   novic checkpoint convert X.train X.safetensors
///   novic checkpoint convert X.safetensors X.train
///   novic checkpoint convert --weights-only X.safetensors small.safetensors
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct ConvertArgs {
    /// File, directory (its newest) or run id
    input: String,
    /// File to write
    output: PathBuf,
    /// Leave out what only resuming needs: moments, loop state
    #[arg(long)]
    weights_only: bool,
    /// Store the weights alone, in half precision: native form only
    #[arg(long)]
    half: bool,
    /// Replace an existing file
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Check that checkpoints are whole and their parts belong together
///
/// Reads everything: checksums, header, shapes and names of all weights
/// against the configuration, moments against the weights, finite numbers.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct VerifyArgs {
    /// Files, directories (all in them) or run ids
    #[arg(required = true)]
    checkpoints: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Compare two checkpoints
///
/// Configuration, nouns, progress and weights; what differs is weighed by
/// what it changes. Exit code 1 if anything but irrelevant keys differs.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct DiffArgs {
    /// One checkpoint
    first: String,
    /// The other
    second: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Give old checkpoints of the original the noun list they lack
///
/// Looks through all runs (`ovod_…`) in a directory. The nouns are those of
/// the embedding cache that each was trained on. Files are replaced at once;
/// the old one stays beside it, with the ending .bak.
///
///   novic checkpoint fix --dry-run
///   novic checkpoint fix outputs --cache-dir caches
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct FixArgs {
    /// Directory with the directories of runs
    #[arg(default_value = "outputs")]
    outputs: PathBuf,
    /// Where caches with relative paths lie, if not here
    #[arg(long, value_name = "DIR")]
    cache_dir: Option<PathBuf>,
    /// Dictionary that supplies the nouns of all checkpoints trained on it
    #[arg(long, value_name = "FILE")]
    vocab: Option<PathBuf>,
    /// Its frequency threshold; checkpoints of another one are skipped
    #[arg(long, value_name = "N", default_value_t = 0, requires = "vocab")]
    vocab_threshold: i64,
    /// Only these checkpoints
    #[arg(long, value_name = "FILE")]
    only: Vec<PathBuf>,
    /// Only say what would be done
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs a subcommand.
pub fn cmd_checkpoint(args: &CheckpointArgs) -> Result<Exit, CliError> {
    match &args.command {
        Command::Info(args) => info(args),
        Command::Convert(args) => convert(args),
        Command::Verify(args) => verify(args),
        Command::Diff(args) => diff(args),
        Command::Fix(args) => fix(args),
    }
}

fn failed(error: impl std::error::Error) -> CliError {
    CliError::from_error(Exit::Failed, &error)
}

/// Files that names stand for; of directories the newest, or all.
fn files(names: &[String], all: bool) -> Result<Vec<PathBuf>, CliError> {
    let project = Project::find(None).map_err(failed)?;
    let places = ProjectPlaces::of(&project);
    let mut files = Vec::new();
    for name in names {
        let found = CheckpointNames {
            load: name,
            load_many: &[],
            per_dir: usize::from(!all),
        }
        .find(&places.places());
        if found.is_empty() {
            return Err(CliError::usage(format!("{name} holds no checkpoints")));
        }
        files.extend(found);
    }
    Ok(files)
}

fn file(name: &str) -> Result<PathBuf, CliError> {
    let found = files(&[name.to_owned()], false)?.into_iter().next();
    found.ok_or_else(|| CliError::usage(format!("{name} holds no checkpoints")))
}

fn info(args: &InfoArgs) -> Result<Exit, CliError> {
    let mut records = Vec::new();
    for path in files(&args.checkpoints, false)? {
        let header = exchange::load_header(&path).map_err(failed)?;
        let form = Form::of_file(&path).map_err(failed)?;
        if args.json {
            records.push(info_json(&path, form, &header));
        } else {
            print(&info_text(&path, form, &header))?;
        }
    }
    if args.json {
        print(&format!("{:#}\n", Value::from(records)))?;
    }
    Ok(Exit::Success)
}

fn info_json(path: &Path, form: Form, header: &CheckpointHeader) -> Value {
    json!({
        "path": path,
        "form": form_name(form),
        "format_version": header.format_version,
        "program_version": header.program_version,
        "weights_only": header.training.is_none(),
        "embedder": header.embedder,
        "embed_dim": header.embed_dim,
        "target_nouns": header.has_nouns().then_some(header.vocabulary().len()),
        "num_invalid_target_nouns": header.num_invalid_target_nouns,
        "cfg_flat": header.cfg_flat,
        "data_config": header.data_config,
        "training": header.training,
    })
}

fn form_name(form: Form) -> &'static str {
    match form {
        Form::Native => "native",
        Form::Original => "original",
    }
}

fn info_text(path: &Path, form: Form, header: &CheckpointHeader) -> String {
    let flat = |name: &str| match header.cfg_flat.get(name) {
        Some(Value::String(text)) => text.clone(),
        Some(value) => value.to_string(),
        None => "?".to_owned(),
    };
    let mut lines = vec![
        path.display().to_string(),
        format!(
            "  form       {} {}",
            form_name(form),
            if header.training.is_some() {
                "with training state"
            } else {
                "weights only"
            }
        ),
        format!(
            "  embedder   {} (F = {})",
            flat("embedder_spec"),
            header.embed_dim
        ),
        format!(
            "  model      {}: width {}, {} layers, {} heads, prefix {}",
            flat("model"),
            flat("hidden_dim"),
            flat("num_layers"),
            flat("num_heads"),
            flat("mlp_seq_len")
        ),
    ];
    let target = |name: &str| {
        header
            .target_config
            .get(name)
            .map_or(0, |value| value.as_u64().unwrap_or_default())
    };
    lines.push(if header.has_nouns() {
        format!(
            "  nouns      {}, {} tokens, at most {} per noun",
            header.vocabulary().len(),
            target("vocab_size"),
            target("token_length")
        )
    } else {
        "  nouns      none: give it some with `novic checkpoint fix`".to_owned()
    });
    if let Some(training) = &header.training {
        let state = |name: &str| training["train_loop_state"][name].clone();
        let number = |name: &str| state(name).as_f64().unwrap_or(f64::NAN);
        let finished = |name: &str| number(name) - 1.0;
        lines.push(format!(
            "  trained    {} chunks, {} batches, {} samples on {}",
            finished("chunk_id"),
            finished("batch_id"),
            finished("sample_id"),
            flat("embedding_dataset"),
        ));
        lines.push(format!(
            "  averages   loss {:.4}, token top-1 {:.2} %",
            number("ewa_train_loss"),
            number("ewa_train_top1") * 100.0
        ));
    }
    lines.join("\n") + "\n"
}

fn convert(args: &ConvertArgs) -> Result<Exit, CliError> {
    let input = file(&args.input)?;
    let form = Form::of_name(&args.output).ok_or_else(|| {
        CliError::usage(format!(
            "{} has no known ending: .safetensors is the native form, .train and .model are the \
             original's",
            args.output.display()
        ))
    })?;
    if args.output.exists() && !args.force {
        return Err(CliError::usage(format!(
            "{} exists; --force replaces it",
            args.output.display()
        )));
    }
    if args.half && form == Form::Original {
        return Err(CliError::usage(
            "the original's form has single precision only: leave out --half, or write \
             .safetensors",
        ));
    }
    let mut checkpoint = exchange::load(&input).map_err(failed)?;
    let is_model = args
        .output
        .extension()
        .is_some_and(|ending| ending == "model");
    if args.weights_only || args.half || is_model {
        checkpoint = weights_only(checkpoint);
    }
    if args.half {
        checkpoint = checkpoint.half().map_err(failed)?;
    }
    exchange::save(&args.output, &checkpoint, form).map_err(failed)?;
    let bytes = std::fs::metadata(&args.output).map_err(failed)?.len();
    if args.json {
        let record = json!({
            "input": input,
            "output": args.output,
            "form": form_name(form),
            "weights_only": checkpoint.header.training.is_none(),
            "bytes": bytes,
        });
        return print(&format!("{record:#}\n"));
    }
    print(&format!("{}: {bytes} bytes\n", args.output.display()))
}

/// The same without what only resuming needs.
fn weights_only(checkpoint: Checkpoint) -> Checkpoint {
    let tensors = checkpoint.weights();
    let mut header = checkpoint.header;
    header.training = None;
    header.extra.remove(exchange::ORIGINAL);
    Checkpoint { header, tensors }
}

fn verify(args: &VerifyArgs) -> Result<Exit, CliError> {
    let mut records = Vec::new();
    let mut bad = 0;
    for path in files(&args.checkpoints, true)? {
        let problem = exchange::verify(&path).err().map(|error| error.to_string());
        bad += usize::from(problem.is_some());
        if !args.json {
            let verdict = match &problem {
                None => "ok".to_owned(),
                Some(problem) => format!("bad: {problem}"),
            };
            print(&format!("{}: {verdict}\n", path.display()))?;
        }
        records.push(json!({"path": path, "ok": problem.is_none(), "problem": problem}));
    }
    if args.json {
        print(&format!("{:#}\n", Value::from(records)))?;
    }
    Ok(if bad > 0 { Exit::Failed } else { Exit::Success })
}

fn diff(args: &DiffArgs) -> Result<Exit, CliError> {
    let paths = [file(&args.first)?, file(&args.second)?];
    let first = exchange::load(&paths[0]).map_err(failed)?;
    let second = exchange::load(&paths[1]).map_err(failed)?;
    let config: Config = serde_json::from_value(second.header.config.clone()).map_err(failed)?;
    let keys = compare::differences(&first.header.cfg_flat, &config, Action::Train);
    let only = |a: &CheckpointHeader, b: &CheckpointHeader| -> Vec<String> {
        let names = a
            .cfg_flat
            .keys()
            .filter(|name| !b.cfg_flat.contains_key(*name));
        names.cloned().collect()
    };
    let (only_first, only_second) = (
        only(&first.header, &second.header),
        only(&second.header, &first.header),
    );
    let nouns = first.header.vocabulary() != second.header.vocabulary();
    let target = first.header.target_config != second.header.target_config;
    let tensors = tensor_differences(&first, &second)?;
    let relevant = keys.iter().any(|key| key.weight < Weight::Irrelevant);
    let different = relevant || nouns || target || !tensors.is_empty();
    if args.json {
        let record = json!({
            "keys": keys.iter().map(|difference| json!({
                "key": difference.key.path,
                "weight": difference.weight.to_string(),
                "first": difference.loaded,
                "second": difference.used,
                "default": (difference.key.default)(),
            })).collect::<Vec<_>>(),
            "only_first": only_first,
            "only_second": only_second,
            "other_nouns": nouns,
            "other_target_config": target,
            "tensors": tensors,
        });
        print(&format!("{record:#}\n"))?;
    } else {
        let mut lines = Vec::new();
        for difference in &keys {
            let (weight, path) = (difference.weight, difference.key.path);
            let (loaded, used) = (&difference.loaded, &difference.used);
            lines.push(format!("{weight}: {path}: {loaded} | {used}"));
        }
        for (names, side) in [(&only_first, "first"), (&only_second, "second")] {
            for name in names {
                let known = key_by_flat_name(name).is_some();
                let hint = if known {
                    ""
                } else {
                    " (unknown to this program)"
                };
                lines.push(format!("only in the {side}: {name}{hint}"));
            }
        }
        for (differs, what) in [(nouns, "target nouns"), (target, "target configuration")] {
            if differs {
                lines.push(format!("{what} differ"));
            }
        }
        for (name, difference) in &tensors {
            let text = difference
                .as_str()
                .map_or_else(|| difference.to_string(), str::to_owned);
            lines.push(format!("{name}: {text}"));
        }
        if lines.is_empty() {
            lines.push("identical".to_owned());
        }
        print(&(lines.join("\n") + "\n"))?;
    }
    Ok(if different {
        Exit::Failed
    } else {
        Exit::Success
    })
}

/// Weights that differ: by how much at most, or how.
fn tensor_differences(
    first: &Checkpoint,
    second: &Checkpoint,
) -> Result<Map<String, Value>, CliError> {
    let mut names: Vec<&String> = first.tensors.keys().chain(second.tensors.keys()).collect();
    names.retain(|name| {
        !RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
    });
    names.sort();
    names.dedup();
    let mut differences = Map::new();
    for name in names {
        let difference = match (first.tensors.get(name), second.tensors.get(name)) {
            (Some(a), Some(b)) if a.dims() != b.dims() => {
                Some(json!(format!("{:?} | {:?}", a.dims(), b.dims())))
            }
            (Some(a), Some(b)) => {
                let values = |tensor: &candle_core::Tensor| -> candle_core::Result<Vec<f32>> {
                    tensor.flatten_all()?.to_vec1()
                };
                let (a, b) = (values(a).map_err(failed)?, values(b).map_err(failed)?);
                let pairs = a.iter().zip(&b).filter(|(a, b)| a.to_bits() != b.to_bits());
                let largest = pairs.map(|(a, b)| (a - b).abs()).reduce(f32::max);
                largest.map(|largest| json!(largest))
            }
            (Some(_), None) => Some(json!("only in the first")),
            (None, _) => Some(json!("only in the second")),
        };
        if let Some(difference) = difference {
            differences.insert(name.clone(), difference);
        }
    }
    Ok(differences)
}

fn fix(args: &FixArgs) -> Result<Exit, CliError> {
    let settings = repair::Settings {
        outputs: args.outputs.clone(),
        cache_dir: args.cache_dir.clone(),
        vocabulary: (args.vocab.clone()).map(|path| (path, args.vocab_threshold)),
        only: args.only.clone(),
        dry_run: args.dry_run,
    };
    let repairs = repair::run(&settings).map_err(failed)?;
    let skipped = repairs.iter().any(|(_, repair)| repair.is_warning());
    if args.json {
        let records: Vec<Value> = repairs
            .iter()
            .map(|(path, repair)| json!({"path": path, "outcome": repair.name(), "reason": repair.to_string()}))
            .collect();
        print(&format!("{:#}\n", Value::from(records)))?;
    } else {
        for (path, repair) in &repairs {
            print(&format!("{}: {repair}\n", path.display()))?;
        }
        print(&(repair::summary(&repairs, args.dry_run) + "\n"))?;
    }
    Ok(if skipped {
        Exit::SomeInputsFailed
    } else {
        Exit::Success
    })
}
