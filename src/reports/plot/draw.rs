//! Drawing a figure as SVG.

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::figure::{Figure, Layer, PlotError, Scale};
use super::gallery;

const INK: RGBColor = RGBColor(1, 2, 3);
const GRID: RGBColor = RGBColor(2, 3, 4);
/// The same as texts.
pub(super) const INK_HEX: &str = "#010203";
pub(super) const GRID_HEX: &str = "#020304";
/// Okabe–Ito colours; what the style sheet replaces, like the two above.
const SERIES: [RGBColor; 7] = [
    RGBColor(0, 114, 178),
    RGBColor(213, 94, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(230, 159, 0),
    RGBColor(86, 180, 233),
    RGBColor(127, 127, 127),
];

/// CSS that maps the colours to the page's variables.
pub const STYLE: &str = "\
svg.plot [fill=\"#010203\"]{fill:var(--ink)}\
svg.plot [stroke=\"#010203\"]{stroke:var(--ink)}\
svg.plot [stroke=\"#020304\"]{stroke:var(--line)}\
svg.plot [stroke=\"#0072B2\"]{stroke:var(--series-1)}svg.plot [fill=\"#0072B2\"]{fill:var(--series-1)}\
svg.plot [stroke=\"#D55E00\"]{stroke:var(--series-2)}svg.plot [fill=\"#D55E00\"]{fill:var(--series-2)}\
svg.plot [stroke=\"#009E73\"]{stroke:var(--series-3)}svg.plot [fill=\"#009E73\"]{fill:var(--series-3)}\
svg.plot [stroke=\"#CC79A7\"]{stroke:var(--series-4)}svg.plot [fill=\"#CC79A7\"]{fill:var(--series-4)}\
svg.plot [fill=\"#18794E\"]{fill:var(--good)}svg.plot [fill=\"#8E4EC6\"]{fill:var(--guide)}\
svg.plot [fill=\"#9A6700\"]{fill:var(--vocab)}svg.plot [fill=\"#CD2B31\"]{fill:var(--bad)}\
svg.plot{max-width:100%;height:auto}\
svg.plot text{font-family:inherit}";

/// Texts below the axis that are longer than this stand upright.
const LEVEL: usize = 9;

/// The figure as an SVG element.
pub fn svg(figure: &Figure) -> Result<String, PlotError> {
    let text = if gallery::is_gallery(figure) {
        gallery::draw(figure)
    } else {
        let mut text = String::new();
        draw(figure, &mut text).map_err(|reason| PlotError {
            plot: figure.title.clone(),
            reason,
        })?;
        text
    };
    let label = escaped(&figure.title);
    let start = format!("<svg class=\"plot\" role=\"img\" aria-label=\"{label}\" ");
    Ok(text.replacen("<svg ", &start, 1))
}

/// A text as content or attribute of an element.
pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '"' => out.push_str("&quot;"),
            other if other.is_control() => out.push(' '),
            other => out.push(other),
        }
    }
    out
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

