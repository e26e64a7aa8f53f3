//! `train.py key=value …`.

use serde_json::Value;

use super::at_word;
use super::draft::{DICTIONARY, Draft, Drafted};
use super::script::{Command, VARIABLE};
use crate::config::hydra;
use crate::config::layer::mirror_switch;
use crate::config::nearest::nearest;
use crate::config::node::{Node, Raw, word_int};
use crate::config::overrides::{self, Override};
use crate::config::problem::Problem;
use crate::config::schema::{self, Action, Key, key_by_flat_name};
use crate::config::source::{Location, Source, SourceKind};
use crate::config::value::{Converted, convert};

/// Keys that have no effect in the program.
const IGNORED: &[&str] = &[
    "run.cudnn_bench",
    "embedder.compile",
    "embedder.optimum",
    "model.compile",
    "model.nested",
];

/// The stage that a command line describes.
pub(super) fn draft(command: &Command, problems: &mut Vec<Problem>) -> Option<Draft> {
    let mut kept = Vec::new();
    let mut notes = Vec::new();
    for word in &command.arguments {
        let key = word.trim_start_matches(['+', '~']);
        if key.starts_with("hydra.") || key.starts_with("hydra/") {
            notes.push(format!(
                "{word}: runs are kept in .novic/runs and outputs here"
            ));
        } else if matches!(word.as_str(), "-m" | "--multirun") {
            let problem = Problem::error("a sweep is no single experiment");
            let problem = at_word(problem, word);
            problems
                .push(problem.help("import one point of it, then vary keys with `novic sweep`"));
        } else if word.starts_with('-') {
            let problem = at_word(Problem::error("an option of the framework"), word);
            problems.push(problem.help("leave it out"));
        } else {
            kept.push(word.as_str());
        }
    }
    // Word by word, so that all mistakes are told.
    let mut accepted = Vec::new();
    for word in kept {
        accepted.push(word);
        if let Err(refused) = hydra::changes(&accepted, |key| key_by_flat_name(key).is_some()) {
            problems.push(refusal(&refused));
            accepted.pop();
        }
    }
    let mut draft = Draft::new(command.text.clone(), Action::Train);
    draft.notes = notes;
    for word in accepted {
        let Ok(change) = overrides::parse(word) else {
            continue;
        };
        let source = Source::new(SourceKind::Argument, word);
        let name = key_text(&change);
        let Some(key) = key_by_flat_name(&name) else {
            problems.push(left_out(&name, Location::new(&source, change.key_span)));
            continue;
        };
        match change.value {
            None => {
                draft.values.remove(key.path);
                draft
                    .notes
                    .push(format!("~{name}: {} keeps its default", key.path));
            }
            Some(node) => take(&mut draft, key, &name, &node, &source, problems),
        }
    }
    complete(&mut draft);
    Some(draft)
}

fn key_text(change: &Override) -> String {
    let names: Vec<_> = change.key.iter().map(|part| part.name.as_str()).collect();
    names.join(".")
}

/// A key that this program does not have is left out.
pub(super) fn left_out(name: &str, place: Location) -> Problem {
    Problem::warning(format!("there is no key `{name}` here; it is left out")).at(place, "")
}

fn refusal(refused: &hydra::Refused) -> Problem {
    let problem = Problem::error(refused.to_string());
    match refused {
        hydra::Refused::Syntax { text, error } => {
            let source = Source::new(SourceKind::Argument, text.as_str());
            let place = Location::new(&source, error.span.clone());
            Problem::error(error.message.clone())
                .at(place, "")
                .help(error.help.clone())
        }
        hydra::Refused::UnknownKey(name) => {
            let title = format!("the original has no key `{name}`");
            let problem = at_word(Problem::error(title), name);
            match nearest(name, schema::keys().iter().filter_map(|key| key.flat)) {
                Some(near) => problem.help(format!("did you mean `{near}`?")),
                None => problem.help("leave it out"),
            }
        }
        hydra::Refused::KnownKey(name) => at_word(problem, name),
        hydra::Refused::TooManyPoints(_) => problem,
    }
}

