//! Filter expressions over runs: `state = failed and train.lr.init < 0.01`.
//!
//! Names are those of [`RunOverview::field`](super::RunOverview::field). Operators are `=`, `!=`, `<`,
//! `<=`, `>`, `>=` and `~` (a text contains; a list has an element that
//! contains), joined with `and`, `or`, `not` and parentheses. Numbers compare as
//! numbers, all else as text; seconds may be written as `90s` or `1h30m`.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::str::FromStr;

use serde_json::Value;

use super::fields::Fields;
use super::listing::{FIELDS, RunState};
use crate::config::nearest;
use crate::config::schema::{self, Key, Kind};

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
        /// With what; spans of time in seconds.
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

/// Why runs cannot be filtered so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FilterError {
    /// The text is no filter.
    #[error(
        "`{text}` is no filter: {what} at character {at}; write NAME OPERATOR VALUE with one of = != < <= > >= ~, joined with and, or, not"
    )]
    Syntax {
        /// The text.
        text: String,
        /// What is wrong.
        what: &'static str,
        /// Where, from 1.
        at: usize,
    },
    /// A field is compared with what it never holds.
    #[error("`{field}` holds {holds}, not `{value}`{}; write for example `{example}`", near_text(*near))]
    Value {
        /// The field.
        field: String,
        /// What it holds, in words.
        holds: String,
        /// What it is compared with.
        value: String,
        /// What may be meant.
        near: Option<&'static str>,
        /// How it is done.
        example: String,
    },
}

fn near_text(near: Option<&str>) -> String {
    near.map(|near| format!(" (did you mean `{near}`?)"))
        .unwrap_or_default()
}

