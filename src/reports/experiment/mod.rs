//! What an experiment's stages left in the store, gathered for its tables and
//! its page.

use std::cell::RefCell;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

use thiserror::Error;

use crate::config::{Cell, CellKind, ConfigErrors, Experiment, Problem, Show};
use crate::reports::evaluate::{EvaluateError, EvaluatedTable, evaluate};
use crate::reports::field::Field;
use crate::reports::local::describe;
use crate::reports::page::{Gallery, Notebook, ShownPlot, ShownTable};
use crate::reports::plot::{Figure, MakeError, PlotSpec, make};
use crate::reports::record::Record;
use crate::reports::remote::Service;
use crate::reports::render::{Document, Origin};
use crate::reports::sources::{Loader, SourceError};
use crate::reports::spec::{SourceSpec, TableSpec};
use crate::reports::wanted::Wanted;
use crate::runner::{Plan, Step, StepState};
use crate::store::{Entry, Key, StoreError};

mod cells;
mod stages;
mod unknown;

use cells::default_plots;
pub use cells::{plot_specs, table_specs};

pub use crate::runner::sweep::RECORDS_FILE;

/// File in which a stage leaves pictures for the page.
pub const GALLERY_FILE: &str = "gallery/gallery.json";

/// Why the results of an experiment cannot be shown.
#[derive(Debug, Error)]
pub enum ReportError {
    /// Cells are wrong.
    #[error(transparent)]
    Cells(#[from] ConfigErrors),
    /// Records cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A table cannot be made.
    #[error(transparent)]
    Evaluate(#[from] EvaluateError),
    /// A file of an output cannot be read.
    #[error("failed to read {path}: {reason}")]
    Output {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The store is damaged.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A plot cannot be drawn.
    #[error(transparent)]
    Plot(#[from] MakeError),
    /// A field that no row has.
    #[error("{}", .0.title)]
    UnknownField(Box<Problem>),
}

/// A table or plot that cannot be made.
#[derive(Clone, Debug)]
pub struct CellFailure {
    /// Its section and name, such as `table.summary`.
    pub cell: String,
    /// Why, with the place in the file.
    pub problem: Problem,
}

/// What is wrong with a cell, with the place in the file.
pub fn problem_of(cell: &Cell, error: &ReportError) -> Problem {
    let key = match error {
        ReportError::UnknownField(problem) => return (**problem).clone(),
        ReportError::Source(_) | ReportError::Plot(MakeError::Source(_)) => "source",
        ReportError::Evaluate(error) => match error {
            EvaluateError::Several { .. } => "replicates",
            EvaluateError::Partial { .. } => "partial",
            EvaluateError::NoRow { .. } => "compare_to",
            EvaluateError::Published { .. } => "published",
        },
        // The cell as a whole.
        _ => "",
    };
    Problem::error(error.to_string()).at(cell.place(key).clone(), "")
}

/// Results of an experiment: only what belongs to its present configuration.
#[derive(Debug)]
pub struct ExperimentReport<'a> {
    experiment: &'a Experiment,
    plan: &'a Plan,
    records: Vec<Record>,
    warnings: RefCell<Vec<String>>,
}

impl<'a> ExperimentReport<'a> {
    /// Gathers the records of all stages that are up to date.
    pub fn collect(experiment: &'a Experiment, plan: &'a Plan) -> Result<Self, ReportError> {
        let by_key: HashMap<Key, &Entry> = finished(plan)
            .map(|(_, entry)| (entry.manifest().key, entry))
            .collect();
        let mut records = Vec::new();
        for (step, entry) in finished(plan) {
            records.extend(step_records(step, entry, &by_key)?);
        }
        Ok(Self {
            experiment,
            plan,
            records,
            warnings: RefCell::default(),
        })
    }

    /// The measured rows, in the order of the stages.
    pub fn records(&self) -> &[Record] {
        &self.records
    }

    /// The tables of the experiment file; `only` names one.
    pub fn tables(&self, only: Option<&str>) -> Result<Vec<EvaluatedTable>, ReportError> {
        let outputs: Vec<&Entry> = finished(self.plan).map(|(_, entry)| entry).collect();
        let loader = self.loader(&outputs);
        let mut tables = Vec::new();
        for spec in table_specs(self.experiment, only)? {
            tables.extend(self.table(&spec, &loader)?);
        }
        self.keep(&loader);
        Ok(tables)
    }

    fn table(
        &self,
        spec: &TableSpec,
        loader: &Loader<'_>,
    ) -> Result<Vec<EvaluatedTable>, ReportError> {
        let sources = loader.load(spec)?;
        if self.is_complete(CellKind::Table, &spec.name) {
            for (at, own) in spec.sources.iter().enumerate() {
                let fields = spec.measured(at);
                self.check_fields(&fields, own, &sources.0[at], loader)?;
            }
        }
        Ok(evaluate(spec, &sources)?)
    }

    /// Fails if no row of the stages has one of the fields.
    fn check_fields(
        &self,
        fields: &[&Field],
        source: &SourceSpec,
        records: &[Record],
        loader: &Loader<'_>,
    ) -> Result<(), ReportError> {
        if !source.is_of_stages() {
            return Ok(());
        }
        unknown::check(fields, records, &source.location, || {
            let everything = Wanted::default();
            let all = loader.sources(std::slice::from_ref(source), &everything)?;
            Ok(all.into_iter().flatten().collect())
        })
    }

    /// Whether all that a cell reads is there.
    fn is_complete(&self, kind: CellKind, name: &str) -> bool {
        let mut cells = self.plan.cells().iter();
        let step = cells.find(|step| step.cell_kind() == Some(kind) && step.stage == name);
        step.is_some_and(|step| !step.is_blocked() && self.plan.awaited(step).next().is_none())
    }

    /// The tables of the experiment file as files, one per cell; `only` names
    /// one.
    pub fn documents(&self, only: Option<&str>) -> Result<Vec<Document>, ReportError> {
        let mut documents: Vec<Document> = Vec::new();
        for table in self.tables(only)? {
            match documents.iter_mut().find(|own| own.name == table.name) {
                Some(document) => document.tables.push(table),
                None => documents.push(Document {
                    name: table.name.clone(),
                    title: None,
                    text: None,
                    origin: self.origin(&table.name),
                    tables: vec![table],
                }),
            }
        }
        Ok(documents)
    }

    /// Everything that the cells of a kind are made into, and those that cannot
    /// be made.
    fn each<T>(
        &self,
        kind: CellKind,
        make: impl Fn(&str) -> Result<T, ReportError>,
    ) -> (Vec<T>, Vec<CellFailure>) {
        let (mut made, mut failures) = (Vec::new(), Vec::new());
        for cell in self
            .experiment
            .cells
            .iter()
            .filter(|cell| cell.kind == kind)
        {
            match make(&cell.name) {
                Ok(own) => made.push(own),
                Err(error) => failures.push(CellFailure {
                    cell: cell.path(),
                    problem: problem_of(cell, &error),
                }),
            }
        }
        (made, failures)
    }

    /// The tables that can be made, and those that cannot.
    pub fn good_tables(&self) -> (Vec<EvaluatedTable>, Vec<CellFailure>) {
        let (tables, failures) = self.each(CellKind::Table, |name| self.tables(Some(name)));
        (tables.into_iter().flatten().collect(), failures)
    }

    fn keep(&self, loader: &Loader<'_>) {
        self.warnings.borrow_mut().extend(loader.warnings());
    }

    /// What is to be said about the records of the tables and plots so far.
    pub fn warnings(&self) -> Vec<String> {
        self.warnings.borrow().clone()
    }

    /// What renderings of a table name in their last line.
    pub fn origin(&self, table: &str) -> Origin {
        let cell = (self.experiment.cells.iter())
            .find(|cell| cell.kind == CellKind::Table && cell.name == table);
        let text = cell.map(|cell| cell.to_json().to_string());
        let hash = blake3::hash(text.unwrap_or_default().as_bytes()).to_hex();
        Origin {
            file: self
                .experiment
                .file
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
            hash: hash.as_str()[..16].to_owned(),
        }
    }

    /// The page. `run` is the run it belongs to, `facts` a line below the
    /// title; stages of runs that are going on are shown as they are.
    pub fn notebook(&self, run: &str, facts: &str) -> Result<Notebook, ReportError> {
        let info = &self.experiment.info;
        let name = info.name.clone().unwrap_or_default();
        let show = Show {
            origins: true,
            ..Show::default()
        };
        let (tables, mut failures) = self.good_tables();
        let (plots, failed) = self.plots()?;
        failures.extend(failed);
        let shown = |table: EvaluatedTable| ShownTable {
            origin: self.origin(&table.name),
            waits: self.waits(CellKind::Table, &table.name),
            table,
        };
        Ok(Notebook {
            title: info.title.clone().unwrap_or(name),
            prose: info.prose.clone().unwrap_or_default(),
            file: self.experiment.file.display().to_string(),
            run_id: run.to_owned(),
            facts: facts.to_owned(),
            stages: stages::lines(self.plan, run),
            plots,
            tables: tables.into_iter().map(shown).collect(),
            failures,
            galleries: self.galleries()?,
            configuration: show.experiment(self.experiment),
        })
    }

    /// Stages whose outputs do not belong to the file as it is now, or are not
    /// there, with the reason.
    pub fn outdated(&self) -> Vec<(String, String)> {
        let steps = self.plan.steps().iter();
        let outdated = steps.filter(|step| !step.is_up_to_date());
        outdated
            .map(|step| (step.name.clone(), stages::why(step).join("; ")))
            .collect()
    }

    fn loader<'b>(&'b self, outputs: &'b [&'b Entry]) -> Loader<'b> {
        let dir = self.experiment.file.parent();
        let loader = Loader::new(self.plan.project(), dir.unwrap_or(Path::new("")));
        let service = Service::of(&self.experiment.config.tracking.wandb);
        let loader = loader.with_service(service);
        loader.with_stages(&self.records, outputs)
    }

