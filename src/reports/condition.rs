//! Conditions on records (`reports.md` 10.2): equality, operators, `any`,
//! `not`.

use regex::Regex;
use serde_json::Value;
use thiserror::Error;

use super::record::Record;

/// A malformed condition.
#[derive(Debug, Error, PartialEq)]
pub enum ConditionError {
    /// The operator does not exist.
    #[error(
        "unknown operator `{0}`: known are eq, ne, in, not_in, lt, le, gt, ge, exists, matches, glob"
    )]
    UnknownOperator(String),
    /// The operand has the wrong type.
    #[error("operator `{operator}` takes {expected}")]
    Operand {
        /// Operator name.
        operator: String,
        /// What it takes.
        expected: &'static str,
    },
    /// A pattern does not compile.
    #[error("pattern {pattern:?} is not valid: {reason}")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        reason: String,
    },
}

#[derive(Clone, Debug)]
enum Test {
    Equal(Value),
    NotEqual(Value),
    In(Vec<Value>),
    NotIn(Vec<Value>),
    Order(Comparison, Value),
    Exists(bool),
    Matches(Regex),
    Glob(glob::Pattern),
}

#[derive(Clone, Copy, Debug)]
enum Comparison {
    Less,
    LessEqual,
    Greater,
    GreaterEqual,
}

#[derive(Clone, Debug)]
enum Node {
    Field(String, Test),
    Any(Vec<Condition>),
    Not(Condition),
}

/// All entries must hold.
#[derive(Clone, Debug, Default)]
pub struct Condition(Vec<Node>);

impl Condition {
    /// Reads a condition table.
    pub fn parse(table: &serde_json::Map<String, Value>) -> Result<Self, ConditionError> {
        let mut nodes = Vec::with_capacity(table.len());
        for (field, value) in table {
            match (field.as_str(), value) {
                ("any", Value::Array(items)) => {
                    let parts = items.iter().map(sub_condition).collect::<Result<_, _>>()?;
                    nodes.push(Node::Any(parts));
                }
                ("not", value) => nodes.push(Node::Not(sub_condition(value)?)),
                (_, Value::Object(operators)) => {
                    for (operator, operand) in operators {
                        let test = Test::parse(operator, operand)?;
                        nodes.push(Node::Field(field.clone(), test));
                    }
                }
                (_, value) => nodes.push(Node::Field(field.clone(), Test::Equal(value.clone()))),
            }
        }
        Ok(Self(nodes))
    }

    /// True if the record satisfies every entry.
    pub fn holds(&self, record: &Record) -> bool {
        self.0.iter().all(|node| match node {
            Node::Field(field, test) => test.holds(record.get(field)),
            Node::Any(parts) => parts.iter().any(|part| part.holds(record)),
            Node::Not(part) => !part.holds(record),
        })
    }
}

fn sub_condition(value: &Value) -> Result<Condition, ConditionError> {
    match value {
        Value::Object(table) => Condition::parse(table),
        _ => Err(ConditionError::Operand {
            operator: "any/not".to_owned(),
            expected: "condition tables",
        }),
    }
}

impl Test {
    fn parse(operator: &str, operand: &Value) -> Result<Self, ConditionError> {
        let wrong = |expected| ConditionError::Operand {
            operator: operator.to_owned(),
            expected,
        };
        let list = || operand.as_array().cloned().ok_or_else(|| wrong("a list"));
        let text = || operand.as_str().ok_or_else(|| wrong("a text"));
        let order = |comparison| match operand {
            Value::Number(_) | Value::String(_) => Ok(Self::Order(comparison, operand.clone())),
            _ => Err(wrong("a number or a text")),
        };
        match operator {
            "eq" => Ok(Self::Equal(operand.clone())),
            "ne" => Ok(Self::NotEqual(operand.clone())),
            "in" => list().map(Self::In),
            "not_in" => list().map(Self::NotIn),
            "lt" => order(Comparison::Less),
            "le" => order(Comparison::LessEqual),
            "gt" => order(Comparison::Greater),
            "ge" => order(Comparison::GreaterEqual),
            "exists" => operand
                .as_bool()
                .map(Self::Exists)
                .ok_or_else(|| wrong("true or false")),
            "matches" => {
                let pattern = text()?;
                Regex::new(&format!("^(?:{pattern})$"))
                    .map(Self::Matches)
                    .map_err(|error| ConditionError::Pattern {
                        pattern: pattern.to_owned(),
                        reason: error.to_string(),
                    })
            }
            "glob" => {
                let pattern = text()?;
                glob::Pattern::new(pattern)
                    .map(Self::Glob)
                    .map_err(|error| ConditionError::Pattern {
                        pattern: pattern.to_owned(),
                        reason: error.to_string(),
                    })
            }
            other => Err(ConditionError::UnknownOperator(other.to_owned())),
        }
    }

