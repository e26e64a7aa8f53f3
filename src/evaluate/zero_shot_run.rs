//! A zero-shot run over a dataset: class embeddings from prompts, images in
//! batches, accuracies, confusions, the modality gap.

use std::collections::BTreeMap;

use candle_core::{Device, Tensor};
use serde_json::{Value, json};

use super::error::{EvaluateError, Result};
use super::modality_gap::ModalityGap;
use super::zero_shot::{ClassEmbeddings, ZeroShot, zero_shot_line};
use crate::datasets::ClassificationDataset;
use crate::embedders::Embedder;
use crate::images::in_batches;
use crate::nouns::{make_indefinite, zero_shot_prompts};

/// Texts embedded together.
const TEXTS: usize = 2048;

/// A prompt of zero-shot classification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ZeroShotPrompt {
    /// Text with `{noun}` in the place of the class name.
    pub template: String,
    /// Whether the name gets an indefinite article.
    pub article: bool,
}

impl ZeroShotPrompt {
    /// The text for a noun.
    pub fn text(&self, noun: &str) -> String {
        if self.article {
            self.template.replace("{noun}", &make_indefinite(noun, ""))
        } else {
            self.template.replace("{noun}", noun)
        }
    }
}

/// Prompts of datasets that have none of their own: they say nothing of the
/// kind of picture, and few do, as averages of more hardly differ.
const GENERAL_PROMPTS: [&str; 4] = [
    "{noun}",
    "a photo of a {noun}.",
    "a drawing of a {noun}.",
    "an icon of a {noun}.",
];

/// The prompts of a dataset, general ones if it has none of its own.
pub fn dataset_prompts(dataset: &str) -> Vec<ZeroShotPrompt> {
    let templates =
        zero_shot_prompts(dataset).unwrap_or_else(|_| GENERAL_PROMPTS.map(str::to_owned).to_vec());
    templates
        .into_iter()
        .map(|template| ZeroShotPrompt {
            template,
            article: false,
        })
        .collect()
}

/// Class embeddings `[C, F]`: of every class the normalised mean of its
/// prompts' unit embeddings. A class may have several names, separated by
/// commas; `{noun}` in a prompt stands for each of them. An error of `advance`,
/// which hears of every class, ends it.
pub fn class_embeddings(
    embedder: &Embedder,
    classes: &[String],
    prompts: &[ZeroShotPrompt],
    mut advance: impl FnMut(usize) -> Result<()>,
) -> Result<Tensor> {
    let mut sums = ClassEmbeddings::new(classes.len(), embedder.dim());
    let mut texts: Vec<(usize, String)> = Vec::new();
    let mut embed = |texts: &mut Vec<(usize, String)>| -> Result<()> {
        let borrowed: Vec<&str> = texts.iter().map(|(_, text)| text.as_str()).collect();
        let vectors = embedder.embed_texts(&borrowed)?.flatten_all()?;
        let vectors = vectors.to_vec1::<f32>()?;
        for ((class, _), vector) in texts.iter().zip(vectors.chunks_exact(embedder.dim())) {
            sums.add(*class, vector)?;
        }
        texts.clear();
        Ok(())
    };
    for (index, class) in classes.iter().enumerate() {
        for name in class.split(',').map(str::trim) {
            texts.extend(prompts.iter().map(|prompt| (index, prompt.text(name))));
        }
        if texts.len() >= TEXTS {
            embed(&mut texts)?;
        }
        advance(1)?;
    }
    embed(&mut texts)?;
    sums.finish(&Device::Cpu)
}

/// What a run found.
pub struct ZeroShotRun {
    /// Name of the dataset.
    pub dataset: String,
    /// Which part.
    pub split: &'static str,
    /// Names of the classes.
    pub classes: Vec<String>,
    /// Accuracies.
    pub scores: ZeroShot,
    /// The modality gap, if it was measured.
    pub gap: Option<ModalityGap>,
    /// Pictures that could not be read.
    pub skipped: Vec<String>,
    /// Images by true and predicted class, where both differ.
    confused: BTreeMap<(usize, usize), u64>,
}

impl ZeroShotRun {
    /// A run over no pictures yet, with unit embeddings `[C, F]` of its classes.
    ///
    /// # Errors
    /// Not a matrix, or no classes.
    pub fn new(
        dataset: &str,
        split: &'static str,
        classes: Vec<String>,
        class_embeds: &Tensor,
        measure_gap: bool,
    ) -> Result<Self> {
        let dim = class_embeds.dim(1)?;
        let gap = match measure_gap {
            true => Some(ModalityGap::new(
                class_embeds.flatten_all()?.to_vec1::<f32>()?,
                dim,
            )),
            false => None,
        };
        Ok(Self {
            dataset: dataset.to_owned(),
            split,
            classes,
            scores: ZeroShot::new(class_embeds)?,
            gap,
            skipped: Vec::new(),
            confused: BTreeMap::new(),
        })
    }