fn draw(figure: &Figure, svg: &mut String) -> Result<(), String> {
    let area = SVGBackend::with_string(svg, figure.size).into_drawing_area();
    let (x, y) = (Axis::of(&figure.x), Axis::of(&figure.y));
    let longest = |axis: &Axis| axis.names.iter().map(|name| name.chars().count()).max();
    let below = match longest(&x) {
        Some(length) if length > LEVEL => 30 + 6 * length.min(24) as u32,
        _ => 36,
    };
    let beside = match longest(&y) {
        Some(length) => 30 + 7 * length.min(24) as u32,
        None => 56,
    };
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let mut chart = ChartBuilder::on(&area)
        .caption(&figure.title, ("sans-serif", 16).into_font().color(&INK))
        .margin(8)
        .margin_right(16)
        .x_label_area_size(below)
        .y_label_area_size(beside)
        .build_cartesian_2d(x.low..x.high, y.low..y.high)
        .map_err(|error| failed(&error))?;
    let label = ("sans-serif", 12).into_font().color(&INK);
    let ticks = |axis: &Axis| if axis.names.is_empty() { 7 } else { 0 };
    let x_format = |value: &f64| x.tick(*value);
    let y_format = |value: &f64| y.tick(*value);
    let mut mesh = chart.configure_mesh();
    mesh.light_line_style(TRANSPARENT)
        .bold_line_style(GRID)
        .axis_style(GRID)
        .x_desc(&figure.x_label)
        .y_desc(&figure.y_label)
        .label_style(label.clone())
        .axis_desc_style(label.clone())
        .x_label_formatter(&x_format)
        .y_label_formatter(&y_format)
        .x_labels(ticks(&x))
        .y_labels(ticks(&y));
    if !x.names.is_empty() {
        mesh.disable_x_mesh();
    }
    if !y.names.is_empty() {
        mesh.disable_y_mesh();
    }
    mesh.draw().map_err(|error| failed(&error))?;
    name_ticks(&area, &chart, &x, &y, below)?;
    let mut colors = SERIES.iter().cycle();
    let mut named = 0;
    for layer in &figure.layers {
        named += draw_layer(layer, &mut chart, &x, &y, &mut colors, &area)?;
    }
    if named > 1 {
        chart
            .configure_series_labels()
            .position(SeriesLabelPosition::UpperRight)
            .label_font(label)
            .draw()
            .map_err(|error| failed(&error))?;
    }
    area.present().map_err(|error| failed(&error))
}

/// A scale in the units that are drawn.
struct Axis {
    low: f64,
    high: f64,
    log: bool,
    names: Vec<String>,
}

impl Axis {
    fn of(scale: &Scale) -> Self {
        match scale {
            Scale::Linear(low, high) => Self {
                low: *low,
                high: *high,
                log: false,
                names: Vec::new(),
            },
            Scale::Log(low, high) => Self {
                low: low.log10(),
                high: high.log10(),
                log: true,
                names: Vec::new(),
            },
            Scale::Names(names) => Self {
                low: 0.0,
                high: names.len().max(1) as f64,
                log: false,
                names: names.clone(),
            },
        }
    }

    fn at(&self, value: f64) -> f64 {
        if self.log { value.log10() } else { value }
    }

    fn tick(&self, value: f64) -> String {
        number(if self.log { 10f64.powf(value) } else { value })
    }
}

/// A number at an axis: no more digits than needed, thousands as k and M.
fn number(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e7 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    format!("{}{unit}", crate::evaluate::significant(scaled, 4))
}

type Chart<'a, 'b> = ChartContext<
    'a,
    SVGBackend<'b>,
    Cartesian2d<plotters::coord::types::RangedCoordf64, plotters::coord::types::RangedCoordf64>,
>;

/// Names at the middle of their unit.
fn name_ticks(
    area: &Area<'_>,
    chart: &Chart<'_, '_>,
    x: &Axis,
    y: &Axis,
    below: u32,
) -> Result<(), String> {
    let style = |pos: Pos| ("sans-serif", 12).into_font().color(&INK).pos(pos);
    let shortened = |name: &String| -> String {
        if name.chars().count() > 24 {
            name.chars().take(23).chain(['…']).collect()
        } else {
            name.clone()
        }
    };
    let upright = x.names.iter().any(|name| name.chars().count() > LEVEL);
    for (at, name) in x.names.iter().enumerate() {
        let (left, bottom) = chart.backend_coord(&(at as f64 + 0.5, y.low));
        let text = shortened(name);
        let (place, style) = if upright {
            let style = style(Pos::new(HPos::Right, VPos::Center));
            let font = ("sans-serif", 12)
                .into_font()
                .transform(FontTransform::Rotate270);
            let style = TextStyle {
                font,
                ..style.clone()
            };
            ((left, bottom + 8), style)
        } else {
            ((left, bottom + 6), style(Pos::new(HPos::Center, VPos::Top)))
        };
        let _ = below;
        area.draw(&Text::new(text, place, style))
            .map_err(|error| error.to_string())?;
    }
    for (at, name) in y.names.iter().enumerate() {
        let (left, middle) = chart.backend_coord(&(x.low, at as f64 + 0.5));
        let style = style(Pos::new(HPos::Right, VPos::Center));
        area.draw(&Text::new(shortened(name), (left - 6, middle), style))
            .map_err(|error| error.to_string())?;
    }
    Ok(())
}

