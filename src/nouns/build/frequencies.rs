//! How common words are: Zipf values of wordfreq's large English list.

use std::collections::HashMap;
use std::io::Read;

use flate2::read::GzDecoder;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::error::BuildError;

const FILE: &str = "large_en.msgpack.gz";
/// No version of the list unpacks to more bytes than this.
const SIZE_LIMIT: u64 = 64 << 20;

/// Frequencies of words, relative to all words.
#[derive(Debug)]
pub(super) struct WordFrequencies {
    by_word: HashMap<String, f64>,
}

/// The list starts with a header; element i + 1 holds the words of frequency
/// 10^(−i/100).
#[derive(Deserialize)]
#[serde(untagged)]
enum Element {
    Words(Vec<String>),
    Header(IgnoredAny),
}

impl WordFrequencies {
    pub fn parse(compressed: &[u8]) -> Result<Self, BuildError> {
        let failed = |reason: String| BuildError::Unpack { file: FILE, reason };
        let mut packed = Vec::new();
        GzDecoder::new(compressed)
            .take(SIZE_LIMIT)
            .read_to_end(&mut packed)
            .map_err(|error| failed(error.to_string()))?;
        let elements: Vec<Element> =
            rmp_serde::from_slice(&packed).map_err(|error| failed(error.to_string()))?;
        let mut by_word = HashMap::new();
        for (index, element) in elements.into_iter().skip(1).enumerate() {
            if let Element::Words(words) = element {
                let frequency = 10_f64.powf(-(index as f64) / 100.0);
                by_word.extend(words.into_iter().map(|word| (word, frequency)));
            }
        }
        Ok(Self { by_word })
    }

    /// Zipf value (log10 of occurrences per thousand million words) of a lower
    /// case phrase, two decimals; 0 if one of its words is unknown.
    pub fn zipf(&self, phrase: &str) -> f64 {
        let words = phrase.split([' ', '\'']).filter(|word| !word.is_empty());
        let mut inverse = 0.0;
        for word in words {
            match self.by_word.get(word) {
                Some(frequency) => inverse += 1.0 / frequency,
                None => return 0.0,
            }
        }
        if inverse == 0.0 {
            return 0.0;
        }
        let zipf = 9.0 - inverse.log10();
        ((zipf * 100.0).round() / 100.0).max(0.0)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::Compression;
    use flate2::write::GzEncoder;

    use super::*;

    fn compressed(list: &impl serde::Serialize) -> Vec<u8> {
        let packed = rmp_serde::to_vec(list).expect("packs");
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&packed).expect("writing to memory");
        encoder.finish().expect("writing to memory")
    }

    #[test]
    fn zipf_values_of_words_and_phrases() {
        let header = serde_json::json!({"format": "cB"});
        let mut list = vec![header];
        list.extend((0..=400).map(|index| match index {
            400 => serde_json::json!(["ice", "cream"]),
            _ => serde_json::json!([]),
        }));
        let words = WordFrequencies::parse(&compressed(&list)).expect("valid");
        assert_eq!(words.zipf("ice"), 5.0);
        assert_eq!(words.zipf("ice cream"), 4.7);
        assert_eq!(words.zipf("ice pick"), 0.0);
        assert_eq!(words.zipf(""), 0.0);
    }
}
