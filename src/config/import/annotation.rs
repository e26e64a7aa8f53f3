//! `gpt_annotation.py`, `dataset_annotation.py` and `specificity_scores.py`: they
//! are no stages. What the first one was told becomes `[annotate.gpt]`, for
//! `novic annotate gpt`; for the others, the command that does the same is named.

use std::fmt::Write as _;

use clap::{Parser, ValueEnum};

use super::script::{Command, Program, quoted};
use crate::config::problem::Problem;
use crate::config::schema::AnnotateGpt;
use crate::config::schema::{Section, document_key};
use crate::config::show::{toml_text, toml_value};

/// What a command that is no stage becomes.
#[derive(Debug, Clone)]
pub(super) struct Annotation {
    /// Name of an experiment that has nothing else.
    pub name: &'static str,
    /// What was imported.
    origin: String,
    /// The command that does the same here; `THIS` is the file.
    command: String,
    /// Values of `[annotate.gpt]`.
    values: Vec<(&'static str, serde_json::Value)>,
    /// What is to be said about it.
    notes: Vec<String>,
}

/// What `gpt_annotation.py` does.
#[derive(Debug, Clone, Copy, ValueEnum)]
#[value(rename_all = "snake_case")]
enum Action {
    NewState,
    Transfer,
    Annotate,
    AnnotateBatch,
    SaveClasses,
}

/// The options of `gpt_annotation.py`.
#[derive(Debug, Parser)]
#[command(
    name = "gpt_annotation.py",
    no_binary_name = true,
    rename_all = "snake_case"
)]
#[command(disable_help_flag = true)]
struct GptOptions {
    #[arg(value_enum, value_name = "ACTION")]
    first: Option<Action>,
    #[arg(long, value_enum, conflicts_with = "first")]
    action: Option<Action>,
    #[arg(long)]
    state: String,
    #[arg(long)]
    images_dir: Option<String>,
    #[arg(long)]
    images_small_dir: Option<String>,
    #[arg(long)]
    batch_dir: Option<String>,
    #[arg(long)]
    model: Option<String>,
    #[arg(long, num_args = 2)]
    opinions: Vec<u64>,
    #[arg(long)]
    confidence: Option<f64>,
    #[arg(long)]
    from_state: Option<String>,
    #[arg(long, num_args = 1..)]
    predictions: Vec<String>,
    #[arg(long)]
    topk: Option<usize>,
    #[arg(long)]
    min_nouns: Option<usize>,
    #[arg(long)]
    request_queue_mib: Option<u64>,
    #[arg(long)]
    max_batch_requests: Option<usize>,
    #[arg(long)]
    max_batch_mib: Option<u64>,
    #[arg(long)]
    max_files_mib: Option<u64>,
    #[arg(long)]
    max_pending_batches: Option<usize>,
    #[arg(long)]
    max_pending_ktokens: Option<u64>,
    #[arg(long)]
    unbatch_thres: Option<usize>,
    #[arg(long)]
    classes: Option<String>,
}

/// The options of `dataset_annotation.py`.
#[derive(Debug, Parser)]
#[command(
    name = "dataset_annotation.py",
    no_binary_name = true,
    rename_all = "snake_case"
)]
#[command(disable_help_flag = true)]
struct HumanOptions {
    #[arg(long, default_value = "datasets/test/images")]
    image_dir: String,
    #[arg(long, default_value = "datasets/test/annotations/annotation.json")]
    annotations_file: String,
    #[arg(long, default_value_t = 2)]
    k: usize,
    #[arg(long, num_args = 1..)]
    gen_cfg: Vec<String>,
    #[arg(long, num_args = 1..)]
    predictions_dirs: Vec<String>,
    #[arg(long, num_args = 1..)]
    predictions_files: Vec<String>,
}

/// The options of `specificity_scores.py`.
#[derive(Debug, Parser)]
#[command(
    name = "specificity_scores.py",
    no_binary_name = true,
    rename_all = "snake_case"
)]
#[command(disable_help_flag = true)]
struct SpecificityOptions {
    #[arg(
        long,
        default_value = "extras/specificity/_specificity_annotations.json"
    )]
    specificity_file: String,
    #[arg(long)]
    pred_dir: String,
    #[arg(long)]
    ann_file: String,
}

/// What a command becomes, if it is one of these.
pub(super) fn annotation(command: &Command, problems: &mut Vec<Problem>) -> Option<Annotation> {
    let read = match command.program {
        Program::AnnotateGpt => GptOptions::try_parse_from(&command.arguments)
            .map_err(|error| error.to_string())
            .and_then(|options| of_model(command, options)),
        Program::AnnotateHuman => HumanOptions::try_parse_from(&command.arguments)
            .map_err(|error| error.to_string())
            .and_then(|options| of_people(command, &options)),
        Program::Specificity => SpecificityOptions::try_parse_from(&command.arguments)
            .map_err(|error| error.to_string())
            .map(|options| of_scores(command, &options)),
        Program::Train | Program::Infer => return None,
    };
    match read {
        Ok(annotation) => Some(annotation),
        Err(reason) => {
            let lines = reason
                .lines()
                .map(str::trim)
                .take_while(|line| !line.is_empty());
            let reason = lines.collect::<Vec<_>>().join(" ");
            let reason = reason.trim_start_matches("error: ");
            let program = command.program.name();
            problems.push(Problem::error(format!("{program}: {reason}")));
            None
        }
    }
}

