//! What prompt and hypernym templates share: weights, merging, the one field.

use std::collections::HashMap;

use serde_json::Value;

use super::file::Collection;
use crate::nouns::NounsError;
use crate::nouns::error::TemplateProblem;

/// Entries of the same text, with the place of the first one.
pub(super) struct Merged<'a> {
    pub frequency: u64,
    /// `None` for JSON null.
    pub template: Option<&'a str>,
    pub place: Place<'a>,
}

/// Where a template stands, for messages.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    kind: &'static str,
    collection: &'a str,
    index: usize,
}

impl Place<'_> {
    pub fn problem(self, reason: TemplateProblem) -> NounsError {
        NounsError::Template {
            kind: self.kind,
            collection: self.collection.to_owned(),
            index: self.index,
            reason,
        }
    }
}

/// Reads `[frequency, template]` entries in order; adds up the frequencies of
/// equal templates and leaves out those of frequency 0.
pub(super) fn merge_entries<'a>(
    collections: &[Collection<'a>],
    allow_null: bool,
) -> Result<Vec<Merged<'a>>, NounsError> {
    let mut merged: Vec<Merged> = Vec::new();
    let mut positions = HashMap::new();
    for collection in collections {
        for (index, entry) in collection.entries.iter().enumerate() {
            let place = Place {
                kind: collection.kind,
                collection: collection.name,
                index,
            };
            let Some([frequency, template]) = entry.as_array().map(Vec::as_slice) else {
                return Err(place.problem(TemplateProblem::NotAPair));
            };
            let frequency = frequency
                .as_u64()
                .filter(|&f| f <= u64::from(u32::MAX))
                .ok_or_else(|| place.problem(TemplateProblem::Frequency(frequency.to_string())))?;
            if frequency == 0 {
                continue;
            }
            let template = match template {
                Value::String(text) => Some(text.as_str()),
                Value::Null if allow_null => None,
                other => return Err(place.problem(TemplateProblem::NotAString(other.to_string()))),
            };
            let position = *positions.entry(template).or_insert(merged.len());
            match merged.get_mut(position) {
                // At most 2³² entries of at most 2³² each.
                Some(earlier) => earlier.frequency += frequency,
                None => merged.push(Merged {
                    frequency,
                    template,
                    place,
                }),
            }
        }
    }
    Ok(merged)
}

/// A template split at its only field.
pub(super) struct Split<'a> {
    pub before: &'a str,
    pub field: &'a str,
    pub after: &'a str,
}

/// Splits `template` at its field; anything but exactly one pair of braces is
/// a problem. `allowed` lists the field names for messages.
pub(super) fn split_field<'a>(
    template: &'a str,
    allowed: &'static str,
) -> Result<Split<'a>, TemplateProblem> {
    let wrong = || TemplateProblem::Fields {
        template: template.to_owned(),
        allowed,
    };
    let (before, rest) = template.split_once('{').ok_or_else(wrong)?;
    let (field, after) = rest.split_once('}').ok_or_else(wrong)?;
    let braces = ['{', '}'];
    if [before, field, after]
        .iter()
        .any(|part| part.contains(braces))
    {
        return Err(wrong());
    }
    Ok(Split {
        before,
        field,
        after,
    })
}
