//! Embeddings of a dataset's pictures for the evaluation of decoders. They are
//! kept in parts among the project's hints, so that another model, another
//! configuration or a resumed run begins with decoding.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use candle_core::{DType, Device, Tensor};
use serde_json::{Value, json};

use super::inputs;
use super::trained::Model;
use crate::datasets::ClassificationDataset;
use crate::images::in_batches;
use crate::infer::{EmbeddingModel, write_tensors};
use crate::random::{Draws, Purpose};
use crate::runner::{StageContext, StageError};

/// Pictures kept in one file.
const PART: usize = 1024;

/// Embedded pictures with their classes; pictures that cannot be read are left
/// out.
pub(super) struct ImageSet {
    /// Vectors `[N, F]`.
    pub embeds: Tensor,
    /// Class of each.
    pub labels: Vec<usize>,
    /// Place of each in the dataset, ascending.
    pub indices: Vec<usize>,
    /// Pictures that could not be read.
    pub failed: usize,
}

impl ImageSet {
    /// Embeds the pictures of a dataset, or takes what is there; `limit` > 0
    /// are drawn if there are more.
    pub(super) fn of(
        context: &StageContext<'_>,
        model: &Model,
        dataset: &dyn ClassificationDataset,
        limit: usize,
    ) -> Result<Self, StageError> {
        let wanted = subset(dataset.len(), limit)?;
        if wanted.len() < dataset.len() {
            context.note(&format!(
                "{}: {} of {} pictures, drawn with a fixed seed",
                dataset.name(),
                wanted.len(),
                dataset.len()
            ));
        }
        let folder = kept_folder(context, model, dataset, &wanted)?;
        let total = wanted.len() as u64;
        let (mut parts, mut indices, mut done) = (Vec::new(), Vec::new(), 0);
        context.begin("images", 0, Some(total));
        for (number, part) in wanted.chunks(PART).enumerate() {
            context.check_interrupt()?;
            let file = folder
                .as_ref()
                .map(|folder| folder.join(format!("{number}.safetensors")));
            let kept = file
                .as_deref()
                .and_then(|file| read(file, model.embedder.dim()));
            let (embeds, found) = match kept {
                Some(kept) => kept,
                None => {
                    let made = embed(context, model, dataset, part, done)?;
                    if let (Some(file), Some(embeds)) = (&file, &made.0) {
                        write(file, embeds, &made.1)?;
                    }
                    match made {
                        (Some(embeds), found) => (embeds, found),
                        (None, _) => {
                            done += part.len() as u64;
                            continue;
                        }
                    }
                }
            };
            parts.push(embeds);
            indices.extend(found);
            done += part.len() as u64;
            context.reach(done);
        }
        if parts.is_empty() {
            return Err(StageError::failed(format!(
                "dataset {}: no picture can be read",
                dataset.name()
            )));
        }
        Ok(Self {
            embeds: Tensor::cat(&parts, 0)?,
            labels: indices.iter().map(|&index| dataset.label(index)).collect(),
            failed: wanted.len() - indices.len(),
            indices,
        })
    }

    /// Number of pictures.
    pub(super) fn len(&self) -> usize {
        self.labels.len()
    }

    /// Which pictures were drawn (`eval.samples_max`); null for all.
    pub(super) fn chosen(&self, context: &StageContext<'_>) -> Value {
        match context.config().eval.samples_max {
            0 => Value::Null,
            _ => json!(self.indices),
        }
    }

    /// Classes that have a picture.
    pub(super) fn classes_present(&self) -> usize {
        let mut labels = self.labels.clone();
        labels.sort_unstable();
        labels.dedup();
        labels.len()
    }
}

/// The places of the pictures to use, ascending.
fn subset(len: usize, limit: usize) -> Result<Vec<usize>, StageError> {
    if limit == 0 || limit >= len {
        return Ok((0..len).collect());
    }
    let order = Draws::new(Purpose::Evaluated, 1, 0).permutation(u32::try_from(len)?);
    let mut chosen: Vec<usize> = order[..limit].iter().map(|&index| index as usize).collect();
    chosen.sort_unstable();
    Ok(chosen)
}

