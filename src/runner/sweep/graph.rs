//! The plan of a sweep: the steps of all points, each once.
//!
//! Points share most of what they are made of, so nothing is planned twice: what
//! a step is depends on the values that its kind reads (a *variant* of its
//! stage) and on the steps it takes in. Plans of ten thousand points are made in
//! a second; the keys are those of [`Plan`](crate::runner::Plan).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::config::schema::{Config, Needs, shard_count};
use crate::config::{ConfigErrors, Experiment, Family, Problem, Setting, StageSpec, select};
use crate::runner::error::StageError;
use crate::runner::execute::blockage_text;
use crate::runner::key::{KeyTexts, resources_text};
use crate::runner::plan::{Blockage, in_order};
use crate::runner::registry::{Registry, reads_of};
use crate::runner::resource::ResourceQuery;
use crate::runner::{Nothing, StageKind};
use crate::store::{ContentHashes, EntryId, Key, PartialState, Project, Store};

use super::divide::divide;
use super::error::SweepError;

/// A point to plan: its values, sorted by key, and its seed.
#[derive(Debug, Clone, Copy)]
pub struct GraphPoint<'a> {
    /// Its values.
    pub settings: &'a [Setting],
    /// Seed of the experiment, if it has one.
    pub seed: Option<u64>,
}

impl GraphPoint<'_> {
    /// As overrides of the experiment.
    pub fn overrides(&self) -> Vec<String> {
        let seed = self.seed.map(|seed| format!("experiment.seeds=[{seed}]"));
        let settings = self.settings.iter().map(Setting::as_override);
        settings.chain(seed).collect()
    }
}

/// What is known about a step.
#[derive(Debug, Clone, PartialEq)]
pub enum NodeState {
    /// Its output is in the store.
    Ready,
    /// It is to be made, or to be gone on with.
    Open {
        /// What an earlier attempt left.
        partial: Option<PartialState>,
    },
    /// Nothing takes its output any more that is not there already.
    Unneeded,
    /// It cannot run.
    Blocked(Arc<str>),
}

/// A step of one or more points.
#[derive(Debug, Clone)]
pub struct Node {
    /// Name of its stage.
    pub stage: Arc<str>,
    /// Stage kind.
    pub kind: Arc<str>,
    /// Its output; unknown while the content of something it needs is.
    pub id: Option<EntryId>,
    /// Steps whose outputs it takes.
    pub inputs: Vec<usize>,
    /// What it occupies.
    pub needs: Needs,
    /// What is known about it.
    pub state: NodeState,
    /// A point that has it.
    pub point: usize,
    /// How many points have it.
    pub uses: usize,
    /// Time it will take, by earlier outputs.
    pub expected: Option<Duration>,
    seeded: bool,
}

/// The steps of all points.
#[derive(Debug, Default)]
pub struct Graph {
    /// The steps, inputs before those who need them.
    pub nodes: Vec<Node>,
    /// For each point its steps, in the order of the stages.
    pub points: Vec<Vec<usize>>,
    /// Name of the experiment.
    pub experiment: String,
}

/// What becomes of points whose values do not go together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Misfits {
    /// They are mistakes.
    Refused,
    /// They are blocked: nobody has chosen them.
    Blocked,
}

