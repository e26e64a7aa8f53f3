//! `novic captions generate`: captions that a language model writes.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;

use crate::cli::bar::Bar;
use crate::cli::llm::{LlmArgs, heard, llm_error};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::nouns::generation::{
    CaptionParser, Estimate, GenerationError, Journal, Outcome, Parked, Progress, Questions,
    Report, Wanted, WorkList, generate as write_captions,
};
use crate::runner::Interrupt;

/// Let a language model write captions for the nouns of a dictionary
///
/// Asks any OpenAI-compatible service until every noun has its captions. The
/// caption file is the result and what the next call goes on from; answers that
/// are not in it yet lie beside it, so that nothing is paid for twice, whatever
/// happens. The key is taken from the environment only.
///
///   novic captions generate --dry-run
///   novic captions generate --out captions.json --max-cost 5
///   novic captions generate --base-url http://localhost:8000/v1 --api-key-env none --model my-model
///
/// Exit codes: 3 some nouns were given up, 4 the key, 5 the quota, 6 the budget,
/// 130 Ctrl-C; the same command goes on.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct GenerateArgs {
    /// Dictionary file, or `embedded`
    #[arg(
        long,
        alias = "vocab-path",
        value_name = "FILE",
        default_value = "data/object_nouns.json"
    )]
    dictionary: PathBuf,
    /// Caption file to write, and to go on from
    #[arg(
        long,
        alias = "caption-path",
        value_name = "FILE",
        default_value = "extras/data/captions_vt1.json"
    )]
    out: PathBuf,
    /// Captions per unit of frequency of a noun, for up to 10
    #[arg(
        long,
        alias = "num-captions-per-freq",
        value_name = "N",
        default_value_t = 10
    )]
    per_frequency: u64,
    /// Captions per request
    #[arg(
        long,
        alias = "num-captions-per-call",
        value_name = "N",
        default_value_t = 10
    )]
    per_call: usize,
    /// Only nouns of this frequency or more
    #[arg(long, alias = "freq-threshold", value_name = "N", default_value_t = 1)]
    frequency: u64,
    /// Write the caption file after every so many nouns
    #[arg(long, alias = "saving-freq", value_name = "N", default_value_t = 100)]
    save_every: u64,
    /// How answers become captions: `novic` does it as the original did
    #[arg(long, value_enum, default_value_t = Parser::Mended)]
    parser: Parser,
    /// Say what it would take, and ask nobody
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: print the first requests as they would be sent
    #[arg(long, value_name = "N", default_value_t = 0, requires = "dry_run")]
    show: usize,
    /// Model to ask
    #[arg(long, default_value = "gpt-3.5-turbo-1106", help_heading = "Service")]
    model: String,
    /// Sampling temperature
    #[arg(
        long,
        value_name = "T",
        default_value_t = 0.8,
        help_heading = "Service"
    )]
    temperature: f64,
    /// Share of the probability that is sampled from
    #[arg(long, value_name = "P", help_heading = "Service")]
    top_p: Option<f64>,
    /// Longest answer in tokens
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1000,
        help_heading = "Service"
    )]
    answer_tokens: u32,
    /// Seed of the sampling, for services that have one
    #[arg(long, value_name = "N", help_heading = "Service")]
    seed: Option<u64>,
    #[command(flatten)]
    llm: LlmArgs,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Parser {
    Mended,
    Novic,
}

/// Runs `novic captions generate`.
pub(super) fn generate(args: &GenerateArgs) -> Result<Exit, CliError> {
    let wanted = Wanted {
        per_frequency: args.per_frequency,
        threshold: args.frequency,
    };
    let questions = Questions {
        per_call: args.per_call.max(1),
        model: args.model.clone(),
        max_tokens: args.answer_tokens.max(1),
        temperature: Some(args.temperature),
        top_p: args.top_p,
        seed: args.seed,
        extra: args.llm.extra_body()?,
    };
    if args.dry_run {
        let list = load(args, wanted)?;
        return estimate(args, &list, &questions);
    }
    make_folder(&args.out)?;
    let parser = match args.parser {
        Parser::Mended => CaptionParser::Mended,
        Parser::Novic => CaptionParser::Original,
    };
    // Before the file is read, so that nobody else changes it.
    let mut journal = Journal::open(&args.out).map_err(|error| failed(&error))?;
    let mut list = load(args, wanted)?;
    let (spent, taken) = journal
        .replay(&mut list, parser)
        .map_err(|error| failed(&error))?;
    if taken > 0 {
        eprintln!("going on from {taken} answers that a stopped run left");
    }
    if list.retired() > 0 {
        eprintln!(
            "{} nouns of {} are not in the dictionary; they stay and are marked",
            list.retired(),
            args.out.display()
        );
    }
    let interrupt = Interrupt::of_signals().map_err(|error| CliError::failed(error.to_string()))?;
    let stop = interrupt.clone();
    let client = args
        .llm
        .client(&args.model, spent, move || stop.is_raised())?;
    let bar = Bar::new("nouns");
    let report = write_captions(
        client,
        questions,
        (parser, args.llm.concurrency(), args.save_every),
        list,
        journal,
        || heard(&interrupt),
        |progress| bar.show(progress.done, progress.nouns, || beside(progress)),
    )
    .map_err(|error| failed(&error))?;
    bar.clear();
    tell(args, &report)
}

fn failed(error: &GenerationError) -> CliError {
    CliError::from_error(Exit::Failed, error)
}

