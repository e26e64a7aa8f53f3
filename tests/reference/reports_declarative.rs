//! Declarative tables (`reports/declarative.json`): evaluated cells and
//! renderings.

use novic::reports::document::Report;
use novic::reports::evaluate::{EvaluatedTable, Sources, evaluate};
use novic::reports::record::Record;
use novic::reports::render;
use serde_json::Value;

use crate::golden;

fn data() -> Value {
    golden::json("reports", "declarative.json")
}

fn records(data: &Value) -> Vec<Record> {
    serde_json::from_value(data["records"].clone()).expect("records")
}

fn cases(data: &Value) -> Vec<&Value> {
    let cases: Vec<&Value> = data["reports"]
        .as_array()
        .expect("reports")
        .iter()
        .collect();
    assert!(!cases.is_empty(), "there are no reports");
    cases
}

fn evaluated(case: &Value, records: Vec<Record>) -> EvaluatedTable {
    let dir = tempfile::tempdir().expect("a folder");
    let name = case["name"].as_str().expect("a name");
    let path = dir.path().join(format!("{name}.toml"));
    std::fs::write(&path, case["toml"].as_str().expect("a report")).expect("written");
    let report = Report::load(&path, &[]).unwrap_or_else(|errors| panic!("{name}: {errors}"));
    assert_eq!(report.tables.len(), 1);
    let sources = Sources(vec![records]);
    let mut tables = evaluate(&report.tables[0], &sources).expect("evaluated");
    assert_eq!(tables.len(), 1);
    tables.remove(0)
}

#[test]
fn cells_have_the_statistics_texts_and_marks_of_the_reference() {
    let data = data();
    for case in cases(&data) {
        let table = render::json(&evaluated(case, records(&data)));
        let expected = &case["table"];
        for key in ["title", "corner", "columns"] {
            assert_eq!(table[key], expected[key], "{}: {key}", case["name"]);
        }
        let (groups, wanted) = (list(&table["groups"]), list(&expected["groups"]));
        assert_eq!(groups.len(), wanted.len(), "{}", case["name"]);
        for (group, wanted) in groups.iter().zip(wanted) {
            assert_eq!(group["title"], wanted["title"]);
            let (rows, wanted) = (list(&group["rows"]), list(&wanted["rows"]));
            assert_eq!(rows.len(), wanted.len(), "{}: {group}", case["name"]);
            for (row, wanted) in rows.iter().zip(wanted) {
                check_row(row, wanted);
            }
        }
    }
}

fn check_row(row: &Value, expected: &Value) {
    for key in ["label", "indent", "baseline", "reference"] {
        assert_eq!(row[key], expected[key], "{key} of {expected}");
    }
    let (cells, wanted) = (list(&row["cells"]), list(&expected["cells"]));
    assert_eq!(cells.len(), wanted.len());
    for (cell, wanted) in cells.iter().zip(wanted) {
        let place = format!("row {}: {wanted}", row["label"]);
        for key in ["text", "partial", "mark"] {
            assert_eq!(cell[key], wanted[key], "{key}: {place}");
        }
        let (values, numbers) = (list(&cell["values"]), list(&wanted["values"]));
        assert_eq!(values.len(), numbers.len(), "{place}");
        for (value, number) in values.iter().zip(numbers) {
            assert!(close(value, number, 1e-9), "{value} for {number}: {place}");
        }
        let own = cell["stats"].as_object().expect("statistics");
        let stats = wanted["stats"].as_object().expect("statistics");
        for (name, expected) in stats {
            let found = &own.get(name).cloned().unwrap_or_default();
            assert!(close(found, expected, 1e-9), "{name} {found}: {place}");
        }
        for name in own.keys() {
            assert!(stats.contains_key(name), "{name} is too much: {place}");
        }
    }
}

#[test]
fn markdown_latex_and_html_are_those_of_the_reference_to_the_byte() {
    let data = data();
    for case in cases(&data) {
        let table = evaluated(case, records(&data));
        for (format, text) in [
            ("markdown", render::markdown(&table)),
            ("latex", render::latex(&table)),
            ("html", render::html(&table)),
        ] {
            let expected = case[format].as_str().expect("a text");
            assert_eq!(text, expected, "{} as {format}", case["name"]);
        }
    }
}

#[test]
fn csv_has_the_numbers_of_the_reference() {
    let data = data();
    for case in cases(&data) {
        let text = render::csv(&evaluated(case, records(&data)));
        let expected = case["csv"].as_str().expect("a text");
        assert_eq!(text.lines().count(), expected.lines().count());
        for (line, wanted) in text.lines().zip(expected.lines()) {
            let (cells, wanted): (Vec<&str>, Vec<&str>) =
                (line.split(',').collect(), wanted.split(',').collect());
            assert_eq!(cells.len(), wanted.len(), "{line}");
            for (cell, wanted) in cells.iter().zip(wanted) {
                match (cell.parse::<f64>(), wanted.parse::<f64>()) {
                    (Ok(cell), Ok(wanted)) => {
                        let scale = wanted.abs().max(1.0);
                        assert!((cell - wanted).abs() <= 1e-12 * scale, "{cell} in {line}");
                    }
                    _ => assert_eq!(*cell, wanted, "{line}"),
                }
            }
        }
    }
}

#[test]
fn the_order_of_records_and_the_number_of_threads_change_no_byte() {
    let data = data();
    for case in cases(&data) {
        let mut shuffled = records(&data);
        let forwards = render::json(&evaluated(case, shuffled.clone())).to_string();
        shuffled.reverse();
        assert_eq!(
            forwards,
            render::json(&evaluated(case, shuffled.clone())).to_string()
        );
        let middle = shuffled.len() / 3;
        shuffled.rotate_left(middle);
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(1)
            .build()
            .expect("threads");
        let alone = pool.install(|| render::json(&evaluated(case, shuffled)).to_string());
        assert_eq!(forwards, alone);
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn close(found: &Value, expected: &Value, tolerance: f64) -> bool {
    match (found.as_f64(), expected.as_f64()) {
        (Some(found), Some(expected)) => {
            let difference = (found - expected).abs();
            difference <= tolerance || difference <= tolerance * expected.abs()
        }
        _ => found == expected,
    }
}
