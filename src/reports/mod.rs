//! From records to what people read: tables, plots, the notebook page. Knows
//! nothing of how runs were made.

pub mod condition;
pub mod experiment;
pub mod format;
pub mod page;
pub mod plot;
pub mod record;
pub mod table;
