//! `spiece.model`, the protobuf of a sentencepiece unigram vocabulary
//! (`embedders.md` section 7.2), as a `tokenizer.json`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// Kinds of pieces that are special tokens (unknown, control, user-defined).
const UNKNOWN: u64 = 2;
const CONTROL: u64 = 3;
const USER_DEFINED: u64 = 4;
/// `model_type` of unigram vocabularies.
const UNIGRAM: u64 = 1;

struct Piece {
    text: String,
    score: f32,
    kind: u64,
}

/// What of a sentencepiece model is used.
pub struct SentencePieces {
    pieces: Vec<Piece>,
    /// Precompiled character map; empty for none.
    character_map: Vec<u8>,
}

/// Parses the file.
pub fn parse(content: &[u8]) -> Result<SentencePieces, String> {
    let mut model = SentencePieces {
        pieces: Vec::new(),
        character_map: Vec::new(),
    };
    for field in Fields(content) {
        match field? {
            (1, Field::Bytes(bytes)) => model.pieces.push(piece(bytes)?),
            // The trainer's settings say which algorithm made the pieces.
            (2, Field::Bytes(bytes)) => {
                for field in Fields(bytes) {
                    if let (3, Field::Number(kind)) = field?
                        && kind != UNIGRAM
                    {
                        return Err("its pieces are not unigram pieces".to_owned());
                    }
                }
            }
            (3, Field::Bytes(bytes)) => {
                for field in Fields(bytes) {
                    if let (2, Field::Bytes(map)) = field? {
                        model.character_map = map.to_vec();
                    }
                }
            }
            _ => {}
        }
    }
    if model.pieces.iter().all(|piece| piece.kind != UNKNOWN) {
        return Err("it has no piece for the unknown".to_owned());
    }
    Ok(model)
}

fn piece(bytes: &[u8]) -> Result<Piece, String> {
    let mut piece = Piece {
        text: String::new(),
        score: 0.0,
        kind: 1,
    };
    for field in Fields(bytes) {
        match field? {
            (1, Field::Bytes(text)) => {
                piece.text = String::from_utf8(text.to_vec()).map_err(|error| error.to_string())?;
            }
            (2, Field::Float(score)) => piece.score = score,
            (3, Field::Number(kind)) => piece.kind = kind,
            _ => {}
        }
    }
    Ok(piece)
}

impl SentencePieces {
    /// The same as the transformers library makes of it.
    pub fn tokenizer_json(&self) -> Vec<u8> {
        let unknown = self.pieces.iter().position(|piece| piece.kind == UNKNOWN);
        let special = |piece: &&(usize, &Piece)| {
            matches!(piece.1.kind, UNKNOWN | CONTROL | USER_DEFINED) && piece.1.text != "<pad>"
        };
        let pieces: Vec<(usize, &Piece)> = self.pieces.iter().enumerate().collect();
        let added: Vec<Value> = (pieces.iter().filter(special))
            .map(|(id, piece)| {
                json!({
                    "id": id, "content": piece.text, "single_word": false, "lstrip": false,
                    "rstrip": false, "normalized": false, "special": true,
                })
            })
            .collect();
        let vocabulary: Vec<(&str, f32)> = self
            .pieces
            .iter()
            .map(|piece| (piece.text.as_str(), piece.score))
            .collect();
        let mut normalizers = Vec::new();
        if !self.character_map.is_empty() {
            normalizers.push(json!({
                "type": "Precompiled",
                "precompiled_charsmap": STANDARD.encode(&self.character_map),
            }));
        }
        normalizers.push(json!({"type": "Strip", "strip_left": false, "strip_right": true}));
        normalizers.push(json!({
            "type": "Replace", "pattern": {"Regex": " {2,}"}, "content": "\u{2581}",
        }));
        let end = self.pieces.iter().position(|piece| piece.text == "</s>");
        let end = end.unwrap_or(1);
        let sequence = |id: &str| json!({"Sequence": {"id": id, "type_id": 0}});
        let closing = json!({"SpecialToken": {"id": "</s>", "type_id": 0}});
        let json = json!({
            "version": "1.0",
            "added_tokens": added,
            "normalizer": {"type": "Sequence", "normalizers": normalizers},
            "pre_tokenizer": {"type": "Metaspace", "replacement": "\u{2581}",
                "prepend_scheme": "first", "split": true},
            "post_processor": {"type": "TemplateProcessing",
                "single": [sequence("A"), closing.clone()],
                "pair": [sequence("A"), closing.clone(), sequence("B"), closing],
                "special_tokens": {"</s>": {"id": "</s>", "ids": [end], "tokens": ["</s>"]}}},
            "decoder": {"type": "Metaspace", "replacement": "\u{2581}",
                "prepend_scheme": "always", "split": true},
            "model": {"type": "Unigram", "unk_id": unknown, "vocab": vocabulary,
                "byte_fallback": false},
        });
        serde_json::to_vec(&json).unwrap_or_default()
    }
}

enum Field<'a> {
    Number(u64),
    Float(f32),
    Bytes(&'a [u8]),
}

/// The fields of a protobuf message with their numbers.
struct Fields<'a>(&'a [u8]);

impl<'a> Fields<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0u64;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self, count: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(count).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    fn field(&mut self) -> Option<(u64, Field<'a>)> {
        let tag = self.number()?;
        let field = match tag & 7 {
            0 => Field::Number(self.number()?),
            1 => Field::Bytes(self.bytes(8)?),
            2 => {
                let count = self.number()?;
                Field::Bytes(self.bytes(count)?)
            }
            5 => Field::Float(f32::from_le_bytes(*self.bytes(4)?.first_chunk()?)),
            _ => return None,
        };
        Some((tag >> 3, field))
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<(u64, Field<'a>), String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = self.field().ok_or_else(|| "it is damaged".to_owned());
        if field.is_err() {
            self.0 = &[];
        }
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn damaged_files_are_errors() {
        for content in [
            &b"\x0a"[..],
            b"\x0a\x05abc",
            b"\xff\xff\xff",
            b"",
            b"\x0f\x01",
        ] {
            assert!(parse(content).is_err(), "{content:?}");
        }
    }

    #[test]
    fn pieces_become_a_vocabulary() {
        let piece = |text: &str, score: f32, kind: u8| {
            let mut bytes = vec![0x0a, text.len() as u8];
            bytes.extend(text.as_bytes());
            bytes.push(0x15);
            bytes.extend(score.to_le_bytes());
            bytes.extend([0x18, kind]);
            [vec![0x0a, bytes.len() as u8], bytes].concat()
        };
        let mut file = [
            piece("<pad>", 0.0, 3),
            piece("</s>", 0.0, 3),
            piece("<unk>", 0.0, 2),
            piece("\u{2581}a", -1.0, 1),
            piece("b", -2.5, 1),
        ]
        .concat();
        let pieces = parse(&file).unwrap();
        let tokenizer = tokenizers::Tokenizer::from_bytes(pieces.tokenizer_json()).unwrap();
        let encoded = tokenizer.encode("ab b x", true).unwrap();
        assert_eq!(encoded.get_ids().last(), Some(&1));
        assert_eq!(encoded.get_ids()[..2], [3, 4]);
        // The trainer's settings: pieces of another algorithm.
        file.extend([0x12, 2, 0x18, 2]);
        assert!(parse(&file).is_err());
    }
}
