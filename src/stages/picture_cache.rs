//! What stages that write pictures into an embedding cache share: resumable
//! decoding, embedding and writing of any list of pictures.
//!
//! The list is shuffled first, so that the rows of the cache are in its order
//! and a list of names can lie beside it.

use std::time::Instant;

use image::RgbImage;
use serde::{Deserialize, Serialize};

use super::inputs;
use super::shard::{self, Shard};
use super::text_cache::{CACHE_FILE, Writer, Written};
use crate::cache::{
    CacheError, CacheFile, FilePlan, FloatDtype, FloatSlice, OpenOptions, ResumableCacheWriter,
    SampleRows,
};
use crate::embedders::Embedder;
use crate::images::in_batches;
use crate::random::{Draws, Purpose};
use crate::runner::{StageContext, StageError};
use crate::store::Entry;

/// File beside the cache that names the picture of every row.
const NAMES_FILE: &str = "pictures.json";

/// The picture of a row.
#[derive(Deserialize, PartialEq, Serialize)]
pub(super) struct PictureName {
    /// File, or name in a pack.
    pub picture: String,
    /// Index of its class.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<usize>,
}

/// The pictures of the rows of a cache in the output of a stage.
pub(super) fn read_names(entry: &Entry) -> Result<Vec<PictureName>, StageError> {
    let path = entry.file(NAMES_FILE)?;
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
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
    /// Plans a file of so many rows that keep the order in which they are
    /// written.
    pub plan: &'a dyn Fn(u64) -> Result<FilePlan, CacheError>,
}

impl PictureCache<'_> {
    /// Writes the pictures in the order that the seed gives them; or one part of
    /// them; or joins parts that were made before. A picture that cannot be read
    /// fails the stage; what was written before is kept.
    pub(super) fn write(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
    ) -> Result<Written, StageError> {
        let joins = !context.inputs().is_empty();
        let (rows, shard) = Shard::share(context, self.len as u64, joins)?;
        let order =
            Draws::new(Purpose::FileRows, context.seed(), 0).permutation(u32::try_from(self.len)?);
        let order: Vec<usize> = order[usize::try_from(rows.start)?..usize::try_from(rows.end)?]
            .iter()
            .map(|&index| index as usize)
            .collect();
        let names: Vec<PictureName> = order.iter().map(|&index| (self.name)(index)).collect();
        std::fs::write(
            context.out().join(NAMES_FILE),
            serde_json::to_vec_pretty(&names)?,
        )?;

        let written = Written::new(shard);
        let path = context.out().join(CACHE_FILE);
        if ResumableCacheWriter::is_finished(&path)? {
            // Complete, but the stage was killed before its output was published.
            return Ok(written);
        }
        // Parts keep full precision: they are rounded once, when joined.
        let stored = match shard {
            Some(_) => FloatDtype::F32,
            None => inputs::stored_dtype(context),
        };
        let plan = (self.plan)(order.len() as u64)?.stored_as(stored)?;
        let mut writer = Writer {
            context,
            cache: ResumableCacheWriter::open(path, &plan)?,
            safe: Instant::now(),
        };
        context.begin("images", writer.cache.written(), Some(order.len() as u64));
        match joins {
            true => join(embedder, &names, &mut writer)?,
            false => self.embed(&order, embedder, &mut writer)?,
        }
        writer.cache.finish()?;
        Ok(written)
    }

    /// Decodes, embeds and writes pictures, those that are written left out.
    fn embed(
        &self,
        order: &[usize],
        embedder: &Embedder,
        writer: &mut Writer<'_, '_>,
    ) -> Result<(), StageError> {
        let rest = &order[usize::try_from(writer.cache.written())?..];
        let transform = embedder.preprocess();
        in_batches(
            rest.len(),
            embedder.image_batch(),
            |place| (self.decode)(rest[place]).map(|picture| transform.fit(&picture)),
            |range, pictures| {
                let pictures = pictures.into_iter().collect::<Result<Vec<_>, _>>()?;
                let vectors = embedder
                    .embed_fitted(&pictures)?
                    .flatten_all()?
                    .to_vec1::<f32>()?;
                inputs::tell(writer.context, embedder);
                let ids = self.targets.map(|targets| {
                    let mut ids = Vec::new();
                    for &index in &rest[range] {
                        targets(index, &mut ids);
                    }
                    ids
                });
                writer.cache.write(&SampleRows {
                    embeds: FloatSlice::F32(&vectors),
                    target_ids: ids.as_deref(),
                    weights: None,
                })?;
                writer.pause()
            },
        )
    }
}

/// Writes the rows of all parts, which must be of the pictures `names`.
fn join(
    embedder: &Embedder,
    names: &[PictureName],
    writer: &mut Writer<'_, '_>,
) -> Result<(), StageError> {
    let signature = inputs::signature(embedder);
    let mut first = 0;
    for input in shard::part_inputs(writer.context)? {
        let path = input.entry.file(CACHE_FILE)?;
        let file = CacheFile::open(&path, &signature, OpenOptions::default())?;
        let end = first + file.samples();
        let of_part = names.get(usize::try_from(first)?..usize::try_from(end)?);
        if of_part != Some(&read_names(&input.entry)?[..]) {
            return Err(StageError::failed(format!(
                "`{}` is of other pictures than the whole",
                input.stage
            )));
        }
        let done = writer.cache.written().clamp(first, end) - first;
        let cache = file.enter_as_is()?;
        let default_weights = cache.header().default_weights;
        cache.for_each_chunk(done..cache.len(), |samples| -> Result<(), StageError> {
            writer.cache.write(&samples.rows(default_weights))?;
            writer.pause()
        })?;
        first = end;
    }
    Ok(())
}
