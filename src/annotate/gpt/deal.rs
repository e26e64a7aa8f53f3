//! Which nouns are asked about together (`annotation.md` 7).

use crate::random::Draws;

/// A noun with the number of opinions that it needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Needed {
    /// The noun.
    pub noun: String,
    /// Opinions, at least 1.
    pub need: usize,
}

/// Deals nouns into lists of about `min_nouns` to twice as many, each noun into
/// as many lists as it needs opinions, and fills short lists up with `done`
/// nouns, whose verdicts are ignored.
///
/// Without `draws`, lists are as they are dealt and done nouns come in the order
/// of code points.
pub(crate) fn deal(
    mut needed: Vec<Needed>,
    done: &[String],
    min_nouns: usize,
    mut draws: Option<&mut Draws>,
) -> Vec<Vec<String>> {
    let largest = needed.iter().map(|needed| needed.need).max().unwrap_or(0);
    if largest == 0 {
        return Vec::new();
    }
    let min_nouns = min_nouns.max(1);
    let total: usize = needed.iter().map(|needed| needed.need).sum();
    let count = largest.max(total.div_ceil(2 * min_nouns - 1));
    let mut lists = vec![Vec::new(); count];
    let mut turn = 0;
    let mut put = |noun: &String, times: usize, lists: &mut Vec<Vec<String>>| {
        for _ in 0..times {
            lists[turn].push(noun.clone());
            turn = (turn + 1) % count;
        }
        turn
    };
    needed.sort_by(|a, b| b.need.cmp(&a.need).then_with(|| a.noun.cmp(&b.noun)));
    let mut next = 0;
    for Needed { noun, need } in &needed {
        next = put(noun, *need, &mut lists);
    }
    let free = count * min_nouns.saturating_sub(lists[next].len());
    let padding = free.saturating_sub(next).min(count * done.len());
    if padding > 0 && min_nouns > lists[next].len() {
        let mut fillers: Vec<&String> = done.iter().collect();
        fillers.sort_unstable();
        if let Some(draws) = draws.as_deref_mut() {
            shuffle(&mut fillers, draws);
        }
        let (each, one_more) = (padding / done.len(), padding % done.len());
        for (at, noun) in fillers.into_iter().enumerate() {
            put(noun, each + usize::from(at < one_more), &mut lists);
        }
    }
    if let Some(draws) = draws {
        for list in &mut lists {
            shuffle(list, draws);
        }
        shuffle(&mut lists, draws);
    }
    lists
}

/// Brings a list into a random order.
pub(crate) fn shuffle<T>(list: &mut [T], draws: &mut Draws) {
    for last in (1..list.len()).rev() {
        list.swap(last, draws.below(last as u64 + 1) as usize);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::random::Purpose;

    proptest::proptest! {
        #[test]
        fn every_need_is_met_and_no_list_has_a_noun_twice(
            needs in proptest::collection::vec(1_usize..6, 1..40),
            done in 0_usize..20, min_nouns in 1_usize..10, seed in 0_u64..1000,
        ) {
            let needed: Vec<Needed> = needs
                .iter()
                .enumerate()
                .map(|(at, &need)| Needed { noun: format!("n{at}"), need })
                .collect();
            let done: Vec<String> = (0..done).map(|at| format!("d{at}")).collect();
            let mut draws = Draws::new(Purpose::Annotation, seed, 0);
            let lists = deal(needed.clone(), &done, min_nouns, Some(&mut draws));
            for list in &lists {
                let unique: HashSet<&String> = list.iter().collect();
                assert_eq!(unique.len(), list.len());
                assert!(!list.is_empty());
            }
            for Needed { noun, need } in needed {
                let asked = lists.iter().filter(|list| list.contains(&noun)).count();
                assert_eq!(asked, need);
            }
        }
    }
}
