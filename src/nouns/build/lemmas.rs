//! Words of the selected synsets, grouped by canonical form, and the sense
//! rule that drops words which usually mean something else.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::frequencies::WordFrequencies;
use super::lists::Lists;
use super::wordnet::{Offset, Sense, Synset, Uses, WordNet};
use crate::nouns::canonical::canonical;

/// A share of uses below which a word is dropped, unless a selected sense is
/// its first.
const LEAST_SHARE: f64 = 0.25;
/// Words more common than this (Zipf) need evidence that they are nouns.
const COMMON: f64 = 4.5;

/// All spellings with one canonical form.
#[derive(Debug)]
pub(super) struct Lemma {
    pub form: String,
    /// As spelled in WordNet, in order of appearance.
    pub spellings: Vec<String>,
    /// Lexicographer file of the first synset.
    pub file: u8,
    pub zipf: f64,
    /// Share of the uses of this word that mean a selected synset.
    pub share: f64,
}

/// How many forms each step left.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct LemmaCounts {
    pub forms: usize,
    pub after_sense_rule: usize,
    pub blocked: usize,
}

/// The lemmas in order of appearance.
pub(super) fn collect_lemmas(
    wordnet: &WordNet,
    selected: &[&Synset],
    words: &WordFrequencies,
    lists: &Lists,
) -> (Vec<Lemma>, LemmaCounts) {
    let senses = senses_by_form(wordnet);
    let offsets: HashSet<Offset> = selected.iter().map(|synset| synset.offset).collect();
    let grouped = group_spellings(selected);
    let mut counts = LemmaCounts {
        forms: grouped.len(),
        ..LemmaCounts::default()
    };
    let mut lemmas = Vec::new();
    for mut lemma in grouped {
        let senses = senses.get(lemma.form.as_str());
        let senses = senses.map(Vec::as_slice).unwrap_or_default();
        lemma.zipf = lists.zipf(words, &lemma.form);
        let Some(share) = share_of_uses(&lemma, senses, &offsets, wordnet) else {
            continue;
        };
        counts.after_sense_rule += 1;
        lemma.share = share;
        if lists.is_blocked(&lemma.form) {
            counts.blocked += 1;
        } else {
            lemmas.push(lemma);
        }
    }
    (lemmas, counts)
}

/// All noun senses of the lemmas with a canonical form.
fn senses_by_form(wordnet: &WordNet) -> HashMap<String, Vec<Sense>> {
    let mut by_form: HashMap<String, Vec<Sense>> = HashMap::new();
    for (lemma, senses) in &wordnet.senses {
        by_form.entry(canonical(lemma)).or_default().extend(senses);
    }
    by_form
}

fn group_spellings(selected: &[&Synset]) -> Vec<Lemma> {
    let mut lemmas: Vec<Lemma> = Vec::new();
    let mut positions = HashMap::new();
    for synset in selected {
        for word in &synset.words {
            let form = canonical(word);
            if form.len() < 2 {
                continue;
            }
            let position = *positions.entry(form.clone()).or_insert(lemmas.len());
            match lemmas.get_mut(position) {
                Some(lemma) if lemma.spellings.contains(word) => {}
                Some(lemma) => lemma.spellings.push(word.clone()),
                None => lemmas.push(Lemma {
                    form,
                    spellings: vec![word.clone()],
                    file: synset.file,
                    zipf: 0.0,
                    share: 0.0,
                }),
            }
        }
    }
    lemmas
}

/// Share of a word's uses that mean a selected synset; `None` drops the word.
fn share_of_uses(
    lemma: &Lemma,
    senses: &[Sense],
    selected: &HashSet<Offset>,
    wordnet: &WordNet,
) -> Option<f64> {
    let (mut all, mut ours) = (Uses::default(), Uses::default());
    let mut has_first = false;
    for sense in senses {
        all.add(sense.tags);
        if selected.contains(&sense.synset) {
            ours.add(sense.tags);
            has_first |= sense.number == 1;
        }
    }
    let share = ours.weight() / all.weight();
    if !has_first && share < LEAST_SHARE {
        return None;
    }
    if lemma.zipf <= COMMON || lemma.form.contains(' ') {
        return Some(share);
    }
    // A common word whose object sense is neither its first nor attested is
    // common for other reasons; one that is mostly a verb or an adjective is
    // as common as its use as a noun.
    if !has_first && ours.tags == 0 {
        return None;
    }
    let everywhere = wordnet.uses.get(&lemma.form).copied().unwrap_or(all);
    Some(share.min(ours.weight() / everywhere.weight()))
}

/// Respellings that count as the same noun within a synset.
const RESPELLINGS: [(&str, &str); 14] = [
    ("our", "or"),
    ("re", "er"),
    ("ae", "e"),
    ("oe", "e"),
    ("ise", "ize"),
    ("isation", "ization"),
    ("ogue", "og"),
    ("ll", "l"),
    ("yse", "yze"),
    ("grey", "gray"),
    ("plough", "plow"),
    ("mould", "mold"),
    ("tyre", "tire"),
    ("axe", "ax"),
];

/// Groups lemmas of a synset that differ only by spaces or by one British or
/// American respelling; the positions of each group in `lemmas`, in order.
pub(super) fn merge_respellings(lemmas: &[Lemma], selected: &[&Synset]) -> Vec<Vec<usize>> {
    let positions: HashMap<&str, usize> = lemmas
        .iter()
        .enumerate()
        .map(|(position, lemma)| (lemma.form.as_str(), position))
        .collect();
    let mut leader: Vec<usize> = (0..lemmas.len()).collect();
    for synset in selected {
        let forms = synset.words.iter().map(|word| canonical(word));
        let mut members: Vec<usize> = Vec::new();
        for position in forms.filter_map(|form| positions.get(form.as_str()).copied()) {
            let same = members
                .iter()
                .find(|&&other| is_same_noun(&lemmas[other].form, &lemmas[position].form));
            if let Some(&other) = same {
                let (from, to) = (leader[position], leader[other]);
                if from != to {
                    leader
                        .iter_mut()
                        .filter(|l| **l == from)
                        .for_each(|l| *l = to);
                }
            }
            members.push(position);
        }
    }
    let mut groups: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (position, leader) in leader.into_iter().enumerate() {
        groups.entry(leader).or_default().push(position);
    }
    groups.into_values().collect()
}

fn is_same_noun(one: &str, other: &str) -> bool {
    let letters = |form: &str| form.replace(' ', "");
    one == other
        || letters(one) == letters(other)
        || RESPELLINGS.iter().any(|(british, american)| {
            is_respelled(one, british, american, other)
                || is_respelled(one, american, british, other)
        })
}

fn is_respelled(one: &str, from: &str, to: &str, other: &str) -> bool {
    one.match_indices(from).any(|(start, _)| {
        let rest = &one[start + from.len()..];
        other
            .strip_prefix(&one[..start])
            .and_then(|tail| tail.strip_prefix(to))
            == Some(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn respellings_of_the_same_noun() {
        for (one, other) in [
            ("grey whale", "gray whale"),
            ("theatre", "theater"),
            ("book shelf", "bookshelf"),
            ("axe", "ax"),
        ] {
            assert!(is_same_noun(one, other) && is_same_noun(other, one));
        }
        assert!(!is_same_noun("ball", "bell"));
        assert!(!is_same_noun("grey centre", "gray center"));
    }
}
