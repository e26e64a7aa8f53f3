//! A zero-shot run over a dataset: class embeddings from prompts, images in
//! batches, accuracies, confusions, the modality gap.

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
/// commas; `{noun}` in a prompt stands for each of them.
pub fn class_embeddings(
    embedder: &Embedder,
    classes: &[String],
    prompts: &[ZeroShotPrompt],
    mut advance: impl FnMut(usize),
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
        advance(1);
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
    /// Images by true and predicted class, where both differ.
    pub confusions: Vec<((usize, usize), u64)>,
    /// The modality gap, if it was measured.
    pub gap: Option<ModalityGap>,
    /// Pictures that could not be read.
    pub skipped: Vec<String>,
}

impl ZeroShotRun {
    /// Embeds the pictures of a dataset in batches, decoding ahead, and scores
    /// them against class embeddings. Pictures that cannot be read are left out
    /// and named.
    ///
    /// # Errors
    /// Embedding fails; a label has no class.
    pub fn over(
        embedder: &Embedder,
        dataset: &dyn ClassificationDataset,
        split: &'static str,
        classes: Vec<String>,
        class_embeds: &Tensor,
        options: ZeroShotOptions,
        mut advance: impl FnMut(usize),
    ) -> Result<Self> {
        let mut run = Self {
            dataset: dataset.name().to_owned(),
            split,
            classes,
            scores: ZeroShot::new(class_embeds)?,
            confusions: Vec::new(),
            gap: None,
            skipped: Vec::new(),
        };
        if options.measure_gap {
            let rows = class_embeds.flatten_all()?.to_vec1::<f32>()?;
            run.gap = Some(ModalityGap::new(rows, embedder.dim()));
        }
        let mut confusions = std::collections::BTreeMap::new();
        in_batches(
            dataset.len(),
            options.batch,
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
                let embeds = embedder.embed_fitted(&images)?;
                let predicted = run.scores.add(&embeds, &labels)?;
                for (label, predicted) in labels.iter().zip(predicted) {
                    if *label != predicted {
                        *confusions.entry((*label, predicted)).or_insert(0) += 1;
                    }
                }
                if let Some(gap) = &mut run.gap {
                    let rows = embeds.flatten_all()?.to_vec1::<f32>()?;
                    for (row, label) in rows.chunks_exact(embedder.dim()).zip(&labels) {
                        gap.add(row, *label)?;
                    }
                }
                advance(range.len());
                Ok::<_, EvaluateError>(())
            },
        )?;
        run.confusions = confusions.into_iter().collect();
        run.confusions
            .sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        Ok(run)
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
        let confusions: Vec<Value> = (self.confusions.iter())
            .map(|&((label, predicted), count)| {
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

/// What a run does beside accuracies, and in which steps.
#[derive(Clone, Copy, Debug)]
pub struct ZeroShotOptions {
    /// Pictures embedded together.
    pub batch: usize,
    /// Whether the modality gap is measured.
    pub measure_gap: bool,
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
