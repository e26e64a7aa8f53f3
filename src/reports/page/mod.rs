//! The notebook page of an experiment: one self-contained HTML file.

mod gallery;
mod notebook;
mod style;
mod watch;

pub use gallery::{Gallery, Guess, Picture};
pub use notebook::{Notebook, ShownPlot, ShownTable, StageLine, StageState, markdown};
pub use watch::{Make, watch};
