//! In which order people are asked.

use clap::ValueEnum;

use super::set::Item;
use crate::random::{Draws, Purpose};

/// Order of the images.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// As they first appear in the prediction files.
    #[default]
    File,
    /// By name.
    Image,
    /// Those first whose nouns most models rank best: what is judged early
    /// makes scores exact early.
    Gain,
    /// Shuffled.
    Random,
}

/// Order of the nouns of an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum NounOrder {
    /// By their best rank, then by how many files predict them.
    #[default]
    Rank,
    /// By name.
    Name,
}

/// Puts the items of a set into order.
pub(super) fn arrange(items: &mut Vec<Item>, order: Order, nouns: NounOrder, seed: u64) {
    if nouns == NounOrder::Name {
        for item in items.iter_mut() {
            item.pairs.sort_by(|a, b| a.noun.cmp(&b.noun));
        }
    }
    match order {
        Order::File => {}
        Order::Image => items.sort_by(|a, b| a.image.cmp(&b.image)),
        Order::Gain => {
            for item in items.iter_mut() {
                item.pairs
                    .sort_by_key(|pair| std::cmp::Reverse(pair.firsts));
            }
            let gain = |item: &Item| item.pairs.iter().map(|pair| pair.firsts).max();
            items.sort_by_key(|item| std::cmp::Reverse(gain(item)));
        }
        Order::Random => {
            let count = u32::try_from(items.len()).unwrap_or(u32::MAX);
            let places = Draws::new(Purpose::Judged, seed, 0).permutation(count);
            let mut taken: Vec<Option<Item>> =
                std::mem::take(items).into_iter().map(Some).collect();
            items.extend(
                places
                    .iter()
                    .filter_map(|&place| taken[place as usize].take()),
            );
        }
    }
}
