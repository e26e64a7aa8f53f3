//! Arithmetic on the fields of one record: `+ - * /`, parentheses, numbers
//! (`expr` of a column).

use serde_json::Value;
use thiserror::Error;

use super::field::Field;
use super::record::Record;

/// A text that is no expression.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum ExpressionError {
    /// It ends too early.
    #[error("the expression ends where a field or a number should stand")]
    End,
    /// A character that does not belong there.
    #[error("`{0}` does not belong there")]
    Unexpected(char),
    /// Parentheses too deep.
    #[error("parentheses are nested too deeply")]
    Deep,
}

/// An expression.
#[derive(Clone, Debug)]
pub enum Expression {
    /// A number.
    Number(f64),
    /// The value of a field.
    Field(Field),
    /// Both sides and the sign between them.
    Binary(char, Box<Expression>, Box<Expression>),
}

/// Levels of parentheses and signs.
const DEPTH: usize = 64;

impl Expression {
    /// Parses an expression.
    pub fn parse(text: &str) -> Result<Self, ExpressionError> {
        let mut parser = Parser {
            rest: text,
            depth: 0,
        };
        let expression = parser.sum()?;
        match parser.peek() {
            None => Ok(expression),
            Some(symbol) => Err(ExpressionError::Unexpected(symbol)),
        }
    }

    /// Its value; none where a field has no number, or for a division by 0.
    pub fn of(&self, record: &Record) -> Option<f64> {
        match self {
            Self::Number(number) => Some(*number),
            Self::Field(field) => field.of(record).and_then(Value::as_f64),
            Self::Binary(sign, left, right) => {
                let (left, right) = (left.of(record)?, right.of(record)?);
                let value = match sign {
                    '+' => left + right,
                    '-' => left - right,
                    '*' => left * right,
                    _ => left / right,
                };
                value.is_finite().then_some(value)
            }
        }
    }

    /// All fields in it.
    pub fn fields<'a>(&'a self, found: &mut Vec<&'a Field>) {
        match self {
            Self::Number(_) => {}
            Self::Field(field) => found.push(field),
            Self::Binary(_, left, right) => {
                left.fields(found);
                right.fields(found);
            }
        }
    }
}

struct Parser<'a> {
    rest: &'a str,
    depth: usize,
}

impl Parser<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest = self.rest.trim_start();
        self.rest.chars().next()
    }

    fn take(&mut self, symbols: &[char]) -> Option<char> {
        let symbol = self.peek().filter(|symbol| symbols.contains(symbol))?;
        self.rest = &self.rest[symbol.len_utf8()..];
        Some(symbol)
    }

    fn sum(&mut self) -> Result<Expression, ExpressionError> {
        let mut left = self.product()?;
        while let Some(sign) = self.take(&['+', '-']) {
            left = Expression::Binary(sign, Box::new(left), Box::new(self.product()?));
        }
        Ok(left)
    }

    fn product(&mut self) -> Result<Expression, ExpressionError> {
        let mut left = self.operand()?;
        while let Some(sign) = self.take(&['*', '/']) {
            left = Expression::Binary(sign, Box::new(left), Box::new(self.operand()?));
        }
        Ok(left)
    }

    fn operand(&mut self) -> Result<Expression, ExpressionError> {
        self.depth += 1;
        if self.depth > DEPTH {
            return Err(ExpressionError::Deep);
        }
        let operand = match self.peek().ok_or(ExpressionError::End)? {
            '(' => {
                self.take(&['(']);
                let inner = self.sum()?;
                match (self.take(&[')']), self.peek()) {
                    (Some(_), _) => inner,
                    (None, Some(symbol)) => return Err(ExpressionError::Unexpected(symbol)),
                    (None, None) => return Err(ExpressionError::End),
                }
            }
            '-' => {
                self.take(&['-']);
                let zero = Box::new(Expression::Number(0.0));
                Expression::Binary('-', zero, Box::new(self.operand()?))
            }
            symbol if symbol.is_ascii_alphanumeric() || symbol == '_' || symbol == '.' => {
                let in_word = |c: char| c.is_alphanumeric() || matches!(c, '_' | '.' | '@');
                let length = self.rest.find(|c| !in_word(c)).unwrap_or(self.rest.len());
                let (word, rest) = self.rest.split_at(length);
                self.rest = rest;
                match word.parse() {
                    Ok(number) => Expression::Number(number),
                    Err(_) => Expression::Field(Field::new(word)),
                }
            }
            symbol => return Err(ExpressionError::Unexpected(symbol)),
        };
        self.depth -= 1;
        Ok(operand)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_usual_rules() {
        let record = Record::new().with("pred.score@1", 8.0).with("b", 2);
        let value = |text: &str| Expression::parse(text).expect("valid").of(&record);
        assert_eq!(value("pred.score@1 - b * 3"), Some(2.0));
        assert_eq!(value("-(b + 1) / 2"), Some(-1.5));
        assert_eq!(value("b / (b - 2)"), None);
        assert_eq!(value("absent + 1"), None);
        for wrong in ["", "1 +", "(1", "1 )", "a ^ b"] {
            assert!(Expression::parse(wrong).is_err(), "{wrong}");
        }
        assert_eq!(
            Expression::parse(&"(".repeat(100)).unwrap_err(),
            ExpressionError::Deep
        );
    }
}
