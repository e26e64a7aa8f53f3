//! A resolved experiment: every stage with its typed configuration.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use serde_json::Value;

use super::cell::{Cell, CellField};
use super::check;
use super::compose::{Composition, Request, compose};
use super::family::references;
use super::interpolate::{References, Referred};
use super::layer::{Content, Entry, Slot};
use super::nearest::nearest;
use super::origin::{Given, Origins};
use super::problem::{ConfigErrors, Problem, Severity};
use super::schema::{
    self, AnnotateGpt, Config, ExperimentInfo, Hooks, Key, Launcher, ModelPrice, Section, Slots,
    StoreSettings, key_by_flat_name,
};
use super::source::{Location, Source, SourceKind};
use super::stacks::Stacks;
use super::stage::{StageInput, StageKind, StageSpec};
use super::typed::typed;

/// An experiment, resolved and checked.
#[derive(Debug, Clone)]
pub struct Experiment {
    /// The file.
    pub file: PathBuf,
    /// Name, title, prose, seeds; the name is always given.
    pub info: ExperimentInfo,
    /// Where outputs are kept.
    pub store: StoreSettings,
    /// What stages may occupy together.
    pub slots: Slots,
    /// Whom to tell what happens.
    pub hooks: Hooks,
    /// Where the points of a sweep run.
    pub launcher: Launcher,
    /// Annotation by a model.
    pub annotate_gpt: AnnotateGpt,
    /// What models cost, by name.
    pub prices: BTreeMap<String, ModelPrice>,
    /// What all stages share: defaults and sections.
    pub config: Config,
    /// Where these values, and those of the experiment's own sections, come from.
    pub origins: Origins,
    /// The stages, in the order in which they are first named.
    pub stages: Vec<StageSpec>,
    /// Tables and plots, likewise.
    pub cells: Vec<Cell>,
    /// What is allowed but probably not as meant.
    pub warnings: Vec<Problem>,
    /// Every file that was read, in the order of the layers.
    pub files: Vec<PathBuf>,
    /// The same with their texts.
    pub sources: Vec<Arc<Source>>,
    /// What texts with references name: keys, and variables as `env:NAME`.
    pub references: BTreeSet<String>,
}

impl Experiment {
    /// Reads, resolves and checks an experiment.
    ///
    /// # Errors
    /// All problems of all layers at once.
    pub fn load(request: &Request) -> Result<Self, ConfigErrors> {
        let mut problems = Vec::new();
        let composition = compose(request, &mut problems);
        Self::build(request, &composition, problems)
    }

    /// Builds it of layers that are read.
    pub(super) fn build(
        request: &Request,
        composition: &Composition,
        mut problems: Vec<Problem>,
    ) -> Result<Self, ConfigErrors> {
        let experiment = Builder {
            request,
            composition,
        }
        .build(&mut problems);
        match experiment {
            Some(mut experiment)
                if problems
                    .iter()
                    .all(|problem| problem.severity == Severity::Warning) =>
            {
                experiment.warnings = problems;
                Ok(experiment)
            }
            _ => Err(ConfigErrors { problems }),
        }
    }

    /// The stage with a name.
    pub fn stage(&self, name: &str) -> Option<&StageSpec> {
        self.stages.iter().find(|stage| stage.name == name)
    }

    /// The stage with a name, which may be that of one seed: `train@2`.
    pub fn seeded_stage(&self, name: &str) -> Option<StageSpec> {
        if let Some(stage) = self.stage(name) {
            return Some(stage.clone());
        }
        let (name, seed) = name.rsplit_once('@')?;
        let seed: u64 = seed.parse().ok()?;
        let mut stage = self.stage(name)?.clone();
        self.info.seeds.contains(&seed).then_some(())?;
        stage.config.run.seed = seed;
        let given = self
            .origins
            .location("experiment.seeds")
            .map(|location| Given {
                value: seed.into(),
                location: location.clone(),
            });
        if let Some(given) = given {
            stage.origins.push("run.seed", given);
        }
        Some(stage)
    }

