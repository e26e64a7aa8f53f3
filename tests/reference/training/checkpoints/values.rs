//! Comparison of pickled values with their description in the reference data,
//! and with each other.

use novic::pickle::{Archive, Value};
use safetensors::Dtype;
use serde_json::Value as Json;

/// Checks a value, types included, against its description.
pub fn assert_described(value: &Value, expected: &Json, what: &str) {
    if let (Some(text), Value::Tensor(info)) = (expected.as_str(), value) {
        let dtype = match info.storage.dtype {
            Dtype::F32 => "float32",
            Dtype::I64 => "int64",
            Dtype::I32 => "int32",
            other => panic!("{what}: {other:?}"),
        };
        let own = format!("{dtype}{:?}", info.shape);
        assert_eq!(own, text.trim_start_matches("tensor "), "{what}");
        return;
    }
    let Some(kind) = expected.get("__type__") else {
        assert_plain(value, expected, what);
        return;
    };
    let described = expected.as_object().unwrap();
    match (kind.as_str().unwrap(), value) {
        ("builtins.dict" | "collections.OrderedDict", Value::Dict(dict)) => {
            let names: Vec<String> = dict.entries.iter().map(|(key, _)| text(key)).collect();
            let wanted = described.keys().filter(|key| *key != "__type__");
            assert_eq!(names, wanted.cloned().collect::<Vec<_>>(), "{what}");
            for (name, value) in &dict.entries {
                let name = text(name);
                assert_described(value, &described[&name], &format!("{what}.{name}"));
            }
        }
        ("dtype", Value::Dtype(dtype)) => {
            let name = match dtype {
                Dtype::I64 => "torch.int64",
                Dtype::I32 => "torch.int32",
                Dtype::BOOL => "torch.bool",
                other => panic!("{what}: {other:?}"),
            };
            assert_eq!(described["value"], name, "{what}");
        }
        ("tuple", Value::Tuple(items)) | ("list", Value::List(items)) => {
            let wanted = described["items"].as_array().unwrap();
            assert_eq!(items.len(), wanted.len(), "{what}");
            for (item, wanted) in items.iter().zip(wanted) {
                assert_described(item, wanted, what);
            }
        }
        ("int", Value::Int(_))
        | ("float", Value::Float(_))
        | ("bool", Value::Bool(_))
        | ("str", Value::Text(_))
        | ("NoneType", Value::None) => assert_plain(value, &described["value"], what),
        (kind, value) => panic!("{what}: {value:?} is no {kind}"),
    }
}

/// Checks a plain value, types of numbers included.
pub fn assert_plain(value: &Value, expected: &Json, what: &str) {
    let same = match (value, expected) {
        (Value::None, Json::Null) => true,
        (Value::Bool(own), Json::Bool(wanted)) => own == wanted,
        (Value::Int(own), wanted) => wanted.as_i64() == Some(*own),
        (Value::Float(own), Json::Number(wanted)) => {
            wanted.is_f64() && wanted.as_f64() == Some(*own)
        }
        (Value::Float(own), Json::String(wanted)) => wanted.parse() == Ok(*own),
        (Value::Text(own), Json::String(wanted)) => **own == *wanted,
        (Value::List(own), Json::Array(wanted)) => {
            own.len() == wanted.len() && {
                let mut pairs = own.iter().zip(wanted);
                pairs.all(|(own, wanted)| {
                    assert_plain(own, wanted, what);
                    true
                })
            }
        }
        _ => false,
    };
    assert!(same, "{what}: {value:?} instead of {expected}");
}

fn text(key: &Value) -> String {
    match key {
        Value::Text(text) => text.to_string(),
        Value::Int(number) => number.to_string(),
        other => panic!("key {other:?}"),
    }
}

/// Checks that two values are the same, tensors by their elements.
pub fn assert_same_value(own: (&Archive, &Value), expected: (&Archive, &Value), what: &str) {
    match (own.1, expected.1) {
        (Value::Dict(a), Value::Dict(b)) => {
            assert_eq!(a.ordered, b.ordered, "{what}");
            let names = |entries: &[(Value, Value)]| -> Vec<String> {
                entries.iter().map(|(key, _)| text(key)).collect()
            };
            assert_eq!(names(&a.entries), names(&b.entries), "{what}");
            for ((name, a), (_, b)) in a.entries.iter().zip(&b.entries) {
                let what = format!("{what}.{}", text(name));
                assert_same_value((own.0, a), (expected.0, b), &what);
            }
        }
        (Value::List(a), Value::List(b)) | (Value::Tuple(a), Value::Tuple(b)) => {
            assert_eq!(a.len(), b.len(), "{what}");
            for (a, b) in a.iter().zip(b) {
                assert_same_value((own.0, a), (expected.0, b), what);
            }
        }
        (Value::Tensor(a), Value::Tensor(b)) => {
            let a = own.0.tensor(a).unwrap();
            let b = expected.0.tensor(b).unwrap();
            assert!(a == b, "{what}: {:?} {:?}", a.shape, b.shape);
        }
        (a, b) => assert_eq!(a, b, "{what}"),
    }
}
