//! Whether two outputs are equal, and where they first differ.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::sync::LazyLock;

use regex::Regex;
use safetensors::{Dtype, SafeTensors};
use serde::Serialize;
use serde_json::Value;

use crate::store::{Entry, StoreError};
use crate::tracking::{METRICS_FILE, Row, read_metrics};

/// How far two outputs agree.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "agreement", rename_all = "snake_case")]
pub enum Agreement {
    /// Every file has the same bytes; of metrics, the same values.
    Equal,
    /// Numbers differ by no more than the tolerance.
    Close {
        /// Largest relative difference.
        largest: f64,
    },
    /// Something differs.
    Different {
        /// Where first: file, and tensor, row or place in it.
        place: String,
        /// How.
        what: String,
    },
}

/// Two numbers agree if they differ by no more than this, relative to the
/// larger.
pub const TOLERANCE: f64 = 1e-5;

impl Agreement {
    fn of(
        largest: f64,
        place: impl FnOnce() -> String,
        what: impl FnOnce() -> String,
    ) -> Agreement {
        if largest == 0.0 {
            Agreement::Equal
        } else if largest <= TOLERANCE {
            Agreement::Close { largest }
        } else {
            Agreement::Different {
                place: place(),
                what: what(),
            }
        }
    }

    /// The worse of two.
    fn and(self, other: Agreement) -> Agreement {
        match (self, other) {
            (different @ Agreement::Different { .. }, _)
            | (_, different @ Agreement::Different { .. }) => different,
            (Agreement::Close { largest: a }, Agreement::Close { largest: b }) => {
                Agreement::Close { largest: a.max(b) }
            }
            (close @ Agreement::Close { .. }, _) | (_, close) => close,
        }
    }
}

/// Compares two outputs file by file, sorted by name.
///
/// # Errors
/// A file cannot be read.
pub fn compare_outputs(old: &Entry, new: &Entry) -> Result<Agreement, StoreError> {
    let (before, after) = (&old.manifest().files, &new.manifest().files);
    let names = |files: &[crate::store::EntryFile]| {
        files
            .iter()
            .map(|file| file.path.clone())
            .collect::<Vec<_>>()
    };
    let same = before.len() == after.len()
        && before
            .iter()
            .zip(after)
            .all(|(a, b)| timeless(&a.path) == timeless(&b.path));
    if !same {
        return Ok(Agreement::Different {
            place: "list of files".to_owned(),
            what: format!("{} → {}", names(before).join(", "), names(after).join(", ")),
        });
    }
    let mut agreement = Agreement::Equal;
    for (a, b) in before.iter().zip(after) {
        if a.blake3 != b.blake3 {
            let found = compare_files(&a.path, &old.dir().join(&a.path), &new.dir().join(&b.path))?;
            agreement = agreement.and(found);
            if matches!(agreement, Agreement::Different { .. }) {
                return Ok(agreement);
            }
        }
    }
    let results = |entry: &Entry| entry.manifest().description.results.clone();
    Ok(agreement.and(compare_json("results", &results(old), &results(new))))
}

fn compare_files(name: &str, old: &Path, new: &Path) -> Result<Agreement, StoreError> {
    if name == METRICS_FILE {
        return Ok(compare_metrics(old, new));
    }
    let read = |path: &Path| fs::read(path).map_err(StoreError::io("read", path));
    let (a, b) = (read(old)?, read(new)?);
    if name.ends_with(".safetensors")
        && let (Ok(a), Ok(b)) = (SafeTensors::deserialize(&a), SafeTensors::deserialize(&b))
    {
        return Ok(compare_tensors(name, &a, &b));
    }
    if name.ends_with(".json")
        && let (Ok(a), Ok(b)) = (serde_json::from_slice(&a), serde_json::from_slice(&b))
    {
        return Ok(compare_json(name, &a, &b));
    }
    let at = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    Ok(Agreement::Different {
        place: name.to_owned(),
        what: format!("byte {at} of {} and {}", a.len(), b.len()),
    })
}

/// Metrics without their times.
fn compare_metrics(old: &Path, new: &Path) -> Agreement {
    let (a, b) = (rows(old), rows(new));
    let agreement = compare_rows(&a, &b);
    if a.len() == b.len() || matches!(agreement, Agreement::Different { .. }) {
        return agreement;
    }
    Agreement::Different {
        place: METRICS_FILE.to_owned(),
        what: format!("{} → {} rows", a.len(), b.len()),
    }
}

/// Compares the first metrics of an output with those of a piece of the same work:
/// how many rows there are, and how far they agree.
pub(super) fn compare_beginning(old: &Path, piece: &Path) -> (usize, Agreement) {
    let (a, b) = (
        rows(&old.join(METRICS_FILE)),
        rows(&piece.join(METRICS_FILE)),
    );
    (a.len().min(b.len()), compare_rows(&a, &b))
}

fn rows(path: &Path) -> Vec<Row> {
    let metrics = read_metrics(path);
    metrics.map(|metrics| metrics.rows()).unwrap_or_default()
}

/// Compares as many rows as both have.
fn compare_rows(a: &[Row], b: &[Row]) -> Agreement {
    let mut agreement = Agreement::Equal;
    for (a, b) in a.iter().zip(b) {
        let json = |row: &Row| -> Value {
            let values = row.values.iter();
            let values = values.filter(|(name, _)| !measures_time(name));
            let values = values.map(|(name, value)| (name.clone(), value.to_json()));
            values.collect::<serde_json::Map<_, _>>().into()
        };
        let place = format!("{METRICS_FILE} row {}", a.position);
        agreement = agreement.and(compare_json(&place, &json(a), &json(b)));
        if matches!(agreement, Agreement::Different { .. }) {
            return agreement;
        }
    }
    agreement
}

