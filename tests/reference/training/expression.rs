//! Evaluates the arithmetic formulas the reference files are written with.

use std::collections::HashMap;
use std::iter::Peekable;
use std::str::Chars;

/// Value of `text` (`+ - * /`, parentheses, numbers, names).
///
/// # Panics
/// On anything else.
pub fn evaluate(text: &str, names: &HashMap<&str, f64>) -> f64 {
    let mut parser = Parser {
        text,
        names,
        rest: text.chars().peekable(),
    };
    let value = parser.sum();
    assert!(parser.peek().is_none(), "cannot parse {text:?}");
    value
}

struct Parser<'a> {
    text: &'a str,
    names: &'a HashMap<&'a str, f64>,
    rest: Peekable<Chars<'a>>,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        while self.rest.next_if(|next| next.is_whitespace()).is_some() {}
        self.rest.peek().copied()
    }

    fn eat(&mut self, expected: char) -> bool {
        self.peek() == Some(expected) && self.rest.next().is_some()
    }

    fn sum(&mut self) -> f64 {
        let mut value = self.product();
        loop {
            if self.eat('+') {
                value += self.product();
            } else if self.eat('-') {
                value -= self.product();
            } else {
                return value;
            }
        }
    }

    fn product(&mut self) -> f64 {
        let mut value = self.factor();
        loop {
            if self.eat('*') {
                value *= self.factor();
            } else if self.eat('/') {
                value /= self.factor();
            } else {
                return value;
            }
        }
    }

    fn factor(&mut self) -> f64 {
        if self.eat('-') {
            return -self.factor();
        }
        if self.eat('(') {
            let value = self.sum();
            assert!(self.eat(')'), "unclosed parenthesis in {:?}", self.text);
            return value;
        }
        self.peek();
        let mut word = String::new();
        while let Some(next) = self.rest.next_if(|next| {
            let exponent_sign = matches!(next, '+' | '-')
                && word.starts_with(|first: char| first.is_ascii_digit())
                && word.ends_with(['e', 'E']);
            next.is_alphanumeric() || matches!(next, '.' | '_') || exponent_sign
        }) {
            word.push(next);
        }
        word.parse()
            .ok()
            .or_else(|| self.names.get(word.as_str()).copied())
            .unwrap_or_else(|| panic!("cannot read {word:?} in {:?}", self.text))
    }
}
