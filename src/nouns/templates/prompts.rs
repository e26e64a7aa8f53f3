//! Prompt templates (`nouns-captions.md` 2.2).

use std::collections::HashMap;

use super::TextRules;
use super::compile::{merge_entries, split_field};
use super::file::Collection;
use crate::nouns::NounsError;
use crate::nouns::canonical::collapse_spaces;
use crate::nouns::error::TemplateProblem;
use crate::nouns::noun::Number;

const ALLOWED: &str = "{noun}, {article_noun}, {singular}, {article_singular}, {plural} and \
                       {article_plural}";

/// A compiled prompt for nouns of one number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompt {
    /// Text before the noun.
    pub before: String,
    /// Text after the noun.
    pub after: String,
    /// Whether the noun gets its indefinite article.
    pub article: bool,
    /// Whether a hypernym suffix needs a comma behind it here.
    pub hypernym_comma: bool,
    /// How often each text is repeated, times the frequency of its spelling.
    pub frequency: u64,
}

impl Prompt {
    /// The template with `{noun}` in the place of the noun.
    pub fn template(&self) -> String {
        [&self.before, "{noun}", &self.after].concat()
    }
}

/// The prompts of both numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prompts {
    singular: Vec<Prompt>,
    plural: Vec<Prompt>,
    merged_texts: Vec<String>,
}

impl Prompts {
    pub(super) fn compile(
        collections: Vec<Collection<'_>>,
        rules: TextRules,
    ) -> Result<Self, NounsError> {
        let mut texts: Vec<(String, u64)> = Vec::new();
        let mut positions = HashMap::new();
        let mut prompts = Self {
            singular: Vec::new(),
            plural: Vec::new(),
            merged_texts: Vec::new(),
        };
        let mut places = Vec::new();
        for merged in merge_entries(&collections, false)? {
            let text = normalise(merged.template.unwrap_or_default(), rules)
                .ok_or_else(|| merged.place.problem(TemplateProblem::Empty))?;
            let position = match rules {
                TextRules::Mended => *positions.entry(text.clone()).or_insert(texts.len()),
                TextRules::Original => texts.len(),
            };
            match texts.get_mut(position) {
                Some((_, frequency)) => {
                    *frequency += merged.frequency;
                    prompts.merged_texts.push(text);
                }
                None => {
                    texts.push((text, merged.frequency));
                    places.push(merged.place);
                }
            }
        }
        for ((text, frequency), place) in texts.iter().zip(places) {
            prompts
                .add(text, *frequency)
                .map_err(|problem| place.problem(problem))?;
        }
        Ok(prompts)
    }

    fn add(&mut self, text: &str, frequency: u64) -> Result<(), TemplateProblem> {
        let split = split_field(text, ALLOWED)?;
        let prompt = |article| Prompt {
            before: split.before.to_owned(),
            after: split.after.to_owned(),
            article,
            hypernym_comma: !split.after.starts_with(['.', ',', '?', '!', ':', ';']),
            frequency,
        };
        let (article, number) = match split.field.strip_prefix("article_") {
            Some(number) => (true, number),
            None => (false, split.field),
        };
        match number {
            "singular" => self.singular.push(prompt(article)),
            "plural" => self.plural.push(prompt(false)),
            "noun" => {
                self.singular.push(prompt(article));
                self.plural.push(prompt(false));
            }
            _ => {
                return Err(TemplateProblem::UnknownField {
                    template: text.to_owned(),
                    field: split.field.to_owned(),
                    allowed: ALLOWED,
                });
            }
        }
        Ok(())
    }

    /// The prompts for nouns of one number, in order.
    pub fn of(&self, number: Number) -> &[Prompt] {
        match number {
            Number::Singular => &self.singular,
            Number::Plural => &self.plural,
        }
    }

    /// Texts of different templates that were merged because only white space
    /// or the final full stop told them apart; worth a warning.
    pub fn merged_texts(&self) -> &[String] {
        &self.merged_texts
    }
}

/// White space collapsed and a full stop at the end; `None` if nothing is left.
fn normalise(template: &str, rules: TextRules) -> Option<String> {
    let mut text = collapse_spaces(template);
    let ends: &[char] = match rules {
        TextRules::Mended => &['.', '?', '!'],
        TextRules::Original => &['.'],
    };
    if text.is_empty() {
        return None;
    }
    if !text.ends_with(ends) {
        text.push('.');
    }
    Some(text)
}
