//! Integer log-scale frequencies of spellings (`nouns-captions.md` 1.4, with
//! the coefficients of section 9).

use std::collections::{BTreeMap, HashMap};

use super::drafts::Draft;
use super::frequencies::WordFrequencies;
use super::lists::Lists;
use crate::nouns::canonical::canonical;
use crate::nouns::noun::Spelling;

/// Zipf value below which all words count alike.
const FLOOR: f64 = 2.2;
/// Frequency per unit of Zipf.
pub(super) const SLOPE: f64 = 6.0;
/// The word list takes phrases for more common than they are, by this much
/// per further word.
const PHRASE: f64 = 1.8;

/// Frequency of a Zipf value.
fn weight(zipf: f64) -> f64 {
    1.0 + SLOPE * (zipf - FLOOR).max(0.0)
}

/// How many drafts have a spelling of each canonical form.
pub(super) fn count_owners<'a>(drafts: impl Iterator<Item = &'a Draft>) -> HashMap<String, u32> {
    let mut owners = HashMap::new();
    for draft in drafts {
        for form in draft.forms() {
            *owners.entry(form).or_insert(0) += 1;
        }
    }
    owners
}

/// Spellings of a draft with their frequencies, singular and plural.
pub(super) fn weigh(
    draft: &Draft,
    owners: &HashMap<String, u32>,
    words: &WordFrequencies,
    lists: &Lists,
) -> (Vec<Spelling>, Vec<Spelling>) {
    let mut spelled: BTreeMap<String, usize> = BTreeMap::new();
    let singulars = draft.singulars.iter().filter(|_| !draft.plural_only);
    for spelling in singulars.chain(&draft.plurals) {
        *spelled.entry(canonical(spelling)).or_insert(0) += 1;
    }
    let zipfs: HashMap<&str, f64> = spelled
        .keys()
        .map(|form| {
            let further_words = form.matches(' ').count() as f64;
            let shared = f64::from(owners.get(form).copied().unwrap_or(1));
            let zipf = lists.zipf(words, form) - PHRASE * further_words;
            let zipf = zipf + draft.share.log10();
            (form.as_str(), zipf.max(FLOOR) - shared.log10())
        })
        .collect();
    let together: f64 = spelled.keys().map(|f| 10_f64.powf(zipfs[f.as_str()])).sum();
    let total = weight(together.log10()).max(draft.at_least);
    let all: f64 = spelled.keys().map(|f| weight(zipfs[f.as_str()])).sum();
    let frequency = |spelling: &str| {
        let form = canonical(spelling);
        let share = zipfs.get(form.as_str()).map_or(0.0, |&zipf| weight(zipf));
        let spellings = spelled.get(&form).copied().unwrap_or(1);
        (total * share / all / spellings as f64).round().max(1.0) as u32
    };
    let weighed = |spelling: &String| Spelling {
        text: spelling.clone(),
        frequency: frequency(spelling),
    };
    // Whoever says "trouser" means a part of a word.
    let rare = |spelling: &String| Spelling {
        text: spelling.clone(),
        frequency: 1,
    };
    let singulars = draft.singulars.iter();
    let singulars = if draft.plural_only {
        singulars.map(rare).collect()
    } else {
        singulars.map(weighed).collect()
    };
    (singulars, draft.plurals.iter().map(weighed).collect())
}
