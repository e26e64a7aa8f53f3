//! Filter expressions over runs: `state = failed and train.lr.init < 0.01`.
//!
//! Names are those of [`RunOverview::field`]. Operators are `=`, `!=`, `<`,
//! `<=`, `>`, `>=` and `~` (a text contains; a list has an element that
//! contains), joined with `and`, `or`, `not` and parentheses. Numbers compare as
//! numbers, all else as text.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::str::FromStr;

use serde_json::Value;

use super::listing::{RunOverview, RunState};
use crate::config::nearest;
use crate::config::schema::{self, Kind};

/// Deepest nesting of an expression.
const MAX_DEPTH: usize = 64;

/// A condition that runs fulfil or not.
#[derive(Clone, Debug, PartialEq)]
pub enum Filter {
    /// All of them.
    All(Vec<Filter>),
    /// At least one of them.
    Any(Vec<Filter>),
    /// Not this.
    Not(Box<Filter>),
    /// A field compared with a value.
    Compare {
        /// Name of the field.
        name: String,
        /// How.
        operator: Operator,
        /// With what, as it was written.
        value: String,
    },
}

/// How a field is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    /// `=`
    Equal,
    /// `!=`
    Unequal,
    /// `<`
    Less,
    /// `<=`
    AtMost,
    /// `>`
    Greater,
    /// `>=`
    AtLeast,
    /// `~`
    Contains,
}

/// Why a text is no filter.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is no filter: {what} at character {at}; write NAME OPERATOR VALUE with one of = != < <= > >= ~, joined with and, or, not"
)]
pub struct FilterError {
    text: String,
    what: &'static str,
    at: usize,
}

impl Filter {
    /// Whether a run fulfils it. A field that the run does not have is unequal
    /// to everything.
    pub fn matches(&self, run: &RunOverview) -> bool {
        match self {
            Filter::All(parts) => parts.iter().all(|part| part.matches(run)),
            Filter::Any(parts) => parts.iter().any(|part| part.matches(run)),
            Filter::Not(inner) => !inner.matches(run),
            Filter::Compare {
                name,
                operator,
                value,
            } => match run.field(name) {
                Some(field) => holds(&field, *operator, value),
                None => *operator == Operator::Unequal,
            },
        }
    }

    /// Comparisons that no run can fulfil as they are meant: with a state that
    /// does not exist, or of a number with a text.
    pub fn doubts(&self) -> Vec<String> {
        match self {
            Filter::All(parts) | Filter::Any(parts) => {
                parts.iter().flat_map(Filter::doubts).collect()
            }
            Filter::Not(inner) => inner.doubts(),
            Filter::Compare {
                name,
                operator,
                value,
            } => doubt(name, *operator, value).into_iter().collect(),
        }
    }

    /// Names of the fields it looks at.
    pub fn names(&self) -> BTreeSet<&str> {
        match self {
            Filter::All(parts) | Filter::Any(parts) => {
                parts.iter().flat_map(Filter::names).collect()
            }
            Filter::Not(inner) => inner.names(),
            Filter::Compare { name, .. } => BTreeSet::from([name.as_str()]),
        }
    }
}

fn doubt(name: &str, operator: Operator, value: &str) -> Option<String> {
    use Operator::{Contains, Equal, Unequal};
    if name == "state" && matches!(operator, Equal | Unequal) {
        let words = RunState::WORDS;
        let near = nearest(value, words).map(|near| format!("did you mean `{near}`? "));
        return (!words.contains(&value)).then(|| {
            let near = near.unwrap_or_default();
            format!(
                "no run has the state `{value}`; {near}states are {}",
                words.join(", ")
            )
        });
    }
    let key = schema::key(name).or_else(|| schema::key_by_flat_name(name));
    let is_number = matches!(name, "seconds" | "exit_code")
        || key.is_some_and(|key| matches!(key.kind, Kind::Int | Kind::Float) && !key.nullable);
    (is_number && operator != Contains && value.parse::<f64>().is_err())
        .then(|| format!("`{name}` is a number, `{value}` is none"))
}

fn holds(field: &Value, operator: Operator, value: &str) -> bool {
    if let Value::Array(items) = field {
        return match operator {
            Operator::Unequal => items.iter().all(|item| holds(item, operator, value)),
            _ => items.iter().any(|item| holds(item, operator, value)),
        };
    }
    let order = match (field.as_f64(), value.parse::<f64>()) {
        (Some(field), Ok(value)) => field.partial_cmp(&value),
        _ => Some(plain(field).as_str().cmp(value)),
    };
    match operator {
        Operator::Equal => order == Some(Ordering::Equal),
        Operator::Unequal => order != Some(Ordering::Equal),
        Operator::Less => order == Some(Ordering::Less),
        Operator::AtMost => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        Operator::Greater => order == Some(Ordering::Greater),
        Operator::AtLeast => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        Operator::Contains => plain(field).contains(value),
    }
}

