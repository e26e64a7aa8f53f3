//! Conditions on records (`reports.md` 10.2): equality, operators, `any`,
//! `not`.

use regex::Regex;
use serde_json::Value;

use super::field::Field;
use super::record::Record;
use super::spec::reading::{Entry, Item, Problems};
use crate::config::{Problem, nearest};

const OPERATORS: [&str; 11] = [
    "eq", "ne", "in", "not_in", "lt", "le", "gt", "ge", "exists", "matches", "glob",
];

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
    Field(Field, Test),
    Any(Vec<Condition>),
    Not(Condition),
}

/// All entries must hold.
#[derive(Clone, Debug, Default)]
pub struct Condition(Vec<Node>);

impl Condition {
    /// Reads a condition table.
    pub fn read(entries: &[Entry], problems: &Problems) -> Self {
        let mut nodes = Vec::with_capacity(entries.len());
        for Entry {
            key,
            item,
            location,
        } in entries
        {
            match (key.as_str(), item.items(), item.entries()) {
                ("any", Some(items), _) => {
                    let parts = items.iter().map(|item| part(item, problems)).collect();
                    nodes.push(Node::Any(parts));
                }
                ("not", _, _) => nodes.push(Node::Not(part(item, problems))),
                (field, _, operators) => {
                    let field = Field::checked(field, location, problems);
                    match operators {
                        None => nodes.push(Node::Field(field, Test::Equal(item.node.to_json()))),
                        Some(operators) => nodes.extend(operators.iter().filter_map(|operator| {
                            Some(Node::Field(field.clone(), Test::read(operator, problems)?))
                        })),
                    }
                }
            }
        }
        Self(nodes)
    }

    /// Holds where a field has this value; for `None`, where it has none.
    pub fn equals(field: &Field, value: Option<&Value>) -> Self {
        let test = match value {
            Some(value) => Test::Equal(value.clone()),
            None => Test::Exists(false),
        };
        Self(vec![Node::Field(field.clone(), test)])
    }

    /// Holds where both do.
    #[must_use]
    pub fn and(mut self, other: &Condition) -> Self {
        self.0.extend(other.0.iter().cloned());
        self
    }

    /// The same without what it says about one field.
    #[must_use]
    pub fn without(&self, field: &Field) -> Self {
        let kept = self.0.iter().filter(|node| match node {
            Node::Field(own, _) => !own.is_same(field),
            _ => true,
        });
        Self(kept.cloned().collect())
    }

    /// The value that a field must have, if the condition says so.
    pub fn required(&self, field: &Field) -> Option<&Value> {
        self.0.iter().find_map(|node| match node {
            Node::Field(own, Test::Equal(value)) if own.is_same(field) => Some(value),
            _ => None,
        })
    }

    /// True if the record satisfies every entry.
    pub fn holds(&self, record: &Record) -> bool {
        self.0.iter().all(|node| match node {
            Node::Field(field, test) => test.holds(field.of(record)),
            Node::Any(parts) => parts.iter().any(|part| part.holds(record)),
            Node::Not(part) => !part.holds(record),
        })
    }

    /// Whether a record can satisfy it that has the fields of `certain` and
    /// others, of which nothing is known.
    pub fn can_hold(&self, certain: &Record) -> bool {
        self.judged(certain) != Some(false)
    }

    /// What is certain of [`Condition::holds`]; none while it depends on
    /// fields of which nothing is known.
    fn judged(&self, certain: &Record) -> Option<bool> {
        let of_node = |node: &Node| match node {
            Node::Field(field, test) => field.of(certain).map(|value| test.holds(Some(value))),
            Node::Not(part) => part.judged(certain).map(|holds| !holds),
            Node::Any(parts) => {
                let parts: Vec<_> = parts.iter().map(|part| part.judged(certain)).collect();
                match parts.contains(&Some(true)) {
                    true => Some(true),
                    false if parts.contains(&None) => None,
                    false => Some(false),
                }
            }
        };
        let nodes: Vec<_> = self.0.iter().map(of_node).collect();
        match nodes.contains(&Some(false)) {
            true => Some(false),
            false if nodes.contains(&None) => None,
            false => Some(true),
        }
    }

