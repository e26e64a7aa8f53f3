//! What stages read from outside: embedder, dictionary, prompts, pictures.
//! Found once for the plan (identity, or where it comes from) and opened once
//! for the work.

use std::path::{Path, PathBuf};

use crate::cache::{EmbedderSignature, FloatDtype, ReadOrder, TargetOptions};
use crate::config::{nearest, schema};
use crate::embedders::{
    Backend, BatchSizes, Embedder, EmbedderError, EmbedderSpec, OpenOptions, Precision, embedded,
};
use crate::net::{hub_model_bytes, model_repository, resource_at};
use crate::nouns::{
    ArticleRules, CollectionNames, EMBEDDED, Hypernyms, OnAmbiguity, Prompts, TemplateFile,
    TextRules, Vocabulary,
};
use crate::runner::{MissingResource, Resource, ResourceQuery, StageContext, StageError};
use crate::store::{ContentHash, Project};

/// A path of the configuration: a leading `$SOURCE` is the working directory,
/// where downloaded data belongs.
pub(super) fn path(project: &Project, configured: &str) -> PathBuf {
    match configured.strip_prefix("$SOURCE") {
        Some("") => project.working_dir().to_owned(),
        Some(rest) if rest.starts_with('/') => project.working_dir().join(&rest[1..]),
        _ => project.working_dir().join(configured),
    }
}

/// An embedding cache of the configuration: a relative path that leads nowhere
/// is looked for in the folder of caches.
pub(super) fn cache_path(project: &Project, config: &schema::Config, configured: &str) -> PathBuf {
    let here = path(project, configured);
    if here.exists() || Path::new(configured).is_absolute() {
        return here;
    }
    let there = path(project, &config.data.cache_dir).join(configured);
    if there.exists() { there } else { here }
}

/// A file or folder for the plan: its identity, or where it comes from, if it is
/// part of a download.
pub(super) fn file(
    query: &ResourceQuery<'_>,
    role: &str,
    configured: &str,
) -> Result<Resource, StageError> {
    let path = path(query.project, configured);
    let name = configured.to_owned();
    if path.is_dir() {
        return Ok(Resource::present(
            role,
            &name,
            Some(path.clone()),
            query.hashes.tree(&path)?,
        ));
    }
    if path.exists() {
        return Ok(Resource::present(
            role,
            &name,
            Some(path.clone()),
            query.hashes.file(&path)?,
        ));
    }
    let known = resource_at(&path, query.project.working_dir());
    let missing = MissingResource::of(known, "a file or folder of your own");
    Ok(Resource::absent(role, &name, Some(path), missing))
}

/// The embedder for the plan.
pub(super) fn embedder(query: &ResourceQuery<'_>) -> Result<Resource, StageError> {
    embedder_named(query, &query.config.embedder.spec)
}

/// An embedder of this specification for the plan.
pub(super) fn embedder_named(
    query: &ResourceQuery<'_>,
    name: &str,
) -> Result<Resource, StageError> {
    let spec: EmbedderSpec = name.parse()?;
    let find = || {
        Ok(ContentHash::of(
            Embedder::open(&spec)?.identity()?.as_bytes(),
        ))
    };
    match query.hashes.remembered(&format!("embedder {name}"), find) {
        Ok(identity) => Ok(Resource::present("embedder", name, None, identity)),
        Err(EmbedderError::NotInCache {
            cache, repository, ..
        }) => {
            // Archives of OpenAI have an address of their own.
            let source = match spec.backend() {
                Backend::OpenAi => format!("weights: {repository}"),
                _ => format!("weights and tokenizer: {}", model_repository(&repository)),
            };
            let embedded = embedded::models().iter().map(|model| model.name);
            let missing = MissingResource {
                id: Some(name.to_owned()),
                source: match nearest(spec.name(), embedded) {
                    Some(near) => {
                        format!("{source}; or did you mean the embedded openclip:{near}?")
                    }
                    None => source,
                },
                bytes: hub_model_bytes(&repository),
            };
            Ok(Resource::absent("embedder", name, Some(cache), missing))
        }
        Err(error) => Err(error.into()),
    }
}

/// The noun dictionary for the plan.
pub(super) fn dictionary(query: &ResourceQuery<'_>) -> Result<Resource, StageError> {
    let configured = &query.config.nouns.vocab_path;
    if configured == EMBEDDED {
        let identity = crate::nouns::identity(Path::new(EMBEDDED))?;
        let identity = ContentHash::of(identity.as_bytes());
        return Ok(Resource::present("dictionary", EMBEDDED, None, identity));
    }
    file(query, "dictionary", configured)
}

/// The prompt templates for the plan; the shipped ones need no file.
pub(super) fn prompts(query: &ResourceQuery<'_>) -> Result<Option<Resource>, StageError> {
    let configured = &query.config.nouns.prompt_path;
    if is_shipped(query.project, configured, SHIPPED_PROMPTS) {
        return Ok(None);
    }
    file(query, "prompts", configured).map(Some)
}

const SHIPPED_PROMPTS: &str = "$SOURCE/data/prompts.json";

/// Whether a path is the default place of a shipped file and no file lies
/// there.
fn is_shipped(project: &Project, configured: &str, shipped: &str) -> bool {
    configured == shipped && !path(project, configured).exists()
}

/// Opens the embedder of a running stage.
pub(super) fn open_embedder(context: &StageContext<'_>) -> Result<Embedder, StageError> {
    let spec: EmbedderSpec = context.config().embedder.spec.parse()?;
    let embedder = Embedder::open_with(&spec, &open_options(context))?;
    for notice in embedder.notices() {
        context.note(notice);
    }
    let ignored = context.compute().embedder_ignored.iter();
    for (key, _) in ignored.filter(|(_, is_set)| *is_set) {
        context.note(&format!(
            "{key} has no effect: towers need no compilation here"
        ));
    }
    Ok(embedder)
}