    /// The plots of the experiment file; `only` names one.
    pub fn figures(&self, only: Option<&str>) -> Result<Vec<(String, Figure)>, ReportError> {
        let outputs: Vec<&Entry> = finished(self.plan).map(|(_, entry)| entry).collect();
        let loader = self.loader(&outputs);
        let mut figures = Vec::new();
        for spec in plot_specs(self.experiment, only)? {
            figures.push((spec.name.clone(), self.figure(&spec, &loader)?));
        }
        self.keep(&loader);
        Ok(figures)
    }

    fn figure(&self, spec: &PlotSpec, loader: &Loader<'_>) -> Result<Figure, ReportError> {
        let figure = make(spec, loader)?;
        if figure.is_empty() && self.is_complete(CellKind::Plot, &spec.name) {
            let wanted = Wanted::by_plot(spec);
            let own = |source: &&SourceSpec| source.is_of_stages();
            for source in spec.sources.iter().filter(own) {
                let all = loader.sources(std::slice::from_ref(source), &wanted)?;
                self.check_fields(&spec.measured(), source, &all.concat(), loader)?;
            }
        }
        Ok(figure)
    }

    /// Loss and accuracy of every training over the samples seen, for
    /// experiments that say nothing about plots.
    fn training_curves(&self) -> Result<Vec<Figure>, ReportError> {
        let outputs: Vec<&Entry> = finished(self.plan).map(|(_, entry)| entry).collect();
        let loader = self.loader(&outputs);
        let mut figures = Vec::new();
        for spec in default_plots() {
            let figure = make(&spec, &loader)?;
            let has_points = figure.layers.iter().any(|layer| match layer {
                crate::reports::plot::Layer::Line { points, .. } => points.len() > 1,
                _ => false,
            });
            if has_points {
                figures.push(figure);
            }
        }
        Ok(figures)
    }

