//! Which published checkpoints stay when a new one is written.

use std::cmp::Reverse;

use crate::config::schema;

/// Kept are the newest, the best by running token accuracy, and every so many
/// chunks; all zeros keep everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeepPolicy {
    /// Newest ones.
    pub last: usize,
    /// Best ones.
    pub best: usize,
    /// Those whose chunk is a multiple of this.
    pub every: u64,
}

impl From<&schema::Checkpoint> for KeepPolicy {
    fn from(checkpoint: &schema::Checkpoint) -> Self {
        Self {
            last: checkpoint.keep_last,
            best: checkpoint.keep_best,
            every: checkpoint.keep_every as u64,
        }
    }
}

impl KeepPolicy {
    /// Whether nothing is ever removed.
    pub fn keeps_all(&self) -> bool {
        *self == Self::default()
    }

    /// Of checkpoints by chunk and accuracy: the chunks of those to remove. The
    /// newest always stays.
    pub fn surplus(&self, saved: &[(u64, f64)]) -> Vec<u64> {
        if self.keeps_all() {
            return Vec::new();
        }
        let mut newest: Vec<u64> = saved.iter().map(|(chunk, _)| *chunk).collect();
        newest.sort_unstable_by_key(|&chunk| Reverse(chunk));
        let mut best: Vec<(u64, f64)> = saved.to_vec();
        best.sort_by(|a, b| b.1.total_cmp(&a.1).then(b.0.cmp(&a.0)));
        let newest_kept = &newest[..self.last.max(1).min(newest.len())];
        let best_kept = &best[..self.best.min(best.len())];
        let stays = |chunk: u64| {
            newest_kept.contains(&chunk)
                || best_kept.iter().any(|(kept, _)| *kept == chunk)
                || self.every > 0 && chunk.is_multiple_of(self.every)
        };
        let all = newest.iter().copied();
        all.filter(|&chunk| !stays(chunk)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newest_best_and_every_nth_stay() {
        let saved = [(2, 0.5), (4, 0.9), (6, 0.7), (8, 0.8), (9, 0.6)];
        let surplus = |last, best, every| KeepPolicy { last, best, every }.surplus(&saved);
        assert!(surplus(0, 0, 0).is_empty());
        assert_eq!(surplus(2, 0, 0), [6, 4, 2]);
        assert_eq!(surplus(1, 2, 0), [6, 2]);
        assert_eq!(surplus(0, 1, 0), [8, 6, 2]);
        assert_eq!(surplus(0, 0, 3), [8, 4, 2]);
    }
}
