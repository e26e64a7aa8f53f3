//! Hypernym templates and how an entry's repetitions are spread over them
//! (`nouns-captions.md` 2.3).

use super::TextRules;
use super::compile::{merge_entries, split_field};
use super::file::Collection;
use crate::nouns::NounsError;
use crate::nouns::canonical::collapse_spaces;
use crate::nouns::error::TemplateProblem;

const ALLOWED: &str = "{target} and {article_target}";

/// A compiled hypernym template: a suffix of the noun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HypernymTemplate {
    /// Text before the hypernym.
    pub before: String,
    /// Text after the hypernym.
    pub after: String,
    /// Whether the hypernym gets its indefinite article.
    pub article: bool,
    /// Units given to the hypernyms of an entry.
    pub frequency: u64,
}

impl HypernymTemplate {
    /// The template with `{target}` in the place of the hypernym.
    pub fn template(&self) -> String {
        [&self.before, "{target}", &self.after].concat()
    }

    /// Units of each of an entry's `hypernyms` hypernyms, when the running
    /// index stands at `start`.
    fn units(&self, hypernyms: u64, start: u64) -> impl Iterator<Item = u64> {
        let (rounds, rest) = (self.frequency / hypernyms, self.frequency % hypernyms);
        (0..hypernyms).map(move |hypernym| {
            let distance = (hypernym + hypernyms - start) % hypernyms;
            rounds + u64::from(distance < rest)
        })
    }
}

/// The hypernym templates and the weight of the bare noun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hypernyms {
    bare: u64,
    templates: Vec<HypernymTemplate>,
}

impl Hypernyms {
    /// No hypernyms at all: the shipped collection `None`.
    pub fn none() -> Self {
        Self {
            bare: 1,
            templates: Vec::new(),
        }
    }

    pub(super) fn compile(
        collections: Vec<Collection<'_>>,
        rules: TextRules,
    ) -> Result<Self, NounsError> {
        let mut hypernyms = Self {
            bare: 0,
            templates: Vec::new(),
        };
        for merged in merge_entries(&collections, true)? {
            let Some(template) = merged.template else {
                hypernyms.bare += merged.frequency;
                continue;
            };
            let compiled = compile_template(template, merged.frequency, rules)
                .map_err(|problem| merged.place.problem(problem))?;
            hypernyms.templates.push(compiled);
        }
        if hypernyms.bare == 0 {
            return Err(NounsError::NoBareNoun {
                collections: collections.iter().map(|c| c.name.to_owned()).collect(),
            });
        }
        Ok(hypernyms)
    }

    /// The templates in order.
    pub fn templates(&self) -> &[HypernymTemplate] {
        &self.templates
    }

    /// Units of every entry, whatever the number of its hypernyms.
    pub fn total_units(&self) -> u64 {
        let templates: u64 = self.templates.iter().map(|t| t.frequency).sum();
        self.bare + templates
    }

    /// Units of the bare noun of an entry with so many hypernyms.
    pub fn bare_units(&self, hypernyms: usize) -> u64 {
        match hypernyms {
            0 => self.total_units(),
            _ => self.bare,
        }
    }

    /// `[template][hypernym]` units of an entry with so many hypernyms.
    pub fn distribution(&self, hypernyms: usize) -> Vec<Vec<u64>> {
        let count = hypernyms as u64;
        let mut start = 0;
        let units = self.templates.iter().map(|template| {
            if count == 0 {
                return Vec::new();
            }
            let units = template.units(count, start).collect();
            start = (start + template.frequency) % count;
            units
        });
        units.collect()
    }
}

fn compile_template(
    template: &str,
    frequency: u64,
    rules: TextRules,
) -> Result<HypernymTemplate, TemplateProblem> {
    let mut text = collapse_spaces(template);
    if text.is_empty() {
        return Err(TemplateProblem::Empty);
    }
    if rules == TextRules::Mended && template.starts_with(char::is_whitespace) {
        text.insert(0, ' ');
    }
    let split = split_field(&text, ALLOWED)?;
    let article = match split.field {
        "target" => false,
        "article_target" => true,
        _ => {
            return Err(TemplateProblem::UnknownField {
                template: text.clone(),
                field: split.field.to_owned(),
                allowed: ALLOWED,
            });
        }
    };
    Ok(HypernymTemplate {
        before: split.before.to_owned(),
        after: split.after.to_owned(),
        article,
        frequency,
    })
}
