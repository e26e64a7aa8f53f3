//! Cells of an experiment file beside its stages: tables and plots, kept as
//! they were written for the room that makes them.

use serde_json::{Map, Value};

use super::node::Node;
use super::source::Location;

/// A table or plot of an experiment file.
#[derive(Debug, Clone, PartialEq)]
pub struct Cell {
    /// What it is.
    pub kind: CellKind,
    /// Its name in the file.
    pub name: String,
    /// Its keys, in the order of the layers and of the text.
    pub fields: Vec<CellField>,
    /// Where it is declared.
    pub location: Location,
}

/// Kind of a cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum CellKind {
    /// `[table.NAME]`.
    Table,
    /// `[plot.NAME]`.
    Plot,
}

impl CellKind {
    /// All kinds.
    pub const ALL: [Self; 2] = [Self::Table, Self::Plot];

    /// The name of the section it stands in.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Plot => "plot",
        }
    }
}

/// A key of a cell.
#[derive(Debug, Clone, PartialEq)]
pub struct CellField {
    /// Its name.
    pub key: String,
    /// Its value as written; spans inside it refer to the source of `location`.
    pub value: Node,
    /// Where the key stands.
    pub location: Location,
}

impl Cell {
    /// The value of a key.
    pub fn get(&self, key: &str) -> Option<&CellField> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// Section and name, as the file has them: `table.summary`.
    pub fn path(&self) -> String {
        format!("{}.{}", self.kind.as_str(), self.name)
    }

    /// Where a key stands; the cell itself, if it does not have the key.
    pub fn place(&self, key: &str) -> &Location {
        self.get(key)
            .map_or(&self.location, |field| &field.location)
    }

    /// Everything it says, as JSON without types.
    pub fn to_json(&self) -> Value {
        let fields: Map<String, Value> = self
            .fields
            .iter()
            .map(|field| (field.key.clone(), field.value.to_json()))
            .collect();
        Value::Object(fields)
    }
}
