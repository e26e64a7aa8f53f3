//! Names that people would accept for the classes of image benchmarks, from
//! WordNet: the class name list `wordnet`.
//!
//! The names of a class choose its synset: the one that shares most of them,
//! then the most frequent sense of the first. The class keeps its names and
//! gets the other words of its synset, and those words of the kinds below it
//! that mean it first of all and are not rare in the embedded dictionary. A
//! kind belongs to the nearest class above it; a word that two classes would
//! get belongs to none.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::path::Path;

use super::error::BuildError;
use super::lists::{MULTI_LISTS, own_class_names};
use super::select::FILES;
use super::sources::load_wordnet;
use super::wordnet::{Offset, Synset, WordNet};
use crate::nouns::NounsError;
use crate::nouns::canonical::canonical;
use crate::nouns::class_names::{ClassNameVariant, class_names};
use crate::nouns::dictionary::{Dictionary, EMBEDDED};

/// Words of kinds below a class must be more frequent than this.
const RARE: u64 = 2;

/// The class names of every benchmark, comma separated, in class order.
pub type ClassLists = BTreeMap<String, Vec<String>>;

/// Makes the lists from the packages below `dir`.
///
/// # Errors
/// WordNet is not there or not the pinned version.
pub fn build_class_lists(dir: &Path) -> Result<ClassLists, BuildError> {
    let wordnet = load_wordnet(dir)?;
    let maker = Maker::new(&wordnet)?;
    let mut lists = ClassLists::new();
    for dataset in MULTI_LISTS {
        let classes = class_names(ClassNameVariant::Multi, dataset, None)?;
        lists.insert(dataset.to_owned(), maker.list(&classes.unwrap_or_default()));
    }
    for (dataset, classes) in own_class_names()? {
        lists.insert(dataset, maker.list(&classes));
    }
    Ok(lists)
}

struct Maker<'a> {
    wordnet: &'a WordNet,
    synsets: HashMap<Offset, &'a Synset>,
    /// Kinds right below a synset.
    below: HashMap<Offset, Vec<Offset>>,
    /// Frequency of the noun of every spelling.
    frequencies: HashMap<String, u64>,
}

impl<'a> Maker<'a> {
    fn new(wordnet: &'a WordNet) -> Result<Self, NounsError> {
        let mut maker = Self {
            wordnet,
            synsets: wordnet.synsets.iter().map(|s| (s.offset, s)).collect(),
            below: HashMap::new(),
            frequencies: HashMap::new(),
        };
        for synset in &wordnet.synsets {
            for &above in &synset.hypernyms {
                maker.below.entry(above).or_default().push(synset.offset);
            }
        }
        for noun in Dictionary::load(Path::new(EMBEDDED))?.nouns() {
            for spelling in noun.variants() {
                let frequency = maker.frequencies.entry(spelling.text.clone()).or_default();
                *frequency = noun.frequency().max(*frequency);
            }
        }
        Ok(maker)
    }

    /// The names of the classes of one benchmark with those that are added.
    fn list(&self, classes: &[String]) -> Vec<String> {
        let names: Vec<Vec<&str>> = classes
            .iter()
            .map(|class| class.split(',').map(str::trim).collect())
            .collect();
        let given: HashSet<String> = names.iter().flatten().map(|name| canonical(name)).collect();
        let mut claims: HashMap<String, BTreeSet<usize>> = HashMap::new();
        let mut found: Vec<BTreeSet<(u32, String)>> = vec![BTreeSet::new(); classes.len()];
        for (offset, (class, distance)) in self.owned(&names) {
            for word in self.words(offset, distance) {
                if !given.contains(&word) {
                    claims.entry(word.clone()).or_default().insert(class);
                    found[class].insert((distance, word));
                }
            }
        }
        let lists = names.into_iter().zip(found).map(|(names, found)| {
            let mut all: Vec<String> = names.into_iter().map(str::to_owned).collect();
            for (_, word) in found {
                if claims[&word].len() == 1 && !all.contains(&word) {
                    all.push(word);
                }
            }
            all.join(", ")
        });
        lists.collect()
    }

    /// The synset of a class.
    fn synset(&self, names: &[&str]) -> Option<Offset> {
        let own: HashSet<String> = names.iter().map(|name| canonical(name)).collect();
        let senses = names.iter().enumerate().flat_map(|(rank, name)| {
            let senses = self.wordnet.senses.get(&name.to_lowercase());
            senses.into_iter().flatten().map(move |sense| (rank, sense))
        });
        let candidates = senses.filter_map(|(rank, sense)| {
            let synset = self.synsets.get(&sense.synset)?;
            let is_thing = FILES.iter().any(|(file, _)| *file == synset.file);
            let words: HashSet<String> = synset.words.iter().map(|word| canonical(word)).collect();
            let shared = words.intersection(&own).count();
            (is_thing && !synset.is_instance)
                .then_some(((usize::MAX - shared, rank, sense.number), sense.synset))
        });
        candidates.min().map(|(_, offset)| offset)
    }

    /// The nearest class above every synset, and how far it is.
    fn owned(&self, names: &[Vec<&str>]) -> BTreeMap<Offset, (usize, u32)> {
        let mut owned = BTreeMap::new();
        let mut pending = VecDeque::new();
        for (class, names) in names.iter().enumerate() {
            if let Some(offset) = self.synset(names)
                && !owned.contains_key(&offset)
            {
                owned.insert(offset, (class, 0));
                pending.push_back((offset, class, 0));
            }
        }
        while let Some((offset, class, distance)) = pending.pop_front() {
            for &below in self.below.get(&offset).into_iter().flatten() {
                let is_kind = self
                    .synsets
                    .get(&below)
                    .is_some_and(|synset| !synset.is_instance);
                if is_kind && !owned.contains_key(&below) {
                    owned.insert(below, (class, distance + 1));
                    pending.push_back((below, class, distance + 1));
                }
            }
        }
        owned
    }

    /// The words of a synset that a class so far above it gets.
    fn words(&self, offset: Offset, distance: u32) -> Vec<String> {
        let words = self
            .synsets
            .get(&offset)
            .map_or(&[][..], |synset| &synset.words);
        let is_first = |word: &String| {
            let senses = self.wordnet.senses.get(&word.to_lowercase());
            let mut senses = senses.into_iter().flatten();
            senses.any(|sense| (sense.number, sense.synset) == (1, offset))
        };
        let forms = words
            .iter()
            .filter(|word| is_first(word))
            .map(|word| canonical(word));
        let known = forms.filter(|form| match self.frequencies.get(form) {
            Some(&frequency) => frequency > RARE || distance == 0,
            None => false,
        });
        known.collect()
    }
}
