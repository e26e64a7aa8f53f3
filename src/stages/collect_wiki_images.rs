//! `collect_wiki_images`: lead pictures of Wikipedia's pages for the nouns of
//! the dictionary (`annotation.md` section 14).

use std::path::Path;

use serde_json::json;

use super::inputs;
use super::keys::{NOUNS, keys};
use crate::annotate::collect::CollectError;
use crate::annotate::collect::wiki::{Progress, WallClock, WikiOptions, collect};
use crate::net;
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// The stage kind.
#[derive(Debug)]
pub(super) struct CollectWikiImages;

impl StageKind for CollectWikiImages {
    fn name(&self) -> &'static str {
        "collect_wiki_images"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![NOUNS, &["wiki"]]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        Ok(vec![inputs::dictionary(query)?])
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let config = context.config();
        let options = options(context)?;
        let threshold = config.nouns.vocab_threshold;
        let vocabulary = inputs::open_vocabulary(context.project(), &config.nouns, threshold)?;
        let nouns: Vec<String> = vocabulary.targets().map(str::to_owned).collect();
        let stop = || context.is_interrupted();
        let clock = WallClock { stop: &stop };
        // Beside the output, so that what a stopped run has is found again.
        let journal = context.work().join("journal.jsonl");
        let folder = context.out();
        let mut told = Told { context };
        let report = collect(
            &nouns,
            &options,
            folder,
            &journal,
            (&clock, &stop),
            &mut told,
        );
        let report = match report {
            Err(CollectError::Interrupted) => return Err(StageError::Interrupted),
            other => other?,
        };
        let parent = inputs::path(context.project(), &config.wiki.output_dir);
        let stamp = jiff::Zoned::now().strftime("%Y%m%d_%H%M%S").to_string();
        let place = parent.join(format!("{}-{stamp}", context.run_id()));
        take_away(folder, &place)?;
        let summary = format!(
            "{} images for {} of {} nouns to {}",
            report.images,
            report.nouns_with_page,
            report.nouns,
            place.display()
        );
        context.note(&summary);
        let failed = report.failed;
        Ok(StageOutput {
            results: json!({ "summary": summary, "images": report.images, "report": report }),
            parked: (failed > 0).then(|| format!("{failed} nouns and pages without an answer")),
        })
    }
}

fn options(context: &StageContext<'_>) -> Result<WikiOptions, StageError> {
    let config = &context.config().wiki;
    let api = match config.api_url.as_str() {
        "" => net::wikipedia(&config.language, &config.project).ok_or_else(|| {
            StageError::failed(format!(
                "{:?} and {:?}: set wiki.language to a code such as en, and wiki.project to a name \
                 such as wikipedia",
                config.language, config.project
            ))
        })?,
        address => address.to_owned(),
    };
    if config.contact.is_empty() && config.api_url.is_empty() {
        return Err(StageError::failed(
            "the service wants to know whom to write to: set wiki.contact to an e-mail or web address",
        ));
    }
    Ok(WikiOptions {
        max_images: (config.max_images > 0).then_some(config.max_images),
        licences: config.licences.clone(),
        shuffle: Some(context.seed()),
        ..WikiOptions::polite(api, &config.contact)
    })
}

/// Progress of the stage.
struct Told<'a> {
    context: &'a StageContext<'a>,
}

impl Progress for Told<'_> {
    fn reach(&mut self, what: &'static str, done: usize, total: usize) {
        if done == 0 {
            self.context.begin(what, 0, Some(total as u64));
        }
        self.context.reach(done as u64);
    }

    fn note(&mut self, line: &str) {
        self.context.warn(line);
    }
}

/// Puts the pictures where people look for them; they are shared with the
/// store if both are on one file system.
fn take_away(from: &Path, to: &Path) -> Result<(), StageError> {
    let failed = |path: &Path, error: std::io::Error| {
        StageError::failed(format!("failed to copy {}: {error}", path.display()))
    };
    std::fs::create_dir_all(to).map_err(|error| failed(to, error))?;
    for entry in std::fs::read_dir(from).map_err(|error| failed(from, error))? {
        let path = entry.map_err(|error| failed(from, error))?.path();
        let target = to.join(path.file_name().unwrap_or_default());
        if path.is_file() && std::fs::hard_link(&path, &target).is_err() {
            std::fs::copy(&path, &target).map_err(|error| failed(&path, error))?;
        }
    }
    Ok(())
}
