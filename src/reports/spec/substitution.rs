//! Values put into texts before they are read: parameters of a report
//! (`$NAME`) and of repeated columns (`{NAME}`). A text that is nothing but a
//! parameter takes its type.

use std::collections::BTreeMap;

use serde_json::Value;

use super::reading::Item;
use crate::config::{Field, Node, Raw};
use crate::reports::format::transformed;
use crate::reports::record::plain;

/// Parameters by name.
pub type Parameters = BTreeMap<String, Node>;

/// The value with all `$NAME` replaced; names that are no parameter go to
/// `unknown`.
pub fn with_parameters(item: &Item, parameters: &Parameters, unknown: &mut Vec<String>) -> Item {
    let mut item = item.clone();
    item.node = each_text(&item.node, &mut |text| {
        if let Some(name) = text.strip_prefix('$').filter(|name| is_name(name)) {
            match parameters.get(name) {
                Some(value) => return Some(value.raw.clone()),
                None => unknown.push(name.to_owned()),
            }
        }
        let mut out = String::new();
        let mut rest = text;
        let mut changed = false;
        while let Some(at) = rest.find('$') {
            out.push_str(&rest[..at]);
            let name: String = rest[at + 1..].chars().take_while(|c| in_name(*c)).collect();
            match parameters.get(&name) {
                Some(value) => {
                    out.push_str(&plain(&value.to_json()));
                    changed = true;
                }
                None => {
                    out.push('$');
                    out.push_str(&name);
                }
            }
            rest = &rest[at + 1 + name.len()..];
        }
        out.push_str(rest);
        changed.then_some(Raw::Text(out))
    });
    item
}

/// The value with the placeholders of these parameters replaced.
pub fn with_placeholders(item: &Item, values: &[(String, Value)]) -> Item {
    let mut item = item.clone();
    item.node = each_text(&item.node, &mut |text| {
        for (name, value) in values {
            if text == format!("{{{name}}}") {
                return Some(Node::from_json(value, 0..0).raw);
            }
        }
        let replaced = placeholders_replaced(text, values);
        (replaced != text).then_some(Raw::Text(replaced))
    });
    item
}

fn placeholders_replaced(text: &str, values: &[(String, Value)]) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(open) = rest.find('{') {
        out.push_str(&rest[..open]);
        rest = &rest[open..];
        let Some(close) = rest.find('}') else { break };
        let inner = &rest[1..close];
        let (name, how) = match inner.split_once(':') {
            Some((name, how)) => (name, Some(how)),
            None => (inner, None),
        };
        let value = values.iter().find(|(known, _)| known == name);
        match value.and_then(|(_, value)| transformed(value, how)) {
            Some(text) => out.push_str(&text),
            None => out.push_str(&rest[..=close]),
        }
        rest = &rest[close + 1..];
    }
    out.push_str(rest);
    out
}

/// The node with every text replaced that `replace` has something for.
fn each_text(node: &Node, replace: &mut dyn FnMut(&str) -> Option<Raw>) -> Node {
    let raw = match &node.raw {
        Raw::Text(text) => match replace(text) {
            Some(raw) => raw,
            None => node.raw.clone(),
        },
        // A list in the place of a text inside a list joins that list.
        Raw::List(items) => Raw::List(
            items
                .iter()
                .flat_map(|item| {
                    let new = each_text(item, replace);
                    match (&item.raw, new.raw) {
                        (Raw::Text(_), Raw::List(inner)) => inner,
                        (_, raw) => vec![Node {
                            span: new.span,
                            raw,
                        }],
                    }
                })
                .collect(),
        ),
        Raw::Table(fields) => Raw::Table(
            fields
                .iter()
                .map(|field| Field {
                    value: each_text(&field.value, replace),
                    ..field.clone()
                })
                .collect(),
        ),
        other => other.clone(),
    };
    Node {
        span: node.span.clone(),
        raw,
    }
}

fn in_name(symbol: char) -> bool {
    symbol.is_ascii_alphanumeric() || symbol == '_'
}

fn is_name(text: &str) -> bool {
    !text.is_empty() && text.chars().all(in_name)
}
