//! What must be done for an experiment, and why.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde::Serialize;
use serde_json::{Map, Value};

use crate::config::schema::{Config, Needs};
use crate::config::{Experiment, Location, StageSpec, select};
use crate::device::ComputeSettings;
use crate::store::{
    ContentHashes, Entry, EntryId, Holder, Key, LockSupport, PartialState, Project, Store,
    StoreError,
};

use super::error::{RunError, StageError};
use super::history::{Change, History, Now, changes_since, is_resizing};
use super::key::{KeyParts, key_of};
use super::registry::{Registry, reads_of};
use super::resource::{Resource, ResourceQuery};

mod cells;

/// An input of a step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StepInput {
    /// Index of the step that makes it.
    pub step: usize,
    /// How many times it counts.
    pub repeat: usize,
}

/// Why a step cannot run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "blockage", rename_all = "snake_case")]
pub enum Blockage {
    /// Something from outside is not here.
    Missing(Resource),
    /// Another step, which makes an input of it, cannot run.
    Input {
        /// Name of that step.
        step: String,
    },
    /// An external input cannot be used.
    Unusable {
        /// Why.
        message: String,
    },
    /// This program has no such stage kind.
    NoSuchKind {
        /// The kind.
        kind: String,
    },
}

/// What is known about a step.
#[derive(Clone, Debug)]
pub enum StepState {
    /// Its output is in the store.
    UpToDate(Box<Entry>),
    /// An earlier attempt left work to go on with.
    Resumable(PartialState),
    /// It is to be done from the beginning.
    WillRun,
    /// The last attempt failed; it will be tried again.
    Failed(PartialState),
    /// Another process is making it.
    Busy(Holder),
    /// It cannot run.
    Blocked(Vec<Blockage>),
}

/// One stage, for one seed where seeds matter.
#[derive(Clone, Debug)]
pub struct Step {
    /// Name, unique in the plan: the stage's, with `@seed` if there are several
    /// seeds.
    pub name: String,
    /// Name of the stage in the experiment file.
    pub stage: String,
    /// Stage kind.
    pub kind: String,
    /// Where the stage is declared.
    pub location: Location,
    /// Seed of the experiment it belongs to, if it depends on one.
    pub seed: Option<u64>,
    /// Configuration, restricted to what the kind reads.
    pub config: Config,
    /// The values it reads, by dotted path.
    pub values: Map<String, Value>,
    /// What it occupies while it runs.
    pub needs: Needs,
    /// How it computes.
    pub compute: ComputeSettings,
    /// Code version of the kind.
    pub code_version: u32,
    /// Inputs in order.
    pub inputs: Vec<StepInput>,
    /// External inputs.
    pub resources: Vec<Resource>,
    /// Name of its output; unknown while the content of a resource is.
    pub id: Option<EntryId>,
    /// What is known about it.
    pub state: StepState,
    /// What differs from the last output of this stage; `None` if there was
    /// none, or if it is up to date.
    pub changes: Option<Vec<Change>>,
    /// Run that made that output, and when it was published (ms since 1970).
    pub last: Option<(String, u64)>,
    /// Damage that was found in its output, which will be made again.
    pub damage: Option<String>,
    /// Time it will take, by earlier outputs.
    pub expected: Option<Duration>,
    /// Whether that time is for the work there is to do now, worked out from
    /// another amount.
    pub scaled: bool,
    /// Whether its output may become another size than it had.
    pub resized: bool,
}

impl Step {
    /// Whether its output is in the store.
    pub fn is_up_to_date(&self) -> bool {
        matches!(self.state, StepState::UpToDate(_))
    }

    /// Whether it cannot run.
    pub fn is_blocked(&self) -> bool {
        matches!(self.state, StepState::Blocked(_))
    }
}

/// All steps of an experiment in an order in which they can be done.
#[derive(Debug)]
pub struct Plan {
    experiment: String,
    title: String,
    steps: Vec<Step>,
    cells: Vec<Step>,
    project: Project,
    store: Store,
    hashes: ContentHashes,
}

impl Plan {
    /// Makes the plan of an experiment. Writes nothing.
    ///
    /// With `paranoid`, external files are read again although they seem
    /// unchanged.
    pub fn of(
        experiment: &Experiment,
        registry: &Registry,
        paranoid: bool,
    ) -> Result<Plan, RunError> {
        let project = project_of(experiment)?;
        Plan::in_project(experiment, registry, project, paranoid)
    }

    /// The same in a project that is already known.
    pub fn in_project(
        experiment: &Experiment,
        registry: &Registry,
        project: Project,
        paranoid: bool,
    ) -> Result<Plan, RunError> {
        Plan::make(experiment, registry, project, paranoid, true)
    }