fn load(args: &GenerateArgs, wanted: Wanted) -> Result<WorkList, CliError> {
    WorkList::load(&args.dictionary, &args.out, wanted).map_err(|error| failed(&error))
}

fn make_folder(out: &Path) -> Result<(), CliError> {
    match out.parent() {
        Some(folder) if folder != Path::new("") => std::fs::create_dir_all(folder)
            .map_err(|e| CliError::failed(format!("failed to make {}: {e}", folder.display()))),
        _ => Ok(()),
    }
}

fn estimate(args: &GenerateArgs, list: &WorkList, questions: &Questions) -> Result<Exit, CliError> {
    let estimate = Estimate::new(list, questions, args.llm.price(&args.model));
    let form = args.llm.first_form();
    let requests: Vec<_> = list
        .open()
        .filter_map(|(_, work)| work.question(questions.per_call))
        .take(args.show)
        .map(|question| questions.request(&question).preview(form))
        .collect();
    if args.json {
        return print(&format!(
            "{:#}\n",
            json!({"estimate": estimate, "requests": requests})
        ));
    }
    let mut text = String::new();
    for request in &requests {
        let _ = writeln!(text, "{request:#}");
    }
    let [singular, plural] = estimate.captions;
    let _ = writeln!(
        text,
        "{} of {} nouns need captions: {singular} singular and {plural} plural ones",
        estimate.nouns,
        list.len()
    );
    let between = |least: u64, most: u64| format!("{least} to {most}");
    for (what, range) in [
        ("requests", &estimate.requests),
        ("tokens of requests", &estimate.prompt_tokens),
        ("tokens of answers", &estimate.completion_tokens),
    ] {
        let _ = writeln!(text, "  {:>28} {what}", between(range.least, range.most));
    }
    let _ = match &estimate.cost {
        Some(cost) => writeln!(
            text,
            "  {:>28} USD for {}",
            format!("{:.2} to {:.2}", cost.least, cost.most),
            args.model
        ),
        None => writeln!(
            text,
            "  the prices of {} are not known; give them with --price INPUT,OUTPUT",
            args.model
        ),
    };
    text.push_str(
        "from every caption being useful to every second one, answers as long as allowed\n",
    );
    print(&text)
}

/// What was done, and the exit code.
fn tell(args: &GenerateArgs, report: &Report) -> Result<Exit, CliError> {
    let mut parked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (noun, why, _) in &report.parked {
        parked.entry(reason(*why)).or_default().push(noun);
    }
    if args.json {
        print(&format!(
            "{:#}\n",
            json!({
                "file": args.out,
                "nouns_completed": report.completed,
                "captions_requested": report.requested,
                "lines": report.lines,
                "given_up": parked,
                "spent": report.spent,
                "stopped": match &report.outcome {
                    Outcome::Finished => None,
                    Outcome::Stopped(error) => Some(error.to_string()),
                },
            })
        ))?;
    } else {
        print(&summary(args, report, &parked))?;
    }
    match &report.outcome {
        Outcome::Stopped(error) => Err(llm_error(error)),
        Outcome::Finished if report.parked.is_empty() => Ok(Exit::Success),
        Outcome::Finished => Ok(Exit::SomeInputsFailed),
    }
}

fn summary(args: &GenerateArgs, report: &Report, parked: &BTreeMap<&str, Vec<&str>>) -> String {
    let lines = &report.lines;
    let spent = &report.spent;
    let mut text = format!(
        "{} nouns complete; {} captions accepted of {} asked for\n",
        report.completed, lines.accepted, report.requested
    );
    for (count, what) in [
        (lines.duplicate, "lines known already"),
        (lines.unmatched, "lines without the noun"),
        (lines.mixed, "lines with the noun in both numbers"),
        (lines.short, "lines too short"),
        (lines.braces, "lines with braces"),
        (lines.bad, "lines that are no list"),
    ] {
        if count > 0 {
            let _ = writeln!(text, "  {count:>8} {what}");
        }
    }
    for (why, nouns) in parked {
        let _ = writeln!(text, "  {:>8} nouns {why}: {}", nouns.len(), names(nouns));
    }
    if let Some((noun, _, Some(message))) = report.parked.iter().find(|(_, _, m)| m.is_some()) {
        let _ = writeln!(text, "           {noun}: {message}");
    }
    let cost = match args.llm.price(&args.model) {
        Some(_) => format!(", {:.4} USD", spent.cost),
        None => String::new(),
    };
    let _ = writeln!(
        text,
        "{} requests, {} answers, {} + {} tokens{cost}",
        spent.requests, spent.answers, spent.usage.prompt_tokens, spent.usage.completion_tokens
    );
    text
}

/// The first names of a list.
fn names(nouns: &[&str]) -> String {
    const SHOWN: usize = 5;
    let mut text = nouns[..nouns.len().min(SHOWN)].join(", ");
    if nouns.len() > SHOWN {
        let _ = write!(text, " … and {} more", nouns.len() - SHOWN);
    }
    text
}

fn reason(why: Parked) -> &'static str {
    match why {
        Parked::Fruitless => "given up after several answers without a new caption",
        Parked::Refused => "refused by the model",
        Parked::Failed => "without an answer",
    }
}

/// What is shown beside the bar.
fn beside(progress: &Progress) -> String {
    let spent = &progress.spent;
    match &progress.waits {
        Some(waits) => waits.clone(),
        None => format!(
            "{} · {} captions, {} known · {} answers · {:.2} USD · saved at {}",
            progress.noun,
            progress.accepted,
            progress.duplicates,
            spent.answers,
            spent.cost,
            progress.saved
        ),
    }
}
