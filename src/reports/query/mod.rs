//! Questions in SQL over records: every source is a frame, its columns the
//! fields of its records. SQLite answers them, in memory; polars' own SQL alone
//! would be a third of the program.

mod functions;

use polars::prelude::{AnyValue, DataFrame};
use rusqlite::config::DbConfig;
use rusqlite::limits::Limit;
use rusqlite::types::{ToSqlOutput, Value as SqlValue, ValueRef};
use rusqlite::{Connection, params_from_iter};
use serde_json::{Map, Value};

use super::frame::frame;
use super::record::Record;
use crate::config::{ConfigErrors, Location, Problem, Source, SourceKind, nearest};

/// An answer: rows of values by column.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Names of the columns.
    pub columns: Vec<String>,
    /// Rows of values.
    pub rows: Vec<Vec<Value>>,
    /// What could not be asked for.
    pub warnings: Vec<String>,
}

impl Answer {
    /// The rows as objects.
    pub fn json(&self) -> Value {
        let row = |row: &Vec<Value>| -> Value {
            let fields = self.columns.iter().cloned().zip(row.iter().cloned());
            Value::Object(fields.collect::<Map<_, _>>())
        };
        self.rows.iter().map(row).collect()
    }
}

/// Answers a query over frames of these names. It is one statement that reads.
///
/// # Errors
/// The query has a mistake; what there is to ask for is named.
pub fn answer(query: &str, frames: &[(String, Vec<Record>)]) -> Result<Answer, ConfigErrors> {
    let frames = frames.iter();
    let frames: Vec<(&str, DataFrame)> = frames
        .map(|(name, records)| (name.as_str(), frame(records)))
        .collect();
    let mut warnings = Vec::new();
    let (columns, rows) = answer_over(query, &frames, &mut warnings)
        .map_err(|mistake| mistake.problem(query, &frames))?;
    Ok(Answer {
        columns,
        rows,
        warnings,
    })
}

type Rows = (Vec<String>, Vec<Vec<Value>>);

fn answer_over(
    query: &str,
    frames: &[(&str, DataFrame)],
    warnings: &mut Vec<String>,
) -> Result<Rows, Mistake> {
    let connection = connection()?;
    for (name, frame) in frames {
        let most = connection.limit(Limit::SQLITE_LIMIT_COLUMN);
        let most = most.map_or(0, |most| usize::try_from(most).unwrap_or(0));
        let chosen = chosen(frame, query, most);
        if chosen.width() < frame.width() {
            warnings.push(format!(
                "{name} has {} fields; `*` stands for {most} of them, the others must be named",
                frame.width()
            ));
        }
        fill(&connection, name, &chosen)?;
    }
    let mut statement = connection.prepare(query)?;
    if !statement.readonly() || statement.column_count() == 0 {
        return Err(Mistake::new("it is no question: begin with SELECT or WITH"));
    }
    let columns: Vec<(String, bool)> = statement
        .columns()
        .map(|column| (column.name().to_owned(), column.decl_type() == Some(TRUTH)))
        .collect();
    let mut found = Vec::new();
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let values = columns.iter().enumerate();
        let values: rusqlite::Result<Vec<Value>> = values
            .map(|(at, (_, is_truth))| Ok(value(row.get_ref(at)?, *is_truth)))
            .collect();
        found.push(values?);
    }
    let names = columns.into_iter().map(|(name, _)| name).collect();
    Ok((names, found))
}

/// Type of the columns of truth values, which SQLite stores as numbers.
const TRUTH: &str = "BOOLEAN";

/// A database in memory, of which a query can reach nothing else.
fn connection() -> rusqlite::Result<Connection> {
    let connection = Connection::open_in_memory()?;
    // Else an unknown name in double quotes would be a text.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    functions::add_to(&connection)?;
    Ok(connection)
}

/// The fields of a frame, at most so many: those that the query names first.
fn chosen(frame: &DataFrame, query: &str, most: usize) -> DataFrame {
    let query = query.to_lowercase();
    let columns = frame.columns().iter();
    let (mut chosen, others): (Vec<_>, Vec<_>) = columns
        .cloned()
        .partition(|column| frame.width() <= most || query.contains(&column.name().to_lowercase()));
    chosen.extend(others);
    chosen.truncate(most);
    DataFrame::new(frame.height(), chosen).unwrap_or_default()
}