    /// The plots of the page that can be drawn, and those that cannot.
    fn plots(&self) -> Result<(Vec<ShownPlot>, Vec<CellFailure>), ReportError> {
        let specs = plot_specs(self.experiment, None)?;
        // The pictures that stages left have a part of the page.
        let own = |name: &str| {
            let mut specs = specs.iter();
            specs.any(|spec| spec.name == name && !spec.is_gallery_of_stages())
        };
        let (made, failures) = self.each(CellKind::Plot, |name| match own(name) {
            true => self.figures(Some(name)),
            false => Ok(Vec::new()),
        });
        let shown = |(name, figure): (String, Figure)| ShownPlot {
            waits: self.waits(CellKind::Plot, &name),
            figure,
        };
        let shown: Vec<ShownPlot> = made.into_iter().flatten().map(shown).collect();
        if !shown.is_empty() || !failures.is_empty() {
            return Ok((shown, failures));
        }
        let curves = self.training_curves()?.into_iter();
        let curves = curves.map(|figure| ShownPlot {
            figure,
            waits: None,
        });
        Ok((curves.collect(), failures))
    }

    /// What a table or plot lacks, in words; nothing if it shows all there is.
    fn waits(&self, kind: CellKind, name: &str) -> Option<String> {
        let mut cells = self.plan.cells().iter();
        let step = cells.find(|step| step.cell_kind() == Some(kind) && step.stage == name)?;
        let open = step
            .inputs
            .iter()
            .map(|input| &self.plan.steps()[input.step]);
        let open = open.filter(|step| !step.is_up_to_date());
        let names: Vec<&str> = open.map(|step| step.name.as_str()).collect();
        (!names.is_empty()).then(|| format!("without {}", names.join(", ")))
    }

