//! Plots: what a `[plot.NAME]` cell says, its records as layers of a figure,
//! and the figure as SVG, PNG and PDF.
//!
//! Colours are those of Okabe and Ito, which colour-blind readers can tell
//! apart. In pages the style sheet ([`STYLE`]) replaces them, so that plots are
//! readable in light and dark.

mod data;
mod draw;
mod export;
mod figure;
mod gallery;
mod make;
mod spec;

pub use data::figure;
pub use draw::{STYLE, svg};
pub use export::{pdf, png, print_svg};
pub use figure::{Bar, Figure, Layer, PlotError, Scale, Square, Thumbnail, Tile};
pub use make::{MakeError, make};
pub use spec::{Band, PlotKind, PlotSpec};