/// A value as text, texts without quotes.
pub fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Order of two values for sorting: numbers before texts, missing ones last.
pub fn order(a: Option<&Value>, b: Option<&Value>) -> Ordering {
    let rank = |value: Option<&Value>| match value {
        Some(Value::Null) | None => 2,
        Some(value) if value.is_number() => 0,
        Some(_) => 1,
    };
    rank(a).cmp(&rank(b)).then_with(|| match (a, b) {
        (Some(a), Some(b)) => match (a.as_f64(), b.as_f64()) {
            (Some(a), Some(b)) => a.total_cmp(&b),
            _ => plain(a).cmp(&plain(b)),
        },
        _ => Ordering::Equal,
    })
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Filter, FilterError> {
        let tokens = tokens(text)?;
        let mut parser = Parser {
            text,
            tokens: &tokens,
            at: 0,
        };
        let filter = parser.any(0)?;
        match parser.tokens.get(parser.at) {
            None => Ok(filter),
            Some(_) => parser.error("unexpected text"),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Word(String),
    Quoted(String),
    Operator(Operator),
    Open,
    Close,
}

fn tokens(text: &str) -> Result<Vec<(Token, usize)>, FilterError> {
    let mut found = Vec::new();
    let characters: Vec<char> = text.chars().collect();
    let mut at = 0;
    while let Some(&c) = characters.get(at) {
        let begin = at;
        at += 1;
        let next = characters.get(at) == Some(&'=');
        let token = match c {
            c if c.is_whitespace() => continue,
            '(' => Token::Open,
            ')' => Token::Close,
            '~' => Token::Operator(Operator::Contains),
            '=' | '!' | '<' | '>' => {
                at += usize::from(next);
                Token::Operator(match (c, next) {
                    // `==` is what fingers know from elsewhere.
                    ('=', _) => Operator::Equal,
                    ('!', true) => Operator::Unequal,
                    ('<', true) => Operator::AtMost,
                    ('<', false) => Operator::Less,
                    ('>', true) => Operator::AtLeast,
                    ('>', false) => Operator::Greater,
                    _ => {
                        return Err(FilterError {
                            text: text.to_owned(),
                            what: "`!` alone",
                            at: begin + 1,
                        });
                    }
                })
            }
            '"' | '\'' => {
                let rest = &characters[at..];
                let Some(length) = rest.iter().position(|&other| other == c) else {
                    return Err(FilterError {
                        text: text.to_owned(),
                        what: "a quote is not closed",
                        at: begin + 1,
                    });
                };
                at += length + 1;
                Token::Quoted(rest[..length].iter().collect())
            }
            _ => {
                let ends = |c: char| c.is_whitespace() || "()~=!<>\"'".contains(c);
                while characters.get(at).is_some_and(|&c| !ends(c)) {
                    at += 1;
                }
                Token::Word(characters[begin..at].iter().collect())
            }
        };
        found.push((token, begin + 1));
    }
    Ok(found)
}

struct Parser<'a> {
    text: &'a str,
    tokens: &'a [(Token, usize)],
    at: usize,
}

impl Parser<'_> {
    fn any(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut parts = vec![self.all(depth)?];
        while self.takes_word("or") {
            parts.push(self.all(depth)?);
        }
        Ok(if parts.len() == 1 {
            parts.remove(0)
        } else {
            Filter::Any(parts)
        })
    }

    fn all(&mut self, depth: usize) -> Result<Filter, FilterError> {
        let mut parts = vec![self.single(depth)?];
        while self.takes_word("and") {
            parts.push(self.single(depth)?);
        }
        Ok(if parts.len() == 1 {
            parts.remove(0)
        } else {
            Filter::All(parts)
        })
    }

    fn single(&mut self, depth: usize) -> Result<Filter, FilterError> {
        if depth > MAX_DEPTH {
            return self.error("nested too deeply");
        }
        if self.takes_word("not") {
            return Ok(Filter::Not(Box::new(self.single(depth + 1)?)));
        }
        if self.takes(&Token::Open) {
            let inner = self.any(depth + 1)?;
            if !self.takes(&Token::Close) {
                return self.error("`)` is missing");
            }
            return Ok(inner);
        }
        let Some((Token::Word(name), _)) = self.tokens.get(self.at) else {
            return self.error("expected the name of a field");
        };
        self.at += 1;
        let Some((Token::Operator(operator), _)) = self.tokens.get(self.at) else {
            return self.error("expected an operator");
        };
        self.at += 1;
        let Some((Token::Word(value) | Token::Quoted(value), _)) = self.tokens.get(self.at) else {
            return self.error("expected a value");
        };
        self.at += 1;
        Ok(Filter::Compare {
            name: name.clone(),
            operator: *operator,
            value: value.clone(),
        })
    }

    fn takes(&mut self, token: &Token) -> bool {
        let found = self.tokens.get(self.at).is_some_and(|(t, _)| t == token);
        self.at += usize::from(found);
        found
    }

    fn takes_word(&mut self, word: &str) -> bool {
        self.takes(&Token::Word(word.to_owned()))
    }

    fn error<T>(&self, what: &'static str) -> Result<T, FilterError> {
        let end = self.text.chars().count() + 1;
        Err(FilterError {
            text: self.text.to_owned(),
            what,
            at: self.tokens.get(self.at).map_or(end, |(_, at)| *at),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn run() -> RunOverview {
        let mut run: RunOverview = serde_json::from_value(json!({
            "format": 2, "run": "ovod_20261124_170509", "experiment": "quickstart", "title": "",
            "started_ms": 0, "last_ms": 65_000, "outputs": "outputs", "state": {"state": "finished"},
            "exit_code": 0, "reason": null,
            "values": {"train.lr.init": 0.01, "stage.train.train.max_epochs": 5},
            "stages": [
                {"name": "train", "kind": "train", "key": "", "outcome": "done", "started": true,
                 "progress": null, "seconds": 1.0, "message": null, "results": {"loss": 0.5}},
                {"name": "eval", "kind": "eval", "key": "", "outcome": "done", "started": true,
                 "progress": null, "seconds": 1.0, "message": null, "results": {"top1": 81.5}},
            ],
        }))
        .unwrap();
        run.tags = vec!["good".into(), "paper one".into()];
        run
    }

    fn matches(text: &str) -> bool {
        let filter: Filter = text.parse().unwrap_or_else(|error| panic!("{error}"));
        filter.matches(&run())
    }

    #[test]
    fn what_no_run_can_fulfil_is_doubted() {
        let doubts = |text: &str| text.parse::<Filter>().unwrap().doubts();
        assert!(doubts("state = failed and seconds > 3 or train.lr.init < 1e-3").is_empty());
        let state = doubts("not state = faild");
        assert!(state[0].contains("did you mean `failed`?"), "{state:?}");
        assert_eq!(
            doubts("seconds > abc"),
            ["`seconds` is a number, `abc` is none"]
        );
        assert_eq!(doubts("max_epochs = x").len(), 1);
    }

    #[test]
    fn a_key_has_the_value_of_the_stage_by_either_name() {
        let mut run = run();
        run.values = [
            ("train.max_chunks", 2),
            ("stage.train.train.max_chunks", 40),
        ]
        .map(|(name, value)| (name.to_owned(), json!(value)))
        .into_iter()
        .collect();
        for (name, value) in [
            ("train.max_chunks", 40),
            ("max_chunks", 40),
            ("stage.train.train.max_chunks", 40),
            ("train.max_epochs", 18),
        ] {
            assert_eq!(run.field(name), Some(json!(value)), "{name}");
        }
    }

    #[test]
    fn fields_of_every_kind_are_compared() {
        for text in [
            "experiment = quickstart",
            "state=finished and seconds>=65",
            "train.lr.init<=1e-2",
            "init_lr=0.01",
            "model.layers = 6",
            "stage.train.train.max_epochs > 4",
            "top1 > 80 and train.loss < 1",
            "tags = good",
            "tags ~ paper",
            "tags = 'paper one'",
            "not (state = failed or state = running)",
            "tags != bad and nothing.like.it != 3",
        ] {
            assert!(matches(text), "{text}");
        }
        for text in [
            "experiment = other",
            "train.lr.init < 0.01",
            "tags != good",
            "state = failed or top1 < 80",
            "not state = finished",
            "nothing.like.it = 3",
        ] {
            assert!(!matches(text), "{text}");
        }
    }

    #[test]
    fn and_binds_closer_than_or() {
        assert!(matches("state = finished or state = failed and top1 < 1"));
        assert!(!matches(
            "(state = finished or state = failed) and top1 < 1"
        ));
    }

    #[test]
    fn what_is_no_filter_is_said() {
        let error = |text: &str| text.parse::<Filter>().unwrap_err().to_string();
        assert!(error("").contains("expected the name of a field at character 1"));
        assert!(error("state").contains("expected an operator at character 6"));
        assert!(error("state = ").contains("expected a value at character 9"));
        assert!(error("a = b c").contains("unexpected text at character 7"));
        assert!(error("(a = b").contains("`)` is missing"));
        assert!(error("a ! b").contains("`!` alone"));
        assert!(error("a = 'b").contains("a quote is not closed"));
        assert!(error(&"(".repeat(1000)).contains("nested too deeply"));
    }

    #[test]
    fn numbers_come_first_and_missing_values_last() {
        let (one, ten, text) = (json!(1), json!(10), json!("a"));
        let mut values = [None, Some(&text), Some(&ten), Some(&one)];
        values.sort_by(|a, b| order(*a, *b));
        assert_eq!(values, [Some(&one), Some(&ten), Some(&text), None]);
    }
}
