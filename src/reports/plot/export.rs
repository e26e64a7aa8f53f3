//! Figures as PNG and PDF, without a browser: the drawing with print colours,
//! in the font that comes with the program.

use std::sync::{Arc, OnceLock};

use resvg::tiny_skia::{Color, FilterQuality, IntSize, Pixmap, PixmapPaint, Transform};
use resvg::usvg::{Options, Tree, fontdb};

use super::draw::svg;
use super::figure::{Figure, PlotError};
use super::gallery;

static FONT: &[u8] = include_bytes!("../../../extras/font/DejaVuSans-subset.ttf");

/// Pixels per unit of a figure, for print: 288 per inch.
const SCALE: f32 = 3.0;

/// The figure as PNG of three times its size.
pub fn png(figure: &Figure) -> Result<Vec<u8>, PlotError> {
    let failed = |reason: &str| PlotError {
        plot: figure.title.clone(),
        reason: reason.to_owned(),
    };
    let tree = tree(figure)?;
    let size = tree.size();
    let side = |length: f32| (length * SCALE).ceil() as u32;
    let mut pixels = Pixmap::new(side(size.width()), side(size.height()))
        .ok_or_else(|| failed("it has no size"))?;
    pixels.fill(Color::WHITE);
    let scale = Transform::from_scale(SCALE, SCALE);
    resvg::render(&tree, scale, &mut pixels.as_mut());
    if gallery::is_gallery(figure) {
        for place in gallery::places(figure) {
            paste(&mut pixels, &place);
        }
    }
    // On white, every pixel is opaque.
    let image = image::RgbaImage::from_raw(pixels.width(), pixels.height(), pixels.data().to_vec())
        .ok_or_else(|| failed("its pixels are incomplete"))?;
    let mut bytes = std::io::Cursor::new(Vec::new());
    image::DynamicImage::ImageRgba8(image)
        .into_rgb8()
        .write_to(&mut bytes, image::ImageFormat::Png)
        .map_err(|error| failed(&error.to_string()))?;
    Ok(bytes.into_inner())
}

/// Puts a picture of a gallery into its place.
fn paste(pixels: &mut Pixmap, place: &gallery::Place<'_>) {
    let Some(picture) = &place.tile.picture else {
        return;
    };
    let decoded = image::load_from_memory_with_format(&picture.png, image::ImageFormat::Png);
    let Ok(decoded) = decoded.map(image::DynamicImage::into_rgba8) else {
        return;
    };
    let Some(size) = IntSize::from_wh(decoded.width(), decoded.height()) else {
        return;
    };
    // Opaque pictures are the same with alpha multiplied.
    let Some(own) = Pixmap::from_vec(decoded.into_raw(), size) else {
        return;
    };
    let (left, top, scale) = gallery::fitted(place, picture);
    let at = Transform::from_translate(left as f32 * SCALE, top as f32 * SCALE);
    let scale = scale as f32 * SCALE;
    let paint = PixmapPaint {
        quality: FilterQuality::Bilinear,
        ..PixmapPaint::default()
    };
    let at = at.pre_scale(scale, scale);
    let mut target = pixels.as_mut();
    target.draw_pixmap(0, 0, own.as_ref(), &paint, at, None);
}

/// The figure as PDF, with text as text.
pub fn pdf(figure: &Figure) -> Result<Vec<u8>, PlotError> {
    let tree = tree(figure)?;
    let page = svg2pdf::PageOptions { dpi: 96.0 };
    svg2pdf::to_pdf(&tree, svg2pdf::ConversionOptions::default(), page).map_err(|error| PlotError {
        plot: figure.title.clone(),
        reason: format!("{error:?}"),
    })
}

/// The figure as an SVG file with print colours.
pub fn print_svg(figure: &Figure) -> Result<String, PlotError> {
    let text = svg(figure)?;
    let text = text
        .replace("#010203", "#1C1E21")
        .replace("#020304", "#D0D4DA");
    Ok(format!("{}\n", text.trim_end()))
}

fn tree(figure: &Figure) -> Result<Tree, PlotError> {
    static FONTS: OnceLock<Arc<fontdb::Database>> = OnceLock::new();
    let fonts = FONTS.get_or_init(|| {
        let mut fonts = fontdb::Database::new();
        fonts.load_font_data(FONT.to_vec());
        fonts.set_sans_serif_family("DejaVu Sans");
        Arc::new(fonts)
    });
    let options = Options {
        fontdb: Arc::clone(fonts),
        font_family: "DejaVu Sans".to_owned(),
        ..Options::default()
    };
    let text = print_svg(figure)?;
    Tree::from_str(&text, &options).map_err(|error| PlotError {
        plot: figure.title.clone(),
        reason: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::figure::{Layer, Scale};
    use super::*;

    #[test]
    fn text_and_lines_reach_pixels_and_pages() {
        let figure = Figure {
            title: "Loss ± spread".to_owned(),
            caption: None,
            x_label: "samples".to_owned(),
            y_label: "loss".to_owned(),
            x: Scale::Linear(0.0, 1.0),
            y: Scale::Linear(0.0, 1.0),
            size: (300, 200),
            layers: vec![Layer::Line {
                name: String::new(),
                points: vec![(0.0, 0.0), (1.0, 1.0)],
                band: Vec::new(),
                filled: false,
            }],
            runs: Vec::new(),
            note: None,
        };
        let image = image::load_from_memory(&png(&figure).unwrap())
            .unwrap()
            .to_rgb8();
        assert_eq!(image.dimensions(), (900, 600));
        // The title is the only thing in the top 70 rows.
        let inked = |y: u32| (0..900).any(|x| image.get_pixel(x, y).0[0] < 100);
        assert!((0..70).any(inked), "the title has no pixels");
        assert!(pdf(&figure).unwrap().starts_with(b"%PDF-"));
        assert_eq!(pdf(&figure).unwrap(), pdf(&figure).unwrap());
    }
}
