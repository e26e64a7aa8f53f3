//! From lemmas to nouns with spellings and frequencies.

use std::collections::{BTreeMap, BTreeSet};

use super::error::BuildError;
use super::lemmas::{Lemma, collect_lemmas, merge_respellings};
use super::lists::Lists;
use super::plurals::plural;
use super::raise::raise;
use super::report::BuildReport;
use super::select::select_synsets;
use super::sources::Sources;
use super::weights::{count_owners, weigh};
use crate::nouns::canonical::canonical;
use crate::nouns::noun::Noun;

/// A noun before frequencies are given.
#[derive(Clone, Debug, Default)]
pub(super) struct Draft {
    pub target: String,
    pub pretty: String,
    pub singulars: BTreeSet<String>,
    pub plurals: BTreeSet<String>,
    /// A pair of something: the singular is hardly used.
    pub plural_only: bool,
    /// Share of the uses of the word that mean the thing, above 0.
    pub share: f64,
    /// Frequency it has at least.
    pub at_least: f64,
    /// Lexicographer file; none for added names.
    pub file: Option<u8>,
}

impl Draft {
    /// Canonical forms of all spellings, each once.
    pub fn forms(&self) -> BTreeSet<String> {
        let spellings = self.singulars.iter().chain(&self.plurals);
        spellings.map(|spelling| canonical(spelling)).collect()
    }
}

/// The nouns, and how they came about.
#[derive(Debug)]
pub struct BuiltDictionary {
    /// The nouns, sorted by target noun.
    pub nouns: Vec<Noun>,
    /// Counts.
    pub report: BuildReport,
}

/// Zipf value that a plural has at least, if the singular has it.
const PLURAL_ZIPF: f64 = 1.5;

/// Makes the dictionary.
pub fn build_dictionary(sources: &Sources) -> Result<BuiltDictionary, BuildError> {
    let lists = Lists::load()?;
    let selected = select_synsets(&sources.wordnet)?;
    let (lemmas, counts) = collect_lemmas(&sources.wordnet, &selected, &sources.words, &lists);
    let groups = merge_respellings(&lemmas, &selected);

    let mut report = BuildReport::new(&sources.wordnet, &selected, counts, groups.len());
    let mut drafts: BTreeMap<String, Draft> = BTreeMap::new();
    for group in groups {
        let members: Vec<&Lemma> = group.iter().map(|&position| &lemmas[position]).collect();
        add_draft(&mut drafts, draft_of(&members, sources, &lists));
    }
    report.record_before(&nouns(&drafts, sources, &lists), &drafts);
    report.raised = raise(&mut drafts, sources, &lists);
    let nouns = nouns(&drafts, sources, &lists);
    report.record_after(&nouns);
    Ok(BuiltDictionary { nouns, report })
}

/// Two drafts can have the same target only as a plural-only noun.
pub(super) fn add_draft(drafts: &mut BTreeMap<String, Draft>, draft: Draft) {
    match drafts.get_mut(&draft.target) {
        Some(earlier) => {
            earlier.singulars.extend(draft.singulars);
            earlier.plurals.extend(draft.plurals);
            earlier.share = earlier.share.max(draft.share);
        }
        None => {
            drafts.insert(draft.target.clone(), draft);
        }
    }
}

fn draft_of(members: &[&Lemma], sources: &Sources, lists: &Lists) -> Draft {
    // The first of the most frequent forms.
    let main = members
        .iter()
        .copied()
        .reduce(|best, next| if next.zipf > best.zipf { next } else { best });
    let spellings = members.iter().flat_map(|lemma| &lemma.spellings);
    let spellings: Vec<&str> = spellings.map(String::as_str).collect();
    let share = members.iter().map(|lemma| lemma.share).fold(0.0, f64::max);
    let Some(main) = main else {
        return Draft::default();
    };
    let pretty = main.spellings.first().unwrap_or(&main.form);
    let mut draft = spell(&main.form, pretty, &spellings, sources, lists);
    draft.share = share;
    draft.file = members.first().map(|lemma| lemma.file);
    draft
}

/// A draft with all spellings of a noun.
pub(super) fn spell(
    form: &str,
    pretty: &str,
    spellings: &[&str],
    sources: &Sources,
    lists: &Lists,
) -> Draft {
    let mut draft = Draft {
        target: form.to_owned(),
        pretty: pretty.to_owned(),
        share: 1.0,
        ..Draft::default()
    };
    if let Some(target) = lists.plural_only(form) {
        draft.plural_only = true;
        draft.target.clone_from(&target);
        draft.plurals.insert(target.clone());
        draft.pretty = target;
        for &spelling in spellings {
            let spelled = canonical(spelling);
            let is_plural = lists.plural_only(&spelled).is_some_and(|p| p == spelled);
            let (same, other) = if is_plural {
                (&mut draft.plurals, None)
            } else {
                let other = plural(spelling, sources, lists);
                (&mut draft.singulars, Some(other))
            };
            same.extend([spelling.to_owned(), spelled]);
            draft
                .plurals
                .extend(other.iter().map(|plural| canonical(plural)));
            draft.plurals.extend(other);
        }
        return draft;
    }
    let is_cased = |spelling: &&str| spelling.chars().any(char::is_uppercase);
    let all_cased = spellings.iter().all(is_cased);
    for &spelling in spellings {
        draft
            .singulars
            .extend([spelling.to_owned(), canonical(spelling)]);
        let plural = plural(spelling, sources, lists);
        if !all_cased && is_used(&plural, spelling, sources) {
            draft.plurals.extend([canonical(&plural), plural]);
        }
    }
    draft
}

/// Mass nouns, and names that are plurals themselves ("beggar ticks"), have
/// plurals that hardly occur.
fn is_used(plural: &str, singular: &str, sources: &Sources) -> bool {
    let (plural, singular) = (canonical(plural), canonical(singular));
    let zipf = |form: &str| sources.words.zipf(form);
    match plural.rsplit_once(' ') {
        None => zipf(&plural) >= PLURAL_ZIPF || zipf(&singular) < PLURAL_ZIPF,
        Some((_, last)) => !singular.ends_with('s') || zipf(last) >= PLURAL_ZIPF,
    }
}

/// The drafts with frequencies, in their order; the position is the id.
pub(super) fn nouns(
    drafts: &BTreeMap<String, Draft>,
    sources: &Sources,
    lists: &Lists,
) -> Vec<Noun> {
    let owners = count_owners(drafts.values());
    let with_frequencies = drafts.values().zip(0_u64..).map(|(draft, id)| {
        let (singulars, plurals) = weigh(draft, &owners, &sources.words, lists);
        Noun {
            id,
            target: draft.target.clone(),
            pretty: draft.pretty.clone(),
            singulars,
            plurals,
            hypernyms: Vec::new(),
        }
    });
    with_frequencies.collect()
}
