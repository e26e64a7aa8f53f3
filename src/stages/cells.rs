//! Tables and plots of experiment files: `[table.NAME]` and `[plot.NAME]`.

use std::path::Path;

use crate::config::{Cell, CellKind, render};
use crate::reports::experiment::{
    ExperimentReport, ReportError, plot_specs, problem_of, table_specs,
};
use crate::reports::plot::print_svg;
use crate::reports::reads::Reads;
use crate::reports::record::Record;
use crate::reports::render::{Format, Style};
use crate::reports::sources::Loader;
use crate::runner::{CellContext, CellMaker, CellQuery, CellReads, Resource, StageError, Step};
use crate::store::{ContentHash, Project, Stamp, StoreError};

/// `[table.NAME]`: the table in every format that is text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Table;

/// `[plot.NAME]`: the plot as SVG.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plot;

impl CellMaker for Table {
    fn kind(&self) -> CellKind {
        CellKind::Table
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self, query: &CellQuery<'_>) -> Result<CellReads, StageError> {
        let specs = table_specs(query.experiment, Some(&query.cell.name));
        let specs = specs.map_err(|errors| StageError::failed(errors.render(false)))?;
        let loader = loader(query);
        let all = specs.iter().map(|spec| Reads::of_table(spec, &loader));
        reads(query, all.collect::<Result<_, _>>()?)
    }

    fn make(&self, context: &CellContext<'_>, out: &Path) -> Result<(), StageError> {
        let report = ExperimentReport::collect(context.experiment, context.plan)?;
        let name = &context.cell.name;
        let documents = report.documents(Some(name));
        let documents = documents.map_err(|error| told(context.cell, &error))?;
        for document in documents {
            for format in [
                Format::Text,
                Format::Markdown,
                Format::Csv,
                Format::Latex,
                Format::Html,
                Format::Json,
            ] {
                let file = out.join(format!("{name}.{}", format.extension()));
                std::fs::write(file, document.render(format, Style::Terminal)?)?;
            }
        }
        Ok(())
    }
}

impl CellMaker for Plot {
    fn kind(&self) -> CellKind {
        CellKind::Plot
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self, query: &CellQuery<'_>) -> Result<CellReads, StageError> {
        let specs = plot_specs(query.experiment, Some(&query.cell.name));
        let specs = specs.map_err(|errors| StageError::failed(errors.render(false)))?;
        let loader = loader(query);
        let all = specs.iter().map(|spec| Reads::of_plot(spec, &loader));
        reads(query, all.collect::<Result<_, _>>()?)
    }

    fn make(&self, context: &CellContext<'_>, out: &Path) -> Result<(), StageError> {
        let report = ExperimentReport::collect(context.experiment, context.plan)?;
        let name = &context.cell.name;
        let figures = report.figures(Some(name));
        for (name, figure) in figures.map_err(|error| told(context.cell, &error))? {
            std::fs::write(out.join(format!("{name}.svg")), print_svg(&figure)?)?;
        }
        Ok(())
    }
}

fn loader<'a>(query: &CellQuery<'a>) -> Loader<'a> {
    let dir = query.experiment.file.parent();
    Loader::new(query.project, dir.unwrap_or(Path::new("")))
}

/// An error of a cell, with the place in the file.
fn told(cell: &Cell, error: &ReportError) -> StageError {
    StageError::Failed(render(&[problem_of(cell, error)], false))
}

/// Steps and everything from outside that a cell reads, with identities.
fn reads(query: &CellQuery<'_>, all: Vec<Reads>) -> Result<CellReads, StageError> {
    let mut found = CellReads::default();
    for reads in &all {
        let steps = query.steps.iter().enumerate();
        let own = steps.filter(|(_, step)| reads.has_stage(&certain(step)));
        found.steps.extend(own.map(|(at, _)| at));
        for path in &reads.files {
            let name = path.display().to_string();
            let identity = query.hashes.file(path)?;
            let resource = Resource::present("file", &name, Some(path.clone()), identity);
            found.resources.push(resource);
        }
        if reads.store {
            let identity = identity_of_store(query.project)?;
            let name = "the outputs of all experiments";
            let resource = Resource::present("store", name, None, identity);
            found.resources.push(resource);
        }
        if let Some(folder) = &reads.pictures {
            let name = folder.display().to_string();
            let identity = identity_of_pictures(folder)?;
            let resource = Resource::present("pictures", &name, Some(folder.clone()), identity);
            found.resources.push(resource);
        }
        let projects = reads.projects.iter().map(|project| Resource {
            role: "runs".to_owned(),
            name: format!("{project} at Weights & Biases"),
            path: None,
            identity: None,
            missing: None,
        });
        found.resources.extend(projects);
    }
    Ok(found)
}

/// What is certain of every row that a step will have measured.
fn certain(step: &Step) -> Record {
    let record = Record::new()
        .with("stage", step.stage.as_str())
        .with("run.action", step.kind.as_str())
        .with("run.state", "finished");
    match step.seed {
        Some(seed) => record.with("seed", seed),
        None => record,
    }
}

/// Which outputs the store has, and of which runs.
fn identity_of_store(project: &Project) -> Result<ContentHash, StoreError> {
    let store = project.store();
    let mut lines = Vec::new();
    for kind in store.kinds()? {
        if CellKind::ALL.iter().any(|cell| cell.as_str() == kind) {
            continue;
        }
        lines.extend(store.entries(&kind)?.iter().map(|entry| {
            let manifest = entry.manifest();
            let run = &manifest.description.run;
            format!("{kind} {} {run} {}\n", manifest.key, manifest.published_ms)
        }));
    }
    lines.sort_unstable();
    Ok(ContentHash::of(lines.concat().as_bytes()))
}

/// Names, sizes and times of pictures: reading them all would take long.
fn identity_of_pictures(folder: &Path) -> Result<ContentHash, StoreError> {
    let mut lines = Vec::new();
    for item in std::fs::read_dir(folder).map_err(StoreError::io("list", folder))? {
        let item = item.map_err(StoreError::io("list", folder))?;
        let data = item.metadata().map_err(StoreError::io("read", folder))?;
        let name = item.file_name();
        lines.push(format!(
            "{} {:?}\n",
            name.to_string_lossy(),
            Stamp::of(&data)
        ));
    }
    lines.sort_unstable();
    Ok(ContentHash::of(lines.concat().as_bytes()))
}
