//! From a sweep file to a sweep: its points, numbered, on the experiment as it
//! was when the sweep was begun.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::{Component, Path, PathBuf};

use crate::config::schema::{self, shard_count};
use crate::config::{
    ConfigErrors, Experiment, Family, Location, Problem, Request, Setting, SourceKind, nearest,
    stage_differences,
};
use crate::runner::plan::project_of;
use crate::runner::registry::Registry;
use crate::runner::unread::keys_of;
use crate::store::{Lease, Project};

use super::axes::clashes;
use super::error::SweepError;
use super::expand::{self, PointSpec};
use super::file::SweepRequest;
use super::folder::{Frozen, Header, PointLine, SweepFolder, identity};
use super::graph::{Graph, GraphPoint, Misfits, plan};
use super::metric::Metric;
use super::spec::{ASK_ABOVE, MAX_POINTS, SweepSpec};
use crate::store::ContentHashes;

/// A sweep with all of its points.
#[derive(Debug)]
pub struct Sweep {
    /// What it was begun with.
    pub header: Header,
    /// Where it is kept.
    pub folder: SweepFolder,
    /// Its project.
    pub project: Project,
    /// The experiment of all points.
    pub family: Family,
    /// Its points by number, dropped ones included.
    pub points: Vec<PointLine>,
    /// Their values.
    pub settings: Vec<Vec<Setting>>,
    /// Points to run above which people are asked.
    pub ask_above: usize,
    /// Lines that are not written yet.
    unwritten: Vec<PointLine>,
    /// Whether the header is not written yet.
    is_new: bool,
}

/// How a sweep is prepared.
#[derive(Debug, Clone, Default)]
pub struct Preparation {
    /// Another name.
    pub name: Option<String>,
    /// Whether changes of the experiment are taken into all points.
    pub update: bool,
}

