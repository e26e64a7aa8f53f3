//! Declarative tables over records: specification, evaluation, renderings
//! (`reports.md` 10 to 12).

mod evaluate;
mod render;
mod spec;

pub use evaluate::{Cell, EvaluatedTable, Row};
pub use render::{Style, csv, html, json, markdown, text};
pub use spec::{Aggregate, ColumnSpec, RowsSpec, TableError, TableSpec};
