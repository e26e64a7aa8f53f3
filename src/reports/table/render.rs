//! Renderings of an evaluated table (`reports.md` 12): terminal, Markdown,
//! CSV, HTML, JSON. Equal inputs give byte-identical outputs.

use comfy_table::presets::{ASCII_FULL, UTF8_FULL_CONDENSED};
use comfy_table::{Attribute, Cell as TextCell, CellAlignment, ContentArrangement, Table};
use maud::{Markup, html as markup};
use serde_json::{Value, json as value};

use super::evaluate::EvaluatedTable;

/// Frame of the terminal rendering.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Box characters.
    Terminal,
    /// Plain ASCII.
    Ascii,
}

/// The table for a terminal.
pub fn text(table: &EvaluatedTable, style: Style) -> String {
    let mut grid = Table::new();
    grid.load_preset(match style {
        Style::Terminal => UTF8_FULL_CONDENSED,
        Style::Ascii => ASCII_FULL,
    })
    .set_content_arrangement(ContentArrangement::Disabled);
    let bold = |label: &String| TextCell::new(label).add_attribute(Attribute::Bold);
    let columns = table
        .columns
        .iter()
        .map(|label| bold(label).set_alignment(CellAlignment::Right));
    grid.set_header(std::iter::once(bold(&table.header)).chain(columns));
    for row in &table.rows {
        let cells = row
            .cells
            .iter()
            .map(|cell| TextCell::new(&cell.text).set_alignment(CellAlignment::Right));
        grid.add_row(std::iter::once(TextCell::new(&row.label)).chain(cells));
    }
    let mut out = String::new();
    if let Some(title) = &table.title {
        out.push_str(title);
        out.push('\n');
    }
    out.push_str(&grid.to_string());
    out.push('\n');
    if let Some(caption) = &table.caption {
        out.push_str(caption);
        out.push('\n');
    }
    out
}

/// The table as a Markdown pipe table.
pub fn markdown(table: &EvaluatedTable) -> String {
    let escape = |text: &str| {
        let mut out = String::with_capacity(text.len());
        for symbol in text.chars() {
            match symbol {
                '\\' | '|' | '*' | '_' => {
                    out.push('\\');
                    out.push(symbol);
                }
                '<' => out.push_str("&lt;"),
                '\n' => out.push_str("<br>"),
                other => out.push(other),
            }
        }
        out
    };
    let line = |cells: Vec<String>| format!("| {} |\n", cells.join(" | "));
    let mut out = String::new();
    if let Some(title) = &table.title {
        out.push_str(&format!("**{}**\n\n", escape(title)));
    }
    let header = std::iter::once(&table.header).chain(&table.columns);
    out.push_str(&line(header.map(|label| escape(label)).collect()));
    let rules = std::iter::once("---").chain(table.columns.iter().map(|_| "---:"));
    out.push_str(&line(rules.map(str::to_owned).collect()));
    for row in &table.rows {
        let cells = row.cells.iter().map(|cell| escape(&cell.text));
        out.push_str(&line(
            std::iter::once(escape(&row.label)).chain(cells).collect(),
        ));
    }
    if let Some(caption) = &table.caption {
        out.push_str(&format!("\n{}\n", escape(caption)));
    }
    out
}

/// The table as CSV with unrounded numbers.
pub fn csv(table: &EvaluatedTable) -> String {
    let quote = |text: &str| {
        if text.contains([',', '"', '\n', '\r']) {
            format!("\"{}\"", text.replace('"', "\"\""))
        } else {
            text.to_owned()
        }
    };
    let header = if table.header.is_empty() {
        "row"
    } else {
        &table.header
    };
    let mut out = quote(header);
    for column in &table.columns {
        out.push_str(&format!(
            ",{},{}",
            quote(column),
            quote(&format!("{column} n"))
        ));
    }
    out.push('\n');
    for row in &table.rows {
        out.push_str(&quote(&row.label));
        for cell in &row.cells {
            let number = cell
                .value
                .map(|number| number.to_string())
                .unwrap_or_default();
            out.push_str(&format!(",{number},{}", cell.n));
        }
        out.push('\n');
    }
    out
}

/// The table as an HTML element.
pub fn html(table: &EvaluatedTable) -> Markup {
    markup! {
        table {
            @if let Some(title) = &table.title { caption { (title) } }
            thead {
                tr {
                    th scope="col" { (table.header) }
                    @for column in &table.columns { th scope="col" { (column) } }
                }
            }
            tbody {
                @for row in &table.rows {
                    tr {
                        th scope="row" { (row.label) }
                        @for cell in &row.cells {
                            td title=(format!("n = {}", cell.n)) { (cell.text) }
                        }
                    }
                }
            }
        }
        @if let Some(caption) = &table.caption { p.note { (caption) } }
    }
}

/// The evaluated table as JSON.
pub fn json(table: &EvaluatedTable) -> Value {
    let rows: Vec<Value> = table
        .rows
        .iter()
        .map(|row| {
            let cells: Vec<Value> = row
                .cells
                .iter()
                .map(|cell| value!({"text": cell.text, "value": cell.value, "n": cell.n}))
                .collect();
            value!({"label": row.label, "cells": cells})
        })
        .collect();
    value!({
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        "header": table.header,
        "columns": table.columns,
        "rows": rows,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reports::record::Record;
    use crate::reports::table::TableSpec;

    fn sample() -> EvaluatedTable {
        let cell = value!({
            "title": "Accuracy",
            "rows": {"header": "Style", "by": ["dataset"]},
            "col": [
                {"label": "Top-1", "value": "top1", "format": "{value:.1f} %"},
                {"label": "Name", "value": "name", "format": "{value}"},
            ],
        });
        let records = [
            Record::new().with("dataset", "b,c").with("top1", 50),
            Record::new()
                .with("dataset", "a|b")
                .with("top1", 12.345)
                .with("name", "x"),
            Record::new().with("dataset", "a|b").with("top1", 13.345),
            Record::new().with("dataset", "nothing shown"),
        ];
        TableSpec::parse("t", cell.as_object().expect("table"))
            .expect("valid")
            .evaluate(&records)
    }

    #[test]
    fn renders_text() {
        insta::assert_snapshot!(text(&sample(), Style::Ascii), @r"
        Accuracy
        +-------+--------+------+
        | Style |  Top-1 | Name |
        +=======================+
        | a|b   | 12.8 % |    x |
        |-------+--------+------|
        | b,c   | 50.0 % |    - |
        +-------+--------+------+
        ");
    }

    #[test]
    fn renders_markdown_and_csv() {
        insta::assert_snapshot!(markdown(&sample()), @r"
        **Accuracy**

        | Style | Top-1 | Name |
        | --- | ---: | ---: |
        | a\|b | 12.8 % | x |
        | b,c | 50.0 % | - |
        ");
        insta::assert_snapshot!(csv(&sample()), @r#"
        Style,Top-1,Top-1 n,Name,Name n
        a|b,12.845,2,,1
        "b,c",50,1,,0
        "#);
    }

    #[test]
    fn names_unknown_keys() {
        let cell = value!({"rows": {"by": ["a"]}, "col": [{"label": "x", "valeu": "y"}]});
        let error = TableSpec::parse("t", cell.as_object().expect("table")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "table `t`: unknown key `valeu` in `col`; did you mean `value`?"
        );
    }
}
