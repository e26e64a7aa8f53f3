//! Vectors into files of four forms. Rows are kept in a temporary file until
//! their number is known, so any number of them fits.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, Write};
use std::path::{Path, PathBuf};

use clap::ValueEnum;
use serde_json::{Value, json};

use super::super::{CliError, Exit};
use crate::cache::{
    CacheWriter, EmbedderSignature, FileFlags, FilePlan, FloatSlice, RowOrder, SampleRows,
};
use crate::embedders::Embedder;

/// Rows that are copied together.
const ROWS: usize = 4096;

/// Form of a file of vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// An embedding cache without targets
    Bin,
    /// Tensor `embeddings` [N, F]
    Safetensors,
    /// Array [N, F] of NumPy
    Npy,
    /// One object per line
    Jsonl,
}

impl Form {
    /// The form that a file's ending asks for.
    pub fn of(path: &Path) -> Option<Self> {
        match path.extension()?.to_str()? {
            "bin" => Some(Self::Bin),
            "safetensors" => Some(Self::Safetensors),
            "npy" => Some(Self::Npy),
            "jsonl" => Some(Self::Jsonl),
            _ => None,
        }
    }
}

/// Collects rows and their names.
pub struct Vectors {
    out: PathBuf,
    form: Form,
    dim: usize,
    rows: BufWriter<File>,
    names: Vec<String>,
}

impl Vectors {
    /// An empty collection for a file.
    pub fn new(out: &Path, form: Option<Form>, dim: usize) -> Result<Self, CliError> {
        let form = form.or_else(|| Form::of(out)).ok_or_else(|| {
            CliError::usage(format!(
                "{} ends in none of .bin, .safetensors, .npy, .jsonl; choose with --format",
                out.display()
            ))
        })?;
        let rows = tempfile::tempfile_in(folder(out)).map_err(|error| failed(out, &error))?;
        Ok(Self {
            out: out.to_owned(),
            form,
            dim,
            rows: BufWriter::new(rows),
            names: Vec::new(),
        })
    }

    /// Adds rows `[N, F]` with their names.
    pub fn add(&mut self, vectors: &[f32], names: &[&str]) -> Result<(), CliError> {
        let bytes: &[u8] = bytemuck::cast_slice(vectors);
        self.rows
            .write_all(bytes)
            .map_err(|error| failed(&self.out, &error))?;
        self.names.extend(names.iter().map(|&name| name.to_owned()));
        Ok(())
    }

    /// Writes the file beside its place and publishes it; names of rows go into
    /// a JSON file beside it where the form has no place for them.
    pub fn finish(self, embedder: &Embedder) -> Result<usize, CliError> {
        let (out, count, dim) = (self.out, self.names.len(), self.dim);
        if count == 0 {
            return Err(CliError::failed(
                "nothing to write: no input could be embedded",
            ));
        }
        let error = |error: std::io::Error| failed(&out, &error);
        let mut rows = self
            .rows
            .into_inner()
            .map_err(|all| error(all.into_error()))?;
        rows.rewind().map_err(error)?;
        let mut rows = BufReader::new(rows);
        let mut next = move |most: usize| -> std::io::Result<Vec<f32>> {
            let mut values = vec![0f32; most * dim];
            rows.read_exact(bytemuck::cast_slice_mut(&mut values))?;
            Ok(values)
        };
        let blocks = (0..count)
            .step_by(ROWS)
            .map(|start| ROWS.min(count - start));
        if self.form == Form::Bin {
            let cache = |error| CliError::from_error(Exit::Failed, &error);
            let signature = EmbedderSignature::of_embedder(embedder);
            let plan = FilePlan::new(
                count as u64,
                &signature,
                None,
                FileFlags::default(),
                RowOrder::AsWritten,
            )
            .map_err(cache)?;
            let mut writer = CacheWriter::create(&out, &plan).map_err(cache)?;
            for block in blocks {
                let values = next(block).map_err(error)?;
                let rows = SampleRows {
                    embeds: FloatSlice::F32(&values),
                    target_ids: None,
                    weights: None,
                };
                writer.write(&rows).map_err(cache)?;
            }
            writer.finish().map_err(cache)?;
        } else {
            let file = tempfile::NamedTempFile::new_in(folder(&out)).map_err(error)?;
            let mut writer = BufWriter::new(file);
            match self.form {
                Form::Npy => writer.write_all(&npy_header(count, dim)).map_err(error)?,
                Form::Safetensors => {
                    let header = safetensors_header(count, dim, &self.names);
                    writer.write_all(&header).map_err(error)?;
                }
                _ => {}
            }
            let mut written = 0;
            for block in blocks {
                let values = next(block).map_err(error)?;
                if self.form == Form::Jsonl {
                    for vector in values.chunks_exact(dim) {
                        let line = json!({
                            "index": written,
                            "input": self.names[written],
                            "embedding": vector,
                        });
                        writeln!(writer, "{line}").map_err(error)?;
                        written += 1;
                    }
                } else {
                    writer
                        .write_all(bytemuck::cast_slice(&values))
                        .map_err(error)?;
                }
            }
            let file = writer.into_inner().map_err(|all| error(all.into_error()))?;
            file.as_file().sync_all().map_err(error)?;
            file.persist(&out).map_err(|all| error(all.error))?;
        }
        if matches!(self.form, Form::Bin | Form::Npy) {
            let mut name = out.as_os_str().to_owned();
            name.push(".inputs.json");
            let names = Value::from(self.names);
            std::fs::write(PathBuf::from(name), format!("{names:#}\n")).map_err(error)?;
        }
        Ok(count)
    }
}

/// Header of a little-endian f32 array in format 1.0.
fn npy_header(count: usize, dim: usize) -> Vec<u8> {
    let mut text =
        format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({count}, {dim}), }}");
    // The whole header is a multiple of 64 bytes and ends with a line break.
    while !(10 + text.len() + 1).is_multiple_of(64) {
        text.push(' ');
    }
    text.push('\n');
    let mut header = b"\x93NUMPY\x01\x00".to_vec();
    header.extend((text.len() as u16).to_le_bytes());
    header.extend(text.as_bytes());
    header
}

fn safetensors_header(count: usize, dim: usize, names: &[String]) -> Vec<u8> {
    let mut text = json!({
        "__metadata__": {"inputs": Value::from(names).to_string()},
        "embeddings": {
            "dtype": "F32",
            "shape": [count, dim],
            "data_offsets": [0, count * dim * 4],
        },
    })
    .to_string();
    while !text.len().is_multiple_of(8) {
        text.push(' ');
    }
    let mut header = (text.len() as u64).to_le_bytes().to_vec();
    header.extend(text.as_bytes());
    header
}

fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

fn failed(path: &Path, error: &std::io::Error) -> CliError {
    CliError::failed(format!("failed to write {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_aligned() {
        let header = npy_header(12, 768);
        assert!(header.len().is_multiple_of(64) && header.ends_with(b"\n"));
        let header = safetensors_header(2, 3, &["a".to_owned(), "b\"c".to_owned()]);
        let mut file = header;
        file.extend([0; 24]);
        let read = safetensors::SafeTensors::deserialize(&file).unwrap();
        assert_eq!(read.tensor("embeddings").unwrap().shape(), [2, 3]);
    }
}
