//! JSON Schema of sweep files, for editors.
//!
//! Draft 4, as the one of experiment files, whose keys it has: behind them stand
//! values, or what they become when they vary.

use serde_json::{Map, Value, json};

use super::file::{SWEEP, TOP, UNION};
use super::search_file::{KEYS as SEARCH, PRUNE};
use crate::config::schema::json::{Form, definitions, document_tables, key_tables, table};

/// JSON Schema of sweep files.
pub fn sweep_schema() -> Value {
    let values = definitions();
    let mut definitions: Map<String, Value> = values
        .iter()
        .map(|(path, value)| {
            let mut axis = several(link(path));
            axis["description"] = value["description"].clone();
            (format!("{AXIS}{path}"), axis)
        })
        .collect();
    definitions.extend(values);
    let mut point = tables_of("sweep.stage", &|value| value, &mut definitions);
    definitions.insert("sweep.values".into(), table(point.clone(), &[]));
    point.insert("label".into(), text("What tables call the point."));
    definitions.insert("sweep.point".into(), table(point, &[]));
    let axes = tables_of("sweep.stage_axes", &axis, &mut definitions);
    definitions.insert("sweep.axes".into(), table(axes, &[]));
    let mut schema = object(
        "A sweep file of novic: many points of one experiment.",
        TOP,
        &top,
    );
    schema["$schema"] = "http://json-schema.org/draft-04/schema#".into();
    schema["title"] = "NOVIC sweep".into();
    schema["required"] = json!(["sweep"]);
    schema["definitions"] = Value::Object(definitions);
    schema
}

/// Begins the names of definitions of keys that vary.
const AXIS: &str = "axis.";

fn link(name: &str) -> Value {
    json!({"$ref": format!("#/definitions/{name}")})
}

/// What a value becomes when it varies.
fn axis(value: Value) -> Value {
    let name = value["$ref"].as_str();
    match name.and_then(|name| name.strip_prefix("#/definitions/")) {
        Some(path) => link(&format!("{AXIS}{path}")),
        None => several(value),
    }
}

/// The tables of keys; that of a stage becomes a definition.
fn tables_of(
    stage: &str,
    form: Form<'_>,
    definitions: &mut Map<String, Value>,
) -> Map<String, Value> {
    let mut tables = key_tables(form);
    let of_stage = tables["stage"]["additionalProperties"].take();
    definitions.insert(stage.to_owned(), of_stage);
    tables["stage"]["additionalProperties"] = link(stage);
    tables
}

/// A table with some keys.
fn object(doc: &str, keys: &[&str], what: &dyn Fn(&str) -> Value) -> Value {
    let properties: Map<String, Value> = keys
        .iter()
        .map(|key| ((*key).to_owned(), what(key)))
        .collect();
    let mut schema = table(properties, &[]);
    schema["description"] = doc.into();
    schema
}

fn text(doc: &str) -> Value {
    json!({"description": doc, "type": "string"})
}

fn texts(doc: &str) -> Value {
    let text = json!({"type": "string"});
    json!({"description": doc, "anyOf": [text, {"type": "array", "items": text}]})
}

fn count(doc: &str, least: u64) -> Value {
    json!({"description": doc, "type": "integer", "minimum": least})
}

fn number(doc: &str) -> Value {
    json!({"description": doc, "type": "number"})
}

fn choice(doc: &str, names: &[&str]) -> Value {
    json!({"description": doc, "enum": names})
}

fn reference(doc: &str, name: &str) -> Value {
    json!({"description": doc, "allOf": [link(name)]})
}

/// One table, or several as `[[name]]`.
fn tables(doc: &str, item: Value) -> Value {
    json!({"description": doc, "anyOf": [item, {"type": "array", "items": item}]})
}

/// A value, several, or an expression that gives some.
fn several(value: Value) -> Value {
    json!({"anyOf": [value, {"type": "array", "items": value}, {"type": "string"}]})
}

fn goal() -> Value {
    choice("Whether small or large values are good.", &["min", "max"])
}

/// What stands behind the keys at the top of a file.
fn top(key: &str) -> Value {
    match key {
        "sweep" => object("The sweep as a whole.", SWEEP, &sweep),
        "search" => object(
            "Looks for good points instead of listing them.",
            SEARCH,
            &search,
        ),
        "union" => tables(
            "A block with points of its own; the points of all blocks are joined.",
            object("A block.", UNION, &block),
        ),
        "launcher" | "slots" | "store" => document_tables().remove(key).unwrap_or_default(),
        key => block(key),
    }
}

/// What stands behind the keys of a block of points.
fn block(key: &str) -> Value {
    let axes = link("sweep.axes");
    match key {
        "set" => reference("Values of all points.", "sweep.values"),
        "grid" => reference(
            "All combinations of the values; the last key fastest.",
            "sweep.axes",
        ),
        "random" => reference("Values that are drawn, `draws` times.", "sweep.axes"),
        "zip" => tables("Keys that go together: as many values each.", axes),
        "exclude" => tables("Points that fulfil all of it are left out.", axes),
        "point" => tables("Points one by one.", link("sweep.point")),
        _ => text("What tables call the block."),
    }
}

/// What stands behind the keys of `[sweep]`.
fn sweep(key: &str) -> Value {
    match key {
        "name" => text("Its name; default: that of the file."),
        "title" => text("Heading."),
        "prose" => text("For people who read the file."),
        "base" => text("The experiment, relative to this file."),
        "seeds" => several(count(
            "Repeats of every point; default: the experiment's.",
            1,
        )),
        "metric" => text("What points are ranked by: STAGE.FIELD or STAGE.FIELD@DATASET."),
        "goal" => goal(),
        "show" => texts("More columns, likewise."),
        "draws" => count("Points that [random] draws.", 1),
        "draws_seed" => count("Seed of these draws.", 0),
        "max_points" => count("More points are a mistake.", 1),
        _ => count(
            "More points than this are run only after a question, or with --yes.",
            0,
        ),
    }
}

/// What stands behind the keys of `[search]`.
fn search(key: &str) -> Value {
    match key {
        "method" => choice("How the next point is chosen.", &["tpe", "random"]),
        "trials" => count("Points that are tried.", 1),
        "seed" => count("Seed of the search itself.", 0),
        "startup" => count("Points at random, before there is something to go by.", 1),
        "space" => reference("What varies.", "sweep.axes"),
        _ => object("Ends hopeless trials early.", PRUNE, &prune),
    }
}

/// What stands behind the keys of `[search.prune]`.
fn prune(key: &str) -> Value {
    match key {
        "method" => choice("Which trials go on.", &["asha", "hyperband"]),
        "stage" => text("The stage whose rows are looked at."),
        "metric" => text("The metric of these rows that counts."),
        "goal" => goal(),
        "resource" => text("The metric that counts how far a trial is."),
        "min" => number("Where the first look is."),
        "max" => number("Where the last look is."),
        _ => number("One of so many trials goes on at every look."),
    }
}
