//! Which nouns count as correct for the classes of a dataset (`eval-infer.md`
//! sections 6 and 7).

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::{Value, json};

use super::inputs;
use super::pictures;
use super::trained;
use crate::datasets::ClassificationDataset;
use crate::evaluate::TextTable;
use crate::nouns::{
    ClassNameVariant, OnAmbiguity, TargetAlignment, VariantMap, Vocabulary, VocabularyAlignment,
    class_names, clean_class_name,
};
use crate::runner::{StageContext, StageError};

/// Classes without a noun that are listed.
const SHOWN_CLASSES: usize = 30;

/// Names of the classes of a dataset.
pub(super) struct ClassNames {
    /// `name split variant`.
    pub title: String,
    /// Comma-separated names of each class.
    pub names: Vec<String>,
    /// Names that count although no dictionary knows them; none for datasets
    /// whose names come from a list.
    own: Vec<HashSet<String>>,
    /// Whether names that lead nowhere are worth a warning: those of a list.
    is_list: bool,
}

impl ClassNames {
    /// The names by the chosen list, else the dataset's own.
    pub(super) fn of(
        context: &StageContext<'_>,
        asked: &str,
        dataset: &dyn ClassificationDataset,
    ) -> Result<Self, StageError> {
        let cls = &context.config().cls;
        let classes = dataset.classes().len();
        if pictures::is_embedded(asked) {
            let accepted = |class| dataset.accepted_names(class);
            return Ok(Self {
                title: format!("{} {} own", dataset.name(), cls.split),
                names: (0..classes)
                    .map(|class| accepted(class).join(", "))
                    .collect(),
                own: (0..classes)
                    .map(|class| accepted(class).iter().cloned().collect())
                    .collect(),
                is_list: false,
            });
        }
        let variant = ClassNameVariant::named(&cls.class_names)?;
        let data = inputs::path(context.project(), "data");
        let names = match class_names(variant, asked, Some(&data))? {
            None => dataset.classes().to_vec(),
            Some(names) if names.len() != classes => {
                return Err(StageError::failed(format!(
                    "the {} list names {} classes, dataset {} has {classes}; choose another \
                     cls.class_names",
                    variant.name(),
                    names.len(),
                    dataset.name(),
                )));
            }
            Some(names) if variant == ClassNameVariant::Clip => {
                names.iter().map(|name| clean_class_name(name)).collect()
            }
            Some(names) => names,
        };
        Ok(Self {
            title: format!("{} {} {}", dataset.name(), cls.split, variant.name()),
            names,
            own: vec![HashSet::new(); classes],
            is_list: true,
        })
    }
}

/// What counts as correct for each class.
pub(super) struct ClassLists {
    /// Accepted nouns, the main one first; may be empty for a class.
    pub lists: Vec<Vec<String>>,
    /// The same and further texts, as sets.
    pub accepted: Vec<HashSet<String>>,
    /// All accepted nouns of the lists, sorted.
    pub nouns: Vec<String>,
}

impl ClassLists {
    /// The nouns of a model that the dictionary says are the same things.
    pub(super) fn of_model(
        context: &StageContext<'_>,
        classes: &ClassNames,
        variants: &VariantMap,
        vocabulary: &[String],
    ) -> Self {
        let alignment = TargetAlignment::new(variants, vocabulary, &classes.names);
        for warning in warnings(&alignment, classes.is_list) {
            context.warn(&format!("{}: {warning}", classes.title));
        }
        Self::new(classes, alignment.classes)
    }

    /// Tells of classes that no noun of the model names, and of their pictures:
    /// they count as wrong. `labels` are the classes of the pictures.
    pub(super) fn tell_unnamed(
        &self,
        context: &StageContext<'_>,
        classes: &ClassNames,
        labels: &[usize],
    ) {
        let mut unnamed = self.unnamed(labels);
        if unnamed.is_empty() {
            return;
        }
        let pictures: usize = unnamed.iter().map(|(_, pictures)| pictures).sum();
        context.note(&format!(
            "{}: {} of {} classes have no name in the model's vocabulary; their {pictures} of {} \
             pictures count as wrong",
            classes.title,
            unnamed.len(),
            classes.names.len(),
            labels.len()
        ));
        if !classes.is_list {
            return;
        }
        unnamed.sort_by_key(|&(class, pictures)| (std::cmp::Reverse(pictures), class));
        let heads = ["Class without noun", "Pictures"].map(str::to_owned);
        let mut table = TextTable::new(heads);
        for &(class, pictures) in unnamed.iter().take(SHOWN_CLASSES) {
            table.row([classes.names[class].clone(), pictures.to_string()]);
        }
        if unnamed.len() > SHOWN_CLASSES {
            let more = format!("… {} more", unnamed.len() - SHOWN_CLASSES);
            table.row([more, String::new()]);
        }
        trained::show_table(context, &table.render());
    }

