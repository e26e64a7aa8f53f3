//! Angles as records: between pictures and class names, the histograms that
//! `embedder_zero_shot` leaves with `zero_shot.measure_gap`, and between texts
//! and the same with the noise of training, which `test_data_loader` leaves
//! with `test.angles`.

use std::path::Path;

use serde_json::Value;

use super::record::Record;
use super::sources::SourceError;

/// What files of such histograms are called.
const FILES: [&str; 2] = ["modality_gap_", "noise_angles_"];

/// Whether a file of an output is one of these.
pub(super) fn is_file(path: &str) -> bool {
    FILES.iter().any(|start| path.starts_with(start))
}

/// One record per angle that occurs: `angle` (the middle of its half degree),
/// `count` and `series`, `own class`, `other classes` or `with noise`.
pub(super) fn records(path: &Path) -> Result<Vec<Record>, SourceError> {
    let text = std::fs::read_to_string(path).map_err(|source| SourceError::Read {
        path: path.to_owned(),
        source,
    })?;
    let wrong = |reason: String| SourceError::Record {
        path: path.to_owned(),
        line: 1,
        reason,
    };
    let gap: Value = serde_json::from_str(&text).map_err(|error| SourceError::Record {
        path: path.to_owned(),
        line: error.line(),
        reason: error.to_string(),
    })?;
    let counts = |name: &str| -> Option<Vec<u64>> {
        let counts = gap[name]["counts"].as_array()?;
        counts.iter().map(Value::as_u64).collect()
    };
    let end = |name: &str| gap[name]["max"].as_f64().unwrap_or(180.0);
    let all = ["noise_angle_histc", "all_angle_histc", "angle_histc"].map(counts);
    let (max, series) = match all {
        [Some(noise), _, _] => (end("noise_angle_histc"), vec![("with noise", noise)]),
        [None, Some(all), Some(own)] if all.len() == own.len() => {
            let others = all.iter().zip(&own);
            let others = others.map(|(all, own)| all.saturating_sub(*own)).collect();
            let series = vec![("own class", own), ("other classes", others)];
            (end("all_angle_histc"), series)
        }
        [None, Some(_), Some(_)] => {
            return Err(wrong("its histograms have unequal bins".to_owned()));
        }
        _ => return Err(wrong("there are no histograms of angles".to_owned())),
    };
    let mut found = Vec::new();
    for (name, counts) in &series {
        let width = max / counts.len().max(1) as f64;
        for (at, count) in counts.iter().enumerate().filter(|(_, count)| **count > 0) {
            let mut record = Record::new()
                .with("angle", (at as f64 + 0.5) * width)
                .with("count", *count)
                .with("series", *name);
            for (field, value) in [
                ("dataset", &gap["cfg_cls"]["cls_dataset"]),
                ("dataset.split", &gap["cfg_cls"]["cls_split"]),
                (
                    "config.embedder_spec",
                    &gap["cfg_embedder"]["embedder_spec"],
                ),
            ] {
                if value.is_string() {
                    record.set(field, value.clone());
                }
            }
            let noise = gap["cfg_noise"].as_object();
            for (key, value) in noise.into_iter().flatten() {
                record.set(&format!("config.{key}"), value.clone());
            }
            found.push(record);
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn angles_of_own_classes_are_taken_from_those_of_all() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("modality_gap_x.json");
        let gap = json!({
            "cfg_cls": {"cls_dataset": "D"}, "cfg_embedder": {},
            "all_angle_histc": {"min": 0, "max": 180, "bins": 3, "counts": [0, 4, 2]},
            "angle_histc": {"min": 0, "max": 180, "bins": 3, "counts": [0, 1, 2]},
        });
        std::fs::write(&path, gap.to_string()).unwrap();
        let told: Vec<(f64, f64, String)> = records(&path)
            .unwrap()
            .iter()
            .map(|record| {
                let series = record.text("series").unwrap().to_owned();
                (
                    record.number("angle").unwrap(),
                    record.number("count").unwrap(),
                    series,
                )
            })
            .collect();
        let own = |angle, count| (angle, count, "own class".to_owned());
        assert_eq!(
            told,
            [
                own(90.0, 1.0),
                own(150.0, 2.0),
                (90.0, 3.0, "other classes".to_owned())
            ]
        );
        let noise = json!({
            "cfg_embedder": {}, "cfg_noise": {"noise_vec_norm": 3.25},
            "noise_angle_histc": {"min": 0, "max": 180, "bins": 3, "counts": [0, 7, 0]},
        });
        std::fs::write(&path, noise.to_string()).unwrap();
        let expected = Record::new()
            .with("angle", 90.0)
            .with("count", 7)
            .with("series", "with noise")
            .with("config.noise_vec_norm", 3.25);
        assert_eq!(records(&path).unwrap(), [expected]);
        assert!(is_file("noise_angles_x.json") && !is_file("records.json"));
        std::fs::write(&path, "{}").unwrap();
        assert!(
            records(&path)
                .unwrap_err()
                .to_string()
                .contains("no histograms")
        );
    }
}
