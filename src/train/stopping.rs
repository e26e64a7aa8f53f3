//! Ending a training before its last chunk: when the running loss no longer
//! falls, or after some time.

use serde::{Deserialize, Serialize};

use crate::config::schema;

/// When to end early; zeros never do.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct StopRule {
    /// Chunks without a new lowest running loss.
    pub plateau_chunks: u64,
    /// Seconds of training, over all attempts.
    pub seconds: f64,
}

impl From<&schema::TrainStop> for StopRule {
    fn from(stop: &schema::TrainStop) -> Self {
        Self {
            plateau_chunks: stop.plateau_chunks as u64,
            seconds: stop.hours * 3600.0,
        }
    }
}

/// What the rule has seen so far; part of checkpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StopState {
    /// Lowest running loss at a chunk end, and that chunk.
    pub lowest: Option<(f64, u64)>,
    /// Whether the training has ended early.
    pub stopped: bool,
}

impl StopState {
    /// Takes in the end of chunk `chunk` after `seconds` of training; says why
    /// to stop, if so.
    pub fn chunk_end(
        &mut self,
        rule: &StopRule,
        chunk: u64,
        loss: Option<f64>,
        seconds: f64,
    ) -> Option<String> {
        if let Some(loss) = loss
            && self.lowest.is_none_or(|(lowest, _)| loss < lowest)
        {
            self.lowest = Some((loss, chunk));
        }
        let since = self
            .lowest
            .map_or(0, |(_, best)| chunk.saturating_sub(best));
        let reason = if rule.plateau_chunks > 0 && since >= rule.plateau_chunks {
            Some(format!(
                "the running loss has not fallen for {since} chunks"
            ))
        } else if rule.seconds > 0.0 && seconds >= rule.seconds {
            Some(format!("{:.2} hours are over", rule.seconds / 3600.0))
        } else {
            None
        };
        self.stopped |= reason.is_some();
        reason
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(rule: StopRule, losses: &[f64]) -> Option<u64> {
        let mut state = StopState::default();
        (1..).zip(losses).find_map(|(chunk, loss)| {
            let seconds = chunk as f64;
            let reason = state.chunk_end(&rule, chunk, Some(*loss), seconds);
            assert_eq!(reason.is_some(), state.stopped);
            reason.map(|_| chunk)
        })
    }

    #[test]
    fn a_plateau_or_the_time_ends_a_training() {
        let losses = [3.0, 2.0, 2.5, 2.1, 1.9, 2.0, 2.0, 2.0];
        let plateau = |plateau_chunks| StopRule {
            plateau_chunks,
            seconds: 0.0,
        };
        assert_eq!(ends(plateau(3), &losses), Some(8));
        assert_eq!(ends(plateau(2), &losses), Some(4));
        assert_eq!(ends(plateau(4), &losses), None);
        assert_eq!(ends(StopRule::default(), &losses), None);
        let time = StopRule {
            plateau_chunks: 0,
            seconds: 5.0,
        };
        assert_eq!(ends(time, &losses), Some(5));
    }
}