impl Sweep {
    /// Makes the sweep of a request, going on with what there is of it. Writes
    /// nothing.
    ///
    /// # Errors
    /// What is wrong with the sweep or the experiment; another sweep has the
    /// name; the experiment changed since the sweep was begun.
    pub fn prepare(
        request: SweepRequest,
        preparation: &Preparation,
        registry: &Registry,
    ) -> Result<Sweep, SweepError> {
        let SweepRequest {
            mut spec,
            overrides,
        } = request;
        if let Some(name) = &preparation.name {
            spec.name.clone_from(name);
        }
        spec.base = tidy(&spec.base);
        let mut base = Request::new(&spec.base).overrides(overrides);
        base.point = spec.fixed.iter().map(Setting::as_override).collect();
        let family = Family::new(&base)?;
        check_given(&family, &spec)?;
        let in_file = |errors: ConfigErrors| shown_in_file(errors, &spec);
        let points = match &spec.search {
            Some(_) => Vec::new(),
            None => expand::points(&spec)?,
        };
        let first = match (&spec.search, points.first()) {
            (Some(search), _) => super::search_run::first_point(search, &family),
            (None, Some(point)) => point.settings.clone(),
            (None, None) => Vec::new(),
        };
        // Without a point, mistakes of axes are shown where the axes stand; values
        // that only points give are missing then.
        if let Ok(experiment) = family.member(&[]) {
            check_experiment(&experiment, &spec, registry)?;
        }
        let experiment = family.member(&overrides_of(&first)).map_err(in_file)?;
        check_experiment(&experiment, &spec, registry)?;
        let seeds = match &spec.seeds {
            Some(seeds) => seeds.clone(),
            None => experiment.info.seeds.clone(),
        };
        let count = points.len().saturating_mul(seeds.len().max(1));
        if count > spec.max_points {
            let title = format!(
                "the sweep has {count} points with its {} seeds, more than {}",
                seeds.len(),
                spec.max_points
            );
            let problem = Problem::error(title);
            let help = "take values or seeds away, or raise max_points under [sweep]";
            return Err(ConfigErrors::from(problem.help(help)).into());
        }
        let listed = spec.search.as_ref().map_or_else(Vec::new, |search| {
            super::search_run::listed_points(search, &first)
        });
        let all = points.iter().map(|point| point.settings.as_slice());
        let all = all.chain(listed.iter().map(Vec::as_slice));
        let representatives = representatives(all, &first);
        let members: Vec<Experiment> = representatives
            .iter()
            .map(|point| family.member(point))
            .collect::<Result<_, _>>()
            .map_err(in_file)?;
        let mut problems: Vec<Problem> = Vec::new();
        for problem in members.iter().flat_map(|member| registry.problems(member)) {
            // Most points have the same stages.
            if !problems.contains(&problem) {
                problems.push(problem);
            }
        }
        if !problems.is_empty() {
            return Err(in_file(ConfigErrors { problems }).into());
        }
        let project = project_of(&experiment)?;
        let folder = SweepFolder::of(&project, &spec.name);
        let earlier = folder.header()?;
        let file = project.working_dir().join(tidy(&spec.file));
        if let Some(earlier) = &earlier
            && tidy(&earlier.file) != tidy(&file)
        {
            return Err(SweepError::OtherFile {
                name: spec.name,
                file: earlier.file.clone(),
            });
        }
        let kept = folder.points()?;
        if let Some(earlier) = earlier.as_ref().filter(|_| !preparation.update) {
            let changes = changes(earlier, &family, &representatives)?;
            if !changes.is_empty() {
                return Err(SweepError::Changed {
                    name: spec.name,
                    changes,
                });
            }
        }
        let mut frozen = Frozen::of(&family.frozen(&members));
        if let Some(earlier) = &earlier {
            for (path, text) in &earlier.frozen.texts {
                frozen
                    .texts
                    .entry(path.clone())
                    .or_insert_with(|| text.clone());
            }
        }
        let header = Header {
            format: 1,
            name: spec.name.clone(),
            title: spec.title.clone(),
            file,
            working_dir: project.working_dir().to_owned(),
            created_ms: earlier
                .as_ref()
                .map_or_else(now_ms, |header| header.created_ms),
            program: env!("CARGO_PKG_VERSION").to_owned(),
            metric: spec.metric.as_ref().map(Metric::to_string),
            goal: spec.goal.as_str().to_owned(),
            show: spec.show.iter().map(Metric::to_string).collect(),
            frozen,
            search: spec.search.clone(),
            seeds: seeds.clone(),
        };
        let mut sweep = Sweep {
            header,
            folder,
            project,
            family,
            settings: Vec::new(),
            points: kept,
            ask_above: spec.ask_above,
            unwritten: Vec::new(),
            is_new: true,
        };
        sweep.settings = sweep
            .points
            .iter()
            .map(PointLine::settings)
            .collect::<Result<_, _>>()?;
        if spec.search.is_none() {
            sweep.take_in(&points, &seeds);
        }
        Ok(sweep)
    }

    /// A sweep that was begun, as it was then.
    ///
    /// # Errors
    /// There is none of this name, or it cannot be read.
    pub fn open(project: &Project, name: &str) -> Result<Sweep, SweepError> {
        let folder = SweepFolder::of(project, name);
        let Some(header) = folder.header()? else {
            return Err(SweepError::Unknown {
                wanted: name.to_owned(),
                known: SweepFolder::names(project),
            });
        };
        let family = Family::new(&header.frozen.request())?;
        let points = folder.points()?;
        let settings = points
            .iter()
            .map(PointLine::settings)
            .collect::<Result<_, _>>()?;
        Ok(Sweep {
            header,
            folder,
            project: project.clone(),
            family,
            points,
            settings,
            ask_above: ASK_ABOVE,
            unwritten: Vec::new(),
            is_new: false,
        })
    }