fn of_model(command: &Command, options: GptOptions) -> Result<Annotation, String> {
    let action = options
        .action
        .or(options.first)
        .ok_or("no action is given: new_state, transfer, annotate, annotate_batch, save_classes")?;
    let state = &options.state;
    let word = |text: &str| quoted(text).into_owned();
    let (mut mode, mut notes) = (None, Vec::new());
    let here = match action {
        Action::NewState => "novic annotate gpt new --config THIS".to_owned(),
        Action::Annotate => {
            mode = Some("single");
            "novic annotate gpt run --config THIS".to_owned()
        }
        Action::AnnotateBatch => {
            mode = Some("batch");
            "novic annotate gpt run --config THIS".to_owned()
        }
        Action::SaveClasses => {
            let classes = options.classes.as_deref().ok_or("--classes is missing")?;
            format!(
                "novic annotate export {} --out {}",
                word(state),
                word(classes)
            )
        }
        Action::Transfer => {
            let from = options
                .from_state
                .as_deref()
                .ok_or("--from_state is missing")?;
            format!(
                "novic annotate gpt transfer {} --from {}",
                word(state),
                word(from)
            )
        }
    };
    if options.request_queue_mib.is_some() {
        notes.push("--request_queue_mib: requests are not held in memory here".to_owned());
    }
    let mut values: Vec<(&'static str, serde_json::Value)> = vec![("state", state.clone().into())];
    let mut set = |name, value: Option<serde_json::Value>| {
        values.extend(value.map(|value| (name, value)));
    };
    set("images", options.images_dir.map(Into::into));
    set("images_small", options.images_small_dir.map(Into::into));
    set("batch_dir", options.batch_dir.map(Into::into));
    let some = |list: bool, value: serde_json::Value| list.then_some(value);
    set(
        "predictions",
        some(!options.predictions.is_empty(), options.predictions.into()),
    );
    set("topk", options.topk.map(Into::into));
    set("model", options.model.map(Into::into));
    set(
        "opinions",
        some(!options.opinions.is_empty(), options.opinions.into()),
    );
    set("confidence", options.confidence.map(Into::into));
    set("min_nouns", options.min_nouns.map(Into::into));
    set("mode", mode.map(Into::into));
    set(
        "max_batch_requests",
        options.max_batch_requests.map(Into::into),
    );
    set("max_batch_mib", options.max_batch_mib.map(Into::into));
    set("max_files_mib", options.max_files_mib.map(Into::into));
    set(
        "max_pending_batches",
        options.max_pending_batches.map(Into::into),
    );
    set(
        "max_pending_ktokens",
        options.max_pending_ktokens.map(Into::into),
    );
    set("unbatch_thres", options.unbatch_thres.map(Into::into));
    let mut checked = AnnotateGpt::default();
    for (name, value) in &values {
        checked
            .set(name, value)
            .map_err(|error| format!("--{name}: {error}"))?;
    }
    Ok(Annotation {
        name: "annotation",
        origin: command.text.clone(),
        command: here,
        values,
        notes,
    })
}

fn of_people(command: &Command, options: &HumanOptions) -> Result<Annotation, String> {
    let paths: Vec<&String> = options
        .predictions_dirs
        .iter()
        .chain(&options.predictions_files)
        .collect();
    if options.predictions_dirs.is_empty() == options.predictions_files.is_empty() {
        return Err(
            "exactly one of --predictions_dirs and --predictions_files is needed".to_owned(),
        );
    }
    let words = |list: &mut dyn Iterator<Item = &String>| {
        list.map(|text| quoted(text).into_owned())
            .collect::<Vec<_>>()
            .join(" ")
    };
    let mut here = format!(
        "novic annotate human --images {} --annotations {} -k {} --predictions {}",
        quoted(&options.image_dir),
        quoted(&options.annotations_file),
        options.k,
        words(&mut paths.into_iter())
    );
    if !options.gen_cfg.is_empty() {
        here.push_str(" --gen-cfg ");
        here.push_str(&words(&mut options.gen_cfg.iter()));
    }
    Ok(Annotation {
        name: "annotation",
        origin: command.text.clone(),
        command: here,
        values: Vec::new(),
        notes: Vec::new(),
    })
}

fn of_scores(command: &Command, options: &SpecificityOptions) -> Annotation {
    let here = format!(
        "novic specificity --specificity-file {} --pred-dir {} --ann-file {}",
        quoted(&options.specificity_file),
        quoted(&options.pred_dir),
        quoted(&options.ann_file)
    );
    let notes = [
        "--specificity-file embedded takes the list of this program: the original's is not part of it",
        "--style compat prints what the original prints, letter by letter",
    ];
    Annotation {
        name: "specificity",
        origin: command.text.clone(),
        command: here,
        values: Vec::new(),
        notes: notes.map(str::to_owned).to_vec(),
    }
}

/// The part of a file that is about these commands.
pub(super) fn text(annotations: &[Annotation]) -> String {
    let mut text = String::new();
    let mut values: Vec<(&'static str, serde_json::Value)> = Vec::new();
    for annotation in annotations {
        let _ = writeln!(text, "\n# Imported from\n#   {}", annotation.origin);
        let _ = writeln!(text, "# Its command here is\n#   {}", annotation.command);
        for note in &annotation.notes {
            let _ = writeln!(text, "# {note}");
        }
        for (name, value) in &annotation.values {
            match values.iter_mut().find(|(known, _)| known == name) {
                Some((_, known)) if known == value => {}
                // Several commands share the file: the first one is right, and
                // the others say what they want instead.
                Some(_) => {
                    let _ = writeln!(text, "# with {name} = {}", toml_value(value));
                }
                None => values.push((name, value.clone())),
            }
        }
    }
    if !values.is_empty() {
        text.push_str("\n[annotate.gpt]\n");
    }
    for (name, value) in &values {
        let key = document_key(&format!("annotate.gpt.{name}"));
        let value = key.map_or_else(|| toml_value(value), |key| toml_text(value, key.kind));
        let _ = writeln!(text, "{name} = {value}");
    }
    text
}
