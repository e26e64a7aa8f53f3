//! Properties of the override grammar.

use proptest::prelude::*;
use serde_json::{Map, Value};

use crate::config::hydra::points;
use crate::config::overrides::{Operation, parse, parse_value};
use crate::config::{Node, Raw};

/// JSON without null and with finite numbers.
fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |x| x.is_finite())
            .prop_map(Value::from),
        ".*".prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec(("[a-z_]{1,6}", inner), 0..4)
                .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
        ]
    })
}

/// The value as an override writes it, texts in quotes.
fn written(value: &Value) -> String {
    match value {
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(written).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{key}: {}", written(value)))
                .collect();
            format!("{{{}}}", fields.join(","))
        }
        value => value.to_string(),
    }
}

/// A text in quotes: backslashes before a quote are doubled, quotes escaped.
fn quoted(text: &str) -> String {
    let mut result = String::from("'");
    let mut slashes = 0;
    for c in text.chars() {
        match c {
            '\\' => slashes += 1,
            '\'' => {
                result.extend(std::iter::repeat_n('\\', slashes + 1));
                slashes = 0;
            }
            _ => slashes = 0,
        }
        result.push(c);
    }
    result.extend(std::iter::repeat_n('\\', slashes));
    result.push('\'');
    result
}

fn spans_are_inside(node: &Node, text: &str) -> bool {
    text.get(node.span.clone()).is_some()
        && match &node.raw {
            Raw::List(items) => items.iter().all(|item| spans_are_inside(item, text)),
            Raw::Table(fields) => fields.iter().all(|field| {
                text.get(field.key_span.clone()).is_some() && spans_are_inside(&field.value, text)
            }),
            _ => true,
        }
}

proptest! {
    #[test]
    fn written_values_are_read_back(value in values()) {
        let text = format!("a.b={}", written(&value));
        let parsed = parse(&text).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(parsed.operation, Operation::Set);
        let node = parsed.value.expect("a value");
        prop_assert!(spans_are_inside(&node, &text));
        prop_assert_eq!(node.to_json(), value);
    }

    #[test]
    fn any_text_is_parsed_or_refused_with_a_place(text in ".*") {
        match parse(&text) {
            Ok(parsed) => {
                if let Some(node) = parsed.value {
                    prop_assert!(spans_are_inside(&node, &text));
                }
            }
            Err(error) => prop_assert!(text.get(error.span).is_some()),
        }
    }

    #[test]
    fn texts_of_brackets_and_quotes_are_parsed_or_refused(text in "[-a1.,:=~+ '\"\\\\\\[\\]{}$]{0,16}") {
        let text = format!("a={text}");
        match parse_value(&text, 2) {
            Ok(node) => prop_assert!(spans_are_inside(&node, &text)),
            Err(error) => prop_assert!(text.get(error.span).is_some()),
        }
    }

    #[test]
    fn bare_words_keep_their_inner_blanks(text in "[a-z/][a-z /.|$*-]{0,12}[a-z]") {
        let node = parse_value(&format!("  {text}  "), 0)
            .map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(node.text(), Some(text.as_str()));
    }

    #[test]
    fn a_sweep_has_all_combinations_in_order(sizes in prop::collection::vec(1usize..5, 1..4)) {
        let sweep: Vec<String> = sizes
            .iter()
            .enumerate()
            .map(|(key, &size)| {
                let values: Vec<_> = (0..size).map(|value| value.to_string()).collect();
                format!("k{key}={}", values.join(","))
            })
            .collect();
        let points = points(&sweep).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(points.len(), sizes.iter().product::<usize>());
        for (number, point) in points.iter().enumerate() {
            // The last key varies fastest: the digits of the number.
            let mut rest = number;
            for (key, &size) in sizes.iter().enumerate().rev() {
                prop_assert_eq!(&point[key], &format!("k{key}={}", rest % size));
                rest /= size;
            }
        }
    }

    #[test]
    fn any_sweep_is_listed_or_refused(text in "a=[-a1.,:=~+ '()\"\\\\\\[\\]{}]{0,16}") {
        if let Ok(points) = points(&[&text]) {
            for point in points {
                prop_assert!(point[0].starts_with("a="));
            }
        }
    }
}
