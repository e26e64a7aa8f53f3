//! Which nouns count as correct for the classes of a dataset (`eval-infer.md`
//! sections 6 and 7).

use std::collections::{BTreeSet, HashSet};

use super::inputs;
use super::pictures;
use crate::datasets::ClassificationDataset;
use crate::nouns::{
    ClassNameVariant, OnAmbiguity, TargetAlignment, VariantMap, Vocabulary, VocabularyAlignment,
    class_names, clean_class_name,
};
use crate::runner::{StageContext, StageError};

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
        let unnamed: Vec<usize> = alignment.empty_classes().collect();
        if !unnamed.is_empty() {
            context.warn(&format!(
                "{}: {} of {} classes have no name in the model's vocabulary and count as wrong: {}",
                classes.title,
                unnamed.len(),
                classes.names.len(),
                shortened(unnamed.iter().map(|&class| &classes.names[class])).join(", ")
            ));
        }
        Self::new(classes, alignment.classes)
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
