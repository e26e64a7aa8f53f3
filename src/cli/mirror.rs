//! How stages are called at Weights & Biases, by the names of the original's
//! project, configuration keys and job types, and how far their mirrors are.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use crate::config::Experiment;
use crate::config::schema::{Config, WandbMode};
use crate::runner::{Plan, Selection, Step, StepState};
use crate::tracking::wandb::{
    Continues, Description, MirrorState, Say, Settings, Wanted, count_unsent,
};

/// Actions whose runs the original mirrored.
const MIRRORED: [&str; 5] = ["train", "eval", "eval_cls", "eval_cls_decoding", "infer"];

/// Whether stages of a kind are mirrored.
pub(super) fn is_mirrored(kind: &str) -> bool {
    MIRRORED.contains(&kind)
}

/// The stages of a plan that are to be mirrored when they run. `outputs` is the
/// directory of what the run makes for people.
pub(super) fn wanted(
    experiment: &Experiment,
    plan: &Plan,
    selection: &Selection,
    outputs: &Path,
) -> Vec<Wanted> {
    let again = |step: &Step| {
        let named = |name: &String| *name == step.stage || *name == step.name;
        selection.force_all || selection.force.iter().any(named)
    };
    let mut found: Vec<Wanted> = Vec::new();
    for step in plan.steps() {
        let Some(stage) = experiment.stage(&step.stage) else {
            continue;
        };
        let up_to_date = matches!(step.state, StepState::UpToDate(_)) && !again(step);
        let mode = stage.config.tracking.wandb.mode;
        if !is_mirrored(&step.kind) || up_to_date || mode == WandbMode::Off {
            continue;
        }
        let mut config = stage.config.clone();
        if let Some(seed) = step.seed {
            config.run.seed = seed;
        }
        let resumes = matches!(step.state, StepState::Resumable(_) | StepState::Failed(_));
        let continues = match resumes && !again(step) {
            true => Continues::PartialWork,
            false => Continues::No,
        };
        let id = step.id.as_ref();
        let key = id.map(|id| id.key().to_string()).unwrap_or_default();
        found.push(of_stage(
            &step.name, &step.kind, key, &config, outputs, continues,
        ));
    }
    tell_apart(&mut found);
    found
}

/// A stage with its whole configuration.
pub(super) fn of_stage(
    name: &str,
    kind: &str,
    key: String,
    config: &Config,
    outputs: &Path,
    continues: Continues,
) -> Wanted {
    let tracking = &config.tracking;
    let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let run_id = given(&tracking.wandb.run_id);
    let mut tags: Vec<String> = tracking
        .tags
        .iter()
        .flat_map(|tags| tags.split(','))
        .map(|tag| tag.trim().to_owned())
        .filter(|tag| !tag.is_empty())
        .collect();
    tags.sort();
    tags.dedup();
    Wanted {
        stage: name.to_owned(),
        key: key.clone(),
        offline: tracking.wandb.mode == WandbMode::Offline,
        continues,
        settings: Settings::from(&tracking.wandb),
        run: Description {
            drawn: run_id.is_none(),
            id: run_id.unwrap_or_else(Description::draw_id),
            project: tracking.project.clone(),
            entity: given(&tracking.entity),
            name: given(&tracking.name),
            group: given(&tracking.group),
            job_type: given(&tracking.job_type).or_else(|| Some(kind.to_owned())),
            tags,
            notes: given(&tracking.notes),
            config: flat_config(config, kind, &key, outputs),
            resume: tracking.wandb.resume.map(Into::into),
        },
    }
}

/// An id that several stages share would make one run of them.
fn tell_apart(wanted: &mut [Wanted]) {
    let ids: Vec<String> = wanted.iter().map(|wanted| wanted.run.id.clone()).collect();
    for wanted in wanted {
        let id = &wanted.run.id;
        if ids.iter().filter(|other| *other == id).count() > 1 {
            let name: String = wanted
                .stage
                .chars()
                .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
                .collect();
            wanted.run.id = format!("{id}-{name}");
        }
    }
}

/// The configuration by the original's names, with lists as lists, and what
/// joins trainings with their evaluations.
fn flat_config(config: &Config, kind: &str, key: &str, outputs: &Path) -> Map<String, Value> {
    let mut flat = config.flat();
    flat.retain(|name, _| name != "wandb" && !name.starts_with("wandb_"));
    flat.insert("action".to_owned(), json!(kind));
    flat.insert("hydra_dir".to_owned(), json!(outputs));
    let name = outputs.file_name().unwrap_or_default().to_string_lossy();
    flat.insert("hydra_name".to_owned(), json!(name));
    // Rows of evaluations name a model by the folder that it lies in.
    flat.insert("novic_key".to_owned(), json!(key));
    flat
}

/// How far the mirrors of the run in `dir` are, for people.
pub(super) fn text(dir: &Path) -> String {
    let states = match MirrorState::of_run(dir) {
        Ok(states) => states,
        Err(error) => return format!("{:>11}  {error}\n", "wandb"),
    };
    let told = states.iter().map(|state| {
        let sent = state.progress.acknowledged;
        let unsent = match count_unsent(state) {
            Ok(Some(0)) | Ok(None) if state.is_settled() => "complete".to_owned(),
            Ok(count) => format!("{} to send", count.unwrap_or(0)),
            Err(error) => error.to_string(),
        };
        let place = match &state.progress.offline {
            Some(dir) => dir.display().to_string(),
            None => state.page(),
        };
        let trouble = state.progress.refused.as_ref();
        let trouble = trouble.or(state.progress.last_error.as_ref());
        let trouble = trouble.map(|text| format!(" ({text})")).unwrap_or_default();
        format!(
            "{:>11}  {}: {} rows and lines sent, {unsent}: {place}{trouble}\n",
            "wandb",
            state.stage,
            sent.history + sent.events + sent.log
        )
    });
    told.collect()
}

/// The same for programs.
pub(super) fn to_json(dir: &Path) -> Value {
    let states = MirrorState::of_run(dir).unwrap_or_default();
    let states = states.iter().map(|state| {
        json!({
            "stage": state.stage,
            "run": state.run.id,
            "page": state.page(),
            "unsent": count_unsent(state).ok().flatten(),
            "progress": state.progress,
        })
    });
    states.collect()
}

/// Says things on standard error.
pub(super) fn say_on_stderr() -> Say {
    Arc::new(|text: &str| eprintln!("{text}"))
}
