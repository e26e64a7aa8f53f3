//! A run as lines of text, for logs and files: one line per stage with its
//! time, and a line about a running stage once in a while.

use std::io::Write;
use std::time::{Duration, Instant};

use crate::tracking::{Level, StageOutcome};

use super::display::{Display, StageReport};
use super::format::{about, count_text, rate_text, time_text};
use super::plan::{Plan, Step};
use super::progress::ProgressView;
use super::show::expected_text;
use super::summary::{RunSummary, StepResult};

/// Up-to-date stages are listed one by one up to this many.
const LISTED: usize = 30;

/// Whether and how text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ink {
    /// Plain text.
    Plain,
    /// ANSI escape codes.
    Colour,
}

impl Ink {
    pub(super) fn bold(self, code: u8, text: &str) -> String {
        match self {
            Ink::Plain => text.to_owned(),
            Ink::Colour => format!("\x1b[1;{code}m{text}\x1b[0m"),
        }
    }
}

/// A word in the left column, right-aligned.
pub(super) fn tag(ink: Ink, code: u8, word: &str) -> String {
    let padded = format!("{word:>12}");
    let blank = padded.len() - padded.trim_start().len();
    format!("{}{}", &padded[..blank], ink.bold(code, word))
}

const GREEN: u8 = 32;
const RED: u8 = 31;
const YELLOW: u8 = 33;
const CYAN: u8 = 36;

fn outcome_tag(ink: Ink, outcome: StageOutcome) -> String {
    let (code, word) = match outcome {
        StageOutcome::Done => (GREEN, "DONE"),
        StageOutcome::UpToDate => (CYAN, "UP TO DATE"),
        StageOutcome::Failed => (RED, "FAILED"),
        StageOutcome::Interrupted => (YELLOW, "STOPPED"),
        StageOutcome::Blocked => (RED, "BLOCKED"),
        StageOutcome::Skipped => (YELLOW, "SKIPPED"),
    };
    tag(ink, code, word)
}

/// Under the text of the lines, where messages go.
fn indented(message: &str) -> String {
    message
        .lines()
        .map(|line| format!("\n{:26}{line}", ""))
        .collect()
}

/// `DONE [ 12.3s] train`, with a message below.
pub(super) fn finished_text(ink: Ink, report: &StageReport) -> String {
    let message = report.message.as_deref().map(indented).unwrap_or_default();
    let time = match report.outcome {
        StageOutcome::UpToDate | StageOutcome::Blocked | StageOutcome::Skipped => String::new(),
        _ => time_text(report.time),
    };
    format!(
        "{} [{time:>8}] {}{message}",
        outcome_tag(ink, report.outcome),
        report.name
    )
}

/// The line of a result that is known after the run; in colour unless
/// `NO_COLOR` is set, if it is for a terminal.
pub fn result_text(result: &StepResult, terminal: bool) -> String {
    let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let ink = if terminal && !plain {
        Ink::Colour
    } else {
        Ink::Plain
    };
    let report = StageReport {
        name: result.name.clone(),
        outcome: result.outcome,
        time: Duration::try_from_secs_f64(result.seconds).unwrap_or_default(),
        message: result.message.clone(),
    };
    finished_text(ink, &report)
}

pub(super) fn started_text(ink: Ink, step: &Step, resumed: bool) -> String {
    let word = if resumed { "RESUME" } else { "START" };
    let expected = expected_text(step)
        .map(|time| format!(" ({time})"))
        .unwrap_or_default();
    format!(
        "{} [{:8}] {}{expected}",
        tag(ink, CYAN, word),
        "",
        step.name
    )
}

pub(super) fn waits_text(ink: Ink, step: &Step, holder: &str) -> String {
    format!(
        "{} [{:8}] {}: {holder} is making it",
        tag(ink, YELLOW, "WAIT"),
        "",
        step.name
    )
}

pub(super) fn line_text(ink: Ink, stage: Option<&str>, level: Level, text: &str) -> String {
    let (code, word) = match level {
        Level::Error => (RED, "error"),
        Level::Warn => (YELLOW, "warning"),
        Level::Info | Level::Debug => (CYAN, "note"),
    };
    let stage = stage.map(|stage| format!("{stage}: ")).unwrap_or_default();
    format!("{} {stage}{text}", tag(ink, code, word))
}

