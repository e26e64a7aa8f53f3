//! Which stages are mirrored to Weights & Biases, and how they are called there:
//! by the names of the original's project, configuration keys and job types.

use std::collections::HashSet;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use serde_json::{Map, Value, json};

use crate::config::schema::{Config, WandbMode, WandbResume};
use crate::config::{Experiment, SourceKind, StageSpec};
use crate::runner::plan::{Plan, StepState};
use crate::runner::selection::Selection;
use crate::tracking::wandb::{Continues, Description, Mirrors, Say, Settings, Wanted};

/// Actions whose runs the original mirrored.
const MIRRORED: [&str; 5] = ["train", "eval", "eval_cls", "eval_cls_decoding", "infer"];

/// Whether stages of a kind are mirrored.
pub fn is_mirrored(kind: &str) -> bool {
    MIRRORED.contains(&kind)
}

/// The stages of a plan that are to be mirrored when they run. `outputs` is the
/// directory of what the run makes for people.
pub fn wanted(
    experiment: &Experiment,
    plan: &Plan,
    selection: &Selection,
    outputs: &Path,
) -> Vec<Wanted> {
    let mut found: Vec<Wanted> = Vec::new();
    for step in plan.steps() {
        let Some(stage) = experiment.stage(&step.stage) else {
            continue;
        };
        let up_to_date = matches!(step.state, StepState::UpToDate(_)) && !selection.forces(step);
        let mode = stage.config.tracking.wandb.mode;
        if !is_mirrored(&step.kind) || up_to_date || mode == WandbMode::Off {
            continue;
        }
        let mut config = stage.config.clone();
        if let Some(seed) = step.seed {
            config.run.seed = seed;
        }
        let resumes = matches!(step.state, StepState::Resumable(_) | StepState::Failed(_));
        let continues = match resumes && !selection.forces(step) {
            true => Continues::PartialWork,
            false => Continues::No,
        };
        let id = step.id.as_ref();
        let key = id.map(|id| id.key().to_string()).unwrap_or_default();
        let wanted = of_stage(&step.name, &step.kind, key, &config, outputs, continues);
        found.push(Wanted {
            strict: is_strict(stage),
            ..wanted
        });
    }
    tell_apart(&mut found);
    found
}

/// Keys of the steps of a plan that are mirrored, without those that go on with
/// the mirrors of earlier runs themselves: what such runs left unsent of them is
/// to be sent late.
pub fn sent_late(experiment: &Experiment, plan: &Plan, wanted: &[Wanted]) -> HashSet<String> {
    let steps = plan.steps().iter().filter(|step| {
        is_mirrored(&step.kind) && experiment.stage(&step.stage).is_some_and(is_online)
    });
    let mut keys: HashSet<String> = steps
        .filter_map(|step| Some(step.id.as_ref()?.key().to_string()))
        .collect();
    for wanted in wanted {
        if wanted.continues == Continues::PartialWork {
            keys.remove(&wanted.key);
        }
    }
    keys
}

/// Whether a stage must not run without its mirror: somebody said just now
/// whether the service has its run.
fn is_strict(stage: &StageSpec) -> bool {
    let wandb = &stage.config.tracking.wandb;
    let place = stage.origins.location("tracking.wandb.resume");
    wandb.strict
        && matches!(wandb.resume, Some(WandbResume::Must | WandbResume::Never))
        && place.is_some_and(|place| place.source.kind == SourceKind::Argument)
}

/// Whether a stage is mirrored while it is at work.
pub fn is_online(stage: &StageSpec) -> bool {
    stage.config.tracking.wandb.mode == WandbMode::Online
}

/// A stage with its whole configuration.
pub fn of_stage(
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
        strict: false,
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

/// Mirrors of runs that are over and have some time left, while other runs are at
/// work.
#[derive(Clone)]
pub struct MirrorEndings {
    say: Say,
    waiting: Arc<Mutex<Vec<JoinHandle<()>>>>,
}

impl MirrorEndings {
    /// None yet; `say` hears what becomes of them.
    pub fn new(say: Say) -> MirrorEndings {
        MirrorEndings {
            say,
            waiting: Arc::default(),
        }
    }

    /// Who hears what becomes of mirrors.
    pub fn say(&self) -> Say {
        self.say.clone()
    }

    /// Lets the mirrors of a run end, whose record is closed.
    pub fn add(&self, mirrors: Mirrors, offline_parent: PathBuf) {
        let ending = thread::Builder::new()
            .name("end of mirrors".into())
            .spawn(move || mirrors.finish(&offline_parent));
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.retain(|ending| !ending.is_finished());
        waiting.extend(ending);
    }

    /// Waits for all of them: each has only so much time.
    pub fn wait(&self) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        for ending in waiting.drain(..) {
            ending
                .join()
                .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        }
    }
}

impl fmt::Debug for MirrorEndings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("MirrorEndings")
    }
}
