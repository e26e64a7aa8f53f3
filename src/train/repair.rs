//! Old checkpoints of the original lack the noun list that everything but
//! training needs; this gives it to them (`training.md` 3.8). Only the pickle
//! of a file is read to see what it lacks.

use std::collections::HashMap;
use std::fmt;
use std::path::{Path, PathBuf};

use regex::Regex;

use super::error::{Result, TrainError};
use crate::cache::hash::ConfigHash;
use crate::cache::{CacheFile, NounTable, TargetConfig};
use crate::decoder::DecoderError;
use crate::decoder::checkpoint::publish;
use crate::nouns::Vocabulary;
use crate::pickle::{Allow, Archive, ArchiveWriter, Dict, Fault, Value};

use super::exchange;

/// Entries that a checkpoint of a training has.
const ENTRIES: &[&str] = &[
    "cfg_flat",
    "target_config",
    "data_config",
    "model_state_dict",
    "train_loop_config",
    "train_loop_state",
    "optimizer_type",
    "optimizer_state_dict",
    "scheduler_warmup_state_dict",
    "scheduler_state_dict",
    "amp_scaler_state_dict",
    "amp_scaler_enabled",
];

/// Settings without which nobody knows what it was trained on.
const SETTINGS: &[&str] = &[
    "action",
    "device",
    "embedder_spec",
    "embedder_amp",
    "embedder_amp_bf16",
    "batch_size_token",
    "batch_size_embed",
    "batch_size_image",
    "embedder_compile",
    "embedder_optimum",
    "embedding_dataset",
    "vocab_thres",
    "prompt_collection",
    "hypernym_collection",
    "embedding_cache_dir",
    "vocab_path",
    "prompt_path",
    "noun_cache",
    "noun_cache_dir",
    "batch_size",
    "strict_embedder",
];

const NOUNS: &str = "target_nouns";
const INVALID: &str = "num_invalid_target_nouns";
/// Ending of the old file, beside the new one.
const BACKUP: &str = "bak";

/// What to repair, and with what.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Directory with the directories of runs.
    pub outputs: PathBuf,
    /// Where relative paths of caches are looked up too.
    pub cache_dir: Option<PathBuf>,
    /// A dictionary and its threshold that supply the nouns of all
    /// checkpoints, whatever these were trained on.
    pub vocabulary: Option<(PathBuf, i64)>,
    /// Only these files; all if empty.
    pub only: Vec<PathBuf>,
    /// Change nothing.
    pub dry_run: bool,
}

/// What became of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repair {
    /// It has its nouns already.
    Complete,
    /// It is none of a training.
    NotATraining,
    /// It was given nouns, or would be.
    Fixed {
        /// How many, without those that are none.
        nouns: usize,
        /// Whether nothing was changed.
        dry_run: bool,
    },
    /// It cannot be repaired.
    Skipped {
        /// Why.
        reason: String,
    },
}

impl Repair {
    /// Whether someone should look at it.
    pub fn is_warning(&self) -> bool {
        matches!(self, Self::Skipped { .. })
    }

    /// One word.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Complete => "complete",
            Self::NotATraining => "not_a_training",
            Self::Fixed { .. } => "fixed",
            Self::Skipped { .. } => "skipped",
        }
    }
}

impl fmt::Display for Repair {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Complete => formatter.write_str("complete"),
            Self::NotATraining => formatter.write_str("not of a training"),
            Self::Fixed {
                nouns,
                dry_run: false,
            } => write!(formatter, "given {nouns} nouns"),
            Self::Fixed { nouns, .. } => write!(formatter, "would be given {nouns} nouns"),
            Self::Skipped { reason } => write!(formatter, "skipped: {reason}"),
        }
    }
}

/// Looks through all runs of a directory, and repairs.
///
/// # Errors
/// A directory that cannot be read; the given dictionary.
pub fn run(settings: &Settings) -> Result<Vec<(PathBuf, Repair)>> {
    let mut sources = Sources::new(settings)?;
    let mut repairs = Vec::new();
    for path in candidates(&settings.outputs)? {
        let wanted = |only: &PathBuf| same_file(only, &path);
        if !settings.only.is_empty() && !settings.only.iter().any(wanted) {
            continue;
        }
        let repair = repair(&path, &mut sources).unwrap_or_else(|error| Repair::Skipped {
            reason: error.to_string(),
        });
        repairs.push((path, repair));
    }
    Ok(repairs)
}

fn same_file(a: &Path, b: &Path) -> bool {
    match (a.canonicalize(), b.canonicalize()) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}

