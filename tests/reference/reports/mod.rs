//! Reference data of `reports`: tables from predictions and runs.

mod derived;
mod format_preds;
mod format_wandb;
mod specificity;
mod statistics;
mod units;

use std::path::PathBuf;

use novic::reports::printed::{Printed, Said};
use novic::tracking::Level;
use serde_json::{Value, json};

use crate::golden;

const AREA: &str = "reports";

/// The folder of inputs.
fn inputs() -> PathBuf {
    golden::area(AREA).join("inputs").canonicalize().unwrap()
}

/// What was said, as the reference data write it; paths as they do, too.
fn events(printed: &Printed) -> Vec<Value> {
    let folder = inputs().display().to_string();
    let said = printed.0.iter().map(|said| match said {
        Said::Line(level, text) => {
            let log = match level {
                Level::Error => "error",
                Level::Warn => "warn",
                _ => "info",
            };
            json!({ "log": log, "text": text.replace(&folder, "$INPUTS") })
        }
        Said::Result(text) => json!({ "log": "info", "text": text.replace(&folder, "$INPUTS") }),
        Said::Table(table) => json!({
            "table": { "headers": table.heads, "rows": table.rows },
            "text": table.text(),
        }),
    });
    said.collect()
}

/// The events of a case; empty cells as empty texts.
fn expected_events(case: &Value) -> Vec<Value> {
    let mut events = case["events"].as_array().unwrap().clone();
    for event in &mut events {
        if let Some(rows) = event.pointer_mut("/table/rows") {
            for cell in rows.as_array_mut().unwrap() {
                for cell in cell.as_array_mut().unwrap() {
                    if cell.is_null() {
                        *cell = json!("");
                    }
                }
            }
        }
    }
    events
}

/// Compares events one by one, so that a failure shows the first difference.
fn assert_events(name: &str, found: &[Value], expected: &[Value]) {
    for (at, (found, expected)) in found.iter().zip(expected).enumerate() {
        if let (Some(left), Some(right)) = (found["text"].as_str(), expected["text"].as_str()) {
            assert_eq!(left, right, "{name}: event {at}");
        }
        assert_eq!(found["log"], expected["log"], "{name}: event {at}");
        assert_eq!(found["table"], expected["table"], "{name}: event {at}");
    }
    assert_eq!(
        found.get(expected.len()..).unwrap_or_default(),
        &[] as &[Value],
        "{name}: too many events"
    );
    assert_eq!(found.len(), expected.len(), "{name}: too few events");
}

/// Whether two numbers agree to 1e-9, absolutely or relatively.
fn close(found: f64, expected: f64) -> bool {
    let difference = (found - expected).abs();
    difference <= 1e-9 || difference <= 1e-9 * expected.abs()
}
