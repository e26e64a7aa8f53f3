//! The samples of chosen captions, in order.

use super::{ChosenCaptions, field};
use crate::nouns::noun::Number;
use crate::nouns::text_samples::TextSamples;

/// An enumeration of the samples: per noun and number every spelling, as often
/// as it counts, in the captions that are chosen, which take turns.
#[derive(Clone, Debug)]
pub struct CaptionTexts<'a> {
    chosen: &'a ChosenCaptions,
    next: u64,
    /// The noun and number that the next sample is not before.
    block: usize,
}

impl ChosenCaptions {
    /// The samples from number `start` on; none behind the last.
    pub fn texts_from(&self, start: u64) -> CaptionTexts<'_> {
        let block = self.starts.partition_point(|&first| first <= start);
        CaptionTexts {
            chosen: self,
            next: start,
            block: block.saturating_sub(1),
        }
    }
}

impl TextSamples for CaptionTexts<'_> {
    fn next_text(&mut self, text: &mut String, targets: &mut Vec<usize>) -> Option<u64> {
        let chosen = self.chosen;
        if self.next >= chosen.num_samples() {
            return None;
        }
        while chosen.starts[self.block + 1] <= self.next {
            self.block += 1;
        }
        let block = self.block;
        let (noun, number) = (&chosen.nouns[block / 2], Number::ALL[block % 2]);
        let at = self.next - chosen.starts[block];
        let captions = &noun.captions[block % 2];
        let caption = &captions[(at % captions.len() as u64) as usize];

        let entry = chosen.vocabulary.noun(noun.target);
        let mut before = 0;
        let spelling = entry.spellings(number).iter().find(|spelling| {
            before += u64::from(spelling.frequency) * chosen.counts.samples();
            at < before
        })?;
        text.clear();
        fill(caption, field(number), &spelling.text, text);
        targets.clear();
        targets.push(noun.target);
        self.next += 1;
        Some(1)
    }
}

/// Appends a caption with a spelling in the place of its fields. They begin with
/// a brace, which is found faster than all of the field.
fn fill(caption: &str, field: &str, spelling: &str, text: &mut String) {
    let mut rest = caption;
    while let Some(brace) = rest.find('{') {
        let (before, from_brace) = rest.split_at(brace);
        text.push_str(before);
        rest = match from_brace.strip_prefix(field) {
            Some(after) => {
                text.push_str(spelling);
                after
            }
            None => {
                text.push('{');
                &from_brace[1..]
            }
        };
    }
    text.push_str(rest);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_filled_wherever_they_are() {
        let filled = |caption| {
            let mut text = String::new();
            fill(caption, "{singular}", "fox", &mut text);
            text
        };
        assert_eq!(filled("a {singular}."), "a fox.");
        assert_eq!(filled("{singular} and {singular}"), "fox and fox");
        assert_eq!(filled("{{singular} {plural} {"), "{fox {plural} {");
        assert_eq!(filled(""), "");
    }
}