/// What became of all of them, in a sentence.
pub fn summary(repairs: &[(PathBuf, Repair)], dry_run: bool) -> String {
    let fixed = |repair: &Repair| matches!(repair, Repair::Fixed { .. });
    let fixed = repairs.iter().filter(|(_, repair)| fixed(repair)).count();
    let verb = if dry_run { "would be" } else { "were" };
    format!(
        "{fixed} of {} checkpoints {verb} given nouns",
        repairs.len()
    )
}

/// Saved checkpoints of runs, by their names.
///
/// # Errors
/// A directory that cannot be read.
pub fn candidates(outputs: &Path) -> Result<Vec<PathBuf>> {
    let list = |folder: &Path, name: &str| -> Result<Vec<PathBuf>> {
        let failed = |source| TrainError::File {
            action: "read",
            path: folder.to_path_buf(),
            source,
        };
        let pattern = Regex::new(name).map_err(|error| TrainError::Parameter {
            name: name.to_owned(),
            reason: error.to_string(),
        })?;
        let entries = std::fs::read_dir(folder).map_err(failed)?;
        let mut found: Vec<PathBuf> = entries
            .map(|entry| Ok(entry.map_err(failed)?.path()))
            .collect::<Result<_>>()?;
        found.retain(|path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| pattern.is_match(name))
        });
        found.sort();
        Ok(found)
    };
    let mut files = Vec::new();
    for run in list(outputs, r"^ovod_\d{8}_\d{6}(_\d+)?$")? {
        if run.is_dir() {
            files.extend(list(&run, r"^ovod_chunk\d{4,}_\d{8}_\d{6}\.train$")?);
        }
    }
    Ok(files)
}

fn repair(path: &Path, sources: &mut Sources<'_>) -> std::result::Result<Repair, DecoderError> {
    let error = |action: &'static str, reason: String| DecoderError::Checkpoint {
        action,
        path: path.to_path_buf(),
        reason,
    };
    let read = |fault: Fault| error("read", fault.to_string());
    let archive = Archive::open(path).map_err(|pickle| read(pickle.fault))?;
    let mut value = (archive.value(Allow::Tensors)).map_err(|pickle| read(pickle.fault))?;
    let Value::Dict(top) = &mut value else {
        return Err(error("read", "it is no dictionary".to_owned()));
    };
    let skipped = |reason: String| Ok(Repair::Skipped { reason });
    if let Some(missing) = missing(top, ENTRIES) {
        return skipped(format!("it lacks the entry {missing}"));
    }
    let flat = top
        .require("cfg_flat", "it")
        .and_then(|flat| flat.dict("cfg_flat"))
        .map_err(read)?;
    if let Some(missing) = missing(flat, SETTINGS) {
        return skipped(format!("its configuration lacks {missing}"));
    }
    if flat.get("action") != Some(&Value::from("train")) {
        return Ok(Repair::NotATraining);
    }
    if top.get(NOUNS).is_some() && top.get(INVALID).is_some() {
        return Ok(Repair::Complete);
    }
    let target = exchange::target_config(&archive, top).map_err(|fault| error("read", fault))?;
    let (nouns, invalid) = match sources.nouns(flat, &target) {
        Ok(nouns) => nouns,
        Err(reason) => return skipped(reason),
    };
    let repaired = Repair::Fixed {
        nouns: nouns.len() - invalid,
        dry_run: sources.settings.dry_run,
    };
    if sources.settings.dry_run {
        return Ok(repaired);
    }
    let nouns = nouns.iter().map(|noun| noun.as_str().into()).collect();
    set_after_weights(top, NOUNS, Value::Tuple(nouns));
    set_after_weights(top, INVALID, Value::Int(invalid as i64));
    let mut writer = ArchiveWriter::new();
    let copied = (writer.copy(&archive, &value)).map_err(|pickle| read(pickle.fault))?;
    let mut backup = path.as_os_str().to_owned();
    backup.push(".");
    backup.push(BACKUP);
    std::fs::copy(path, &backup).map_err(|source| error("write", source.to_string()))?;
    publish(path, |file| {
        let written = writer.write(archive.root(), &copied, file);
        written.map(|_| ()).map_err(|fault| fault.to_string())
    })?;
    Ok(repaired)
}