    /// Scores pictures by their unit embeddings `[B, F]` and classes.
    ///
    /// # Errors
    /// Shapes that do not fit, a label without class.
    pub fn add(&mut self, embeds: &Tensor, labels: &[usize]) -> Result<()> {
        let predicted = self.scores.add(embeds, labels)?;
        for (&label, predicted) in labels.iter().zip(predicted) {
            if label != predicted {
                *self.confused.entry((label, predicted)).or_insert(0) += 1;
            }
        }
        if let Some(gap) = &mut self.gap {
            let dim = embeds.dim(1)?;
            let rows = embeds.flatten_all()?.to_vec1::<f32>()?;
            for (row, label) in rows.chunks_exact(dim).zip(labels) {
                gap.add(row, *label)?;
            }
        }
        Ok(())
    }

    /// Images by true and predicted class, where both differ; the most frequent
    /// first.
    pub fn confusions(&self) -> Vec<((usize, usize), u64)> {
        let confused = self.confused.iter();
        let mut confusions: Vec<_> = confused.map(|(&pair, &count)| (pair, count)).collect();
        confusions.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        confusions
    }

    /// Embeds the pictures of a dataset in batches, decoding ahead, and scores
    /// them. Pictures that cannot be read are left out and named. An error of
    /// `advance`, which hears of every batch, ends the run.
    ///
    /// # Errors
    /// Embedding fails; a label has no class.
    pub fn over(
        mut self,
        embedder: &Embedder,
        dataset: &dyn ClassificationDataset,
        batch: usize,
        mut advance: impl FnMut(usize) -> Result<()>,
    ) -> Result<Self> {
        let run = &mut self;
        in_batches(
            dataset.len(),
            batch,
            |index| {
                let picture = dataset.image(index);
                picture.map(|picture| embedder.preprocess().fit(&picture))
            },
            |range, pictures| {
                let mut images = Vec::with_capacity(pictures.len());
                let mut labels = Vec::with_capacity(pictures.len());
                for (index, picture) in range.clone().zip(pictures) {
                    match picture {
                        Ok(picture) => {
                            images.push(picture);
                            labels.push(dataset.label(index));
                        }
                        Err(error) => run.skipped.push(error.to_string()),
                    }
                }
                run.add(&embedder.embed_fitted(&images)?, &labels)?;
                advance(range.len())
            },
        )?;
        Ok(self)
    }

    /// The line that the original prints.
    pub fn line(&self) -> String {
        let top1 = self.scores.top(1).unwrap_or(0.0);
        zero_shot_line(&self.dataset, self.split, self.scores.samples(), top1)
    }

    /// Everything as JSON.
    pub fn json(&self) -> Value {
        let class = |index: usize| self.classes[index].as_str();
        let share =
            |(samples, correct): (u64, u64)| (samples > 0).then(|| correct as f64 / samples as f64);
        let per_class = self.scores.per_class().iter().enumerate();
        let per_class: Vec<Value> = per_class
            .filter(|(_, (samples, _))| *samples > 0)
            .map(|(index, &counts)| {
                json!({"class": class(index), "samples": counts.0, "top1": share(counts)})
            })
            .collect();
        let confusions: Vec<Value> = (self.confusions().into_iter())
            .map(|((label, predicted), count)| {
                json!({"class": class(label), "predicted": class(predicted), "samples": count})
            })
            .collect();
        json!({
            "dataset": self.dataset,
            "split": self.split,
            "samples": self.scores.samples(),
            "skipped": self.skipped,
            "top1": self.scores.top(1),
            "top5": self.scores.top(5),
            "classes": per_class,
            "confusions": confusions,
            "modality_gap": self.gap.as_ref().map(|gap| json!({
                "all_angle_mean": gap.all().mean(),
                "all_angle_std": gap.all().deviation(),
                "angle_mean": gap.matched().mean(),
                "angle_std": gap.matched().deviation(),
            })),
        })
    }
}

/// Checks that every label has a name.
///
/// # Errors
/// A label without one.
pub fn check_labels(dataset: &dyn ClassificationDataset, names: usize) -> Result<()> {
    let outside = (0..dataset.len())
        .map(|index| dataset.label(index))
        .find(|&label| label >= names);
    match outside {
        Some(label) => Err(EvaluateError::LabelOutside {
            label,
            classes: names,
        }),
        None => Ok(()),
    }
}
