//! Zero-shot classification with embeddings alone (`embedders.md` section
//! 10): the class whose text embedding is most similar to the image's.

use candle_core::{DType, Device, Tensor};

use super::error::{EvaluateError, Result};

/// Images compared with all classes at once.
const BLOCK: usize = 512;

/// Averages the text embeddings of each class's prompts.
#[derive(Clone, Debug)]
pub struct ClassEmbeddings {
    dim: usize,
    sums: Vec<f64>,
}

impl ClassEmbeddings {
    /// Empty averages of `classes` classes and embeddings of `dim` elements.
    pub fn new(classes: usize, dim: usize) -> Self {
        Self {
            dim,
            sums: vec![0.0; classes * dim],
        }
    }

    /// Adds the unit embedding of one prompt of a class.
    ///
    /// # Errors
    /// A class or a dimension that does not exist.
    pub fn add(&mut self, class: usize, embed: &[f32]) -> Result<()> {
        if embed.len() != self.dim {
            return Err(EvaluateError::Shape {
                what: "text embedding",
                found: format!("{} elements", embed.len()),
                expected: format!("{}", self.dim),
            });
        }
        let classes = self.sums.len() / self.dim.max(1);
        let start = class * self.dim;
        let sums =
            self.sums
                .get_mut(start..start + self.dim)
                .ok_or(EvaluateError::LabelOutside {
                    label: class,
                    classes,
                })?;
        for (sum, value) in sums.iter_mut().zip(embed) {
            *sum += f64::from(*value);
        }
        Ok(())
    }

    /// Unit embeddings `[C, F]`, f32.
    ///
    /// # Errors
    /// A class without prompts.
    pub fn finish(self, device: &Device) -> Result<Tensor> {
        let mut embeds = Vec::with_capacity(self.sums.len());
        for (class, sums) in self.sums.chunks(self.dim.max(1)).enumerate() {
            let norm = sums.iter().map(|sum| sum * sum).sum::<f64>().sqrt();
            if !(norm.is_finite() && norm > 0.0) {
                return Err(EvaluateError::NoClassEmbedding { class });
            }
            embeds.extend(sums.iter().map(|sum| (sum / norm) as f32));
        }
        let classes = self.sums.len() / self.dim.max(1);
        Ok(Tensor::from_vec(embeds, (classes, self.dim), device)?)
    }
}

/// Scores image embeddings against class embeddings.
#[derive(Clone, Debug)]
pub struct ZeroShot {
    /// `[F, C]`.
    classes: Tensor,
    /// Samples whose true class has this rank.
    ranks: Vec<u64>,
    /// Samples, and those whose true class is first, of each class.
    per_class: Vec<(u64, u64)>,
}

impl ZeroShot {
    /// Scores against unit text embeddings `[C, F]`, f32.
    ///
    /// # Errors
    /// Not a matrix, or no classes.
    pub fn new(class_embeds: &Tensor) -> Result<Self> {
        let (classes, _) = class_embeds.dims2()?;
        if classes == 0 {
            return Err(EvaluateError::Shape {
                what: "class embeddings",
                found: "no classes".to_owned(),
                expected: "at least one".to_owned(),
            });
        }
        Ok(Self {
            classes: class_embeds.to_dtype(DType::F32)?.t()?.contiguous()?,
            ranks: vec![0; classes],
            per_class: vec![(0, 0); classes],
        })
    }

