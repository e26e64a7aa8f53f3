//! The text cache of a noun dataset (`nouns-captions.md` section 4): one slot
//! per unique text with its embedding and the tokens of its target noun.
//!
//! Little-endian. All slots have the same size `4·F + C·token bytes`, plus `C`
//! with masks. Slot 0 begins with the marker and is zero otherwise; slot
//! `u + 1` is unique text `u`.

use std::fs::{self, File, OpenOptions};
use std::path::PathBuf;

use super::dtype::IntDtype;
use super::error::{CacheError, Result};
use super::row_sink::write_at;
use super::rows::read_at;
use super::target_config::TargetConfig;
use super::tokenize::TokenRows;
use super::writer::sync_folder;

/// First bytes of a complete file, as many as fit slot 0.
const MARKER: [u8; 32] = [
    0x36, 0xa1, 0x81, 0xf3, 0x63, 0x31, 0xd7, 0x7e, 0x41, 0x05, 0xe2, 0x70, 0x35, 0x37, 0x96, 0x1a,
    0xba, 0x73, 0x57, 0x4a, 0x7c, 0xc5, 0xdb, 0x8c, 0x33, 0x51, 0xa3, 0xa9, 0x6e, 0x56, 0xe8, 0x79,
];

/// Texts that are looked at together when an unfinished file is taken up.
const SCANNED: u64 = 1024;

/// Shape of a text cache: it has no header, so who reads it must know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextFileShape {
    /// Embedding dimension `F`.
    pub dim: usize,
    /// Token columns `C`.
    pub columns: usize,
    /// Type of the tokens.
    pub token_dtype: IntDtype,
    /// Whether slots have masks.
    pub masks: bool,
    /// Number of unique texts.
    pub texts: u64,
}

impl TextFileShape {
    /// Shape for `texts` texts with targets of a configuration.
    pub fn new(dim: usize, config: &TargetConfig, texts: u64) -> Self {
        Self {
            dim,
            columns: config.token_length,
            token_dtype: config.token_dtype.into(),
            masks: config.use_masks,
            texts,
        }
    }

    /// Shape of a file of so many bytes whose tokens do not matter.
    pub fn of_vectors(dim: usize, texts: u64, size: u64) -> Self {
        let slot = (size / (texts + 1)) as usize;
        Self {
            dim,
            columns: slot.saturating_sub(dim * 4),
            token_dtype: IntDtype::I8,
            masks: false,
            texts,
        }
    }

    /// Bytes of a slot.
    pub fn slot(&self) -> usize {
        let token = self.token_dtype.bytes() + usize::from(self.masks);
        self.dim * 4 + self.columns * token
    }

    /// Bytes of the file.
    pub fn size(&self) -> u64 {
        self.slot() as u64 * (self.texts + 1)
    }

    /// Byte at which the slot of text `index` begins.
    fn at(&self, index: u64) -> u64 {
        self.slot() as u64 * (index + 1)
    }

    fn marker(&self) -> &'static [u8] {
        &MARKER[..MARKER.len().min(self.slot())]
    }
}

/// Some texts of a text cache.
#[derive(Clone, Debug, PartialEq)]
pub struct TextRows {
    /// Unit vectors `[n, F]`.
    pub embeds: Vec<f32>,
    /// Tokens of the targets. Without masks nothing is marked as padding.
    pub tokens: TokenRows,
}

/// A text cache that is read.
#[derive(Debug)]
pub struct TextFile {
    file: File,
    path: PathBuf,
    shape: TextFileShape,
}

