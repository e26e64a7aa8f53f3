//! Replays every recorded run. A run that starts from a checkpoint starts from
//! the original's file, as it is and converted to the native form; where that
//! file is not kept, from that of the replay of the run that wrote it, reduced
//! to what the original's file holds.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use candle_core::{Device, Tensor};
use novic::cache::TargetConfig;
use novic::config::schema::Config;
use novic::decoder::Autocast;
use novic::decoder::checkpoint::Checkpoint;
use novic::train::exchange::{self, Form};
use novic::train::{
    CheckpointFolder, Learner, LoopConfig, Outcome, ScheduleSettings, StoredLoopState, Trainer,
};
use serde_json::{Value, json};

use super::checks;
use super::recorder::{NotingLearner, RecordedBatches, Recorder};
use super::setup::{AREA, Failure, Parts, Run, set_up, set_up_on};
use crate::{device, golden};

#[test]
fn recorded_runs_are_reproduced() {
    let runs = Run::all();
    let folder = tempfile::tempdir().unwrap();
    let mut written = HashMap::new();
    // Runs that start from a checkpoint follow the one that writes it.
    for run in &runs {
        if !run.record["error"].is_null() {
            continue;
        }
        replay(
            run,
            &folder.path().join(&run.name),
            &mut written,
            Form::Original,
            Way::Fused,
        );
    }
}

#[test]
fn recorded_runs_are_reproduced_by_composed_operations() {
    let folder = tempfile::tempdir().unwrap();
    let mut written = HashMap::new();
    let mut replayed = 0;
    for run in &Run::all() {
        // Runs under dropout have no losses to compare, and those that start
        // from a checkpoint nothing that others lack.
        if run.record["error"].is_null() && !run.has_dropout() && run.load_model().is_none() {
            let folder = folder.path().join(&run.name);
            replay(run, &folder, &mut written, Form::Original, Way::Composed);
            replayed += 1;
        }
    }
    assert!(replayed > 0);
}

#[test]
fn resumed_runs_are_reproduced_after_conversion() {
    let folder = tempfile::tempdir().unwrap();
    let mut replayed = 0;
    for run in Run::all()
        .iter()
        .filter(|run| run.record["error"].is_null())
    {
        if stored_checkpoint(run).is_some() {
            let folder = folder.path().join(&run.name);
            replay(run, &folder, &mut HashMap::new(), Form::Native, Way::Fused);
            replayed += 1;
        }
    }
    assert!(replayed > 0);
}

/// The original's file that a run starts from, if it is kept.
fn stored_checkpoint(run: &Run) -> Option<PathBuf> {
    let path = golden::area(AREA).join("outputs").join(run.load_model()?);
    path.is_file().then_some(path)
}

#[test]
fn recorded_errors_are_errors() {
    let runs = Run::all();
    let failing = runs.iter().filter(|run| !run.record["error"].is_null());
    for run in failing {
        let target = target_config(run).unwrap_or_else(|| {
            // It failed before this was recorded: another run on the same data.
            let cache = run.option("embedding_dataset");
            let same = runs.iter().find_map(|other| {
                (other.option("embedding_dataset") == cache)
                    .then(|| target_config(other))
                    .flatten()
            });
            same.unwrap_or_else(|| {
                let any = runs.iter().find_map(target_config);
                any.expect("no target configuration")
            })
        });
        let folder = tempfile::tempdir().unwrap();
        let outcome = set_up(run, &target, None).and_then(|parts| match run.load_model() {
            Some(path) => start_from_other_data(run, &runs, &path, parts, folder.path()),
            None => trainer_of(parts, folder.path()),
        });
        assert!(outcome.is_err(), "{} must be rejected", run.name);
    }
}

fn trainer_of(mut parts: Parts, folder: &Path) -> Result<(), Failure> {
    let mut source = RecordedBatches {
        cache: &parts.cache,
        data: parts.data,
        steps: [].iter(),
    };
    let (config, loop_config) = (&parts.config, parts.loop_config);
    new_trainer(&mut parts.learner, &mut source, config, loop_config, folder)?;
    Ok(())
}

/// The loaded checkpoint belongs to the data of the run that wrote it.
fn start_from_other_data(
    run: &Run,
    runs: &[Run],
    path: &str,
    mut parts: Parts,
    folder: &Path,
) -> Result<(), Failure> {
    let writer = writer_of(runs, path);
    let target = target_config(writer).unwrap();
    let source = set_up(writer, &target, None)?;
    let file = folder.join("other.safetensors");
    let tensors = source.learner.decoder().state_dict()?.into_iter().collect();
    let header = source.learner.header().clone();
    Checkpoint { header, tensors }.save(&file)?;
    assert_ne!(
        run.option("embedding_dataset"),
        writer.option("embedding_dataset")
    );
    Ok(parts.learner.load_weights(&file)?)
}

