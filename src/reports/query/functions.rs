//! What SQLite lacks for measured values: spreads, middles and patterns, as
//! tables compute them.

use regex::Regex;
use rusqlite::functions::{Aggregate, Context, FunctionFlags};
use rusqlite::{Connection, Error, Result};

use crate::reports::statistics::{Summary, quantile};

/// Names of functions in queries, SQLite's usual ones included.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    let own = OF_VALUES.iter().map(|(name, _)| *name);
    let of_number = OF_NUMBER.iter().map(|(name, _)| *name);
    own.chain(of_number)
        .chain(["quantile", "pow", "regexp"])
        .chain(USUAL)
}

const USUAL: [&str; 14] = [
    "abs", "avg", "coalesce", "count", "iif", "length", "lower", "max", "min", "replace", "round",
    "substr", "sum", "upper",
];

/// A number of all values that are no null; none where it is not defined.
type OfValues = fn(&[f64]) -> Option<f64>;

const OF_VALUES: [(&str, OfValues); 5] = [
    ("stddev", |values| Summary::of(values)?.std),
    ("variance", |values| {
        Summary::of(values)?.std.map(|std| std * std)
    }),
    ("sem", |values| Summary::of(values)?.sem),
    ("median", |values| Some(Summary::of(values)?.median)),
    ("mean", |values| Some(Summary::of(values)?.mean)),
];

/// A number of a number.
type OfNumber = fn(f64) -> f64;

const OF_NUMBER: [(&str, OfNumber); 3] = [("sqrt", f64::sqrt), ("ln", f64::ln), ("exp", f64::exp)];

pub(super) fn add_to(connection: &Connection) -> Result<()> {
    let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC;
    for (name, of) in OF_VALUES {
        connection.create_aggregate_function(name, 1, flags, Collected { of })?;
    }
    connection.create_aggregate_function("quantile", 2, flags, Quantile)?;
    for (name, of) in OF_NUMBER {
        connection.create_scalar_function(name, 1, flags, move |context| {
            Ok(context.get::<Option<f64>>(0)?.map(of))
        })?;
    }
    connection.create_scalar_function("pow", 2, flags, |context| {
        let (base, power) = (
            context.get::<Option<f64>>(0)?,
            context.get::<Option<f64>>(1)?,
        );
        Ok(base.zip(power).map(|(base, power)| base.powf(power)))
    })?;
    // `text REGEXP pattern` is `regexp(pattern, text)`.
    connection.create_scalar_function("regexp", 2, flags, |context| {
        let pattern = context.get_or_create_aux(0, |value| {
            Regex::new(value.as_str()?).map_err(Box::<dyn std::error::Error + Send + Sync>::from)
        })?;
        let text = context.get::<Option<String>>(1)?;
        Ok(text.map(|text| pattern.is_match(&text)))
    })
}

/// An aggregate of all values.
struct Collected {
    of: OfValues,
}

impl Aggregate<Vec<f64>, Option<f64>> for Collected {
    fn init(&self, _: &mut Context<'_>) -> Result<Vec<f64>> {
        Ok(Vec::new())
    }

    fn step(&self, context: &mut Context<'_>, values: &mut Vec<f64>) -> Result<()> {
        values.extend(context.get::<Option<f64>>(0)?);
        Ok(())
    }

    fn finalize(&self, _: &mut Context<'_>, values: Option<Vec<f64>>) -> Result<Option<f64>> {
        Ok(values.and_then(|values| (self.of)(&values)))
    }
}

/// `quantile(value, q)` with q between 0 and 1, interpolated linearly.
struct Quantile;

impl Aggregate<(Vec<f64>, f64), Option<f64>> for Quantile {
    fn init(&self, context: &mut Context<'_>) -> Result<(Vec<f64>, f64)> {
        let share = context.get::<f64>(1)?;
        match (0.0..=1.0).contains(&share) {
            true => Ok((Vec::new(), share)),
            false => Err(Error::UserFunctionError(
                format!("quantile({share}): the share is between 0 and 1").into(),
            )),
        }
    }

    fn step(&self, context: &mut Context<'_>, (values, _): &mut (Vec<f64>, f64)) -> Result<()> {
        values.extend(context.get::<Option<f64>>(0)?);
        Ok(())
    }

    fn finalize(
        &self,
        _: &mut Context<'_>,
        collected: Option<(Vec<f64>, f64)>,
    ) -> Result<Option<f64>> {
        Ok(collected.and_then(|(mut values, share)| {
            values.sort_by(f64::total_cmp);
            (!values.is_empty()).then(|| quantile(&values, share))
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(query: &str) -> Result<Option<f64>> {
        let connection = Connection::open_in_memory()?;
        add_to(&connection)?;
        connection.execute_batch(
            "CREATE TABLE t (x REAL, name TEXT);
             INSERT INTO t VALUES (1, 'one'), (2, 'two'), (NULL, NULL), (6, 'six'), (7, 'seven')",
        )?;
        connection.query_row(query, [], |row| row.get(0))
    }

    #[test]
    fn spreads_and_middles_are_those_of_tables() {
        let of = Summary::of(&[1.0, 2.0, 6.0, 7.0]).unwrap();
        let ask = |what: &str| number(&format!("SELECT {what} FROM t")).unwrap();
        assert_eq!(ask("STDDEV(x)"), of.std);
        assert_eq!(ask("sem(x)"), of.sem);
        assert_eq!(ask("median(x)"), Some(4.0));
        assert_eq!(ask("mean(x)"), Some(4.0));
        assert_eq!(ask("quantile(x, 0.25)"), Some(1.75));
        let variance = ask("variance(x)").unwrap();
        assert!((variance - 26.0 / 3.0).abs() < 1e-12, "{variance}");
        assert_eq!(ask("stddev(x) FILTER (WHERE x = 1)"), None);
        assert_eq!(ask("median(x) FILTER (WHERE x > 9)"), None);
        assert!(number("SELECT quantile(x, 2) FROM t").is_err());
    }

    #[test]
    fn numbers_and_patterns_are_understood() {
        assert_eq!(number("SELECT sqrt(9)").unwrap(), Some(3.0));
        assert_eq!(number("SELECT ln(exp(2))").unwrap(), Some(2.0));
        assert_eq!(number("SELECT pow(2, 10)").unwrap(), Some(1024.0));
        assert_eq!(number("SELECT sqrt(NULL)").unwrap(), None);
        let count = "SELECT COUNT(*) FROM t WHERE name REGEXP ";
        assert_eq!(number(&format!("{count} '^s'")).unwrap(), Some(2.0));
        assert!(number(&format!("{count} '('")).is_err());
    }
}
