//! `gencfg_grids.json`: which generation configurations a command uses.

use novic::config::schema::Generate;
use novic::decoder::generate::{GenerationConfig, select};
use serde_json::Value;

use super::AREA;
use crate::golden;

#[test]
fn lists_and_grids_give_the_names_of_the_original() {
    let cases = golden::json(AREA, "gencfg_grids.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let guided = case["defaults"]["guided"].as_bool().unwrap_or(false);
        let selected = read(&case["config"])
            .and_then(|config| select(&config, guided).map_err(|error| error.to_string()));
        let names = selected
            .map(|configs| -> Vec<String> { configs.iter().map(ToString::to_string).collect() });
        let expected: Option<Vec<String>> = serde_json::from_value(case["names"].clone()).unwrap();
        match (names, expected) {
            (Ok(names), Some(expected)) => assert_eq!(names, expected, "{}", case["note"]),
            // Names in another order of parts are accepted here.
            (Ok(names), None) => {
                let given = case["config"]["gencfgs"].as_array().unwrap();
                assert_eq!(names.len(), given.len(), "{}", case["note"]);
                for (name, given) in names.iter().zip(given) {
                    let given: GenerationConfig = given.as_str().unwrap().parse().unwrap();
                    assert_eq!(*name, given.to_string(), "{}", case["note"]);
                }
            }
            // Priors that are none, or of negative strength, are refused here
            // even where greedy decoding would ignore them.
            (Err(error), Some(_)) => assert!(
                priors(&case["config"]).any(|prior| !is_strength(prior)),
                "{}: {error}",
                case["note"]
            ),
            (Err(_), None) => {}
        }
    }
}

pub fn read(config: &Value) -> Result<Generate, String> {
    let mut generate = Generate::default();
    for (key, value) in config.as_object().unwrap() {
        let value = value.clone();
        let grid = &mut generate.grid;
        let outcome = match key.as_str() {
            "gencfg" => set(&mut generate.config, value),
            "gencfgs" => set(&mut generate.configs, value),
            "gencfgs_grid" => set(&mut grid.enabled, value),
            "gencfg_method" => set(&mut grid.method, value),
            "gencfg_topk" => set(&mut grid.topk, value),
            "gencfg_prior" => set(&mut grid.prior, value),
            "gencfg_guide" => set(&mut grid.guide, value),
            "gencfg_tau" => set(&mut grid.temperature, value),
            "gencfg_alpha" => set(&mut grid.alpha, value),
            other => panic!("unknown key {other}"),
        };
        outcome.map_err(|error| error.to_string())?;
    }
    Ok(generate)
}

fn set<T: serde::de::DeserializeOwned>(
    field: &mut T,
    value: Value,
) -> Result<(), serde_json::Error> {
    *field = serde_json::from_value(value)?;
    Ok(())
}

fn priors(config: &Value) -> impl Iterator<Item = &str> {
    let priors = config["gencfg_prior"].as_array().into_iter().flatten();
    priors.filter_map(Value::as_str)
}

fn is_strength(prior: &str) -> bool {
    let number = prior.strip_prefix("tgt").or(prior.strip_prefix("tok"));
    prior == "none"
        || number.is_some_and(|number| number.parse().is_ok_and(|value: f64| value >= 0.0))
}
