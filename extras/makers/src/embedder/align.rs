//! Moving the image tower from the sentence encoder's embeddings to those of
//! the text tower, as far as a linear map can.

use super::failure::{Outcome, at};
use super::image_tower::{EMBED_DIM, ImageTower};
use super::matrix::{Into, plain, product, turned};
use super::params::{Params, Slot};
use super::targets::Targets;
use std::path::Path;

/// Ridge of the regression, in rows.
const RIDGE: f64 = 1.0;

/// Fits the map from the targets of the pictures' names to the text tower's own
/// embeddings of them, puts it behind the output of the state `from`'s averaged
/// parameters and writes these as state `to`, from which a training can begin.
pub fn align(work: &Path, from: &str, to: &str) -> Outcome<()> {
    let targets = Targets::read(work)?;
    let own = Params::load(&work.join("own-targets.bin"), targets.values.len())?;
    let (mut old, mut new) = (Vec::new(), Vec::new());
    for (a, b) in targets
        .values
        .chunks_exact(EMBED_DIM)
        .zip(own.chunks_exact(EMBED_DIM))
    {
        if a != b {
            old.extend_from_slice(a);
            new.extend_from_slice(b);
        }
    }
    let map = regression(&old, &new);
    let mut params = Params::default();
    ImageTower::new(&mut params);
    params.constant("logit_scale", 1, 0.0);
    let mut values = Params::load(
        &work.join(format!("{from}-average.bin")),
        params.values.len(),
    )?;
    for (name, slot, _) in &params.entries {
        if name.starts_with("attnpool.c_proj.") {
            apply(*slot, &map, &mut values);
        }
    }
    // The trunk is unchanged, and with it the statistics of its norms.
    let moments = work.join(format!("{from}-moments.bin"));
    std::fs::copy(&moments, work.join(format!("{to}-moments.bin"))).map_err(at(&moments))?;
    Params::save(&values, &work.join(format!("{to}-average.bin")))?;
    Params::save(&values, &work.join(format!("{to}-start.bin")))
}

/// Multiplies the rows of a parameter by the map.
fn apply(slot: Slot, map: &[f32], values: &mut [f32]) {
    let rows = slot.of(values).to_vec();
    let count = rows.len() / EMBED_DIM;
    product(
        count,
        EMBED_DIM,
        EMBED_DIM,
        plain(&rows, EMBED_DIM),
        plain(map, EMBED_DIM),
        slot.of_mut(values),
        Into::Replace,
    );
}

/// Ridge regression `old · map ≈ new`, by Gauss–Jordan elimination: the matrix
/// is positive definite, so no pivoting is needed.
fn regression(old: &[f32], new: &[f32]) -> Vec<f32> {
    const N: usize = EMBED_DIM;
    let rows = old.len() / N;
    let (mut gram, mut right) = (vec![0.0; N * N], vec![0.0; N * N]);
    product(
        N,
        rows,
        N,
        turned(old, N),
        plain(old, N),
        &mut gram,
        Into::Replace,
    );
    product(
        N,
        rows,
        N,
        turned(old, N),
        plain(new, N),
        &mut right,
        Into::Replace,
    );
    let mut system: Vec<Vec<f64>> = gram
        .chunks_exact(N)
        .zip(right.chunks_exact(N))
        .enumerate()
        .map(|(i, (gram, right))| {
            let mut row: Vec<f64> = gram.iter().chain(right).map(|x| f64::from(*x)).collect();
            row[i] += RIDGE;
            row
        })
        .collect();
    for pivot in 0..N {
        let lead = system[pivot][pivot];
        system[pivot].iter_mut().for_each(|x| *x /= lead);
        let row = system[pivot].clone();
        for (i, other) in system.iter_mut().enumerate() {
            let share = other[pivot];
            if i != pivot && share != 0.0 {
                other
                    .iter_mut()
                    .zip(&row)
                    .for_each(|(x, r)| *x -= share * r);
            }
        }
    }
    system
        .iter()
        .flat_map(|row| row[N..].iter().map(|x| *x as f32))
        .collect()
}
