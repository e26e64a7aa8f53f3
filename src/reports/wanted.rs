//! What a table or plot needs to know of its records, so that nothing is looked
//! for or computed that nobody shows.

use super::field::Field;
use super::plot::PlotSpec;
use super::predictions::EACH;
use super::spec::{Measure, TableSpec};

/// What records must have.
#[derive(Clone, Debug, Default)]
pub struct Wanted<'a> {
    /// The only fields of configurations that are looked for; none: all.
    pub fields: Option<Vec<&'a Field>>,
    /// Whether scores need their bootstrap intervals.
    pub intervals: bool,
    /// Measures whose value of every sample is needed, to compare models sample
    /// by sample.
    pub each: Vec<&'static str>,
    /// Whether the machine and the command line of runs are needed, which stand
    /// in their records.
    pub origins: bool,
}

impl<'a> Wanted<'a> {
    /// What these fields need.
    fn of_fields(fields: Option<Vec<&'a Field>>) -> Self {
        let any = |is: fn(&Field) -> bool| {
            let fields = fields.iter().flatten();
            fields.into_iter().any(|field| is(field))
        };
        Self {
            intervals: any(is_interval),
            origins: any(is_origin),
            each: Vec::new(),
            fields,
        }
    }

    /// What a table needs.
    pub fn by_table(table: &'a TableSpec) -> Self {
        let mut wanted = Self::of_fields(table.fields());
        if table.compare_to.is_some() {
            let parts = table.columns.iter().flat_map(|column| &column.parts);
            for part in parts {
                if let Measure::Field(field) = &part.measure
                    && let Some(name) = each_name(field)
                    && !wanted.each.contains(&name)
                {
                    wanted.each.push(name);
                }
            }
        }
        wanted
    }

    /// What a plot needs.
    pub fn by_plot(plot: &'a PlotSpec) -> Self {
        Self::of_fields(Some(plot.fields()))
    }

    /// Whether a measured value is wanted.
    pub fn has(&self, name: &str) -> bool {
        let fields = self.fields.as_ref();
        fields.is_none_or(|fields| {
            fields
                .iter()
                .any(|field| field.names().any(|own| own == name))
        })
    }

    /// Everything, of what is costly only what a text names.
    pub fn by_query(query: &str) -> Self {
        let names = |parts: &[&str]| parts.iter().any(|part| query.contains(part));
        Self {
            intervals: names(&INTERVALS),
            origins: names(&ORIGINS),
            ..Self::default()
        }
    }
}

const INTERVALS: [&str; 2] = ["pred.ci_lo", "pred.ci_hi"];

const ORIGINS: [&str; 5] = [
    "run.host",
    "run.tag",
    "train.host",
    "train.tag",
    "train.command",
];

/// Whether a field is an end of an interval of a score.
pub(super) fn is_interval(field: &Field) -> bool {
    INTERVALS.contains(&field.name())
}

fn is_origin(field: &Field) -> bool {
    ORIGINS.contains(&field.name())
}

/// The measure of [`EACH`] that a field is the mean of.
pub(super) fn each_name(field: &Field) -> Option<&'static str> {
    let name = field.name().strip_prefix("pred.")?;
    let name = name.strip_suffix("@1").unwrap_or(name);
    EACH.into_iter().find(|known| *known == name)
}
