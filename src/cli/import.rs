//! `novic import`: commands of the original as experiment files.

use std::fs;
use std::io::{self, IsTerminal, Read};
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::experiment::report;
use super::print::print;
use super::{CliError, Exit};
use crate::config::import::{Imported, import_command, import_script, import_yaml};
use crate::config::render;
use crate::store::write_file;

/// Largest file that is imported.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// Write the experiment file of a command of the original
///
/// Takes a command line (`./train.py action=…`, `./infer.py --checkpoint …`), a
/// script of several, whose stages are then linked by the caches that they
/// write and read, or a flat YAML configuration. Variables and `for` loops of
/// scripts are followed. What means something else here is said in comments;
/// keys that do not exist here are left out with a warning.
///
///   novic import -- ./train.py action=train embedding_dataset=cache.bin lr_warmup=2
///   novic import recipe.sh --output experiments/recipe.toml
///   novic import outputs/ovod_20240610_105233/hydra/config.yaml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ImportArgs {
    /// Write the experiment file here instead of printing it
    #[arg(long, short, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace a file that exists
    #[arg(long)]
    force: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// The words of a command, a script (`-`: standard input), or a YAML file
    #[arg(required = true, value_name = "COMMAND")]
    words: Vec<String>,
}

/// Imports a command, a script or a configuration.
pub fn cmd_import(args: &ImportArgs) -> Result<Exit, CliError> {
    let imported = import(&args.words, args.output.as_deref())?;
    if !imported.warnings.is_empty() {
        let colour = io::stderr().is_terminal();
        eprintln!("{}\n", render(&imported.warnings, colour));
    }
    let Some(path) = &args.output else {
        if args.json {
            let warnings: Vec<_> = imported.warnings.iter().map(|w| &w.title).collect();
            let value = json!({ "text": imported.text, "warnings": warnings });
            return print(&format!("{value:#}\n"));
        }
        return print(&imported.text);
    };
    if path.exists() && !args.force {
        return Err(CliError::usage(format!(
            "{} exists; name another file, or replace it with --force",
            path.display()
        )));
    }
    write_file(path, imported.text.as_bytes())
        .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    if args.json {
        print(&format!("{:#}\n", json!({ "file": path })))
    } else {
        print(&format!("{}\n", path.display()))
    }
}

fn import(words: &[String], output: Option<&Path>) -> Result<Imported, CliError> {
    let name = output
        .and_then(Path::file_stem)
        .map(|stem| stem.to_string_lossy());
    let imported = match words {
        [file] if is_yaml(file) => import_yaml(Path::new(file), &read(file)?, name.as_deref()),
        [file] if file == "-" || Path::new(file).is_file() && !file.ends_with(".py") => {
            import_script(Path::new(file), &read(file)?, name.as_deref())
        }
        words => import_command(words, name.as_deref()),
    };
    imported.map_err(report)
}

fn is_yaml(file: &str) -> bool {
    Path::new(file)
        .extension()
        .is_some_and(|e| e == "yaml" || e == "yml")
}

