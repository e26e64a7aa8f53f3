//! Models whose files are inside the binary.

/// A model in the open_clip layout.
#[derive(Debug)]
pub struct EmbeddedModel {
    /// Name after `openclip:`.
    pub name: &'static str,
    /// File names and their content.
    pub files: &'static [(&'static str, &'static [u8])],
}

impl EmbeddedModel {
    /// Content of a file.
    pub fn file(&self, name: &str) -> Option<&'static [u8]> {
        self.files
            .iter()
            .find(|(file, _)| *file == name)
            .map(|(_, content)| *content)
    }
}

/// A small CLIP of drawings; `extras/embedder/README.md` is its model card.
static DRAWINGS: EmbeddedModel = EmbeddedModel {
    name: "novic/drawings",
    files: &[
        (
            "open_clip_config.json",
            include_bytes!("../../extras/embedder/open_clip_config.json"),
        ),
        (
            "open_clip_model.safetensors",
            include_bytes!("../../extras/embedder/open_clip_model.safetensors"),
        ),
        (
            "tokenizer.json",
            include_bytes!("../../extras/embedder/tokenizer.json"),
        ),
        (
            "tokenizer_config.json",
            include_bytes!("../../extras/embedder/tokenizer_config.json"),
        ),
    ],
};

/// All embedded models.
pub fn models() -> &'static [EmbeddedModel] {
    std::slice::from_ref(&DRAWINGS)
}
