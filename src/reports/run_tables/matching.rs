//! Conditions in MongoDB's notation, asked of runs that are here.

use std::collections::HashMap;

use fancy_regex::Regex;
use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use serde_json::Value;

use super::error::{Result, RunTablesError};

/// Conditions on runs.
#[derive(Debug)]
pub struct RunFilter {
    conditions: Value,
    patterns: HashMap<String, Regex>,
}

impl RunFilter {
    /// Takes a document of `$and`, `$or`, equality, `$ne`, `$in`, `$gt`, `$lt`,
    /// `$exists` and `$regex` over fields.
    ///
    /// # Errors
    /// An operator that is none of these, or a pattern that cannot be read.
    pub fn new(conditions: &Value) -> Result<Self> {
        let mut filter = Self {
            conditions: conditions.clone(),
            patterns: HashMap::new(),
        };
        filter.check(conditions)?;
        Ok(filter)
    }

    fn check(&mut self, conditions: &Value) -> Result<()> {
        let wrong = || RunTablesError::Condition(conditions.to_string());
        for (key, value) in conditions.as_object().ok_or_else(wrong)? {
            match (key.as_str(), value) {
                ("$and" | "$or", Value::Array(parts)) => {
                    for part in parts {
                        self.check(part)?;
                    }
                }
                (field, Value::Object(operators)) if !field.starts_with('$') => {
                    for (operator, operand) in operators {
                        self.check_operator(operator, operand)?;
                    }
                }
                (field, Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_))
                    if !field.starts_with('$') => {}
                _ => return Err(wrong()),
            }
        }
        Ok(())
    }

    fn check_operator(&mut self, operator: &str, operand: &Value) -> Result<()> {
        match (operator, operand) {
            ("$ne" | "$gt" | "$lt", _) | ("$exists", Value::Bool(_)) | ("$in", Value::Array(_)) => {
                Ok(())
            }
            ("$regex", Value::String(pattern)) => {
                let regex = Regex::new(pattern).map_err(|error| RunTablesError::Pattern {
                    pattern: pattern.clone(),
                    reason: error.to_string(),
                })?;
                self.patterns.insert(pattern.clone(), regex);
                Ok(())
            }
            _ => Err(RunTablesError::Condition(format!("{operator}: {operand}"))),
        }
    }

    /// Whether the conditions name a field.
    pub fn names(&self, field: &str) -> bool {
        fn within(conditions: &Value, field: &str) -> bool {
            match conditions {
                Value::Object(entries) => entries
                    .iter()
                    .any(|(key, value)| key == field || within(value, field)),
                Value::Array(parts) => parts.iter().any(|part| within(part, field)),
                _ => false,
            }
        }
        within(&self.conditions, field)
    }

    /// Whether a run fulfils them. Fields are asked by name, such as
    /// `config.action`.
    pub fn holds(&self, field: &dyn Fn(&str) -> Option<Value>) -> bool {
        self.all(&self.conditions, field)
    }

    fn all(&self, conditions: &Value, field: &dyn Fn(&str) -> Option<Value>) -> bool {
        let entries = conditions.as_object().into_iter().flatten();
        entries.into_iter().all(|(key, value)| match key.as_str() {
            "$and" => parts(value).all(|part| self.all(part, field)),
            "$or" => parts(value).any(|part| self.all(part, field)),
            name => {
                let found = field(name);
                match value {
                    Value::Object(operators) => operators.iter().all(|(operator, operand)| {
                        self.operator(operator, operand, found.as_ref())
                    }),
                    value => found.as_ref() == Some(value),
                }
            }
        })
    }

    fn operator(&self, operator: &str, operand: &Value, found: Option<&Value>) -> bool {
        match operator {
            "$ne" => found != Some(operand),
            "$exists" => Value::Bool(found.is_some()) == *operand,
            "$in" => found.is_some_and(|found| parts(operand).any(|value| value == found)),
            "$gt" => compare(found, operand).is_some_and(std::cmp::Ordering::is_gt),
            "$lt" => compare(found, operand).is_some_and(std::cmp::Ordering::is_lt),
            _ => {
                let pattern = operand.as_str().and_then(|text| self.patterns.get(text));
                let text = found.and_then(Value::as_str);
                pattern
                    .zip(text)
                    .is_some_and(|(pattern, text)| pattern.is_match(text).unwrap_or(false))
            }
        }
    }
}

fn parts(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// Numbers by value, texts as times if both are, else as texts.
fn compare(found: Option<&Value>, operand: &Value) -> Option<std::cmp::Ordering> {
    match (found?, operand) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => match (time(left), time(right)) {
            (Some(left), Some(right)) => Some(left.cmp(&right)),
            _ => Some(left.cmp(right)),
        },
        _ => None,
    }
}

/// An ISO time; UTC where it names no zone.
pub fn time(text: &str) -> Option<Timestamp> {
    if let Ok(time) = text.parse::<Timestamp>() {
        return Some(time);
    }
    let time: DateTime = text.parse().ok()?;
    Some(TimeZone::UTC.to_zoned(time).ok()?.timestamp())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(conditions: &Value, run: &Value) -> bool {
        let filter = RunFilter::new(conditions).unwrap();
        filter.holds(&|name| run.get(name).cloned())
    }

    #[test]
    fn operators_mean_what_they_mean_at_the_service() {
        let run = json!({ "a": 1, "t": "2024-06-24T00:30:00", "s": "x/y", "n": null });
        for conditions in [
            json!({}),
            json!({ "a": 1, "s": "x/y" }),
            json!({ "a": { "$ne": 2 }, "b": { "$ne": 2 } }),
            json!({ "b": { "$exists": false } }),
            json!({ "s": { "$in": ["x", "x/y"] } }),
            json!({ "t": { "$gt": "2024-06-24T01:00:00+01:00" } }),
            json!({ "$or": [{ "a": 2 }, { "s": { "$regex": "\\bx\\b(?!z)" } }] }),
        ] {
            assert!(holds(&conditions, &run), "{conditions}");
        }
        for conditions in [
            json!({ "a": 2 }),
            json!({ "a": true }),
            json!({ "b": { "$in": [null] } }),
            json!({ "b": { "$gt": 0 } }),
            json!({ "t": { "$lt": "2024-06-24T00:00:00+00:00" } }),
            json!({ "s": { "$regex": "x(?!/)" } }),
            json!({ "$and": [{ "a": 1 }, { "a": 2 }] }),
        ] {
            assert!(!holds(&conditions, &run), "{conditions}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_an_error() {
        for conditions in [
            json!([]),
            json!({ "$nor": [] }),
            json!({ "a": { "$size": 1 } }),
            json!({ "a": { "$regex": "(" } }),
        ] {
            assert!(RunFilter::new(&conditions).is_err(), "{conditions}");
        }
    }
}
