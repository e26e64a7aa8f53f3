//! Exact scores of all guide nouns, by best-first search over their tree with
//! exact pruning (`decoder.md` sections 9 and 12).

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use candle_core::Tensor;
use rayon::prelude::*;

use crate::decoder::error::DecoderError;
use crate::decoder::model::Decoder;
use crate::ops::tape::{PageRef, host};

use super::cache::{KeyValueCache, NewRow};
use super::hypothesis::Hypothesis;
use super::stop::Stop;
use super::successors::{Place, Rules};
use super::trie::{END, NodeId, NounTrie};

/// Rows computed together. More keep the cores busy, fewer let the scores of
/// complete nouns prune earlier.
const ROWS: usize = 512;

/// Slack of the pruning bound for rounding of log-probabilities.
const SLACK: f64 = 1e-3;

/// What does not depend on the embedding in the score of a guide noun.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NounTerms {
    /// λ·Σ log q of its tokens, +∞ if a token is impossible under the prior;
    /// 0 without prior.
    pub prior_penalty: f64,
    /// n^−α.
    pub length_scale: f64,
}

/// Terms of every tree node that do not depend on the embedding; shared by all
/// samples.
pub(super) struct Plan<'a> {
    trie: &'a NounTrie,
    rules: Rules<'a>,
    /// −λ·log q of the edge into each node, −∞ if impossible.
    gains: Vec<f64>,
    /// Largest sum of gains below each node.
    gains_below: Vec<f64>,
    /// Tokens of the longest noun through each node.
    longest: Vec<u32>,
}

impl<'a> Plan<'a> {
    pub fn new(trie: &'a NounTrie, rules: Rules<'a>) -> Self {
        let count = trie.node_count();
        let mut gains = vec![0.0; count];
        let mut depth = vec![0u32; count];
        let mut vocabulary = vec![None; count];
        vocabulary[0] = rules.start().vocabulary;
        // Nodes are numbered level by level: parents before children.
        for node in trie.nodes() {
            for (token, child) in trie.children(node) {
                depth[child.index()] = depth[node.index()] + 1;
                if let Some(prior) = rules.prior {
                    let at = vocabulary[node.index()];
                    let next = at.and_then(|at| prior.trie.child(at, token));
                    vocabulary[child.index()] = next;
                    gains[child.index()] = match (at, next) {
                        (Some(at), Some(next)) => prior.gain(at, next),
                        _ => f64::NEG_INFINITY,
                    };
                }
            }
        }
        let mut gains_below = vec![0.0f64; count];
        let mut longest = depth;
        for node in trie.nodes().rev() {
            let mut below = f64::NEG_INFINITY;
            for (_, child) in trie.children(node) {
                below = below.max(gains[child.index()] + gains_below[child.index()]);
                longest[node.index()] = longest[node.index()].max(longest[child.index()]);
            }
            if trie.child_count(node) > 0 {
                gains_below[node.index()] = below;
            }
        }
        Self {
            trie,
            rules,
            gains,
            gains_below,
            longest,
        }
    }

    /// Terms of each guide noun, in the order of the guide.
    pub fn noun_terms(&self) -> Vec<NounTerms> {
        let mut terms = vec![
            NounTerms {
                prior_penalty: 0.0,
                length_scale: 1.0
            };
            self.trie.len()
        ];
        let mut open = vec![(self.trie.root(), 0.0, 0)];
        while let Some((node, gain, depth)) = open.pop() {
            for (token, child) in self.trie.children(node) {
                let (gain, depth) = (gain + self.gains[child.index()], depth + 1);
                if token == END {
                    for &noun in self.trie.nouns(child) {
                        terms[noun as usize] = NounTerms {
                            prior_penalty: -gain,
                            length_scale: self.rules.ranking(1.0, depth),
                        };
                    }
                } else {
                    open.push((child, gain, depth));
                }
            }
        }
        terms
    }

