//! The schema as JSON Schema, for editors.
//!
//! Draft 4, the newest that the TOML language server Taplo understands, with
//! its `x-taplo` notes about the values of enumerations.

use serde_json::{Map, Value, json};

use super::root::{SECTION_DOCS, SECTIONS, document_keys, keys, price_keys};
use super::{Action, Key, Kind, Range};

/// What may stand behind a key, made of what one value may be.
pub type Form<'a> = &'a dyn Fn(Value) -> Value;

/// What stands behind each key, by its path.
pub fn definitions() -> Map<String, Value> {
    let keys = keys().iter().chain(document_keys()).copied();
    let keys = keys.chain(price_keys());
    keys.map(|key| (key.path.to_owned(), leaf(key))).collect()
}

/// Tables of the keys that stages read: those that all share, those of single
/// stages under `stage`, and the groups under `use`. `form` says what may stand
/// behind a key. They refer to [`definitions`].
pub fn key_tables(form: Form<'_>) -> Map<String, Value> {
    let mut properties = sections(keys(), form);
    for (section, doc) in SECTIONS.iter().zip(SECTION_DOCS) {
        properties[*section]["description"] = doc.trim().into();
    }
    flat_names(&mut properties, form);
    let mut stage = properties.clone();
    stage.insert("kind".into(), form(kind()));
    stage.insert("inputs".into(), form(inputs()));
    properties.insert(
        "stage".into(),
        map_of("What is done: a table per stage.", table(stage, &["kind"])),
    );
    properties.insert(
        "use".into(),
        map_of(
            "Groups: GROUP = \"NAME\" takes in base/GROUP/NAME.toml.",
            form(json!({"type": "string"})),
        ),
    );
    properties
}

/// Tables of the sections that describe an experiment as a whole.
pub fn document_tables() -> Map<String, Value> {
    let mut tables = sections(document_keys(), &|value| value);
    tables["annotate"]["properties"]["gpt"]["properties"]["price"] = prices();
    tables
}

/// JSON Schema of experiment files.
pub fn json_schema() -> Value {
    let mut properties = key_tables(&|value| value);
    properties.extend(document_tables());
    let texts = |doc: &str| {
        json!({
            "description": doc,
            "anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}],
        })
    };
    properties.insert(
        "version".into(),
        json!({
            "description": "Version of experiment files that this one is written for.",
            "enum": [0, 1],
        }),
    );
    properties.insert(
        "extends".into(),
        texts("Files whose values this one builds on, relative to it; later ones win."),
    );
    properties.insert(
        "unset".into(),
        texts("Keys, sections, stages and cells that are not inherited."),
    );
    for (name, doc) in [
        ("table", "Tables made of the records of the stages."),
        ("plot", "Plots made of the records of the stages."),
    ] {
        properties.insert(name.into(), map_of(doc, json!({"type": "object"})));
    }
    let mut schema = table(properties, &[]);
    schema["$schema"] = "http://json-schema.org/draft-04/schema#".into();
    schema["title"] = "NOVIC experiment".into();
    schema["description"] =
        "An experiment file of novic: sections that all stages share, stages, tables and plots."
            .into();
    schema["definitions"] = Value::Object(definitions());
    schema
}

/// Prices by model.
fn prices() -> Value {
    let of_model = price_keys().into_iter().map(|key| {
        let name = key.path.rsplit('.').next().unwrap_or(key.path);
        (name.to_owned(), reference(key))
    });
    map_of("What models cost.", table(of_model.collect(), &[]))
}

/// A table with these keys and no others. A stage of a file that extends
/// another may leave out what that one says, so nothing is `required` here.
pub fn table(properties: Map<String, Value>, first: &[&str]) -> Value {
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !first.is_empty() {
        schema["x-taplo"] = json!({ "initKeys": first });
    }
    schema
}

fn map_of(doc: &str, item: Value) -> Value {
    json!({ "description": doc, "type": "object", "additionalProperties": item })
}

