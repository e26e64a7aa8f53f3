//! Plain values of a pickle as JSON and back. Numbers that JSON lacks are the
//! texts `inf`, `-inf` and `nan`; tuples become lists.

use serde_json::{Map, Number, Value as Json};

use crate::config::schema::{Kind, key_by_flat_name};
use crate::pickle::{Dict, Fault, Value};

/// A value without tensors as JSON. Whole numbers stay whole.
pub(super) fn to_json(value: &Value, what: &str) -> Result<Json, Fault> {
    Ok(match value {
        Value::None => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(number) => Json::from(*number),
        Value::Float(number) => match Number::from_f64(*number) {
            Some(number) => Json::Number(number),
            None => Json::from(unusual_text(*number)),
        },
        Value::Text(text) => Json::from(&**text),
        Value::List(items) | Value::Tuple(items) => {
            let items = items.iter().map(|item| to_json(item, what));
            Json::Array(items.collect::<Result<_, _>>()?)
        }
        Value::Dict(dict) => Json::Object(dict_to_json(dict, what)?),
        other => {
            return Err(Fault::Content {
                reason: format!("{what} holds {}", other.kind()),
            });
        }
    })
}

/// A dictionary of plain values as JSON.
pub(super) fn dict_to_json(dict: &Dict, what: &str) -> Result<Map<String, Json>, Fault> {
    let named = dict.named(what)?.into_iter();
    named
        .map(|(name, value)| Ok((name.to_owned(), to_json(value, what)?)))
        .collect()
}

fn unusual_text(number: f64) -> &'static str {
    if number.is_nan() {
        "nan"
    } else if number > 0.0 {
        "inf"
    } else {
        "-inf"
    }
}

fn unusual_number(text: &str) -> Option<f64> {
    match text {
        "nan" => Some(f64::NAN),
        "inf" => Some(f64::INFINITY),
        "-inf" => Some(f64::NEG_INFINITY),
        _ => None,
    }
}

/// JSON as a value. `is_number` says whether a text of an entry can only stand
/// for a number that JSON lacks; `is_tuple` whether its list is a tuple.
pub(super) struct FromJson {
    pub(super) is_number: fn(&str) -> bool,
    pub(super) is_tuple: fn(&str) -> bool,
}

impl FromJson {
    /// For configurations: texts are numbers where the schema has numbers.
    pub(super) const CONFIG: Self = Self {
        is_number: |key| {
            let kind = key_by_flat_name(key).map(|key| key.kind);
            matches!(kind, Some(Kind::Float | Kind::List(Kind::Float)))
        },
        is_tuple: |_| false,
    };

    /// For optimizers, schedules and loops.
    pub(super) const STATE: Self = Self {
        is_number: |key| key != super::RUN_DIR,
        is_tuple: |key| key == "betas",
    };

    /// A dictionary of its entries.
    pub(super) fn dict(&self, entries: &Map<String, Json>) -> Result<Dict, Fault> {
        let entries = entries
            .iter()
            .map(|(key, value)| Ok((key.as_str(), self.value(key, value)?)));
        Ok(Dict::of(entries.collect::<Result<Vec<_>, Fault>>()?))
    }

    /// The value of the entry `key`.
    pub(super) fn value(&self, key: &str, value: &Json) -> Result<Value, Fault> {
        Ok(match value {
            Json::Null => Value::None,
            Json::Bool(value) => Value::Bool(*value),
            Json::Number(number) => match (number.as_i64(), number.as_f64()) {
                (Some(number), _) => Value::Int(number),
                (None, Some(number)) if !number_is_whole(value) => Value::Float(number),
                _ => {
                    return Err(Fault::Content {
                        reason: format!("{key} = {number} does not fit 64 bits"),
                    });
                }
            },
            Json::String(text) => match unusual_number(text).filter(|_| (self.is_number)(key)) {
                Some(number) => Value::Float(number),
                None => Value::from(text.as_str()),
            },
            Json::Array(items) => {
                let items = items.iter().map(|item| self.value(key, item));
                let items = items.collect::<Result<_, _>>()?;
                if (self.is_tuple)(key) {
                    Value::Tuple(items)
                } else {
                    Value::List(items)
                }
            }
            Json::Object(entries) => Value::Dict(self.dict(entries)?),
        })
    }
}

fn number_is_whole(value: &Json) -> bool {
    value.is_u64() || value.is_i64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_of_numbers_come_back() {
        let dict = Dict::of([
            ("init_lr", Value::Float(1e-3)),
            ("gradient_clip", Value::Float(f64::INFINITY)),
            ("final_lr", Value::Float(0.0)),
            ("loss_ewa_halflife", Value::Int(4)),
            ("max_chunks", Value::Int(i64::MAX - 1)),
            ("wandb_name", Value::from("inf")),
            ("wandb_group", Value::None),
            (
                "gencfg_tau",
                Value::List(vec![Value::Float(0.5), Value::Int(1)]),
            ),
        ]);
        let json = dict_to_json(&dict, "it").unwrap();
        let text = serde_json::to_string(&json).unwrap();
        let json: Map<String, Json> = serde_json::from_str(&text).unwrap();
        assert_eq!(FromJson::CONFIG.dict(&json).unwrap(), dict);
    }

    #[test]
    fn betas_are_a_tuple() {
        let betas = Value::Tuple(vec![Value::Float(0.9), Value::Float(0.95)]);
        let dict = Dict::of([("betas", betas), ("base_lrs", Value::List(vec![]))]);
        let json = dict_to_json(&dict, "it").unwrap();
        assert_eq!(FromJson::STATE.dict(&json).unwrap(), dict);
    }
}