    /// The same without looking at earlier outputs: it does not say what changed
    /// and how long steps will take, and has no tables and plots.
    pub fn without_history(
        experiment: &Experiment,
        registry: &Registry,
        project: Project,
    ) -> Result<Plan, RunError> {
        Plan::make(experiment, registry, project, false, false)
    }

    fn make(
        experiment: &Experiment,
        registry: &Registry,
        project: Project,
        paranoid: bool,
        history: bool,
    ) -> Result<Plan, RunError> {
        let store = project.store();
        let hashes = ContentHashes::open(&project, paranoid);
        let name = experiment.info.name.clone().unwrap_or_default();
        let mut planner = Planner {
            experiment,
            name: &name,
            registry,
            project: &project,
            store: &store,
            hashes: &hashes,
            history: history.then(|| History::new(&project, &store)),
            steps: Vec::new(),
            of_stage: HashMap::new(),
        };
        for stage in in_order(&experiment.stages) {
            planner.add(stage)?;
        }
        let mut cells = Vec::new();
        if history {
            for cell in &experiment.cells {
                cells.extend(planner.cell(cell)?);
            }
        }
        let steps = planner.steps;
        let title = experiment.info.title.clone().unwrap_or_default();
        Ok(Plan {
            experiment: name,
            title,
            steps,
            cells,
            project,
            store,
            hashes,
        })
    }

    /// Name of the experiment.
    pub fn experiment(&self) -> &str {
        &self.experiment
    }

    /// Title of the experiment.
    pub fn title(&self) -> &str {
        &self.title
    }

    /// The steps, inputs before those who need them.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The project it is for.
    pub fn project(&self) -> &Project {
        &self.project
    }

    /// Where outputs are.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Content identity of files, as found while planning.
    pub fn hashes(&self) -> &ContentHashes {
        &self.hashes
    }

    /// Whether no stage has anything to do.
    pub fn is_up_to_date(&self) -> bool {
        self.steps.iter().all(Step::is_up_to_date)
    }

    /// Whether the tables and plots are up to date, too.
    pub fn is_all_up_to_date(&self) -> bool {
        self.steps_and_cells().all(Step::is_up_to_date)
    }

    /// What is missing from outside, each once.
    pub fn missing(&self) -> Vec<&Resource> {
        let mut found: Vec<&Resource> = Vec::new();
        for step in &self.steps {
            if let StepState::Blocked(blockages) = &step.state {
                for blockage in blockages {
                    if let Blockage::Missing(resource) = blockage
                        && !found.iter().any(|known| {
                            known.missing == resource.missing && known.path == resource.path
                        })
                    {
                        found.push(resource);
                    }
                }
            }
        }
        found
    }
}

/// The project of an experiment.
pub(super) fn project_of(experiment: &Experiment) -> Result<Project, RunError> {
    let locks = match experiment.store.locks {
        true => LockSupport::Locks,
        false => LockSupport::ContentOnly,
    };
    let project = Project::find(experiment.store.dir.as_deref().map(Path::new))?;
    Ok(project.with_locks(locks))
}

/// The stages, inputs before those who need them, otherwise as in the file.
/// The configuration has made sure that there is no circle.
pub(super) fn in_order(stages: &[StageSpec]) -> Vec<&StageSpec> {
    let index: HashMap<&str, usize> = stages
        .iter()
        .enumerate()
        .map(|(at, stage)| (stage.name.as_str(), at))
        .collect();
    let mut waits: Vec<usize> = stages.iter().map(|stage| stage.inputs.len()).collect();
    let mut needed_by = vec![Vec::new(); stages.len()];
    for (at, stage) in stages.iter().enumerate() {
        for input in &stage.inputs {
            match index.get(input.stage.as_str()) {
                Some(source) => needed_by[*source].push(at),
                None => waits[at] -= 1,
            }
        }
    }
    let mut ready: std::collections::BTreeSet<usize> =
        (0..stages.len()).filter(|at| waits[*at] == 0).collect();
    let mut order = Vec::with_capacity(stages.len());
    while let Some(at) = ready.pop_first() {
        order.push(&stages[at]);
        for next in &needed_by[at] {
            waits[*next] -= 1;
            if waits[*next] == 0 {
                ready.insert(*next);
            }
        }
    }
    order
}

struct Planner<'a> {
    experiment: &'a Experiment,
    name: &'a str,
    registry: &'a Registry,
    project: &'a Project,
    store: &'a Store,
    hashes: &'a ContentHashes,
    history: Option<History<'a>>,
    steps: Vec<Step>,
    /// Steps of each stage, one per seed or a single one.
    of_stage: HashMap<String, Vec<usize>>,
}

