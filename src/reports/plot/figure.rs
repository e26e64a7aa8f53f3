//! A figure before it is drawn: scales and layers.

use thiserror::Error;

use crate::reports::page::Guess;

/// A plot that cannot be made.
#[derive(Debug, Error)]
#[error("plot `{plot}`: {reason}")]
pub struct PlotError {
    /// Its name or title.
    pub plot: String,
    /// Why.
    pub reason: String,
}

/// What an axis measures.
#[derive(Clone, Debug, PartialEq)]
pub enum Scale {
    /// Numbers from … to …
    Linear(f64, f64),
    /// Positive numbers, drawn by their logarithm.
    Log(f64, f64),
    /// Names, each one unit wide.
    Names(Vec<String>),
}

/// A bar with its interval.
#[derive(Clone, Debug, PartialEq)]
pub struct Bar {
    /// Left and right end.
    pub span: (f64, f64),
    /// Height.
    pub height: f64,
    /// Interval around the height.
    pub interval: Option<(f64, f64)>,
}

/// A square of a heat map.
#[derive(Clone, Debug, PartialEq)]
pub struct Square {
    /// Column and row, from 0.
    pub place: (usize, usize),
    /// Its value between the smallest (0) and the largest (1).
    pub share: f64,
    /// Text in it.
    pub text: String,
}

/// What is drawn.
#[derive(Clone, Debug, PartialEq)]
pub enum Layer {
    /// A line, with a band around it where there is one.
    Line {
        /// Name in the legend.
        name: String,
        /// Points in order of x.
        points: Vec<(f64, f64)>,
        /// Lower and upper end at each x.
        band: Vec<(f64, f64, f64)>,
        /// Whether the area below is filled.
        filled: bool,
    },
    /// Bars.
    Bars {
        /// Name in the legend.
        name: String,
        /// The bars.
        bars: Vec<Bar>,
    },
    /// Dots.
    Dots {
        /// Name in the legend.
        name: String,
        /// Places.
        points: Vec<(f64, f64)>,
    },
    /// Squares of a heat map.
    Squares(Vec<Square>),
    /// A dashed upright line.
    Upright(f64),
    /// A straight line without a name, such as a trend.
    Trend([(f64, f64); 2]),
    /// Pictures with what was written under them; a figure that has some has
    /// no axes.
    Pictures {
        /// Heading of these.
        title: Option<String>,
        /// The pictures.
        tiles: Vec<Tile>,
    },
}

/// A picture small enough for a gallery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Thumbnail {
    /// The PNG file.
    pub png: Vec<u8>,
    /// Its width in pixels.
    pub width: u32,
    /// Its height in pixels.
    pub height: u32,
}

/// A picture of a gallery with its labels.
#[derive(Clone, Debug, PartialEq)]
pub struct Tile {
    /// Name of the picture, shown if it cannot be read.
    pub name: String,
    /// The picture.
    pub picture: Option<Thumbnail>,
    /// What it shows, if that is known.
    pub label: Option<String>,
    /// What models wrote, best first; a probability that is not known is NaN.
    pub guesses: Vec<Guess>,
}

/// A figure.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    /// Printed above.
    pub title: String,
    /// Printed below in pages.
    pub caption: Option<String>,
    /// Label of the x axis.
    pub x_label: String,
    /// Label of the y axis.
    pub y_label: String,
    /// The x axis.
    pub x: Scale,
    /// The y axis.
    pub y: Scale,
    /// Width and height in units of 1/96 inch.
    pub size: (u32, u32),
    /// What is drawn, from back to front.
    pub layers: Vec<Layer>,
    /// Runs of the records.
    pub runs: Vec<String>,
    /// What else is to be said, such as the numbers of a trend.
    pub note: Option<String>,
}

impl Figure {
    /// Whether there is nothing to show.
    pub fn is_empty(&self) -> bool {
        self.layers.iter().all(|layer| match layer {
            Layer::Line { points, .. } | Layer::Dots { points, .. } => points.is_empty(),
            Layer::Bars { bars, .. } => bars.is_empty(),
            Layer::Squares(squares) => squares.is_empty(),
            Layer::Pictures { tiles, .. } => tiles.is_empty(),
            Layer::Upright(_) | Layer::Trend(_) => true,
        })
    }
}

/// Smallest and largest finite value, widened if they are equal.
pub(super) fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
    let (low, high) = values
        .filter(|value| value.is_finite())
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), value| {
            (low.min(value), high.max(value))
        });
    if low > high {
        (0.0, 1.0)
    } else if low == high {
        (low - 0.5, high + 0.5)
    } else {
        (low, high)
    }
}