fn writer_of<'a>(runs: &'a [Run], path: &str) -> &'a Run {
    runs.iter()
        .find(|run| saves(run).any(|file| file.ends_with(path)))
        .unwrap_or_else(|| panic!("no run writes {path}"))
}

fn saves(run: &Run) -> impl Iterator<Item = &str> {
    let saves = run.record["saves"].as_array().into_iter().flatten();
    saves.map(|save| save["file"].as_str().unwrap())
}

pub fn target_config(run: &Run) -> Option<TargetConfig> {
    let stored = run.record.get("target_config")?;
    Some(serde_json::from_value(stored.clone()).unwrap())
}

/// A checkpoint written by a replay.
struct Written {
    path: PathBuf,
    config: Config,
}

/// How a step is computed.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// By the fused kernels of the CPU.
    Fused,
    /// By composed operations on the device of the tests.
    Composed,
}

fn replay(run: &Run, folder: &Path, written: &mut HashMap<String, Written>, form: Form, way: Way) {
    std::fs::create_dir_all(folder).unwrap();
    let stored = stored_checkpoint(run);
    let loaded = run.load_model().map(|path| match &stored {
        Some(stored) => start_of(stored, folder, form),
        None => {
            let earlier = written.iter().find(|(file, _)| file.ends_with(&path));
            let earlier = earlier.unwrap_or_else(|| panic!("{}: no {path}", run.name));
            let path = folder.join("resumed.safetensors");
            as_the_original_stores(&earlier.1.path, &path);
            let config = earlier.1.config.clone();
            Written { path, config }
        }
    });
    let loaded = loaded.as_ref();
    let target = target_config(run).unwrap();
    let Parts {
        config,
        cache,
        data,
        mut loop_config,
        mut learner,
    } = {
        let device = match way {
            Way::Fused => Device::Cpu,
            Way::Composed => device::device(),
        };
        set_up_on(run, &target, loaded.map(|loaded| &loaded.config), &device).unwrap()
    };
    if way == Way::Composed {
        learner = learner.with_composed(Autocast::Off);
    }
    checks::loop_config(run, &loop_config);
    if run.has_dropout() {
        // Saves by accuracy are random here, and later runs need the files.
        (loop_config.save_every_min, loop_config.save_every_max) = (1, 1);
    }
    assert_eq!(
        serde_json::to_value(data).unwrap(),
        run.record["data_config"],
        "{}: data configuration",
        run.name
    );

    let reference = golden::area(AREA).join(format!("runs/{}.safetensors", run.name));
    let reference = match run.has_dropout() {
        true => HashMap::new(),
        false => candle_core::safetensors::load(reference, &Device::Cpu).unwrap(),
    };
    let mut learner = NotingLearner {
        learner,
        dropout_factors: Vec::new(),
    };
    let parameters = learner.parameters();
    let mut source = RecordedBatches {
        cache: &cache,
        data,
        steps: run.record["steps"].as_array().unwrap().iter(),
    };
    let resume = loaded.filter(|_| config.checkpoint.resume);
    let dropouts = run.record["dropouts_at_start"].clone();
    let rates = [config.model.input_dropout, config.model.layer_dropout];
    checks_dropouts(run, &dropouts, &rates, 1.0);

    // Resumed weights are taken over from the file; if that comes from a
    // replay, they are close to the recorded ones.
    let init = initial_weights(&reference);
    if resume.is_none() && !init.is_empty() {
        learner.learner.decoder().load_state_dict(&init).unwrap();
    }
    let trainer = new_trainer(&mut learner, &mut source, &config, loop_config, folder);
    // Weights are looked at after every report.
    let mut trainer = trainer.unwrap().reporting_every(1);
    checks::groups(run, trainer.optimizer());
    let mut recorder = Recorder {
        parameters: parameters.clone(),
        ..Recorder::default()
    };
    if let Some(loaded) = resume {
        let warnings = trainer.resume_from(&loaded.path).unwrap();
        checks::warnings(run, &warnings);
        for (name, tensor) in parameters.iter().filter(|_| !init.is_empty()) {
            let what = format!("{}: {name}", run.name);
            checks::same_weights(name, tensor, &init[name], &what);
            if stored.is_some() {
                checks::equal_weights(tensor, &init[name], &what);
            }
        }
        if !config.checkpoint.resume_lr {
            trainer
                .replan(&ScheduleSettings::from(&config.train.lr))
                .unwrap();
        }
    }
    let start = StoredLoopState::from(trainer.state());
    let start = serde_json::to_value(start).unwrap();
    let random = run.has_dropout();
    let what = format!("{}: state at the start", run.name);
    checks::state(&start, &run.record["state_at_start"], random, &what);
    let rate = &run.record["lr_at_start"][0];
    checks::assert_close(trainer.schedule().rate(), checks::number(rate), 1e-9, &what);

    let outcome = trainer.run(&mut recorder).unwrap();
    assert!(matches!(outcome, Outcome::Finished { .. }));
    let rate = &run.record["lr_at_end"][0];
    checks::assert_close(
        trainer.schedule().rate(),
        checks::number(rate),
        1e-9,
        &run.name,
    );
    assert_eq!(source.steps.len(), 0, "{}: fewer batches", run.name);
    checks::batches(run, &recorder);
    checks::tracked(run, &recorder);
    checks::saves(run, &recorder);
    dropout_phase(run, &learner.dropout_factors, &rates, &recorder);
    if !random {
        checks::weights(run, &recorder, &reference);
    }
    let recorded = run.record["saves"].as_array().unwrap();
    for save in recorded {
        let chunk = checks::saved_chunk(save);
        if let Some((path, _)) = recorder.saved.iter().find(|(_, saved)| *saved == chunk) {
            let file = save["file"].as_str().unwrap().to_owned();
            let (path, config) = (path.clone(), config.clone());
            written.insert(file, Written { path, config });
        }
    }
}