    /// The value of a key of the sections that describe the experiment, such as
    /// `slots.jobs`.
    pub fn document_value(&self, path: &str) -> Option<Value> {
        let name = |section: &str| path.strip_prefix(section)?.strip_prefix('.');
        None.or_else(|| self.info.get(name("experiment")?))
            .or_else(|| self.store.get(name("store")?))
            .or_else(|| self.slots.get(name("slots")?))
            .or_else(|| self.hooks.get(name("hooks")?))
            .or_else(|| self.launcher.get(name("launcher")?))
            .or_else(|| self.annotate_gpt.get(name("annotate.gpt")?))
    }
}

struct Builder<'a> {
    request: &'a Request,
    composition: &'a Composition,
}

/// Keys with the entries that give them, lowest first.
type Entries<'a> = BTreeMap<&'static str, (&'static Key, Vec<&'a Entry>)>;

impl<'a> Builder<'a> {
    fn build(&self, problems: &mut Vec<Problem>) -> Option<Experiment> {
        let stacks = &self.composition.stacks;
        let sections = stacks.sections();
        let filled = self.fill(&sections, &sections, problems);
        let config = self.typed_sections(stacks, &sections, &filled, problems)?;
        let mut origins = Origins::default();
        for (&path, (_, entries)) in &sections {
            origins.set(path, given(entries, filled.get(path)));
        }
        let stages = self.stages(&config, &origins, &sections, problems);
        let declared: Vec<_> = stacks
            .in_order()
            .into_iter()
            .filter_map(|entry| match &entry.slot {
                Slot::StageHeader(name) => Some(name.as_str()),
                _ => None,
            })
            .collect();
        check_inputs(&stages, &declared, problems);
        if stages.is_empty() {
            check_given(None, &sections, &Entries::new(), problems);
            check::cross_fields(&config, &origins, None, problems);
        }
        for stage in &stages {
            check::cross_fields(&stage.config, &stage.origins, Some(stage.kind), problems);
        }
        for key in schema::document_keys() {
            let entries = stacks.of(key.path);
            if !entries.is_empty() {
                origins.set(key.path, given(&entries, None));
            }
        }
        Some(Experiment {
            file: self.request.file.clone(),
            info: self.info(problems),
            store: self.document("store", problems),
            slots: self.document("slots", problems),
            hooks: self.document("hooks", problems),
            launcher: self.document("launcher", problems),
            annotate_gpt: self.document("annotate.gpt", problems),
            prices: self.prices(problems),
            config,
            origins,
            stages,
            cells: cells(stacks),
            warnings: Vec::new(),
            files: (self.composition.files.iter())
                .filter_map(|source| match &source.kind {
                    SourceKind::File(path) => Some(path.clone()),
                    _ => None,
                })
                .collect(),
            sources: self.composition.files.clone(),
            references: references(stacks),
        })
    }

