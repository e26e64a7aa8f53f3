//! `novic annotate gpt run`: asks until nothing is open.

use std::fmt::Write as _;
use std::sync::Arc;

use clap::{Args, ValueEnum};
use serde_json::json;

use super::estimate::{Wanted, print_estimate};
use super::questions::{LogArgs, QuestionArgs, Settings};
use super::turn::open_in_turn;
use super::{failed, format};
use crate::annotate::gpt::{
    Asking, Ledger, Line, Outcome, Pace, Progress, Undone, ask_in_batches, ask_singly, resolve,
};
use crate::cli::bar::Bar;
use crate::cli::llm::{heard, llm_error};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::config::schema::AnnotateMode;
use crate::net::llm::{LlmClient, LlmError};
use crate::runner::Interrupt;

/// Ask until every pair has its opinions
///
/// Asks any OpenAI-compatible service, one by one or in batches. Every answer is
/// in the journal beside the state file before it counts, so that nothing is
/// paid for twice, whatever happens; the same command goes on. The key is taken
/// from the environment only. Limits of the budget hold for all that was ever
/// spent on the state.
///
///   novic annotate gpt run world.json --predictions outputs/run1 --dry-run
///   novic annotate gpt run world.json --predictions outputs/run1 --max-cost 5
///   novic annotate gpt run world.json --predictions p.json --base-url http://localhost:8000/v1 --api-key-env none
///
/// Exit codes: 3 some pairs were given up, 4 the key, 5 the quota, 6 the budget,
/// 130 Ctrl-C.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct RunArgs {
    #[command(flatten)]
    questions: QuestionArgs,
    #[command(flatten)]
    log: LogArgs,
    /// One by one, or in batches [default: auto: in batches if there are many questions]
    #[arg(long, value_enum)]
    mode: Option<Mode>,
    /// Ask again about pairs that were given up
    #[arg(long)]
    retry_failed: bool,
    /// Go on with another prompt than before
    #[arg(long)]
    allow_prompt_change: bool,
    /// Say what it would take, and ask nobody
    #[arg(long)]
    dry_run: bool,
    /// With --dry-run: print the first requests as they would be sent
    #[arg(long, value_name = "N")]
    show: Option<usize>,
    /// Version of the state file that is written [default: as it is]
    #[arg(long, value_name = "1|2", value_parser = clap::value_parser!(u8).range(1..=2))]
    state_format: Option<u8>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    Auto,
    Single,
    Batch,
}

/// Runs `novic annotate gpt run`.
pub(super) fn run(args: &RunArgs) -> Result<Exit, CliError> {
    let settings = args.questions.settings()?;
    if args.dry_run || settings.config.dry_run {
        let wanted = Wanted {
            show: args.show,
            write_jsonl: None,
            as_json: args.json,
        };
        return print_estimate(&args.questions, &settings, &wanted);
    }
    if args.show.is_some() {
        return Err(CliError::usage("--show needs --dry-run"));
    }
    let interrupt = Interrupt::of_signals().map_err(|error| CliError::failed(error.to_string()))?;
    // Before the state is read, so that nobody else changes it.
    let format = format(args.state_format, &settings.config);
    let (mut ledger, undone) = open_in_turn(&args.questions, &settings, format, &interrupt)?;
    if undone.answers > 0 {
        eprintln!(
            "going on from {} answers that a stopped run left",
            undone.answers
        );
    }
    let mut asking = args.questions.asking(&settings, &ledger.state)?;
    asking.log = args.log.open(&settings)?;
    let may_change = args.allow_prompt_change || settings.config.allow_prompt_change;
    same_prompt(may_change, &asking, &mut ledger)?;
    if args.retry_failed || settings.config.retry_failed {
        ledger.take(&Line::Retry).map_err(failed)?;
    }
    asking.settle_empty_nouns(&mut ledger).map_err(failed)?;
    let stop = interrupt.clone();
    let client = settings.llm.client(
        &ledger.state.meta.model,
        settings.spent(&ledger.state),
        move || stop.is_raised(),
    )?;
    let known = ledger.state.asked.known(&client.address());
    let is_known = known.is_some();
    let client = match known {
        Some(known) => client.with_known(known),
        None => client,
    };
    let mut session = Session {
        client: Arc::new(client),
        is_known,
        asking,
        settings: &settings,
        interrupt,
        bar: Shown::new(),
    };
    resolve(&session.client, &mut ledger, &undone).map_err(failed)?;
    let mode = args.mode.unwrap_or(match settings.config.mode {
        AnnotateMode::Auto => Mode::Auto,
        AnnotateMode::Single => Mode::Single,
        AnnotateMode::Batch => Mode::Batch,
    });
    let (mut ledger, outcome) = session.ask(ledger, mode, &undone)?;
    session.bar.clear();
    ledger.state.asked.remember(&session.client);
    ledger.state.prices = settings
        .price(&ledger.state.meta.model)
        .map(|price| [price.input, price.cached_input, price.output]);
    ledger.save().map_err(failed)?;
    tell(args, &session, &ledger, &outcome)
}