/// Makes a table of a frame.
fn fill(connection: &Connection, name: &str, frame: &DataFrame) -> rusqlite::Result<()> {
    let columns = frame.columns();
    let mut names: Vec<String> = Vec::new();
    for column in columns {
        // Names of SQL are equal whatever their case.
        let mut own = column.name().to_string();
        while names.iter().any(|name| name.eq_ignore_ascii_case(&own)) {
            own.push('_');
        }
        names.push(own);
    }
    let declared = columns.iter().zip(&names).map(|(column, name)| {
        let kind = match column.dtype() {
            kind if kind.is_bool() => TRUTH,
            kind if kind.is_integer() => "INTEGER",
            kind if kind.is_float() => "REAL",
            _ => "TEXT",
        };
        format!("{} {kind}", quoted(name))
    });
    let declared: Vec<String> = declared.collect();
    // A table has a column at least.
    let declared = match declared.is_empty() {
        true => "record".to_owned(),
        false => declared.join(", "),
    };
    let name = quoted(name);
    connection.execute_batch(&format!("BEGIN; CREATE TABLE {name} ({declared})"))?;
    let places = vec!["?"; columns.len().max(1)].join(", ");
    let mut insert = connection.prepare(&format!("INSERT INTO {name} VALUES ({places})"))?;
    for at in 0..frame.height() {
        let values = columns.iter().map(|column| {
            let value = column.get(at).unwrap_or(AnyValue::Null);
            sql_value(&value)
        });
        match columns.is_empty() {
            true => insert.execute([SqlValue::Null])?,
            false => insert.execute(params_from_iter(values))?,
        };
    }
    connection.execute_batch("COMMIT")
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn sql_value<'a>(value: &AnyValue<'a>) -> ToSqlOutput<'a> {
    ToSqlOutput::Owned(match value {
        AnyValue::Boolean(truth) => SqlValue::Integer(i64::from(*truth)),
        AnyValue::Int64(whole) => SqlValue::Integer(*whole),
        AnyValue::Float64(number) => SqlValue::Real(*number),
        AnyValue::String(text) => {
            return ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes()));
        }
        // Frames of records have no others.
        _ => SqlValue::Null,
    })
}

fn value(value: ValueRef<'_>, is_truth: bool) -> Value {
    match value {
        ValueRef::Null => Value::Null,
        ValueRef::Integer(whole @ (0 | 1)) if is_truth => Value::Bool(whole == 1),
        ValueRef::Integer(whole) => Value::from(whole),
        // As they print: without a point where there is nothing behind it.
        ValueRef::Real(number) if number.fract() == 0.0 && number.abs() < WHOLE => {
            Value::from(number as i64)
        }
        ValueRef::Real(number) => Value::from(number),
        ValueRef::Text(bytes) | ValueRef::Blob(bytes) => {
            Value::from(String::from_utf8_lossy(bytes).into_owned())
        }
    }
}

/// Below it, numbers have all whole numbers among them: 2⁵³.
const WHOLE: f64 = 9_007_199_254_740_992.0;

/// Why a query has no answer.
struct Mistake {
    reason: String,
    /// Byte of the query.
    offset: Option<usize>,
}

impl From<rusqlite::Error> for Mistake {
    fn from(error: rusqlite::Error) -> Self {
        match error {
            rusqlite::Error::SqlInputError { msg, offset, .. } => Self {
                reason: msg,
                offset: usize::try_from(offset).ok(),
            },
            rusqlite::Error::SqliteFailure(_, Some(message)) => Self::new(message),
            other => Self::new(other.to_string()),
        }
    }
}

impl Mistake {
    fn new(reason: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            offset: None,
        }
    }

    /// What it is, where, and what to do about it.
    fn problem(&self, query: &str, frames: &[(&str, DataFrame)]) -> ConfigErrors {
        let mut problem = Problem::error(format!("the query failed: {}", self.reason));
        if let Some(offset) = self.offset {
            let source = Source::new(SourceKind::Argument, query);
            problem = problem.at(Location::new(&source, word(query, offset)), "");
        }
        if let Some(near) = near_name(&self.reason, frames) {
            problem = problem.help(format!("did you mean `{near}`?"));
        }
        for (name, frame) in frames {
            problem = problem.help(fields_of(name, frame));
        }
        problem
            .help("names with a dot stand in double quotes")
            .into()
    }
}

/// What there is to ask for in a frame.
fn fields_of(name: &str, frame: &DataFrame) -> String {
    let columns = frame.columns().iter().take(40);
    let fields: Vec<&str> = columns.map(|column| column.name().as_str()).collect();
    match frame.width() - fields.len() {
        _ if fields.is_empty() => format!("`{name}` has no records"),
        0 => format!("`{name}` has the fields {}", fields.join(", ")),
        more => format!(
            "`{name}` has the fields {} and {more} more",
            fields.join(", ")
        ),
    }
}

/// The word of a query that begins at a byte.
fn word(query: &str, start: usize) -> std::ops::Range<usize> {
    let rest = query.get(start..).unwrap_or_default();
    let length = match rest.strip_prefix('"') {
        Some(quoted) => quoted.find('"').map(|end| end + 2),
        None => rest.find(|c: char| !(c.is_alphanumeric() || c == '_' || c == '.')),
    };
    start..start + length.unwrap_or(rest.len())
}

