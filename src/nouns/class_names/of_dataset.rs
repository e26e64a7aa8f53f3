//! The names of a dataset's classes: those of a list, else the dataset's own.

use std::path::Path;

use super::cleaning::clean_class_name;
use super::lists::{ClassNameVariant, class_names};
use crate::nouns::NounsError;

/// Names of the classes of `dataset` in label order. `own` are those that its
/// files give; they serve where no list is wanted or the list lacks the
/// dataset. `clean` shortens names of a list.
///
/// # Errors
/// A list that cannot be read; own names that are WordNet ids.
pub fn names_of_classes(
    dataset: &str,
    own: &[String],
    variant: Option<ClassNameVariant>,
    clean: bool,
    data_dir: Option<&Path>,
) -> Result<Vec<String>, NounsError> {
    let listed = match variant {
        Some(variant) => class_names(variant, dataset, data_dir)?,
        None => None,
    };
    if let Some(names) = listed {
        return Ok(if clean {
            names.iter().map(|name| clean_class_name(name)).collect()
        } else {
            names
        });
    }
    match own.iter().find(|name| is_synset_id(name)) {
        Some(id) => Err(NounsError::ClassIsId {
            dataset: dataset.to_owned(),
            class: id.clone(),
        }),
        None => Ok(own.to_vec()),
    }
}

/// `n01440764` and the like: all characters after the first are digits.
fn is_synset_id(class: &str) -> bool {
    let mut rest = class.chars().skip(1).peekable();
    rest.peek().is_some() && rest.all(|c| c.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_come_first_and_ids_are_no_names() {
        let own = |names: &[&str]| {
            names
                .iter()
                .map(|&name| name.to_owned())
                .collect::<Vec<_>>()
        };
        let names = |dataset, own: &[String], variant, clean| {
            names_of_classes(dataset, own, variant, clean, None)
        };
        let clip = Some(ClassNameVariant::Clip);
        let ids = own(&["n01440764", "n01443537"]);
        assert_eq!(names("ImageNet1K", &ids, clip, false).unwrap().len(), 1000);
        let kite = |clean| names("imagenet1k", &ids, clip, clean).unwrap()[21].clone();
        assert_ne!(kite(true), kite(false));
        let error = names("ImageNet1K", &ids, None, false).unwrap_err();
        assert!(error.to_string().contains("n01440764"), "{error}");
        let cifar = own(&["airplane", "cat"]);
        assert_eq!(names("CIFAR10", &cifar, clip, true).unwrap(), cifar);
    }
}
