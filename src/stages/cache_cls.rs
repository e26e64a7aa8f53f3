//! `cache_cls`: pictures of a classification dataset → image embeddings → an
//! embedding cache whose targets are the nouns of each picture's class.

use std::collections::BTreeSet;

use serde_json::json;

use super::keys::{DATASET, EMBEDDER, NOUNS, TOKENS, WRITTEN_CACHE, keys};
use super::picture_cache::{PictureCache, PictureName};
use super::{inputs, pictures};
use crate::cache::{FileFlags, FilePlan, NounTable, RowOrder, TargetConfig, TargetPlan};
use crate::datasets::ClassificationDataset;
use crate::nouns::{ClassNameVariant, Vocabulary, VocabularyAlignment, names_of_classes};
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};

/// The stage kind.
#[derive(Debug)]
pub(super) struct CacheCls;

impl StageKind for CacheCls {
    fn name(&self) -> &'static str {
        "cache_cls"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![
            EMBEDDER,
            NOUNS,
            TOKENS,
            DATASET,
            &["cls.class_names", "cls.strict"],
            WRITTEN_CACHE
        ]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let mut resources = vec![inputs::embedder(query)?, inputs::dictionary(query)?];
        resources.extend(pictures::resources(query)?);
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let nouns = &context.config().nouns;
        let vocabulary = inputs::open_vocabulary(context.project(), nouns, nouns.vocab_threshold)?;
        super::noun_dataset::warn_of_entries(context, &vocabulary);
        let [dataset] = &pictures::open_all(context)?[..] else {
            return Err(StageError::failed(
                "one dataset is cached at a time: set cls.dataset",
            ));
        };
        let classes = ClassNouns::new(context, dataset.as_ref(), &vocabulary)?;
        let embedder = inputs::open_embedder(context)?;
        let tokenizer = embedder.tokenizer();
        let options = inputs::target_options(context, &context.config().target);
        let table = NounTable::new(classes.nouns.iter().cloned())?;
        let config = TargetConfig::build(tokenizer.as_ref(), table.valid(), &options)?;
        let targets = TargetPlan::new(&config, tokenizer.as_ref(), table, classes.most())?;
        let flags = FileFlags {
            full_targets: classes.is_full(),
            ..FileFlags::default()
        };
        let signature = inputs::signature(&embedder);
        let cache = PictureCache {
            len: dataset.len(),
            decode: &|index| Ok(dataset.image(index)?),
            name: &|index| PictureName {
                picture: dataset.image_name(index),
                class: Some(dataset.label(index)),
            },
            targets: Some(&|index, ids| classes.append_ids(dataset.label(index), ids)),
            plan: &|rows| {
                FilePlan::new(rows, &signature, Some(&targets), flags, RowOrder::AsWritten)
            },
        };
        let written = cache.write(context, &embedder)?;
        Ok(written.output(json!({
            "summary": format!(
                "{} pictures of {} classes, {} nouns",
                dataset.len(),
                classes.ids.len(),
                classes.nouns.len()
            ),
            "classes": classes.ids.len(),
            "nouns": classes.nouns.len(),
            "targets": classes.most(),
            "samples": dataset.len(),
        })))
    }
}

/// The nouns of every class.
struct ClassNouns {
    /// All nouns, sorted; the id of a noun is its place plus 1.
    nouns: Vec<String>,
    /// Noun ids per class, as many as the class has.
    ids: Vec<Vec<u32>>,
}

impl ClassNouns {
    fn new(
        context: &StageContext<'_>,
        dataset: &dyn ClassificationDataset,
        vocabulary: &Vocabulary,
    ) -> Result<Self, StageError> {
        let names = names(context, dataset)?;
        let alignment =
            VocabularyAlignment::new(vocabulary, &names, inputs::on_ambiguity(context.config()))?;
        if !alignment.unknown.is_empty() {
            let unknown: Vec<&str> = alignment.unknown.iter().map(String::as_str).collect();
            context.warn(&format!(
                "no noun of the vocabulary is called: {}",
                unknown.join(", ")
            ));
        }
        for (part, nouns) in &alignment.ambiguous {
            let nouns: Vec<&str> = nouns
                .iter()
                .map(|&noun| vocabulary.noun(noun).target.as_str())
                .collect();
            context.warn(&format!(
                "{part:?} is the name of several nouns ({}); the first is taken",
                nouns.join(", ")
            ));
        }
        if let Some(noun) = alignment.least_frequent.map(|noun| vocabulary.noun(noun)) {
            context.note(&format!(
                "the least frequent noun is {:?} with frequency {}",
                noun.target,
                noun.frequency()
            ));
        }
        let target = |&noun: &usize| vocabulary.noun(noun).target.clone();
        let nouns: BTreeSet<String> = alignment.classes.iter().flatten().map(target).collect();
        let nouns: Vec<String> = nouns.into_iter().collect();
        let id = |noun: &usize| {
            let place = nouns.binary_search(&vocabulary.noun(*noun).target);
            place.map_or(0, |place| place as u32 + 1)
        };
        let ids = alignment
            .classes
            .iter()
            .map(|nouns| nouns.iter().map(id).collect())
            .collect();
        Ok(Self { nouns, ids })
    }

    /// Most nouns of a class.
    fn most(&self) -> usize {
        self.ids.iter().map(Vec::len).max().unwrap_or(0)
    }

    /// Whether all classes have equally many.
    fn is_full(&self) -> bool {
        self.ids.iter().all(|ids| ids.len() == self.most())
    }

    fn append_ids(&self, class: usize, out: &mut Vec<u32>) {
        let ids = &self.ids[class];
        out.extend(ids);
        out.resize(out.len() + self.most() - ids.len(), 0);
    }
}

/// The names of the classes by the chosen list, else the dataset's own.
fn names(
    context: &StageContext<'_>,
    dataset: &dyn ClassificationDataset,
) -> Result<Vec<String>, StageError> {
    let config = context.config();
    let variant = ClassNameVariant::named(&config.cls.class_names)?;
    let data = inputs::path(context.project(), "data");
    let name = &config.cls.dataset;
    let clean = variant == ClassNameVariant::Clip;
    let names = names_of_classes(name, dataset.classes(), Some(variant), clean, Some(&data))?;
    if names.len() != dataset.classes().len() {
        return Err(StageError::failed(format!(
            "the {} list names {} classes, dataset {} has {}; choose another cls.class_names",
            variant.name(),
            names.len(),
            dataset.name(),
            dataset.classes().len()
        )));
    }
    Ok(names)
}
