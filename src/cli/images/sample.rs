//! `novic images sample`.

use std::fmt::Write as _;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use crate::annotate::collect::{
    CollectError, CopyOptions, MANIFEST, Pull, SampleRequest, Sampled, sample,
};
use crate::cli::embed::EmbedderArgs;
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::runner::Interrupt;
use crate::stages::{general_noun_vectors, picture_vectors};

/// Draw a random sample of a folder's pictures
///
/// Copies the drawn pictures with their times into the new folder OUT, beside a
/// manifest that says how they were drawn. --toward changes the chances: a
/// picture that is like the noun becomes likelier by exp(F · (similarity −
/// mean)). The same seed and the same pictures give the same sample.
///
///   novic images sample photos drawn -n 100
///   novic images sample photos drawn -n 50 --toward 'red panda=5' --toward dog=-3
///   novic images sample photos drawn -n 5 --per-dir --dedupe 0.98 --dry-run
///
/// Exit code 3: some pictures could not be read and were left out.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SampleArgs {
    /// Folder with the pictures
    #[arg(value_name = "IN")]
    input: PathBuf,
    /// New folder for the sample
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// How many pictures
    #[arg(short = 'n', long, default_value_t = 100, value_name = "N")]
    count: usize,
    /// Noun that attracts (positive factor) or repels (negative one)
    #[arg(long, value_name = "NOUN=F", value_parser = toward)]
    toward: Vec<(String, f64)>,
    /// Similarity that counts as unrelated: one, or one per noun
    #[arg(
        long,
        default_value = "0.05",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    mean: Vec<f64>,
    /// Embedder that tells similarities, TYPE:NAME
    #[arg(long, default_value = "openclip:novic/drawings", value_name = "SPEC")]
    embedder: String,
    /// Seed of the draws
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Descend into sub-folders
    #[arg(long)]
    recursive: bool,
    /// Draw that many of every folder that holds pictures
    #[arg(long)]
    per_dir: bool,
    /// Leave out repeated files, and pictures at least so similar to a drawn one
    #[arg(long, value_name = "SIMILARITY", num_args = 0..=1, default_missing_value = "1")]
    dedupe: Option<f64>,
    /// Make hard links in place of copies
    #[arg(long)]
    link: bool,
    /// Say what would be drawn, and write nothing
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    embedders: EmbedderArgs,
}

fn toward(text: &str) -> Result<(String, f64), String> {
    let wrong = || format!("{text:?} is not of the form NOUN=FACTOR, such as 'red panda=5'");
    let (noun, factor) = text.rsplit_once('=').ok_or_else(wrong)?;
    let factor = factor.trim().parse().map_err(|_| wrong())?;
    match noun.trim() {
        "" => Err(wrong()),
        noun => Ok((noun.to_owned(), factor)),
    }
}

/// Runs `novic images sample`.
pub(super) fn sample_images(args: &SampleArgs) -> Result<Exit, CliError> {
    let usage = |error: CollectError| CliError::from_error(Exit::Usage, &error);
    let nouns: Vec<String> = args.toward.iter().map(|(noun, _)| noun.clone()).collect();
    let factors: Vec<f64> = args.toward.iter().map(|(_, factor)| *factor).collect();
    let means = if nouns.is_empty() {
        &[0.0][..]
    } else {
        &args.mean
    };
    let pulls = Pull::list(&nouns, &factors, means).map_err(usage)?;
    let by_vectors = args.dedupe.is_some_and(|threshold| threshold < 1.0);
    let embedder = match pulls.is_empty() && !by_vectors {
        true => None,
        false => Some(args.embedders.open(&args.embedder)?),
    };
    let nouns = match &embedder {
        Some(embedder) if !nouns.is_empty() => general_noun_vectors(embedder, &nouns)
            .map_err(|error| CliError::from_error(Exit::Failed, &error))?,
        _ => Vec::new(),
    };
    let request = SampleRequest {
        input: args.input.clone(),
        count: args.count,
        seed: args.seed,
        pulls,
        nouns,
        recursive: args.recursive || args.per_dir,
        per_folder: args.per_dir,
        dedupe: args.dedupe,
    };
    let interrupt = Interrupt::of_signals().map_err(CliError::failed)?;
    let sampled = sample(
        &request,
        |images| match &embedder {
            Some(embedder) => picture_vectors(embedder, &images),
            None => Err("no embedder is open".to_owned()),
        },
        |_, _| match interrupt.is_raised() {
            true => Err(CollectError::Interrupted),
            false => Ok(()),
        },
    )
    .map_err(|error| failed(&error))?;
    let spec = embedder.as_ref().map(|_| args.embedder.as_str());
    let manifest = if args.dry_run {
        let images = sampled.drawn.iter().enumerate().map(|(rank, drawn)| {
            json!({"rank": rank + 1, "name": drawn.name.to_string_lossy(), "weight": drawn.weight})
        });
        sampled.manifest(&request, spec, images.collect())
    } else {
        let options = CopyOptions { link: args.link };
        sampled
            .copy_to(&request, spec, &args.out, options)
            .map_err(|error| failed(&error))?
    };
    if args.json {
        print(&format!("{manifest:#}\n"))?;
    } else {
        print(&summary(args, &sampled))?;
    }
    for (name, reason) in &sampled.unreadable {
        eprintln!("left out: {}: {reason}", name.display());
    }
    Ok(match sampled.unreadable.len() {
        0 => Exit::Success,
        _ => Exit::SomeInputsFailed,
    })
}

fn failed(error: &CollectError) -> CliError {
    let exit = match error {
        CollectError::Interrupted => Exit::Interrupted,
        CollectError::NotEmpty { .. }
        | CollectError::NoPictures { .. }
        | CollectError::Unreadable { .. } => Exit::Usage,
        _ => Exit::Failed,
    };
    CliError::from_error(exit, error)
}

fn summary(args: &SampleArgs, sampled: &Sampled) -> String {
    let mut text = String::new();
    for drawn in &sampled.drawn {
        let _ = writeln!(text, "{:8.4}  {}", drawn.weight, drawn.name.display());
    }
    let verb = if args.dry_run {
        "would be drawn"
    } else {
        "drawn"
    };
    let _ = write!(
        text,
        "{} of {} pictures {verb}",
        sampled.drawn.len(),
        sampled.weights.len()
    );
    if !sampled.repeated.is_empty() {
        let _ = write!(text, ", {} repeated ones left out", sampled.repeated.len());
    }
    text.push('\n');
    if let (false, Some(weights)) = (args.toward.is_empty(), sampled.distribution().as_object()) {
        for (name, value) in weights {
            let value = value.as_f64().unwrap_or_default();
            let _ = writeln!(text, "  {:>22} {value:.4}", name.replace('_', " "));
        }
    }
    if !args.dry_run {
        let _ = writeln!(text, "{}", args.out.join(MANIFEST).display());
    }
    text
}
