//! Vectors of texts that finished text caches of the store hold, so that a
//! changed threshold or another prompt does not embed all texts again
//! (`nouns.reuse`).
//!
//! A text is known by its hash: beside each text cache lies a file with the
//! hashes of its texts. The vector of a text may depend in its last bits on the
//! texts that are embedded with it and on the device, so vectors taken over are
//! equal to new ones up to rounding only.

use std::collections::HashMap;
use std::io::{BufReader, Read, Write};
use std::path::Path;

use super::cache_noun_dataset::{CacheNounDataset, TEXTS_FILE};
use super::inputs;
use super::keys::EMBEDDER;
use crate::cache::{TextFile, TextFileShape};
use crate::config::schema::EmbedderDtype;
use crate::embedders::{Embedder, Precision};
use crate::nouns::{NounDataset, SampleId};
use crate::random::{Draws, Purpose};
use crate::runner::{Resource, StageContext, StageError, StageKind};
use crate::store::{Entry, publish_file};

/// File beside a text cache with the hashes of its texts, in their order.
pub(super) const HASHES_FILE: &str = "noun_dataset.hashes";

/// Known texts that are embedded again to see whether their vectors are right.
const SAMPLE: usize = 64;

/// First half of the BLAKE3 hash of a text.
type TextHash = [u8; 16];

fn hash(text: &str) -> TextHash {
    let mut first = TextHash::default();
    first.copy_from_slice(&blake3::hash(text.as_bytes()).as_bytes()[..size_of::<TextHash>()]);
    first
}

/// Writes the hashes of all texts of a noun dataset.
pub(super) fn write_hashes(dataset: &NounDataset, path: &Path) -> Result<(), StageError> {
    publish_file(path, |file| {
        let mut samples = dataset.unique_samples();
        while let Some(sample) = samples.next_sample() {
            file.write_all(&hash(sample.text))?;
        }
        Ok(())
    })?;
    Ok(())
}

/// Texts whose vectors are known.
pub(super) struct KnownTexts {
    files: Vec<TextFile>,
    /// File and number of the text in it.
    places: HashMap<TextHash, (u32, u32)>,
}

impl KnownTexts {
    /// What the store knows of the texts of a noun dataset, if it is wanted; says
    /// how much that is. A sample is embedded again and compared.
    pub(super) fn find(
        context: &StageContext<'_>,
        embedder: &Embedder,
        dataset: &NounDataset,
    ) -> Result<Option<Self>, StageError> {
        if !context.config().nouns.reuse {
            return Ok(None);
        }
        let mut wanted: HashMap<TextHash, Option<(u32, u32)>> = HashMap::new();
        let mut samples = dataset.unique_samples();
        while let Some(sample) = samples.next_sample() {
            wanted.insert(hash(sample.text), None);
        }
        let mut files = Vec::new();
        for entry in same_vectors(context)? {
            let path = entry.file(HASHES_FILE)?;
            let mut hashes = BufReader::new(std::fs::File::open(&path)?);
            let count = std::fs::metadata(&path)?.len() / size_of::<TextHash>() as u64;
            let number = u32::try_from(files.len())?;
            let mut is_used = false;
            for row in 0..u32::try_from(count)? {
                let mut hash = TextHash::default();
                hashes.read_exact(&mut hash)?;
                if let Some(place) = wanted.get_mut(&hash)
                    && place.is_none()
                {
                    *place = Some((number, row));
                    is_used = true;
                }
            }
            if is_used {
                let path = entry.file(TEXTS_FILE)?;
                let size = std::fs::metadata(&path)?.len();
                let shape = TextFileShape::of_vectors(embedder.dim(), count, size);
                files.push(TextFile::open(path, shape)?);
            }
        }
        let places = wanted
            .into_iter()
            .filter_map(|(hash, place)| Some((hash, place?)));
        let known = Self {
            files,
            places: places.collect(),
        };
        known.check(context, embedder, dataset)?;
        Ok(Some(known))
    }

    /// Number of text caches that vectors are taken from.
    pub(super) fn caches(&self) -> usize {
        self.files.len()
    }

    /// The vector of a text, if it is known.
    pub(super) fn vector(&self, text: &str) -> Result<Option<Vec<f32>>, StageError> {
        let Some(&(file, row)) = self.places.get(&hash(text)) else {
            return Ok(None);
        };
        let vector = self.files[file as usize].vectors(&[u64::from(row)])?;
        Ok(Some(vector))
    }

    /// Embeds a sample of the texts again.
    fn check(
        &self,
        context: &StageContext<'_>,
        embedder: &Embedder,
        dataset: &NounDataset,
    ) -> Result<(), StageError> {
        let mut draws = Draws::new(Purpose::Shown, context.seed(), 0);
        let (mut texts, mut vectors) = (Vec::new(), Vec::new());
        for _ in 0..SAMPLE {
            let mut text = String::new();
            let usid = draws.below(dataset.num_unique_samples());
            dataset.lookup(SampleId::Unique(usid), &mut text)?;
            if let Some(vector) = self.vector(&text)? {
                texts.push(text);
                vectors.extend(vector);
            }
        }
        if texts.is_empty() {
            return Ok(());
        }
        let borrowed: Vec<&str> = texts.iter().map(String::as_str).collect();
        let fresh = embedder.embed_texts(&borrowed)?.flatten_all()?;
        let fresh = fresh.to_vec1::<f32>()?;
        let tolerance = match embedder.precision() {
            Precision::Single => 1e-5,
            _ => 4e-3,
        };
        // What is no number is different too.
        let is_close = |(a, b): (&f32, &f32)| (a - b).abs() <= tolerance;
        if let Some(at) = vectors.iter().zip(&fresh).position(|pair| !is_close(pair)) {
            return Err(StageError::failed(format!(
                "a text cache of the store has another vector of {:?} than this embedder; set \
                 nouns.reuse = false",
                texts[at / embedder.dim()]
            )));
        }
        Ok(())
    }
}

/// Text caches of the same embedder and precision, the newest first.
fn same_vectors(context: &StageContext<'_>) -> Result<Vec<Entry>, StageError> {
    let identity = |resources: &[Resource]| {
        let embedder = resources.iter().find(|one| one.role == "embedder");
        embedder.and_then(|embedder| embedder.identity.clone())
    };
    let own = identity(context.resources());
    let precision = inputs::precision(context.config().embedder.dtype);
    let is_same = |entry: &Entry| -> bool {
        let description = &entry.manifest().description;
        let dtype = description.config.get(EMBEDDER[1]).cloned();
        let dtype = dtype.and_then(|value| serde_json::from_value::<EmbedderDtype>(value).ok());
        let resources: Vec<Resource> =
            serde_json::from_value(description.resources.clone()).unwrap_or_default();
        own.is_some()
            && identity(&resources) == own
            && dtype.map(inputs::precision) == Some(precision)
            && entry.file(HASHES_FILE).is_ok()
            && entry.check_sizes().is_ok()
    };
    let store = context.project().store();
    let mut entries = store.entries(CacheNounDataset.name())?;
    entries.retain(is_same);
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.manifest().published_ms));
    Ok(entries)
}
