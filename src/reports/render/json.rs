//! The evaluated table as JSON: every cell with its statistics and the runs it
//! was made of.

use serde_json::{Map, Value, json as value};

use crate::reports::evaluate::{Cell, EvaluatedTable, Mark, PartValue, Row};

/// The table.
pub fn json(table: &EvaluatedTable) -> Value {
    let columns = table
        .columns
        .iter()
        .map(|column| value!({"label": column.label, "reference": column.reference}));
    let groups = table.groups.iter().map(|group| {
        let rows: Vec<Value> = group.rows.iter().map(row).collect();
        value!({"title": group.title, "rows": rows})
    });
    let notes = table
        .notes
        .iter()
        .map(|note| value!({"mark": note.mark, "text": note.text}));
    value!({
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        "corner": table.corner,
        "columns": columns.collect::<Vec<_>>(),
        "groups": groups.collect::<Vec<_>>(),
        "notes": notes.collect::<Vec<_>>(),
    })
}

fn row(row: &Row) -> Value {
    let cells: Vec<Value> = row.cells.iter().map(cell_json).collect();
    value!({
        "label": row.label,
        "indent": row.indent,
        "baseline": row.baseline,
        "reference": row.reference,
        "cells": cells,
    })
}

/// A cell.
pub fn cell_json(cell: &Cell) -> Value {
    let mark = cell.mark.map(|mark| match mark {
        Mark::Best => "best",
        Mark::Second => "second",
    });
    let mut fields = Map::new();
    if let [part] = cell.parts.as_slice() {
        fields.insert("stats".into(), statistics(part));
        fields.insert("values".into(), part.values.clone().into());
    } else {
        let parts = cell.parts.iter().map(
            |part| value!({"name": part.name, "stats": statistics(part), "values": part.values}),
        );
        fields.insert("parts".into(), parts.collect::<Vec<_>>().into());
    }
    fields.insert("text".into(), cell.text.clone().into());
    fields.insert("partial".into(), cell.partial.into());
    fields.insert("mark".into(), mark.into());
    if let Some(color) = &cell.color {
        fields.insert("color".into(), color.clone().into());
    }
    if !cell.footnotes.is_empty() {
        fields.insert("footnotes".into(), cell.footnotes.clone().into());
    }
    if let Some(p) = cell.p {
        fields.insert("p".into(), p.into());
    }
    fields.insert("records".into(), cell.records.clone().into());
    fields.into()
}

fn statistics(part: &PartValue) -> Value {
    let own = &part.statistics;
    let mut fields = Map::new();
    fields.insert("n".into(), own.n.into());
    fields.insert("expected".into(), own.expected.into());
    let number = part.value.map(Value::from);
    if own.n == 0 {
        return fields.into();
    }
    for (name, number) in [
        ("mean", own.mean),
        ("std", own.std),
        ("min", own.min),
        ("max", own.max),
        ("median", own.median),
        ("best", own.best),
    ] {
        fields.insert(name.into(), number.into());
    }
    if let Some(sem) = own.sem {
        fields.insert("sem".into(), sem.into());
    }
    if let Some((low, high)) = own.interval {
        fields.insert("ci_lo".into(), low.into());
        fields.insert("ci_hi".into(), high.into());
    }
    let shown = number.or_else(|| part.shown.clone());
    fields.insert("value".into(), shown.unwrap_or_default());
    fields.into()
}
