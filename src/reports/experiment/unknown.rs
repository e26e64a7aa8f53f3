//! Fields that no row has: likely a slip of the pen.

use std::collections::BTreeSet;

use super::ReportError;
use crate::config::{Location, Problem, nearest};
use crate::reports::field::{Field, is_known};
use crate::reports::record::Record;

/// Fields of an error at most.
const NAMED: usize = 20;

/// Fails if a field is in no record and is none that stages are known to
/// measure. `place` is where to point if the field does not say where it
/// stands; `all` are the records with everything they have.
pub(super) fn check(
    fields: &[&Field],
    records: &[Record],
    place: &Location,
    all: impl FnOnce() -> Result<Vec<Record>, ReportError>,
) -> Result<(), ReportError> {
    let missing = |field: &&&Field| {
        !is_known(field.name()) && !records.iter().any(|record| field.of(record).is_some())
    };
    if records.is_empty() {
        return Ok(());
    }
    let Some(field) = fields.iter().find(missing) else {
        return Ok(());
    };
    let all = all()?;
    let names: BTreeSet<&str> = all
        .iter()
        .flat_map(|record| record.0.keys())
        .map(|name| name.as_str())
        .filter(|name| !name.contains("config."))
        .collect();
    let help = match nearest(field.name(), names.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => {
            let first: Vec<&str> = names.iter().copied().take(NAMED).collect();
            let more = if names.len() > NAMED { ", …" } else { "" };
            format!("they have {}{more}", first.join(", "))
        }
    };
    let place = field.place().unwrap_or(place).clone();
    let problem = Problem::error(format!("unknown field `{}`", field.name()))
        .at(place, "no row of the stages has it")
        .help(help);
    Err(ReportError::UnknownField(Box::new(problem)))
}
