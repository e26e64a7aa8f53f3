//! Several values for one key, as sweeps write them: the one grammar of the
//! command line and of sweep files.
//!
//! | written | values |
//! | --- | --- |
//! | `a,b` · `choice(a,b)` | these |
//! | `range(1,4)` · `range(1,4,0.5)` | from the first up to, without, the second |
//! | `interval(1,4)` · `interval(1,4,0.25)` | drawn between the two, if wanted in steps |
//! | `log_interval(1e-4,1e-1)` | drawn evenly on a logarithmic scale |
//! | `normal(2,0.5)` | drawn with this mean and standard deviation |

use std::fmt;

use serde::{Deserialize, Serialize};

use super::node::{Node, Raw, word_float, word_int};
use super::overrides::{SyntaxError, parse_choices as parse_list};

/// Most values of a `range`.
const MOST: f64 = 1_000_000.0;

/// Several values for one key.
#[derive(Debug, Clone, PartialEq)]
pub enum Choices {
    /// These.
    Listed(Vec<Node>),
    /// Numbers that are drawn.
    Drawn(Distribution),
}

/// How numbers are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// Evenly between two numbers, both included.
    Interval {
        /// Smallest.
        low: f64,
        /// Largest.
        high: f64,
        /// Distance of neighbours, if there are steps.
        step: Option<f64>,
    },
    /// The logarithm evenly.
    LogInterval {
        /// Smallest, above zero.
        low: f64,
        /// Largest.
        high: f64,
    },
    /// Normally distributed.
    Normal {
        /// Mean.
        mean: f64,
        /// Standard deviation, above zero.
        deviation: f64,
    },
}

impl fmt::Display for Distribution {
    /// As it is written.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Interval {
                low,
                high,
                step: None,
            } => write!(f, "interval({low}, {high})"),
            Self::Interval {
                low,
                high,
                step: Some(step),
            } => write!(f, "interval({low}, {high}, {step})"),
            Self::LogInterval { low, high } => write!(f, "log_interval({low}, {high})"),
            Self::Normal { mean, deviation } => write!(f, "normal({mean}, {deviation})"),
        }
    }
}

/// Functions of the grammar.
const FUNCTIONS: &[&str] = &["choice", "range", "interval", "log_interval", "normal"];

/// Parses what stands from a byte offset to the end. A single value is a list of
/// one.
pub fn parse_choices(text: &str, offset: usize) -> Result<Choices, SyntaxError> {
    let whole = text[offset..].trim();
    let start = offset + (text[offset..].len() - text[offset..].trim_start().len());
    let Some((name, inside)) = call(whole) else {
        return parse_list(text, offset).map(Choices::Listed);
    };
    let place = start..start + whole.len();
    let inner = start + name.len() + 1;
    if name == "choice" {
        return match inside.trim().is_empty() {
            true => Ok(Choices::Listed(Vec::new())),
            false => parse_list(&text[..inner + inside.len()], inner).map(Choices::Listed),
        };
    }
    let numbers: Option<Vec<Number>> = inside.split(',').map(Number::parse).collect();
    let wrong = |form: &str| SyntaxError {
        message: format!("expected {form}"),
        span: place.clone(),
        help: "all of them are finite numbers".to_owned(),
    };
    let values: Vec<f64> = numbers.iter().flatten().map(|n| n.value).collect();
    match (name, values.as_slice()) {
        ("range", [start, stop, rest @ ..]) if rest.len() <= 1 => {
            let step = rest.first().copied().unwrap_or(1.0);
            let whole = numbers.iter().flatten().all(|number| number.whole);
            range(*start, *stop, step, whole, &place).ok_or_else(|| SyntaxError {
                message: "the range has no end or too many values".to_owned(),
                span: place.clone(),
                help: "the step is not 0; up to a million values are listed".to_owned(),
            })
        }
        ("range", _) => Err(wrong("range(start, stop) or range(start, stop, step)")),
        ("interval", [low, high, rest @ ..])
            if low < high && rest.len() <= 1 && rest.iter().all(|step| *step > 0.0) =>
        {
            Ok(Choices::Drawn(Distribution::Interval {
                low: *low,
                high: *high,
                step: rest.first().copied(),
            }))
        }
        ("interval", _) => Err(wrong(
            "interval(low, high) or interval(low, high, step), low below high",
        )),
        ("log_interval", [low, high]) if *low > 0.0 && low < high => {
            Ok(Choices::Drawn(Distribution::LogInterval {
                low: *low,
                high: *high,
            }))
        }
        ("log_interval", _) => Err(wrong("log_interval(low, high), 0 < low < high")),
        ("normal", [mean, deviation]) if *deviation > 0.0 => {
            Ok(Choices::Drawn(Distribution::Normal {
                mean: *mean,
                deviation: *deviation,
            }))
        }
        _ => Err(wrong("normal(mean, deviation), deviation above 0")),
    }
}

