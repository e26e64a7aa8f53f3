//! From records to what people read: tables, plots, the notebook page. Knows
//! nothing of how runs were made.

pub mod condition;
pub mod experiment;
pub mod format;
pub mod number_text;
pub mod page;
pub mod plot;
pub mod predictions;
pub mod printed;
pub mod python_text;
pub mod record;
pub mod row_sort;
pub mod specificity;
pub mod statistics;
pub mod table;
pub mod time_filter;