/// The known name nearest to the one that is missing.
fn near_name<'a>(reason: &str, frames: &'a [(&str, DataFrame)]) -> Option<&'a str> {
    let (kind, name) = reason.strip_prefix("no such ")?.split_once(": ")?;
    // A name in quotes has a question of SQLite behind it.
    let name = match name.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next()?,
        None => name,
    };
    let columns = frames.iter().flat_map(|(_, frame)| frame.columns());
    let columns = columns.map(|column| column.name().as_str());
    match kind {
        "table" => nearest(name, frames.iter().map(|(frame, _)| *frame)),
        "function" => nearest(name, functions::names()),
        _ => {
            // A frame may stand before it.
            let field = name.split_once('.').map_or(name, |(_, field)| field);
            nearest(name, columns.clone()).or_else(|| nearest(field, columns))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn records() -> Vec<(String, Vec<Record>)> {
        let record = |layers: i64, top1: f64| {
            Record::new()
                .with("config.layers", layers)
                .with("top1", top1)
                .with("dataset", "A")
                .with("tied", layers == 4)
                .with("runs", json!(["a", "b"]))
        };
        let records = vec![record(4, 50.0), record(6, 60.5), record(6, 61.5)];
        vec![("records".to_owned(), records)]
    }

    fn asked(query: &str) -> Value {
        answer(query, &records()).unwrap().json()
    }

    fn refused(query: &str) -> String {
        answer(query, &records()).unwrap_err().to_string()
    }

    #[test]
    fn questions_are_answered_and_mistakes_name_the_fields() {
        let query = "SELECT \"config.layers\" AS layers, AVG(top1) AS top1, COUNT(*) AS n \
                     FROM records GROUP BY \"config.layers\" ORDER BY layers";
        let expected = json!([
            {"layers": 4, "top1": 50, "n": 1},
            {"layers": 6, "top1": 61, "n": 2},
        ]);
        assert_eq!(asked(query), expected);
        let error = refused("SELECT topp FROM records");
        assert!(
            error.contains("config.layers, dataset, runs, tied, top1"),
            "{error}"
        );
        assert!(error.contains("did you mean `top1`?"), "{error}");
        let caret = "SELECT topp FROM records\n |        ^^^^";
        assert!(error.contains(caret), "{error}");
        let error = refused("SELECT \"config.layer\" FROM records");
        assert!(error.contains("did you mean `config.layers`?"), "{error}");
        let error = refused("SELECT * FROM record");
        assert!(error.contains("did you mean `records`?"), "{error}");
    }

    #[test]
    fn truth_values_stay_what_they_are() {
        let query = "SELECT tied FROM records WHERE tied = TRUE";
        assert_eq!(asked(query), json!([{"tied": true}]));
        assert_eq!(
            asked("SELECT COUNT(*) AS n FROM records WHERE NOT tied"),
            json!([{"n": 2}])
        );
    }

    #[test]
    fn lists_are_json() {
        let query = "SELECT runs ->> 1 AS second FROM records LIMIT 1";
        assert_eq!(asked(query), json!([{"second": "b"}]));
    }

    #[test]
    fn a_query_only_reads_what_it_was_given() {
        let place = tempfile::tempdir().unwrap();
        let file = place.path().join("other.db");
        let attach = format!("ATTACH '{}' AS other", file.display());
        for query in [
            attach.as_str(),
            "DELETE FROM records",
            "CREATE TABLE more AS SELECT * FROM records",
            "SELECT 1; SELECT 2",
            "",
            "SELEC",
        ] {
            refused(query);
        }
        assert!(!file.exists());
    }

    #[test]
    fn names_that_differ_in_their_case_alone_are_two() {
        let record = Record::new().with("Loss", 1).with("loss", 2);
        let frames = [("records".to_owned(), vec![record])];
        let found = answer("SELECT Loss AS one, loss_ AS other FROM records", &frames);
        assert_eq!(found.unwrap().json(), json!([{"one": 1, "other": 2}]));
    }

    #[test]
    fn of_very_many_fields_the_named_ones_can_be_asked_for() {
        let many = (0..3000).fold(Record::new(), |record, at| {
            record.with(&format!("f{at:04}"), at)
        });
        let frames = [("records".to_owned(), vec![many])];
        let found = answer("SELECT f2999 FROM records", &frames).unwrap();
        assert_eq!(found.json(), json!([{"f2999": 2999}]));
        assert_eq!(found.warnings.len(), 1);
        let all = answer("SELECT * FROM records", &frames).unwrap();
        assert_eq!(all.columns.len(), 2000);
    }

    #[test]
    fn nothing_recorded_is_an_empty_frame() {
        let frames = [("records".to_owned(), Vec::new())];
        let found = answer("SELECT COUNT(*) AS n FROM records", &frames);
        assert_eq!(found.unwrap().json(), json!([{"n": 0}]));
        let error = answer("SELECT top1 FROM records", &frames).unwrap_err();
        assert!(error.to_string().contains("`records` has no records"));
    }
}