/// Whether a value is one of the functions or a list outside of brackets.
pub fn is_several(text: &str, offset: usize) -> bool {
    call(text[offset..].trim()).is_some()
        || parse_list(text, offset).is_ok_and(|values| values.len() > 1)
}

/// `name(inside)` of a function of the grammar.
fn call(text: &str) -> Option<(&str, &str)> {
    let (name, rest) = text.split_once('(')?;
    let inside = rest.strip_suffix(')')?;
    FUNCTIONS.contains(&name).then_some((name, inside))
}

struct Number {
    value: f64,
    whole: bool,
}

impl Number {
    fn parse(text: &str) -> Option<Number> {
        let text = text.trim();
        let whole = word_int(text);
        let value = whole
            .map(|n| n as f64)
            .or_else(|| word_float(text).filter(|value| value.is_finite()))?;
        Some(Number {
            value,
            whole: whole.is_some(),
        })
    }
}

fn range(
    start: f64,
    stop: f64,
    step: f64,
    whole: bool,
    place: &std::ops::Range<usize>,
) -> Option<Choices> {
    if step == 0.0 {
        return None;
    }
    // A hair less, so that 0.1 steps to 0.3 do not end at 0.3.
    let count = ((stop - start) / step - 1e-9).ceil().max(0.0);
    let node = |index: usize| {
        let value = start + index as f64 * step;
        let raw = match whole {
            true => Raw::Int(value as i64),
            false => Raw::Float(rounded(value)),
        };
        Node {
            span: place.clone(),
            raw,
        }
    };
    (count <= MOST).then(|| Choices::Listed((0..count as usize).map(node).collect()))
}

/// Without the noise of the last digits: 0.3 rather than 0.30000000000000004.
pub(crate) fn rounded(value: f64) -> f64 {
    format!("{value:.12e}").parse().unwrap_or(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> Vec<String> {
        match parse_choices(text, 0) {
            Ok(Choices::Listed(nodes)) => nodes
                .iter()
                .map(|node| node.to_json().to_string())
                .collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn values_are_listed() {
        assert_eq!(listed("1,2,3.25"), ["1", "2", "3.25"]);
        assert_eq!(
            listed("choice(a, 'b,c', [1,2])"),
            ["\"a\"", "\"b,c\"", "[1,2]"]
        );
        assert_eq!(listed("choice()"), Vec::<String>::new());
        assert_eq!(listed("range(1,4)"), ["1", "2", "3"]);
        assert_eq!(listed("range(0.1,0.4,0.1)"), ["0.1", "0.2", "0.3"]);
        assert_eq!(listed("range(4,1,-1.5)"), ["4.0", "2.5"]);
        assert_eq!(listed("range(4,1)"), Vec::<String>::new());
    }

    #[test]
    fn distributions_are_read() {
        let drawn = |text: &str| match parse_choices(text, 0) {
            Ok(Choices::Drawn(distribution)) => distribution,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            drawn(" interval(1, 4, 0.5) "),
            Distribution::Interval {
                low: 1.0,
                high: 4.0,
                step: Some(0.5)
            }
        );
        assert_eq!(
            drawn("log_interval(1e-4,1e-1)"),
            Distribution::LogInterval {
                low: 1e-4,
                high: 1e-1
            }
        );
        assert_eq!(
            drawn("normal(0,1)"),
            Distribution::Normal {
                mean: 0.0,
                deviation: 1.0
            }
        );
    }

    #[test]
    fn mistakes_are_told() {
        for wrong in [
            "range(1)",
            "range(1,2,0)",
            "range(0,1e9)",
            "interval(4,1)",
            "interval(1,4,0)",
            "log_interval(0,1)",
            "normal(0,0)",
            "range(a,b)",
            "interval(1,inf)",
        ] {
            assert!(parse_choices(wrong, 0).is_err(), "{wrong}");
        }
        assert!(is_several("k=1,2", 2) && is_several("k=choice(1)", 2));
        assert!(!is_several("k=[1,2]", 2) && !is_several("k='1,2'", 2) && !is_several("k=f(1)", 2));
    }
}
