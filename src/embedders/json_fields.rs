//! One object of a model's configuration file, every number checked against
//! sane bounds because it sizes allocations.

use std::path::Path;

use serde_json::{Map, Value};

use super::error::EmbedderError;

/// Bound on what sizes an allocation.
pub(super) const MAX_WIDTH: usize = 1 << 15;
/// Bound on what sizes an allocation.
pub(super) const MAX_LAYERS: usize = 1 << 10;
/// Bound on what sizes an allocation.
pub(super) const MAX_IMAGE: usize = 1 << 13;

/// One JSON object, remembering which keys were asked for.
pub(super) struct Fields<'a> {
    path: &'a Path,
    name: &'static str,
    pub(super) map: &'a Map<String, Value>,
    known: Vec<&'static str>,
}

impl<'a> Fields<'a> {
    /// An object of a file; `name` is what messages call it.
    pub(super) fn new(
        path: &'a Path,
        name: &'static str,
        value: &'a Value,
    ) -> Result<Self, EmbedderError> {
        match value {
            Value::Object(map) => Ok(Self {
                path,
                name,
                map,
                known: Vec::new(),
            }),
            _ => Err(EmbedderError::BadFile {
                path: path.to_owned(),
                reason: format!("{name} is not an object"),
            }),
        }
    }

    pub(super) fn bad(&self, key: &str, wanted: impl std::fmt::Display) -> EmbedderError {
        let given = self.map.get(key).unwrap_or(&Value::Null);
        EmbedderError::BadFile {
            path: self.path.to_owned(),
            reason: format!("{}.{key} = {given} is not {wanted}", self.name),
        }
    }

    /// The value of a key unless it is absent or null.
    pub(super) fn get(&mut self, key: &'static str) -> Option<&'a Value> {
        self.known.push(key);
        self.map.get(key).filter(|value| !value.is_null())
    }

    /// Keys without a meaning for inference.
    pub(super) fn ignore(&mut self, keys: &[&'static str]) {
        self.known.extend_from_slice(keys);
    }

    pub(super) fn count(
        &mut self,
        key: &'static str,
        default: usize,
        max: usize,
    ) -> Result<usize, EmbedderError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => as_count(value, max)
                .ok_or_else(|| self.bad(key, format_args!("a whole number between 1 and {max}"))),
        }
    }

    pub(super) fn number(&mut self, key: &'static str, default: f64) -> Result<f64, EmbedderError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_f64().ok_or_else(|| self.bad(key, "a number")),
        }
    }

    pub(super) fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, EmbedderError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .as_bool()
                .ok_or_else(|| self.bad(key, "true or false")),
        }
    }

    pub(super) fn text(
        &mut self,
        key: &'static str,
        default: &'a str,
    ) -> Result<&'a str, EmbedderError> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value.as_str().ok_or_else(|| self.bad(key, "a text")),
        }
    }

    /// One number for both, or `[height, width]`.
    pub(super) fn size(
        &mut self,
        key: &'static str,
        default: usize,
    ) -> Result<(usize, usize), EmbedderError> {
        let size = match self.get(key) {
            None => return Ok((default, default)),
            Some(Value::Array(sides)) => match sides.as_slice() {
                [height, width] => as_count(height, MAX_IMAGE).zip(as_count(width, MAX_IMAGE)),
                _ => None,
            },
            Some(value) => as_count(value, MAX_IMAGE).map(|side| (side, side)),
        };
        size.ok_or_else(|| self.bad(key, format_args!("a size between 1 and {MAX_IMAGE} pixels")))
    }

    pub(super) fn channels(
        &mut self,
        key: &'static str,
        default: [f32; 3],
    ) -> Result<[f32; 3], EmbedderError> {
        let Some(value) = self.get(key) else {
            return Ok(default);
        };
        let values = match value {
            Value::Array(values) => values.iter().map(Value::as_f64).collect::<Option<Vec<_>>>(),
            value => value.as_f64().map(|value| vec![value; 3]),
        };
        match values.as_deref() {
            Some(&[red, green, blue]) => Ok([red as f32, green as f32, blue as f32]),
            _ => Err(self.bad(key, "three numbers")),
        }
    }

    pub(super) fn layer_norm_eps(&mut self) -> Result<f32, EmbedderError> {
        let Some(kwargs) = self.get("norm_kwargs") else {
            return Ok(1e-5);
        };
        let eps = match kwargs.get("eps") {
            None => Some(1e-5),
            Some(eps) => eps.as_f64(),
        };
        match eps {
            Some(eps) if eps > 0.0 && eps < 1.0 => Ok(eps as f32),
            _ => Err(self.bad("norm_kwargs", "an object with a positive eps")),
        }
    }

    pub(super) fn notices(&self) -> impl Iterator<Item = String> {
        self.map
            .keys()
            .filter(|key| !self.known.contains(&key.as_str()))
            .map(|key| format!("{}.{key} is not known and has no effect", self.name))
    }
}

pub(super) fn as_count(value: &Value, max: usize) -> Option<usize> {
    let count = usize::try_from(value.as_u64()?).ok()?;
    (1..=max).contains(&count).then_some(count)
}