    /// Makes the points of the file the points of the sweep: known ones keep
    /// their numbers, new ones are added, and those that are gone are dropped.
    fn take_in(&mut self, points: &[PointSpec], seeds: &[u64]) {
        let mut known: HashMap<String, usize> = HashMap::new();
        for line in &self.points {
            known.insert(line.identity(), line.point);
        }
        let seeds: Vec<Option<u64>> = match seeds {
            [] => vec![None],
            seeds => seeds.iter().copied().map(Some).collect(),
        };
        let mut current = HashSet::new();
        for point in points {
            let settings: Vec<String> = overrides_of(&point.settings);
            let name = settings.join(" ");
            for seed in &seeds {
                match known.get(&identity(&name, *seed)) {
                    Some(at) => {
                        current.insert(*at);
                        let line = &mut self.points[*at];
                        if line.dropped || line.labels != point.labels {
                            line.dropped = false;
                            line.labels.clone_from(&point.labels);
                            self.unwritten.push(line.clone());
                        }
                    }
                    None => {
                        current.insert(self.points.len());
                        let line = PointLine {
                            point: self.points.len(),
                            settings: settings.clone(),
                            seed: *seed,
                            labels: point.labels.clone(),
                            added: false,
                            dropped: false,
                        };
                        self.push(line, point.settings.clone());
                    }
                }
            }
        }
        for line in &mut self.points {
            if !line.added && !line.dropped && !current.contains(&line.point) {
                line.dropped = true;
                self.unwritten.push(line.clone());
            }
        }
    }

    /// Adds a point.
    pub(super) fn push(&mut self, line: PointLine, settings: Vec<Setting>) {
        self.points.push(line.clone());
        self.settings.push(settings);
        self.unwritten.push(line);
    }

