//! Drawing pictures with what was written under them.

use std::fmt::Write as _;

use base64::Engine as _;

use super::draw::{GRID_HEX, INK_HEX, escaped};
use super::figure::{Figure, Layer, Thumbnail, Tile};
use crate::reports::page::Guess;

/// Space around and between pictures.
const GAP: f64 = 10.0;
/// Pictures are at least so wide.
const WIDTH: f64 = 132.0;
/// Height of a heading, and of a line below a picture.
const HEADING: f64 = 26.0;
const LINE: f64 = 17.0;
/// Width of a letter of the size that is used, on average.
const LETTER: f64 = 6.4;

/// Types of nouns: name, colour of print, what it means.
const KINDS: [(&str, &str, &str); 4] = [
    ("correct", "#18794E", "correct"),
    ("guide", "#8E4EC6", "noun of the guide"),
    ("vocab", "#9A6700", "noun of the vocabulary"),
    ("other", "#CD2B31", "anything else"),
];

/// Where a picture goes.
pub(super) struct Place<'a> {
    pub tile: &'a Tile,
    pub left: f64,
    pub top: f64,
    /// Side of the square that the picture fits in.
    pub side: f64,
}

/// Whether a figure is a gallery.
pub(super) fn is_gallery(figure: &Figure) -> bool {
    let mut layers = figure.layers.iter();
    layers.any(|layer| matches!(layer, Layer::Pictures { .. }))
}

/// Headings with their upper ends, pictures with their places, and the height
/// of it all.
fn layout(figure: &Figure) -> (Vec<(&str, f64)>, Vec<Place<'_>>, f64) {
    let width = f64::from(figure.size.0) - 2.0 * GAP;
    let columns = ((width + GAP) / (WIDTH + GAP)).floor().max(1.0);
    let side = (width + GAP) / columns - GAP;
    let (mut headings, mut places) = (Vec::new(), Vec::new());
    let mut top = HEADING + GAP;
    for layer in &figure.layers {
        let Layer::Pictures { title, tiles } = layer else {
            continue;
        };
        if let Some(title) = title {
            headings.push((title.as_str(), top));
            top += HEADING;
        }
        for row in tiles.chunks(columns as usize) {
            for (tile, column) in row.iter().zip(0u32..) {
                places.push(Place {
                    tile,
                    left: GAP + f64::from(column) * (side + GAP),
                    top,
                    side,
                });
            }
            let lines = row.iter().map(lines).max().unwrap_or(0);
            top += side + LINE * lines as f64 + 2.0 * GAP;
        }
    }
    (headings, places, top + LINE)
}

fn lines(tile: &Tile) -> usize {
    tile.guesses.len() + usize::from(tile.label.is_some())
}

/// The pictures of a gallery with their places.
pub(super) fn places(figure: &Figure) -> Vec<Place<'_>> {
    layout(figure).1
}

/// Height that a gallery needs at its width.
pub(super) fn height(figure: &Figure) -> u32 {
    layout(figure).2.ceil() as u32
}

/// The gallery as an SVG element.
pub(super) fn draw(figure: &Figure) -> String {
    let (headings, places, _) = layout(figure);
    let (width, height) = figure.size;
    let mut out = format!(
        "<svg width=\"{width}\" height=\"{height}\" viewBox=\"0 0 {width} {height}\" \
         xmlns=\"http://www.w3.org/2000/svg\">\n"
    );
    let middle = f64::from(width) / 2.0;
    text(
        &mut out,
        (middle, 22.0),
        16.0,
        "middle",
        INK_HEX,
        &figure.title,
    );
    for (heading, top) in headings {
        text(&mut out, (GAP, top + 18.0), 13.0, "start", INK_HEX, heading);
    }
    for place in &places {
        draw_tile(&mut out, place);
    }
    legend(&mut out, &places, f64::from(height) - 8.0);
    out.push_str("</svg>\n");
    out
}

fn draw_tile(out: &mut String, place: &Place<'_>) {
    let Place {
        tile,
        left,
        top,
        side,
    } = *place;
    let alt = tile.label.as_deref().unwrap_or(&tile.name);
    match &tile.picture {
        Some(picture) => {
            let _ = writeln!(
                out,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{side:.1}\" height=\"{side:.1}\" \
                 fill=\"#FFFFFF\" stroke=\"{GRID_HEX}\"/>\n<image x=\"{left:.1}\" y=\"{top:.1}\" \
                 width=\"{side:.1}\" height=\"{side:.1}\" \
                 href=\"data:image/png;base64,{}\"><title>{}</title></image>",
                base64::engine::general_purpose::STANDARD.encode(&picture.png),
                escaped(alt)
            );
        }
        None => {
            let _ = writeln!(
                out,
                "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{side:.1}\" height=\"{side:.1}\" \
                 fill=\"none\" stroke=\"{GRID_HEX}\"/>"
            );
            let at = (left + side / 2.0, top + side / 2.0);
            text(out, at, 11.0, "middle", INK_HEX, &cut(&tile.name, side));
        }
    }
    let mut line = top + side + LINE;
    if let Some(label) = &tile.label {
        text(out, (left, line), 12.0, "start", INK_HEX, &cut(label, side));
        line += LINE;
    }
    for guess in &tile.guesses {
        draw_guess(out, guess, (left, line), side);
        line += LINE;
    }
}

