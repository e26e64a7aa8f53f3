//! From what a table says and records to cells (`reports.md` 11).

mod automatic;
mod cell;
mod changed;
mod margins;
mod marks;
mod published;
mod summary;
mod table;

pub use cell::{Cell, Mark, PartValue};
pub use summary::{Statistics, exact_sum, student_95};
pub use table::{
    Column, EvaluateError, EvaluatedTable, Group, Note, Row, Sources, evaluate, published_numbers,
};
