//! One embedder: tokenizer, image transform and lazily loaded towers of one
//! model of any family.

use std::ops::Range;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use candle_core::{DType, Device, Tensor};
use image::RgbImage;
use rayon::prelude::*;
use serde_json::Value;

use super::batches::{BatchLimit, BatchSizes, is_out_of_memory};
use super::description::Description;
use super::error::EmbedderError;
use super::families;
use super::files::ModelFiles;
use super::precision::Precision;
use super::spec::EmbedderSpec;
use super::tokenizer::TextTokenizer;
use super::towers::tap::{Tap, recorded};
use super::towers::{ImageTower, TextTower};
use super::weights::Weights;
use crate::images::ImageTransform;

/// What opening a model may need beside its files.
#[derive(Clone, Debug)]
pub struct OpenOptions {
    /// A JSON file with architectures of timm towers that the built-in table
    /// lacks.
    pub timm_models: Option<PathBuf>,
    /// A file of merges in the place of CLIP's own, for `openai:` archives of
    /// another vocabulary.
    pub openai_merges: Option<PathBuf>,
    /// Precision in which matrices are kept; off the CPU, they are multiplied in
    /// it too.
    pub precision: Precision,
    /// Where the towers compute.
    pub device: Device,
    /// Most inputs that it takes at once.
    pub batches: BatchSizes,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self {
            timm_models: None,
            openai_merges: None,
            precision: Precision::default(),
            device: Device::Cpu,
            batches: BatchSizes::default(),
        }
    }
}

/// Anything that turns texts into unit vectors of one embedding space.
pub trait TextToVector: Send + Sync {
    /// Dimension F of the space.
    fn dim(&self) -> usize;

    /// Unit vectors `[B, F]`, f32.
    fn text_vectors(&self, texts: &[&str]) -> Result<Tensor, EmbedderError>;
}

/// A model that embeds texts and images into one space of unit vectors.
///
/// Opening reads configuration and tokenizer; each tower is loaded when it is
/// first used and can be released again. All methods may be called from
/// several threads.
pub struct Embedder {
    spec: EmbedderSpec,
    files: ModelFiles,
    description: Description,
    text: Mutex<Option<Arc<dyn TextTower>>>,
    vision: Mutex<Option<Arc<dyn ImageTower>>>,
    identity: Mutex<Option<blake3::Hash>>,
    precision: Precision,
    device: Device,
    /// Texts per call of the tokenizer.
    token_batch: usize,
    text_batch: BatchLimit,
    image_batch: BatchLimit,
    /// What happened since somebody asked.
    happened: Mutex<Vec<String>>,
}

impl Embedder {
    /// Finds the model's files and reads configuration and tokenizer.
    pub fn open(spec: &EmbedderSpec) -> Result<Self, EmbedderError> {
        Self::open_with(spec, &OpenOptions::default())
    }

    /// The same with options.
    pub fn open_with(spec: &EmbedderSpec, options: &OpenOptions) -> Result<Self, EmbedderError> {
        let (files, description) = families::describe(spec, options)?;
        let BatchSizes {
            tokens,
            texts,
            images,
        } = options.batches;
        let images = match options.device.is_cpu() {
            true => images.min(BatchSizes::ON_PROCESSORS),
            false => images,
        };
        Ok(Self {
            spec: spec.clone(),
            files,
            description,
            text: Mutex::new(None),
            vision: Mutex::new(None),
            identity: Mutex::new(None),
            precision: options.precision,
            device: options.device.clone(),
            token_batch: tokens.max(1),
            text_batch: BatchLimit::new(texts),
            image_batch: BatchLimit::new(images),
            happened: Mutex::default(),
        })
    }

    /// The specification it was opened with.
    pub fn spec(&self) -> &EmbedderSpec {
        &self.spec
    }

