//! How far two annotation files agree (`annotation.md` 1.4).

use std::collections::BTreeMap;

use serde::Serialize;

use super::category::Category;
use super::file::AnnotationFile;

/// Two files beside each other.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Comparison {
    /// Category, pairs of the first file, pairs of the second.
    pub categories: Vec<(String, usize, usize)>,
    /// Pairs that only the first file has: image, noun, category.
    pub only_first: Vec<(String, String, String)>,
    /// Pairs that only the second file has.
    pub only_second: Vec<(String, String, String)>,
    /// Pairs of both.
    pub both: usize,
    /// Pairs of both in agreeing categories.
    pub agreed: usize,
    /// Share of the pairs of both in agreeing categories.
    pub agreement: Option<f64>,
    /// The share beyond chance: Cohen's kappa. None if chance alone explains
    /// everything.
    pub kappa: Option<f64>,
    /// Pairs in categories that do not agree: image, noun, first, second.
    pub conflicts: Vec<(String, String, String, String)>,
}

/// Compares two files.
pub fn compare(first: &AnnotationFile, second: &AnnotationFile) -> Comparison {
    compare_by(first, second, |category| category)
}

/// Compares two files where categories agree that `meaning` makes the same.
/// Pairs are counted by category nevertheless.
pub fn compare_by(
    first: &AnnotationFile,
    second: &AnnotationFile,
    meaning: impl Fn(&str) -> &str,
) -> Comparison {
    let mut counts: BTreeMap<(usize, String), (usize, usize)> = BTreeMap::new();
    for category in Category::ALL {
        counts.insert(sorted(category.name()), (0, 0));
    }
    for (file, is_second) in [(first, false), (second, true)] {
        for (_, _, category) in pairs(file) {
            let count = counts.entry(sorted(category)).or_default();
            *(if is_second {
                &mut count.1
            } else {
                &mut count.0
            }) += 1;
        }
    }
    let (mut only_first, mut conflicts) = (Vec::new(), Vec::new());
    let (mut both, mut agreed) = (0, 0);
    // How often each meaning is said about pairs of both.
    let mut said: BTreeMap<&str, (usize, usize)> = BTreeMap::new();
    for (image, noun, category) in pairs(first) {
        let Some(other) = second.category_of(image, noun) else {
            only_first.push((image.to_owned(), noun.to_owned(), category.to_owned()));
            continue;
        };
        both += 1;
        said.entry(meaning(category)).or_default().0 += 1;
        said.entry(meaning(other)).or_default().1 += 1;
        if meaning(other) == meaning(category) {
            agreed += 1;
        } else {
            let [image, noun, category, other] = [image, noun, category, other].map(str::to_owned);
            conflicts.push((image, noun, category, other));
        }
    }
    let only_second = pairs(second)
        .filter(|(image, noun, _)| first.category_of(image, noun).is_none())
        .map(|(image, noun, category)| (image.to_owned(), noun.to_owned(), category.to_owned()));
    let chance: f64 = said.values().map(|(a, b)| (a * b) as f64).sum();
    let (agreement, kappa) = match both {
        0 => (None, None),
        _ => {
            let observed = agreed as f64 / both as f64;
            let chance = chance / (both as f64 * both as f64);
            let kappa = (chance < 1.0).then(|| (observed - chance) / (1.0 - chance));
            (Some(observed), kappa)
        }
    };
    Comparison {
        categories: counts
            .into_iter()
            .map(|((_, name), (a, b))| (name, a, b))
            .collect(),
        only_second: only_second.collect(),
        only_first,
        both,
        agreed,
        agreement,
        kappa,
        conflicts,
    }
}

/// Sorts the five by points and others behind them.
fn sorted(name: &str) -> (usize, String) {
    let place = Category::ALL.iter().position(|c| c.name() == name);
    (place.unwrap_or(Category::ALL.len()), name.to_owned())
}

fn pairs(file: &AnnotationFile) -> impl Iterator<Item = (&str, &str, &str)> {
    file.images().iter().flat_map(|entry| {
        let image = entry.image.as_str();
        entry
            .nouns()
            .map(move |(noun, category)| (image, noun, category))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kappa_is_that_of_the_textbooks() {
        // 20 yes/yes, 5 yes/no, 10 no/yes, 15 no/no: kappa 0.4.
        let (mut first, mut second) = (AnnotationFile::new(), AnnotationFile::new());
        let (yes, no) = (Some(Category::CorrectPrimary), Some(Category::Incorrect));
        let groups = [(20, yes, yes), (5, yes, no), (10, no, yes), (15, no, no)];
        let mut number = 0;
        for (count, a, b) in groups {
            for _ in 0..count {
                number += 1;
                first.label("image", &number.to_string(), a);
                second.label("image", &number.to_string(), b);
            }
        }
        second.label("other", "x", yes);
        let found = compare(&first, &second);
        assert_eq!((found.both, found.agreed), (50, 35));
        assert!((found.kappa.unwrap() - 0.4).abs() < 1e-12);
        assert_eq!(found.conflicts.len(), 15);
        assert_eq!(found.only_second.len(), 1);
        assert_eq!(found.categories[0], ("correct_primary".to_owned(), 25, 31));
    }

    #[test]
    fn nothing_in_common_is_no_agreement() {
        let found = compare(&AnnotationFile::new(), &AnnotationFile::new());
        assert_eq!((found.agreement, found.kappa), (None, None));
    }
}