    /// No noun below `node` (reached with sum `sum` after `depth` tokens) ranks
    /// higher than this.
    fn bound(&self, node: NodeId, sum: f64, depth: usize) -> f64 {
        let total = sum + self.gains_below[node.index()];
        let longest = self.longest[node.index()] as usize;
        // Monotonic in the length for a fixed sum.
        self.rules
            .ranking(total, depth + 1)
            .max(self.rules.ranking(total, longest))
    }
}

struct Open {
    bound: f64,
    node: NodeId,
    token: u32,
    log_prob: f32,
    sum: f64,
    /// The node above among the visited ones, and the tokens so far.
    parent: Option<u32>,
    depth: usize,
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        self.bound
            .total_cmp(&other.bound)
            .then(other.node.cmp(&self.node))
    }
}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Open {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Open {}

/// A computed inner node.
struct Visited {
    parent: Option<u32>,
    token: u32,
    log_prob: f32,
    page: PageRef,
}

/// A complete noun.
struct Found {
    score: f64,
    noun: u32,
    /// Its last content token among the visited nodes.
    last: Option<u32>,
    end_log_prob: f32,
}

struct Search<'p, 'a> {
    plan: &'p Plan<'a>,
    topk: usize,
    open: BinaryHeap<Open>,
    visited: Vec<Visited>,
    /// Best first, lower noun first among equals.
    found: Vec<Found>,
}

/// The `topk` best guide nouns of each sample of `embeds` `[B, F]`; nouns with
/// the same tokens are one.
///
/// A decoder that finds all nouns about equally probable visits all nodes, and
/// every visited node keeps its projections. Where several samples visit more
/// than `most_rows` of them, the result is `None`: fewer have to go together.
pub(super) fn search(
    decoder: &Decoder,
    plan: &Plan<'_>,
    topk: usize,
    embeds: &Tensor,
    most_rows: usize,
    stop: &Stop,
) -> Result<Option<Vec<Vec<Hypothesis>>>, DecoderError> {
    let mut visited_rows = 0;
    let (mut cache, logits) = KeyValueCache::start(decoder, embeds)?;
    let width = logits.dim(1)?;
    let mut searches = host(&logits)?
        .par_chunks_exact(width)
        .map(|row| {
            let mut search = Search {
                plan,
                topk: topk.min(plan.trie.distinct()),
                open: BinaryHeap::new(),
                visited: Vec::new(),
                found: Vec::new(),
            };
            search.expand(plan.trie.root(), None, 0.0, 0, row)?;
            Ok(search)
        })
        .collect::<Result<Vec<_>, DecoderError>>()?;

    loop {
        stop.check()?;
        let active = searches
            .iter()
            .filter(|search| search.next_bound().is_some())
            .count();
        if active == 0 {
            break;
        }
        let share = (ROWS / active).clamp(1, topk.max(8));
        let chosen: Vec<Vec<(Open, Vec<PageRef>)>> = searches
            .iter_mut()
            .map(|search| search.take(share))
            .collect();
        let rows: Vec<NewRow<'_>> = chosen
            .iter()
            .enumerate()
            .flat_map(|(sample, chosen)| {
                chosen.iter().map(move |(open, pages)| NewRow {
                    sample: sample as u32,
                    token: open.token,
                    pages,
                })
            })
            .collect();
        visited_rows += rows.len();
        if visited_rows > most_rows && searches.len() > 1 {
            return Ok(None);
        }
        let logits = cache.extend(&rows)?;
        let step = cache.last_step();
        let values = host(&logits)?;
        let values: &[f32] = &values;
        let mut first = 0;
        let work: Vec<_> = searches
            .iter_mut()
            .zip(chosen)
            .map(|(search, chosen)| {
                let start = first;
                first += chosen.len();
                (search, chosen, start)
            })
            .collect();
        work.into_par_iter()
            .try_for_each(|(search, chosen, start)| {
                for (row, (open, _)) in (start..).zip(chosen) {
                    let id = search.visited.len() as u32;
                    search.visited.push(Visited {
                        parent: open.parent,
                        token: open.token,
                        log_prob: open.log_prob,
                        page: PageRef {
                            step,
                            row: row as u32,
                        },
                    });
                    let logits = &values[row * width..(row + 1) * width];
                    search.expand(open.node, Some(id), open.sum, open.depth, logits)?;
                }
                Ok::<(), DecoderError>(())
            })?;
    }
    Ok(Some(searches.iter().map(Search::hypotheses).collect()))
}

impl Search<'_, '_> {
    /// Largest bound of what is left to visit, none if nothing can still rank
    /// among the results.
    fn next_bound(&self) -> Option<f64> {
        let bound = self.open.peek()?.bound;
        self.may_rank(bound).then_some(bound)
    }

    fn may_rank(&self, bound: f64) -> bool {
        let worst = self.found.last().filter(|_| self.found.len() == self.topk);
        bound > f64::NEG_INFINITY && worst.is_none_or(|worst| bound + SLACK >= worst.score)
    }

    /// Takes the `count` most promising nodes, with the pages of the tokens
    /// before them.
    fn take(&mut self, count: usize) -> Vec<(Open, Vec<PageRef>)> {
        let mut taken = Vec::with_capacity(count);
        while taken.len() < count && self.next_bound().is_some() {
            let Some(open) = self.open.pop() else { break };
            let pages = self
                .path(open.parent)
                .map(|visited| visited.page)
                .collect::<Vec<_>>();
            taken.push((open, pages.into_iter().rev().collect()));
        }
        taken
    }

    /// Visited nodes from `last` up to the root.
    fn path(&self, last: Option<u32>) -> impl Iterator<Item = &Visited> {
        let visited = |index: u32| &self.visited[index as usize];
        std::iter::successors(last.map(visited), move |node| node.parent.map(visited))
    }

    /// Adds the children of `node`: complete nouns to the results, others to
    /// what is left to visit.
    fn expand(
        &mut self,
        node: NodeId,
        visited: Option<u32>,
        sum: f64,
        depth: usize,
        logits: &[f32],
    ) -> Result<(), DecoderError> {
        let plan = self.plan;
        let place = Place {
            guide: Some(node),
            vocabulary: None,
        };
        let norm = plan.rules.log_norm(logits, place)?;
        for (token, child) in plan.trie.children(node) {
            let log_prob = f64::from(logits[token as usize]) / plan.rules.temperature - norm;
            let total = sum + log_prob + plan.gains[child.index()];
            if token == END {
                self.add(
                    plan.rules.ranking(total, depth + 1),
                    child,
                    visited,
                    log_prob as f32,
                );
                continue;
            }
            let bound = plan.bound(child, total, depth + 1);
            if self.may_rank(bound) {
                self.open.push(Open {
                    bound,
                    node: child,
                    token,
                    log_prob: log_prob as f32,
                    sum: total,
                    parent: visited,
                    depth: depth + 1,
                });
            }
        }
        Ok(())
    }

    fn add(&mut self, score: f64, leaf: NodeId, last: Option<u32>, end_log_prob: f32) {
        if score.is_nan() || score == f64::NEG_INFINITY {
            return;
        }
        // Nouns with the same tokens are one result.
        let Some(&noun) = self.plan.trie.nouns(leaf).first() else {
            return;
        };
        let before =
            |found: &Found| found.score > score || (found.score == score && found.noun < noun);
        let at = self.found.partition_point(before);
        if at < self.topk {
            self.found.insert(
                at,
                Found {
                    score,
                    noun,
                    last,
                    end_log_prob,
                },
            );
            self.found.truncate(self.topk);
        }
    }

    fn hypotheses(&self) -> Vec<Hypothesis> {
        self.found
            .iter()
            .map(|found| {
                let mut tokens = vec![END];
                let mut log_probs = vec![found.end_log_prob];
                for visited in self.path(found.last) {
                    tokens.push(visited.token);
                    log_probs.push(visited.log_prob);
                }
                tokens.reverse();
                log_probs.reverse();
                Hypothesis {
                    tokens,
                    score: found.score,
                    log_probs,
                }
            })
            .collect()
    }
}
