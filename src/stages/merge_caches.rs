//! `merge_caches`: several embedding caches → one, in random order. Memory
//! does not depend on the number of samples.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::json;

use super::inputs;
use super::keys::{EMBEDDER, READ_CACHE, TOKENS, keys};
use super::text_cache::{CACHE_FILE, VIRTUAL_FILE, Writer, cache_of};
use crate::cache::{
    CacheError, CacheFile, FilePlan, MergeOptions, OpenOptions, ResumableCacheWriter, TargetConfig,
    VirtualMerge,
};
use crate::embedders::Embedder;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// The stage kind.
#[derive(Debug)]
pub(super) struct MergeCaches;

impl StageKind for MergeCaches {
    fn name(&self) -> &'static str {
        "merge_caches"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![
            EMBEDDER,
            TOKENS,
            READ_CACHE,
            &["data.datasets", "data.storage", "merge"]
        ]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![inputs::embedder(query)?];
        if query.inputs.is_empty() {
            let datasets = &query.config.data.datasets;
            if datasets.is_empty() {
                return Err(StageError::failed(
                    "there is nothing to merge: give the stage `inputs = [\"a\", \"b\"]` or set \
                     data.datasets to paths of caches",
                ));
            }
            for dataset in datasets {
                let path = inputs::cache_path(query.project, query.config, dataset);
                let path = path.display().to_string();
                resources.push(inputs::file(query, "cache", &path)?);
            }
        }
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let embedder = inputs::open_embedder(context)?;
        let parts = parts(context)?;
        let file = open(context, &embedder, &parts)?;
        let header = file.header().clone();
        let summary = format!(
            "{} samples of {} caches, {} targets per sample",
            header.embed_num,
            parts.len(),
            header.embed_targets_dim
        );
        context.note(&summary);
        if context.config().merge.r#virtual {
            name_parts(context, &parts)?;
        } else {
            merge(context, &embedder, file)?;
        }
        Ok(StageOutput::of(json!({
            "summary": summary,
            "nouns": header.target_nouns_num.saturating_sub(1),
            "targets": header.embed_targets_dim,
            "samples": header.embed_num,
        })))
    }
}

/// The caches to merge, each once, and how often they count.
fn parts(context: &StageContext<'_>) -> Result<Vec<(PathBuf, usize)>, StageError> {
    let (config, project) = (context.config(), context.project());
    let mut named = Vec::new();
    if context.inputs().is_empty() {
        for dataset in &config.data.datasets {
            named.push((inputs::cache_path(project, config, dataset), 1));
        }
    }
    for input in context.inputs() {
        named.push((cache_of(&input.entry)?, input.repeat));
    }
    let mut parts: Vec<(PathBuf, usize)> = Vec::new();
    for (path, repeat) in named {
        match parts.iter_mut().find(|(known, _)| *known == path) {
            Some((_, count)) => *count += repeat,
            None => parts.push((path, repeat)),
        }
    }
    Ok(parts)
}

fn open(
    context: &StageContext<'_>,
    embedder: &Embedder,
    parts: &[(PathBuf, usize)],
) -> Result<CacheFile, StageError> {
    let config = context.config();
    let signature = inputs::signature(embedder);
    let options = OpenOptions {
        use_targets: config.merge.save_targets,
        strict: config.data.strict_embedder,
    };
    let mut files = Vec::with_capacity(parts.len());
    for (path, _) in parts {
        files.push(CacheFile::open(path, &signature, options)?);
    }
    if config.merge.r#virtual
        && let Some(file) = files.iter().find(|file| file.is_merged())
    {
        return Err(StageError::failed(format!(
            "{} is a virtual merge, and a virtual merge cannot name another one; name its parts, \
             or set merge.virtual = false",
            file.path().display()
        )));
    }
    let most = files
        .iter()
        .map(|file| file.header().embed_targets_dim)
        .max();
    let repeats: Vec<usize> = parts.iter().map(|(_, repeat)| *repeat).collect();
    let options = MergeOptions {
        multi: config.merge.multi_mode,
        ..MergeOptions::shuffled(context.seed())
    };
    let merged = CacheFile::merged(files, &repeats, options, &signature)?;
    if merged.nouns().is_some() && most.is_some_and(|most| most > merged.header().embed_targets_dim)
    {
        context.warn(&format!(
            "samples with up to {} targets are cut to {}; their weights are kept as they are and \
             then sum to less than before",
            most.unwrap_or(0),
            merged.header().embed_targets_dim
        ));
    }
    Ok(merged)
}

fn merge(
    context: &StageContext<'_>,
    embedder: &Embedder,
    file: CacheFile,
) -> Result<(), StageError> {
    let tokenizer = embedder.tokenizer();
    let config = match file.nouns() {
        None => None,
        Some(nouns) => {
            let options = inputs::target_options(context, &context.config().target);
            Some(TargetConfig::build(
                tokenizer.as_ref(),
                nouns.valid(),
                &options,
            )?)
        }
    };
    let path = file.path().to_owned();
    let cache = file.enter(config.as_ref(), None)?;
    if let (Some(config), Some(nouns), Some((tokens, _))) =
        (&config, cache.nouns(), cache.token_table())
    {
        let expected = config.token_table(tokenizer.as_ref(), nouns)?;
        let same = tokens
            .iter()
            .map(|&token| i64::from(token))
            .eq(expected.ids);
        if !same {
            return Err(CacheError::OtherTokens { path }.into());
        }
    }
    let plan = FilePlan::copying(&cache)?.stored_as(inputs::stored_dtype(context))?;
    let path = context.out().join(CACHE_FILE);
    if ResumableCacheWriter::is_finished(&path)? {
        // Complete, but the stage was killed before its output was published.
        return Ok(());
    }
    let mut writer = Writer {
        context,
        cache: ResumableCacheWriter::open(path, &plan)?,
        safe: Instant::now(),
    };
    context.begin("samples", writer.cache.written(), Some(cache.len()));
    let default_weights = cache.header().default_weights;
    let rest = writer.cache.written()..cache.len();
    cache.for_each_chunk(rest, |samples| -> Result<(), StageError> {
        writer.cache.write(&samples.rows(default_weights))?;
        writer.pause()
    })?;
    Ok(writer.cache.finish()?)
}

/// Writes a file that names the parts. An entry of the store is found from the
/// entry that the file will lie in.
fn name_parts(context: &StageContext<'_>, parts: &[(PathBuf, usize)]) -> Result<(), StageError> {
    let merge = &context.config().merge;
    let mut manifest = VirtualMerge::new(merge.multi_mode, merge.save_targets, context.seed());
    for (path, repeat) in parts {
        let entry = context
            .inputs()
            .iter()
            .map(|input| &input.entry)
            .find(|entry| path.starts_with(entry.dir()));
        let path = match entry {
            None => path.canonicalize()?,
            Some(entry) => {
                let (manifest, inside) = (entry.manifest(), path.strip_prefix(entry.dir())?);
                let key = manifest.key.to_string();
                PathBuf::from("../..")
                    .join(&manifest.kind)
                    .join(key)
                    .join(inside)
            }
        };
        manifest = manifest.with(path, *repeat);
    }
    Ok(manifest.write(&context.out().join(VIRTUAL_FILE))?)
}
