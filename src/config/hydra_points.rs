//! Sweeps in overrides of the original: comma lists, `choice(a, b)` and
//! `range(start, stop[, step])` (`training.md` 1.6).

use super::hydra::{Refused, Untyped};
use super::node::{Node, Raw};
use super::overrides::{self, SyntaxError};

/// Most points that are listed.
const MAX_POINTS: usize = 1_000_000;

/// The points of a sweep as lists of overrides: all combinations, the last key
/// varying fastest.
pub fn points(sweep: &[impl AsRef<str>]) -> Result<Vec<Vec<String>>, Refused> {
    let mut points = vec![Vec::new()];
    for text in sweep {
        let text = text.as_ref();
        let choices = choices(text).map_err(|error| Refused::Syntax {
            text: text.to_owned(),
            error,
        })?;
        if points.len().saturating_mul(choices.len()) > MAX_POINTS {
            return Err(Refused::TooManyPoints(MAX_POINTS));
        }
        let with = |point: &Vec<String>, choice: &String| {
            let mut point = point.clone();
            point.push(choice.clone());
            point
        };
        points = points
            .iter()
            .flat_map(|point| choices.iter().map(move |choice| with(point, choice)))
            .collect();
    }
    Ok(points)
}

/// The single overrides that one with a sweep stands for.
fn choices(text: &str) -> Result<Vec<String>, SyntaxError> {
    let Some((key, value)) = text.split_once('=') else {
        overrides::parse(text)?;
        return Ok(vec![text.to_owned()]);
    };
    // The key is checked as that of an override without a sweep.
    overrides::parse(&format!("{key}="))?;
    let offset = key.len() + 1;
    let values = match call(value.trim()) {
        Some(("choice", inside)) => words(inside, 0)?,
        Some(("range", inside)) => range(inside)?,
        _ if value.trim().is_empty() => vec![String::new()],
        _ => words(text, offset)?,
    };
    Ok(values
        .iter()
        .map(|value| format!("{key}={value}"))
        .collect())
}

/// `name(inside)`.
fn call(value: &str) -> Option<(&str, &str)> {
    let (name, rest) = value.split_once('(')?;
    Some((name, rest.strip_suffix(')')?))
}

fn words(text: &str, offset: usize) -> Result<Vec<String>, SyntaxError> {
    let nodes = overrides::parse_choices(text, offset)?;
    Ok(nodes.iter().map(|node| word(node, text)).collect())
}

/// A value as the original writes it: typed by its form, quotes kept.
fn word(node: &Node, text: &str) -> String {
    match &node.raw {
        Raw::Word(word) => match Untyped::from_word(word) {
            Untyped::Bool(true) => "True".to_owned(),
            Untyped::Bool(false) => "False".to_owned(),
            Untyped::Int(value) => value.to_string(),
            Untyped::Float(value) => float(value),
            _ => word.clone(),
        },
        Raw::List(items) => {
            let items: Vec<_> = items.iter().map(|item| word(item, text)).collect();
            format!("[{}]", items.join(","))
        }
        _ => text[node.span.clone()].to_owned(),
    }
}

fn range(inside: &str) -> Result<Vec<String>, SyntaxError> {
    let wrong = || SyntaxError {
        message: "expected range(start, stop) or range(start, stop, step) with numbers".to_owned(),
        span: 0..inside.len(),
        help: "the stop is excluded; the step is not 0".to_owned(),
    };
    let numbers: Vec<Untyped> = inside
        .split(',')
        .map(|part| Untyped::from_word(part.trim()))
        .collect();
    let number = |value: &Untyped| match value {
        Untyped::Int(value) => Some(*value as f64),
        Untyped::Float(value) if value.is_finite() => Some(*value),
        _ => None,
    };
    let whole = numbers.iter().all(|value| matches!(value, Untyped::Int(_)));
    let values: Option<Vec<f64>> = numbers.iter().map(number).collect();
    let (start, stop, step) = match values.as_deref() {
        Some([start, stop]) => (*start, *stop, 1.0),
        Some([start, stop, step]) if *step != 0.0 => (*start, *stop, *step),
        _ => return Err(wrong()),
    };
    let count = ((stop - start) / step).ceil().max(0.0);
    if count > MAX_POINTS as f64 {
        return Err(wrong());
    }
    let at = |index: usize| start + index as f64 * step;
    let text = |value: f64| {
        if whole {
            (value as i64).to_string()
        } else {
            float(value)
        }
    };
    Ok((0..count as usize).map(|index| text(at(index))).collect())
}

/// A number as the original writes it: shortest digits, an exponent for very
/// small and very large ones.
fn float(value: f64) -> String {
    let size = value.abs();
    if value.is_finite() && size != 0.0 && !(1e-4..1e16).contains(&size) {
        let text = format!("{value:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = match exponent.strip_prefix('-') {
            Some(exponent) => ('-', exponent),
            None => ('+', exponent),
        };
        return format!("{digits}e{sign}{exponent:0>2}");
    }
    format!("{value:?}").to_lowercase()
}
