//! A run on a terminal: finished stages as lines, running ones as bars.

use std::collections::HashMap;
use std::time::Duration;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::tracking::{Level, StageOutcome};

use super::display::{Display, StageReport};
use super::lines::{
    Ink, begin_text, finished_text, line_text, lists_up_to_date, progress_text, started_text,
    summary_text, waits_text,
};
use super::plan::{Plan, Step};
use super::progress::ProgressView;
use super::summary::RunSummary;

/// Shows a run on the terminal behind standard error.
#[derive(Debug)]
pub struct TerminalDisplay {
    bars: MultiProgress,
    running: HashMap<String, ProgressBar>,
    ink: Ink,
    list_up_to_date: bool,
}

impl TerminalDisplay {
    /// On standard error, in colour unless `NO_COLOR` is set.
    pub fn new() -> TerminalDisplay {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        TerminalDisplay {
            bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)),
            running: HashMap::new(),
            ink: if plain { Ink::Plain } else { Ink::Colour },
            list_up_to_date: true,
        }
    }

    fn say(&self, text: &str) {
        // Nobody looks any more; the work goes on.
        let _ = self.bars.println(text);
    }
}

impl Default for TerminalDisplay {
    fn default() -> TerminalDisplay {
        TerminalDisplay::new()
    }
}

/// A bar with a known end, or a spinner with a count.
fn style(counted: bool) -> ProgressStyle {
    let template = if counted {
        "             [{elapsed:>8}] {prefix} {bar:24.cyan} {msg}"
    } else {
        "             [{elapsed:>8}] {prefix} {spinner:.cyan} {msg}"
    };
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸ ")
}

impl Display for TerminalDisplay {
    fn begin(&mut self, plan: &Plan) {
        self.list_up_to_date = lists_up_to_date(plan);
        self.say(&begin_text(self.ink, plan));
    }

    fn stage_started(&mut self, step: &Step, resumed: bool) {
        let bar = self
            .bars
            .add(ProgressBar::no_length().with_style(style(false)));
        bar.set_prefix(step.name.clone());
        bar.enable_steady_tick(Duration::from_millis(200));
        self.running.insert(step.name.clone(), bar);
        if resumed {
            self.say(&started_text(self.ink, step, resumed));
        }
    }

    fn stage_waits(&mut self, step: &Step, holder: &str) {
        self.say(&waits_text(self.ink, step, holder));
    }

    fn stage_progress(&mut self, stage: &str, progress: &ProgressView) {
        let Some(bar) = self.running.get(stage) else {
            return;
        };
        if bar.length() != progress.total {
            bar.set_style(style(progress.total.is_some()));
            progress
                .total
                .map_or_else(|| bar.unset_length(), |total| bar.set_length(total));
        }
        bar.set_position(progress.done);
        bar.set_message(progress_text(progress));
    }

    fn stage_finished(&mut self, report: &StageReport) {
        if let Some(bar) = self.running.remove(&report.name) {
            bar.finish_and_clear();
            self.bars.remove(&bar);
        }
        if report.outcome != StageOutcome::UpToDate || self.list_up_to_date {
            self.say(&finished_text(self.ink, report));
        }
    }

    fn line(&mut self, stage: Option<&str>, level: Level, text: &str) {
        self.say(&line_text(self.ink, stage, level, text));
    }

    fn end(&mut self, summary: &RunSummary) {
        self.running.clear();
        let _ = self.bars.clear();
        self.say(&summary_text(self.ink, summary));
    }
}
