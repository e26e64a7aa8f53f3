//! Short lists kept by hand beside the dictionary: what to leave out, what is
//! plural only, which words are common for other reasons, and names that must
//! be in.

use std::collections::{HashMap, HashSet};

use super::error::BuildError;
use super::frequencies::WordFrequencies;
use crate::nouns::NounsError;
use crate::nouns::class_names::{ClassNameVariant, class_names, clean_class_name};

const BLOCKED: &str = include_str!("../../../extras/dictionary/lists/blocked.txt");
const PLURAL_ONLY: &str = include_str!("../../../extras/dictionary/lists/plural_only.txt");
const RARE_AS_NOUN: &str = include_str!("../../../extras/dictionary/lists/rare_as_noun.txt");
const UNCHANGED: &str = include_str!("../../../extras/dictionary/lists/unchanged_plural.txt");
const SUBJECTS: &str = include_str!("../../../extras/dictionary/lists/subjects.txt");
const CLASS_NAMES: &str = include_str!("../../../extras/dictionary/lists/class_names.json");

/// Zipf value that words of the list `rare_as_noun.txt` get at most.
const RARE: f64 = 3.4;

/// A list of classes whose names must be nouns of some frequency.
pub(super) struct Benchmark {
    /// Each class gets at least the frequency of the noun of this rank.
    pub rank: usize,
    /// Per class its synonyms.
    pub classes: Vec<Vec<String>>,
}

pub(super) struct Lists {
    blocked: HashSet<&'static str>,
    rare: HashSet<&'static str>,
    unchanged: HashSet<&'static str>,
    /// From a last word to its plural-only form.
    plural_only: HashMap<&'static str, &'static str>,
    pub benchmarks: Vec<Benchmark>,
}

/// `clip` lists that name objects.
const CLIP_LISTS: [&str; 7] = [
    "imagenet1k",
    "tinyimagenet",
    "imagenet-a",
    "imagenet-r",
    "caltech101",
    "pets",
    "flowers",
];
pub(super) const MULTI_LISTS: [&str; 6] = [
    "imagenet1k",
    "tinyimagenet",
    "imagenette",
    "imagewoof",
    "mnist",
    "fashionmnist",
];
/// Names of a benchmark of ten classes are not the ten most common nouns.
const LEAST_RANK: usize = 100;
/// Subjects of drawings are worth as much as classes of a list this long.
const SUBJECT_RANK: usize = 2000;

impl Lists {
    pub fn load() -> Result<Self, BuildError> {
        let mut plural_only = HashMap::new();
        for line in lines(PLURAL_ONLY) {
            let mut words = line.split_whitespace();
            if let Some(plural) = words.next() {
                plural_only.insert(plural, plural);
                plural_only.extend(words.map(|singular| (singular, plural)));
            }
        }
        Ok(Self {
            blocked: lines(BLOCKED).collect(),
            rare: lines(RARE_AS_NOUN).collect(),
            unchanged: lines(UNCHANGED).collect(),
            plural_only,
            benchmarks: benchmarks()?,
        })
    }

    /// Whether a canonical form must not be in the dictionary.
    pub fn is_blocked(&self, form: &str) -> bool {
        self.blocked.contains(form)
    }

    /// Whether the plural of a word is the word itself.
    pub fn is_unchanged(&self, word: &str) -> bool {
        self.unchanged.contains(word)
    }

    /// Zipf value of a canonical form as a noun.
    pub fn zipf(&self, words: &WordFrequencies, form: &str) -> f64 {
        let zipf = words.zipf(form);
        if self.rare.contains(form) {
            zipf.min(RARE)
        } else {
            zipf
        }
    }

    /// The plural-only form that stands for this canonical form, as in
    /// `blue jean` → `blue jeans`.
    pub fn plural_only(&self, form: &str) -> Option<String> {
        let start = form.rfind(' ').map_or(0, |space| space + 1);
        let (qualifiers, last) = form.split_at(start);
        let plural = self.plural_only.get(last)?;
        Some([qualifiers, plural].concat())
    }
}

fn lines(text: &'static str) -> impl Iterator<Item = &'static str> {
    let lines = text.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#'))
}

fn benchmarks() -> Result<Vec<Benchmark>, BuildError> {
    let mut benchmarks = Vec::new();
    let mut add = |classes: Vec<Vec<String>>| {
        benchmarks.push(Benchmark {
            rank: classes.len().max(LEAST_RANK),
            classes,
        });
    };
    for dataset in MULTI_LISTS {
        let classes = class_names(ClassNameVariant::Multi, dataset, None)?;
        add(classes
            .unwrap_or_default()
            .iter()
            .map(|c| synonyms(c))
            .collect());
    }
    for dataset in CLIP_LISTS {
        let classes = class_names(ClassNameVariant::Clip, dataset, None)?;
        let names = classes.unwrap_or_default();
        add(names
            .iter()
            .map(|name| vec![clean_class_name(name)])
            .collect());
    }
    for (_, classes) in own_class_names()? {
        add(classes.iter().map(|class| synonyms(class)).collect());
    }
    benchmarks.push(Benchmark {
        rank: SUBJECT_RANK,
        classes: lines(SUBJECTS).map(|name| vec![name.to_owned()]).collect(),
    });
    Ok(benchmarks)
}

fn synonyms(class: &str) -> Vec<String> {
    class
        .split(',')
        .map(|name| name.trim().to_owned())
        .collect()
}

/// Class names of benchmarks beside those in `extras/data`.
pub(super) fn own_class_names() -> Result<Vec<(String, Vec<String>)>, BuildError> {
    let lists = serde_json::from_str::<serde_json::Map<_, _>>(CLASS_NAMES).and_then(|lists| {
        let lists = lists.into_iter();
        lists
            .map(|(name, classes)| Ok((name, serde_json::from_value(classes)?)))
            .collect()
    });
    Ok(lists.map_err(|error| NounsError::Json {
        file: "extras/dictionary/lists/class_names.json".to_owned(),
        source: error,
    })?)
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::Arc;

    use super::*;
    use crate::nouns::canonical::canonical;
    use crate::nouns::dictionary::{Dictionary, EMBEDDED};

    #[test]
    fn the_embedded_dictionary_follows_the_lists() {
        let lists = Lists::load().expect("valid lists");
        let dictionary = Arc::new(Dictionary::load(Path::new(EMBEDDED)).expect("it loads"));
        let vocabulary = dictionary.clone().vocabulary(2).expect("nouns");
        let forms: HashSet<String> = vocabulary
            .nouns()
            .flat_map(|noun| noun.variants())
            .map(|variant| canonical(&variant.text))
            .collect();
        for noun in dictionary.nouns() {
            assert!(
                !lists.is_blocked(&noun.target),
                "{} is blocked",
                noun.target
            );
        }
        for class in lists.benchmarks.iter().flat_map(|b| &b.classes) {
            let names = || class.iter().map(|name| canonical(name));
            let is_blocked = names().all(|name| lists.is_blocked(&name));
            let is_noun = names().any(|name| forms.contains(&name));
            assert!(is_blocked || is_noun, "{class:?} is no noun");
        }
    }

    #[test]
    fn plural_only_nouns_have_one_target() {
        let lists = Lists::load().expect("valid lists");
        assert_eq!(lists.plural_only("trouser").as_deref(), Some("trousers"));
        assert_eq!(
            lists.plural_only("blue jean").as_deref(),
            Some("blue jeans")
        );
        assert_eq!(lists.plural_only("glasses case"), None);
    }
}
