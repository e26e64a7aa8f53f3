//! `sample_images`: a random subset of a folder, which nouns may attract or
//! repel (`annotation.md` section 13).

use image::RgbImage;
use serde_json::json;

use super::inputs;
use crate::annotate::collect::{CollectError, CopyOptions, Pull, SampleRequest, sample};
use crate::embedders::Embedder;
use crate::evaluate::{EvaluateError, ZeroShotPrompt, class_embeddings, dataset_prompts};
use crate::runner::{
    MissingResource, Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput,
};

/// Whose prompts are the general ones.
const GENERAL: &str = "imagenet1k";

/// The stage kind.
#[derive(Debug)]
pub(super) struct SampleImages;

impl StageKind for SampleImages {
    fn name(&self) -> &'static str {
        "sample_images"
    }

    fn code_version(&self) -> u32 {
        2
    }

    fn reads(&self) -> &'static [&'static str] {
        &["embedder.spec", "embedder.dtype", "sample"]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let sample = &query.config.sample;
        if sample.input_dir.is_empty() {
            let missing = MissingResource {
                id: None,
                source: "a folder of your own: set sample.input_dir".to_owned(),
                bytes: None,
            };
            return Ok(vec![Resource::absent("pictures", "", None, missing)]);
        }
        let mut resources = vec![inputs::file(query, "pictures", &sample.input_dir)?];
        if !sample.special.is_empty() {
            resources.push(inputs::embedder(query)?);
        }
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let config = &context.config().sample;
        let means = match config.special_means.as_slice() {
            [] => vec![config.special_mean],
            means => means.to_vec(),
        };
        let pulls = Pull::list(&config.special, &config.special_factor, &means)?;
        let embedder = match pulls.as_slice() {
            [] => None,
            _ => Some(inputs::open_embedder(context)?),
        };
        let nouns = match &embedder {
            Some(embedder) => general_noun_vectors(embedder, &config.special)?,
            None => Vec::new(),
        };
        let request = SampleRequest {
            input: inputs::path(context.project(), &config.input_dir),
            count: config.count,
            seed: context.seed(),
            pulls,
            nouns,
            recursive: false,
            per_folder: false,
            dedupe: None,
        };
        context.begin("images", 0, None);
        let sampled = sample(
            &request,
            |images| match &embedder {
                Some(embedder) => picture_vectors(embedder, &images),
                None => Err("no embedder is open".to_owned()),
            },
            |done, total| {
                context.begin("images", done as u64, Some(total as u64));
                match context.is_interrupted() {
                    true => Err(CollectError::Interrupted),
                    false => Ok(()),
                }
            },
        );
        let sampled = match sampled {
            Err(CollectError::Interrupted) => return Err(StageError::Interrupted),
            other => other?,
        };
        for (name, reason) in &sampled.unreadable {
            context.warn(&format!("left out: {}: {reason}", name.display()));
        }
        let parent = inputs::path(context.project(), &config.output_dir);
        let stamp = jiff::Zoned::now().strftime("%Y%m%d_%H%M%S").to_string();
        let out = parent.join(format!("{}-{stamp}", context.run_id()));
        let spec = embedder
            .as_ref()
            .map(|_| context.config().embedder.spec.as_str());
        let manifest = sampled.copy_to(&request, spec, &out, CopyOptions::default())?;
        let text = format!("{manifest:#}\n");
        crate::store::write_file(&context.out().join("manifest.json"), text.as_bytes())?;
        for drawn in &sampled.drawn {
            context.note(&drawn.name.to_string_lossy());
        }
        let summary = format!(
            "{} of {} images to {}",
            sampled.drawn.len(),
            sampled.weights.len(),
            out.display()
        );
        context.note(&summary);
        let unreadable = sampled.unreadable.len();
        Ok(StageOutput {
            results: json!({ "summary": summary, "images": sampled.drawn.len() }),
            parked: (unreadable > 0).then(|| format!("{unreadable} pictures left out")),
        })
    }
}

/// Unit vectors of nouns: means over the general prompts of CLIP, with the
/// article of the noun where a prompt has one.
///
/// # Errors
/// The embedder fails.
pub fn general_noun_vectors(
    embedder: &Embedder,
    nouns: &[String],
) -> Result<Vec<Vec<f32>>, EvaluateError> {
    let prompts: Vec<ZeroShotPrompt> = dataset_prompts(GENERAL)
        .into_iter()
        .map(|prompt| ZeroShotPrompt {
            article: prompt.template.contains("a {noun}"),
            template: prompt.template.replace("a {noun}", "{noun}"),
        })
        .collect();
    let vectors = class_embeddings(embedder, nouns, &prompts, |_| Ok(()))?;
    Ok(vectors.to_vec2::<f32>()?)
}

/// Unit vectors of pictures.
///
/// # Errors
/// The embedder fails.
pub fn picture_vectors(embedder: &Embedder, images: &[RgbImage]) -> Result<Vec<Vec<f32>>, String> {
    let vectors = embedder
        .embed_images(images)
        .map_err(|error| error.to_string())?;
    vectors.to_vec2::<f32>().map_err(|error| error.to_string())
}
