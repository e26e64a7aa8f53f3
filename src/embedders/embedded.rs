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

/// All embedded models.
pub fn models() -> &'static [EmbeddedModel] {
    &[]
}
