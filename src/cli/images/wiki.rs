//! `novic images wiki`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use serde_json::json;

use crate::annotate::collect::CollectError;
use crate::annotate::collect::wiki::{
    MANIFEST, Outlook, Progress, WallClock, WikiOptions, WikiReport, collect,
};
use crate::cli::bar::Bar;
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::net;
use crate::nouns::Vocabulary;
use crate::runner::Interrupt;

/// Name of the journal in the folder.
const JOURNAL: &str = "journal.jsonl";

/// Collect lead pictures of Wikipedia's pages for nouns
///
/// Searches a page for every noun, and stores the lead picture of every page as
/// a JPEG of at most 800,000 pixels, beside a manifest with its page, address,
/// licence and author. The service is asked politely: with a contact, pauses,
/// and for as long as it wishes not at all. The same command goes on where a
/// stopped one was.
///
///   novic images wiki --nouns nouns.txt --contact me@example.org pictures
///   novic images wiki --vocab embedded --threshold 8 --licence CC0 --licence 'CC BY' \
///       --contact https://example.org/me --max-images 500 pictures
///   novic images wiki --nouns nouns.txt pictures --dry-run
///
/// Exit codes: 3 some nouns or pages had no answer in the end, 130 Ctrl-C.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct WikiArgs {
    /// Folder for the pictures
    #[arg(value_name = "OUT")]
    out: PathBuf,
    /// File with one noun per line
    #[arg(long, value_name = "FILE", required_unless_present = "vocab")]
    nouns: Option<PathBuf>,
    /// Noun dictionary, or `embedded`
    #[arg(long, value_name = "FILE", conflicts_with = "nouns")]
    vocab: Option<PathBuf>,
    /// Only nouns of the dictionary above this frequency
    #[arg(long, value_name = "N", default_value_t = 0)]
    threshold: i64,
    /// E-mail or web address that the service finds in every request; else
    /// NOVIC_CONTACT of the environment
    #[arg(long, value_name = "ADDRESS")]
    contact: Option<String>,
    /// Language of the Wikipedia
    #[arg(long, value_name = "CODE", default_value = "en")]
    language: String,
    /// Project of the Wikimedia movement, such as wikivoyage
    #[arg(long, value_name = "NAME", default_value = "wikipedia")]
    project: String,
    /// Address of another MediaWiki's api.php
    #[arg(long, value_name = "URL")]
    api_url: Option<String>,
    /// Pictures to have in the end
    #[arg(long, value_name = "N")]
    max_images: Option<usize>,
    /// Take only pictures whose licence begins with this
    #[arg(long, value_name = "NAME")]
    licence: Vec<String>,
    /// Seed of the order of the pages
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Take the pages in the order of the nouns
    #[arg(long)]
    no_shuffle: bool,
    /// Files fetched at the same time
    #[arg(long, value_name = "N", default_value_t = 2)]
    parallel: usize,
    /// Pause before each query
    #[arg(long, value_name = "S", default_value_t = 0.1)]
    pause: f64,
    /// Pause after a failed query, doubled from failure to failure
    #[arg(long, value_name = "S", default_value_t = 1.0)]
    backoff_base: f64,
    /// Pause after a failed download
    #[arg(long, value_name = "S", default_value_t = 10.0)]
    download_pause: f64,
    /// Say how far it is and what it would take, and ask nobody
    #[arg(long)]
    dry_run: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic images wiki`.
pub(super) fn wiki(args: &WikiArgs) -> Result<Exit, CliError> {
    let nouns = nouns(args)?;
    let journal = args.out.join(JOURNAL);
    if args.dry_run {
        return outlook(args, &nouns, &journal);
    }
    let options = options(args)?;
    let interrupt = Interrupt::of_signals().map_err(CliError::failed)?;
    let stop = || interrupt.is_raised();
    let clock = WallClock { stop: &stop };
    let mut bar = Bar::new("");
    let report = collect(
        &nouns,
        &options,
        &args.out,
        &journal,
        (&clock, &stop),
        &mut bar,
    );
    bar.clear();
    let report = report.map_err(|error| failed(&error))?;
    if args.json {
        print(&format!("{:#}\n", json!(report)))?;
    } else {
        print(&summary(args, &report))?;
    }
    Ok(match report.failed {
        0 => Exit::Success,
        _ => Exit::SomeInputsFailed,
    })
}

fn failed(error: &CollectError) -> CliError {
    let exit = match error {
        CollectError::Interrupted => Exit::Interrupted,
        CollectError::Client(_) => Exit::Usage,
        _ => Exit::Failed,
    };
    CliError::from_error(exit, error)
}

fn nouns(args: &WikiArgs) -> Result<Vec<String>, CliError> {
    let nouns: Vec<String> = match (&args.nouns, &args.vocab) {
        (Some(file), _) => std::fs::read_to_string(file)
            .map_err(|error| {
                CliError::usage(format!("failed to read {}: {error}", file.display()))
            })?
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty() && !line.starts_with('#'))
            .map(str::to_owned)
            .collect(),
        (None, Some(file)) => Vocabulary::load(file, args.threshold)
            .map_err(|error| CliError::from_error(Exit::Usage, &error))?
            .targets()
            .map(str::to_owned)
            .collect(),
        (None, None) => Vec::new(),
    };
    let mut seen = std::collections::HashSet::new();
    let nouns: Vec<String> = nouns
        .into_iter()
        .filter(|noun| seen.insert(noun.clone()))
        .collect();
    if nouns.is_empty() {
        return Err(CliError::usage(
            "there are no nouns: name a file with one per line",
        ));
    }
    Ok(nouns)
}

fn options(args: &WikiArgs) -> Result<WikiOptions, CliError> {
    let api = match &args.api_url {
        Some(address) => address.clone(),
        None => net::wikipedia(&args.language, &args.project).ok_or_else(|| {
            CliError::usage(format!(
                "{:?} and {:?}: name a language by a code such as en, and a project such as \
                 wikipedia",
                args.language, args.project
            ))
        })?,
    };
    let contact = args
        .contact
        .clone()
        .or_else(|| std::env::var("NOVIC_CONTACT").ok())
        .unwrap_or_default();
    if contact.is_empty() && args.api_url.is_none() {
        return Err(CliError::usage(
            "Wikipedia wants to know whom to write to: give --contact with an e-mail or web address",
        ));
    }
    let seconds = |name: &str, value: f64| {
        Duration::try_from_secs_f64(value).map_err(|_| {
            CliError::usage(format!(
                "--{name} {value}: give a number of seconds, 0 or more"
            ))
        })
    };
    Ok(WikiOptions {
        shuffle: (!args.no_shuffle).then_some(args.seed),
        max_images: args.max_images,
        licences: args.licence.clone(),
        parallel: args.parallel.clamp(1, 8),
        pause: seconds("pause", args.pause)?,
        backoff: seconds("backoff-base", args.backoff_base)?,
        download_pause: seconds("download-pause", args.download_pause)?,
        ..WikiOptions::polite(api, &contact)
    })
}

fn outlook(args: &WikiArgs, nouns: &[String], journal: &Path) -> Result<Exit, CliError> {
    let outlook = Outlook::of(nouns, &args.out, journal).map_err(|error| failed(&error))?;
    let (least, most) = outlook.requests();
    if args.json {
        let mut value = json!(outlook);
        value["requests"] = json!([least, most]);
        return print(&format!("{value:#}\n"));
    }
    print(&format!(
        "{} of {} nouns searched, {} of {} pages done, {} pictures\n\
         {least} to {most} requests to come\n",
        outlook.searched, outlook.nouns, outlook.pages_done, outlook.pages, outlook.images
    ))
}

fn summary(args: &WikiArgs, report: &WikiReport) -> String {
    let mut text = format!(
        "{} pictures; {} of {} nouns have a page, {} different pages, {} passed over\n",
        report.images, report.nouns_with_page, report.nouns, report.pages, report.passed_over
    );
    if report.failed > 0 {
        text.push_str(&format!(
            "{} nouns and pages had no answer; the same command tries them again\n",
            report.failed
        ));
    }
    text.push_str(&format!("{}\n", args.out.join(MANIFEST).display()));
    text
}

impl Progress for Bar {
    fn reach(&mut self, what: &'static str, done: usize, total: usize) {
        self.show(done as u64, total as u64, || what.to_owned());
    }

    fn note(&mut self, line: &str) {
        Bar::note(self, line);
    }
}
