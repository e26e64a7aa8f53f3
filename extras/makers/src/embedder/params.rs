//! Parameters of a network in one flat vector.

use super::failure::{Outcome, at, content};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

/// Place of one parameter in the flat vector.
#[derive(Debug, Clone, Copy)]
pub struct Slot {
    pub start: usize,
    pub len: usize,
}

impl Slot {
    /// The parameter's values.
    pub fn of(self, values: &[f32]) -> &[f32] {
        &values[self.start..self.start + self.len]
    }

    /// The parameter's values, to be changed.
    pub fn of_mut(self, values: &mut [f32]) -> &mut [f32] {
        &mut values[self.start..self.start + self.len]
    }
}

/// How the optimiser treats a parameter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A convolution followed by a batch norm, `rows` × columns.
    Filter { rows: usize },
    /// A matrix with weight decay.
    Matrix,
    /// Gains, offsets, positions.
    Plain,
}

/// Names, places and values of all parameters.
#[derive(Default)]
pub struct Params {
    pub values: Vec<f32>,
    pub entries: Vec<(String, Slot, Kind)>,
}

impl Params {
    /// Adds a parameter filled with `fill`.
    pub fn constant(&mut self, name: &str, len: usize, fill: f32) -> Slot {
        self.push(name, Kind::Plain, vec![fill; len])
    }

    /// Adds a normally distributed parameter.
    pub fn normal(&mut self, name: &str, kind: Kind, len: usize, deviation: f32) -> Slot {
        let mut rng = ChaCha8Rng::seed_from_u64(self.entries.len() as u64);
        let values = (0..len).map(|_| deviation * gaussian(&mut rng)).collect();
        self.push(name, kind, values)
    }

    fn push(&mut self, name: &str, kind: Kind, values: Vec<f32>) -> Slot {
        let slot = Slot {
            start: self.values.len(),
            len: values.len(),
        };
        self.values.extend(values);
        self.entries.push((name.to_string(), slot, kind));
        slot
    }

    /// Writes the raw values.
    pub fn save(values: &[f32], path: &Path) -> Outcome<()> {
        let bytes: Vec<u8> = values.iter().flat_map(|v| v.to_le_bytes()).collect();
        let part = path.with_extension("part");
        std::fs::write(&part, bytes).map_err(at(&part))?;
        std::fs::rename(&part, path).map_err(at(path))
    }

    /// Reads `len` raw values.
    pub fn load(path: &Path, len: usize) -> Outcome<Vec<f32>> {
        let bytes = std::fs::read(path).map_err(at(path))?;
        if bytes.len() != 4 * len {
            return Err(content(
                path,
                format!("{} values expected, found {}", len, bytes.len() / 4),
            ));
        }
        Ok(bytes
            .chunks_exact(4)
            .map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]))
            .collect())
    }
}

/// A standard normal number (Box–Muller).
pub fn gaussian(rng: &mut impl Rng) -> f32 {
    let (u, v): (f32, f32) = (rng.random_range(1e-7..1.0), rng.random());
    (-2.0 * u.ln()).sqrt() * (std::f32::consts::TAU * v).cos()
}
