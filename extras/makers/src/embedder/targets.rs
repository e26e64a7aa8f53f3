//! Targets of both towers: sentence embeddings of all nouns and names in the
//! embedding space of the embedder.

use super::failure::{Outcome, read_json, write_json};
use super::image_tower::EMBED_DIM;
use super::layers::{dot, unit_rows};
use super::matrix::{Into, plain, product};
use super::names::clean;
use super::params::Params;
use super::pictures::Picture;
use super::sentence::{DIM, SentenceEncoder};
use super::wordnet;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// How far the directions are brought to equal variance: 0 not, 1 fully. Half
/// way tells near names apart without making rare directions loud.
const WHITENING: f32 = 0.5;

/// Share of a picture's name in the training of the text tower; the least common
/// noun has 1.
pub const NAME_WEIGHT: f32 = 4.0;

/// Share of a noun that WordNet's tagged texts contain.
pub const COMMON_WEIGHT: f32 = 2.0;

/// A text with what the trainer of the text tower needs to know.
#[derive(Serialize, Deserialize)]
pub struct Text {
    pub text: String,
    /// Share in the training of the text tower.
    pub weight: f32,
}

/// All texts and their unit target embeddings.
pub struct Targets {
    pub texts: Vec<Text>,
    pub values: Vec<f32>,
    index: HashMap<String, usize>,
}

impl Targets {
    /// Reads `texts.json` and `targets.bin` of the work folder.
    pub fn read(work: &Path) -> Outcome<Self> {
        let texts: Vec<Text> = read_json(&work.join("texts.json"))?;
        let values = Params::load(&work.join("targets.bin"), texts.len() * EMBED_DIM)?;
        let index = texts
            .iter()
            .enumerate()
            .map(|(i, t)| (t.text.clone(), i))
            .collect();
        Ok(Self {
            texts,
            values,
            index,
        })
    }

    /// Place of a text.
    pub fn find(&self, text: &str) -> Option<usize> {
        self.index.get(text).copied()
    }

    /// Target of text `i`.
    pub fn of(&self, i: usize) -> &[f32] {
        &self.values[i * EMBED_DIM..(i + 1) * EMBED_DIM]
    }
}

/// Embeds the common nouns of WordNet and all names of pictures.
pub fn compute(modules: &Path, encoder: &Path, work: &Path) -> Outcome<()> {
    let pictures: Vec<Picture> = read_json(&work.join("pictures.json"))?;
    let names: BTreeSet<String> = pictures.into_iter().flat_map(|p| p.names).collect();
    let mut texts: Vec<Text> = names
        .iter()
        .map(|n| Text {
            text: n.clone(),
            weight: NAME_WEIGHT,
        })
        .collect();
    for noun in wordnet::read(modules)? {
        let text = clean(&noun.text);
        if !noun.common || text.is_empty() || text.split(' ').count() > 3 || names.contains(&text) {
            continue;
        }
        texts.push(Text {
            text,
            weight: if noun.tagged > 0 { COMMON_WEIGHT } else { 1.0 },
        });
    }
    let mut seen = BTreeSet::new();
    texts.retain(|t| seen.insert(t.text.clone()));
    println!("embedding {} texts", texts.len());
    let words: Vec<String> = texts.iter().map(|t| t.text.clone()).collect();
    let raw = SentenceEncoder::read(encoder)?.embed(&words)?;
    let weights: Vec<f32> = texts.iter().map(|t| t.weight).collect();
    let values = project(raw, &weights);
    Params::save(&values, &work.join("targets.bin"))?;
    write_json(&work.join("texts.json"), &texts)
}

/// Principal axes of the centred embeddings, partly whitened, unit length.
fn project(mut raw: Vec<f32>, weights: &[f32]) -> Vec<f32> {
    let total: f32 = weights.iter().sum();
    let mut mean = vec![0.0; DIM];
    for (row, w) in raw.chunks_exact(DIM).zip(weights) {
        mean.iter_mut()
            .zip(row)
            .for_each(|(m, x)| *m += x * w / total);
    }
    for row in raw.chunks_exact_mut(DIM) {
        row.iter_mut().zip(&mean).for_each(|(x, m)| *x -= m);
    }
    let mut covariance = vec![0.0; DIM * DIM];
    let scaled: Vec<f32> = raw
        .chunks_exact(DIM)
        .zip(weights)
        .flat_map(|(row, w)| row.iter().map(move |x| x * w / total))
        .collect();
    let rows = raw.len() / DIM;
    product(
        DIM,
        rows,
        DIM,
        super::matrix::turned(&scaled, DIM),
        plain(&raw, DIM),
        &mut covariance,
        Into::Replace,
    );
    let (variances, axes) = principal_axes(covariance);
    let mut basis = vec![0.0; DIM * EMBED_DIM];
    for (j, (axis, variance)) in axes.iter().zip(&variances).take(EMBED_DIM).enumerate() {
        let scale = variance.max(1e-8).powf(-0.5 * WHITENING);
        for i in 0..DIM {
            basis[i * EMBED_DIM + j] = axis[i] * scale;
        }
    }
    let mut values = vec![0.0; rows * EMBED_DIM];
    product(
        rows,
        DIM,
        EMBED_DIM,
        plain(&raw, DIM),
        plain(&basis, EMBED_DIM),
        &mut values,
        Into::Replace,
    );
    unit_rows(&mut values, EMBED_DIM);
    values
}

/// Leading eigenvectors of a symmetric matrix by orthogonal iteration, by
/// falling eigenvalue.
fn principal_axes(matrix: Vec<f32>) -> (Vec<f32>, Vec<Vec<f32>>) {
    let mut axes: Vec<f32> = matrix.clone();
    for _ in 0..60 {
        orthogonalise(&mut axes);
        let mut next = vec![0.0; DIM * DIM];
        product(
            DIM,
            DIM,
            DIM,
            plain(&axes, DIM),
            plain(&matrix, DIM),
            &mut next,
            Into::Replace,
        );
        axes = next;
    }
    let variances: Vec<f32> = axes.chunks_exact(DIM).map(|a| dot(a, a).sqrt()).collect();
    orthogonalise(&mut axes);
    let mut order: Vec<usize> = (0..DIM).collect();
    order.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]));
    let sorted = order
        .iter()
        .map(|&i| axes[i * DIM..(i + 1) * DIM].to_vec())
        .collect();
    (order.iter().map(|&i| variances[i]).collect(), sorted)
}

/// Gram–Schmidt on rows, twice for accuracy.
fn orthogonalise(rows: &mut [f32]) {
    for i in 0..DIM {
        for _ in 0..2 {
            let (before, rest) = rows.split_at_mut(i * DIM);
            let row = &mut rest[..DIM];
            for other in before.chunks_exact(DIM) {
                let share = dot(other, row);
                row.iter_mut().zip(other).for_each(|(x, o)| *x -= share * o);
            }
        }
        unit_rows(&mut rows[i * DIM..(i + 1) * DIM], DIM);
    }
}
