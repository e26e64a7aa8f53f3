//! From what a table says and records to cells (`reports.md` 11).

mod automatic;
mod cell;
mod changed;
mod compare;
mod margins;
mod marks;
mod published;
mod summary;
mod table;
#[cfg(test)]
mod tests;

pub(super) use automatic::{Combination, Combinations, key_of, label as combination_label};
pub use cell::{Cell, Mark, PartValue};
pub use summary::Statistics;
pub use table::{
    Column, EvaluateError, EvaluatedTable, Group, Note, Row, Sources, evaluate, published_numbers,
};
