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

#[cfg(test)]
mod tests {
    use super::super::set::Pair;
    use super::*;

    fn item(image: &str, pairs: &[(&str, usize)]) -> Item {
        let pair = |(noun, firsts): &(&str, usize)| Pair {
            noun: (*noun).to_owned(),
            models: Vec::new(),
            firsts: *firsts,
        };
        Item {
            image: image.to_owned(),
            pairs: pairs.iter().map(pair).collect(),
        }
    }

    fn arranged(order: Order, nouns: NounOrder, seed: u64) -> Vec<String> {
        let mut items = vec![
            item("b", &[("x", 0), ("w", 1)]),
            item("c", &[("y", 1)]),
            item("a", &[("z", 0), ("v", 3)]),
        ];
        arrange(&mut items, order, nouns, seed);
        let pairs = |item: &Item| -> String {
            let nouns = item.pairs.iter().map(|pair| pair.noun.as_str());
            format!("{}:{}", item.image, nouns.collect::<String>())
        };
        items.iter().map(pairs).collect()
    }

    #[test]
    fn each_order_is_what_it_says() {
        let rank = NounOrder::Rank;
        assert_eq!(arranged(Order::File, rank, 1), ["b:xw", "c:y", "a:zv"]);
        assert_eq!(
            arranged(Order::File, NounOrder::Name, 1),
            ["b:wx", "c:y", "a:vz"]
        );
        assert_eq!(arranged(Order::Image, rank, 1), ["a:zv", "b:xw", "c:y"]);
        assert_eq!(arranged(Order::Gain, rank, 1), ["a:vz", "b:wx", "c:y"]);
        let shuffled = arranged(Order::Random, rank, 1);
        assert_eq!(shuffled, arranged(Order::Random, rank, 1));
        let orders: std::collections::HashSet<_> = (0..20)
            .map(|seed| arranged(Order::Random, rank, seed))
            .collect();
        assert!(orders.len() > 3);
    }
}
