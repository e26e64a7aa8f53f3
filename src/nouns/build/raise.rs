//! Names that must be in the dictionary: classes of benchmarks and subjects
//! of drawings.

use std::collections::{BTreeMap, HashMap};

use super::drafts::{Draft, add_draft, nouns, spell};
use super::lists::Lists;
use super::sources::Sources;
use super::weights::SLOPE;
use crate::nouns::canonical::{canonical, is_plain};
use crate::nouns::noun::Noun;

/// What raising did.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Raised {
    /// Different names.
    pub names: usize,
    /// Names whose noun became more frequent.
    pub raised: usize,
    /// Names that were no noun before.
    pub added: usize,
}

/// Gives every class of a benchmark with N classes at least the frequency of
/// the N-th most frequent noun, less for each of several synonyms; names that
/// are no spelling of a noun become nouns.
pub(super) fn raise(
    drafts: &mut BTreeMap<String, Draft>,
    sources: &Sources,
    lists: &Lists,
) -> Raised {
    let before = nouns(drafts, sources, lists);
    let wanted = wanted_frequencies(&before, lists);
    let mut owner: HashMap<String, &Noun> = HashMap::new();
    for noun in &before {
        for spelling in noun.variants() {
            let owner = owner.entry(canonical(&spelling.text)).or_insert(noun);
            let rank = |noun: &Noun| (noun.target == spelling.text, noun.frequency());
            if rank(noun) > rank(owner) {
                *owner = noun;
            }
        }
    }

    let mut counts = Raised {
        names: wanted.len(),
        ..Raised::default()
    };
    for (form, (spelling, at_least)) in &wanted {
        let noun = owner.get(form);
        if noun.is_some_and(|noun| noun.frequency() as f64 >= *at_least) {
            continue;
        }
        let target = match noun {
            Some(noun) => {
                counts.raised += 1;
                noun.target.clone()
            }
            None => {
                let draft = spell(form, spelling, &[spelling.as_str()], sources, lists);
                counts.added += 1;
                let target = draft.target.clone();
                add_draft(drafts, draft);
                target
            }
        };
        if let Some(draft) = drafts.get_mut(&target) {
            draft.at_least = draft.at_least.max(*at_least);
        }
    }
    counts
}

/// The first spelling and the frequency wanted for each canonical form.
fn wanted_frequencies(nouns: &[Noun], lists: &Lists) -> BTreeMap<String, (String, f64)> {
    let mut ranked: Vec<u64> = nouns.iter().map(Noun::frequency).collect();
    ranked.sort_unstable_by(|one, other| other.cmp(one));
    let mut wanted: BTreeMap<String, (String, f64)> = BTreeMap::new();
    for benchmark in &lists.benchmarks {
        let at_rank = ranked.get(benchmark.rank - 1).copied().unwrap_or(1) as f64;
        for class in &benchmark.classes {
            let at_least = at_rank - SLOPE * (class.len() as f64).log10();
            for name in class {
                let form = canonical(name);
                if form.is_empty() || !is_plain(&form) || lists.is_blocked(&form) {
                    continue;
                }
                let (_, most) = wanted.entry(form).or_insert_with(|| (name.clone(), 0.0));
                *most = most.max(at_least);
            }
        }
    }
    wanted
}
