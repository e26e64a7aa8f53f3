//! Texts with their target nouns, in the order in which they are written to a
//! cache: the form that all kinds of texts share.

use super::NounsError;
use super::dataset::{NounDataset, SampleId, Samples};

/// A sequence of texts.
pub trait TextSamples {
    /// Puts the next text into `text` and the indices of its target nouns into
    /// `targets`, and says for how many samples in a row it stands; `None`
    /// behind the last.
    fn next_text(&mut self, text: &mut String, targets: &mut Vec<usize>) -> Option<u64>;
}

/// The texts of a noun dataset.
#[derive(Debug)]
pub struct NounTexts<'a> {
    samples: Samples<'a>,
    /// Samples of the first text that come before the first wanted.
    skip: u64,
}

impl NounDataset {
    /// The texts from frequency sample `fsid` on; none behind the last.
    ///
    /// # Errors
    /// Never for a number up to [`NounDataset::num_samples`].
    pub fn texts_from(&self, fsid: u64) -> Result<NounTexts<'_>, NounsError> {
        if fsid == self.num_samples() {
            return Ok(NounTexts {
                samples: self.unique_samples_from(self.num_unique_samples()),
                skip: 0,
            });
        }
        let mut text = String::new();
        let sample = self.lookup(SampleId::Frequency(fsid), &mut text)?;
        let (skip, usid) = (fsid - sample.fsid, sample.usid);
        Ok(NounTexts {
            samples: self.unique_samples_from(usid),
            skip,
        })
    }
}

impl TextSamples for NounTexts<'_> {
    fn next_text(&mut self, text: &mut String, targets: &mut Vec<usize>) -> Option<u64> {
        let sample = self.samples.next_sample()?;
        text.clear();
        text.push_str(sample.text);
        targets.clear();
        targets.push(sample.target);
        Some(sample.count - std::mem::take(&mut self.skip))
    }
}