    /// All fields that it asks for.
    pub fn fields<'a>(&'a self, found: &mut Vec<&'a Field>) {
        for node in &self.0 {
            match node {
                Node::Field(field, _) => found.push(field),
                Node::Any(parts) => parts.iter().for_each(|part| part.fields(found)),
                Node::Not(part) => part.fields(found),
            }
        }
    }
}

fn part(item: &Item, problems: &Problems) -> Condition {
    match item.entries() {
        Some(entries) => Condition::read(&entries, problems),
        None => {
            item.wrong("`any` and `not`", "a condition table", problems);
            Condition::default()
        }
    }
}

impl Test {
    fn read(operator: &Entry, problems: &Problems) -> Option<Self> {
        let name = operator.key.as_str();
        let item = &operator.item;
        let value = item.node.to_json();
        let wrong = |expected: &str| {
            item.wrong(&format!("operator `{name}`"), expected, problems);
        };
        let pattern = |reason: String| {
            item.fault(format!("operator `{name}`: {reason}"), None, problems);
        };
        let order = |comparison| match &value {
            Value::Number(_) | Value::String(_) => Some(Self::Order(comparison, value.clone())),
            _ => {
                wrong("a number or a text");
                None
            }
        };
        let list = || match value.as_array() {
            Some(items) => Some(items.clone()),
            None => {
                wrong("a list");
                None
            }
        };
        let text = || {
            if item.text().is_none() {
                wrong("a text");
            }
            item.text()
        };
        match name {
            "eq" => Some(Self::Equal(value)),
            "ne" => Some(Self::NotEqual(value)),
            "in" => list().map(Self::In),
            "not_in" => list().map(Self::NotIn),
            "lt" => order(Comparison::Less),
            "le" => order(Comparison::LessEqual),
            "gt" => order(Comparison::Greater),
            "ge" => order(Comparison::GreaterEqual),
            "exists" => match value.as_bool() {
                Some(wanted) => Some(Self::Exists(wanted)),
                None => {
                    wrong("true or false");
                    None
                }
            },
            "matches" => match Regex::new(&format!("^(?:{})$", text()?)) {
                Ok(regex) => Some(Self::Matches(regex)),
                Err(error) => {
                    pattern(error.to_string());
                    None
                }
            },
            "glob" => match glob::Pattern::new(text()?) {
                Ok(glob) => Some(Self::Glob(glob)),
                Err(error) => {
                    pattern(error.to_string());
                    None
                }
            },
            other => {
                let help = match nearest(other, OPERATORS) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("known are {}", OPERATORS.join(", ")),
                };
                let problem = Problem::error(format!("unknown operator `{other}`"))
                    .at(operator.location.clone(), "")
                    .help(help);
                problems.borrow_mut().push(problem);
                None
            }
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
pub fn equal(left: &Value, right: &Value) -> bool {
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
    use crate::config::{Node as Written, Source, SourceKind};

    fn read(condition: &Value) -> (Condition, Vec<Problem>) {
        let source = Source::new(SourceKind::Argument, "");
        let item = Item {
            source,
            node: Written::from_json(condition, 0..0),
        };
        let problems = Problems::default();
        let condition = Condition::read(&item.entries().expect("a table"), &problems);
        (condition, problems.into_inner())
    }

    fn holds(condition: Value, record: &Record) -> bool {
        let (condition, problems) = read(&condition);
        assert!(problems.is_empty(), "{problems:?}");
        condition.holds(record)
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
    fn mistakes_are_named_with_the_nearest_operator() {
        let (_, problems) = read(&json!({"a": {"matchs": "x"}, "b": {"matches": "("}}));
        assert_eq!(problems.len(), 2);
        assert_eq!(problems[0].title, "unknown operator `matchs`");
        assert_eq!(problems[0].help, ["did you mean `matches`?"]);
        assert!(problems[1].title.starts_with("operator `matches`"));
    }
}