/// `12,000/50,000 samples (24 %), 1,234/s, about 31s left, loss=0.5`.
pub fn progress_text(progress: &ProgressView) -> String {
    let mut text = match progress.total {
        Some(total) if total > 0 => format!(
            "{}/{} {} ({} %)",
            count_text(progress.done),
            count_text(total),
            progress.unit,
            progress.done.min(total).saturating_mul(100) / total
        ),
        _ => format!("{} {}", count_text(progress.done), progress.unit),
    };
    if let Some(rate) = progress.rate {
        text.push_str(&format!(", {}", rate_text(rate)));
    }
    if let Some(left) = progress.left {
        text.push_str(&format!(", {} left", about(left)));
    }
    if !progress.message.is_empty() {
        text.push_str(&format!(", {}", progress.message));
    }
    text
}

/// The last lines: the counts, and once more what failed.
pub(super) fn summary_text(ink: Ink, summary: &RunSummary) -> String {
    let all = summary.steps.len();
    if summary.count(StageOutcome::UpToDate) == all {
        let stages = if all == 1 { "stage" } else { "stages" };
        return format!(
            "{} {all} {stages}, nothing to do",
            tag(ink, GREEN, "UP TO DATE")
        );
    }
    let time = time_text(Duration::try_from_secs_f64(summary.seconds).unwrap_or_default());
    let mut text = format!(
        "{} [{time:>8}] {}",
        tag(ink, GREEN, "Summary"),
        summary.counts()
    );
    for step in &summary.steps {
        if matches!(step.outcome, StageOutcome::Failed | StageOutcome::Blocked) {
            let time = Duration::try_from_secs_f64(step.seconds).unwrap_or_default();
            let report = StageReport {
                name: step.name.clone(),
                outcome: step.outcome,
                time,
                message: step.message.clone(),
            };
            text.push('\n');
            text.push_str(&finished_text(ink, &report));
        }
    }
    if summary.interrupted {
        text.push_str(&format!(
            "\n{:13}the same command goes on where this one stopped",
            ""
        ));
    }
    text
}

/// The first line.
pub(super) fn begin_text(ink: Ink, plan: &Plan) -> String {
    let title = if plan.title().is_empty() {
        String::new()
    } else {
        format!(": {}", plan.title())
    };
    format!(
        "{} {}{title}",
        tag(ink, GREEN, "Running"),
        plan.experiment()
    )
}

/// Whether up-to-date stages are worth a line each.
pub(super) fn lists_up_to_date(plan: &Plan) -> bool {
    !plan.is_up_to_date()
        && plan
            .steps()
            .iter()
            .filter(|step| step.is_up_to_date())
            .count()
            <= LISTED
}

/// Shows a run line by line.
pub struct LineDisplay<W> {
    out: W,
    every: Duration,
    spoke: Instant,
    list_up_to_date: bool,
}

impl<W: Write + Send> LineDisplay<W> {
    /// Writes to `out`, about a running stage once in `every`.
    pub fn new(out: W, every: Duration) -> LineDisplay<W> {
        LineDisplay {
            out,
            every,
            spoke: Instant::now(),
            list_up_to_date: true,
        }
    }

    fn say(&mut self, text: &str) {
        self.spoke = Instant::now();
        // Nobody reads any more; the work goes on.
        let _ = writeln!(self.out, "{text}").and_then(|()| self.out.flush());
    }
}

impl<W: Write + Send> Display for LineDisplay<W> {
    fn begin(&mut self, plan: &Plan) {
        self.list_up_to_date = lists_up_to_date(plan);
        self.say(&begin_text(Ink::Plain, plan));
    }

    fn stage_started(&mut self, step: &Step, resumed: bool) {
        self.say(&started_text(Ink::Plain, step, resumed));
    }

    fn stage_waits(&mut self, step: &Step, holder: &str) {
        self.say(&waits_text(Ink::Plain, step, holder));
    }

    fn stage_progress(&mut self, stage: &str, progress: &ProgressView) {
        if self.spoke.elapsed() >= self.every {
            self.say(&format!("{:23}{stage}: {}", "", progress_text(progress)));
        }
    }

    fn stage_finished(&mut self, report: &StageReport) {
        if report.outcome != StageOutcome::UpToDate || self.list_up_to_date {
            self.say(&finished_text(Ink::Plain, report));
        }
    }

    fn line(&mut self, stage: Option<&str>, level: Level, text: &str) {
        self.say(&line_text(Ink::Plain, stage, level, text));
    }

    fn end(&mut self, summary: &RunSummary) {
        self.say(&summary_text(Ink::Plain, summary));
    }
}

impl<W> std::fmt::Debug for LineDisplay<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LineDisplay")
            .field("every", &self.every)
            .finish_non_exhaustive()
    }
}
