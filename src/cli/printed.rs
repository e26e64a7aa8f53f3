//! What table tools say, on the terminal: results to standard output, the rest
//! to standard error.

use std::io::{self, IsTerminal};

use crate::reports::printed::Printed;
use crate::tracking::Level;

/// What is shown of it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    /// Also what goes on.
    pub(super) verbose: bool,
    /// Colours of cells.
    pub(super) colours: bool,
}

impl Shown {
    /// Tables and what belongs to them.
    pub(super) fn text(self, printed: &Printed) -> String {
        let text = printed.text();
        if self.colours { text } else { plain(&text) }
    }
}

/// Whether results go to a terminal that shows colours.
pub(super) fn shows_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    io::stdout().is_terminal() && !unwanted
}

/// Tells what is no result.
pub(super) fn tell(printed: &Printed, shown: Shown) {
    for (level, text) in printed.lines() {
        match level {
            Level::Error => eprintln!("error: {text}"),
            Level::Warn => eprintln!("warning: {text}"),
            _ if shown.verbose => eprintln!("{text}"),
            _ => {}
        }
    }
}

/// The text without its colours.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        rest = rest[at..].split_once('m').map_or("", |(_, behind)| behind);
    }
    plain.push_str(rest);
    plain
}
