//! `gencfg.json`: names of generation configurations, and their selection.

use novic::config::schema::{Config, key_by_flat_name};
use novic::decoder::generate::{GenerationConfig, Guiding, Method, PriorConfig, select};
use serde_json::Value;

use super::models::{list, size, text, texts};
use super::tensors::number;
use crate::golden;

/// The configuration of separate fields; a prior or renormalisation that is
/// switched off has no field here.
fn from_fields(fields: &Value) -> GenerationConfig {
    let flag = |name: &str| fields[name].as_bool().unwrap();
    GenerationConfig {
        method: match text(&fields["method"]) {
            "greedy" => Method::Greedy,
            "beam" => Method::Beam,
            "all" => Method::All,
            other => panic!("unknown method {other}"),
        },
        topk: size(&fields["topk"]),
        prior: flag("vocab_prior").then(|| PriorConfig {
            per_token: flag("vocab_per_token"),
            scaler: number(&fields["vocab_scaler"]),
        }),
        guide: match (flag("guided"), flag("guide_renorm")) {
            (false, _) => Guiding::None,
            (true, false) => Guiding::Plain,
            (true, true) => Guiding::Renormalized,
        },
        temperature: number(&fields["temperature"]),
        length_alpha: number(&fields["length_alpha"]),
    }
}

#[test]
fn names_are_parsed() {
    for entry in list(&golden::json("decoder", "gencfg.json")["parse"]) {
        let name = text(&entry["name"]);
        let found = name.parse::<GenerationConfig>();
        match entry["error"].as_str() {
            Some("invalid") => assert!(found.is_err(), "{name}"),
            // Accepted with its canonical name, unless the name would not say
            // which numbers are meant.
            Some("not canonical") => match found {
                Ok(config) => {
                    let canonical = config.to_string();
                    assert_ne!(canonical, name);
                    assert_eq!(canonical.parse::<GenerationConfig>().unwrap(), config);
                }
                Err(error) => assert!(
                    error.to_string().contains("three decimals"),
                    "{name}: {error}"
                ),
            },
            Some(other) => panic!("unknown outcome {other}"),
            None => {
                let expected = from_fields(&entry["config"]);
                let numbers = [
                    expected.temperature,
                    expected.length_alpha,
                    expected.prior.map_or(0.0, |prior| prior.scaler),
                ];
                if numbers.iter().all(|v| v.is_finite()) && numbers[2] >= 0.0 {
                    let found = found.unwrap();
                    assert_eq!(found, expected, "{name}");
                    assert_eq!(found.to_string(), name);
                } else {
                    assert!(found.is_err(), "{name}");
                }
            }
        }
    }
}

#[test]
fn names_are_formatted() {
    for entry in list(&golden::json("decoder", "gencfg.json")["format"]) {
        let config = from_fields(&entry["fields"]);
        assert_eq!(config.to_string(), text(&entry["name"]));
    }
}

fn selected(entry: &Value) -> Result<Vec<String>, String> {
    let mut config = Config::default();
    for (name, value) in entry["cfg"].as_object().unwrap() {
        let key = key_by_flat_name(name).unwrap();
        config
            .set(key.path, value)
            .map_err(|error| error.to_string())?;
    }
    let guided = entry["default_guided"].as_bool().unwrap();
    let configs = select(&config.generate, guided).map_err(|error| error.to_string())?;
    Ok(configs.iter().map(ToString::to_string).collect())
}

#[test]
fn configurations_are_selected() {
    for entry in list(&golden::json("decoder", "gencfg.json")["grid"]) {
        let found = selected(entry);
        match &entry["names"] {
            Value::Array(_) => assert_eq!(found.unwrap(), texts(&entry["names"]), "{entry}"),
            Value::String(outcome) if outcome == "not canonical" => {
                assert_eq!(found.unwrap().len(), 1, "{entry}");
            }
            _ => assert!(found.is_err(), "{entry}"),
        }
    }
}
