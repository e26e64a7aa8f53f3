//! Angles between pictures and class names as records: the histograms that
//! `embedder_zero_shot` leaves with `zero_shot.measure_gap`.

use std::path::Path;

use serde_json::Value;

use super::record::Record;
use super::sources::SourceError;

/// What files of such histograms are called.
pub(super) const FILES: &str = "modality_gap_";

/// One record per angle that occurs: `angle` (the middle of its half degree),
/// `count` and `series`, `own class` or `other classes`.
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
    let (Some(all), Some(own)) = (counts("all_angle_histc"), counts("angle_histc")) else {
        return Err(wrong("there are no histograms of angles".to_owned()));
    };
    let max = gap["all_angle_histc"]["max"].as_f64().unwrap_or(180.0);
    if all.len() != own.len() {
        return Err(wrong("its histograms have unequal bins".to_owned()));
    }
    let width = max / all.len().max(1) as f64;
    let mut found = Vec::new();
    for (at, (all, own)) in all.iter().zip(&own).enumerate() {
        for (series, count) in [
            ("own class", *own),
            ("other classes", all.saturating_sub(*own)),
        ] {
            if count == 0 {
                continue;
            }
            let mut record = Record::new()
                .with("angle", (at as f64 + 0.5) * width)
                .with("count", count)
                .with("series", series);
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
                (90.0, 3.0, "other classes".to_owned()),
                own(150.0, 2.0)
            ]
        );
        std::fs::write(&path, "{}").unwrap();
        assert!(
            records(&path)
                .unwrap_err()
                .to_string()
                .contains("no histograms")
        );
    }
}
