//! References in texts: `${section.field}` and `${env:NAME}`; `\${` is `${`.

use std::ops::Range;

use serde_json::Value;

use super::node::{Node, Raw};
use super::overrides::parse_value;
use super::schema::{Key, Kind};
use super::value::{Converted, Fault, convert};

/// A value that a reference may name.
pub(super) enum Referred<'a> {
    /// Known.
    Value(Value),
    /// Has references itself.
    Template(&'a Node, &'static Key),
}

/// Finds the values that references name.
pub(super) struct References<'a> {
    /// Value of a key.
    pub value: &'a dyn Fn(&str) -> Option<Referred<'a>>,
    /// Value of an environment variable.
    pub variable: &'a dyn Fn(&str) -> Option<String>,
}

/// Stands for a `${` that is no reference until all are put in; no file, variable
/// or argument can have it.
const PLAIN: &str = "$\0{";

/// A text as it is written so that nothing in it is a reference.
pub(super) fn escaped(text: &str) -> String {
    let mut parts = text.split("${");
    let mut written = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let slashes = written.len() - written.trim_end_matches('\\').len();
        written.extend(std::iter::repeat_n('\\', slashes + 1));
        written.push_str("${");
        written.push_str(part);
    }
    written
}

/// A text with the environment variables that it refers to.
pub(super) fn with_variables(
    node: &Node,
    variable: &dyn Fn(&str) -> Option<String>,
) -> Result<String, Fault> {
    let references = References {
        value: &|_| None,
        variable,
    };
    let text = node.text().unwrap_or_default();
    let filled = references.fill_text(text, node, &mut Vec::new())?;
    Ok(filled.replace(PLAIN, "${"))
}

impl References<'_> {
    /// Puts in the values that a template refers to, and converts the result.
    pub fn resolve(&self, template: &Node, key: &Key) -> Result<Value, Vec<Fault>> {
        self.resolve_from(template, key, &mut vec![key.path.to_owned()])
    }

    fn resolve_from(
        &self,
        template: &Node,
        key: &Key,
        chain: &mut Vec<String>,
    ) -> Result<Value, Vec<Fault>> {
        let is_list = matches!(key.kind, Kind::List(_) | Kind::ListOrText(_));
        let node = self.fill(template, is_list, chain);
        let node = node.map_err(|fault| vec![fault])?;
        match convert(&node, key)? {
            Converted::Value(value) => Ok(changed(value, PLAIN, "${")),
            Converted::Deferred => Err(vec![fault(
                template,
                "a value that is put in has a reference itself",
                "write the value out",
            )]),
        }
    }

    /// Puts in what references name; `is_list` tells whether a list may stand
    /// there.
    fn fill(&self, node: &Node, is_list: bool, chain: &mut Vec<String>) -> Result<Node, Fault> {
        let raw = match &node.raw {
            Raw::List(items) => Raw::List(
                items
                    .iter()
                    .map(|item| self.fill(item, false, chain))
                    .collect::<Result<_, _>>()?,
            ),
            Raw::Text(text) | Raw::Word(text) => {
                if let Some(reference) = whole_reference(text) {
                    return Ok(match self.find(reference, node, chain)? {
                        Found::Value(value) => {
                            let value = changed(value, "${", PLAIN);
                            Node::from_json(&value, node.span.clone())
                        }
                        Found::Variable(text) => variable_node(&text, is_list, node.span.clone()),
                    });
                }
                let filled = self.fill_text(text, node, chain)?;
                match &node.raw {
                    Raw::Word(_) => Raw::Word(filled),
                    _ => Raw::Text(filled),
                }
            }
            raw => raw.clone(),
        };
        Ok(Node {
            span: node.span.clone(),
            raw,
        })
    }

    /// Before a `${`, an odd number of backslashes makes it plain, and two of them
    /// are one; elsewhere backslashes stay.
    fn fill_text(&self, text: &str, node: &Node, chain: &mut Vec<String>) -> Result<String, Fault> {
        let mut filled = String::new();
        let mut rest = text;
        while let Some(start) = rest.find("${") {
            let before = rest[..start].trim_end_matches('\\');
            let slashes = start - before.len();
            filled.push_str(before);
            filled.extend(std::iter::repeat_n('\\', slashes / 2));
            if slashes % 2 == 1 {
                filled.push_str(PLAIN);
                rest = &rest[start + 2..];
                continue;
            }
            let Some(length) = rest[start..].find('}') else {
                return Err(fault(
                    node,
                    "`}` is missing",
                    "write references as ${section.field}, and \\${ where none is meant",
                ));
            };
            let found = self.find(&rest[start + 2..start + length], node, chain)?;
            match found {
                Found::Value(Value::Null) => {}
                Found::Value(Value::String(text)) => {
                    filled.push_str(&text.replace("${", PLAIN));
                }
                Found::Variable(text) => filled.push_str(&text),
                Found::Value(Value::Array(_) | Value::Object(_)) => {
                    return Err(fault(
                        node,
                        "a list cannot be put into a text",
                        "let the reference stand alone",
                    ));
                }
                Found::Value(value) => filled.push_str(&value.to_string()),
            }
            rest = &rest[start + length + 1..];
        }
        filled.push_str(rest);
        Ok(filled)
    }

    fn find(&self, reference: &str, node: &Node, chain: &mut Vec<String>) -> Result<Found, Fault> {
        let reference = reference.trim();
        if let Some(variable) = reference.strip_prefix("env:") {
            let (name, default) = match variable.split_once(',') {
                Some((name, default)) => (name.trim(), Some(default.trim().to_owned())),
                None => (variable, None),
            };
            return (self.variable)(name)
                .or(default)
                .map(Found::Variable)
                .ok_or_else(|| {
                    fault(
                        node,
                        &format!("the environment has no `{name}`"),
                        &format!("set it, or write ${{env:{name},DEFAULT}}"),
                    )
                });
        }
        if chain.iter().any(|name| name == reference) {
            chain.push(reference.to_owned());
            return Err(fault(
                node,
                &format!("references go in a circle: {}", chain.join(" → ")),
                "write one of the values out",
            ));
        }
        match (self.value)(reference) {
            Some(Referred::Value(value)) => Ok(Found::Value(value)),
            Some(Referred::Template(template, key)) => {
                chain.push(reference.to_owned());
                let value = self.resolve_from(template, key, chain).map_err(|faults| {
                    let reason = faults.into_iter().next().map(|fault| fault.title);
                    fault(
                        node,
                        &format!("`{reference}`: {}", reason.unwrap_or_default()),
                        "",
                    )
                });
                chain.pop();
                value.map(Found::Value)
            }
            None => Err(fault(
                node,
                &format!("there is no value `{reference}` to refer to"),
                "write ${section.field} or ${env:NAME}",
            )),
        }
    }
}

