//! `fix_checkpoints`: old checkpoints of the original in the folder of runs are
//! given the noun lists that they lack (`training.md` 3.8), as by
//! `novic checkpoint fix`.

use std::fs;
use std::path::PathBuf;

use serde_json::json;

use super::inputs;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};
use crate::store::{ContentHash, Project};
use crate::train::repair::{self, Repair, Settings};

/// What became of every checkpoint.
const REPORT: &str = "fix_checkpoints.json";

/// The stage kind.
#[derive(Debug)]
pub(super) struct FixCheckpoints;

impl StageKind for FixCheckpoints {
    fn name(&self) -> &'static str {
        "fix_checkpoints"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        &[
            "checkpoint.fix_force_vocab",
            "checkpoint.load",
            "checkpoint.load_many",
            "data.cache_dir",
            "nouns.vocab_path",
            "nouns.vocab_threshold",
            "run.dry_run",
        ]
    }

    /// The checkpoints, told by size and time: they are large and many.
    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let folder = query.project.outputs_dir();
        let mut listing = String::new();
        for path in candidates(query.project)? {
            let data = fs::metadata(&path)?;
            let modified = data.modified()?;
            listing.push_str(&format!("{path:?} {} {modified:?}\n", data.len()));
        }
        let identity = ContentHash::of(listing.as_bytes());
        let name = folder.display().to_string();
        let runs = Resource::present("checkpoints", &name, Some(folder), identity);
        Ok(match query.config.checkpoint.fix_force_vocab {
            true => vec![runs, inputs::dictionary(query)?],
            false => vec![runs],
        })
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let (config, project) = (context.config(), context.project());
        let vocabulary = if config.checkpoint.fix_force_vocab {
            let place = inputs::vocabulary_path(project, &config.nouns);
            Some((place, i64::try_from(config.nouns.vocab_threshold)?))
        } else {
            None
        };
        let load = [config.checkpoint.load.clone()].into_iter();
        let named = load.chain(config.checkpoint.load_many.iter().cloned());
        let named = named.filter(|path| !path.is_empty());
        let settings = Settings {
            outputs: project.outputs_dir(),
            cache_dir: Some(inputs::path(project, &config.data.cache_dir)),
            vocabulary,
            only: named.map(|path| inputs::path(project, &path)).collect(),
            dry_run: config.run.dry_run,
        };
        let repairs = match settings.outputs.is_dir() {
            true => repair::run(&settings)?,
            false => Vec::new(),
        };
        let records: Vec<_> = (repairs.iter())
            .map(|(path, repair)| {
                context.note(&format!("{}: {repair}", path.display()));
                json!({"path": path, "outcome": repair.name(), "reason": repair.to_string()})
            })
            .collect();
        fs::write(
            context.out().join(REPORT),
            format!("{:#}\n", json!(records)),
        )?;
        let count = |of: fn(&Repair) -> bool| repairs.iter().filter(|(_, r)| of(r)).count();
        let fixed = count(|repair| matches!(repair, Repair::Fixed { .. }));
        let skipped = count(Repair::is_warning);
        let summary = repair::summary(&repairs, settings.dry_run);
        Ok(StageOutput {
            results: json!({
                "summary": summary,
                "checkpoints": repairs.len(),
                "fixed": fixed,
                "skipped": skipped,
            }),
            parked: (skipped > 0).then(|| format!("{skipped} checkpoints were skipped")),
        })
    }
}

fn candidates(project: &Project) -> Result<Vec<PathBuf>, StageError> {
    let folder = project.outputs_dir();
    match folder.is_dir() {
        true => Ok(repair::candidates(&folder)?),
        false => Ok(Vec::new()),
    }
}