/// Draws a layer; how many names it adds to the legend.
fn draw_layer<'c>(
    layer: &Layer,
    chart: &mut Chart<'_, '_>,
    x: &Axis,
    y: &Axis,
    colors: &mut impl Iterator<Item = &'c RGBColor>,
    area: &Area<'_>,
) -> Result<usize, String> {
    let failed = |error: &dyn std::fmt::Display| error.to_string();
    let scaled = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
        let points = points.iter().filter(|(_, y)| y.is_finite());
        points.map(|point| (x.at(point.0), y.at(point.1))).collect()
    };
    match layer {
        Layer::Line {
            name,
            points,
            band,
            filled,
        } => {
            let color = *colors.next().unwrap_or(&INK);
            let points = scaled(points);
            let mut outline = scaled(&band.iter().map(|p| (p.0, p.1)).collect::<Vec<_>>());
            let upper = scaled(&band.iter().map(|p| (p.0, p.2)).collect::<Vec<_>>());
            outline.extend(upper.into_iter().rev());
            if *filled && let (Some(first), Some(last)) = (points.first(), points.last()) {
                outline = points.clone();
                outline.extend([(last.0, y.low), (first.0, y.low)]);
            }
            if outline.len() > 2 {
                chart
                    .draw_series(std::iter::once(Polygon::new(outline, color.mix(0.2))))
                    .map_err(|error| failed(&error))?;
            }
            let drawn = chart
                .draw_series(LineSeries::new(points, color.stroke_width(2)))
                .map_err(|error| failed(&error))?;
            if !name.is_empty() {
                drawn.label(name).legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 16, y)], color.stroke_width(3))
                });
            }
            Ok(usize::from(!name.is_empty()))
        }
        Layer::Bars { name, bars } => {
            let color = *colors.next().unwrap_or(&INK);
            let rectangles = bars.iter().map(|bar| {
                let corners = [(bar.span.0, y.low.max(0.0)), (bar.span.1, y.at(bar.height))];
                Rectangle::new(corners, color.filled())
            });
            let drawn = chart
                .draw_series(rectangles)
                .map_err(|error| failed(&error))?;
            if !name.is_empty() {
                drawn.label(name).legend(move |(x, y)| {
                    Rectangle::new([(x, y - 5), (x + 14, y + 5)], color.filled())
                });
            }
            for bar in bars {
                let Some((low, high)) = bar.interval else {
                    continue;
                };
                let middle = f64::midpoint(bar.span.0, bar.span.1);
                let half = (bar.span.1 - bar.span.0) / 6.0;
                let (low, high) = (y.at(low), y.at(high));
                for line in [
                    [(middle, low), (middle, high)],
                    [(middle - half, low), (middle + half, low)],
                    [(middle - half, high), (middle + half, high)],
                ] {
                    chart
                        .draw_series(std::iter::once(PathElement::new(line, INK.stroke_width(1))))
                        .map_err(|error| failed(&error))?;
                }
            }
            Ok(usize::from(!name.is_empty()))
        }
        Layer::Dots { name, points } => {
            let color = *colors.next().unwrap_or(&INK);
            let dots = scaled(points)
                .into_iter()
                .map(|point| Circle::new(point, 3, color.mix(0.8).filled()));
            let drawn = chart.draw_series(dots).map_err(|error| failed(&error))?;
            if !name.is_empty() {
                drawn
                    .label(name)
                    .legend(move |(x, y)| Circle::new((x + 8, y), 4, color.filled()));
            }
            Ok(usize::from(!name.is_empty()))
        }
        Layer::Squares(squares) => {
            for square in squares {
                let (left, bottom) = (square.place.0 as f64, square.place.1 as f64);
                let corners = [(left, bottom), (left + 1.0, bottom + 1.0)];
                let fill = shade(square.share);
                chart
                    .draw_series(std::iter::once(Rectangle::new(corners, fill.filled())))
                    .map_err(|error| failed(&error))?;
                let middle = chart.backend_coord(&(left + 0.5, bottom + 0.5));
                let ink = if square.share > 0.55 { WHITE } else { BLACK };
                let style = ("sans-serif", 11)
                    .into_font()
                    .color(&ink)
                    .pos(Pos::new(HPos::Center, VPos::Center));
                area.draw(&Text::new(square.text.clone(), middle, style))
                    .map_err(|error| failed(&error))?;
            }
            Ok(0)
        }
        Layer::Upright(at) => {
            let at = x.at(*at);
            let step = (y.high - y.low) / 40.0;
            let dashes = (0..20).map(|dash| {
                let low = y.low + step * 2.0 * f64::from(dash);
                PathElement::new([(at, low), (at, low + step)], INK.stroke_width(1))
            });
            chart.draw_series(dashes).map_err(|error| failed(&error))?;
            Ok(0)
        }
        Layer::Pictures { .. } => Ok(0),
        Layer::Trend(ends) => {
            let ends = scaled(ends);
            chart
                .draw_series(LineSeries::new(ends, INK.stroke_width(1)))
                .map_err(|error| failed(&error))?;
            Ok(0)
        }
    }
}