    /// Adds points: those that there are, with other values of some keys, or
    /// with more seeds. How many are new.
    ///
    /// # Errors
    /// A value is wrong; the sweep searches for its points itself.
    pub fn extend(
        &mut self,
        arguments: &[String],
        registry: &Registry,
    ) -> Result<usize, SweepError> {
        if self.header.search.is_some() {
            return Err(SweepError::Refused(format!(
                "sweep `{}` searches for its points, none can be added; raise `trials` under \
                 [search] in {} and run it again, or list points in a sweep of their own",
                self.header.name,
                self.header.file.display()
            )));
        }
        let before = self.points.len();
        let (axes, seeds) = super::file::extension(arguments)?;
        let names: Vec<&str> = axes
            .iter()
            .flat_map(|axis| &axis.keys)
            .map(|k| k.0.as_str())
            .collect();
        if let Some((name, _)) = self.family.given().iter().find(|(name, place)| {
            place.source.kind != SourceKind::Point && names.iter().any(|key| clashes(key, name))
        }) {
            return Err(SweepError::Refused(format!(
                "`{name}` is set for all points of the sweep and cannot vary"
            )));
        }
        let first = self.active().next();
        let first = first.map_or_else(Vec::new, |point| self.overrides(point));
        let mut problems = Vec::new();
        let keys = axes.iter().flat_map(|axis| &axis.keys);
        let keys = keys.map(|(path, place)| (path, Some(place)));
        check_axes(&self.family.member(&first)?, keys, registry, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigErrors { problems }.into());
        }
        let mut all: Vec<(Vec<Setting>, Option<u64>)> = self
            .active()
            .map(|at| (self.settings[at].clone(), self.points[at].seed))
            .collect();
        let per_axis = axes.iter().map(|axis| axis.rows.len().saturating_add(1));
        let count = per_axis.fold(all.len(), usize::saturating_mul);
        let count = count.saturating_mul(seeds.len() + 1);
        if count > MAX_POINTS {
            return Err(SweepError::Refused(format!(
                "the sweep would have up to {count} points, more than {MAX_POINTS}; add fewer \
                 values at a time"
            )));
        }
        let mut known: HashSet<String> = self.points.iter().map(PointLine::identity).collect();
        for axis in &axes {
            let paths: Vec<&String> = axis.keys.iter().map(|(path, _)| path).collect();
            for (settings, seed) in all.clone() {
                for row in &axis.rows {
                    let mut changed = settings.clone();
                    changed.retain(|setting| !paths.contains(&&setting.path));
                    changed.extend(row.settings.iter().cloned());
                    changed.sort_by(|a, b| a.path.cmp(&b.path));
                    self.add(changed, seed, &mut known, &mut all);
                }
            }
        }
        for (settings, _) in all.clone() {
            for seed in &seeds {
                self.add(settings.clone(), Some(*seed), &mut known, &mut all);
            }
        }
        for at in before..self.points.len() {
            // What is wrong with a value is told now, not in the middle of the run.
            let problems = registry.problems(&self.family.member(&self.overrides(at))?);
            if !problems.is_empty() {
                return Err(ConfigErrors { problems }.into());
            }
        }
        Ok(self.points.len() - before)
    }

    fn add(
        &mut self,
        settings: Vec<Setting>,
        seed: Option<u64>,
        known: &mut HashSet<String>,
        all: &mut Vec<(Vec<Setting>, Option<u64>)>,
    ) {
        let line = PointLine {
            point: self.points.len(),
            settings: overrides_of(&settings),
            seed,
            labels: Vec::new(),
            added: true,
            dropped: false,
        };
        if known.insert(line.identity()) {
            all.push((settings.clone(), seed));
            self.push(line, settings);
        }
    }

    /// Numbers of the points that are part of it.
    pub fn active(&self) -> impl Iterator<Item = usize> + '_ {
        let points = self.points.iter().filter(|line| !line.dropped);
        points.map(|line| line.point)
    }

    /// The overrides of a point.
    pub fn overrides(&self, point: usize) -> Vec<String> {
        self.graph_point(point).overrides()
    }

    fn graph_point(&self, point: usize) -> GraphPoint<'_> {
        GraphPoint {
            settings: &self.settings[point],
            seed: self.points[point].seed,
        }
    }

    /// The experiment of a point.
    pub fn experiment(&self, point: usize) -> Result<Experiment, SweepError> {
        let mut experiment = self.family.member(&self.overrides(point))?;
        super::divide::divide(&mut experiment)?;
        Ok(experiment)
    }

    /// The experiment of the first point; of a search, of the first whose values go
    /// together, or of some point of its space. None if there is no point.
    pub fn first_experiment(&self) -> Result<Option<Experiment>, SweepError> {
        let Some(search) = &self.header.search else {
            let first = self.active().next();
            return first.map(|point| self.experiment(point)).transpose();
        };
        let mut tried = self
            .active()
            .filter_map(|point| self.experiment(point).ok());
        if let Some(experiment) = tried.next() {
            return Ok(Some(experiment));
        }
        let point = overrides_of(&super::search_run::first_point(search, &self.family));
        let mut experiment = self.family.member(&point)?;
        super::divide::divide(&mut experiment)?;
        Ok(Some(experiment))
    }

    /// The steps of all active points; `graph.points` is in the order of
    /// [`Sweep::active`].
    pub fn graph(&self, registry: &Registry) -> Result<Graph, SweepError> {
        self.graph_of(&self.active().collect::<Vec<_>>(), registry)
    }

    /// The steps of some points, in their order.
    pub fn graph_of(&self, points: &[usize], registry: &Registry) -> Result<Graph, SweepError> {
        let points: Vec<_> = points.iter().map(|at| self.graph_point(*at)).collect();
        self.plan(&points, registry)
    }

    /// The steps of points that need not be part of it.
    pub(super) fn graph_of_points(
        &self,
        points: &[(Vec<Setting>, Option<u64>)],
        registry: &Registry,
    ) -> Result<Graph, SweepError> {
        let points = points.iter().map(|(settings, seed)| GraphPoint {
            settings,
            seed: *seed,
        });
        self.plan(&points.collect::<Vec<_>>(), registry)
    }

    fn plan(&self, points: &[GraphPoint<'_>], registry: &Registry) -> Result<Graph, SweepError> {
        let hashes = ContentHashes::open(&self.project, false);
        let misfits = match self.header.search {
            Some(_) => Misfits::Blocked,
            None => Misfits::Refused,
        };
        let (family, project) = (&self.family, &self.project);
        let graph = plan(family, points, misfits, registry, project, &hashes)?;
        // Only a hint for the next plan.
        if self.project.home().is_dir() {
            let _ = hashes.save();
        }
        Ok(graph)
    }

    /// Takes the sweep for this process and writes down what is new.
    ///
    /// # Errors
    /// Another process has it, or the files cannot be written.
    pub fn begin(&mut self) -> Result<Lease, SweepError> {
        self.project.create()?;
        let lease = self.folder.take(&self.header.name, &self.project)?;
        self.save()?;
        self.folder.forget_stop();
        Ok(lease)
    }

    /// Writes down what is new.
    pub fn save(&mut self) -> Result<(), SweepError> {
        if self.is_new {
            self.folder.write_header(&self.header)?;
            self.is_new = false;
        }
        self.folder.add_points(&self.unwritten)?;
        self.unwritten.clear();
        Ok(())
    }
}