/// Keys as nested tables.
fn sections(keys: &[&'static Key], form: Form<'_>) -> Map<String, Value> {
    let mut top = Map::new();
    for key in keys {
        insert(&mut top, key.path, form(reference(key)));
    }
    top
}

fn insert(properties: &mut Map<String, Value>, path: &str, leaf: Value) {
    match path.split_once('.') {
        None => {
            properties.insert(path.to_owned(), leaf);
        }
        Some((section, rest)) => {
            let inner = properties
                .entry(section)
                .or_insert_with(|| table(Map::new(), &[]));
            if let Some(Value::Object(inner)) = inner.get_mut("properties") {
                insert(inner, rest, leaf);
            }
        }
    }
}

/// Names of the original, which are accepted in place of the nested ones.
fn flat_names(properties: &mut Map<String, Value>, form: Form<'_>) {
    for key in keys() {
        // `model` and the like are names of sections too; as keys they would
        // be texts.
        let Some(flat) = key.flat else { continue };
        let alias = json!({
            "description": format!("The original's name of {}.", key.path),
            "allOf": [form(match key.path {
                "tracking.wandb.mode" => json!({"type": "boolean"}),
                _ => reference(key),
            })],
        });
        match properties.remove(flat) {
            Some(section) => {
                properties.insert(flat.to_owned(), json!({ "anyOf": [section, alias] }));
            }
            None => {
                properties.insert(flat.to_owned(), alias);
            }
        }
    }
}

fn reference(key: &Key) -> Value {
    json!({ "$ref": format!("#/definitions/{}", key.path) })
}

/// What stands behind one key.
fn leaf(key: &Key) -> Value {
    let mut schema = value(key, key.kind);
    let mut alternatives = Vec::new();
    if !matches!(
        key.kind,
        Kind::Text | Kind::Path | Kind::CommaText | Kind::List(_)
    ) {
        alternatives.push(json!({ "type": "string", "pattern": r"\$\{.+\}|^\?{3}$" }));
    }
    if key.nullable {
        let word = if key.kind == Kind::Bool {
            "auto"
        } else {
            "none"
        };
        alternatives.push(json!({ "enum": [word] }));
    }
    if !alternatives.is_empty() {
        let docs = schema.as_object_mut().and_then(|s| s.remove("x-taplo"));
        alternatives.insert(0, schema);
        schema = json!({ "anyOf": alternatives });
        if let Some(docs) = docs {
            schema["x-taplo"] = docs;
        }
    }
    schema["description"] = description(key).into();
    let default = (key.default)();
    if !default.is_null() {
        schema["default"] = default;
    }
    schema
}

/// The meaning with unit, range and the name in the original.
fn description(key: &Key) -> String {
    let mut text = key.doc.trim().to_owned();
    let range = key.range.text();
    let facts = [
        (!key.unit.is_empty()).then(|| format!("Unit: {}.", key.unit)),
        range.map(|range| format!("Allowed: {range}.")),
        key.flat.map(|flat| format!("In the original: `{flat}`.")),
    ];
    let facts: Vec<_> = facts.into_iter().flatten().collect();
    if !facts.is_empty() {
        text.push_str("\n\n");
        text.push_str(&facts.join(" "));
    }
    text
}

fn value(key: &Key, kind: Kind) -> Value {
    match kind {
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Int => number("integer", key.range),
        Kind::Float => number("number", key.range),
        Kind::Text | Kind::Path => json!({ "type": "string" }),
        Kind::Choice {
            names,
            docs,
            any_case,
        } => {
            let docs: Vec<_> = docs.iter().map(|doc| doc.trim()).collect();
            let exact = json!({ "enum": names });
            let mut schema = if any_case {
                let spellings: Vec<_> = names.iter().map(|name| spelling(name)).collect();
                json!({ "anyOf": [exact, { "type": "string", "pattern": format!("^({})$", spellings.join("|")) }] })
            } else {
                exact
            };
            schema["x-taplo"] = json!({ "docs": { "enumValues": docs } });
            schema
        }
        Kind::ChoiceOrInt { names } => {
            json!({ "anyOf": [{ "enum": names }, number("integer", key.range)] })
        }
        Kind::Fraction => json!({ "anyOf": [
            { "type": "string", "pattern": "^[0-9]+(/[0-9]+)?$" },
            number("number", key.range),
        ] }),
        Kind::List(element) => json!({ "type": "array", "items": value(key, *element) }),
        Kind::ListOrText(element) => json!({ "anyOf": [
            { "type": "array", "items": value(key, *element) },
            { "type": "string" },
        ] }),
        Kind::CommaText => json!({ "anyOf": [
            { "type": "string" },
            { "type": "array", "items": { "type": "string" } },
        ] }),
    }
}

/// A name in any case, as a regular expression without flags.
fn spelling(name: &str) -> String {
    let letter = |c: char| {
        if c.is_ascii_alphabetic() {
            format!("[{}{}]", c.to_ascii_uppercase(), c.to_ascii_lowercase())
        } else {
            c.to_string()
        }
    };
    name.chars().map(letter).collect()
}

fn number(kind: &str, range: Range) -> Value {
    let mut schema = json!({ "type": kind });
    let bound = |value: f64| {
        if value.fract() == 0.0 {
            Value::from(value as i64)
        } else {
            Value::from(value)
        }
    };
    if range.min.is_finite() {
        schema["minimum"] = bound(range.min);
        if range.above_min {
            schema["exclusiveMinimum"] = true.into();
        }
    }
    if range.max.is_finite() {
        schema["maximum"] = bound(range.max);
        if range.below_max {
            schema["exclusiveMaximum"] = true.into();
        }
    }
    schema
}

/// Kinds of stages.
fn kind() -> Value {
    let Kind::Choice { names, docs, .. } = <Action as super::Leaf>::KIND else {
        return json!({ "type": "string" });
    };
    let names: Vec<_> = names.iter().copied().chain(["nothing"]).collect();
    let docs: Vec<_> = docs
        .iter()
        .map(|doc| doc.trim())
        .chain(["Does nothing; for measurements."])
        .collect();
    json!({
        "description": "What the stage does.",
        "enum": names,
        "x-taplo": { "docs": { "enumValues": docs } },
    })
}

fn inputs() -> Value {
    json!({
        "description": "Stages whose outputs it takes, in order.",
        "type": "array",
        "items": { "anyOf": [
            { "type": "string" },
            {
                "type": "object",
                "properties": {
                    "stage": { "type": "string", "description": "Name of the stage." },
                    "repeat": { "type": "integer", "minimum": 1, "description": "How many times its output counts." },
                },
                "required": ["stage"],
                "additionalProperties": false,
            },
        ] },
    })
}
