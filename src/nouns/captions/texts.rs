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
}

impl ChosenCaptions {
    /// The samples from number `start` on; none behind the last.
    pub fn texts_from(&self, start: u64) -> CaptionTexts<'_> {
        CaptionTexts {
            chosen: self,
            next: start,
        }
    }
}

impl TextSamples for CaptionTexts<'_> {
    fn next_text(&mut self, text: &mut String, targets: &mut Vec<usize>) -> Option<u64> {
        let chosen = self.chosen;
        if self.next >= chosen.num_samples() {
            return None;
        }
        let block = chosen.starts.partition_point(|&start| start <= self.next) - 1;
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
        let mut parts = caption.split(field(number));
        text.push_str(parts.next().unwrap_or_default());
        for part in parts {
            text.push_str(&spelling.text);
            text.push_str(part);
        }
        targets.clear();
        targets.push(noun.target);
        self.next += 1;
        Some(1)
    }
}