fn compare_tensors(name: &str, old: &SafeTensors<'_>, new: &SafeTensors<'_>) -> Agreement {
    let mut agreement = Agreement::Equal;
    let mut names = old.names();
    names.sort_unstable();
    for tensor in names {
        let place = || format!("{name} tensor {tensor}");
        let (Ok(a), Ok(b)) = (old.tensor(tensor), new.tensor(tensor)) else {
            return Agreement::Different {
                place: place(),
                what: "it is missing".to_owned(),
            };
        };
        if a.data() == b.data() && a.shape() == b.shape() && a.dtype() == b.dtype() {
            continue;
        }
        if a.shape() != b.shape() || a.dtype() != b.dtype() || a.dtype() != Dtype::F32 {
            return Agreement::Different {
                place: place(),
                what: format!(
                    "{:?} {:?} → {:?} {:?}",
                    a.dtype(),
                    a.shape(),
                    b.dtype(),
                    b.shape()
                ),
            };
        }
        let numbers = |data: &[u8]| -> Vec<f64> {
            let (chunks, _) = data.as_chunks::<4>();
            chunks
                .iter()
                .map(|&bytes| f64::from(f32::from_le_bytes(bytes)))
                .collect()
        };
        let (a, b) = (numbers(a.data()), numbers(b.data()));
        // Relative to the largest element: small ones have no digits of their own.
        let scale = a
            .iter()
            .chain(&b)
            .fold(0.0, |largest: f64, x| largest.max(x.abs()));
        let largest = a
            .iter()
            .zip(&b)
            .fold(0.0, |largest: f64, (a, b)| largest.max((a - b).abs()));
        let relative = if scale > 0.0 { largest / scale } else { 0.0 };
        agreement = agreement.and(Agreement::of(
            relative.max(f64::MIN_POSITIVE),
            place,
            || format!("largest difference {largest:e} of values up to {scale:e}"),
        ));
        if matches!(agreement, Agreement::Different { .. }) {
            return agreement;
        }
    }
    agreement
}

fn compare_json(place: &str, old: &Value, new: &Value) -> Agreement {
    match (old, new) {
        (Value::Object(a), Value::Object(b)) if a.keys().eq(b.keys()) => {
            let parts = a
                .iter()
                .filter(|(name, _)| !measures_time(name))
                .map(|(name, a)| compare_json(&format!("{place} {name}"), a, &b[name]));
            parts.fold(Agreement::Equal, Agreement::and)
        }
        (Value::Array(a), Value::Array(b)) if a.len() == b.len() => {
            let parts = a.iter().zip(b).enumerate();
            let parts = parts.map(|(at, (a, b))| compare_json(&format!("{place} {at}"), a, b));
            parts.fold(Agreement::Equal, Agreement::and)
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(0.0), b.as_f64().unwrap_or(0.0));
            let scale = a.abs().max(b.abs());
            let relative = if scale > 0.0 {
                (a - b).abs() / scale
            } else {
                0.0
            };
            Agreement::of(relative, || place.to_owned(), || format!("{a} → {b}"))
        }
        (Value::String(a), Value::String(b)) if timeless(a) == timeless(b) => Agreement::Equal,
        (a, b) if a == b => Agreement::Equal,
        (a, b) => Agreement::Different {
            place: place.to_owned(),
            what: format!("{a} → {b}"),
        },
    }
}

/// Whether a value differs every time because it is one.
fn measures_time(name: &str) -> bool {
    name.contains("time")
}

/// A name or path without what differs every time: the moment in the names of
/// checkpoints and runs, and the place where things are done again.
fn timeless(text: &str) -> Cow<'_, str> {
    static MOMENT: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"_[0-9]{8}_[0-9]{6}(_[0-9]+)?|[.]tmp[A-Za-z0-9]{6}/").ok());
    match &*MOMENT {
        Some(moment) => moment.replace_all(text, ""),
        None => Cow::Borrowed(text),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_first_difference_is_named_and_small_ones_are_close() {
        let old = json!({"a": [1.0, 2.0], "b": {"c": "x"}});
        assert_eq!(compare_json("f", &old, &old), Agreement::Equal);
        let close = json!({"a": [1.0, 2.000001], "b": {"c": "x"}});
        assert!(
            matches!(compare_json("f", &old, &close), Agreement::Close { largest } if largest < 1e-6)
        );
        let other = json!({"a": [1.0, 2.1], "b": {"c": "y"}});
        let Agreement::Different { place, what } = compare_json("f", &old, &other) else {
            panic!("they differ");
        };
        assert_eq!((place.as_str(), what.as_str()), ("f a 1", "2 → 2.1"));
    }

    #[test]
    fn moments_and_places_of_doing_it_again_are_no_difference() {
        let [old, new] = [("", "170509"), (".tmpRz9Q47/", "225139_2")].map(|(place, time)| {
            json!({"model": format!("/p/.novic/{place}store/train/k/ovod_chunk0003_20261124_{time}.safetensors")})
        });
        assert_eq!(compare_json("f", &old, &new), Agreement::Equal);
        let other =
            json!({"model": "/p/.novic/store/train/k/ovod_chunk0004_20261124_170509.safetensors"});
        assert_ne!(compare_json("f", &old, &other), Agreement::Equal);
    }
}
