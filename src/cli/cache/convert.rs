//! `novic cache convert`: the same samples in another number format.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::super::print::print;
use super::super::{CliError, Exit};
use super::{check_output, failed, open};
use crate::cache::{CacheWriter, FilePlan, FloatDtype};

/// Write a cache with embeddings of another number format
///
/// f16 and bf16 halve the file. They are read as f32 again; only this program
/// reads them (format version 2).
///
///   novic cache convert cache.bin small.bin --dtype f16
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct ConvertArgs {
    /// Embedding cache
    file: PathBuf,
    /// File to write
    out: PathBuf,
    /// Number format of the embeddings
    #[arg(long)]
    dtype: Stored,
}

/// Number formats that embeddings are stored in.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Stored {
    F32,
    F16,
    Bf16,
}

pub(super) fn convert(args: &ConvertArgs) -> Result<Exit, CliError> {
    check_output(&args.out, std::slice::from_ref(&args.file))?;
    let cache = open(&args.file)?;
    let dtype = match args.dtype {
        Stored::F32 => FloatDtype::F32,
        Stored::F16 => FloatDtype::F16,
        Stored::Bf16 => FloatDtype::BF16,
    };
    let plan = FilePlan::copying(&cache)
        .and_then(|plan| plan.stored_as(dtype))
        .map_err(failed)?;
    let mut writer = CacheWriter::create(&args.out, &plan).map_err(failed)?;
    let default_weights = cache.header().default_weights;
    cache
        .for_each_chunk(0..cache.len(), |samples| {
            writer.write(&samples.rows(default_weights))
        })
        .map_err(failed)?;
    writer.finish().map_err(failed)?;
    print(&format!(
        "{} samples written to {}\n",
        cache.len(),
        args.out.display()
    ))
}
