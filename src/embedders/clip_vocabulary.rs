//! CLIP's byte-pair vocabulary (`embedders.md` section 7.1): 256 bytes, the
//! same at word ends, one token per merge, start and end.

use std::collections::HashMap;
use std::io::Read;
use std::path::Path;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::error::EmbedderError;

/// Tokens of the published vocabulary.
pub const SIZE: usize = 49408;
/// Text of the start token.
pub const START: &str = "<|startoftext|>";
/// Text of the end token.
pub const END: &str = "<|endoftext|>";
/// What ends a word.
pub const WORD_END: &str = "</w>";
/// What CLIP's tokenizers cut a text into; nothing that matches has a space.
const WORDS: &str = r"'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+";

/// Merges of the published vocabulary; a longer file holds more that are not
/// used.
const MOST_MERGES: usize = SIZE - 512 - 2;
/// Largest file of merges.
const MAX_BYTES: u64 = 64 << 20;

static BUILT_IN: &[u8] = include_bytes!("../../extras/tokenizer/clip_merges.txt.gz");

/// The merges, best first.
pub struct ClipVocabulary {
    merges: Vec<(String, String)>,
}

impl ClipVocabulary {
    /// The published one, inside the binary.
    pub fn built_in() -> Result<Self, EmbedderError> {
        Self::parse(BUILT_IN, Path::new("the built-in vocabulary of CLIP"))
    }

    /// A file of merges, gzipped or not, with one version line.
    pub fn open(path: &Path) -> Result<Self, EmbedderError> {
        let content = std::fs::read(path).map_err(|source| EmbedderError::Read {
            path: path.to_owned(),
            source,
        })?;
        Self::parse(&content, path)
    }

    fn parse(content: &[u8], path: &Path) -> Result<Self, EmbedderError> {
        let mut merges = parse_merges(content, path)?;
        merges.truncate(MOST_MERGES);
        Ok(Self { merges })
    }

    /// The merges, best first.
    pub fn merges(&self) -> &[(String, String)] {
        &self.merges
    }

    /// Token texts in the order of their ids.
    pub fn tokens(&self) -> Vec<String> {
        let bytes = byte_characters();
        let mut order: Vec<char> = printable().map(char::from).collect();
        order.extend(bytes.iter().copied().filter(|&c| u32::from(c) >= 256));
        let mut tokens: Vec<String> = order.iter().map(char::to_string).collect();
        tokens.extend(order.iter().map(|c| format!("{c}{WORD_END}")));
        tokens.extend(self.merges.iter().map(|(a, b)| format!("{a}{b}")));
        tokens.extend([START.to_owned(), END.to_owned()]);
        tokens
    }

    /// The same as a `tokenizer.json` of the transformers library.
    pub fn tokenizer_json(&self) -> Vec<u8> {
        let vocabulary: Map<String, Value> = self
            .tokens()
            .into_iter()
            .zip((0u32..).map(Value::from))
            .collect();
        tokenizer_json(Value::Object(vocabulary), &self.merges).unwrap_or_default()
    }
}

/// Pairs of a `merges.txt`: one version line, one pair per line.
pub fn parse_merges(content: &[u8], path: &Path) -> Result<Vec<(String, String)>, EmbedderError> {
    let bad = |reason: String| EmbedderError::BadFile {
        path: path.to_owned(),
        reason,
    };
    let mut text = String::new();
    let read = if content.starts_with(&[0x1f, 0x8b]) {
        GzDecoder::new(content)
            .take(MAX_BYTES)
            .read_to_string(&mut text)
    } else {
        content.take(MAX_BYTES).read_to_string(&mut text)
    };
    read.map_err(|error| bad(format!("not a list of merges: {error}")))?;
    let mut merges = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        if number == 1 || line.is_empty() {
            continue;
        }
        let pair = line.split_once(' ');
        let (a, b) = pair.ok_or_else(|| bad(format!("line {number} is not a pair")))?;
        merges.push((a.to_owned(), b.to_owned()));
    }
    Ok(merges)
}

/// A byte-pair `tokenizer.json` with CLIP's rules; `None` without start and
/// end token.
pub fn tokenizer_json(vocabulary: Value, merges: &[(String, String)]) -> Option<Vec<u8>> {
    let (start, end) = (
        vocabulary.get(START)?.as_u64()?,
        vocabulary.get(END)?.as_u64()?,
    );
    let added = |id: u64, content: &str| {
        json!({
            "id": id, "content": content, "single_word": false, "lstrip": false,
            "rstrip": false, "normalized": true, "special": true,
        })
    };
    let json = json!({
        "version": "1.0",
        "added_tokens": [added(start, START), added(end, END)],
        "normalizer": {"type": "Sequence", "normalizers": [
            {"type": "NFC"},
            {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
            {"type": "Lowercase"},
        ]},
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": WORDS}, "behavior": "Removed", "invert": true},
            {"type": "ByteLevel", "add_prefix_space": false, "trim_offsets": true,
             "use_regex": true},
        ]},
        "post_processor": {"type": "RobertaProcessing", "sep": [END, end], "cls": [START, start],
            "trim_offsets": false, "add_prefix_space": false},
        "decoder": {"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
            "use_regex": true},
        "model": {"type": "BPE", "unk_token": END, "continuing_subword_prefix": "",
            "end_of_word_suffix": WORD_END, "fuse_unk": false, "byte_fallback": false,
            "vocab": vocabulary, "merges": merges},
    });
    serde_json::to_vec(&json).ok()
}

