//! Points for predictions (`reports.md` section 3).

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use super::annotations::{Annotations, CategoryId};
use crate::reports::number_text::{Fraction, digits, fixed, percent};
use crate::reports::printed::Printed;
use crate::reports::python_text::{json_list, python_list};

/// What counts for a noun that is annotated in several categories of a sample.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Ambiguous {
    /// Nothing is scored; all such nouns are named.
    #[default]
    Error,
    /// The category with most points.
    Best,
    /// The category with fewest points.
    Worst,
    /// The alphabetically first category, as in the original's tables.
    First,
    /// The last category in the file, as in the original's specificity tool.
    Last,
}

impl FromStr for Ambiguous {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Ok(match text {
            "error" => Self::Error,
            "best" => Self::Best,
            "worst" => Self::Worst,
            "first" => Self::First,
            "last" => Self::Last,
            other => {
                return Err(format!(
                    "`{other}` is none of error, best, worst, first, last"
                ));
            }
        })
    }
}

/// How sums of points become digits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rounding {
    /// Whole tenths, so that ties are exact and go to the even digit.
    #[default]
    Exact,
    /// Doubles, as the original adds them.
    Original,
}

/// A prediction annotated in several categories.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conflict {
    /// Sample.
    pub sample: String,
    /// Predicted noun.
    pub noun: String,
    /// Its categories, sorted.
    pub categories: Vec<String>,
}

/// How many samples count for which category, in the order in which the
/// categories first occurred; `None`: not annotated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Counter(Vec<(Option<CategoryId>, u64)>);

impl Counter {
    /// Counts one more.
    pub fn add(&mut self, category: Option<CategoryId>) {
        match self.0.iter_mut().find(|(known, _)| *known == category) {
            Some((_, count)) => *count += 1,
            None => self.0.push((category, 1)),
        }
    }

    /// Categories with their counts.
    pub fn counts(&self) -> &[(Option<CategoryId>, u64)] {
        &self.0
    }

    /// Samples counted.
    pub fn total(&self) -> u64 {
        self.0.iter().map(|(_, count)| count).sum()
    }

    /// Count of a category by name.
    pub fn of(&self, category: &str, annotations: &Annotations) -> u64 {
        let matches = |id: &Option<CategoryId>| {
            id.is_some_and(|id| annotations.category_name(id) == category)
        };
        let found = self.0.iter().find(|(id, _)| matches(id));
        found.map_or(0, |(_, count)| *count)
    }

    /// Samples whose prediction is not annotated.
    pub fn unannotated(&self) -> u64 {
        let found = self.0.iter().find(|(id, _)| id.is_none());
        found.map_or(0, |(_, count)| *count)
    }

    /// The sum of points.
    pub fn score(&self, annotations: &Annotations) -> Score {
        let mut score = Score {
            tenths: 0,
            points: 0.0,
            total: self.total(),
        };
        for (category, count) in &self.0 {
            let tenths = annotations.tenths(*category);
            score.tenths += count * tenths;
            score.points += *count as f64 * (tenths as f64 / 10.0);
        }
        score
    }

    /// `CP/CS✓ LP/LS~ I/O✗ = T`, each count as wide as the total unless a width
    /// is given.
    pub fn details(&self, annotations: &Annotations, width: Option<usize>) -> String {
        let named = [
            "correct_primary",
            "correct_secondary",
            "close_primary",
            "close_secondary",
            "incorrect",
        ];
        details_text(
            named.map(|name| self.of(name, annotations)),
            self.total(),
            width,
        )
    }
}

/// The text of [`Counter::details`] from the counts of the five categories.
pub fn details_text(counts: [u64; 5], total: u64, width: Option<usize>) -> String {
    let width = width.unwrap_or_else(|| digits(total));
    let [cp, cs, lp, ls, wrong] = counts;
    let other = total.saturating_sub(counts.iter().sum());
    format!(
        "{cp:>width$}/{cs:>width$}✓ {lp:>width$}/{ls:>width$}~ {wrong:>width$}/{other:>width$}✗ = {total:>width$}"
    )
}