    /// Dimension F of the embedding space.
    pub fn dim(&self) -> usize {
        self.description.embed_dim
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> Arc<dyn TextTokenizer> {
        self.description.tokenizer.clone()
    }

    /// The image transform of the model.
    pub fn preprocess(&self) -> &ImageTransform {
        &self.description.transform
    }

    /// Remarks on the model's configuration worth showing once.
    pub fn notices(&self) -> &[String] {
        &self.description.notices
    }

    /// Precision in which matrices are kept.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Where the towers compute.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Most pictures that go through the tower together, for those who prepare
    /// them in batches.
    pub fn image_batch(&self) -> usize {
        self.image_batch.get()
    }

    /// What happened while embedding that is worth showing, such as batches
    /// that became smaller, since this was asked the last time.
    pub fn take_warnings(&self) -> Vec<String> {
        std::mem::take(&mut *lock(&self.happened))
    }

    /// Unit vectors `[B, F]` (f32) of texts; texts longer than the context are
    /// truncated so that the end token remains.
    pub fn embed_texts(&self, texts: &[&str]) -> Result<Tensor, EmbedderError> {
        let tokenizer = &self.description.tokenizer;
        let length = tokenizer.constants().context_length;
        let mut tokens = Vec::with_capacity(texts.len());
        for batch in texts.chunks(self.token_batch) {
            tokens.extend(tokenizer.encode(batch, Some(length))?);
        }
        let tokens: Vec<&[i64]> = tokens.iter().map(Vec::as_slice).collect();
        self.embed_tokens(&tokens)
    }

    /// Unit vectors `[B, F]` (f32) of token sequences without padding.
    pub fn embed_tokens(&self, texts: &[&[i64]]) -> Result<Tensor, EmbedderError> {
        let tower = self.text_tower()?;
        // Neighbours in sorted order share most of their tokens.
        let mut order: Vec<usize> = (0..texts.len()).collect();
        order.sort_by(|&a, &b| texts[a].cmp(texts[b]));
        let dim = self.dim();
        let mut vectors = vec![0f32; texts.len() * dim];
        let forward = |range: Range<usize>| {
            let batch = &order[range];
            let tokens: Vec<&[i64]> = batch.iter().map(|&index| texts[index]).collect();
            let features = tower.forward(&tokens);
            let features = unit_rows(&features.map_err(|error| self.bad_input(error))?)?;
            for (&index, row) in batch.iter().zip(features.chunks_exact(dim)) {
                vectors[index * dim..][..dim].copy_from_slice(row);
            }
            Ok(())
        };
        self.text_batch
            .run(texts.len(), forward, |limit| self.halved("texts", limit))
            .map_err(|error| self.batch_error("text", error))?;
        Ok(Tensor::from_vec(vectors, (texts.len(), dim), &Device::Cpu)?)
    }

    /// Unit vectors `[B, F]` (f32) of pictures of any size.
    pub fn embed_images(&self, images: &[RgbImage]) -> Result<Tensor, EmbedderError> {
        self.embed_pictures(images, |image, out| self.preprocess().apply(image, out))
    }

    /// Unit vectors `[B, F]` (f32) of pictures that [`ImageTransform::fit`] has
    /// brought to the tower's size.
    pub fn embed_fitted(&self, images: &[RgbImage]) -> Result<Tensor, EmbedderError> {
        let transform = self.preprocess();
        if let Some(image) = images
            .iter()
            .find(|image| image.dimensions() != (transform.width, transform.height))
        {
            return Err(EmbedderError::BadInput {
                spec: self.spec.to_string(),
                reason: format!(
                    "a picture of {}×{} pixels is not {}×{}",
                    image.width(),
                    image.height(),
                    transform.width,
                    transform.height
                ),
            });
        }
        self.embed_pictures(images, |image, out| transform.normalise(image, out))
    }

    /// Unit vectors of pictures that `prepare` turns into normalised pixels.
    fn embed_pictures(
        &self,
        images: &[RgbImage],
        prepare: impl Fn(&RgbImage, &mut [f32]) + Sync,
    ) -> Result<Tensor, EmbedderError> {
        let transform = self.preprocess();
        let (height, width) = (transform.height as usize, transform.width as usize);
        let mut vectors = Vec::with_capacity(images.len() * self.dim());
        self.each_image_batch(images.len(), |range| {
            let batch = &images[range];
            let mut pixels = vec![0f32; batch.len() * transform.len()];
            pixels
                .par_chunks_mut(transform.len())
                .zip(batch)
                .for_each(|(out, image)| prepare(image, out));
            let pixels = Tensor::from_vec(pixels, (batch.len(), 3, height, width), &Device::Cpu)?;
            vectors.extend(self.pixel_vectors(&pixels)?);
            Ok(())
        })?;
        Ok(Tensor::from_vec(
            vectors,
            (images.len(), self.dim()),
            &Device::Cpu,
        )?)
    }

    /// Unit vectors `[B, F]` (f32) of normalised pixels `[B, 3, H, W]`.
    pub fn embed_pixels(&self, pixels: &Tensor) -> Result<Tensor, EmbedderError> {
        let count = pixels.dim(0)?;
        let mut vectors = Vec::with_capacity(count * self.dim());
        self.each_image_batch(count, |range| {
            let batch = pixels.narrow(0, range.start, range.len())?;
            vectors.extend(self.pixel_vectors(&batch)?);
            Ok(())
        })?;
        Ok(Tensor::from_vec(
            vectors,
            (count, self.dim()),
            &Device::Cpu,
        )?)
    }

    /// Takes pictures `0..count` through the tower in batches.
    fn each_image_batch(
        &self,
        count: usize,
        forward: impl FnMut(Range<usize>) -> Result<(), EmbedderError>,
    ) -> Result<(), EmbedderError> {
        self.image_batch
            .run(count, forward, |limit| self.halved("pictures", limit))
            .map_err(|error| self.batch_error("picture", error))
    }

    fn halved(&self, what: &str, limit: usize) {
        lock(&self.happened).push(format!(
            "{}: the device has no memory for more {what} together; going on with {limit}",
            self.spec
        ));
    }

    fn batch_error(&self, what: &'static str, error: EmbedderError) -> EmbedderError {
        if !is_out_of_memory(&error) {
            return error;
        }
        EmbedderError::NoMemory {
            spec: self.spec.to_string(),
            what,
        }
    }

    /// Unit vector of one token sequence, and the states inside the text tower:
    /// rows of the tokens in their order, from the last block on of the pooled
    /// token only, whose place is the part `pooled`.
    pub fn inside_text(&self, tokens: &[i64]) -> Result<(Tensor, Vec<Tap>), EmbedderError> {
        self.text_tower()?;
        let (vectors, taps) = recorded(|| self.embed_tokens(&[tokens]));
        Ok((vectors?, taps))
    }

    /// Unit vector of normalised pixels `[1, 3, H, W]` and the states inside the
    /// image tower.
    pub fn inside_image(&self, pixels: &Tensor) -> Result<(Tensor, Vec<Tap>), EmbedderError> {
        self.vision_tower()?;
        let (vectors, taps) = recorded(|| self.embed_pixels(pixels));
        Ok((vectors?, taps))
    }

    fn pixel_vectors(&self, pixels: &Tensor) -> Result<Vec<f32>, EmbedderError> {
        let (height, width) = (
            self.preprocess().height as usize,
            self.preprocess().width as usize,
        );
        match pixels.dims() {
            [_, 3, h, w] if (*h, *w) == (height, width) => {}
            found => {
                return Err(EmbedderError::BadInput {
                    spec: self.spec.to_string(),
                    reason: format!("pixels {found:?} are not [B, 3, {height}, {width}]"),
                });
            }
        }
        let pixels = pixels.to_dtype(DType::F32)?.to_device(&self.device)?;
        let features = self.vision_tower()?.forward(&pixels)?;
        Ok(unit_rows(&features)?)
    }

    fn bad_input(&self, error: candle_core::Error) -> EmbedderError {
        match error {
            candle_core::Error::Msg(reason) => EmbedderError::BadInput {
                spec: self.spec.to_string(),
                reason,
            },
            error => error.into(),
        }
    }

    /// BLAKE3 over configuration, tokenizer and weights; read once.
    pub fn identity(&self) -> Result<blake3::Hash, EmbedderError> {
        let mut identity = lock(&self.identity);
        if let Some(hash) = *identity {
            return Ok(hash);
        }
        let names: Vec<&str> = (self.description.identity.iter())
            .chain(&self.description.weights)
            .map(String::as_str)
            .collect();
        let hash = self.files.digest(&names)?;
        *identity = Some(hash);
        Ok(hash)
    }

    /// The configuration object that enters cache hashes
    /// (`embedding-cache.md` section 5), as for a CPU without AMP.
    pub fn config_object(&self) -> Value {
        self.description.configuration.clone()
    }

    /// What the model's files say about it.
    pub fn description(&self) -> &Description {
        &self.description
    }

    /// The model's files.
    pub fn files(&self) -> &ModelFiles {
        &self.files
    }

    /// Loads both towers now.
    pub fn load(&self) -> Result<(), EmbedderError> {
        self.text_tower()?;
        self.vision_tower()?;
        Ok(())
    }

    /// Loads the image tower now.
    pub fn load_images(&self) -> Result<(), EmbedderError> {
        self.vision_tower().map(drop)
    }

    /// Forgets the towers; they are loaded again when needed.
    pub fn release(&self) {
        *lock(&self.text) = None;
        *lock(&self.vision) = None;
    }

    fn text_tower(&self) -> Result<Arc<dyn TextTower>, EmbedderError> {
        let mut slot = lock(&self.text);
        if let Some(tower) = &*slot {
            return Ok(tower.clone());
        }
        let tower = self.description.text_tower(&self.open_weights()?)?;
        Ok(slot.insert(tower.into()).clone())
    }

    fn vision_tower(&self) -> Result<Arc<dyn ImageTower>, EmbedderError> {
        let mut slot = lock(&self.vision);
        if let Some(tower) = &*slot {
            return Ok(tower.clone());
        }
        let tower = self.description.image_tower(&self.open_weights()?)?;
        Ok(slot.insert(tower.into()).clone())
    }

    /// The weight files with their parameters named as towers ask for them.
    fn open_weights(&self) -> Result<Weights, EmbedderError> {
        let paths: Vec<PathBuf> = (self.description.weights.iter())
            .map(|name| self.files.path(name))
            .collect();
        let mut weights = match (&self.files, paths.first()) {
            (ModelFiles::Embedded(model), Some(path)) => {
                let bytes = model.file(&self.description.weights[0]);
                let bytes = bytes.ok_or_else(|| EmbedderError::BadFile {
                    path: path.clone(),
                    reason: "not part of the embedded model".to_owned(),
                })?;
                Weights::from_static(path, bytes)?
            }
            (_, Some(path)) => {
                if let Some(wanted) = self.description.sha256 {
                    families::check_sha256(path, wanted)?;
                }
                Weights::open(&paths)?
            }
            (_, None) => Weights::open(&paths)?,
        };
        self.description.arrange(&mut weights)?;
        weights.keep(&self.device, self.precision);
        Ok(weights)
    }
}

impl TextToVector for Embedder {
    fn dim(&self) -> usize {
        Embedder::dim(self)
    }