impl TextFile {
    /// Opens a file.
    ///
    /// # Errors
    /// It is incomplete, of another size, or no text cache.
    pub fn open(path: impl Into<PathBuf>, shape: TextFileShape) -> Result<Self> {
        let path = path.into();
        let open = || -> Result<File> {
            let file = File::open(&path).map_err(CacheError::Open)?;
            let size = file.metadata().map_err(CacheError::Open)?.len();
            let mut start = vec![0; shape.marker().len()];
            read_at(&file, &mut start, 0)?;
            if start.iter().all(|&byte| byte == 0) {
                return Err(CacheError::Incomplete);
            }
            if start != shape.marker() {
                return Err(CacheError::NotATextCache);
            }
            if size != shape.size() {
                let expected = shape.size();
                return Err(CacheError::WrongSize { size, expected });
            }
            Ok(file)
        };
        let file = open().map_err(|error| error.in_file(&path))?;
        Ok(Self { file, path, shape })
    }

    /// Shape of the file.
    pub fn shape(&self) -> TextFileShape {
        self.shape
    }

    /// Embeddings `[n, F]` of texts, given by number.
    ///
    /// # Errors
    /// An input error, or a number behind the last text.
    pub fn vectors(&self, texts: &[u64]) -> Result<Vec<f32>> {
        let dim = self.shape.dim;
        let mut vectors = vec![0.0_f32; texts.len() * dim];
        for (&text, vector) in texts.iter().zip(vectors.chunks_exact_mut(dim)) {
            let vector = bytemuck::cast_slice_mut(vector);
            read_at(&self.file, vector, self.shape.at(text))
                .map_err(|error| error.in_file(&self.path))?;
        }
        Ok(vectors)
    }

    /// The texts from number `start` up to `stop`, cut at the end.
    ///
    /// # Errors
    /// An input error.
    pub fn texts(&self, start: u64, stop: u64) -> Result<TextRows> {
        let shape = &self.shape;
        let stop = stop.min(shape.texts);
        let count = stop.saturating_sub(start) as usize;
        let mut slots = vec![0; count * shape.slot()];
        read_at(&self.file, &mut slots, shape.at(start))
            .map_err(|error| error.in_file(&self.path))?;
        let mut rows = TextRows {
            embeds: Vec::with_capacity(count * shape.dim),
            tokens: TokenRows {
                columns: shape.columns,
                ids: Vec::with_capacity(count * shape.columns),
                padding: Vec::with_capacity(count * shape.columns),
            },
        };
        for slot in slots.chunks_exact(shape.slot()) {
            let (embed, rest) = slot.split_at(shape.dim * 4);
            let (tokens, mask) = rest.split_at(shape.columns * shape.token_dtype.bytes());
            let (floats, _) = embed.as_chunks::<4>();
            rows.embeds
                .extend(floats.iter().map(|&bytes| f32::from_le_bytes(bytes)));
            rows.tokens.ids.extend(shape.token_dtype.decode(tokens));
            rows.tokens
                .padding
                .extend(mask.iter().map(|&byte| byte != 0));
        }
        rows.tokens.padding.resize(count * shape.columns, false);
        Ok(rows)
    }
}

/// Writes a text cache over several lives of a program. Until it is complete
/// it is called `NAME.partial` and lacks the marker.
#[derive(Debug)]
pub struct TextFileWriter {
    path: PathBuf,
    partial: PathBuf,
    file: File,
    shape: TextFileShape,
    written: u64,
}

impl TextFileWriter {
    /// Goes on with the file that will get the name `path`, or starts it. What
    /// an earlier life left must be of the same texts; the next text to write
    /// is [`written`](Self::written).
    ///
    /// # Errors
    /// The folder cannot be written to.
    pub fn open(path: impl Into<PathBuf>, shape: TextFileShape) -> Result<Self> {
        let path = path.into();
        let mut partial = path.clone().into_os_string();
        partial.push(".partial");
        let partial = PathBuf::from(partial);
        let open = || -> Result<(File, u64)> {
            let file = OpenOptions::new()
                .read(true)
                .write(true)
                .create(true)
                .truncate(false)
                .open(&partial)
                .map_err(CacheError::Write)?;
            let written = valid_texts(&file, &shape)?;
            file.set_len(shape.at(written)).map_err(CacheError::Write)?;
            Ok((file, written))
        };
        let (file, written) = open().map_err(|error| error.in_file(&path))?;
        Ok(Self {
            path,
            partial,
            file,
            shape,
            written,
        })
    }