/// A sum of points over samples.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Score {
    /// Points in tenths.
    pub tenths: u64,
    /// Points as the original adds them.
    pub points: f64,
    /// Number of samples.
    pub total: u64,
}

impl Score {
    /// Points per sample; `None` without samples.
    pub fn share(self) -> Option<f64> {
        (self.total > 0).then(|| self.points / self.total as f64)
    }

    /// The same exactly.
    pub fn exact_share(self) -> Option<Fraction> {
        Fraction::new(self.tenths.into(), i128::from(self.total).checked_mul(10)?)
    }

    /// Points with one decimal, right-aligned to two more than `width`, which
    /// is that of the total unless given.
    pub fn text(self, width: Option<usize>, rounding: Rounding) -> String {
        let width = width.unwrap_or_else(|| digits(self.total)) + 2;
        let exact = Fraction::new(self.tenths.into(), 10);
        let text = match (rounding, exact) {
            (Rounding::Exact, Some(exact)) => exact.fixed(1),
            _ => fixed(self.points, 1),
        };
        format!("{text:>width$}")
    }

    /// Percentage of the most points there could be.
    pub fn percent_text(self, rounding: Rounding) -> String {
        match (rounding, self.exact_share(), self.share()) {
            (Rounding::Exact, Some(share), _) => share.percent(),
            (_, _, Some(share)) => percent(share * 100.0),
            _ => percent(f64::NAN),
        }
    }
}

/// What scoring found out about the annotations, over all files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Nouns that are not annotated, by place of the sample in the annotations.
    missing: BTreeMap<usize, BTreeSet<String>>,
    /// Samples without annotations, with the nouns predicted for them.
    absent: BTreeMap<String, BTreeSet<String>>,
    /// Nouns in several categories, by sample and noun.
    conflicts: BTreeMap<(String, String), Vec<String>>,
}

impl Findings {
    /// Adds what another scoring found.
    pub fn merge(&mut self, other: Self) {
        for (place, nouns) in other.missing {
            self.missing.entry(place).or_default().extend(nouns);
        }
        for (sample, nouns) in other.absent {
            self.absent.entry(sample).or_default().extend(nouns);
        }
        self.conflicts.extend(other.conflicts);
    }

    /// Samples with the predicted nouns that lack annotations, in the order of
    /// the annotation file.
    pub fn missing<'a>(
        &'a self,
        annotations: &'a Annotations,
    ) -> impl Iterator<Item = (&'a str, &'a BTreeSet<String>)> {
        let entries = self.missing.iter();
        entries.map(|(place, nouns)| (annotations.key(*place), nouns))
    }

    /// Samples that the annotations lack, sorted, with the nouns predicted for
    /// them.
    pub fn absent(&self) -> &BTreeMap<String, BTreeSet<String>> {
        &self.absent
    }

    /// Predictions in several categories, sorted.
    pub fn conflicts(&self) -> Vec<Conflict> {
        let conflicts = self.conflicts.iter();
        conflicts
            .map(|((sample, noun), categories)| Conflict {
                sample: sample.clone(),
                noun: noun.clone(),
                categories: categories.clone(),
            })
            .collect()
    }

    /// Says all of it; the nouns that single samples need only if `each`.
    pub fn tell(&self, annotations: &Annotations, each: bool, out: &mut Printed) {
        let mut extra = 0;
        for (sample, nouns) in self.missing(annotations) {
            if each {
                out.warn(format!("Sample {sample} needs: {}", json_list(nouns)));
            }
            extra += nouns.len();
        }
        if !self.missing.is_empty() {
            out.warn(format!(
                "{} samples need a total of {extra} extra annotations",
                self.missing.len()
            ));
        }
        if !self.absent.is_empty() {
            out.error(format!(
                "Class annotations is missing {} samples: {}",
                self.absent.len(),
                json_list(self.absent.keys())
            ));
        }
        for ((sample, noun), categories) in &self.conflicts {
            out.error(format!(
                "Sample {sample} prediction '{noun}' matches multiple categories: {}",
                json_list(categories)
            ));
        }
    }
}

