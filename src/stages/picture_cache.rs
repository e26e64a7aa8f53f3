//! What stages that write pictures into an embedding cache share: resumable
//! decoding, embedding and writing of any list of pictures.
//!
//! The list is shuffled first, so that the rows of the cache are in its order
//! and a list of names can lie beside it.

use std::time::Instant;

use image::RgbImage;
use rayon::prelude::*;
use serde::Serialize;

use super::text_cache::{CACHE_FILE, Writer};
use crate::cache::{FilePlan, FloatSlice, ResumableCacheWriter, SampleRows};
use crate::embedders::Embedder;
use crate::random::{Draws, Purpose};
use crate::runner::{StageContext, StageError};

/// File beside the cache that names the picture of every row.
const NAMES_FILE: &str = "pictures.json";

/// Pictures that are decoded and embedded together.
const BATCH: usize = 128;

/// The picture of a row.
#[derive(Serialize)]
pub(super) struct PictureName {
    /// File, or name in a pack.
    pub picture: String,
    /// Index of its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub class: Option<usize>,
}

/// Appends the noun ids of a picture, given by its index.
pub(super) type AppendIds<'a> = &'a dyn Fn(usize, &mut Vec<u32>);

/// Pictures to be written.
pub(super) struct PictureCache<'a> {
    /// Number of pictures.
    pub len: usize,
    /// Decodes one.
    pub decode: &'a (dyn Fn(usize) -> Result<RgbImage, StageError> + Sync),
    /// Names one.
    pub name: &'a dyn Fn(usize) -> PictureName,
    /// Appends the noun ids of one, if the cache has targets.
    pub targets: Option<AppendIds<'a>>,
}

impl PictureCache<'_> {
    /// Writes the pictures in the order that the seed gives them. One that
    /// cannot be read fails the stage; what was written before is kept.
    pub(super) fn write(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
        plan: &FilePlan,
    ) -> Result<(), StageError> {
        let order =
            Draws::new(Purpose::FileRows, context.seed(), 0).permutation(u32::try_from(self.len)?);
        let order: Vec<usize> = order.into_iter().map(|index| index as usize).collect();
        let names: Vec<PictureName> = order.iter().map(|&index| (self.name)(index)).collect();
        std::fs::write(
            context.out().join(NAMES_FILE),
            serde_json::to_vec_pretty(&names)?,
        )?;

        let path = context.out().join(CACHE_FILE);
        if path.exists() {
            // Complete, but the stage was killed before its output was published.
            return Ok(());
        }
        let mut writer = Writer {
            context,
            cache: ResumableCacheWriter::open(path, plan)?,
            safe: Instant::now(),
        };
        let done = usize::try_from(writer.cache.written())?;
        context.begin("images", writer.cache.written(), Some(self.len as u64));
        for batch in order[done..].chunks(BATCH) {
            let images = batch
                .par_iter()
                .map(|&index| (self.decode)(index))
                .collect::<Result<Vec<_>, _>>()?;
            let vectors = embedder
                .embed_images(&images)?
                .flatten_all()?
                .to_vec1::<f32>()?;
            let ids = self.targets.map(|targets| {
                let mut ids = Vec::new();
                batch.iter().for_each(|&index| targets(index, &mut ids));
                ids
            });
            writer.cache.write(&SampleRows {
                embeds: FloatSlice::F32(&vectors),
                target_ids: ids.as_deref(),
                weights: None,
            })?;
            writer.pause()?;
        }
        Ok(writer.cache.finish()?)
    }
}