    fn text_vectors(&self, texts: &[&str]) -> Result<Tensor, EmbedderError> {
        self.embed_texts(texts)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // The slots hold complete values at all times.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Rows divided by their length.
fn unit_rows(features: &Tensor) -> candle_core::Result<Vec<f32>> {
    let dim = features.dim(1)?;
    let mut values = features.flatten_all()?.to_vec1::<f32>()?;
    for row in values.chunks_exact_mut(dim) {
        let length = row
            .iter()
            .map(|&x| f64::from(x) * f64::from(x))
            .sum::<f64>()
            .sqrt();
        let scale = (1.0 / length.max(1e-12)) as f32;
        for value in row {
            *value *= scale;
        }
    }
    Ok(values)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// A tower whose device has room for some inputs only.
    struct Small(usize);

    impl Small {
        fn forward(&self, count: usize) -> candle_core::Result<Tensor> {
            match count > self.0 {
                true => Err(candle_core::Error::Cuda("CUDA_ERROR_OUT_OF_MEMORY".into())),
                false => Tensor::ones((count, 256), DType::F32, &Device::Cpu),
            }
        }
    }

    impl TextTower for Small {
        fn forward(&self, texts: &[&[i64]]) -> candle_core::Result<Tensor> {
            Small::forward(self, texts.len())
        }
    }

    impl ImageTower for Small {
        fn forward(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
            Small::forward(self, pixels.dim(0)?)
        }
    }

    /// A tower that keeps the largest number of inputs it was given.
    #[derive(Clone, Default)]
    struct Counted(Arc<AtomicUsize>);

    impl Counted {
        fn forward(&self, count: usize) -> candle_core::Result<Tensor> {
            self.0.fetch_max(count, Ordering::Relaxed);
            Tensor::ones((count, 256), DType::F32, &Device::Cpu)
        }

        fn largest(&self) -> usize {
            self.0.swap(0, Ordering::Relaxed)
        }
    }

    impl TextTower for Counted {
        fn forward(&self, texts: &[&[i64]]) -> candle_core::Result<Tensor> {
            Counted::forward(self, texts.len())
        }
    }

    impl ImageTower for Counted {
        fn forward(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
            Counted::forward(self, pixels.dim(0)?)
        }
    }

    #[test]
    fn no_more_inputs_than_asked_for_go_through_a_tower_together() {
        let spec = "openclip:novic/drawings".parse().unwrap();
        let texts: Vec<String> = (0..50).map(|i| format!("fox {i}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        let pictures = vec![RgbImage::new(8, 8); 70];
        let mut vectors = Vec::new();
        for (batches, most) in [
            (BatchSizes::default(), (50, BatchSizes::ON_PROCESSORS)),
            (
                BatchSizes {
                    tokens: 7,
                    texts: 20,
                    images: 5,
                },
                (20, 5),
            ),
        ] {
            let options = OpenOptions {
                batches,
                ..OpenOptions::default()
            };
            let embedder = Embedder::open_with(&spec, &options).unwrap();
            let rows = embedder.embed_texts(&texts).unwrap();
            vectors.push(rows.to_vec2::<f32>().unwrap());
            let tower = Counted::default();
            *lock(&embedder.text) = Some(Arc::new(tower.clone()));
            *lock(&embedder.vision) = Some(Arc::new(tower.clone()));
            embedder.embed_texts(&texts).unwrap();
            assert_eq!(tower.largest(), most.0);
            assert_eq!(embedder.image_batch(), most.1);
            embedder.embed_images(&pictures).unwrap();
            assert_eq!(tower.largest(), most.1);
        }
        for (a, b) in vectors[0].iter().flatten().zip(vectors[1].iter().flatten()) {
            assert!((a - b).abs() < 1e-5, "{a} {b}");
        }
    }

    #[test]
    fn without_memory_batches_are_halved_and_it_is_said() {
        let embedder = Embedder::open(&"openclip:novic/drawings".parse().unwrap()).unwrap();
        assert_eq!(embedder.dim(), 256);
        *lock(&embedder.text) = Some(Arc::new(Small(100)));
        *lock(&embedder.vision) = Some(Arc::new(Small(9)));
        let texts = vec!["fox"; 300];
        assert_eq!(embedder.embed_texts(&texts).unwrap().dims(), [300, 256]);
        let pictures = vec![RgbImage::new(8, 8); 20];
        assert_eq!(embedder.embed_images(&pictures).unwrap().dims(), [20, 256]);
        let warnings = embedder.take_warnings().join("\n");
        assert!(
            warnings.contains("texts together; going on with 75"),
            "{warnings}"
        );
        assert!(
            warnings.contains("pictures together; going on with 5"),
            "{warnings}"
        );
        assert!(embedder.take_warnings().is_empty());

        *lock(&embedder.vision) = Some(Arc::new(Small(0)));
        let error = embedder.embed_images(&pictures).unwrap_err().to_string();
        assert!(
            error.contains("one picture") && error.contains("embedder.dtype"),
            "{error}"
        );
    }
}