/// What a `tokenizer.json` has beside its tokens.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Rules {
    normalizer: Value,
    pre_tokenizer: Value,
    post_processor: Value,
    added_tokens: Vec<Value>,
    model: ModelRules,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ModelRules {
    r#type: String,
    dropout: Value,
}

/// Whether the ids of a text are those of its words, parted by whitespace, one
/// after the other between start and end token, and the model alone cuts words of
/// small letters: a `tokenizer.json` with CLIP's rules.
pub fn cuts_words(tokenizer: &[u8]) -> bool {
    serde_json::from_slice(tokenizer).is_ok_and(|rules: Rules| rules.cut_words())
}

impl Rules {
    fn cut_words(&self) -> bool {
        let kind = |part: &Value, name: &str| part["type"] == name;
        let parts = |part: &Value, list: &str| match part.get(list).and_then(Value::as_array) {
            Some(list) => list.clone(),
            None if part.is_null() => Vec::new(),
            None => vec![part.clone()],
        };
        let normalizes_words = parts(&self.normalizer, "normalizers").iter().all(|part| {
            let spaces = part["pattern"]["Regex"] == r"\s+" && part["content"] == " ";
            kind(part, "NFC") || kind(part, "Lowercase") || (kind(part, "Replace") && spaces)
        });
        let cuts = parts(&self.pre_tokenizer, "pretokenizers");
        let cuts_at_spaces = match cuts.as_slice() {
            [split, bytes] => {
                kind(split, "Split")
                    && split["pattern"]["Regex"] == WORDS
                    && split["behavior"] == "Removed"
                    && split["invert"] == true
                    && kind(bytes, "ByteLevel")
                    && bytes["add_prefix_space"] == false
            }
            _ => false,
        };
        let added_are_words = self.added_tokens.iter().all(|token| {
            let flag = |name: &str| token[name] == true;
            let content = token["content"].as_str().unwrap_or_default();
            let eats_spaces = flag("lstrip") || flag("rstrip") || flag("single_word");
            // One of letters alone would be found within words.
            let letters = content.chars().all(|c| c.is_ascii_alphabetic());
            !(letters || content.contains(char::is_whitespace) || eats_spaces)
        });
        let (before, after) = match &self.post_processor {
            processor if kind(processor, "RobertaProcessing") => {
                (&processor["cls"][0], &processor["sep"][0])
            }
            _ => (&Value::Null, &Value::Null),
        };
        normalizes_words
            && cuts_at_spaces
            && added_are_words
            && before == START
            && after == END
            && self.model.r#type == "BPE"
            && self.model.dropout.is_null()
    }
}

/// Bytes that stand for themselves.
fn printable() -> impl Iterator<Item = u8> {
    (33..=126).chain(161..=172).chain(174..=255)
}

/// The character that stands for each byte.
pub fn byte_characters() -> [char; 256] {
    let mut characters = ['\0'; 256];
    let mut others = (256u32..).filter_map(char::from_u32);
    for byte in 0..=255u8 {
        characters[usize::from(byte)] = if printable().any(|known| known == byte) {
            char::from(byte)
        } else {
            others.next().unwrap_or('\0')
        };
    }
    characters
}

/// The byte that each character stands for.
pub fn character_bytes() -> HashMap<char, u8> {
    byte_characters().into_iter().zip(0..=255).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_vocabulary_is_the_published_one() {
        let vocabulary = ClipVocabulary::built_in().unwrap();
        let tokens = vocabulary.tokens();
        assert_eq!(tokens.len(), SIZE);
        assert_eq!(tokens[0], "!");
        assert_eq!(tokens[256], "!</w>");
        assert_eq!(tokens[320], "a</w>");
        assert_eq!(tokens[49406], START);
        assert_eq!(tokens[49407], END);
        let mut sorted = tokens.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!(sorted.len(), SIZE);
    }

    #[test]
    fn only_rules_that_part_words_at_spaces_are_taken_word_by_word() {
        let json = ClipVocabulary::built_in().unwrap().tokenizer_json();
        let own: Value = serde_json::from_slice(&json).unwrap();
        let cuts_words = |json: &Value| super::cuts_words(json.to_string().as_bytes());
        assert!(cuts_words(&own));
        for (place, other) in [
            ("/normalizer/normalizers/1/content", json!("")),
            ("/normalizer/normalizers/2/type", json!("Prepend")),
            ("/pre_tokenizer/pretokenizers/0/behavior", json!("Isolated")),
            (
                "/pre_tokenizer/pretokenizers/1/add_prefix_space",
                json!(true),
            ),
            ("/added_tokens/0/content", json!("two words")),
            ("/added_tokens/0/content", json!("Un")),
            ("/added_tokens/1/lstrip", json!(true)),
            ("/post_processor", json!(null)),
        ] {
            let mut changed = own.clone();
            *changed.pointer_mut(place).unwrap() = other;
            assert!(!cuts_words(&changed), "{place}");
        }
        let mut random = own;
        random["model"]["dropout"] = json!(0.1);
        assert!(!cuts_words(&random));
    }

    #[test]
    fn merges_are_checked() {
        let path = Path::new("merges.txt");
        let pairs = parse_merges(b"#version\na b\nc d</w>\n", path).unwrap();
        assert_eq!(
            pairs,
            [("a".into(), "b".into()), ("c".into(), "d</w>".into())]
        );
        let error = parse_merges(b"#version\nab\n", path).unwrap_err();
        assert!(error.to_string().contains("line 2"), "{error}");
        assert!(parse_merges(&[0x1f, 0x8b, 9, 9], path).is_err());
        assert!(parse_merges(&[0xff, 0xfe], path).is_err());
    }
}
