//! Beam search (`decoder.md` section 8).

use candle_core::Tensor;
use rayon::prelude::*;

use crate::decoder::error::DecoderError;
use crate::decoder::model::Decoder;
use crate::ops::tape::{PageRef, host};

use super::cache::{KeyValueCache, NewRow};
use super::hypothesis::Hypothesis;
use super::stop::Stop;
use super::successors::{Place, Rules, Successor};
use super::trie::END;

/// A candidate that survived a step, for observers of the search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Survivor {
    /// Rank of its parent among the survivors of the step before.
    pub parent: usize,
    /// Its newest token; the end token if it finished earlier.
    pub token: u32,
    /// Ranking value.
    pub score: f64,
}

#[derive(Clone)]
struct Candidate {
    tokens: Vec<u32>,
    log_probs: Vec<f32>,
    sum: f64,
    ranking: f64,
    place: Place,
    pages: Vec<PageRef>,
    finished: bool,
}

struct Beam {
    sample: usize,
    candidates: Vec<Candidate>,
}

/// A place in the ranking: a finished candidate, or a successor of one.
struct Ranked {
    value: f64,
    parent: usize,
    successor: Option<Successor>,
}

/// At most `topk` nouns per sample of `embeds` `[B, F]`, best first.
/// `observe(step, sample, survivors)` sees every step of a sample until all its
/// candidates are finished.
pub(super) fn search(
    decoder: &Decoder,
    rules: &Rules<'_>,
    topk: usize,
    embeds: &Tensor,
    stop: &Stop,
    mut observe: impl FnMut(usize, usize, &[Survivor]),
) -> Result<Vec<Vec<Hypothesis>>, DecoderError> {
    let max_steps = decoder.architecture().dimensions.token_length - 1;
    let (mut cache, mut logits) = KeyValueCache::start(decoder, embeds)?;
    let samples = embeds.dim(0)?;
    let root = Candidate {
        tokens: Vec::new(),
        log_probs: Vec::new(),
        sum: 0.0,
        ranking: 0.0,
        place: rules.start(),
        pages: Vec::new(),
        finished: false,
    };
    let mut results = vec![Vec::new(); samples];
    let mut beams: Vec<Beam> = (0..samples)
        .map(|sample| Beam {
            sample,
            candidates: vec![root.clone()],
        })
        .collect();
    for step in 1..=max_steps {
        stop.check()?;
        let width = logits.dim(1)?;
        let successors: Vec<Vec<Successor>> = {
            let live: Vec<&Candidate> = beams
                .iter()
                .flat_map(|beam| &beam.candidates)
                .filter(|candidate| !candidate.finished)
                .collect();
            let values = host(&logits)?;
            live.into_par_iter()
                .zip(values.par_chunks_exact(width))
                .map(|(candidate, row)| {
                    rules.best(row, candidate.place, candidate.sum, step == 1, topk)
                })
                .collect::<Result<_, _>>()?
        };
        let mut successors = successors.into_iter();
        for beam in &mut beams {
            advance(beam, rules, topk, step, &mut successors, &mut observe);
        }
        let done = |beam: &Beam| beam.candidates.iter().all(|candidate| candidate.finished);
        let (finished, going): (Vec<Beam>, Vec<Beam>) = beams
            .into_iter()
            .partition(|beam| step == max_steps || done(beam));
        for beam in finished {
            results[beam.sample] = beam
                .candidates
                .into_iter()
                .map(Candidate::into_hypothesis)
                .collect();
        }
        beams = going;
        if beams.is_empty() {
            break;
        }
        logits = extend(&mut cache, &mut beams)?;
    }
    Ok(results)
}

impl Candidate {
    fn into_hypothesis(self) -> Hypothesis {
        Hypothesis {
            tokens: self.tokens,
            score: self.ranking,
            log_probs: self.log_probs,
        }
    }

    fn followed_by(&self, successor: Successor, ranking: f64) -> Self {
        let mut next = self.clone();
        next.tokens.push(successor.token);
        next.log_probs.push(successor.log_prob as f32);
        next.sum = successor.total;
        next.ranking = ranking;
        next.place = successor.place;
        next.finished = successor.token == END;
        next
    }
}

/// Replaces the candidates of a beam by its best continuations.
fn advance(
    beam: &mut Beam,
    rules: &Rules<'_>,
    topk: usize,
    step: usize,
    successors: &mut impl Iterator<Item = Vec<Successor>>,
    observe: &mut impl FnMut(usize, usize, &[Survivor]),
) {
    let mut ranked = Vec::new();
    for (parent, candidate) in beam.candidates.iter().enumerate() {
        if candidate.finished {
            ranked.push(Ranked {
                value: candidate.ranking,
                parent,
                successor: None,
            });
            continue;
        }
        for successor in successors.next().unwrap_or_default() {
            let value = rules.ranking(successor.total, step);
            ranked.push(Ranked {
                value,
                parent,
                successor: Some(successor),
            });
        }
    }
    // Stable: among equals the earlier candidate and then the lower token, as
    // they were collected.
    ranked.sort_by(|a, b| b.value.total_cmp(&a.value));
    ranked.truncate(topk);
    let survivors: Vec<Survivor> = ranked
        .iter()
        .map(|ranked| Survivor {
            parent: ranked.parent,
            token: ranked.successor.map_or(END, |successor| successor.token),
            score: ranked.value,
        })
        .collect();
    observe(step, beam.sample, &survivors);
    let parents = &beam.candidates;
    beam.candidates = ranked
        .into_iter()
        .map(|ranked| match ranked.successor {
            None => parents[ranked.parent].clone(),
            Some(successor) => parents[ranked.parent].followed_by(successor, ranked.value),
        })
        .collect();
}

/// Computes the newest token of every live candidate.
fn extend(cache: &mut KeyValueCache<'_>, beams: &mut [Beam]) -> Result<Tensor, DecoderError> {
    let rows: Vec<NewRow<'_>> = beams
        .iter()
        .flat_map(|beam| {
            let live = beam
                .candidates
                .iter()
                .filter(|candidate| !candidate.finished);
            live.map(|candidate| NewRow {
                sample: beam.sample as u32,
                token: candidate.tokens.last().copied().unwrap_or(END),
                pages: &candidate.pages,
            })
        })
        .collect();
    let logits = cache.extend(&rows)?;
    let step = cache.last_step();
    let live = beams
        .iter_mut()
        .flat_map(|beam| &mut beam.candidates)
        .filter(|candidate| !candidate.finished);
    for (row, candidate) in (0..).zip(live) {
        candidate.pages.push(PageRef { step, row });
    }
    Ok(logits)
}