/// From light to dark blue: a scale of one hue, which nobody confuses.
fn shade(share: f64) -> RGBColor {
    let (light, dark) = ([239.0, 245.0, 251.0], [8.0, 48.0, 107.0]);
    let share = share.clamp(0.0, 1.0);
    let mixed = |at: usize| -> u8 {
        let value: f64 = light[at] + (dark[at] - light[at]) * share;
        value.round() as u8
    };
    RGBColor(mixed(0), mixed(1), mixed(2))
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Bar, Square};
    use super::*;

    fn figure(layers: Vec<Layer>, x: Scale, y: Scale) -> Figure {
        Figure {
            title: "A \"plot\" & more".to_owned(),
            caption: None,
            x_label: "x".to_owned(),
            y_label: "y".to_owned(),
            x,
            y,
            size: (480, 300),
            layers,
            runs: Vec::new(),
            note: None,
        }
    }

    #[test]
    fn every_layer_is_drawn_with_replaceable_colours() {
        let line = |name: &str| Layer::Line {
            name: name.to_owned(),
            points: vec![(1.0, 3.0), (10.0, f64::NAN), (100.0, 1.0)],
            band: vec![(1.0, 2.0, 4.0), (100.0, 0.5, 1.5)],
            filled: false,
        };
        let curves = figure(
            vec![line("one"), line("two"), Layer::Upright(20.0)],
            Scale::Log(1.0, 100.0),
            Scale::Linear(0.0, 5.0),
        );
        let text = svg(&curves).unwrap();
        assert!(text.starts_with(
            "<svg class=\"plot\" role=\"img\" aria-label=\"A &quot;plot&quot; &amp; more\""
        ));
        for part in ["#010203", "#020304", "#0072B2", "#D55E00", "one", "two"] {
            assert!(text.contains(part), "{part} is missing");
        }
        assert!(!text.contains("NaN"));
        let names = |names: [&str; 2]| Scale::Names(names.map(str::to_owned).to_vec());
        let bar = Bar {
            span: (0.1, 0.9),
            height: 3.0,
            interval: Some((2.0, 4.0)),
        };
        let bars = Layer::Bars {
            name: String::new(),
            bars: vec![bar],
        };
        let text = svg(&figure(
            vec![bars],
            names(["a", "a rather long name"]),
            Scale::Linear(0.0, 5.0),
        ))
        .unwrap();
        assert!(text.contains("a rather long name") && text.contains("rotate"));
        let square = Square {
            place: (1, 0),
            share: 1.0,
            text: "7".to_owned(),
        };
        let text = svg(&figure(
            vec![Layer::Squares(vec![square])],
            names(["a", "b"]),
            names(["c", "d"]),
        ))
        .unwrap();
        assert!(text.contains("#08306B"));
    }

    #[test]
    fn numbers_at_axes_are_short() {
        let texts = [0.0, 0.25, 1500.0, 20_000.0, 12_500_000.0].map(number);
        assert_eq!(texts, ["0", "0.25", "1500", "20k", "12.5M"]);
    }
}
