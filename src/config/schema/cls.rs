//! `[cls]`: classification image datasets.

use crate::nouns::ClassNameVariant;

use super::action::readers;
use super::choice::choice;
use super::section::section;

/// Names of the known classification datasets; any case when reading. The last
/// two are drawings inside the program.
pub const CLS_DATASETS: &[&str] = &[
    "MNIST",
    "FashionMNIST",
    "CIFAR10",
    "CIFAR100",
    "Food101",
    "TinyImageNet",
    "Imagenette",
    "Imagewoof",
    "ImageNet1K",
    "ImageNet1KVal",
    "ImageNet-A",
    "ImageNet-R",
    "fluent-emoji",
    "fluent-emoji-flat",
];

choice! {
    /// Part of a classification dataset.
    pub enum ClsSplit {
        /// Training samples.
        Train = "train",
        /// Validation samples.
        #[default]
        Valid = "valid",
        /// Validation samples, then training samples.
        All = "all",
    }
}

section! {
    /// Classification image datasets.
    pub struct Cls("cls") {
        /// A known dataset, or a path (with a separator, or beginning with `.` or `~`) of an image folder or a list file.
        dataset: String = "ImageNet1K".to_owned() => form(cls_dataset).flat("cls_dataset").read_by(readers::CLS);
        /// Several of these.
        datasets: Vec<String> = Vec::new() => form(cls_dataset).flat("cls_datasets").read_by(readers::EVAL_CLS_DECODING);
        /// Directory of the datasets.
        root: String = "~/Datasets".to_owned() => path().flat("cls_dataset_root").read_by(readers::CLS);
        /// Which part.
        split: ClsSplit = ClsSplit::Valid => flat("cls_split").read_by(readers::CLS);
        /// List of class names: clip, multi, guide or wordnet.
        class_names: String = "clip".to_owned() => form(class_names).flat("class_names_variant").read_by(readers::CLASS_NAMES);
        /// Fail where a class name is the spelling of several nouns, rather than take the first of them.
        strict: bool = false => read_by(readers::CLASS_NAMES);
    }
}

fn class_names(text: &str) -> Result<(), String> {
    let known = ClassNameVariant::named(text).map(drop);
    known.map_err(|error| error.to_string())
}

fn cls_dataset(text: &str) -> Result<(), String> {
    let known = CLS_DATASETS
        .iter()
        .any(|name| name.eq_ignore_ascii_case(text));
    let path = text.contains(['/', std::path::MAIN_SEPARATOR]) || text.starts_with(['.', '~']);
    if known || path {
        Ok(())
    } else {
        Err(format!(
            "expected one of {}, or a path such as ./{text}",
            CLS_DATASETS.join(", ")
        ))
    }
}
