//! Where runs come from.

use serde_json::{Map, Value};

use super::error::Result;
use crate::reports::printed::Printed;

/// What lists tell of a run.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RunHead {
    /// Its id.
    pub id: String,
    /// `finished`, `failed`, `crashed`, …
    pub state: String,
    /// When it was made, ISO; UTC where it names no zone.
    pub created_at: String,
    /// Its machine, where the list tells.
    pub host: Option<String>,
    /// Its flat configuration, lists as texts in Python's notation.
    pub config: Map<String, Value>,
}

/// Where and how a run was started.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunOrigin {
    /// Machine.
    pub host: String,
    /// Arguments of its command line.
    pub args: Vec<String>,
}

/// Why the console log of a run is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogFailure {
    /// A service answered with another status than 200.
    Status(u16),
    /// It could not be had at all.
    Connection(String),
}

/// Something that keeps runs: the local records, a tracking service.
///
/// Conditions are documents in MongoDB's notation over `state`, `createdAt`,
/// `host` and `config.KEY`, as the service of the original takes them.
pub trait RunSource {
    /// Says which runs are looked at.
    fn greet(&self, project: &str, out: &mut Printed);

    /// Runs of a project that fulfil conditions, in any order.
    ///
    /// # Errors
    /// They cannot be asked for.
    fn find(&self, project: &str, conditions: &Value) -> Result<Vec<RunHead>>;

    /// All rows that a run logged, in order.
    ///
    /// # Errors
    /// They cannot be read.
    fn history(&self, project: &str, run: &RunHead) -> Result<Vec<Map<String, Value>>>;

    /// Where and how a run was started.
    ///
    /// # Errors
    /// It cannot be read.
    fn origin(&self, project: &str, run: &RunHead) -> Result<RunOrigin>;

    /// What a run wrote to its console.
    fn log(&self, project: &str, run: &RunHead) -> std::result::Result<String, LogFailure>;

    /// A table that a row of the history holds or refers to: `columns` and
    /// `data`; `None` if the value is no table.
    ///
    /// # Errors
    /// It cannot be read.
    fn table(&self, _project: &str, _run: &RunHead, value: &Value) -> Result<Option<Value>> {
        let is_table = value["columns"].is_array() && value["data"].is_array();
        Ok(is_table.then(|| value.clone()))
    }
}
