//! `novic cache merge`: several caches as one.

use std::path::PathBuf;

use clap::Args;

use super::super::print::print;
use super::super::{CliError, Exit};
use super::{check_output, failed};
use crate::cache::{
    CacheFile, CacheWriter, EmbedderSignature, FilePlan, MergeOptions, OpenOptions, VirtualMerge,
};
use crate::config::schema::MultiMode;

/// Merge caches of the same embedder and nouns into one, in random order
///
/// `FILE:4` counts a file four times. With --virtual the output is a small file
/// that names the inputs and is read as if it were the merged cache.
///
///   novic cache merge nouns.bin captions.bin:4 --out merged.bin
///   novic cache merge nouns.bin captions.bin:4 --out merged.json --virtual
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct MergeArgs {
    /// Embedding caches, each with how often it counts
    #[arg(required = true, value_name = "FILE[:COUNT]")]
    inputs: Vec<String>,
    /// File to write
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Targets per sample: `min` or `max` of the inputs, or a number
    #[arg(long, default_value = "max", value_parser = multi_mode)]
    targets: MultiMode,
    /// Keep the embeddings only
    #[arg(long)]
    without_targets: bool,
    /// Seed of the order
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Name the inputs instead of copying them
    #[arg(long = "virtual")]
    is_virtual: bool,
}

fn multi_mode(text: &str) -> Result<MultiMode, String> {
    match text {
        "min" => Ok(MultiMode::Min),
        "max" => Ok(MultiMode::Max),
        _ => text
            .parse()
            .ok()
            .filter(|&count| count > 0)
            .map(MultiMode::Count)
            .ok_or_else(|| "expected min, max or a number of at least 1".to_owned()),
    }
}

/// A path and how often it counts.
fn input(text: &str) -> (PathBuf, usize) {
    if let Some((path, count)) = text.rsplit_once(':')
        && let Ok(count) = count.parse()
    {
        return (path.into(), count);
    }
    (text.into(), 1)
}

pub(super) fn merge(args: &MergeArgs) -> Result<Exit, CliError> {
    let inputs: Vec<(PathBuf, usize)> = args.inputs.iter().map(|text| input(text)).collect();
    let paths: Vec<PathBuf> = inputs.iter().map(|(path, _)| path.clone()).collect();
    check_output(&args.out, &paths)?;
    let options = OpenOptions {
        use_targets: args.without_targets.then_some(false),
        strict: true,
    };
    let mut files = Vec::new();
    let mut signature: Option<EmbedderSignature> = None;
    for path in &paths {
        let file = match &signature {
            None => CacheFile::open_any(path, options).map_err(failed)?,
            Some(signature) => CacheFile::open(path, signature, options).map_err(failed)?,
        };
        signature.get_or_insert_with(|| EmbedderSignature::of_file(file.header()));
        files.push(file);
    }
    let Some(signature) = signature else {
        return Err(CliError::usage("give at least one cache"));
    };
    if args.is_virtual
        && let Some(file) = files.iter().find(|file| file.is_merged())
    {
        return Err(CliError::usage(format!(
            "{} is a virtual merge, and a virtual merge cannot name another one; name its parts, \
             or leave out --virtual",
            file.path().display()
        )));
    }
    let merge = MergeOptions {
        multi: args.targets,
        ..MergeOptions::shuffled(args.seed)
    };
    let repeats: Vec<usize> = inputs.iter().map(|(_, count)| *count).collect();
    let merged = CacheFile::merged(files, &repeats, merge, &signature).map_err(failed)?;
    let samples = merged.samples();
    if args.is_virtual {
        let mut manifest = VirtualMerge::new(args.targets, options.use_targets, args.seed);
        for (path, repeat) in inputs {
            let path = path
                .canonicalize()
                .map_err(|error| CliError::failed(error.to_string()))?;
            manifest = manifest.with(path, repeat);
        }
        manifest.write(&args.out).map_err(failed)?;
    } else {
        let cache = merged.enter_as_is().map_err(failed)?;
        let plan = FilePlan::copying(&cache).map_err(failed)?;
        let mut writer = CacheWriter::create(&args.out, &plan).map_err(failed)?;
        let default_weights = cache.header().default_weights;
        cache
            .for_each_chunk(0..cache.len(), |samples| {
                writer.write(&samples.rows(default_weights))
            })
            .map_err(failed)?;
        writer.finish().map_err(failed)?;
    }
    print(&format!(
        "{samples} samples written to {}\n",
        args.out.display()
    ))
}