    /// Texts written so far, those of earlier lives included.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Writes the next texts.
    ///
    /// # Errors
    /// Arrays that do not fit, more texts than announced, an output error.
    pub fn write(&mut self, rows: &TextRows) -> Result<()> {
        self.append(rows).map_err(|error| error.in_file(&self.path))
    }

    fn append(&mut self, rows: &TextRows) -> Result<()> {
        let shape = &self.shape;
        let count = rows.embeds.len() / shape.dim.max(1);
        let tokens = &rows.tokens;
        let cells = count * shape.columns;
        if rows.embeds.len() != count * shape.dim
            || tokens.columns != shape.columns
            || (tokens.ids.len(), tokens.padding.len()) != (cells, cells)
        {
            return Err(CacheError::BadShape {
                what: "embeddings and tokens",
                found: format!("{} and {} elements", rows.embeds.len(), tokens.ids.len()),
                expected: format!("{count} × {} and {count} × {}", shape.dim, shape.columns),
            });
        }
        if self.written + count as u64 > shape.texts {
            return Err(CacheError::TooManySamples {
                announced: shape.texts,
            });
        }
        let mut slots = Vec::with_capacity(count * shape.slot());
        for row in 0..count {
            slots.extend_from_slice(bytemuck::cast_slice(
                &rows.embeds[row * shape.dim..][..shape.dim],
            ));
            let cells = row * shape.columns..(row + 1) * shape.columns;
            for &token in &tokens.ids[cells.clone()] {
                shape.token_dtype.encode(token, &mut slots);
            }
            if shape.masks {
                slots.extend(
                    tokens.padding[cells]
                        .iter()
                        .map(|&padding| u8::from(padding)),
                );
            }
        }
        write_at(&self.file, &slots, shape.at(self.written))?;
        self.written += count as u64;
        Ok(())
    }

    /// Completes the file and gives it its name.
    ///
    /// # Errors
    /// Fewer texts than announced, an output error.
    pub fn finish(self) -> Result<()> {
        let publish = || -> Result<()> {
            if self.written != self.shape.texts {
                return Err(CacheError::TooFewSamples {
                    written: self.written,
                    announced: self.shape.texts,
                });
            }
            // The marker must not reach the disk before the texts.
            self.file.sync_data().map_err(CacheError::Write)?;
            write_at(&self.file, self.shape.marker(), 0)?;
            self.file.sync_all().map_err(CacheError::Write)?;
            fs::rename(&self.partial, &self.path).map_err(CacheError::Write)?;
            sync_folder(&self.path)
        };
        publish().map_err(|error| error.in_file(&self.path))
    }
}

/// How many texts an unfinished file begins with. After a crash of the machine
/// its end may be empty: an embedding that is no unit vector ends the count.
fn valid_texts(file: &File, shape: &TextFileShape) -> Result<u64> {
    let size = file.metadata().map_err(CacheError::Read)?.len();
    let whole = (size / shape.slot() as u64)
        .saturating_sub(1)
        .min(shape.texts);
    let mut slots = vec![0; shape.slot() * SCANNED as usize];
    for start in (0..whole).step_by(SCANNED as usize) {
        let count = SCANNED.min(whole - start) as usize;
        let slots = &mut slots[..count * shape.slot()];
        read_at(file, slots, shape.at(start))?;
        let is_unit = |slot: &[u8]| {
            let (floats, _) = slot[..shape.dim * 4].as_chunks::<4>();
            let squares = floats
                .iter()
                .map(|&bytes| f64::from(f32::from_le_bytes(bytes)).powi(2));
            (squares.sum::<f64>() - 1.0).abs() < 1e-3
        };
        if let Some(bad) = slots
            .chunks_exact(shape.slot())
            .position(|slot| !is_unit(slot))
        {
            return Ok(start + bad as u64);
        }
    }
    Ok(whole)
}