/// Says which categories give no points because nobody knows them.
pub fn tell_unknown_categories(annotations: &Annotations, out: &mut Printed) {
    let unknown = annotations.unknown_categories();
    if !unknown.is_empty() {
        out.warn(format!(
            "Applying zero score contribution for unrecognised categories: {}",
            python_list(unknown)
        ));
    }
}

/// Scores predictions, and remembers what the annotations lack.
#[derive(Debug)]
pub struct Scorer<'a> {
    annotations: &'a Annotations,
    ambiguous: Ambiguous,
    findings: Findings,
}

impl<'a> Scorer<'a> {
    /// A scorer that has seen nothing.
    pub fn new(annotations: &'a Annotations, ambiguous: Ambiguous) -> Self {
        Self {
            annotations,
            ambiguous,
            findings: Findings::default(),
        }
    }

    /// What was found so far.
    pub fn into_findings(self) -> Findings {
        self.findings
    }

    /// Category of a prediction; `None` if it is not annotated.
    pub fn category(&mut self, sample: &str, noun: &str) -> Option<CategoryId> {
        match self.annotations.place(sample) {
            Some(place) => self.category_at(place, sample, noun),
            None => {
                self.lacks(sample, noun);
                None
            }
        }
    }

    fn lacks(&mut self, sample: &str, noun: &str) {
        if !self.findings.absent.contains_key(sample) {
            self.findings
                .absent
                .insert(sample.to_owned(), BTreeSet::new());
        }
        if let Some(nouns) = self.findings.absent.get_mut(sample)
            && !nouns.contains(noun)
        {
            nouns.insert(noun.to_owned());
        }
    }

    fn category_at(&mut self, place: usize, sample: &str, noun: &str) -> Option<CategoryId> {
        let annotations = self.annotations;
        match annotations.categories_of(place, noun) {
            [] => {
                let nouns = self.findings.missing.entry(place).or_default();
                if !nouns.contains(noun) {
                    nouns.insert(noun.to_owned());
                }
                None
            }
            [category] => Some(*category),
            several => {
                let name = |id: &CategoryId| annotations.category_name(*id);
                let mut names: Vec<_> = several.iter().map(|id| name(id).to_owned()).collect();
                names.sort_unstable();
                let key = (sample.to_owned(), noun.to_owned());
                self.findings.conflicts.insert(key, names);
                let tenths = |id: &&CategoryId| annotations.tenths(Some(**id));
                // Equal points: the alphabetically first.
                let chosen = match self.ambiguous {
                    Ambiguous::First | Ambiguous::Error => several.iter().min_by_key(|id| name(id)),
                    Ambiguous::Best => several
                        .iter()
                        .min_by_key(|id| (std::cmp::Reverse(tenths(id)), name(id))),
                    Ambiguous::Worst => several.iter().min_by_key(|id| (tenths(id), name(id))),
                    Ambiguous::Last => several.last(),
                };
                chosen.copied()
            }
        }
    }

    /// Counts the best of the first 1, 2, … `topk` predictions of each sample.
    /// Rows hold at least `topk` nouns.
    pub fn topk<'n, R>(
        &mut self,
        samples: impl IntoIterator<Item = (&'n str, R)>,
        topk: usize,
    ) -> Vec<Counter>
    where
        R: IntoIterator<Item = &'n str>,
    {
        let mut counters = vec![Counter::default(); topk];
        for (sample, nouns) in samples {
            let place = self.annotations.place(sample);
            // Before the first prediction, below every score.
            let mut best: Option<(u64, Option<CategoryId>)> = None;
            for (counter, noun) in counters.iter_mut().zip(nouns) {
                let own = match place {
                    Some(place) => self.category_at(place, sample, noun),
                    None => {
                        self.lacks(sample, noun);
                        None
                    }
                };
                let tenths = self.annotations.tenths(own);
                match best {
                    Some((points, category)) if tenths < points => counter.add(category),
                    // Of equal ones, the earlier stays the best, but each
                    // counts for its rank.
                    Some((points, _)) if tenths == points => counter.add(own),
                    _ => {
                        best = Some((tenths, own));
                        counter.add(own);
                    }
                }
            }
        }
        counters
    }
}