/// Plans points. Writes nothing.
///
/// # Errors
/// What is wrong with any of the points.
pub fn plan(
    family: &Family,
    points: &[GraphPoint<'_>],
    misfits: Misfits,
    registry: &Registry,
    project: &Project,
    hashes: &ContentHashes,
) -> Result<Graph, SweepError> {
    let mut planner = Planner {
        family,
        registry,
        project,
        hashes,
        graph: Graph::default(),
        structural: None,
        groups: Vec::new(),
        group_of: HashMap::new(),
        by_values: HashMap::new(),
        by_inputs: HashMap::new(),
    };
    for (at, point) in points.iter().enumerate() {
        match planner.point(at, point) {
            Err(SweepError::Config(errors)) if misfits == Misfits::Blocked => {
                planner.block(at, &errors);
            }
            planned => planned?,
        }
    }
    let mut graph = planner.graph;
    judge(&mut graph, &project.store())?;
    Ok(graph)
}

/// Whether a value decides which stages there are, what they take in, or what
/// other values are.
fn is_structural(setting: &Setting, references: &HashSet<String>) -> bool {
    let key = setting.key();
    let of_stage = setting.path.strip_suffix(key).unwrap_or_default();
    setting.path.starts_with("use.")
        || references.contains(of_stage.trim_end_matches('.'))
        || matches!(key, "kind" | "inputs")
        || references.contains(key)
        || references.contains(&setting.path)
        || crate::config::schema::key(key).is_none()
}

/// Points that differ in plain values only.
struct Group {
    stages: Vec<GroupStage>,
}

/// A stage in a group.
struct GroupStage {
    spec: StageSpec,
    kind: Option<&'static dyn StageKind>,
    /// Where in a point's settings the values are that this stage reads or needs.
    reads: Vec<usize>,
    /// Values of the first point.
    values: Map<String, Value>,
    /// Configuration of the first point, restricted to what the kind reads.
    config: Config,
    /// Stages it takes in, by their place in the group, and how often.
    inputs: Vec<(usize, usize)>,
    /// Whether it draws random numbers of the experiment's seed.
    seeded: bool,
    variants: HashMap<String, Arc<Variant>>,
}

/// A stage with values: everything but its inputs.
#[derive(Debug)]
struct Variant {
    number: usize,
    values: String,
    resources: Option<String>,
    blockage: Option<Arc<str>>,
    needs: Needs,
}

/// What tells steps apart: variant, stage, and the steps it takes in with how
/// often.
type Identity = (usize, Arc<str>, Vec<(usize, usize)>);

struct Planner<'a> {
    family: &'a Family,
    registry: &'a Registry,
    project: &'a Project,
    hashes: &'a ContentHashes,
    graph: Graph,
    /// What decides about stages and other values, once it is known.
    structural: Option<Arc<HashSet<String>>>,
    groups: Vec<Group>,
    /// Groups by what their points have in common.
    group_of: HashMap<String, usize>,
    /// Variants by stage kind, values and resources: those of different groups
    /// may be the same.
    by_values: HashMap<String, usize>,
    by_inputs: HashMap<Identity, usize>,
}