fn new_trainer<'a>(
    learner: &'a mut dyn Learner,
    source: &'a mut RecordedBatches<'_>,
    config: &Config,
    loop_config: LoopConfig,
    folder: &Path,
) -> Result<Trainer<'a>, Failure> {
    let folder = CheckpointFolder::new(
        folder.join("published"),
        folder.join("working"),
        Duration::from_secs(3600),
    )?;
    Ok(Trainer::new(
        learner,
        source,
        loop_config,
        (&config.train.optimizer).into(),
        &ScheduleSettings::from(&config.train.lr),
        folder,
    )?)
}

fn initial_weights(reference: &HashMap<String, Tensor>) -> HashMap<String, Tensor> {
    reference
        .iter()
        .filter_map(|(name, tensor)| Some((name.strip_prefix("init/")?.to_owned(), tensor.clone())))
        .collect()
}

/// A start from a file of the original in one of the forms.
fn start_of(stored: &Path, folder: &Path, form: Form) -> Written {
    let checkpoint = exchange::load(stored).unwrap();
    let config = serde_json::from_value(checkpoint.header.config.clone()).unwrap();
    let path = match form {
        Form::Original => stored.to_owned(),
        Form::Native => {
            let path = folder.join("converted.safetensors");
            exchange::save(&path, &checkpoint, form).unwrap();
            path
        }
    };
    Written { path, config }
}

/// The original's files know neither the place in the epoch nor the gradients
/// of an unfinished optimizer step.
fn as_the_original_stores(from: &Path, to: &Path) {
    let mut checkpoint = Checkpoint::load(from).unwrap();
    let training = checkpoint.header.training.as_mut().unwrap();
    training["position"] = json!({"epoch_place": 0, "accumulated": 0, "seconds": 0.0});
    checkpoint
        .tensors
        .retain(|name, _| !name.starts_with("optimizer.gradient."));
    checkpoint.save(to).unwrap();
}

/// Distinct dropout probabilities with a factor.
fn checks_dropouts(run: &Run, expected: &Value, rates: &[f64], factor: f64) {
    let expected: Vec<f64> = serde_json::from_value(expected.clone()).unwrap();
    let mut own: Vec<f64> = rates.iter().map(|rate| rate * factor).collect();
    own.sort_by(f64::total_cmp);
    own.dedup();
    assert_eq!(own.len(), expected.len(), "{}: dropouts", run.name);
    for (own, expected) in own.iter().zip(&expected) {
        checks::assert_close(*own, *expected, 1e-9, &format!("{}: dropouts", run.name));
    }
}

fn dropout_phase(run: &Run, factors: &[f64], rates: &[f64], recorder: &Recorder) {
    let rescales = run.record["rescales"].as_array().unwrap();
    assert!(rescales.len() <= 1, "{}: rescaled once", run.name);
    let begin = rescales.first().map(|rescale| {
        let chunk = rescale["chunk_id_about_to_train"].as_u64().unwrap();
        let factor = rescale["factor"].as_f64().unwrap();
        checks_dropouts(run, &rescale["dropouts"], rates, factor);
        (chunk, factor)
    });
    for (batch, own) in recorder.batches.iter().zip(factors) {
        let expected = match begin {
            Some((chunk, factor)) if batch.chunk >= chunk => factor,
            _ => 1.0,
        };
        assert_eq!(*own, expected, "{}, batch {}", run.name, batch.batch);
    }
}
