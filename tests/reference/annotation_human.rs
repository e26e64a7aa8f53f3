//! Image sets and people's annotations (area `annotation`).

mod human;
mod sample;
mod wiki;

/// Folder of the reference data.
const AREA: &str = "annotation";