impl Filter {
    /// Whether a run fulfils it. A field that the run does not have is unequal
    /// to everything.
    pub fn matches(&self, run: &impl Fields) -> bool {
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

    /// Checks that fields are compared with what they hold; of results and the
    /// like, what they hold is seen from `runs`.
    ///
    /// # Errors
    /// A comparison that no run can fulfil as it is meant: with a state that does
    /// not exist, or of a number with a text.
    pub fn check(&self, runs: &[impl Fields]) -> Result<(), FilterError> {
        match self {
            Filter::All(parts) | Filter::Any(parts) => {
                parts.iter().try_for_each(|part| part.check(runs))
            }
            Filter::Not(inner) => inner.check(runs),
            Filter::Compare {
                name,
                operator,
                value,
            } => check(name, *operator, value, runs),
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

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Content {
    Number,
    Seconds,
    Flag,
    State,
    Moment,
    /// Texts, lists, or what is not known.
    Other,
}

impl Content {
    fn of(name: &str) -> Content {
        match name {
            "state" => Content::State,
            "started" | "heartbeat" => Content::Moment,
            "seconds" | "time" => Content::Seconds,
            "exit_code" => Content::Number,
            name if FIELDS.contains(&name) => Content::Other,
            name => key(name).map_or(Content::Other, |key| match key.kind {
                Kind::Int | Kind::Float if key.unit == "s" => Content::Seconds,
                Kind::Int | Kind::Float => Content::Number,
                Kind::Bool => Content::Flag,
                _ => Content::Other,
            }),
        }
    }

    /// What all runs hold that have the field.
    fn seen(name: &str, runs: &[impl Fields]) -> Content {
        let values = runs.iter().filter_map(|run| run.field(name));
        let values: Vec<Value> = values.filter(|value| !value.is_null()).collect();
        let all = |is: fn(&Value) -> bool| !values.is_empty() && values.iter().all(is);
        if all(Value::is_number) {
            Content::Number
        } else if all(Value::is_boolean) {
            Content::Flag
        } else {
            Content::Other
        }
    }

    fn fits(self, value: &str) -> bool {
        match self {
            Content::Number => is_number(value),
            Content::Seconds => seconds(value).is_some(),
            Content::Flag => matches!(value, "true" | "false"),
            Content::State => RunState::WORDS.contains(&value),
            Content::Moment => is_moment(value),
            Content::Other => true,
        }
    }

    fn in_words(self) -> String {
        match self {
            Content::Number => "a number".to_owned(),
            Content::Seconds => "a number of seconds".to_owned(),
            Content::Flag => "true or false".to_owned(),
            Content::State => format!("one of {}", RunState::WORDS.join(", ")),
            Content::Moment => "a local time".to_owned(),
            Content::Other => "a text".to_owned(),
        }
    }

    /// The end of a comparison with it.
    fn example(self) -> &'static str {
        match self {
            Content::Number => "> 0.5",
            Content::Seconds => "> 1h30m",
            Content::Flag => "= true",
            Content::State => "= failed",
            Content::Moment => "> 2026-11-24T17:05",
            Content::Other => "= text",
        }
    }
}

/// The key of a field; of one stage's value, too.
fn key(name: &str) -> Option<&'static Key> {
    let of_stage = name.strip_prefix("stage.");
    let path = of_stage.and_then(|rest| Some(rest.split_once('.')?.1));
    schema::key(path.unwrap_or(name)).or_else(|| schema::key_by_flat_name(name))
}

fn check(
    name: &str,
    operator: Operator,
    value: &str,
    runs: &[impl Fields],
) -> Result<(), FilterError> {
    let is_equality = matches!(operator, Operator::Equal | Operator::Unequal);
    let may_be_none = is_equality && key(name).is_none_or(|key| key.nullable);
    if operator == Operator::Contains || may_be_none && is_none(value) {
        return Ok(());
    }
    let content = match Content::of(name) {
        Content::Other if !FIELDS.contains(&name) => Content::seen(name, runs),
        known => known,
    };
    if content.fits(value) {
        return Ok(());
    }
    Err(FilterError::Value {
        field: name.to_owned(),
        holds: content.in_words(),
        value: value.to_owned(),
        near: match content {
            Content::State => nearest(value, RunState::WORDS),
            _ => None,
        },
        example: format!("{name} {}", content.example()),
    })
}

/// A value as the field has it: spans of time in seconds, a moment with a `T`.
fn as_held(name: &str, value: &str) -> String {
    let content = Content::of(name);
    match (content, seconds(value)) {
        (Content::Seconds, Some(seconds)) if !is_number(value) => seconds.to_string(),
        (Content::Moment, _) if is_moment(value) => value.replacen(' ', "T", 1),
        _ => value.to_owned(),
    }
}

/// How one writes that there is no value.
fn is_none(value: &str) -> bool {
    matches!(value, "null" | "none")
}

fn is_number(value: &str) -> bool {
    value.parse::<f64>().is_ok_and(|value| !value.is_nan())
}

/// A number of seconds: `90`, `90s`, `1m`, `1h30m`.
fn seconds(text: &str) -> Option<f64> {
    if is_number(text) {
        return text.parse().ok();
    }
    let (mut rest, mut sum) = (text, 0.0);
    while !rest.is_empty() {
        let is_letter = |c: char| c.is_ascii_alphabetic();
        let (number, behind) = rest.split_at(rest.find(is_letter)?);
        let end = behind.find(|c| !is_letter(c)).unwrap_or(behind.len());
        let unit = match &behind[..end] {
            "ms" => 0.001,
            "s" => 1.0,
            "m" | "min" => 60.0,
            "h" => 3600.0,
            "d" => 86_400.0,
            _ => return None,
        };
        sum += number.parse::<f64>().ok()? * unit;
        rest = &behind[end..];
    }
    (!text.is_empty()).then_some(sum)
}

/// The beginning of `2026-11-24T17:05:09`.
fn is_moment(text: &str) -> bool {
    let has_year = text.bytes().take_while(u8::is_ascii_digit).count() == 4;
    has_year
        && text
            .chars()
            .all(|c| c.is_ascii_digit() || "-T: ".contains(c))
}

fn holds(field: &Value, operator: Operator, value: &str) -> bool {
    if let Value::Array(items) = field {
        return match operator {
            Operator::Unequal => items.iter().all(|item| holds(item, operator, value)),
            _ => items.iter().any(|item| holds(item, operator, value)),
        };
    }
    let is_equality = matches!(operator, Operator::Equal | Operator::Unequal);
    let order = match (field.as_f64(), value.parse::<f64>()) {
        (Some(field), Ok(value)) => field.partial_cmp(&value),
        _ if field.is_null() && is_none(value) => Some(Ordering::Equal),
        // Nothing comes before or behind a number that is none.
        (None, _) if field.is_null() && !is_equality => None,
        (Some(_), Err(_)) if !is_equality => None,
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
                        return Err(FilterError::Syntax {
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
                    return Err(FilterError::Syntax {
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
            value: as_held(name, value),
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
        Err(FilterError::Syntax {
            text: self.text.to_owned(),
            what,
            at: self.tokens.get(self.at).map_or(end, |(_, at)| *at),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::listing::RunOverview;
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
    fn fields_are_compared_with_what_they_hold() {
        let check = |text: &str| {
            let filter: Filter = text.parse().unwrap();
            filter.check(&[run()]).map_err(|error| error.to_string())
        };
        for good in [
            "state = failed and seconds > 3 or train.lr.init < 1e-3",
            "seconds > 1h30m and time < 2d or seconds = 1.5ms",
            "started > 2026-11-24 and heartbeat < '2026-11-24 17:05'",
            "top1 > 80 and train.loss < inf",
            "experiment > 5 and note = 3 and tags != 7 and unknown < abc",
            "run.tf32 = true or state ~ fini",
        ] {
            assert_eq!(check(good), Ok(()), "{good}");
        }
        assert_eq!(
            check("seconds > abc"),
            Err("`seconds` holds a number of seconds, not `abc`; write for example `seconds > 1h30m`".into())
        );
        for (bad, part) in [
            ("not state = faild", "did you mean `failed`?"),
            (
                "train.lr.init < abc",
                "`train.lr.init` holds a number, not `abc`",
            ),
            ("max_epochs = x", "a number"),
            ("stage.train.train.max_epochs < x", "a number"),
            ("top1 > good", "`top1` holds a number"),
            ("eval.top1 = good", "a number"),
            ("exit_code = zero", "a number"),
            ("seconds > nan", "a number of seconds"),
            ("seconds > 5 or time < 3x", "1h30m"),
            ("started > yesterday", "a local time"),
            ("nouns.cache = perhaps", "true or false"),
        ] {
            assert!(check(bad).unwrap_err().contains(part), "{bad}");
        }
    }

    #[test]
    fn spans_and_moments_are_read() {
        for (text, expected) in [
            ("90", Some(90.0)),
            ("90s", Some(90.0)),
            ("1m", Some(60.0)),
            ("1h30m", Some(5400.0)),
            ("1.5h", Some(5400.0)),
            ("1d12h", Some(129_600.0)),
            ("", None),
            ("m", None),
            ("1x", None),
            ("1h30", None),
            ("abc", None),
        ] {
            assert_eq!(seconds(text), expected, "{text}");
        }
        assert!(matches("seconds > 1m and seconds <= 1m5s"));
        assert!(!matches("time > 1m30s"));
        assert!(matches(
            "started > '1969-12-30 00:00' and started < 1970-01-03"
        ));
    }

    #[test]
    fn numbers_and_nothing_have_no_order_with_texts() {
        let (number, nothing) = (json!(5), json!(null));
        for operator in [Operator::Less, Operator::Greater] {
            assert!(!holds(&number, operator, "abc"));
            assert!(!holds(&nothing, operator, "5"));
        }
        assert!(holds(&nothing, Operator::Equal, "none"));
        assert!(holds(&nothing, Operator::Unequal, "5"));
        assert!(holds(&number, Operator::Unequal, "abc"));
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
            "stages = eval and stages ~ tra and labels ~ paper",
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