/// Where embeddings of these pictures are kept; nowhere if the dataset's
/// content has no identity.
fn kept_folder(
    context: &StageContext<'_>,
    model: &Model,
    dataset: &dyn ClassificationDataset,
    wanted: &[usize],
) -> Result<Option<PathBuf>, StageError> {
    let identities: Vec<String> = context
        .resources()
        .iter()
        .filter(|resource| resource.role == "dataset")
        .filter_map(|resource| Some(resource.identity.as_ref()?.to_string()))
        .collect();
    if identities.is_empty() {
        return Ok(None);
    }
    let description = json!({
        "form": 1,
        "embedder": model.embedder.identity()?.to_hex().as_str(),
        "precision": model.embedder.precision().name(),
        "datasets": identities,
        "dataset": dataset.name(),
        "split": context.config().cls.split,
        "pictures": dataset.len(),
        "subset": if wanted.len() < dataset.len() { Some(wanted) } else { None },
    });
    let name = blake3::hash(description.to_string().as_bytes()).to_hex();
    let folder = context
        .project()
        .cache_dir()
        .join("embeddings")
        .join(&name[..32]);
    std::fs::create_dir_all(&folder)?;
    Ok(Some(folder))
}

type Made = (Option<Tensor>, Vec<usize>);

fn embed(
    context: &StageContext<'_>,
    model: &Model,
    dataset: &dyn ClassificationDataset,
    wanted: &[usize],
    before: u64,
) -> Result<Made, StageError> {
    let embedder: &dyn EmbeddingModel = model.embedder.as_ref();
    let (mut parts, mut indices) = (Vec::new(), Vec::new());
    in_batches(
        wanted.len(),
        model.embedder.image_batch(),
        |place| {
            let picture = dataset.image(wanted[place]);
            picture.map(|picture| embedder.prepare(picture))
        },
        |range, prepared| {
            context.check_interrupt()?;
            let mut images = Vec::with_capacity(range.len());
            for (&index, image) in wanted[range.clone()].iter().zip(prepared) {
                match image {
                    Ok(image) => {
                        images.push(image);
                        indices.push(index);
                    }
                    Err(error) => context.warn(&format!("left out: {error}")),
                }
            }
            if !images.is_empty() {
                parts.push(embedder.embed_prepared(images)?);
            }
            inputs::tell(context, &model.embedder);
            context.reach(before + range.end as u64);
            Ok::<_, StageError>(())
        },
    )?;
    let embeds = match parts.len() {
        0 => None,
        _ => Some(Tensor::cat(&parts, 0)?),
    };
    Ok((embeds, indices))
}

fn write(file: &Path, embeds: &Tensor, indices: &[usize]) -> Result<(), StageError> {
    let indices: Vec<u32> = indices.iter().map(|&index| index as u32).collect();
    let len = indices.len();
    let tensors = HashMap::from([
        ("embeds", embeds.clone()),
        ("indices", Tensor::from_vec(indices, len, &Device::Cpu)?),
    ]);
    write_tensors(file, &tensors).map_err(StageError::failed)
}

/// What an earlier attempt kept; nothing if it cannot be read.
fn read(file: &Path, dim: usize) -> Option<(Tensor, Vec<usize>)> {
    let bytes = std::fs::read(file).ok()?;
    let mut tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu).ok()?;
    let embeds = tensors.remove("embeds")?;
    let indices: Vec<u32> = tensors.remove("indices")?.to_vec1().ok()?;
    let fits = embeds.dtype() == DType::F32 && embeds.dims() == [indices.len(), dim];
    fits.then(|| {
        let indices = indices.into_iter().map(|index| index as usize).collect();
        (embeds, indices)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subsets_are_exact_and_always_the_same() {
        assert_eq!(subset(5, 0).unwrap(), [0, 1, 2, 3, 4]);
        assert_eq!(subset(5, 9).unwrap().len(), 5);
        let drawn = subset(1000, 13).unwrap();
        assert_eq!(drawn.len(), 13);
        assert!(drawn.is_sorted() && drawn.last() < Some(&1000));
        assert_eq!(drawn, subset(1000, 13).unwrap());
    }

    #[test]
    fn what_is_kept_is_read_or_made_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("0.safetensors");
        let embeds = Tensor::new(&[[1f32, 2.0], [3.0, 4.0]], &Device::Cpu).unwrap();
        write(&file, &embeds, &[3, 7]).unwrap();
        let (read_again, indices) = read(&file, 2).unwrap();
        assert_eq!(indices, [3, 7]);
        assert_eq!(
            read_again.to_vec2::<f32>().unwrap(),
            embeds.to_vec2::<f32>().unwrap()
        );
        assert!(read(&file, 3).is_none());
        let bytes = std::fs::read(&file).unwrap();
        std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
        assert!(read(&file, 2).is_none());
    }
}
