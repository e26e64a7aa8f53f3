//! What tables say (`reports.md` 10): keys of report files and of cells in
//! experiment files, read with their places so that mistakes are shown where
//! they stand.

mod columns;
pub mod reading;
mod rows;
mod source;
mod substitution;
mod table;

pub use columns::{
    Aggregate, Color, ColumnSpec, Direction, Footnote, Join, Measure, Part, SourceChoice,
};
pub use rows::{AutomaticRows, GroupSpec, Order, RowSpec, RowsSpec};
pub(super) use rows::{
    condition as read_condition, field as read_field, fields as read_fields, format as read_format,
};
pub use source::{PredictionOptions, SourceKind, SourceSpec};
pub use substitution::{Parameters, with_parameters, with_placeholders};
pub(super) use table::read_cell;
pub use table::{
    AutomaticColumns, Duplicates, Margin, MarkAxis, MarkScope, MarkSpec, PartialPolicy, Published,
    Replicates, SortKey, TableSpec,
};
