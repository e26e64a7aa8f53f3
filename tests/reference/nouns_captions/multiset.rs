//! The multiset cache of the area `embedding-cache`: what is determined in it.

use std::collections::BTreeMap;

use novic::nouns::{
    CollectionNames, Hypernyms, Multiset, NounDataset, Number, Prompt, TemplateFile, TextRules,
    TextSamples, Vocabulary, make_indefinite,
};
use serde_json::Value;

use super::{list, number, strings, text};
use crate::golden;

/// Text and target nouns of one sample.
type Sample = (String, Vec<usize>);

fn dataset(cache: &Value) -> NounDataset {
    let vocabulary = Vocabulary::from_json("vocab", cache["vocab"].to_string().as_bytes(), 0);
    let templates = TemplateFile::from_json("t", cache["prompts"].to_string().as_bytes());
    let names = cache["prompts"]["prompts"]
        .as_object()
        .expect("an object")
        .keys();
    let prompts = templates
        .expect("valid")
        .prompts(&CollectionNames::new(names), TextRules::Original);
    NounDataset::new(
        vocabulary.expect("valid"),
        prompts.expect("valid"),
        Hypernyms::none(),
    )
    .expect("valid")
}

/// The samples as we make them, read from any start.
fn ours(multiset: &Multiset<'_>, start: u64) -> Vec<Sample> {
    let mut samples = Vec::new();
    let mut texts = multiset.texts_from(start);
    let (mut text, mut targets) = (String::new(), Vec::new());
    while let Some(count) = texts.next_text(&mut text, &mut targets) {
        samples.extend((0..count).map(|_| (text.clone(), targets.clone())));
    }
    samples
}

/// The samples of the reference.
fn theirs(cache: &Value, vocabulary: &Vocabulary) -> Vec<Sample> {
    let inputs = golden::tensors("embedding-cache", "inputs/multiset.safetensors");
    let ids = inputs.get("embed_targets");
    let nouns = strings(&cache["target_nouns"]);
    let place = |id: i64| {
        let noun = &nouns[usize::try_from(id).expect("an id")];
        vocabulary
            .targets()
            .position(|target| target == noun)
            .expect("a noun")
    };
    let rows = ids.integers();
    let rows = rows.chunks(ids.shape[1]);
    let targets = rows.map(|row| {
        row.iter()
            .filter(|id| **id > 0)
            .map(|&id| place(id))
            .collect()
    });
    strings(&cache["texts_in_write_order"])
        .into_iter()
        .zip(targets)
        .collect()
}

/// How often each value occurs.
fn counted<T: Ord>(values: impl IntoIterator<Item = T>) -> BTreeMap<T, u64> {
    let mut counts = BTreeMap::new();
    for value in values {
        *counts.entry(value).or_insert(0) += 1;
    }
    counts
}

/// Checks one use of a prompt with `k` nouns per text: every position has every
/// spelling as often as it counts, and the text is made of them.
fn check_block(
    samples: &[Sample],
    k: usize,
    prompt: &Prompt,
    number: Number,
    dataset: &NounDataset,
) {
    let spellings = || {
        dataset
            .vocabulary()
            .nouns()
            .enumerate()
            .flat_map(move |(noun, entry)| {
                let spellings = entry.spellings(number).iter();
                spellings.map(move |s| (noun, s.text.clone(), u64::from(s.frequency)))
            })
    };
    let expected: BTreeMap<_, _> = spellings()
        .map(|(noun, s, count)| ((noun, s), count))
        .collect();
    let mut positions = vec![Vec::new(); k];
    for (text, targets) in samples {
        assert_eq!(targets.len(), k, "{text}");
        let inside = text
            .strip_prefix(&prompt.before)
            .and_then(|text| text.strip_suffix(&prompt.after))
            .unwrap_or_else(|| panic!("{text:?} is no {:?}", prompt.template()));
        let parts: Vec<&str> = inside.split(" and ").collect();
        assert_eq!(parts.len(), k, "{text}");
        for ((part, &target), position) in parts.iter().zip(targets).zip(&mut positions) {
            let spelling = spellings().find(|(noun, spelling, _)| {
                let with_article = make_indefinite(spelling, "");
                *noun == target
                    && *part
                        == if prompt.article {
                            with_article
                        } else {
                            spelling.clone()
                        }
            });
            let (noun, spelling, _) = spelling.unwrap_or_else(|| panic!("{part:?} in {text:?}"));
            position.push((noun, spelling));
        }
    }
    for position in positions {
        assert_eq!(counted(position), expected);
    }
}

/// Checks everything that is determined about the samples.
fn check(samples: &[Sample], repetitions: &[usize], dataset: &NounDataset) {
    let singles = {
        let (mut all, mut samples) = (Vec::new(), dataset.unique_samples());
        while let Some(sample) = samples.next_sample() {
            all.extend((0..sample.count).map(|_| (sample.text.to_owned(), vec![sample.target])));
        }
        counted(all)
    };
    let mut rest = samples;
    let mut take = |len: usize| {
        let (now, later) = rest.split_at(len);
        rest = later;
        now
    };
    for (k, &count) in (1..).zip(repetitions) {
        for _ in 0..count {
            if k == 1 {
                let now = take(usize::try_from(dataset.num_samples()).expect("small"));
                assert_eq!(counted(now.to_vec()), singles);
                continue;
            }
            for number in Number::ALL {
                let nouns = dataset.vocabulary().nouns();
                let len: u32 = nouns
                    .flat_map(|n| n.spellings(number))
                    .map(|s| s.frequency)
                    .sum();
                for prompt in dataset.prompts().of(number) {
                    for _ in 0..prompt.frequency {
                        check_block(take(len as usize), k, prompt, number, dataset);
                    }
                }
            }
        }
    }
    assert!(rest.is_empty());
}

#[test]
fn multisets_hold_what_is_determined() {
    let caches = golden::json("embedding-cache", "caches.json");
    let cache = &caches["multiset"];
    let dataset = dataset(cache);
    let repetitions: Vec<usize> = list(&cache["multi_target_freq"])
        .iter()
        .map(|count| usize::try_from(number(count)).expect("small"))
        .collect();
    let multiset = Multiset::new(&dataset, &repetitions, 1).expect("valid");
    let header = &cache["header"];
    assert_eq!(multiset.num_samples(), number(&header["embed_num"]));
    assert_eq!(
        multiset.most_nouns() as u64,
        number(&header["embed_targets_dim"])
    );
    assert_eq!(multiset.is_full(), header["full_targets"]);
    assert_eq!(text(&cache["writer"]["kind"]), "NounMultisetCacheWriter");

    check(&theirs(cache, dataset.vocabulary()), &repetitions, &dataset);
    let samples = ours(&multiset, 0);
    check(&samples, &repetitions, &dataset);
    for start in 0..=samples.len() {
        assert_eq!(
            ours(&multiset, start as u64),
            samples[start..],
            "from {start}"
        );
    }
    let other = Multiset::new(&dataset, &repetitions, 2).expect("valid");
    assert_ne!(ours(&other, 0), samples);
}

#[test]
fn impossible_multisets_are_refused() {
    let caches = golden::json("embedding-cache", "caches.json");
    let dataset = dataset(&caches["multiset"]);
    assert!(Multiset::new(&dataset, &[], 1).is_err());
    assert!(Multiset::new(&dataset, &[0, 0], 1).is_err());
    assert!(Multiset::new(&dataset, &[usize::MAX], 1).is_err());
    let full = Multiset::new(&dataset, &[0, 0, 2, 0], 1).expect("valid");
    assert_eq!((full.most_nouns(), full.is_full()), (3, true));
}
