//! Pictures: decoding, Pillow-exact resampling, the transforms that image
//! towers want, and the lists of files that commands take.
//!
//! Knows nothing of models; everything is 8-bit RGB until it is normalised.

mod decode;
mod error;
mod pipeline;
mod resample;
mod sources;
mod transform;

pub use decode::{DecodeOptions, ImageLimits, decode_bytes, decode_file};
pub use error::ImageError;
pub use pipeline::in_batches;
pub use resample::{Interpolation, resize};
pub use sources::{ImageInputs, cache_pictures, has_image_extension, pictures_in};
pub use transform::{ImageTransform, ResizeMode};
