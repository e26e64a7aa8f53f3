//! `[embedder]`: the model that embeds texts and images.

use super::action::readers;
use super::section::section;

section! {
    /// The model that embeds texts and images.
    pub struct Embedder("embedder") {
        /// `source:model`; source is one of openai, openclip, transformers.
        spec: String = "openclip:timm/ViT-B-16-SigLIP".to_owned() => flat("embedder_spec").read_by(readers::EMBEDDER);
        /// Half precision, where the device has it.
        amp: bool = true => flat("embedder_amp").read_by(readers::EMBEDDER);
        /// bf16 instead of f16 in that case.
        amp_bf16: bool = false => flat("embedder_amp_bf16").read_by(readers::EMBEDDER);
        /// Graph compilation in the original; accepted and ignored.
        compile: bool = false => flat("embedder_compile").read_by(readers::EMBEDDER);
        /// Alternative transformers backend in the original; accepted and ignored.
        optimum: bool = false => flat("embedder_optimum").read_by(readers::EMBEDDER);
        /// Texts per tokenizer call.
        batch_token: usize = 2048 => flat("batch_size_token").at_least(1.0).read_by(readers::EMBEDDER);
        /// Texts per embedding call.
        batch_text: usize = 512 => flat("batch_size_embed").at_least(1.0).read_by(readers::EMBEDDER);
        /// Images per embedding call; also the batch size of eval_cls, eval_cls_decoding and infer.
        batch_image: usize = 256 => flat("batch_size_image").at_least(1.0).read_by(readers::EMBEDDER);
    }
}
