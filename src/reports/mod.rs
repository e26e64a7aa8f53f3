//! From records to what people read: tables, plots, the notebook page. Knows
//! nothing of how runs were made.
//!
//! A table is read from its keys ([`spec`]), of a report file ([`document`]) or
//! of a cell in an experiment file ([`experiment`]); its records come from the
//! store, from prediction files or from lists ([`sources`]); [`evaluate`] makes
//! cells of them, and [`render`] texts.

mod angles;
pub mod condition;
pub mod document;
pub mod evaluate;
pub mod experiment;
pub mod expression;
pub mod field;
pub mod format;
pub mod frame;
pub mod local;
pub mod number_text;
mod origins;
pub mod page;
pub mod plot;
mod prediction_source;
pub mod predictions;
pub mod printed;
pub mod python_text;
pub mod query;
pub mod reads;
pub mod record;
pub mod remote;
pub mod render;
pub mod row_sort;
pub mod run_tables;
pub mod schema;
pub mod sources;
pub mod spec;
pub mod specificity;
pub mod statistics;
pub mod time_filter;
pub mod wanted;
