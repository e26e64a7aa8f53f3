//! The hypernym choices of an entry: the bare noun and every hypernym that
//! gets units of some template.

use crate::nouns::templates::Hypernyms;

/// One choice with the units before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Choice {
    /// Template and hypernym; `None` is the bare noun.
    pub hypernym: Option<(usize, usize)>,
    pub units: u64,
    /// Units of all earlier choices.
    pub start: u64,
}

/// The choices per number of hypernyms, from 0 to `most`.
pub(super) fn choices_by_count(hypernyms: &Hypernyms, most: usize) -> Vec<Vec<Choice>> {
    (0..=most).map(|count| choices(hypernyms, count)).collect()
}

fn choices(hypernyms: &Hypernyms, count: usize) -> Vec<Choice> {
    let mut choices = vec![Choice {
        hypernym: None,
        units: hypernyms.bare_units(count),
        start: 0,
    }];
    let mut start = hypernyms.bare_units(count);
    for (template, distribution) in hypernyms.distribution(count).iter().enumerate() {
        for (hypernym, &units) in distribution.iter().enumerate() {
            if units > 0 {
                choices.push(Choice {
                    hypernym: Some((template, hypernym)),
                    units,
                    start,
                });
                start += units;
            }
        }
    }
    choices
}