    /// Classes without a noun, with the number of their pictures.
    pub(super) fn unnamed(&self, labels: &[usize]) -> Vec<(usize, usize)> {
        let classes = self.lists.iter().enumerate();
        classes
            .filter(|(_, nouns)| nouns.is_empty())
            .map(|(class, _)| {
                let pictures = labels.iter().filter(|&&label| label == class).count();
                (class, pictures)
            })
            .collect()
    }

    /// The class of a prediction for a picture of class `label`; none if it is
    /// accepted for no class. A noun of several classes is taken as the right
    /// one.
    fn class_of(&self, noun: &str, label: usize, by_noun: &HashMap<&str, usize>) -> Option<usize> {
        if self.lists[label].iter().any(|accepted| accepted == noun) {
            Some(label)
        } else {
            by_noun.get(noun).copied()
        }
    }

    /// `[true class, predicted class, samples]`: the classes that first
    /// predictions are accepted for; null for those that are accepted for none.
    pub(super) fn confusion<'a>(
        &self,
        labels: &[usize],
        first: impl Iterator<Item = Option<&'a str>>,
    ) -> Value {
        let mut by_noun: HashMap<&str, usize> = HashMap::new();
        for (class, nouns) in self.lists.iter().enumerate() {
            for noun in nouns {
                by_noun.entry(noun).or_insert(class);
            }
        }
        let mut counts: BTreeMap<(usize, Option<usize>), u64> = BTreeMap::new();
        for (noun, &label) in first.zip(labels) {
            let predicted = noun.and_then(|noun| self.class_of(noun, label, &by_noun));
            *counts.entry((label, predicted)).or_default() += 1;
        }
        let counts = counts.into_iter();
        let counts: Vec<Value> = counts
            .map(|((label, predicted), count)| json!([label, predicted, count]))
            .collect();
        json!(counts)
    }

    /// The nouns of the dictionary; every class must have one. Of several nouns
    /// with the same spelling the first counts, unless `cls.strict` is set.
    pub(super) fn of_dictionary(
        context: &StageContext<'_>,
        classes: &ClassNames,
        vocabulary: &Vocabulary,
    ) -> Result<Self, StageError> {
        let lenient = VocabularyAlignment::new(vocabulary, &classes.names, OnAmbiguity::TakeFirst)?;
        for part in &lenient.unknown {
            context.warn(&format!(
                "{}: class name {part:?} is left out, because the dictionary does not have it",
                classes.title
            ));
        }
        for (part, nouns) in &lenient.ambiguous {
            let nouns: Vec<&str> = nouns
                .iter()
                .map(|&noun| vocabulary.noun(noun).target.as_str())
                .collect();
            context.warn(&format!(
                "{}: class name {part:?} stands for several nouns: {}",
                classes.title,
                nouns.join(", ")
            ));
        }
        let on_ambiguity = inputs::on_ambiguity(context.config());
        let alignment = VocabularyAlignment::new(vocabulary, &classes.names, on_ambiguity)?;
        let lists = alignment
            .classes
            .iter()
            .map(|nouns| {
                let target = |&noun: &usize| vocabulary.noun(noun).target.clone();
                nouns.iter().map(target).collect()
            })
            .collect();
        Ok(Self::new(classes, lists))
    }

    fn new(classes: &ClassNames, lists: Vec<Vec<String>>) -> Self {
        let nouns: BTreeSet<&String> = lists.iter().flatten().collect();
        Self {
            nouns: nouns.into_iter().cloned().collect(),
            accepted: lists
                .iter()
                .zip(&classes.own)
                .map(|(nouns, own)| nouns.iter().chain(own).cloned().collect())
                .collect(),
            lists,
        }
    }
}

/// What does not fit together, in words.
fn warnings(alignment: &TargetAlignment, with_names: bool) -> Vec<String> {
    let mut warnings = Vec::new();
    let mut say = |count: usize, what: &str, named: Vec<&str>| {
        if count > 0 {
            warnings.push(format!("{count} {what}: {}", named.join(", ")));
        }
    };
    let mut unknown = alignment.unknown_targets.clone();
    unknown.sort();
    say(
        unknown.len(),
        "nouns of the model are not in the dictionary and name no class",
        shortened(unknown.iter()),
    );
    say(
        alignment.repeated_targets.len(),
        "nouns of the model are repeated",
        shortened(alignment.repeated_targets.iter()),
    );
    if !with_names {
        return warnings;
    }
    say(
        alignment.unknown_parts.len(),
        "class names are not in the dictionary",
        shortened(alignment.unknown_parts.iter()),
    );
    say(
        alignment.parts_without_target.len(),
        "class names have no noun in the model's vocabulary",
        shortened(alignment.parts_without_target.iter()),
    );
    warnings
}

/// The first names of a list that may be long.
fn shortened<'a>(names: impl Iterator<Item = &'a String>) -> Vec<&'a str> {
    const NAMED: usize = 20;
    let mut names: Vec<&str> = names.map(String::as_str).take(NAMED + 1).collect();
    if names.len() > NAMED {
        names[NAMED] = "…";
    }
    names
}