    /// Values of the templates among `changed`, and of those in `all` if any
    /// value they may refer to is changed.
    fn fill(
        &self,
        all: &Entries<'a>,
        changed: &Entries<'a>,
        problems: &mut Vec<Problem>,
    ) -> BTreeMap<&'static str, Value> {
        let mut filled = BTreeMap::new();
        let top = |path: &str| {
            let entries = changed.get(path).or_else(|| all.get(path));
            entries.and_then(|(key, entries)| Some((*key, *entries.last()?)))
        };
        let value = |name: &str| {
            let path = key_by_flat_name(name).map_or(name, |key| key.path);
            match top(path) {
                Some((key, entry)) => match &entry.content {
                    Content::Value(value) => Some(Referred::Value(value.clone())),
                    Content::Template(node) => Some(Referred::Template(node, key)),
                    _ => None,
                },
                None => match self
                    .composition
                    .stacks
                    .top(path)
                    .map(|entry| &entry.content)
                {
                    Some(Content::Value(value)) => Some(Referred::Value(value.clone())),
                    _ => schema::key(path).map(|key| Referred::Value((key.default)())),
                },
            }
        };
        let variable = |name: &str| {
            let found = self
                .request
                .environment
                .iter()
                .find(|(other, _)| other == name);
            found.map(|(_, value)| value.clone())
        };
        let references = References {
            value: &value,
            variable: &variable,
        };
        let paths: Vec<_> = all.keys().chain(changed.keys()).copied().collect();
        for path in paths {
            let Some((key, entry)) = top(path) else {
                continue;
            };
            let Content::Template(node) = &entry.content else {
                continue;
            };
            match references.resolve(node, key) {
                Ok(value) => {
                    filled.insert(path, value);
                }
                Err(faults) => {
                    for fault in faults {
                        let location = Location::new(&entry.location.source, fault.span);
                        let problem = Problem::error(format!("{path}: {}", fault.title))
                            .at(location, fault.note);
                        push_new(
                            problems,
                            fault.help.into_iter().fold(problem, Problem::help),
                        );
                    }
                }
            }
        }
        filled
    }

    fn typed_sections(
        &self,
        stacks: &Stacks,
        sections: &Entries<'a>,
        filled: &BTreeMap<&'static str, Value>,
        problems: &mut Vec<Problem>,
    ) -> Option<Config> {
        let layers = stacks.layers(|entry| match (&entry.slot, &entry.content) {
            (Slot::Section(key), Content::Value(value)) => Some((key.path, value.clone())),
            (Slot::Section(key), Content::Template(_)) => {
                let wins = sections
                    .get(key.path)
                    .and_then(|(_, entries)| entries.last())
                    .is_some_and(|last| std::ptr::eq(*last, entry));
                let value = if wins { filled.get(key.path) } else { None };
                Some((key.path, value?.clone()))
            }
            _ => None,
        });
        match typed(layers) {
            Ok(config) => Some(config),
            Err(error) => {
                problems.push(Problem::error(format!(
                    "cannot put the values together: {error}"
                )));
                None
            }
        }
    }

    fn stages(
        &self,
        config: &Config,
        origins: &Origins,
        sections: &Entries<'a>,
        problems: &mut Vec<Problem>,
    ) -> Vec<StageSpec> {
        let stacks = &self.composition.stacks;
        let templates = sections.values().any(|(_, entries)| {
            entries
                .last()
                .is_some_and(|entry| matches!(entry.content, Content::Template(_)))
        });
        let mut stages = Vec::new();
        for header in stacks.in_order() {
            let Slot::StageHeader(name) = &header.slot else {
                continue;
            };
            let Some(kind_entry) = stacks.top(&format!("stage.{name}.kind")) else {
                if self.composition.incomplete {
                    // A file that could not be read may say it.
                    continue;
                }
                problems.push(
                    Problem::error(format!("stage `{name}` has no kind"))
                        .at(header.location.clone(), "")
                        .help("write kind = \"train\" or another action, or kind = \"nothing\""),
                );
                continue;
            };
            let Content::Kind(kind) = kind_entry.content else {
                continue;
            };
            let inputs = match stacks
                .top(&format!("stage.{name}.inputs"))
                .map(|e| &e.content)
            {
                Some(Content::Inputs(inputs)) => inputs.clone(),
                _ => Vec::new(),
            };
            let own = stacks.of_stage(name);
            let mut stage = StageSpec {
                name: name.clone(),
                kind,
                inputs,
                config: config.clone(),
                origins: origins.clone(),
                location: header.location.clone(),
            };
            check_given(Some(kind), sections, &own, problems);
            let filled = if templates || !own.is_empty() {
                self.fill(sections, &own, problems)
            } else {
                BTreeMap::new()
            };
            for (&path, value) in &filled {
                set(&mut stage.config, path, value, problems);
            }
            for (&path, (_, entries)) in &own {
                if let Some(Content::Value(value)) = entries.last().map(|entry| &entry.content) {
                    set(&mut stage.config, path, value, problems);
                }
                stage.origins.set(path, given(entries, filled.get(path)));
            }
            if let Some(action) = kind.action() {
                stage.config.run.action = action;
                let value = Value::from(action.as_str());
                let location = kind_entry.location.clone();
                stage.origins.push("run.action", Given { value, location });
            }
            stages.push(stage);
        }
        stages
    }

    fn info(&self, problems: &mut Vec<Problem>) -> ExperimentInfo {
        let mut info: ExperimentInfo = self.document("experiment", problems);
        let seeds = self.composition.stacks.top("experiment.seeds");
        let location = seeds.map(|entry| &entry.location);
        check::repeated_seeds(&info.seeds, location, problems);
        info.name = info.name.filter(|name| !name.is_empty()).or_else(|| {
            Some(
                self.request
                    .file
                    .file_stem()?
                    .to_string_lossy()
                    .into_owned(),
            )
        });
        info
    }

    /// A section that describes the experiment.
    fn prices(&self, problems: &mut Vec<Problem>) -> BTreeMap<String, ModelPrice> {
        let mut prices: BTreeMap<String, ModelPrice> = BTreeMap::new();
        for entry in self.composition.stacks.in_order() {
            let Slot::Price(model, key) = &entry.slot else {
                continue;
            };
            let name = key.path.rsplit('.').next().unwrap_or(key.path);
            let problem = match &entry.content {
                Content::Value(value) => {
                    let set = prices.entry(model.clone()).or_default().set(name, value);
                    set.err().map(|error| error.to_string())
                }
                _ => Some("references are not possible here".to_owned()),
            };
            if let Some(problem) = problem {
                let title = format!("{}: {problem}", key.path);
                problems.push(Problem::error(title).at(entry.location.clone(), ""));
            }
        }
        prices
    }

    fn document<T: Section>(&self, section: &str, problems: &mut Vec<Problem>) -> T {
        let mut result = T::default();
        for key in schema::document_keys() {
            let Some(name) = key
                .path
                .strip_prefix(section)
                .and_then(|r| r.strip_prefix('.'))
            else {
                continue;
            };
            let Some(entry) = self.composition.stacks.top(key.path) else {
                continue;
            };
            match &entry.content {
                Content::Value(value) => {
                    if let Err(error) = result.set(name, value) {
                        problems.push(
                            Problem::error(format!("{}: {error}", key.path))
                                .at(entry.location.clone(), ""),
                        );
                    }
                }
                Content::Template(_) => problems.push(
                    Problem::error(format!("{}: references are not possible here", key.path))
                        .at(entry.location.clone(), "")
                        .help("write the value out"),
                ),
                _ => {}
            }
        }
        result
    }
}

