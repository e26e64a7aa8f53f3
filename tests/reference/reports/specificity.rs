//! `specificity.json`: what the score tool prints.

use novic::reports::predictions::{Ambiguous, Annotations, Places, TableStyle};
use novic::reports::predictions::{read_files, select_files};
use novic::reports::printed::Printed;
use novic::reports::specificity::{
    MissingSpecificity, Specificity, SpecificityRequest, specificity_scores,
};

use super::{AREA, inputs};
use crate::golden;

#[test]
fn scores_are_printed_as_by_the_original() {
    let cases = golden::json(AREA, "specificity.json");
    let cases = cases.as_array().unwrap();
    let mut compared = 0;
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let folder = inputs().join("specificity").join(name);
        let places = Places {
            source: folder.clone(),
            image_dir: String::new(),
        };
        let selected = select_files(&["preds".to_owned()], &places).unwrap();
        let files = read_files(&selected, &mut Printed::default()).unwrap();
        let annotations = Annotations::read(&folder.join("annotations.json")).unwrap();
        let request = SpecificityRequest {
            list: Specificity::read(&folder.join("specificity.json")).unwrap(),
            files,
            annotations: vec![("annotations".to_owned(), annotations)],
            style: TableStyle::Compat,
            ambiguous: Ambiguous::Last,
            missing: MissingSpecificity::Error,
        };
        let mut printed = Printed::default();
        let result = specificity_scores(&request, &mut printed);
        if case["exception"].is_null() {
            result.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(printed.text(), case["stdout"].as_str().unwrap(), "{name}");
            compared += 1;
        } else if let Ok(records) = result {
            // Several configurations give several lines.
            assert!(records.len() > request.files.len(), "{name}");
        }
    }
    assert!(compared > 0);
}

/// Where the user has the original's list, it has these values.
#[test]
fn the_embedded_list_agrees_with_what_is_known_of_the_original() {
    let facts = golden::json(AREA, "specificity_annotations_facts.json");
    let list = Specificity::embedded().unwrap();
    for (key, expected) in [("coarse_examples", 0.5), ("fine_examples", 1.0)] {
        for noun in facts[key].as_array().unwrap() {
            let noun = noun.as_str().unwrap();
            assert_eq!(list.get(noun), Some(expected), "{noun}");
        }
    }
}
