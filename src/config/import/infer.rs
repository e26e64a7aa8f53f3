//! `infer.py --checkpoint … --images …`.

use std::fs;

use clap::Parser;

use super::draft::Draft;
use super::script::Command;
use crate::config::problem::Problem;
use crate::config::schema::Action;

/// Largest file of guide nouns that is read.
const MAX_NOUNS_BYTES: u64 = 16 << 20;

/// The options of the script.
#[derive(Debug, Parser)]
#[command(name = "infer.py", no_binary_name = true, rename_all = "snake_case")]
#[command(disable_help_flag = true)]
struct Options {
    #[arg(long)]
    checkpoint: String,
    #[arg(long, num_args = 1.., required = true)]
    images: Vec<String>,
    #[arg(long, default_value = ".")]
    image_dir: String,
    #[arg(long, default_value = "beam_k10_vnone_gp_t1_a0")]
    gencfg: String,
    #[arg(long, num_args = 1.., conflicts_with = "guide_targets_file")]
    guide_targets: Vec<String>,
    #[arg(long)]
    guide_targets_file: Option<String>,
    #[arg(long)]
    torch_compile: bool,
    #[arg(long, default_value_t = 128)]
    batch_size: usize,
    #[arg(long, default_value = "cuda")]
    device: String,
    #[arg(long)]
    no_tf32: bool,
}

/// The stage that a command line describes.
pub(super) fn draft(command: &Command, problems: &mut Vec<Problem>) -> Option<Draft> {
    let options = match Options::try_parse_from(&command.arguments) {
        Ok(options) => options,
        Err(error) => {
            let text = error.to_string();
            let reason = text
                .lines()
                .map(str::trim)
                .take_while(|line| !line.is_empty());
            let reason = reason.collect::<Vec<_>>().join(" ");
            let reason = reason.trim_start_matches("error: ");
            problems.push(Problem::error(format!("infer.py: {reason}")));
            return None;
        }
    };
    let mut draft = Draft::new(command.text.clone(), Action::Infer);
    let guide = guide_nouns(&options, problems)?;
    draft.set("checkpoint.load", options.checkpoint);
    draft.set("infer.images", options.images);
    draft.set("infer.image_dir", options.image_dir);
    draft.set("generate.config", options.gencfg);
    draft.set("run.device", options.device);
    if !guide.is_empty() {
        draft.set("infer.guide_targets", guide);
    }
    if options.no_tf32 {
        draft.set("run.tf32", false);
    }
    if options.torch_compile {
        draft
            .notes
            .push("--torch_compile has no effect here".to_owned());
    }
    if options.batch_size > 0 {
        draft.set("embedder.batch_image", options.batch_size);
    } else {
        draft
            .notes
            .push("--batch_size 0: batches have their default size".to_owned());
    }
    draft.notes.push(
        "the checkpoint knows its embedder; embedder.spec names the one whose files must be there"
            .to_owned(),
    );
    draft
        .notes
        .push("without an experiment: novic infer --checkpoint FILE PICTURE…".to_owned());
    Some(draft)
}

/// Guide nouns of the command line or of the file that it names: one a line,
/// blanks around them and empty lines dropped.
fn guide_nouns(options: &Options, problems: &mut Vec<Problem>) -> Option<Vec<String>> {
    let Some(file) = &options.guide_targets_file else {
        return Some(options.guide_targets.clone());
    };
    let text = fs::metadata(file).and_then(|data| {
        if data.len() > MAX_NOUNS_BYTES {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        fs::read_to_string(file)
    });
    match text {
        Ok(text) => {
            let nouns = text.lines().map(str::trim).filter(|noun| !noun.is_empty());
            Some(nouns.map(str::to_owned).collect())
        }
        Err(error) => {
            let problem = Problem::error(format!("cannot read {file}: {error}"));
            problems
                .push(problem.help("--guide_targets_file is read now, for infer.guide_targets"));
            None
        }
    }
}
