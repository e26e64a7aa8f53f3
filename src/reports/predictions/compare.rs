//! In what prediction files differ (`reports.md` section 5).

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::file::{ModelPredictions, NounList};
use crate::reports::printed::Printed;
use crate::reports::python_text::{python_equal, python_list, python_str};

/// Width of a column's head, in characters.
const HEAD: usize = 32;
/// Width of a cell, in characters.
const CELL: usize = 40;

/// How differences are shown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompareStyle {
    /// Lists in Python's notation, as the original shows them.
    pub original: bool,
    /// Also what is a path or follows from other keys.
    pub all_keys: bool,
}

/// One value that may differ.
enum Field<'a> {
    Value(&'a Value),
    Nouns(&'a NounList),
    Samples(&'a [String]),
}

/// Says whether the files have the same samples, and what else differs.
pub fn compare(files: &[ModelPredictions], style: CompareStyle, out: &mut Printed) {
    let Some((first, others)) = files.split_first() else {
        return;
    };
    if others.iter().all(|file| file.samples == first.samples) {
        out.info(format!(
            "All loaded prediction JSONs were inferenced on the same {} samples",
            first.samples.len()
        ));
    } else {
        out.warn("CAREFUL: Not all loaded prediction JSONs have the same list of samples");
    }
    let flat: Vec<BTreeMap<String, Field<'_>>> = files.iter().map(flatten).collect();
    let mut keys: Vec<&String> = flat.iter().flat_map(BTreeMap::keys).collect();
    keys.sort_unstable();
    keys.dedup();
    let rows: Vec<Vec<String>> = keys
        .into_iter()
        .filter(|key| style.all_keys || !follows_or_is_path(key))
        .filter_map(|key| {
            let fields: Vec<Option<&Field<'_>>> = flat.iter().map(|file| file.get(key)).collect();
            let differs = fields.iter().any(|field| !equal(fields[0], *field));
            let cells = fields.into_iter().map(|field| cell(field, style.original));
            differs.then(|| std::iter::once(key.clone()).chain(cells).collect())
        })
        .collect();
    if rows.is_empty() {
        return;
    }
    let mut heads = vec![String::new()];
    heads.extend(files.iter().map(|file| in_lines(&file.stem())));
    let tallest = heads.iter().map(|head| head.split('\n').count()).max();
    heads[0] = "\n".repeat(tallest.unwrap_or(1) - 1) + "Key";
    out.result("Comparison of loaded prediction JSONs (only values that differ):");
    out.table(heads, rows);
}

/// A text in lines of 32 characters.
pub(super) fn in_lines(text: &str) -> String {
    let characters: Vec<char> = text.chars().collect();
    let lines = characters.chunks(HEAD).map(String::from_iter);
    lines.collect::<Vec<String>>().join("\n")
}

/// All values of a file but its predictions, nested keys joined by points.
fn flatten(file: &ModelPredictions) -> BTreeMap<String, Field<'_>> {
    let mut flat = BTreeMap::new();
    flatten_into(&file.rest, "", &mut flat);
    flatten_into(&file.model_cfg, "model_cfg.", &mut flat);
    flatten_into(&file.infer_cfg, "infer_cfg.", &mut flat);
    for (key, value) in &file.names {
        flat.insert(key.clone(), Field::Value(value));
    }
    for (key, list) in [
        ("guide_targets", &file.guide_targets),
        ("vocab_targets", &file.vocab_targets),
    ] {
        if list.present {
            flat.insert(key.to_owned(), Field::Nouns(list));
        }
    }
    flat.insert("samples".to_owned(), Field::Samples(&file.samples));
    flat
}

fn flatten_into<'a>(
    values: &'a Map<String, Value>,
    prefix: &str,
    flat: &mut BTreeMap<String, Field<'a>>,
) {
    for (key, value) in values {
        // A point within a key would look like one between keys.
        let path = if key.contains('.') {
            format!("{prefix}\"{key}\"")
        } else {
            format!("{prefix}{key}")
        };
        match value {
            Value::Object(inner) => flatten_into(inner, &format!("{path}."), flat),
            other => {
                flat.insert(path, Field::Value(other));
            }
        }
    }
}

