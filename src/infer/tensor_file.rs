//! Embeddings in safetensors files.

use std::collections::HashMap;
use std::path::Path;

use candle_core::Tensor;

/// Writes tensors; the file appears under its name when it is complete.
///
/// # Errors
/// It cannot be written.
pub fn write_tensors(
    path: &Path,
    tensors: &HashMap<&str, Tensor>,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let folder = path.parent().filter(|folder| *folder != Path::new(""));
    let file = tempfile::NamedTempFile::new_in(folder.unwrap_or(Path::new(".")))?;
    candle_core::safetensors::save(tensors, file.path())?;
    file.persist(path)?;
    Ok(())
}
