//! The stand-in tokenizer of the reference models: words cut into pieces of a
//! stored table.

use std::collections::HashMap;

use novic::cache::TargetConfig;
use novic::embedders::tokenizer::{TextTokenizer, TokenDtype, TokenizerConstants, TokenizerError};
use serde_json::Value;

use super::models::{list, size};

pub struct PieceTokenizer {
    constants: TokenizerConstants,
    pieces: Vec<Option<String>>,
    ids: HashMap<String, i64>,
}

impl PieceTokenizer {
    pub fn new(entry: &Value) -> Self {
        let table = &entry["tokenizer"];
        let pieces: Vec<Option<String>> = list(&table["pieces"])
            .iter()
            .map(|piece| piece.as_str().map(str::to_owned))
            .collect();
        Self {
            constants: TokenizerConstants {
                context_length: size(&table["context_length"]),
                vocab_size: pieces.len(),
                start_id: table["start_token_id"].as_i64(),
                end_id: table["end_token_id"].as_i64().expect("an end token"),
                pad_id: table["pad_token_id"].as_i64().expect("a pad token"),
                dtype: TokenDtype::I64,
            },
            ids: (0..)
                .zip(&pieces)
                .filter_map(|(id, piece)| Some((piece.clone()?, id)))
                .collect(),
            pieces,
        }
    }

    /// The longest piece each time; what no piece begins is an unknown token.
    fn cut(&self, word: &str) -> Vec<i64> {
        let mut rest = word;
        let mut ids = Vec::new();
        while !rest.is_empty() {
            let ends = rest.char_indices().map(|(at, c)| at + c.len_utf8());
            let longest = ends
                .rev()
                .find_map(|end| Some((end, *self.ids.get(&rest[..end])?)));
            let (end, id) = longest.unwrap_or((rest.len(), self.pieces.len() as i64));
            ids.push(id);
            rest = &rest[end..];
        }
        ids
    }
}

impl TextTokenizer for PieceTokenizer {
    fn constants(&self) -> &TokenizerConstants {
        &self.constants
    }

    fn encode(
        &self,
        texts: &[&str],
        max_tokens: Option<usize>,
    ) -> Result<Vec<Vec<i64>>, TokenizerError> {
        texts
            .iter()
            .map(|text| {
                let mut ids: Vec<i64> = self.constants.start_id.into_iter().collect();
                for word in text.split_whitespace() {
                    ids.extend(self.cut(&format!("{word} ")));
                }
                if let Some(max) = max_tokens {
                    ids.truncate(max - 1);
                }
                ids.push(self.constants.end_id);
                Ok(ids)
            })
            .collect()
    }

    fn decode(&self, ids: &[i64]) -> Result<String, TokenizerError> {
        let piece = |&id: &i64| self.pieces.get(id as usize).cloned().flatten();
        Ok(ids
            .iter()
            .filter_map(piece)
            .collect::<String>()
            .trim_end()
            .to_owned())
    }
}

pub fn target_config(entry: &Value) -> TargetConfig {
    serde_json::from_value(entry["target_config"].clone()).expect("a target configuration")
}
