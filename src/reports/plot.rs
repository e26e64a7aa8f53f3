//! Curves as SVG, readable in light and dark pages: colours are sentinels that
//! the page's style sheet replaces (see [`STYLE`]).

use plotters::prelude::*;
use thiserror::Error;

/// A plot could not be drawn.
#[derive(Debug, Error)]
#[error("failed to draw the plot `{title}`: {reason}")]
pub struct PlotError {
    title: String,
    reason: String,
}

/// One curve.
#[derive(Clone, Debug)]
pub struct Curve {
    /// Name in the legend.
    pub name: String,
    /// Points in order of x.
    pub points: Vec<(f64, f64)>,
}

/// A plot of one or several curves.
#[derive(Clone, Debug)]
pub struct CurvePlot {
    /// Printed above the plot.
    pub title: String,
    /// Label of the x axis.
    pub x: String,
    /// Label of the y axis.
    pub y: String,
    /// The curves.
    pub curves: Vec<Curve>,
}

const INK: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(2, 3, 4);
/// Okabe–Ito colours, distinguishable by colour-blind readers; sentinels for
/// the style sheet like the two above.
const SERIES: [RGBColor; 4] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
];

/// CSS that maps the sentinel colours to the page's variables.
pub const STYLE: &str = "\
svg.plot [fill=\"#010203\"]{fill:var(--ink)}\
svg.plot [stroke=\"#010203\"]{stroke:var(--ink)}\
svg.plot [stroke=\"#020304\"]{stroke:var(--line)}\
svg.plot [stroke=\"#0072B2\"]{stroke:var(--series-1)}\
svg.plot [stroke=\"#D55E00\"]{stroke:var(--series-2)}\
svg.plot{max-width:100%;height:auto}\
svg.plot text{font-family:inherit}";

impl CurvePlot {
    /// Draws the plot as an SVG element of 560 × 300 units.
    pub fn svg(&self) -> Result<String, PlotError> {
        let mut svg = String::new();
        self.draw(&mut svg).map_err(|reason| PlotError {
            title: self.title.clone(),
            reason,
        })?;
        let label = format!(
            "<svg class=\"plot\" role=\"img\" aria-label=\"{}\" ",
            self.title
        );
        Ok(svg.replacen("<svg ", &label, 1))
    }

    fn draw(&self, svg: &mut String) -> Result<(), String> {
        let text = |error: &dyn std::fmt::Display| error.to_string();
        let points = || self.curves.iter().flat_map(|curve| &curve.points);
        let (x_low, x_high) = range(points().map(|point| point.0));
        let (y_low, y_high) = range(points().map(|point| point.1));
        let pad = (y_high - y_low) * 0.05;
        let area = SVGBackend::with_string(svg, (560, 300)).into_drawing_area();
        let mut chart = ChartBuilder::on(&area)
            .caption(&self.title, ("sans-serif", 17).into_font().color(&INK))
            .margin(8)
            .x_label_area_size(36)
            .y_label_area_size(52)
            .build_cartesian_2d(x_low..x_high, y_low - pad..y_high + pad)
            .map_err(|error| text(&error))?;
        let label_style = ("sans-serif", 13).into_font().color(&INK);
        chart
            .configure_mesh()
            .light_line_style(TRANSPARENT)
            .bold_line_style(GRID)
            .axis_style(GRID)
            .x_desc(&self.x)
            .y_desc(&self.y)
            .label_style(label_style.clone())
            .axis_desc_style(label_style.clone())
            .x_labels(6)
            .y_labels(6)
            .draw()
            .map_err(|error| text(&error))?;
        for (curve, color) in self.curves.iter().zip(SERIES.iter().cycle()) {
            chart
                .draw_series(LineSeries::new(
                    curve.points.iter().copied(),
                    color.stroke_width(2),
                ))
                .map_err(|error| text(&error))?
                .label(&curve.name)
                .legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], color.stroke_width(2))
                });
        }
        if self.curves.len() > 1 {
            chart
                .configure_series_labels()
                .position(SeriesLabelPosition::UpperRight)
                .label_font(label_style)
                .draw()
                .map_err(|error| text(&error))?;
        }
        area.present().map_err(|error| text(&error))
    }
}

/// Smallest and largest finite value, widened if they are equal.
fn range(values: impl Iterator<Item = f64>) -> (f64, f64) {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_curves_with_replaceable_colours() {
        let plot = CurvePlot {
            title: "Training loss".to_owned(),
            x: "samples".to_owned(),
            y: "loss".to_owned(),
            curves: vec![Curve {
                name: "loss".to_owned(),
                points: vec![(0.0, 3.0), (1.0, f64::NAN), (2.0, 1.0)],
            }],
        };
        let svg = plot.svg().expect("drawn");
        assert!(svg.starts_with("<svg class=\"plot\""));
        for color in ["#010203", "#020304", "#0072B2"] {
            assert!(svg.contains(color), "{color} is missing");
        }
    }
}
