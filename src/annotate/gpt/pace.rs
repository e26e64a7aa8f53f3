//! How fast a run is, and where it leads.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde::Serialize;

use super::run::Progress;

/// Time after which a pace can be told.
const TELLS_AFTER: Duration = Duration::from_secs(2);

/// Where a run began.
#[derive(Clone, Debug)]
pub struct Pace {
    begin: Instant,
    requests: u64,
    done: usize,
    cost: f64,
}

/// What the pace of a run promises.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Outlook {
    /// Requests per minute.
    pub requests_per_minute: f64,
    /// Cost in USD when everything is done.
    pub cost: f64,
    /// Seconds until then.
    pub seconds_left: f64,
}

impl Pace {
    /// A run that begins with this progress.
    pub fn from(progress: &Progress) -> Self {
        Self {
            begin: Instant::now(),
            requests: progress.spent.requests,
            done: progress.done,
            cost: progress.spent.cost,
        }
    }

    /// What it promises now; none before there is enough to tell.
    pub fn outlook(&self, progress: &Progress) -> Option<Outlook> {
        self.outlook_after(self.begin.elapsed(), progress)
    }

    fn outlook_after(&self, time: Duration, progress: &Progress) -> Option<Outlook> {
        let done = progress
            .done
            .checked_sub(self.done)
            .filter(|done| *done > 0)?;
        if time < TELLS_AFTER {
            return None;
        }
        let share = progress.open as f64 / done as f64;
        let spent = &progress.spent;
        let requests = spent.requests.saturating_sub(self.requests) as f64;
        Some(Outlook {
            requests_per_minute: requests * 60.0 / time.as_secs_f64(),
            cost: spent.cost + (spent.cost - self.cost).max(0.0) * share,
            seconds_left: time.as_secs_f64() * share,
        })
    }
}

impl Progress {
    /// It in words, with what the pace promises.
    pub fn line(&self, outlook: Option<&Outlook>) -> String {
        if let Some(waits) = &self.waits {
            return waits.clone();
        }
        let spent = &self.spent;
        let tokens = spent.usage.total();
        let mut text = format!(
            "{} answers, {tokens} tokens, {:.2} USD",
            spent.answers, spent.cost
        );
        if let Some(outlook) = outlook {
            if outlook.cost > spent.cost {
                let _ = write!(text, " of about {:.2}", outlook.cost);
            }
            let _ = write!(
                text,
                " · {:.0} requests/min · {} left",
                outlook.requests_per_minute,
                duration(outlook.seconds_left)
            );
        }
        if self.parked > 0 {
            let _ = write!(text, " · {} given up", self.parked);
        }
        if self.batches > 0 {
            let [all, answered, failed] = self.in_batches;
            let _ = write!(
                text,
                " · {} batches: {answered} of {all} answered",
                self.batches
            );
            if failed > 0 {
                let _ = write!(text, ", {failed} failed");
            }
        }
        text
    }
}

fn duration(seconds: f64) -> String {
    let minutes = (seconds / 60.0).ceil() as u64;
    match minutes {
        0..60 => format!("{minutes} min"),
        _ => format!("{} h {} min", minutes / 60, minutes % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::llm::{Spent, Usage};

    fn progress(done: usize, open: usize, requests: u64, cost: f64) -> Progress {
        Progress {
            done,
            open,
            parked: 0,
            spent: Spent {
                requests,
                answers: requests,
                usage: Usage {
                    prompt_tokens: 100 * requests,
                    ..Usage::default()
                },
                cost,
            },
            batches: 0,
            in_batches: [0; 3],
            waits: None,
        }
    }

    #[test]
    fn what_is_left_costs_what_the_same_has_cost() {
        let pace = Pace::from(&progress(100, 60, 40, 1.0));
        let now = progress(120, 40, 50, 1.5);
        assert_eq!(pace.outlook_after(Duration::from_secs(1), &now), None);
        let outlook = pace.outlook_after(Duration::from_secs(60), &now).unwrap();
        assert_eq!(outlook.requests_per_minute, 10.0);
        assert_eq!(outlook.seconds_left, 120.0);
        assert_eq!(outlook.cost, 2.5);
        assert_eq!(
            now.line(Some(&outlook)),
            "50 answers, 5000 tokens, 1.50 USD of about 2.50 · 10 requests/min · 2 min left"
        );
        // Nothing was done yet: nothing can be told.
        assert_eq!(
            pace.outlook_after(Duration::from_secs(60), &progress(100, 60, 40, 1.0)),
            None
        );
    }

    #[test]
    fn batches_waits_and_what_was_given_up_are_told() {
        let mut now = progress(1, 9, 3, 0.0);
        (now.batches, now.in_batches, now.parked) = (2, [30, 12, 1], 4);
        assert_eq!(
            now.line(None),
            "3 answers, 300 tokens, 0.00 USD · 4 given up · 2 batches: 12 of 30 answered, 1 failed"
        );
        now.waits = Some("the service asks to wait, 3 s".to_owned());
        assert_eq!(now.line(None), "the service asks to wait, 3 s");
        assert_eq!(duration(3_700.0), "1 h 2 min");
    }
}