fn now_ms() -> u64 {
    jiff::Timestamp::now().as_millisecond().max(0) as u64
}

/// Settings as overrides.
pub(super) fn overrides_of(settings: &[Setting]) -> Vec<String> {
    settings.iter().map(Setting::as_override).collect()
}

/// A path without `.` and, as far as possible, without `..`.
fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for part in path.components() {
        match part {
            Component::CurDir => {}
            Component::ParentDir
                if matches!(tidy.components().next_back(), Some(Component::Normal(_))) =>
            {
                tidy.pop();
            }
            part => tidy.push(part),
        }
    }
    tidy
}

/// What varies is set by nobody else.
fn check_given(family: &Family, spec: &SweepSpec) -> Result<(), ConfigErrors> {
    let axes = spec.blocks.iter().flat_map(|block| &block.axes);
    let mut keys: Vec<(&String, Option<&Location>)> = axes
        .flat_map(|axis| &axis.keys)
        .map(|(path, place)| (path, Some(place)))
        .collect();
    let space = spec.search.iter().flat_map(|search| &search.space);
    keys.extend(space.map(|dimension| (&dimension.path, dimension.location.as_ref())));
    let mut problems = Vec::new();
    for (name, place) in family.given() {
        if place.source.kind == SourceKind::Point {
            continue;
        }
        if let Some((path, axis)) = keys.iter().find(|(path, _)| clashes(path, &name)) {
            let problem =
                Problem::error(format!("the sweep varies `{path}`")).at(place, "set here");
            let problem = axis
                .iter()
                .fold(problem, |p, at| p.at((*at).clone(), "varies here"));
            problems.push(problem.help("take one of the two away"));
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(ConfigErrors { problems }),
    }
}

/// Problems of points, with where the sweep file gives their values.
fn shown_in_file(mut errors: ConfigErrors, spec: &SweepSpec) -> ConfigErrors {
    for problem in &mut errors.problems {
        let of_point = |place: &Location| place.source.kind == SourceKind::Point;
        let Some((value, _)) = problem.places.iter().find(|(place, _)| of_point(place)) else {
            continue;
        };
        let key = value.source.text.split('=').next().unwrap_or_default();
        if let Some(place) = spec.place(key) {
            problem.places.insert(0, (place.clone(), String::new()));
        }
    }
    errors
}

/// A problem where it stands, if that is known.
pub(super) fn placed(problem: Problem, place: Option<&Location>) -> Problem {
    match place {
        Some(place) => problem.at(place.clone(), ""),
        None => problem,
    }
}

pub(super) fn unknown_stage(experiment: &Experiment, name: &str) -> Problem {
    let names = || experiment.stages.iter().map(|stage| stage.name.as_str());
    let problem = Problem::error(format!("there is no stage `{name}`"));
    match nearest(name, names()) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem.help(format!(
            "stages are {}",
            names().collect::<Vec<_>>().join(", ")
        )),
    }
}

/// What varies is read by some stage.
fn check_axes<'a>(
    experiment: &Experiment,
    axes: impl Iterator<Item = (&'a String, Option<&'a Location>)>,
    registry: &Registry,
    problems: &mut Vec<Problem>,
) {
    let mut seen = HashSet::new();
    for (path, place) in axes {
        if !seen.insert(path) {
            continue;
        }
        let (stage, key) = match path.strip_prefix("stage.").and_then(|r| r.split_once('.')) {
            Some((stage, key)) => (Some(stage), key),
            None => (None, path.as_str()),
        };
        if let Some(name) = stage
            && experiment.stage(name).is_none()
        {
            problems.push(placed(unknown_stage(experiment, name), place));
            continue;
        }
        if path.starts_with("use.") || stage.is_some() && matches!(key, "kind" | "inputs") {
            continue;
        }
        if schema::key(key).is_none() {
            let problem = Problem::error(format!("`{path}` is nothing that stages read"));
            let problem = problem.help("axes are keys of the configuration; for repeats write seeds = [1, 2, 3] under [sweep]");
            problems.push(placed(problem, place));
            continue;
        }
        let mut stages = experiment
            .stages
            .iter()
            .filter(|other| stage.is_none_or(|name| other.name == name));
        if !stages.any(|stage| keys_of(stage, registry).contains(key)) {
            let problem = Problem::error(format!(
                "no stage of this experiment reads {path}: all of its points would be the same"
            ));
            problems.push(placed(problem, place));
        }
    }
}

