//! `[embedder]`: the model that embeds texts and images.

use super::action::readers;
use super::choice::choice;
use super::section::section;

choice! {
    /// Precision in which an embedder keeps its matrices and, on GPUs, multiplies.
    pub enum EmbedderDtype {
        /// `f32` on processors; on GPUs as `embedder.amp` says.
        #[default]
        Auto = "auto",
        /// Single precision.
        F32 = "f32",
        /// Half precision.
        F16 = "f16",
        /// Brain float.
        Bf16 = "bf16",
    }
}

section! {
    /// The model that embeds texts and images.
    pub struct Embedder("embedder") {
        /// `source:model`; source is one of openai, openclip, transformers.
        spec: String = "openclip:timm/ViT-B-16-SigLIP".to_owned() => flat("embedder_spec").read_by(readers::EMBEDDER);
        /// Matrix products in half precision on GPUs.
        amp: bool = true => flat("embedder_amp").read_by(readers::EMBEDDER);
        /// bf16 instead of f16 in that case.
        amp_bf16: bool = false => flat("embedder_amp_bf16").read_by(readers::EMBEDDER);
        /// Precision in which the embedder keeps its matrices and, on GPUs, multiplies. `f16` and `bf16` halve its memory; its vectors keep a cosine of 0.999 or more to those of `f32`.
        dtype: EmbedderDtype = EmbedderDtype::Auto => read_by(readers::EMBEDDER);
        /// Graph compilation in the original; accepted and ignored.
        compile: bool = false => flat("embedder_compile").read_by(readers::EMBEDDER);
        /// Alternative transformers backend in the original; accepted and ignored.
        optimum: bool = false => flat("embedder_optimum").read_by(readers::EMBEDDER);
        /// Texts per call of the tokenizer.
        batch_token: usize = 2048 => flat("batch_size_token").at_least(1.0).read_by(readers::EMBEDDER);
        /// Most texts that are embedded together.
        batch_text: usize = 512 => flat("batch_size_embed").at_least(1.0).read_by(readers::EMBEDDER);
        /// Most images that are embedded together; on processors at most 64. Less where the device has no memory for so many.
        batch_image: usize = 256 => flat("batch_size_image").at_least(1.0).read_by(readers::EMBEDDER);
    }
}
