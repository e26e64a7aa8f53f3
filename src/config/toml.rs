//! TOML texts as [`Node`]s.

use std::sync::Arc;

use toml_edit::{Document, Item, TableLike, Value};

use super::node::{Field, Node, Raw};
use super::problem::Problem;
use super::source::{Location, Source};

/// The top-level table of a TOML source.
pub(crate) fn parse(source: &Arc<Source>) -> Result<Vec<Field>, Problem> {
    match Document::parse(source.text.as_str()) {
        Ok(document) => Ok(fields(document.as_table())),
        Err(error) => {
            let span = error.span().unwrap_or(0..0);
            let mut lines = error.message().lines();
            let title = lines.next().unwrap_or("invalid TOML").to_owned();
            let problem = Problem::error(format!("invalid TOML: {title}"))
                .at(Location::new(source, span), "");
            Err(lines.fold(problem, |problem, line| problem.help(line)))
        }
    }
}

fn fields(table: &dyn TableLike) -> Vec<Field> {
    table
        .iter()
        .filter_map(|(key, item)| {
            let key_span = table
                .key(key)
                .and_then(toml_edit::Key::span)
                .or_else(|| item.span());
            Some(Field {
                key: key.to_owned(),
                key_span: key_span.unwrap_or(0..0),
                value: item_node(item)?,
            })
        })
        .collect()
}

fn item_node(item: &Item) -> Option<Node> {
    let span = item.span().unwrap_or(0..0);
    let raw = match item {
        Item::None => return None,
        Item::Value(value) => return Some(value_node(value)),
        Item::Table(table) => Raw::Table(fields(table)),
        Item::ArrayOfTables(tables) => Raw::List(
            tables
                .iter()
                .map(|table| Node {
                    span: table.span().unwrap_or(0..0),
                    raw: Raw::Table(fields(table)),
                })
                .collect(),
        ),
    };
    Some(Node { span, raw })
}

fn value_node(value: &Value) -> Node {
    let span = value.span().unwrap_or(0..0);
    let raw = match value {
        Value::String(text) => Raw::Text(text.value().clone()),
        Value::Integer(number) => Raw::Int(*number.value()),
        Value::Float(number) => Raw::Float(*number.value()),
        Value::Boolean(value) => Raw::Bool(*value.value()),
        Value::Datetime(date) => Raw::Date(date.value().to_string()),
        Value::Array(items) => Raw::List(items.iter().map(value_node).collect()),
        Value::InlineTable(table) => Raw::Table(fields(table)),
    };
    Node { span, raw }
}