/// What varies is read by some stage, and metrics are of stages that there are.
fn check_experiment(
    experiment: &Experiment,
    spec: &SweepSpec,
    registry: &Registry,
) -> Result<(), ConfigErrors> {
    let mut problems: Vec<Problem> = Vec::new();
    let axes = spec.blocks.iter().flat_map(|block| &block.axes);
    let axes = axes.flat_map(|axis| axis.keys.iter().map(|(path, at)| (path, Some(at))));
    let space = spec.search.iter().flat_map(|search| &search.space);
    let space = space.map(|dimension| (&dimension.path, dimension.location.as_ref()));
    check_axes(experiment, axes.chain(space), registry, &mut problems);
    for metric in spec.metric.iter().chain(&spec.show) {
        if experiment.stage(&metric.stage).is_none() {
            let problem = unknown_stage(experiment, &metric.stage);
            let problem = problem.help(format!("named by the metric {metric}"));
            problems.push(placed(problem, spec.place(&metric.to_string())));
        }
    }
    let prune = spec.search.iter().find_map(|search| search.prune.as_ref());
    if let Some(prune) = prune {
        super::prune_check::check(experiment, prune, registry, &mut problems);
    }
    if spec.search.is_some() && spec.metric.is_none() {
        let problem = Problem::error("a search needs a metric to go by");
        problems.push(problem.help("write metric = \"STAGE.FIELD\" under [sweep]"));
    }
    for text in &experiment.launcher.shards {
        if let Some((name, _)) = shard_count(text)
            && experiment.stage(name).is_none()
        {
            let problem = unknown_stage(experiment, name).help("named in launcher.shards");
            problems.push(placed(problem, spec.place("launcher.shards")));
        }
    }
    match problems.is_empty() {
        true => Ok(()),
        false => Err(ConfigErrors { problems }),
    }
}

/// One point for each choice of groups, kinds and inputs, as overrides.
fn representatives<'a>(
    points: impl Iterator<Item = &'a [Setting]>,
    first: &'a [Setting],
) -> Vec<Vec<String>> {
    let mut found: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for settings in std::iter::once(first).chain(points) {
        let structural: Vec<String> = settings
            .iter()
            .filter(|s| s.path.starts_with("use.") || schema::key(s.key()).is_none())
            .map(Setting::as_override)
            .collect();
        found
            .entry(structural.join(" "))
            .or_insert_with(|| overrides_of(settings));
    }
    found.into_values().collect()
}

/// Whether a key of an experiment or of one of its stages has a part in results:
/// how runs are called, followed and mirrored may change under a sweep.
fn shapes_results(path: &str) -> bool {
    let in_stage = path.strip_prefix("stage.");
    let path = in_stage
        .and_then(|rest| Some(rest.split_once('.')?.1))
        .unwrap_or(path);
    let is_cosmetic = schema::key(path).is_some_and(|key| key.cosmetic);
    !is_cosmetic && !path.starts_with("tracking.")
}

/// What is different from when the sweep was begun, a line each.
fn changes(
    earlier: &Header,
    family: &Family,
    representatives: &[Vec<String>],
) -> Result<Vec<String>, SweepError> {
    let old = Family::new(&earlier.frozen.request())?;
    let mut lines: Vec<String> = Vec::new();
    for point in representatives {
        let now = family.member(point)?;
        // Files of groups that are new to the sweep were not kept.
        let Ok(then) = old.member(point) else {
            continue;
        };
        let differences = stage_differences(&then, &now);
        for difference in differences.iter().filter(|it| shapes_results(&it.path)) {
            let [before, after] = difference.texts();
            let origin = difference.sides[1]
                .as_ref()
                .map(|(_, origin)| origin.to_string());
            let origin = origin
                .map(|origin| format!(" ({origin})"))
                .unwrap_or_default();
            let line = format!("  {} {before} → {after}{origin}", difference.path);
            if !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    Ok(lines)
}
