//! What a model needs of its embedder.

use std::sync::Arc;

use candle_core::{Device, Tensor};
use image::RgbImage;

use crate::embedders::tokenizer::TextTokenizer;
use crate::embedders::{Embedder, EmbedderError};

/// A picture that is ready to be embedded.
#[derive(Clone, Debug)]
pub enum PreparedImage {
    /// As it was decoded.
    Picture(RgbImage),
    /// Resized and normalised: `3·H·W` values.
    Pixels(Vec<f32>),
}

/// Anything that turns pictures and texts into vectors of one space, and knows
/// the tokenizer that its decoders write with. [`Embedder`] is one; others are
/// for stored embeddings and for embedders that run elsewhere.
pub trait EmbeddingModel: Send + Sync {
    /// Dimension F of the space.
    fn dim(&self) -> usize;

    /// Tokenizer of the nouns.
    fn tokenizer(&self) -> Arc<dyn TextTokenizer>;

    /// Vectors `[B, F]`, f32, of pictures of any size.
    ///
    /// # Errors
    /// Weights that cannot be loaded.
    fn embed_images(&self, images: &[RgbImage]) -> Result<Tensor, EmbedderError>;

    /// What can be done to a picture before a batch of them is embedded, so
    /// that it is done by many threads and large pictures take no memory.
    fn prepare(&self, image: RgbImage) -> PreparedImage {
        PreparedImage::Picture(image)
    }

    /// Vectors `[B, F]`, f32, of what [`prepare`](Self::prepare) returned.
    ///
    /// # Errors
    /// Weights that cannot be loaded.
    fn embed_prepared(&self, images: Vec<PreparedImage>) -> Result<Tensor, EmbedderError> {
        let pictures: Vec<RgbImage> = images
            .into_iter()
            .filter_map(|image| match image {
                PreparedImage::Picture(picture) => Some(picture),
                PreparedImage::Pixels(_) => None,
            })
            .collect();
        self.embed_images(&pictures)
    }

    /// Vectors `[B, F]`, f32, of texts.
    ///
    /// # Errors
    /// Weights that cannot be loaded, texts that cannot be tokenized.
    fn embed_texts(&self, texts: &[&str]) -> Result<Tensor, EmbedderError>;

    /// Loads now what is needed for pictures, so that the first of them does
    /// not wait.
    ///
    /// # Errors
    /// Weights that cannot be loaded.
    fn warm_up(&self) -> Result<(), EmbedderError> {
        Ok(())
    }

    /// Begins to load what is needed for pictures. What goes wrong is told of
    /// by whoever embeds them.
    fn load_image_weights(&self) {}

    /// Frees the weights; they are loaded again when they are needed.
    fn release(&self) {}

    /// What happened while embedding that is worth showing, since this was
    /// asked the last time.
    fn take_warnings(&self) -> Vec<String> {
        Vec::new()
    }
}

impl EmbeddingModel for Embedder {
    fn dim(&self) -> usize {
        Embedder::dim(self)
    }

    fn tokenizer(&self) -> Arc<dyn TextTokenizer> {
        Embedder::tokenizer(self)
    }

    fn embed_images(&self, images: &[RgbImage]) -> Result<Tensor, EmbedderError> {
        Embedder::embed_images(self, images)
    }

    fn embed_texts(&self, texts: &[&str]) -> Result<Tensor, EmbedderError> {
        Embedder::embed_texts(self, texts)
    }

    fn prepare(&self, image: RgbImage) -> PreparedImage {
        let transform = self.preprocess();
        let mut pixels = vec![0f32; transform.len()];
        transform.apply(&image, &mut pixels);
        PreparedImage::Pixels(pixels)
    }

    fn embed_prepared(&self, images: Vec<PreparedImage>) -> Result<Tensor, EmbedderError> {
        let transform = self.preprocess();
        let mut values = Vec::with_capacity(images.len() * transform.len());
        let count = images.len();
        for image in images {
            let image = match image {
                PreparedImage::Picture(picture) => EmbeddingModel::prepare(self, picture),
                pixels => pixels,
            };
            if let PreparedImage::Pixels(pixels) = image {
                values.extend(pixels);
            }
        }
        let shape = (
            count,
            3,
            transform.height as usize,
            transform.width as usize,
        );
        self.embed_pixels(&Tensor::from_vec(values, shape, &Device::Cpu)?)
    }

    fn warm_up(&self) -> Result<(), EmbedderError> {
        Embedder::embed_images(self, &[RgbImage::new(1, 1)]).map(drop)
    }

    fn load_image_weights(&self) {
        let _ = self.load_images();
    }

    fn release(&self) {
        Embedder::release(self);
    }

    fn take_warnings(&self) -> Vec<String> {
        Embedder::take_warnings(self)
    }
}