/// Whether the model is told the same as before.
fn same_prompt(may_change: bool, asking: &Asking, ledger: &mut Ledger) -> Result<(), CliError> {
    let prompt = &asking.questioning.prompt;
    let (id, hash) = (prompt.id.clone(), prompt.sha256());
    let has_opinions = ledger.state.opinions() > 0;
    let asked = &mut ledger.state.asked;
    let other = asked
        .prompt_sha256
        .as_ref()
        .is_some_and(|known| *known != hash);
    if other && has_opinions && !may_change {
        return Err(CliError::usage(format!(
            "the opinions so far were asked for with the prompt {:?} and another text; name it, or \
             mix them with --allow-prompt-change",
            asked.prompt_id.as_deref().unwrap_or("unknown")
        )));
    }
    asked.prompt_id = Some(id);
    asked.prompt_sha256 = Some(hash);
    Ok(())
}

/// One run.
struct Session<'a> {
    client: Arc<LlmClient>,
    /// Whether it is known how the service wants its requests.
    is_known: bool,
    asking: Asking,
    settings: &'a Settings,
    interrupt: Interrupt,
    bar: Shown,
}

impl Session<'_> {
    fn ask(
        &mut self,
        mut ledger: Ledger,
        mode: Mode,
        undone: &Undone,
    ) -> Result<(Ledger, Outcome), CliError> {
        if !self.in_batches(&ledger, mode)? {
            return self.singly(ledger);
        }
        if !self.is_known && self.settings.llm.chooses_form() {
            // One question tells how the service wants them.
            self.asking.most = Some(1);
            let (probed, outcome) = self.singly_or_pending(ledger)?;
            self.asking.most = None;
            ledger = probed;
            ledger.state.asked.remember(&self.client);
            if !matches!(outcome, Outcome::Finished) {
                return Ok((ledger, outcome));
            }
        }
        ledger.state.asked.mode = Some("batch".to_owned());
        let bar = &mut self.bar;
        let outcome = ask_in_batches(
            &self.client,
            &self.asking,
            self.settings.batching(&ledger.state.meta.model),
            &mut ledger,
            undone,
            &mut |progress| bar.show(progress),
        )
        .map_err(failed)?;
        match outcome {
            Outcome::Few => self.singly(ledger),
            outcome => Ok((ledger, outcome)),
        }
    }

    /// Whether questions are asked in batches.
    fn in_batches(&self, ledger: &Ledger, mode: Mode) -> Result<bool, CliError> {
        match mode {
            Mode::Single => return Ok(false),
            Mode::Batch => return Ok(true),
            Mode::Auto => {}
        }
        if !ledger.state.pending.is_empty() {
            return Ok(true);
        }
        let asking = &self.asking;
        let state = &ledger.state;
        let (questions, _) = state.questions_between(&asking.predicted, asking.dealing, 0, 0, 0);
        if questions.len() <= self.settings.limits.few {
            return Ok(false);
        }
        self.client.has_batches().map_err(|error| llm_error(&error))
    }

    fn singly(&mut self, mut ledger: Ledger) -> Result<(Ledger, Outcome), CliError> {
        ledger.state.asked.mode = Some("single".to_owned());
        let interrupt = self.interrupt.clone();
        let bar = &mut self.bar;
        ask_singly(
            self.client.clone(),
            &self.asking,
            ledger,
            || heard(&interrupt),
            |progress| bar.show(progress),
        )
        .map_err(failed)
    }

    /// The same, unless batches are under way: then the form is known.
    fn singly_or_pending(&mut self, ledger: Ledger) -> Result<(Ledger, Outcome), CliError> {
        match ledger.state.pending.is_empty() {
            true => self.singly(ledger),
            false => Ok((ledger, Outcome::Finished)),
        }
    }
}