impl Planner<'_> {
    /// Plans a point.
    fn point(&mut self, at: usize, point: &GraphPoint<'_>) -> Result<(), SweepError> {
        let references = match &self.structural {
            Some(known) => known.clone(),
            None => {
                let first = self.family.member(&point.overrides())?;
                self.graph.experiment = first.info.name.clone().unwrap_or_default();
                let divided = first.launcher.shards.iter();
                let divided =
                    divided.filter_map(|text| Some(format!("stage.{}", shard_count(text)?.0)));
                let found = first.references.iter().cloned().chain(divided);
                self.structural.insert(Arc::new(found.collect())).clone()
            }
        };
        let mut name = String::new();
        for setting in point.settings {
            name.push_str(&setting.path);
            if is_structural(setting, &references) {
                name.push('=');
                name.push_str(&setting.text);
            }
            name.push('\n');
        }
        if point.seed.is_some() {
            name.push_str("seed");
        }
        let group = match self.group_of.get(&name) {
            Some(group) => *group,
            None => {
                let group = self.group(point, &references)?;
                self.group_of.insert(name, group);
                group
            }
        };
        self.add(at, point, group)
    }

    /// A point that cannot run, in place of its steps.
    fn block(&mut self, at: usize, errors: &ConfigErrors) {
        let titles: Vec<&str> = errors
            .problems
            .iter()
            .map(|problem| problem.title.as_str())
            .collect();
        self.graph.points.push(vec![self.graph.nodes.len()]);
        self.graph.nodes.push(Node {
            stage: "".into(),
            kind: Nothing.name().into(),
            id: None,
            inputs: Vec::new(),
            needs: Needs::default(),
            state: NodeState::Blocked(titles.join("; ").into()),
            point: at,
            uses: 1,
            expected: None,
            seeded: false,
        });
    }

    fn group(
        &mut self,
        point: &GraphPoint<'_>,
        references: &HashSet<String>,
    ) -> Result<usize, SweepError> {
        let mut experiment = self.family.member(&point.overrides())?;
        self.check_stages(&experiment, point)?;
        divide(&mut experiment)?;
        let stages = in_order(&experiment.stages);
        let mut found: Vec<GroupStage> = Vec::new();
        for spec in stages {
            let kind = self.registry.get(spec.kind.as_str());
            let own_seed =
                spec.origins.given("run.seed").len() > experiment.origins.given("run.seed").len();
            let mut stage = GroupStage {
                kind,
                reads: Vec::new(),
                values: Map::new(),
                config: Config::default(),
                inputs: Vec::new(),
                seeded: kind.is_some_and(|kind| kind.draws_random()) && !own_seed,
                variants: HashMap::new(),
                spec: spec.clone(),
            };
            for input in &spec.inputs {
                let place = found
                    .iter()
                    .position(|other| other.spec.name == input.stage);
                stage
                    .inputs
                    .extend(place.map(|place| (place, input.repeat)));
            }
            if let Some(kind) = kind {
                let reads = reads_of(kind)?;
                let selected = select(&spec.config, &reads).map_err(|source| {
                    crate::runner::RunError::Reads {
                        kind: kind.name().to_owned(),
                        source,
                    }
                })?;
                let own = format!("stage.{}.", spec.name);
                for (at, setting) in point.settings.iter().enumerate() {
                    let is_ours =
                        !setting.path.starts_with("stage.") || setting.path.starts_with(&own);
                    let counts = selected.values.contains_key(setting.key())
                        || setting.key().starts_with("needs.");
                    if is_ours && counts && !is_structural(setting, references) {
                        stage.reads.push(at);
                    }
                }
                (stage.values, stage.config) = (selected.values, selected.config);
            }
            found.push(stage);
        }
        self.groups.push(Group { stages: found });
        Ok(self.groups.len() - 1)
    }

    /// Values for stages that there are.
    fn check_stages(
        &self,
        experiment: &Experiment,
        point: &GraphPoint<'_>,
    ) -> Result<(), SweepError> {
        let named = point.settings.iter().filter_map(|setting| {
            let rest = setting.path.strip_prefix("stage.")?;
            rest.split('.').next()
        });
        for name in named {
            if experiment.stage(name).is_none() {
                let problem = Problem::error(format!("there is no stage `{name}`"));
                return Err(ConfigErrors::from(problem).into());
            }
        }
        Ok(())
    }

    fn add(&mut self, at: usize, point: &GraphPoint<'_>, group: usize) -> Result<(), SweepError> {
        let count = self.groups[group].stages.len();
        let mut steps: Vec<usize> = Vec::with_capacity(count);
        for place in 0..count {
            let stage = &self.groups[group].stages[place];
            let mut inputs = Vec::with_capacity(stage.inputs.len());
            for (input, repeat) in &stage.inputs {
                inputs.push((steps[*input], *repeat));
            }
            let seed = point.seed.filter(|_| stage.seeded);
            let seeded = seed.is_some()
                || inputs
                    .iter()
                    .any(|(node, _)| self.graph.nodes[*node].seeded);
            let variant = self.variant(group, place, point, seed)?;
            let stage = &self.groups[group].stages[place];
            let name: Arc<str> = stage.spec.name.as_str().into();
            let key = (variant.number, name.clone(), inputs);
            if let Some(node) = self.by_inputs.get(&key) {
                self.graph.nodes[*node].uses += 1;
                steps.push(*node);
                continue;
            }
            let node = self.node(at, &variant, group, place, &key.2, seeded)?;
            self.by_inputs.insert(key, self.graph.nodes.len());
            steps.push(self.graph.nodes.len());
            self.graph.nodes.push(node);
        }
        self.graph.points.push(steps);
        Ok(())
    }

    fn node(
        &self,
        at: usize,
        variant: &Variant,
        group: usize,
        place: usize,
        inputs: &[(usize, usize)],
        seeded: bool,
    ) -> Result<Node, SweepError> {
        let stage = &self.groups[group].stages[place];
        let kind = stage.spec.kind.as_str();
        let keys: Option<Vec<(Key, usize)>> = inputs
            .iter()
            .map(|(node, repeat)| Some((self.graph.nodes[*node].id.as_ref()?.key(), *repeat)))
            .collect();
        let id = match (keys, &variant.resources, stage.kind) {
            (Some(keys), Some(resources), Some(known)) => {
                let texts = KeyTexts {
                    kind,
                    code_version: known.code_version(),
                    values: &variant.values,
                    resources,
                };
                Some(EntryId::new(kind, texts.key(&keys))?)
            }
            _ => None,
        };
        let blocked_input = inputs.iter().find_map(|(node, _)| {
            let node = &self.graph.nodes[*node];
            match &node.state {
                NodeState::Blocked(_) => Some(format!("its input `{}` is blocked", node.stage)),
                _ => None,
            }
        });
        let blockage = variant.blockage.clone().or(blocked_input.map(Arc::from));
        Ok(Node {
            stage: stage.spec.name.as_str().into(),
            kind: kind.into(),
            id,
            inputs: inputs.iter().map(|(node, _)| *node).collect(),
            needs: variant.needs.clone(),
            state: match blockage {
                Some(why) => NodeState::Blocked(why),
                None => NodeState::Open { partial: None },
            },
            point: at,
            uses: 1,
            expected: None,
            seeded,
        })
    }

    fn variant(
        &mut self,
        group: usize,
        place: usize,
        point: &GraphPoint<'_>,
        seed: Option<u64>,
    ) -> Result<Arc<Variant>, SweepError> {
        let stage = &self.groups[group].stages[place];
        let mut name = String::new();
        for at in &stage.reads {
            name.push_str(&point.settings[*at].text);
            name.push('\n');
        }
        if let Some(seed) = seed {
            name.push_str(&seed.to_string());
        }
        if let Some(variant) = stage.variants.get(&name) {
            return Ok(variant.clone());
        }
        let variant = Arc::new(self.make_variant(group, place, point, seed)?);
        self.groups[group].stages[place]
            .variants
            .insert(name, variant.clone());
        Ok(variant)
    }

    fn make_variant(
        &mut self,
        group: usize,
        place: usize,
        point: &GraphPoint<'_>,
        seed: Option<u64>,
    ) -> Result<Variant, SweepError> {
        let stage = &self.groups[group].stages[place];
        let mut config = stage.config.clone();
        let mut whole = stage.spec.config.clone();
        let mut values = stage.values.clone();
        let mut changes: Vec<(&str, Value)> = stage
            .reads
            .iter()
            .map(|at| (point.settings[*at].key(), point.settings[*at].value.clone()))
            .collect();
        changes.extend(seed.map(|seed| ("run.seed", seed.into())));
        for (path, value) in changes {
            let wrong = |error: crate::config::schema::SetError| {
                SweepError::from(ConfigErrors::from(Problem::error(format!(
                    "{path}: {error}"
                ))))
            };
            whole.set(path, &value).map_err(wrong)?;
            if let Some(known) = values.get_mut(path) {
                config.set(path, &value).map_err(wrong)?;
                // As the configuration writes it.
                *known = config.get(path).unwrap_or(value);
            }
        }
        let problems = stage.spec.problems_with(&whole);
        if !problems.is_empty() {
            return Err(ConfigErrors { problems }.into());
        }
        let mut blockages = Vec::new();
        let mut resources = None;
        match stage.kind {
            None => blockages.push(Blockage::NoSuchKind {
                kind: stage.spec.kind.as_str().to_owned(),
            }),
            Some(kind) => {
                let kinds: Vec<&str> = stage
                    .inputs
                    .iter()
                    .map(|(place, _)| self.groups[group].stages[*place].spec.kind.as_str())
                    .collect();
                let query = ResourceQuery {
                    config: &config,
                    inputs: &kinds,
                    hashes: self.hashes,
                    project: self.project,
                };
                match kind.resources(&query) {
                    Ok(found) => {
                        resources = resources_text(&found);
                        let missing = found.into_iter().filter(|r| r.missing.is_some());
                        blockages.extend(missing.map(Blockage::Missing));
                    }
                    Err(StageError::Failed(message)) => {
                        blockages.push(Blockage::Unusable { message });
                    }
                    Err(StageError::Interrupted) => blockages.push(Blockage::Unusable {
                        message: "looking at its external inputs was interrupted".into(),
                    }),
                }
            }
        }
        let values = Value::Object(values).to_string();
        let identity = format!("{} {values} {resources:?}", stage.spec.kind);
        let next = self.by_values.len();
        let number = *self.by_values.entry(identity).or_insert(next);
        let texts: Vec<_> = blockages.iter().map(blockage_text).collect();
        Ok(Variant {
            number,
            values,
            resources,
            blockage: (!texts.is_empty()).then(|| texts.join("; ").into()),
            needs: whole.needs,
        })
    }
}