    /// A null or absent field satisfies only `ne`, `not_in` and
    /// `exists = false`.
    fn holds(&self, value: Option<&Value>) -> bool {
        let Some(value) = value else {
            return matches!(
                self,
                Self::NotEqual(_) | Self::NotIn(_) | Self::Exists(false)
            );
        };
        match self {
            Self::Equal(other) => equal(value, other),
            Self::NotEqual(other) => !equal(value, other),
            Self::In(list) => list.iter().any(|other| equal(value, other)),
            Self::NotIn(list) => !list.iter().any(|other| equal(value, other)),
            Self::Exists(wanted) => *wanted,
            Self::Matches(regex) => value.as_str().is_some_and(|text| regex.is_match(text)),
            Self::Glob(pattern) => value.as_str().is_some_and(|text| pattern.matches(text)),
            Self::Order(comparison, other) => ordered(*comparison, value, other),
        }
    }
}

/// Numbers compare by value, booleans are not numbers, different types are
/// never equal.
fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64() == right.as_f64(),
        _ => left == right,
    }
}

fn ordered(comparison: Comparison, left: &Value, right: &Value) -> bool {
    let ordering = match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64().partial_cmp(&right.as_f64()),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        _ => None,
    };
    ordering.is_some_and(|ordering| match comparison {
        Comparison::Less => ordering.is_lt(),
        Comparison::LessEqual => ordering.is_le(),
        Comparison::Greater => ordering.is_gt(),
        Comparison::GreaterEqual => ordering.is_ge(),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(condition: Value, record: &Record) -> bool {
        let Value::Object(table) = condition else {
            panic!("a table is needed")
        };
        Condition::parse(&table).expect("valid").holds(record)
    }

    #[test]
    fn operators_follow_the_rules_for_types_and_absence() {
        let record = Record::new()
            .with("a", 1)
            .with("b", "cat")
            .with("flag", true)
            .with("gone", Value::Null);
        assert!(holds(json!({"a": 1.0, "b": "cat"}), &record));
        assert!(!holds(json!({"flag": 1}), &record));
        assert!(holds(json!({"a": {"ge": 1, "lt": 2}}), &record));
        assert!(!holds(json!({"b": {"lt": 2}}), &record));
        assert!(holds(json!({"gone": {"exists": false}}), &record));
        assert!(holds(json!({"gone": {"not_in": [1]}}), &record));
        assert!(!holds(json!({"gone": {"lt": 5}}), &record));
        assert!(holds(json!({"b": {"matches": "c.t"}}), &record));
        assert!(!holds(json!({"b": {"matches": "c"}}), &record));
        assert!(holds(json!({"b": {"glob": "c*"}}), &record));
        assert!(holds(json!({"any": [{"a": 2}, {"b": "cat"}]}), &record));
        assert!(!holds(json!({"not": {"a": 1}}), &record));
    }

    #[test]
    fn unknown_operators_are_errors() {
        let table = json!({"a": {"like": 1}});
        assert_eq!(
            Condition::parse(table.as_object().expect("table")).unwrap_err(),
            ConditionError::UnknownOperator("like".to_owned())
        );
    }
}
