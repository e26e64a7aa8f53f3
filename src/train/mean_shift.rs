//! The mean shift: a measured vector from text to image embeddings that is
//! added to every embedding in training (`training.md` 1.5, 2.3).

use std::path::Path;

use serde_json::{Map, Value};

use super::error::{Result, TrainError};

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 64 << 20;

/// A vector that is added to embeddings, which are normalised again.
#[derive(Clone, Debug, PartialEq)]
pub struct MeanShift {
    vector: Vec<f32>,
}

impl MeanShift {
    /// Reads the vector for embeddings of dimension `dim` made with the
    /// settings `embedder` (flat keys: `embedder_spec`, `embedder_amp`, …).
    /// Also returns warnings about settings the vector was measured with that
    /// differ from these.
    ///
    /// # Errors
    /// An unreadable file, another embedder, another dimension.
    pub fn read(
        path: &Path,
        dim: usize,
        embedder: &Map<String, Value>,
    ) -> Result<(Self, Vec<String>)> {
        let failed = |reason: String| TrainError::MeanShift {
            path: path.to_path_buf(),
            reason,
        };
        let size = std::fs::metadata(path)
            .map_err(|error| {
                failed(format!(
                    "{error}; measure it with `novic embed zero-shot` and measure_gap, name \
                     another file in train.mean_shift.path, or set train.mean_shift.enabled=false"
                ))
            })?
            .len();
        if size > MAX_FILE_BYTES {
            return Err(failed(format!("{size} bytes are not a mean-shift file")));
        }
        let text = std::fs::read_to_string(path).map_err(|error| failed(error.to_string()))?;
        let file: Value =
            serde_json::from_str(&text).map_err(|error| failed(format!("not JSON: {error}")))?;
        let mut warnings = Vec::new();
        if let Some(measured) = file.get("cfg_embedder").and_then(Value::as_object) {
            for (key, value) in measured {
                let Some(used) = embedder.get(key).filter(|used| *used != value) else {
                    continue;
                };
                let difference = format!("{key} was {value}, now {used}");
                if key == "embedder_spec" {
                    return Err(failed(format!(
                        "it was measured for another embedder ({difference}); measure it for \
                         this one with `novic embed zero-shot`"
                    )));
                }
                warnings.push(format!("mean shift measured differently: {difference}"));
            }
        }
        let vector = (file.get("mean_shift").and_then(Value::as_array))
            .ok_or_else(|| failed("it has no list mean_shift".to_string()))?
            .iter()
            .map(|value| value.as_f64().filter(|value| value.is_finite()))
            .map(|value| value.map(|value| value as f32))
            .collect::<Option<Vec<f32>>>()
            .ok_or_else(|| failed("mean_shift must hold numbers only".to_string()))?;
        if vector.len() != dim {
            return Err(failed(format!(
                "it has {} dimensions, the embeddings {dim}",
                vector.len()
            )));
        }
        Ok((Self { vector }, warnings))
    }

    /// Shifts the rows of `embeds` (`[B, F]`, row-major) and normalises them.
    pub fn apply(&self, embeds: &mut [f32]) {
        for row in embeds.chunks_exact_mut(self.vector.len()) {
            let mut squares = 0.0f64;
            for (value, shift) in row.iter_mut().zip(&self.vector) {
                *value += shift;
                squares += f64::from(*value) * f64::from(*value);
            }
            let norm = squares.sqrt().max(1e-12) as f32;
            for value in row {
                *value /= norm;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(content: &str) -> Result<(MeanShift, Vec<String>)> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("shift.json");
        std::fs::write(&path, content).unwrap();
        let used = json!({"embedder_spec": "openclip:x", "embedder_amp": false});
        MeanShift::read(&path, 2, used.as_object().unwrap())
    }

    #[test]
    fn rows_are_shifted_and_unit_length() {
        let (shift, warnings) = read(
            r#"{"cfg_embedder": {"embedder_spec": "openclip:x", "embedder_amp": true},
                "mean_shift": [3.0, 3.0]}"#,
        )
        .unwrap();
        assert_eq!(
            warnings,
            ["mean shift measured differently: embedder_amp was true, now false"]
        );
        let mut rows = [0.0, 1.0, -3.0, -3.0];
        shift.apply(&mut rows);
        assert_eq!(rows, [0.6, 0.8, 0.0, 0.0]);
    }

    #[test]
    fn unusable_files_are_refused() {
        for content in [
            "no json",
            "{}",
            r#"{"mean_shift": [1.0]}"#,
            r#"{"mean_shift": [1.0, "x"]}"#,
            r#"{"cfg_embedder": {"embedder_spec": "openai:y"}, "mean_shift": [1.0, 2.0]}"#,
        ] {
            assert!(read(content).is_err(), "{content}");
        }
        let missing = MeanShift::read(Path::new("/nowhere.json"), 2, &Map::new());
        let message = missing.unwrap_err().to_string();
        assert!(message.contains("novic embed zero-shot"), "{message}");
    }
}