/// Why a run ended before its time, in words.
fn stopped(outcome: &Outcome) -> Option<String> {
    match outcome {
        Outcome::Stopped(error) => Some(error.to_string()),
        Outcome::Unanswered(failure) => Some(format!(
            "the service does not answer all questions: {failure}"
        )),
        Outcome::FailedBatches(failed) => Some(failed.to_string()),
        Outcome::Finished | Outcome::Few => None,
    }
}

/// What was done, and the exit code.
fn tell(
    args: &RunArgs,
    session: &Session<'_>,
    ledger: &Ledger,
    outcome: &Outcome,
) -> Result<Exit, CliError> {
    let state = &ledger.state;
    let spent = session.client.spent();
    let progress = session.asking.progress(state, spent, None);
    let parked: Vec<_> = state.failures.parked().collect();
    if args.json {
        let parked = parked
            .iter()
            .map(|(image, noun, why)| json!({"image": image, "noun": noun, "why": why}));
        let object = json!({
            "state": ledger.path(),
            "pairs_done": progress.done,
            "pairs_open": progress.open,
            "given_up": parked.collect::<Vec<_>>(),
            "batches_under_way": progress.batches,
            "spent": spent,
            "stopped": stopped(outcome),
        });
        print(&format!("{object:#}\n"))?;
    } else {
        let mut text = format!(
            "{} pairs have their opinions, {} are open, {} given up\n",
            progress.done,
            progress.open,
            parked.len()
        );
        for (image, noun, why) in parked.iter().take(10) {
            let _ = writeln!(
                text,
                "  {image:?}: {noun:?}: {}: {}",
                why.class.words(),
                why.message
            );
        }
        if parked.len() > 10 {
            let _ = writeln!(text, "  … and {} more", parked.len() - 10);
        }
        if progress.batches > 0 {
            let _ = writeln!(text, "{} batches are under way", progress.batches);
        }
        let cost = match session.settings.price(&state.meta.model) {
            Some(_) => format!(", {:.4} USD", spent.cost),
            None => String::new(),
        };
        let _ = writeln!(
            text,
            "{} requests, {} + {} tokens{cost}",
            spent.requests, spent.usage.prompt_tokens, spent.usage.completion_tokens
        );
        print(&text)?;
    }
    match outcome {
        Outcome::Stopped(LlmError::Interrupted) if progress.open == 0 => {}
        Outcome::Stopped(error) => return Err(llm_error(error)),
        Outcome::Unanswered(_) | Outcome::FailedBatches(_) => {
            let why = stopped(outcome).unwrap_or_default();
            return Err(CliError::failed(format!(
                "{why}; {} pairs stay open, the same command goes on",
                progress.open
            )));
        }
        Outcome::Finished | Outcome::Few => {}
    }
    Ok(match parked.is_empty() {
        true => Exit::Success,
        false => Exit::SomeInputsFailed,
    })
}

/// How far it is, and how fast, on terminals.
pub(super) struct Shown {
    bar: Bar,
    pace: Option<Pace>,
}

impl Shown {
    pub(super) fn new() -> Self {
        Self {
            bar: Bar::new("pairs"),
            pace: None,
        }
    }

    pub(super) fn show(&mut self, progress: &Progress) {
        let pace = self.pace.get_or_insert_with(|| Pace::from(progress));
        let all = (progress.done + progress.open) as u64;
        self.bar.show(progress.done as u64, all, || {
            progress.line(pace.outlook(progress).as_ref())
        });
    }

    pub(super) fn clear(&self) {
        self.bar.clear();
    }
}
