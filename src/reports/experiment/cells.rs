//! The cells of an experiment file: tables and plots, read with their places.

use crate::config::{Cell, CellKind, ConfigErrors, Experiment, Source, SourceKind, parse_toml};
use crate::reports::plot::PlotSpec;
use crate::reports::spec::reading::{Problems, cell_entries, entries};
use crate::reports::spec::{Parameters, TableSpec};

/// What the table cells of an experiment say; `only` names one.
///
/// # Errors
/// All mistakes at once.
pub fn table_specs(
    experiment: &Experiment,
    only: Option<&str>,
) -> Result<Vec<TableSpec>, ConfigErrors> {
    let problems = Problems::default();
    let cells = cells(experiment, CellKind::Table, only);
    let specs: Vec<_> = cells
        .filter_map(|cell| {
            let entries = cell_entries(&cell.fields);
            let given = Parameters::new();
            TableSpec::read(&cell.name, &cell.location, &entries, &given, &problems)
        })
        .collect();
    match problems.into_inner() {
        problems if problems.is_empty() => Ok(specs),
        problems => Err(ConfigErrors { problems }),
    }
}

/// What the plot cells of an experiment say; `only` names one.
///
/// # Errors
/// All mistakes at once.
pub fn plot_specs(
    experiment: &Experiment,
    only: Option<&str>,
) -> Result<Vec<PlotSpec>, ConfigErrors> {
    let problems = Problems::default();
    let cells = cells(experiment, CellKind::Plot, only);
    let specs: Vec<_> = cells
        .filter_map(|cell| {
            let entries = cell_entries(&cell.fields);
            let given = Parameters::new();
            PlotSpec::read(&cell.name, &cell.location, &entries, &given, &problems)
        })
        .collect();
    match problems.into_inner() {
        problems if problems.is_empty() => Ok(specs),
        problems => Err(ConfigErrors { problems }),
    }
}

/// Curves of loss and accuracy.
pub(super) fn default_plots() -> Vec<PlotSpec> {
    let text = include_str!("../plot/training.toml");
    let source = Source::new(SourceKind::File("training.toml".into()), text);
    let problems = Problems::default();
    let fields = parse_toml(&source).unwrap_or_default();
    let plots = entries(&source, &fields);
    plots
        .iter()
        .filter_map(|plot| {
            let keys = plot.item.entries()?;
            PlotSpec::read(
                &plot.key,
                &plot.location,
                &keys,
                &Parameters::new(),
                &problems,
            )
        })
        .collect()
}

fn cells<'a>(
    experiment: &'a Experiment,
    kind: CellKind,
    only: Option<&'a str>,
) -> impl Iterator<Item = &'a Cell> {
    experiment
        .cells
        .iter()
        .filter(move |cell| cell.kind == kind && only.is_none_or(|name| name == cell.name))
}
