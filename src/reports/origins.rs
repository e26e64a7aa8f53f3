//! Machines and command lines of runs, which stand in their records alone.

use std::collections::HashMap;

use rayon::prelude::*;
use serde_json::Value;

use super::record::Record;
use super::run_tables::{HostTag, Result, RunOrigin, recorded_origin};
use crate::store::Project;

/// Adds `run.host`, `run.tag`, `train.host`, `train.tag` and `train.command` to
/// records of the project's runs. A run whose record cannot be read has none.
pub(super) fn add(project: &Project, records: &mut [Record]) -> Result<()> {
    let mut runs: Vec<String> = records
        .iter()
        .flat_map(|record| [record.text("run.id"), record.text("model.dir")])
        .flatten()
        .map(str::to_owned)
        .collect();
    runs.sort_unstable();
    runs.dedup();
    let read = |run: String| {
        let origin = recorded_origin(project, &run).ok()?;
        Some((run, origin))
    };
    let origins: HashMap<String, RunOrigin> = runs.into_par_iter().filter_map(read).collect();
    let tag = HostTag::new(HostTag::ORIGINAL)?;
    for record in records {
        let of = |field: &str| origins.get(record.text(field)?).cloned();
        let (own, train) = (of("run.id"), of("model.dir"));
        set(record, own, train, &tag);
    }
    Ok(())
}

/// The fields of a run and of its training; what a record has already stays.
pub(super) fn set(
    record: &mut Record,
    own: Option<RunOrigin>,
    train: Option<RunOrigin>,
    tag: &HostTag,
) {
    let mut add = |name: &str, value: Value| {
        if record.get(name).is_none() {
            record.set(name, value);
        }
    };
    for (prefix, origin) in [("run", &own), ("train", &train)] {
        if let Some(origin) = origin.as_ref().filter(|origin| !origin.host.is_empty()) {
            add(&format!("{prefix}.host"), origin.host.as_str().into());
            add(&format!("{prefix}.tag"), tag.of(&origin.host).into());
        }
    }
    if let Some(train) = train {
        add("train.command", train.args.into());
    }
}