/// Values that must be given are given, where the kind of stage reads them.
fn check_given(
    kind: Option<StageKind>,
    shared: &Entries<'_>,
    own: &Entries<'_>,
    problems: &mut Vec<Problem>,
) {
    let others = shared.iter().filter(|(path, _)| !own.contains_key(*path));
    for (path, (key, entries)) in others.chain(own) {
        let Some(entry) = entries.last() else {
            continue;
        };
        let reads = |kind: StageKind| {
            let action = kind.action();
            action.is_some_and(|action| key.readers.contains(&action))
        };
        if matches!(entry.content, Content::Required) && kind.is_none_or(reads) {
            let problem = Problem::error(format!("{path} must be given"))
                .at(entry.location.clone(), "left to others here")
                .help(format!("on the command line: {path}=VALUE"));
            push_new(problems, problem);
        }
    }
}

fn set(config: &mut Config, path: &str, value: &Value, problems: &mut Vec<Problem>) {
    if let Err(error) = config.set(path, value) {
        problems.push(Problem::error(format!("{path}: {error}")));
    }
}

/// What entries give, for people to see.
fn given(entries: &[&Entry], filled: Option<&Value>) -> Vec<Given> {
    let last = entries.len().saturating_sub(1);
    entries
        .iter()
        .enumerate()
        .filter_map(|(index, entry)| {
            let value = match &entry.content {
                Content::Value(value) => value.clone(),
                Content::Template(node) => match filled {
                    Some(value) if index == last => value.clone(),
                    _ => node.to_json(),
                },
                _ => return None,
            };
            Some(Given {
                value,
                location: entry.location.clone(),
            })
        })
        .collect()
}