fn missing(dict: &Dict, names: &[&'static str]) -> Option<&'static str> {
    names.iter().copied().find(|name| dict.get(name).is_none())
}

/// Sets an entry; a new one stands where newer files have it.
fn set_after_weights(top: &mut Dict, name: &str, value: Value) {
    let key = Value::from(name);
    if let Some(entry) = top.entries.iter_mut().find(|(known, _)| *known == key) {
        entry.1 = value;
        return;
    }
    let before = if name == INVALID {
        NOUNS
    } else {
        "model_state_dict"
    };
    let before = Value::from(before);
    let place = top.entries.iter().position(|(known, _)| *known == before);
    let place = place.map_or(top.entries.len(), |place| place + 1);
    top.entries.insert(place, (key, value));
}

/// Where nouns come from; every source is read once.
struct Sources<'a> {
    settings: &'a Settings,
    given: Option<Vec<String>>,
    caches: HashMap<PathBuf, std::result::Result<CacheNouns, String>>,
}

#[derive(Clone)]
struct CacheNouns {
    all: Vec<String>,
    target: Option<ConfigHash>,
}

impl<'a> Sources<'a> {
    fn new(settings: &'a Settings) -> Result<Self> {
        let given = match &settings.vocabulary {
            Some((path, threshold)) => {
                let vocabulary = Vocabulary::load(path, *threshold);
                let vocabulary = vocabulary.map_err(|error| TrainError::Parameter {
                    name: path.display().to_string(),
                    reason: error.to_string(),
                })?;
                Some(vocabulary.targets().map(str::to_owned).collect())
            }
            None => None,
        };
        Ok(Self {
            settings,
            given,
            caches: HashMap::new(),
        })
    }

    /// All nouns of a training, and how many of them are none.
    fn nouns(
        &mut self,
        flat: &Dict,
        target: &TargetConfig,
    ) -> std::result::Result<(Vec<String>, usize), String> {
        let setting = |name: &str| flat.get(name).cloned().unwrap_or(Value::None);
        let text = |name: &str| -> std::result::Result<String, String> {
            let value = setting(name);
            let text = value.text(name).map_err(|fault| fault.to_string())?;
            Ok(text.to_owned())
        };
        let dataset = text("embedding_dataset")?;
        let on_nouns = dataset.eq_ignore_ascii_case("NounDataset");
        let threshold = setting("vocab_thres")
            .int("vocab_thres")
            .map_err(|fault| fault.to_string())?;
        if let (Some(given), Some((_, wanted))) = (&self.given, &self.settings.vocabulary) {
            let mut nouns = given.clone();
            return if on_nouns && threshold == *wanted {
                Ok((nouns, 0))
            } else if on_nouns {
                Err(format!(
                    "it was trained on nouns of threshold {threshold}, not {wanted}"
                ))
            } else if dataset.ends_with(&format!("_vt{wanted}.bin")) {
                nouns.insert(0, String::new());
                Ok((nouns, NounTable::INVALID))
            } else {
                Err(format!("{dataset} does not end with _vt{wanted}.bin"))
            };
        }
        if on_nouns {
            let path = text("vocab_path")?.replace("$SOURCE", ".");
            let vocabulary = Vocabulary::load(Path::new(&path), threshold);
            let vocabulary = vocabulary.map_err(|error| error.to_string())?;
            return Ok((vocabulary.targets().map(str::to_owned).collect(), 0));
        }
        let path = self.cache(&dataset, &text("embedding_cache_dir")?);
        let known = self.caches.entry(path.clone()).or_insert_with(|| {
            let file = CacheFile::inspect(&path).map_err(|error| error.to_string())?;
            let nouns = file.nouns().map(|nouns| nouns.all().to_vec());
            let nouns = nouns.ok_or_else(|| format!("{} has no nouns", path.display()))?;
            let header = file.header();
            Ok(CacheNouns {
                all: nouns,
                target: header.embedder_strict.then_some(header.target_config_hash),
            })
        });
        let nouns = known.clone()?;
        let masked = TargetConfig {
            use_masks: true,
            ..target.clone()
        };
        if let Some(hash) = nouns.target
            && ![target.hash(), masked.hash()].contains(&hash)
        {
            return Err(format!(
                "{} has other nouns than it was trained on",
                path.display()
            ));
        }
        Ok((nouns.all, NounTable::INVALID))
    }

    /// File of a cache: as named, else in the given directory, else in that of
    /// the configuration.
    fn cache(&self, dataset: &str, configured: &str) -> PathBuf {
        let named = PathBuf::from(dataset);
        let given = self.settings.cache_dir.iter().map(|dir| dir.join(dataset));
        let configured = Path::new(&configured.replace("$SOURCE", ".")).join(dataset);
        let places = given.chain([configured]);
        if named.exists() {
            return named;
        }
        let mut missing = named;
        for place in places {
            if place.exists() {
                return place;
            }
            missing = place;
        }
        missing
    }
}