/// Takes over a value of the original.
pub(super) fn take(
    draft: &mut Draft,
    key: &'static Key,
    name: &str,
    node: &Node,
    source: &std::sync::Arc<Source>,
    problems: &mut Vec<Problem>,
) {
    let value = match mirror_switch(key, node, true)
        .or_else(|| first_seed(key, node))
        .map_or_else(|| convert(node, key), |v| Ok(Converted::Value(v)))
    {
        Ok(Converted::Value(value)) => value,
        // `${…}` refers to keys by their flat names, which files accept too.
        Ok(Converted::Deferred) => node.to_json(),
        Err(faults) => {
            for fault in faults {
                let problem = Problem::error(format!("{name}: {}", fault.title))
                    .at(Location::new(source, fault.span), fault.note);
                let problem = fault.help.into_iter().fold(problem, Problem::help);
                problems.push(match key.path {
                    "tracking.wandb.mode" => problem.help("the original takes True or False"),
                    _ => problem,
                });
            }
            return;
        }
    };
    if key.path == "run.action" {
        match value.as_str().and_then(|name| name.parse::<Action>().ok()) {
            Some(action) => draft.action = action,
            None => {
                let place = Location::new(source, node.span.clone());
                let problem = Problem::error("what is to be done is not known").at(place, "");
                problems.push(problem.help("write the name of the action out"));
            }
        }
        return;
    }
    if key.path == "data.save_cache" {
        draft.output = value
            .as_str()
            .filter(|text| !text.is_empty())
            .map(str::to_owned);
        return;
    }
    let (value, mut note) = without_source(key, value);
    if IGNORED.contains(&key.path) {
        note = Some("has no effect here".to_owned());
    }
    if first_seed(key, node).is_some() {
        note = Some("the original takes values below 1 as 1".to_owned());
    }
    if value.to_string().contains(VARIABLE) {
        note = Some("a variable of the environment, which must be set".to_owned());
    }
    draft.values.insert(key.path, Drafted { value, note });
}

/// The original takes seeds below 1 as 1.
fn first_seed(key: &Key, node: &Node) -> Option<Value> {
    let seed = match &node.raw {
        Raw::Int(seed) => *seed,
        Raw::Word(word) => word_int(word)?,
        _ => return None,
    };
    (key.path == "run.seed" && seed < 1).then(|| Value::from(1))
}

/// `$SOURCE/…` is relative to the working directory here.
fn without_source(key: &Key, value: Value) -> (Value, Option<String>) {
    if value == (key.default)() {
        return (value, None);
    }
    let mut moved = false;
    let mut shorten = |value: Value| match value.as_str().and_then(|t| t.strip_prefix("$SOURCE/")) {
        Some(rest) => {
            moved = true;
            Value::from(rest)
        }
        None => value,
    };
    let value = match value {
        Value::Array(items) => items.into_iter().map(&mut shorten).collect(),
        value => shorten(value),
    };
    let note = moved
        .then(|| "$SOURCE, the directory of the program, is the working directory here".to_owned());
    (value, note)
}

/// What the original does without being told, and what is different here.
pub(super) fn complete(draft: &mut Draft) {
    use Action::{Eval, EvalCls, EvalClsDecoding, Infer, Train};
    if schema::key("nouns.vocab_path").is_some_and(|key| draft.reads(key))
        && !draft.values.contains_key("nouns.vocab_path")
    {
        let note = Some("not part of the program: novic hub get object-nouns".to_owned());
        let value = Value::from(DICTIONARY);
        draft
            .values
            .insert("nouns.vocab_path", Drafted { value, note });
    }
    if matches!(
        draft.action,
        Train | Eval | EvalCls | EvalClsDecoding | Infer
    ) && !draft.values.contains_key("tracking.wandb.mode")
    {
        let note = "metrics stay in the local record; tracking.wandb.mode = \"online\" mirrors them as the original does by itself";
        draft.notes.push(note.to_owned());
    }
    if draft.action == Action::FixCheckpoints {
        let note = "without an experiment: novic checkpoint fix --dry-run, then without --dry-run";
        draft.notes.push(note.to_owned());
    }
    if let Some(output) = &draft.output {
        draft.notes.push(format!(
            "{output}: outputs lie in the store here; later stages take them with `inputs`"
        ));
    }
    if draft
        .values
        .get("run.deterministic")
        .is_some_and(|d| d.value == Value::Bool(true))
    {
        let note = Some("every run is reproducible here; this makes it independent of the number of threads too".to_owned());
        draft.values.insert(
            "run.deterministic",
            Drafted {
                value: true.into(),
                note,
            },
        );
    }
}