fn cells(stacks: &Stacks) -> Vec<Cell> {
    let mut cells: Vec<Cell> = Vec::new();
    for entry in stacks.in_order() {
        match (&entry.slot, &entry.content) {
            (Slot::CellHeader(kind, name), _) => cells.push(Cell {
                kind: *kind,
                name: name.clone(),
                fields: Vec::new(),
                location: entry.location.clone(),
            }),
            (Slot::Cell(kind, name, key), Content::Raw(value)) => {
                let cell = cells
                    .iter_mut()
                    .find(|cell| cell.kind == *kind && cell.name == *name);
                if let Some(cell) = cell {
                    cell.fields.push(CellField {
                        key: key.clone(),
                        value: value.clone(),
                        location: entry.key_location.clone(),
                    });
                }
            }
            _ => {}
        }
    }
    cells
}

/// Inputs must be stages, not in a circle, and not be given otherwise too.
fn check_inputs(stages: &[StageSpec], declared: &[&str], problems: &mut Vec<Problem>) {
    for stage in stages {
        for input in &stage.inputs {
            match stages.iter().find(|other| other.name == input.stage) {
                Some(source) => check::filled_fields(stage, source, input, problems),
                None if declared.contains(&input.stage.as_str()) => {}
                None => problems.push(unknown_input(stage, input, declared)),
            }
        }
    }
    if let Some(circle) = circle(stages) {
        let first = &circle[0];
        let names: Vec<_> = circle.iter().map(|input| input.stage.as_str()).collect();
        let problem = Problem::error(format!(
            "stages take each other's outputs: {} → {}",
            names.join(" → "),
            names[0]
        ))
        .at(first.location.clone(), "")
        .help("take one of these inputs out");
        problems.push(problem);
    }
}

fn unknown_input(stage: &StageSpec, input: &StageInput, declared: &[&str]) -> Problem {
    let title = format!(
        "stage `{}` takes the output of `{}`, which is no stage",
        stage.name, input.stage
    );
    let problem = Problem::error(title).at(input.location.clone(), "");
    let names = || declared.iter().copied().filter(|&name| name != stage.name);
    match nearest(&input.stage, names()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None if names().next().is_none() => problem.help("there is no other stage"),
        None => problem.help(format!(
            "stages are {}",
            names().collect::<Vec<_>>().join(", ")
        )),
    }
}

/// Inputs that form a circle, if there is one.
fn circle(stages: &[StageSpec]) -> Option<Vec<&StageInput>> {
    fn visit<'a>(
        index: usize,
        stages: &'a [StageSpec],
        by_name: &BTreeMap<&str, usize>,
        done: &mut [bool],
        path: &mut Vec<(usize, &'a StageInput)>,
    ) -> Option<Vec<&'a StageInput>> {
        if done[index] {
            return None;
        }
        for input in &stages[index].inputs {
            let Some(&next) = by_name.get(input.stage.as_str()) else {
                continue;
            };
            let start = path.iter().position(|&(on_path, _)| on_path == next);
            if let Some(start) = start {
                let inside = path[start + 1..].iter().map(|&(_, input)| input);
                return Some([input].into_iter().chain(inside).collect());
            }
            if next == index {
                return Some(vec![input]);
            }
            path.push((next, input));
            let found = visit(next, stages, by_name, done, path);
            path.pop();
            if found.is_some() {
                return found;
            }
        }
        done[index] = true;
        None
    }
    let by_name: BTreeMap<&str, usize> = stages
        .iter()
        .enumerate()
        .map(|(index, stage)| (stage.name.as_str(), index))
        .collect();
    let mut done = vec![false; stages.len()];
    (0..stages.len()).find_map(|index| visit(index, stages, &by_name, &mut done, &mut Vec::new()))
}

/// Adds a problem unless it is there already: stages share values.
pub(super) fn push_new(problems: &mut Vec<Problem>, problem: Problem) {
    if !problems.contains(&problem) {
        problems.push(problem);
    }
}