/// A bar as long as the probability, the sign of the type, noun and
/// probability.
fn draw_guess(out: &mut String, guess: &Guess, (left, base): (f64, f64), side: f64) {
    let color = color(&guess.kind);
    let known = guess.probability.is_finite();
    if known {
        let share = guess.probability.clamp(0.0, 1.0);
        let _ = writeln!(
            out,
            "<rect x=\"{left:.1}\" y=\"{:.1}\" width=\"{:.1}\" height=\"{:.1}\" \
             fill=\"{color}\" fill-opacity=\"0.16\"/>",
            base - 12.0,
            side * share,
            LINE - 2.0
        );
    }
    sign(out, &guess.kind, (left + 6.0, base - 4.0));
    let number = if known {
        format!("{:.1} %", guess.probability * 100.0)
    } else {
        String::new()
    };
    let room = side - 16.0 - LETTER * number.chars().count() as f64;
    let noun = cut(&guess.noun, room);
    text(out, (left + 14.0, base), 11.0, "start", color, &noun);
    text(out, (left + side, base), 11.0, "end", color, &number);
}

/// A sign for each type, so that it can be told without colours, too.
fn sign(out: &mut String, kind: &str, (x, y): (f64, f64)) {
    let color = color(kind);
    let _ = match type_of(kind) {
        "correct" => writeln!(
            out,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{color}\"/>"
        ),
        "guide" => writeln!(
            out,
            "<rect x=\"{:.1}\" y=\"{:.1}\" width=\"6.5\" height=\"6.5\" fill=\"{color}\"/>",
            x - 3.2,
            y - 3.2
        ),
        "vocab" => writeln!(
            out,
            "<path d=\"M{x:.1} {:.1}l4 7h-8z\" fill=\"{color}\"/>",
            y - 4.0
        ),
        _ => writeln!(
            out,
            "<path d=\"M{:.1} {:.1}l1.4 -1.4l2.6 2.6l2.6 -2.6l1.4 1.4l-2.6 2.6l2.6 2.6l-1.4 1.4\
             l-2.6 -2.6l-2.6 2.6l-1.4 -1.4l2.6 -2.6z\" fill=\"{color}\"/>",
            x - 4.0,
            y - 2.6
        ),
    };
}

/// What the signs mean, of the types that occur.
fn legend(out: &mut String, places: &[Place<'_>], base: f64) {
    let mut left = GAP;
    for (kind, color, meaning) in KINDS {
        let mut guesses = places.iter().flat_map(|place| &place.tile.guesses);
        if !guesses.any(|guess| type_of(&guess.kind) == kind) {
            continue;
        }
        sign(out, kind, (left + 4.0, base - 4.0));
        text(out, (left + 12.0, base), 11.0, "start", color, meaning);
        left += 28.0 + LETTER * meaning.chars().count() as f64;
    }
}

/// The type that a class of nouns or a category of annotations counts as.
fn type_of(kind: &str) -> &'static str {
    match kind {
        "correct" | "correct_primary" | "correct_secondary" => "correct",
        "guide" => "guide",
        "vocab" | "close_primary" | "close_secondary" => "vocab",
        _ => "other",
    }
}

fn color(kind: &str) -> &'static str {
    let own = type_of(kind);
    let found = KINDS.iter().find(|(name, ..)| *name == own);
    found.map_or(INK_HEX, |(_, color, _)| color)
}

fn text(out: &mut String, (x, y): (f64, f64), size: f64, anchor: &str, color: &str, text: &str) {
    if text.is_empty() {
        return;
    }
    let _ = writeln!(
        out,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" font-size=\"{size}\" font-family=\"sans-serif\" \
         text-anchor=\"{anchor}\" fill=\"{color}\">{}</text>",
        escaped(text)
    );
}

/// As much of a text as fits.
fn cut(text: &str, room: f64) -> String {
    let letters = (room / LETTER).max(1.0) as usize;
    if text.chars().count() <= letters {
        return text.to_owned();
    }
    let kept = text.chars().take(letters.saturating_sub(1));
    kept.chain(['…']).collect()
}

/// Where a picture lies in its square: left, top and its size there.
pub(super) fn fitted(place: &Place<'_>, picture: &Thumbnail) -> (f64, f64, f64) {
    let (width, height) = (f64::from(picture.width), f64::from(picture.height));
    let scale = place.side / width.max(height).max(1.0);
    let left = place.left + (place.side - width * scale) / 2.0;
    let top = place.top + (place.side - height * scale) / 2.0;
    (left, top, scale)
}