impl Planner<'_> {
    fn add(&mut self, stage: &StageSpec) -> Result<(), RunError> {
        let seeds = &self.experiment.info.seeds;
        let random = self
            .registry
            .get(stage.kind.as_str())
            .is_some_and(|kind| kind.draws_random());
        let per_seed = !seeds.is_empty()
            && (random && !self.sets_own_seed(stage)
                || stage.inputs.iter().any(|input| {
                    self.steps_of(&input.stage)
                        .iter()
                        .any(|at| self.steps[*at].seed.is_some())
                }));
        let runs: Vec<Option<u64>> = if per_seed {
            seeds.iter().copied().map(Some).collect()
        } else {
            vec![None]
        };
        let mut added = Vec::new();
        for seed in runs {
            let step = self.step(stage, seed)?;
            added.push(self.steps.len());
            self.steps.push(step);
        }
        self.of_stage.insert(stage.name.clone(), added);
        Ok(())
    }

    /// Whether the stage itself, not the experiment, says which seed it has.
    fn sets_own_seed(&self, stage: &StageSpec) -> bool {
        stage.origins.given("run.seed").len() > self.experiment.origins.given("run.seed").len()
    }

    fn steps_of(&self, stage: &str) -> &[usize] {
        self.of_stage.get(stage).map_or(&[], Vec::as_slice)
    }

    fn step(&mut self, stage: &StageSpec, seed: Option<u64>) -> Result<Step, RunError> {
        let mut inputs = Vec::new();
        for input in &stage.inputs {
            let candidates = self.steps_of(&input.stage);
            let same_seed = candidates.iter().find(|at| self.steps[**at].seed == seed);
            if let Some(step) = same_seed.or(candidates.first()) {
                inputs.push(StepInput {
                    step: *step,
                    repeat: input.repeat,
                });
            }
        }
        let name = match seed {
            Some(seed) if self.experiment.info.seeds.len() > 1 => format!("{}@{seed}", stage.name),
            _ => stage.name.clone(),
        };
        let mut step = Step {
            name,
            stage: stage.name.clone(),
            kind: stage.kind.as_str().to_owned(),
            location: stage.location.clone(),
            seed,
            config: Config::default(),
            values: Map::new(),
            needs: stage.config.needs.clone(),
            compute: (&stage.config).into(),
            code_version: 0,
            inputs,
            resources: Vec::new(),
            id: None,
            state: StepState::WillRun,
            changes: None,
            last: None,
            damage: None,
            expected: None,
            scaled: false,
            resized: false,
        };
        let Some(kind) = self.registry.get(&step.kind) else {
            step.state = StepState::Blocked(vec![Blockage::NoSuchKind {
                kind: step.kind.clone(),
            }]);
            return Ok(step);
        };
        step.code_version = kind.code_version();
        let mut config = stage.config.clone();
        if let Some(seed) = seed.filter(|_| !self.sets_own_seed(stage)) {
            config.run.seed = seed;
        }
        let reads_error = |source| RunError::Reads {
            kind: step.kind.clone(),
            source,
        };
        let selection = select(&config, &reads_of(kind)?).map_err(reads_error)?;
        step.config = selection.config;
        step.values = selection.values;

        let kinds: Vec<_> = step
            .inputs
            .iter()
            .map(|input| self.steps[input.step].kind.as_str())
            .collect();
        let query = ResourceQuery {
            config: &step.config,
            inputs: &kinds,
            hashes: self.hashes,
            project: self.project,
        };
        let mut blockages = Vec::new();
        match kind.resources(&query) {
            Ok(resources) => step.resources = resources,
            Err(StageError::Failed(message)) => blockages.push(Blockage::Unusable { message }),
            Err(StageError::Interrupted) => {
                blockages.push(Blockage::Unusable {
                    message: "looking at its external inputs was interrupted".into(),
                });
            }
        }
        let missing = step
            .resources
            .iter()
            .filter(|resource| resource.missing.is_some());
        blockages.extend(missing.cloned().map(Blockage::Missing));
        for input in &step.inputs {
            let input = &self.steps[input.step];
            if input.is_blocked()
                && !blockages
                    .iter()
                    .any(|b| matches!(b, Blockage::Input { step } if *step == input.name))
            {
                blockages.push(Blockage::Input {
                    step: input.name.clone(),
                });
            }
        }
        let unusable = blockages
            .iter()
            .any(|blockage| matches!(blockage, Blockage::Unusable { .. }));
        step.id = if unusable { None } else { self.id(&step)? };
        self.judge(step, blockages)
    }

    /// Name of the step's output, if all it depends on is known.
    fn id(&self, step: &Step) -> Result<Option<EntryId>, RunError> {
        let key_of_input = |input: &StepInput| -> Option<(Key, usize)> {
            Some((self.steps[input.step].id.as_ref()?.key(), input.repeat))
        };
        let Some(inputs) = step
            .inputs
            .iter()
            .map(key_of_input)
            .collect::<Option<Vec<_>>>()
        else {
            return Ok(None);
        };
        let parts = KeyParts {
            kind: &step.kind,
            code_version: step.code_version,
            values: &step.values,
            inputs: &inputs,
            resources: &step.resources,
        };
        let key = key_of(&parts)?;
        Ok(key.map(|key| EntryId::new(&step.kind, key)).transpose()?)
    }

    /// Finds out what there is in the store.
    fn judge(&mut self, mut step: Step, blockages: Vec<Blockage>) -> Result<Step, RunError> {
        if let Some(id) = &step.id {
            match self.store.get(id) {
                Ok(Some(entry)) => {
                    step.state = StepState::UpToDate(Box::new(entry));
                    return Ok(step);
                }
                Ok(None) => {}
                Err(StoreError::Damaged { what, .. }) => step.damage = Some(what),
                Err(error) => return Err(error.into()),
            }
        }
        self.look_back(&mut step)?;
        let Some(id) = step.id.as_ref().filter(|_| blockages.is_empty()) else {
            step.state = StepState::Blocked(blockages);
            return Ok(step);
        };
        step.state = match (self.store.builder(id)?, self.store.partial(id)) {
            (Some(holder), _) => StepState::Busy(holder),
            (None, Some(partial)) => {
                let rest = left(&partial);
                step.scaled |= rest.is_some();
                let by_others = match partial.failure {
                    Some(_) => step.expected,
                    None => step
                        .expected
                        .and_then(|all| all.checked_sub(spent(&partial))),
                };
                step.expected = rest.or(by_others).filter(|time| !time.is_zero());
                match partial.failure {
                    Some(_) => StepState::Failed(partial),
                    None => StepState::Resumable(partial),
                }
            }
            (None, None) => StepState::WillRun,
        };
        Ok(step)
    }

    /// Finds out what changed since its last output, and how long it took.
    fn look_back(&mut self, step: &mut Step) -> Result<(), RunError> {
        let Some(history) = &mut self.history else {
            return Ok(());
        };
        let now = now(self.name, &self.steps, step);
        let last = history.last(&step.kind, &now)?.map(|last| {
            let run = last.description.run.clone();
            (
                changes_since(&last.description, &now),
                (run, last.published_ms),
            )
        });
        let expected = history.expected(&step.kind, &now)?;
        (step.changes, step.last) = last.unzip();
        let mut inputs = step.inputs.iter();
        let other_inputs = inputs.any(|input| self.steps[input.step].resized);
        step.resized = other_inputs || step.changes.iter().flatten().any(is_resizing);
        if let Some(expected) = expected.filter(|_| !other_inputs) {
            (step.expected, step.scaled) = (Some(expected.time), expected.scaled);
        }
        Ok(())
    }
}