/// Finds out what there is in the store, and what is needed of the rest.
fn judge(graph: &mut Graph, store: &Store) -> Result<(), SweepError> {
    let kinds: HashSet<Arc<str>> = graph.nodes.iter().map(|node| node.kind.clone()).collect();
    let mut ready = HashMap::new();
    let mut partial = HashMap::new();
    for kind in kinds {
        ready.insert(kind.clone(), store.keys(&kind)?);
        partial.insert(kind.clone(), store.partial_keys(&kind)?);
    }
    for node in &mut graph.nodes {
        let Some(id) = &node.id else { continue };
        if ready[&node.kind].contains(&id.key()) {
            node.state = NodeState::Ready;
        } else if let NodeState::Open { partial: found } = &mut node.state
            && partial[&node.kind].contains(&id.key())
        {
            *found = store.partial(id);
        }
    }
    // What is open counts if nothing takes it in, or something that is open.
    let mut takers = vec![0usize; graph.nodes.len()];
    let mut wanted = vec![false; graph.nodes.len()];
    for at in (0..graph.nodes.len()).rev() {
        let node = &graph.nodes[at];
        wanted[at] |= takers[at] == 0;
        let runs = wanted[at] && node.state != NodeState::Ready;
        for input in node.inputs.clone() {
            takers[input] += 1;
            wanted[input] |= runs;
        }
    }
    for (node, wanted) in graph.nodes.iter_mut().zip(wanted) {
        if !wanted && node.state != NodeState::Ready {
            node.state = NodeState::Unneeded;
        }
    }
    Ok(())
}

