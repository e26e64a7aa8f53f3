//! Enumeration of the unique samples.

use super::lookup::{Block, NounDataset, Place, Sample};

/// The unique samples of a noun dataset in order.
///
/// Each text borrows the buffer of this enumeration, so this is no
/// `Iterator`: use `while let Some(sample) = samples.next_sample()`.
#[derive(Debug)]
pub struct Samples<'a> {
    dataset: &'a NounDataset,
    usid: u64,
    fsid: u64,
    cursor: Option<Cursor<'a>>,
    text: String,
}

/// Where the next sample is.
#[derive(Debug)]
struct Cursor<'a> {
    index: usize,
    block: Block<'a>,
    place: Place,
}

impl<'a> Samples<'a> {
    pub(super) fn new(dataset: &'a NounDataset, usid: u64) -> Self {
        let cursor = dataset.place_of_usid(usid).map(|(index, place)| Cursor {
            index,
            block: dataset.block(index),
            place,
        });
        let fsid = cursor.as_ref().map_or_else(
            || dataset.num_samples(),
            |cursor| {
                dataset.fsid_starts()[cursor.index]
                    + dataset.repetitions_before(cursor.index, &cursor.block, cursor.place)
            },
        );
        Self {
            dataset,
            usid,
            fsid,
            cursor,
            text: String::new(),
        }
    }

    /// The next sample.
    pub fn next_sample(&mut self) -> Option<Sample<'_>> {
        let cursor = self.cursor.as_mut()?;
        self.text.clear();
        self.dataset
            .write_text(&cursor.block, cursor.place, &mut self.text);
        let (usid, fsid) = (self.usid, self.fsid);
        let count = cursor.block.count(cursor.place);
        let target = cursor.block.target;
        self.usid += 1;
        self.fsid += count;
        if !cursor.advance(self.dataset) {
            self.cursor = None;
        }
        Some(Sample {
            usid,
            fsid,
            count,
            target,
            text: &self.text,
        })
    }
}

impl<'a> Cursor<'a> {
    /// Steps to the next sample; false behind the last one.
    fn advance(&mut self, dataset: &'a NounDataset) -> bool {
        let (block, place) = (&self.block, &mut self.place);
        place.spelling += 1;
        if place.spelling < block.spellings.len() {
            return true;
        }
        place.spelling = 0;
        place.choice += 1;
        if place.choice < block.choices.len() {
            return true;
        }
        place.choice = 0;
        place.prompt += 1;
        if place.prompt < block.prompts.len() {
            return true;
        }
        place.prompt = 0;
        let later = self.index + 1..dataset.num_blocks();
        let filled = |&index: &usize| {
            let block = dataset.block(index);
            !block.prompts.is_empty() && !block.spellings.is_empty()
        };
        match { later }.find(filled) {
            Some(index) => {
                self.index = index;
                self.block = dataset.block(index);
                true
            }
            None => false,
        }
    }
}