/// A step as it is now, to be compared with outputs; `steps` has its inputs.
pub(super) fn now<'a>(experiment: &'a str, steps: &[Step], step: &'a Step) -> Now<'a> {
    let input = |input: &StepInput| {
        let source = &steps[input.step];
        let key = source.id.as_ref().map(|id| id.key());
        let repeat = u32::try_from(input.repeat).unwrap_or(u32::MAX);
        (source.stage.clone(), key, repeat)
    };
    Now {
        experiment,
        stage: &step.stage,
        seed: step.seed,
        code_version: step.code_version,
        values: &step.values,
        inputs: step.inputs.iter().map(input).collect(),
        resources: &step.resources,
    }
}

/// Time that the rest of partial work takes, if it goes on as so far.
fn left(partial: &PartialState) -> Option<Duration> {
    let progress = partial
        .progress
        .as_ref()
        .filter(|progress| progress.done > 0)?;
    let rest = progress.total?.saturating_sub(progress.done);
    let seconds = partial.seconds / progress.done as f64 * rest as f64;
    Duration::try_from_secs_f64(seconds).ok()
}

/// Time that partial work has taken so far.
fn spent(partial: &PartialState) -> Duration {
    Duration::try_from_secs_f64(partial.seconds).unwrap_or_default()
}
