//! Speed of noun datasets and captions:
//!
//! ```text
//! cargo bench --bench nouns -- [NOUNS] [PROMPTS] [CAPTIONS]
//! ```

use std::error::Error;
use std::hint::black_box;
use std::time::Instant;

use novic::nouns::{
    CaptionCounts, Captions, ChosenCaptions, CollectionNames, Hypernyms, Multiset, NounDataset,
    SampleId, TemplateFile, TextRules, TextSamples, Vocabulary,
};
use serde_json::{Value, json};

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1).filter(|arg| arg != "--bench");
    let mut number = |default: usize| args.next().map_or(Ok(default), |arg| arg.parse());
    let (nouns, prompts, captions) = (number(100_000)?, number(100)?, number(1_800_000)?);

    let dictionary = dictionary(nouns).to_string();
    let templates: Vec<Value> = (0..prompts)
        .map(|at| json!([1, format!("a photo number {at} of {{article_noun}} here")]))
        .collect();
    let templates = json!({"prompts": {"All": templates}, "hypernyms": {"None": [[1, null]]}});
    let templates = TemplateFile::from_json("bench", templates.to_string().as_bytes())?;

    let start = Instant::now();
    let vocabulary = Vocabulary::from_json("bench", dictionary.as_bytes(), 0)?;
    let loaded = start.elapsed();
    println!(
        "load a dictionary of {:.1} MB {:>20.3} s",
        dictionary.len() as f64 / 1e6,
        loaded.as_secs_f64()
    );
    let compiled = templates.prompts(&CollectionNames::parse("All"), TextRules::Mended)?;
    let dataset = NounDataset::new(vocabulary.clone(), compiled, Hypernyms::none())?;
    println!(
        "set up {nouns} nouns × {prompts} prompts {:>12.3} s, loading included",
        start.elapsed().as_secs_f64()
    );

    let rate = |what: &str, count: u64, seconds: f64| {
        println!(
            "{what:<40} {:>8.2} million texts/s",
            count as f64 / seconds / 1e6
        );
    };
    let start = Instant::now();
    let (mut samples, mut count) = (dataset.unique_samples(), 0);
    while let Some(sample) = samples.next_sample() {
        black_box(sample.text);
        count += 1;
    }
    rate("enumerate", count, start.elapsed().as_secs_f64());

    let mut text = String::new();
    let (samples, looked_up) = (dataset.num_samples(), count.min(5_000_000));
    let mut look_up = |what: &str, next: &mut dyn FnMut() -> u64| -> Result<(), Box<dyn Error>> {
        let start = Instant::now();
        for _ in 0..looked_up {
            black_box(dataset.lookup(SampleId::Frequency(next()), &mut text)?);
        }
        rate(what, looked_up, start.elapsed().as_secs_f64());
        Ok(())
    };
    let mut at = 0;
    look_up("look up in steps", &mut || {
        at = (at + 7_919) % samples;
        at
    })?;
    let mut state = 1_u64;
    look_up("look up at random", &mut || {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        ((u128::from(state) * u128::from(samples)) >> 64) as u64
    })?;

    let start = Instant::now();
    let multiset = Multiset::new(&dataset, &[0, 0, 1], 1)?;
    let (mut texts, mut targets) = (multiset.texts_from(0), Vec::new());
    let (mut text, mut count) = (String::new(), 0);
    while count < 5_000_000 && texts.next_text(&mut text, &mut targets).is_some() {
        black_box(&text);
        count += 1;
    }
    rate("combine three nouns", count, start.elapsed().as_secs_f64());

    let file = caption_file(nouns, captions).to_string();
    let start = Instant::now();
    let captions = Captions::from_json("bench", file.as_bytes(), &vocabulary, TextRules::Mended)?;
    println!(
        "load captions of {:.0} MB {:>24.3} s",
        file.len() as f64 / 1e6,
        start.elapsed().as_secs_f64()
    );
    let counts = CaptionCounts::new(10, 20)?;
    let chosen = ChosenCaptions::draw("bench", &captions, vocabulary, counts, 1)?;
    let start = Instant::now();
    let (mut texts, mut count) = (chosen.texts_from(0), 0);
    while texts.next_text(&mut text, &mut targets).is_some() {
        black_box(&text);
        count += 1;
    }
    rate("fill captions", count, start.elapsed().as_secs_f64());
    Ok(())
}

fn dictionary(nouns: usize) -> Value {
    let entry = |id: usize| {
        let noun = format!("noun number {id}");
        let plural = format!("nouns number {id}");
        json!({
            "id": id,
            "target_noun": noun,
            "pretty_noun": noun,
            "singulars": [noun],
            "plurals": [plural],
            "singulars_freq": [1 + id % 3],
            "plurals_freq": [1 + id % 2],
            "hypernyms": [],
        })
    };
    (0..nouns).map(entry).collect()
}

fn caption_file(nouns: usize, captions: usize) -> Value {
    let per_number = captions.div_ceil(2 * nouns);
    let list = |noun: usize, field: &str| -> Vec<String> {
        let caption = |at| {
            format!(
                "In the evening of day {at}, somebody who had seen {noun} others looked at the \
                 {{{field}}} near the old wall of the town, and went on"
            )
        };
        (0..per_number).map(caption).collect()
    };
    let entry = |noun: usize| {
        json!({
            "target_noun": format!("noun number {noun}"),
            "singular_captions": list(noun, "singular"),
            "plural_captions": list(noun, "plural"),
        })
    };
    (0..nouns).map(entry).collect()
}
