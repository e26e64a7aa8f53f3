//! An experiment as it stands in the record of a run, as a file again.

use std::fmt::Write;

use serde_json::{Map, Value};

use super::schema;
use super::show::{toml_key, toml_plain, toml_value};

/// The text of an experiment file that gives the recorded experiment
/// ([`experiment_json`](super::experiment_json)); keys that the present program
/// does not have any more are left out.
pub fn recorded_experiment(record: &Value) -> String {
    let mut text = String::new();
    for (name, value) in record["experiment"].as_object().into_iter().flatten() {
        if !value.is_null() {
            let _ = writeln!(text, "experiment.{name} = {}", toml_value(value));
        }
    }
    for key in schema::keys() {
        let parts = key.path.split('.');
        let value = parts.fold(&record["config"], |value, part| &value[part]);
        // Null is a value of some keys, and what a missing one looks like.
        let known = !value.is_null() || key.nullable;
        if known && *value != (key.default)() && key.path != "run.action" {
            let _ = writeln!(text, "{} = {}", key.path, toml_plain(value, key.kind));
        }
    }
    for stage in record["stages"].as_array().into_iter().flatten() {
        let name = stage["name"].as_str().unwrap_or_default();
        let _ = writeln!(text, "\n[stage.{}]", toml_key(name));
        for field in ["kind", "inputs"] {
            let _ = writeln!(text, "{field} = {}", toml_value(&stage[field]));
        }
        for (path, value) in stage["config"].as_object().into_iter().flatten() {
            if let Some(key) = schema::key(path) {
                let _ = writeln!(text, "{path} = {}", toml_plain(value, key.kind));
            }
        }
    }
    for cell in record["cells"].as_array().into_iter().flatten() {
        let (kind, name) = (cell["kind"].as_str(), cell["name"].as_str());
        let (kind, name) = (kind.unwrap_or_default(), name.unwrap_or_default());
        let _ = writeln!(text, "\n[{kind}.{}]", toml_key(name));
        let empty = Map::new();
        for (field, value) in cell["keys"].as_object().unwrap_or(&empty) {
            let _ = writeln!(text, "{} = {}", toml_key(field), toml_value(value));
        }
    }
    text
}
