//! A small tokenizer in CLIP's form: lower case, byte-level BPE with `</w>`.

use super::failure::{Failure, Outcome, content, write_json};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::path::Path;
use tokenizers::models::bpe::{BPE, BpeTrainerBuilder};
use tokenizers::{Model, Tokenizer, Trainer};

/// Entries of the vocabulary.
pub const VOCABULARY: usize = 12_800;
/// Longest text in tokens, start and end included.
pub const CONTEXT: usize = 32;
const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";
const SUFFIX: &str = "</w>";
const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// GPT-2's printable characters of the 256 bytes, in CLIP's vocabulary order.
fn byte_characters() -> Vec<(u8, char)> {
    let printable: Vec<u8> = (33..=126).chain(161..=172).chain(174..=255).collect();
    let mut all: Vec<(u8, char)> = printable.iter().map(|&b| (b, char::from(b))).collect();
    let rest = (0..=255u8).filter(|b| !printable.contains(b));
    all.extend(
        rest.zip(256u32..)
            .filter_map(|(b, c)| Some((b, char::from_u32(c)?))),
    );
    all
}

/// The words of a text, which the tokenizer never joins.
pub fn words(text: &str) -> Vec<String> {
    let letters = text.split(|c: char| !c.is_alphabetic());
    let words = letters.filter(|word| !word.is_empty());
    words.map(str::to_owned).collect()
}

/// Trains the tokenizer on texts with weights and writes `tokenizer.json` and
/// `tokenizer_config.json` into the folder.
pub fn train(texts: &[(String, u64)], folder: &Path) -> Outcome<()> {
    let failed = |e: tokenizers::Error| Failure::Usage(format!("training the tokenizer: {e}"));
    let letters = byte_characters();
    let to_char: BTreeMap<u8, char> = letters.iter().copied().collect();
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (text, weight) in texts {
        for word in words(text) {
            let mapped: String = word.bytes().filter_map(|b| to_char.get(&b)).collect();
            *counts.entry(mapped).or_default() += weight;
        }
    }
    let alphabet: HashSet<char> = ('a'..='z').collect();
    let mut trainer = BpeTrainerBuilder::new()
        .show_progress(false)
        .initial_alphabet(alphabet)
        .vocab_size(VOCABULARY)
        .end_of_word_suffix(SUFFIX.into())
        .build();
    // The trainer reads texts, so counts become repetitions, on a log-like
    // scale that keeps frequent words from crowding out the rest.
    let words: Vec<&str> = counts
        .iter()
        .flat_map(|(word, &n)| {
            std::iter::repeat_n(word.as_str(), (n as f64).powf(0.75).ceil() as usize)
        })
        .collect();
    trainer
        .feed(words.into_iter(), |word| Ok(vec![word.to_string()]))
        .map_err(failed)?;
    let mut model = BPE::default();
    trainer.train(&mut model).map_err(failed)?;
    let path = folder.join("tokenizer.json");
    let trained = serde_json::to_value(&model).map_err(|e| content(&path, e))?;
    let room = VOCABULARY - 512 - 2;
    let mut merges: Vec<[String; 2]> =
        serde_json::from_value(trained["merges"].clone()).map_err(|e| content(&path, e))?;
    merges.truncate(room);
    let mut vocabulary = serde_json::Map::new();
    let mut entries: Vec<String> = letters.iter().map(|(_, c)| c.to_string()).collect();
    entries.extend(letters.iter().map(|(_, c)| format!("{c}{SUFFIX}")));
    entries.extend(merges.iter().map(|[a, b]| format!("{a}{b}")));
    entries.extend([START.to_string(), END.to_string()]);
    for entry in entries {
        let id = vocabulary.len();
        vocabulary.entry(entry).or_insert(Value::from(id));
    }
    let (start, end) = (vocabulary[START].clone(), vocabulary[END].clone());
    let added = |id: &Value, text: &str| {
        json!({"id": id, "content": text, "single_word": false, "lstrip": false, "rstrip": false,
               "normalized": true, "special": true})
    };
    let tokenizer = json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [added(&start, START), added(&end, END)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
            {"type": "Lowercase"}]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true, "use_regex": true}]},
        "post_processor": {"type": "RobertaProcessing", "sep": [END, end], "cls": [START, start],
            "trim_offsets": false, "add_prefix_space": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true, "use_regex": true},
        "model": {"type": "BPE", "dropout": null, "unk_token": END, "continuing_subword_prefix": "",
            "end_of_word_suffix": SUFFIX, "fuse_unk": false, "byte_fallback": false,
            "vocab": vocabulary, "merges": merges},
    });
    write_json(&path, &tokenizer)?;
    let config = json!({
        "add_prefix_space": false,
        "bos_token": START,
        "clean_up_tokenization_spaces": true,
        "do_lower_case": true,
        "eos_token": END,
        "errors": "replace",
        "model_max_length": CONTEXT,
        "pad_token": END,
        "tokenizer_class": "CLIPTokenizer",
        "unk_token": END,
    });
    write_json(&folder.join("tokenizer_config.json"), &config)
}

/// Reads a written tokenizer.
pub fn read(folder: &Path) -> Outcome<Tokenizer> {
    let path = folder.join("tokenizer.json");
    Tokenizer::from_file(&path).map_err(|e| content(&path, e))
}

/// What each entry of a tokenizer stands for in another: the entry itself, or
/// the pieces of its text.
pub fn pieces(tokenizer: &Tokenizer, other: &Tokenizer) -> Outcome<Vec<Vec<u32>>> {
    let failed = |e: tokenizers::Error| Failure::Usage(format!("tokenizing: {e}"));
    (0..tokenizer.get_vocab_size(true) as u32)
        .map(|id| {
            let entry = tokenizer.id_to_token(id).unwrap_or_default();
            if let Some(same) = other.token_to_id(&entry) {
                return Ok(vec![same]);
            }
            let word = entry.strip_suffix(SUFFIX).unwrap_or(&entry);
            let pieces = other.get_model().tokenize(word).map_err(failed)?;
            Ok(pieces.into_iter().map(|piece| piece.id).collect())
        })
        .collect()
}

/// Token ids with start and end, cut to the context.
pub fn encode(tokenizer: &Tokenizer, text: &str) -> Outcome<Vec<u32>> {
    let failed = |e: tokenizers::Error| Failure::Usage(format!("tokenizing {text:?}: {e}"));
    let encoding = tokenizer.encode_fast(text, true).map_err(failed)?;
    let mut ids = encoding.get_ids().to_vec();
    if ids.len() > CONTEXT {
        let end = ids[ids.len() - 1];
        ids.truncate(CONTEXT);
        ids[CONTEXT - 1] = end;
    }
    Ok(ids)
}
