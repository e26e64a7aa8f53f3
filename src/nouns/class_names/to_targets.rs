//! From class names to the target nouns of any model (`nouns-captions.md`
//! 6.3).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::parts;
use crate::nouns::canonical::canonical;
use crate::nouns::dictionary::Dictionary;

/// Which entries of a dictionary have a spelling.
#[derive(Clone, Debug)]
pub struct VariantMap {
    ids: HashMap<String, BTreeSet<u64>>,
}

impl VariantMap {
    /// All spellings and target nouns of a dictionary.
    pub fn new(dictionary: &Dictionary) -> Self {
        let mut ids: HashMap<String, BTreeSet<u64>> = HashMap::new();
        for noun in dictionary.nouns() {
            let spellings = noun.variants().map(|variant| &variant.text);
            for spelling in spellings.chain([&noun.target]) {
                ids.entry(spelling.clone()).or_default().insert(noun.id);
            }
        }
        Self { ids }
    }

    /// Ids of the entries with this spelling, ascending.
    pub fn ids(&self, spelling: &str) -> impl Iterator<Item = u64> {
        self.ids.get(spelling).into_iter().flatten().copied()
    }

    /// All spellings with the ids of their entries, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, impl Iterator<Item = u64>)> {
        let entries = self.ids.iter();
        entries.map(|(spelling, ids)| (spelling.as_str(), ids.iter().copied()))
    }
}

/// The nouns that count as correct for each class, out of a model's targets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TargetAlignment {
    /// Per class the accepted target nouns: the main noun, then the others
    /// alphabetically. Empty if no target names the class: such a class is
    /// never counted correct.
    pub classes: Vec<Vec<String>>,
    /// All accepted nouns, sorted.
    pub class_targets: Vec<String>,
    /// Targets that no dictionary entry has; they cannot count for a class.
    pub unknown_targets: Vec<String>,
    /// Targets that occur more than once.
    pub repeated_targets: Vec<String>,
    /// Parts of class names that no dictionary entry has.
    pub unknown_parts: BTreeSet<String>,
    /// Parts of class names whose entries have no target.
    pub parts_without_target: BTreeSet<String>,
}

impl TargetAlignment {
    /// Looks up every comma-separated part of every class name.
    pub fn new(variants: &VariantMap, targets: &[String], classes: &[String]) -> Self {
        let mut alignment = Self {
            classes: Vec::with_capacity(classes.len()),
            class_targets: Vec::new(),
            unknown_targets: Vec::new(),
            repeated_targets: Vec::new(),
            unknown_parts: BTreeSet::new(),
            parts_without_target: BTreeSet::new(),
        };
        let targets_by_id = alignment.targets_by_id(variants, targets);
        for class in classes {
            let accepted = alignment.accepted(class, variants, &targets_by_id);
            alignment.classes.push(accepted);
        }
        let all: BTreeSet<&String> = alignment.classes.iter().flatten().collect();
        alignment.class_targets = all.into_iter().cloned().collect();
        alignment
    }

    /// Classes that no target names, as indices.
    pub fn empty_classes(&self) -> impl Iterator<Item = usize> {
        let classes = self.classes.iter().enumerate();
        classes
            .filter(|(_, nouns)| nouns.is_empty())
            .map(|(i, _)| i)
    }

    fn targets_by_id<'a>(
        &mut self,
        variants: &VariantMap,
        targets: &'a [String],
    ) -> BTreeMap<u64, BTreeSet<&'a str>> {
        let mut by_id: BTreeMap<u64, BTreeSet<&str>> = BTreeMap::new();
        let mut seen = HashSet::new();
        for target in targets {
            if !seen.insert(target.as_str()) {
                self.repeated_targets.push(target.clone());
                continue;
            }
            let mut known = false;
            for id in variants.ids(target) {
                known = true;
                by_id.entry(id).or_default().insert(target);
            }
            if !known {
                self.unknown_targets.push(target.clone());
            }
        }
        by_id
    }

    fn accepted(
        &mut self,
        class: &str,
        variants: &VariantMap,
        targets_by_id: &BTreeMap<u64, BTreeSet<&str>>,
    ) -> Vec<String> {
        let mut main: Option<&str> = None;
        let mut accepted = BTreeSet::new();
        for part in parts(class) {
            let form = canonical(part);
            let mut ids = variants.ids(&form).peekable();
            if ids.peek().is_none() {
                self.unknown_parts.insert(part.to_owned());
                continue;
            }
            let mut found = false;
            for targets in ids.filter_map(|id| targets_by_id.get(&id)) {
                found = true;
                main = main.or(targets.first().copied());
                accepted.extend(targets.iter().copied());
            }
            if !found {
                self.parts_without_target.insert(part.to_owned());
            }
        }
        let others = accepted.into_iter().filter(|&noun| Some(noun) != main);
        main.into_iter().chain(others).map(str::to_owned).collect()
    }
}
