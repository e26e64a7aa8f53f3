//! Killed at any moment, the same command ends with the same result.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use novic::decoder::checkpoint::Checkpoint;
use serde_json::Value;

use crate::folder::{Call, Folder};

/// Kills of one run; more where `NOVIC_KILLS` says so.
const KILLS: u32 = 6;

/// What must not depend on interruptions: the weights' bits by name and the
/// predictions.
fn result(folder: &Folder) -> (BTreeMap<String, Vec<u32>>, Vec<Value>) {
    let checkpoint = files(&folder.output_of("train"), "safetensors")
        .pop()
        .unwrap();
    let weights = Checkpoint::load(&checkpoint).unwrap().weights();
    let bits = |tensor: &candle_core::Tensor| -> Vec<u32> {
        let values: Vec<f32> = tensor.flatten_all().unwrap().to_vec1().unwrap();
        values.iter().map(|value| value.to_bits()).collect()
    };
    let weights = weights.iter().map(|(name, t)| (name.clone(), bits(t)));
    let predictions = ["eval_cls_decoding", "infer"].iter().flat_map(|kind| {
        let found = files(&folder.output_of(kind), "json").into_iter();
        found.filter(|path| {
            path.file_name()
                .unwrap()
                .to_string_lossy()
                .contains("predictions")
        })
    });
    let predictions: Vec<Value> = predictions
        .map(|path| {
            let file: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
            file["predictions"].clone()
        })
        .collect();
    assert!(!predictions.is_empty() && predictions.iter().all(|p| !p.is_null()));
    (weights.collect(), predictions)
}

fn files(folder: &Path, ending: &str) -> Vec<std::path::PathBuf> {
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == ending))
        .collect();
    files.sort();
    files
}

#[test]
fn a_run_that_is_killed_again_and_again_ends_with_the_same_result() {
    let undisturbed = Folder::new();
    let begun = Instant::now();
    Call::from(undisturbed.run_tiny(&[]).output().unwrap()).expect(0);
    let whole = begun.elapsed();

    let kills = std::env::var("NOVIC_KILLS").ok();
    let kills = kills.map_or(KILLS, |text| text.parse().unwrap());
    let disturbed = Folder::new();
    let mut killed = 0;
    for n in 0..kills {
        let mut child = disturbed
            .run_tiny(&[])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // From at once to half of the undisturbed time, in no even steps.
        let share = (f64::from(n) * 0.618_034).fract() * 0.5;
        let until = Instant::now() + Duration::from_secs_f64(whole.as_secs_f64() * share);
        while Instant::now() < until && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(2));
        }
        let ended = child.try_wait().unwrap();
        child.kill().unwrap();
        child.wait().unwrap();
        killed += u32::from(ended.is_none());
    }
    assert!(killed > 0, "no run lived long enough to be killed");
    Call::from(disturbed.run_tiny(&[]).output().unwrap()).expect(0);
    let (weights, predictions) = result(&undisturbed);
    let (resumed_weights, resumed_predictions) = result(&disturbed);
    assert_eq!(
        weights.keys().collect::<Vec<_>>(),
        resumed_weights.keys().collect::<Vec<_>>()
    );
    for (name, bits) in &weights {
        assert!(
            *bits == resumed_weights[name],
            "{name} differs after {killed} kills"
        );
    }
    assert!(
        predictions == resumed_predictions,
        "predictions differ after {killed} kills"
    );
}
