//! How far long work is, on terminals.

use std::io::{self, IsTerminal};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar on terminals, nothing elsewhere.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    /// A bar for things of a kind, such as `nouns`.
    pub(super) fn new(things: &str) -> Self {
        if !io::stderr().is_terminal() {
            return Self(None);
        }
        let bar = ProgressBar::new(0);
        let template = format!("[{{elapsed}}] {{bar:24}} {{pos}}/{{len}} {things} {{wide_msg}}");
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style);
        }
        Self(Some(bar))
    }

    /// Shows that so many are done, and says more.
    pub(super) fn show(&self, done: u64, all: u64, more: impl FnOnce() -> String) {
        if let Some(bar) = &self.0 {
            bar.set_length(all);
            bar.set_position(done);
            bar.set_message(more());
        }
    }

    /// Says something above the bar, or anywhere if there is none.
    pub(super) fn note(&self, line: &str) {
        match &self.0 {
            Some(bar) => bar.println(line),
            None => eprintln!("{line}"),
        }
    }

    /// Takes the bar away.
    pub(super) fn clear(&self) {
        if let Some(bar) = &self.0 {
            bar.finish_and_clear();
        }
    }
}
