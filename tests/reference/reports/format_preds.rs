//! `format_preds.json`: the tables of prediction files, letter by letter.

use std::path::PathBuf;

use novic::config::schema::PredsTable;
use novic::reports::predictions::{Ambiguous, Places, PredsRequest, TableStyle, format_preds};
use novic::reports::printed::Printed;
use serde_json::Value;

use super::{AREA, assert_events, events, expected_events, inputs};
use crate::golden;

/// The request of a case; none if there is no such table.
fn request(cfg: &Value) -> Option<PredsRequest> {
    let folder = inputs().display().to_string();
    let text = |key: &str| cfg[key].as_str().unwrap().replace("$INPUTS", &folder);
    let load = cfg["load_pred_jsons"].as_array().unwrap().iter();
    Some(PredsRequest {
        table: text("pfmt_type").parse::<PredsTable>().ok()?,
        topk: usize::try_from(cfg["pfmt_topk"].as_u64().unwrap()).unwrap(),
        model_spec: cfg["pfmt_model_spec"].as_bool().unwrap(),
        sort: text("pfmt_sort"),
        load: load
            .map(|entry| entry.as_str().unwrap().replace("$INPUTS", &folder))
            .collect(),
        annotations: text("pred_ann_json"),
        places: Places {
            source: PathBuf::from("/"),
            image_dir: text("pred_image_dir"),
        },
        style: TableStyle::Compat,
        ambiguous: Ambiguous::First,
        all_keys: true,
        each_missing: true,
        bounds: false,
    })
}

#[test]
fn tables_are_those_of_the_original() {
    let cases = golden::json(AREA, "format_preds.json");
    let cases = cases.as_array().unwrap();
    let mut compared = 0;
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let crashed = !case["exception"].is_null();
        let Some(request) = request(&case["cfg"]) else {
            assert!(crashed, "{name}: there is no such table");
            continue;
        };
        let mut printed = Printed::default();
        let result = format_preds(&request, &mut printed);
        let (found, expected) = (events(&printed), expected_events(case));
        match (crashed, result) {
            (false, Ok(_)) => {
                assert_events(name, &found, &expected);
                compared += 1;
            }
            (false, Err(error)) => panic!("{name}: {error}"),
            // A defined result instead of a crash goes on where that stopped.
            (true, Ok(_)) => {
                assert!(found.len() > expected.len(), "{name}: nothing more");
                assert_events(name, &found[..expected.len()], &expected);
            }
            (true, Err(error)) => assert!(!error.to_string().is_empty(), "{name}"),
        }
    }
    assert!(compared > cases.len() / 2);
}