fn read(file: &str) -> Result<String, CliError> {
    let failed = |error: io::Error| CliError::usage(format!("cannot read {file}: {error}"));
    if file == "-" {
        let mut text = String::new();
        let input = io::stdin().lock().take(MAX_FILE_BYTES);
        let mut input = input;
        input.read_to_string(&mut text).map_err(failed)?;
        return Ok(text);
    }
    if fs::metadata(file).map_err(failed)?.len() > MAX_FILE_BYTES {
        return Err(CliError::usage(format!(
            "{file} has more than {MAX_FILE_BYTES} bytes"
        )));
    }
    fs::read_to_string(file).map_err(failed)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::Value;

    use crate::config::schema::{Action, Config, Key, key_by_flat_name, keys};
    use crate::config::{Experiment, Request, StageSpec, hydra, keys_read};
    use crate::stages;

    use super::*;

    /// The four training commands of a published model.
    fn recipe(embedder: &str, multiset: &str, captions: &str, merged: &str, nouns: u32) -> String {
        format!(
            r#"
./train.py action=cache_noun_multiset {embedder}vocab_thres={nouns} save_embedding_cache={multiset} multi_target_freq="[1, 1, 1]"
./train.py action=cache_captions {embedder}captions_path='$SOURCE/extras/data/captions_dataset.json' save_embedding_cache={captions} vocab_thres={nouns} template_multiplier=10
./train.py action=merge_caches {embedder}save_embedding_cache={merged} embedding_datasets="['{multiset}', '{captions}', '{captions}', '{captions}', '{captions}']"
./train.py action=train {embedder}embedding_dataset={merged} multi_target=True use_weights=True noise_scheme=GaussElemUniformAngle noise_vec_norm=3.25 noise_angle_min=45 noise_angle_max=75 noise_mix_ratio=0.15 accum_factor=16
"#
        )
    }

    fn load(request: &Request) -> Experiment {
        Experiment::load(request).unwrap_or_else(|errors| panic!("{errors}"))
    }

    /// Keys that enter the result of a stage: what its kind reads, or what its
    /// action reads where the program has no such kind.
    fn result_keys(action: Action) -> Vec<&'static Key> {
        match stages::registry().get(action.as_str()) {
            Some(kind) => keys_read(kind.reads()).expect("keys that exist"),
            None => keys()
                .iter()
                .copied()
                .filter(|key| key.readers.contains(&action))
                .collect(),
        }
    }

    #[test]
    fn the_published_commands_become_the_shipped_experiments() {
        let so400m = "embedder_spec=openclip:timm/ViT-SO400M-14-SigLIP ";
        let dfn5b = "embedder_spec=openclip:apple/DFN5B-CLIP-ViT-H-14-378 ";
        for (name, embedder, prefix, nouns) in [
            ("ta4", "", "", 2),
            ("yb3", so400m, "so400m", 2),
            ("ya2", dfn5b, "dfn5bl", 2),
            ("ye2", dfn5b, "dfn5bl", 0),
        ] {
            let cache = |kind: &str| match (prefix, kind) {
                ("", "captions") => format!("captions_cache_ft{nouns}.bin"),
                ("", kind) => format!("noun_{kind}_cache_ft{nouns}.bin"),
                _ => format!("{prefix}_{kind}_cache_ft{nouns}.bin"),
            };
            let names = ["multiset3", "captions", "multiset3c2"].map(cache);
            let script = recipe(embedder, &names[0], &names[1], &names[2], nouns);
            let imported = import_script(Path::new("recipe.sh"), &script, Some(name))
                .unwrap_or_else(|errors| panic!("{errors}"));
            assert!(imported.warnings.is_empty());
            let ours = load(&Request {
                file: "recipe.toml".into(),
                text: Some(imported.text.clone()),
                ..Request::default()
            });
            let file =
                Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("experiments/{name}.toml"));
            let shipped = load(&Request {
                file,
                ..Request::default()
            });
            assert_eq!(ours.info.name, shipped.info.name);
            assert_eq!(ours.stages.len(), 4);
            let lines = script.lines().filter(|line| !line.is_empty());
            for (stage, line) in ours.stages.iter().zip(lines) {
                let other = shipped.stage(&stage.name).expect("the same name");
                check_equal(stage, other, &imported.text);
                check_said(stage, line, &imported.text);
            }
        }
    }

    /// Every flat key has the value that the command gives, or the original's
    /// default, whether the stage reads it or not.
    fn check_said(stage: &StageSpec, line: &str, text: &str) {
        // What stages and their inputs replace.
        let replaced = [
            "action",
            "embedding_dataset",
            "embedding_datasets",
            "save_embedding_cache",
        ];
        let words = shlex::split(line).expect("words");
        let changes = hydra::changes(&words[1..], |key| key_by_flat_name(key).is_some());
        let said: BTreeMap<_, _> = changes.expect("overrides").set.into_iter().collect();
        let defaults = Config::default().flat();
        for (name, value) in &stage.config.flat() {
            if replaced.contains(&name.as_str()) {
                continue;
            }
            let original = said.get(name).map(hydra::Untyped::to_json);
            let original = original.unwrap_or_else(|| defaults[name].clone());
            let stage = &stage.name;
            assert_eq!(plain(value), plain(&original), "{stage}: {name}\n{text}");
        }
    }

    /// A value without what makes no difference.
    fn plain(value: &Value) -> Value {
        match value {
            Value::String(text) => text.trim_start_matches("$SOURCE/").into(),
            Value::Number(number) => number.as_f64().into(),
            other => other.clone(),
        }
    }

    fn check_equal(ours: &StageSpec, shipped: &StageSpec, text: &str) {
        let inputs = |stage: &StageSpec| -> Vec<_> {
            let inputs = stage.inputs.iter();
            inputs
                .map(|input| (input.stage.clone(), input.repeat))
                .collect()
        };
        assert_eq!(inputs(ours), inputs(shipped));
        assert_eq!(ours.kind, shipped.kind);
        let action = ours.kind.action().expect("an action");
        // Nothing reads the dictionary behind caches; the shipped files say what
        // these were made with, for all stages.
        let behind_caches = !ours.inputs.is_empty();
        let keys = result_keys(action).into_iter();
        for key in keys.filter(|key| !behind_caches || !key.path.starts_with("nouns.")) {
            let (name, path) = (&ours.name, key.path);
            assert_eq!(
                ours.config.get(path),
                shipped.config.get(path),
                "{name}: {path}\n{text}"
            );
        }
    }
}
