//! `models.json`: vocabularies as tokens.

use super::AREA;
use super::models::{model, vocabulary};
use crate::golden;

#[test]
fn vocabularies_have_the_tokens_of_the_original() {
    let models = golden::json(AREA, "models.json");
    for name in models.as_object().unwrap().keys() {
        let (tokenizer, config) = model(name);
        let (nouns, ids) = vocabulary(name);
        let rows = config.tokenize(&tokenizer, &nouns).unwrap();
        let expected: Vec<Vec<i64>> = serde_json::from_value(ids).unwrap();
        for ((noun, row), expected) in nouns
            .iter()
            .zip(rows.ids.chunks(rows.columns))
            .zip(expected)
        {
            assert_eq!(row, &expected[..rows.columns], "{noun}");
            assert_eq!(&config.detokenize(&tokenizer, row).unwrap(), noun);
        }
    }
}