impl Graph {
    /// Estimates how long open steps take: as long as the last one of the same
    /// stage, else as the middle one of the kind.
    pub fn expect(&mut self, store: &Store) -> Result<(), SweepError> {
        let is_open = |node: &Node| matches!(node.state, NodeState::Open { .. });
        let kinds: BTreeMap<Arc<str>, ()> = self
            .nodes
            .iter()
            .filter(|node| is_open(node))
            .map(|node| (node.kind.clone(), ()))
            .collect();
        for (kind, ()) in kinds {
            let mut known: Vec<(u64, String, f64)> = Vec::new();
            for entry in store.entries(&kind)? {
                let manifest = entry.manifest();
                let description = &manifest.description;
                if description.experiment == self.experiment {
                    known.push((
                        manifest.published_ms,
                        description.stage.clone(),
                        description.seconds,
                    ));
                } else {
                    known.push((manifest.published_ms, String::new(), description.seconds));
                }
            }
            known.sort_by_key(|(published, ..)| std::cmp::Reverse(*published));
            let mut all: Vec<f64> = known.iter().map(|(.., seconds)| *seconds).collect();
            all.sort_by(f64::total_cmp);
            let middle = all.get(all.len() / 2).copied();
            for node in self.nodes.iter_mut().filter(|node| node.kind == kind) {
                if let NodeState::Open { partial } = &node.state {
                    let same = known.iter().find(|(_, stage, _)| **stage == *node.stage);
                    let seconds = same.map(|(.., seconds)| *seconds).or(middle);
                    let spent = partial.as_ref().map_or(0.0, |partial| partial.seconds);
                    node.expected = seconds
                        .and_then(|s| Duration::try_from_secs_f64((s - spent).max(0.0)).ok());
                }
            }
        }
        Ok(())
    }

    /// Why a point cannot run, if it cannot.
    pub fn blockage(&self, point: usize) -> Option<&str> {
        let mut steps = self.points[point].iter();
        steps.find_map(|step| match &self.nodes[*step].state {
            NodeState::Blocked(why) => Some(&**why),
            _ => None,
        })
    }

    /// Whether all steps of a point are done.
    pub fn is_done(&self, point: usize) -> bool {
        let steps = self.points[point].iter();
        steps
            .map(|step| &self.nodes[*step].state)
            .all(|state| matches!(state, NodeState::Ready | NodeState::Unneeded))
    }
}