    fn galleries(&self) -> Result<Vec<(Gallery, PathBuf)>, ReportError> {
        let mut galleries = Vec::new();
        for (_, entry) in finished(self.plan) {
            let path = entry.dir().join(GALLERY_FILE);
            if !path.exists() {
                continue;
            }
            let found: Vec<Gallery> = read_json(&path)?;
            let folder = path.parent().map_or_else(PathBuf::new, PathBuf::from);
            galleries.extend(found.into_iter().map(|gallery| (gallery, folder.clone())));
        }
        Ok(galleries)
    }
}

/// Steps whose output is in the store.
fn finished(plan: &Plan) -> impl Iterator<Item = (&Step, &Entry)> {
    plan.steps().iter().filter_map(|step| match &step.state {
        StepState::UpToDate(entry) => Some((step, entry.as_ref())),
        _ => None,
    })
}

/// The measured rows of a step.
fn step_records(
    step: &Step,
    entry: &Entry,
    by_key: &HashMap<Key, &Entry>,
) -> Result<Vec<Record>, ReportError> {
    let path = entry.dir().join(RECORDS_FILE);
    if !path.exists() {
        return Ok(Vec::new());
    }
    let mut records: Vec<Record> = read_json(&path)?;
    for record in &mut records {
        describe(record, entry, by_key, &Wanted::default());
        // The output may have been made under another name.
        record.set("stage", step.stage.as_str());
        if let Some(seed) = step.seed {
            record.set("seed", seed);
        }
    }
    Ok(records)
}

fn read_json<T: serde::de::DeserializeOwned>(path: &std::path::Path) -> Result<T, ReportError> {
    let failed = |reason: String| ReportError::Output {
        path: path.to_owned(),
        reason,
    };
    let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| failed(error.to_string()))
}