/// How a running stage wants embedders opened.
pub(super) fn open_options(context: &StageContext<'_>) -> OpenOptions {
    let (device, compute) = (context.device().clone(), context.compute());
    let precision = match context.config().embedder.dtype {
        schema::EmbedderDtype::Auto => {
            Precision::automatic(&device, compute.embedder_amp, compute.embedder_amp_bf16)
        }
        dtype => precision(dtype),
    };
    OpenOptions {
        precision,
        device,
        batches: BatchSizes {
            tokens: compute.embedder_batch_token,
            texts: compute.embedder_batch_text,
            images: compute.embedder_batch_image,
        },
        ..OpenOptions::default()
    }
}

/// Precision that the configuration means on the CPU.
pub(super) fn precision(dtype: schema::EmbedderDtype) -> Precision {
    match dtype {
        schema::EmbedderDtype::Auto | schema::EmbedderDtype::F32 => Precision::Single,
        schema::EmbedderDtype::F16 => Precision::Half,
        schema::EmbedderDtype::Bf16 => Precision::Brain,
    }
}

/// Says what happened while embedding.
pub(super) fn tell(context: &StageContext<'_>, embedder: &Embedder) {
    for warning in embedder.take_warnings() {
        context.warn(&warning);
    }
}

/// What caches store of an embedder.
pub(super) fn signature(embedder: &Embedder) -> EmbedderSignature {
    EmbedderSignature::of_embedder(embedder)
}

/// Type in which a stage stores embeddings.
pub(super) fn stored_dtype(context: &StageContext<'_>) -> FloatDtype {
    match context.config().data.storage {
        schema::Storage::F32 => FloatDtype::F32,
        schema::Storage::F16 => FloatDtype::F16,
        schema::Storage::Bf16 => FloatDtype::BF16,
    }
}

/// Order in which a stage reads rows in training.
pub(super) fn read_order(config: &schema::Config) -> ReadOrder {
    match config.data.order {
        schema::ReadOrder::Block => ReadOrder::Block,
        schema::ReadOrder::Shard => ReadOrder::Shard,
        schema::ReadOrder::Sequential => ReadOrder::Sequential,
    }
}

/// Where the dictionary of a running stage lies.
pub(super) fn vocabulary_path(project: &Project, nouns: &schema::Nouns) -> PathBuf {
    match nouns.vocab_path.as_str() {
        EMBEDDED => PathBuf::from(EMBEDDED),
        configured => path(project, configured),
    }
}

/// The nouns of a running stage.
pub(super) fn open_vocabulary(
    project: &Project,
    nouns: &schema::Nouns,
    threshold: usize,
) -> Result<Vocabulary, StageError> {
    let place = vocabulary_path(project, nouns);
    let threshold = i64::try_from(threshold)?;
    Ok(Vocabulary::load(&place, threshold)?)
}

fn template_file(project: &Project, nouns: &schema::Nouns) -> Result<TemplateFile, StageError> {
    Ok(
        match is_shipped(project, &nouns.prompt_path, SHIPPED_PROMPTS) {
            true => TemplateFile::shipped()?,
            false => TemplateFile::load(&path(project, &nouns.prompt_path))?,
        },
    )
}

fn text_rules(nouns: &schema::Nouns) -> TextRules {
    match nouns.text_rules {
        schema::TextRules::Mended => TextRules::Mended,
        schema::TextRules::Original => TextRules::Original,
    }
}

/// The templates of a running stage.
pub(super) fn open_templates(
    project: &Project,
    nouns: &schema::Nouns,
) -> Result<(Prompts, Hypernyms), StageError> {
    let (templates, rules) = (template_file(project, nouns)?, text_rules(nouns));
    let prompts = templates.prompts(&CollectionNames::parse(&nouns.prompts), rules)?;
    let hypernyms = match nouns.hypernyms.as_str() {
        "None" => Hypernyms::none(),
        names => templates.hypernyms(&CollectionNames::parse(names), rules)?,
    };
    Ok((prompts, hypernyms))
}

/// The rules for "a" and "an" of a running stage.
pub(super) fn article_rules(nouns: &schema::Nouns) -> ArticleRules {
    match nouns.article {
        schema::Article::Novic => ArticleRules::Published,
        schema::Article::Exact => ArticleRules::Exact,
    }
}

/// What becomes of class names that several nouns share.
pub(super) fn on_ambiguity(config: &schema::Config) -> OnAmbiguity {
    match config.cls.strict {
        true => OnAmbiguity::Fail,
        false => OnAmbiguity::TakeFirst,
    }
}

/// The prompts of nouns of a running stage.
pub(super) fn open_noun_prompts(
    project: &Project,
    nouns: &schema::Nouns,
) -> Result<Prompts, StageError> {
    let names = CollectionNames::parse(&nouns.prompts);
    Ok(template_file(project, nouns)?.prompts(&names, text_rules(nouns))?)
}

/// Target options of the configuration, as the object decoder needs them.
pub(super) fn target_options(context: &StageContext<'_>, target: &schema::Target) -> TargetOptions {
    let (options, changed) = TargetOptions {
        with_start_token: target.start_token,
        with_end_token: target.end_token,
        compact_ids: target.compact_ids,
        fixed_token_length: target.fixed_length,
        auto_fixed_token_length: target.auto_length,
        use_masks: target.masks,
    }
    .for_decoder();
    if !changed.is_empty() {
        context.warn(&format!(
            "the object decoder decides these itself: {}",
            changed.join(", ")
        ));
    }
    options
}