/// Whether a key holds a path, or what other keys tell already.
fn follows_or_is_path(key: &str) -> bool {
    const FOLLOWS: [&str; 5] = [
        "model_path",
        "model_dir",
        "model_name",
        "model_cfg.run_dir",
        "infer_cfg.run_dir",
    ];
    const PATHS: [&str; 6] = ["_path", "_paths", "_dir", "_json", "_jsons", "_root"];
    FOLLOWS.contains(&key) || PATHS.iter().any(|end| key.ends_with(end))
}

fn equal(left: Option<&Field<'_>>, right: Option<&Field<'_>>) -> bool {
    let value = |field: Option<&Field<'_>>| match field {
        Some(Field::Value(value)) => (*value).clone(),
        _ => Value::Null,
    };
    match (left, right) {
        (Some(Field::Nouns(left)), Some(Field::Nouns(right))) => left == right,
        (Some(Field::Samples(left)), Some(Field::Samples(right))) => left == right,
        (Some(Field::Nouns(_)), _) | (_, Some(Field::Nouns(_))) => false,
        _ => python_equal(&value(left), &value(right)),
    }
}

fn cell(field: Option<&Field<'_>>, original: bool) -> String {
    let text = match field {
        None | Some(Field::Value(Value::Null)) => String::new(),
        Some(Field::Value(value)) if original => python_str(value),
        Some(Field::Value(Value::String(text))) => text.clone(),
        Some(Field::Value(value)) => value.to_string(),
        Some(Field::Nouns(list)) if original => list.python(),
        Some(Field::Nouns(list)) => format!("{} nouns", grouped(list.len)),
        Some(Field::Samples(samples)) if original => python_list(samples.iter()),
        Some(Field::Samples(samples)) => format!("{} samples", grouped(samples.len())),
    };
    text.chars().take(CELL).collect()
}

/// A count with thin blanks between groups of three digits.
fn grouped(count: usize) -> String {
    let digits = count.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::reports::printed::Said;

    fn file(name: &str, fields: &Value) -> ModelPredictions {
        let mut value = json!({ "version": 1, "samples": ["a"], "predictions": {} });
        for (key, field) in fields.as_object().unwrap() {
            value[key] = field.clone();
        }
        let file = ModelPredictions::parse(&value.to_string())
            .unwrap()
            .unwrap();
        ModelPredictions {
            path: name.into(),
            ..file
        }
    }

    fn rows(files: &[ModelPredictions], style: CompareStyle) -> Vec<Vec<String>> {
        let mut out = Printed::default();
        compare(files, style, &mut out);
        match out.0.pop() {
            Some(Said::Table(table)) => table.rows,
            _ => Vec::new(),
        }
    }

    #[test]
    fn only_what_matters_is_shown() {
        let nouns: Vec<String> = (0..1234).map(|at| format!("noun {at}")).collect();
        let left = file(
            "left.json",
            &json!({"model": "m", "model_path": "/a", "model_cfg": {"a.b": [1, null]}, "vocab_targets": nouns}),
        );
        let right = file(
            "right.json",
            &json!({"model": "m", "model_path": "/b", "model_cfg": {"a.b": [2.0]}, "vocab_targets": ["x"]}),
        );
        let files = [left, right];
        assert_eq!(
            rows(&files, CompareStyle::default()),
            [
                ["model_cfg.\"a.b\"", "[1,null]", "[2.0]"],
                ["vocab_targets", "1\u{202f}234 nouns", "1 nouns"]
            ]
        );
        let style = CompareStyle {
            original: true,
            all_keys: true,
        };
        assert_eq!(
            rows(&files, style),
            [
                ["model_cfg.\"a.b\"", "[1, None]", "[2.0]"],
                ["model_path", "/a", "/b"],
                [
                    "vocab_targets",
                    "['noun 0', 'noun 1', 'noun 2', 'noun 3',",
                    "['x']"
                ]
            ]
        );
    }

    #[test]
    fn equal_files_have_no_table() {
        let one = || file("one.json", &json!({"model_cfg": {"a": 1}}));
        let two = file("two.json", &json!({"model_cfg": {"a": 1.0}}));
        assert!(rows(&[one(), two], CompareStyle::default()).is_empty());
        assert!(rows(&[one()], CompareStyle::default()).is_empty());
    }
}
