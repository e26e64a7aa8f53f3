//! The stand-in tokenizer of the models of the reference data.

use novic::cache::TargetConfig;
use novic::embedders::tokenizer::{TextTokenizer, TokenDtype, TokenizerConstants, TokenizerError};
use serde_json::Value;

use super::AREA;
use crate::golden;

/// Cuts words into pieces of a few characters; the last piece of a word ends
/// with a blank.
pub struct Pieces {
    constants: TokenizerConstants,
    pieces: Vec<Option<String>>,
    piece_length: usize,
}

/// Tokenizer and target configuration of a model.
pub fn model(name: &str) -> (Pieces, TargetConfig) {
    let models = golden::json(AREA, "models.json");
    let model = &models[name];
    let tokenizer = &model["tokenizer"];
    let number = |key: &str| usize::try_from(tokenizer[key].as_u64().unwrap()).unwrap();
    let pieces: Vec<Option<String>> = serde_json::from_value(tokenizer["pieces"].clone()).unwrap();
    let pieces = Pieces {
        constants: TokenizerConstants {
            context_length: number("context_length"),
            vocab_size: pieces.len(),
            start_id: tokenizer["start_token_id"].as_i64(),
            end_id: tokenizer["end_token_id"].as_i64().unwrap(),
            pad_id: tokenizer["pad_token_id"].as_i64().unwrap(),
            dtype: TokenDtype::I64,
        },
        pieces,
        piece_length: number("piece_length"),
    };
    let config = serde_json::from_value(model["target_config"].clone()).unwrap();
    (pieces, config)
}

/// Nouns of a model's vocabulary and their tokens.
pub fn vocabulary(name: &str) -> (Vec<String>, Value) {
    let models = golden::json(AREA, "models.json");
    let model = &models[name];
    let nouns: Vec<String> = serde_json::from_value(model["target_nouns"].clone()).unwrap();
    let invalid = model["num_invalid_target_nouns"].as_u64().unwrap();
    let invalid = usize::try_from(invalid).unwrap();
    (nouns[invalid..].to_vec(), model["noun_ids"].clone())
}

impl TextTokenizer for Pieces {
    fn constants(&self) -> &TokenizerConstants {
        &self.constants
    }

    fn encode(
        &self,
        texts: &[&str],
        _max_tokens: Option<usize>,
    ) -> Result<Vec<Vec<i64>>, TokenizerError> {
        texts
            .iter()
            .map(|text| {
                let mut ids: Vec<i64> = self.constants.start_id.into_iter().collect();
                for word in text.split_whitespace() {
                    let mut characters: Vec<char> = word.chars().collect();
                    let last = (characters.len() - 1) / self.piece_length * self.piece_length;
                    let last: String = characters.split_off(last).into_iter().collect();
                    let whole = characters.chunks(self.piece_length);
                    let whole = whole.map(|piece| piece.iter().collect::<String>());
                    for piece in whole.chain([last + " "]) {
                        let known = self
                            .pieces
                            .iter()
                            .position(|known| *known == Some(piece.clone()));
                        let id = known.ok_or_else(|| TokenizerError::Encode {
                            text: (*text).to_owned(),
                            reason: format!("piece {piece:?} is unknown"),
                        })?;
                        ids.push(i64::try_from(id).unwrap());
                    }
                }
                ids.push(self.constants.end_id);
                Ok(ids)
            })
            .collect()
    }

    fn decode(&self, ids: &[i64]) -> Result<String, TokenizerError> {
        let text: String = ids
            .iter()
            .filter_map(|&id| self.pieces[usize::try_from(id).unwrap()].as_deref())
            .collect();
        Ok(text.trim_end_matches(' ').to_owned())
    }
}