    /// Counts images with unit embeddings `[B, F]`, f32, and their labels.
    /// Returns the predicted class of each: the most similar, the first of
    /// equals.
    ///
    /// # Errors
    /// Shapes that do not fit, a label without class.
    pub fn add(&mut self, image_embeds: &Tensor, labels: &[usize]) -> Result<Vec<usize>> {
        let (images, _) = image_embeds.dims2()?;
        if images != labels.len() {
            return Err(EvaluateError::Shape {
                what: "labels",
                found: format!("{} labels", labels.len()),
                expected: format!("{images}"),
            });
        }
        let classes = self.ranks.len();
        if let Some(&label) = labels.iter().find(|&&label| label >= classes) {
            return Err(EvaluateError::LabelOutside { label, classes });
        }
        let mut predictions = Vec::with_capacity(images);
        for (block, labels) in labels.chunks(BLOCK).enumerate() {
            let embeds = image_embeds.narrow(0, block * BLOCK, labels.len())?;
            let similarities = embeds.to_dtype(DType::F32)?.matmul(&self.classes)?;
            let similarities = similarities.flatten_all()?.to_vec1::<f32>()?;
            for (row, &label) in similarities.chunks(classes).zip(labels) {
                let best = first_of_the_largest(row);
                let rank = rank_of(row, label);
                self.ranks[rank] += 1;
                self.per_class[label].0 += 1;
                self.per_class[label].1 += u64::from(rank == 0);
                predictions.push(best);
            }
        }
        Ok(predictions)
    }

    /// Images seen.
    pub fn samples(&self) -> u64 {
        self.ranks.iter().sum()
    }

    /// Images whose true class is among the `k` most similar.
    pub fn hits(&self, k: usize) -> u64 {
        self.ranks.iter().take(k).sum()
    }

    /// The same as a share; `None` without images.
    pub fn top(&self, k: usize) -> Option<f64> {
        let samples = self.samples();
        (samples > 0).then(|| self.hits(k) as f64 / samples as f64)
    }

    /// Images, and those whose true class is the most similar, of each class.
    pub fn per_class(&self) -> &[(u64, u64)] {
        &self.per_class
    }
}

/// Line that reports a zero-shot accuracy.
pub fn zero_shot_line(dataset: &str, split: &str, samples: u64, top1: f64) -> String {
    format!(
        "Embedder zero-shot performance on {dataset} {split} split over {samples} samples is \
         {:.2}%",
        top1 * 100.0
    )
}

fn first_of_the_largest(row: &[f32]) -> usize {
    let mut best = 0;
    for (index, value) in row.iter().enumerate() {
        if *value > row[best] {
            best = index;
        }
    }
    best
}

/// Number of classes before this one, by similarity, then by index. What is
/// not a number is never similar.
fn rank_of(row: &[f32], label: usize) -> usize {
    let own = row[label];
    if own.is_nan() {
        return row.len() - 1;
    }
    let before = |(index, value): (usize, &f32)| *value > own || (*value == own && index < label);
    row.iter().enumerate().filter(|&pair| before(pair)).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equals_go_to_the_first_class() {
        let classes = Tensor::new(&[[1_f32, 0.0], [1.0, 0.0], [0.0, 1.0]], &Device::Cpu).unwrap();
        let images = Tensor::new(&[[1_f32, 0.0], [1.0, 0.0], [0.0, 1.0]], &Device::Cpu).unwrap();
        let mut zero_shot = ZeroShot::new(&classes).unwrap();
        assert_eq!(zero_shot.add(&images, &[0, 1, 0]).unwrap(), [0, 0, 2]);
        assert_eq!((zero_shot.hits(1), zero_shot.hits(2)), (1, 3));
        assert_eq!(zero_shot.per_class(), [(2, 1), (1, 0), (0, 0)]);
        assert!(zero_shot.add(&images, &[0, 1, 3]).is_err());
    }

    #[test]
    fn a_class_without_prompts_is_named() {
        let mut means = ClassEmbeddings::new(2, 2);
        means.add(0, &[3.0, 4.0]).unwrap();
        assert!(means.add(2, &[1.0, 0.0]).is_err());
        let error = means.clone().finish(&Device::Cpu).unwrap_err();
        assert!(matches!(
            error,
            EvaluateError::NoClassEmbedding { class: 1 }
        ));
        means.add(1, &[0.0, 1.0]).unwrap();
        let embeds = means.finish(&Device::Cpu).unwrap();
        assert_eq!(embeds.to_vec2::<f32>().unwrap(), [[0.6, 0.8], [0.0, 1.0]]);
    }
}