/// A value with another word in its texts.
fn changed(value: Value, from: &str, to: &str) -> Value {
    match value {
        Value::String(text) => text.replace(from, to).into(),
        Value::Array(items) => items
            .into_iter()
            .map(|item| changed(item, from, to))
            .collect(),
        value => value,
    }
}

/// What a reference names.
enum Found {
    /// A value of a key.
    Value(Value),
    /// The text of an environment variable, or of its default.
    Variable(String),
}

/// A variable as if it had been written in an override: it has the type of the
/// key it is for. All of it stands at `span`, the reference.
fn variable_node(text: &str, is_list: bool, span: Range<usize>) -> Node {
    fn moved(node: Node, span: &Range<usize>) -> Node {
        let raw = match node.raw {
            Raw::List(items) => {
                Raw::List(items.into_iter().map(|item| moved(item, span)).collect())
            }
            raw => raw,
        };
        Node {
            span: span.clone(),
            raw,
        }
    }
    let list = (is_list && text.starts_with('[')).then(|| parse_value(text, 0).ok());
    match list.flatten() {
        Some(list) => moved(list, &span),
        None => Node {
            span,
            raw: Raw::Word(text.to_owned()),
        },
    }
}

/// The reference that a text is as a whole.
fn whole_reference(text: &str) -> Option<&str> {
    let inner = text.strip_prefix("${")?.strip_suffix('}')?;
    (!inner.contains(['{', '}'])).then_some(inner)
}

fn fault(node: &Node, title: &str, help: &str) -> Fault {
    Fault {
        span: node.span.clone(),
        title: title.to_owned(),
        note: String::new(),
        help: (!help.is_empty()).then(|| help.to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(text: &str) -> Result<String, Fault> {
        let node = Node {
            span: 0..text.len(),
            raw: Raw::Text(text.to_owned()),
        };
        with_variables(&node, &|name| (name == "WHO").then(|| "me".to_owned()))
    }

    #[test]
    fn a_backslash_makes_a_reference_plain() {
        for (text, expected) in [
            ("a ${env:WHO} b", "a me b"),
            (r"\${env:WHO}", "${env:WHO}"),
            (r"\\${env:WHO}", r"\me"),
            (r"a\b \${ ${env:WHO}", r"a\b ${ me"),
            ("${env:NOBODY,x}", "x"),
        ] {
            assert_eq!(filled(text).ok().as_deref(), Some(expected), "{text}");
        }
        assert!(filled("${env:NOBODY}").is_err());
        assert!(filled("${train.lr.init}").is_err());
        assert!(filled("${").is_err());
    }

    #[test]
    fn escaped_texts_are_read_as_they_were() {
        for text in [
            "",
            "plain",
            "${a}",
            r"\${a}",
            r"\\${a}${",
            r"C:\x",
            "$ { $${x}",
        ] {
            assert_eq!(filled(&escaped(text)).ok().as_deref(), Some(text), "{text}");
        }
    }
}
