//! Pictures as premultiplied RGBA squares.

use resvg::{tiny_skia, usvg};
use std::path::Path;

/// A square picture, premultiplied RGBA, row by row.
pub type Pixels = Vec<u8>;

/// Renders an SVG document into `side` × `side`, keeping its proportions.
pub fn svg(document: &str, side: u32) -> Option<Pixels> {
    let tree = usvg::Tree::from_str(document, &usvg::Options::default()).ok()?;
    let mut map = tiny_skia::Pixmap::new(side, side)?;
    let (w, h) = (tree.size().width(), tree.size().height());
    let scale = side as f32 / w.max(h);
    let (dx, dy) = (
        (side as f32 - w * scale) / 2.0,
        (side as f32 - h * scale) / 2.0,
    );
    let place = tiny_skia::Transform::from_scale(scale, scale).post_translate(dx, dy);
    resvg::render(&tree, place, &mut map.as_mut());
    map.data()
        .chunks(4)
        .any(|p| p[3] > 0)
        .then(|| map.data().to_vec())
}

/// Reads a PNG file and fits it into `side` × `side` by averaging areas.
pub fn png(path: &Path, side: usize) -> Option<Pixels> {
    let picture = image::open(path).ok()?.to_rgba8();
    let (w, h) = (picture.width() as usize, picture.height() as usize);
    if w < 16 || h < 16 || w > 8 * h || h > 8 * w {
        return None;
    }
    let scale = w.max(h) as f32 / side as f32;
    let (left, top) = (
        (side as f32 - w as f32 / scale) / 2.0,
        (side as f32 - h as f32 / scale) / 2.0,
    );
    let mut out = vec![0u8; side * side * 4];
    for y in 0..side {
        for x in 0..side {
            let x0 = ((x as f32 - left) * scale).floor();
            let y0 = ((y as f32 - top) * scale).floor();
            let (x1, y1) = ((x0 + scale).ceil(), (y0 + scale).ceil());
            let mut sum = [0f32; 4];
            let mut area = 0.0;
            for sy in y0 as i64..(y1 as i64).max(y0 as i64 + 1) {
                for sx in x0 as i64..(x1 as i64).max(x0 as i64 + 1) {
                    area += 1.0;
                    if sx >= 0 && sy >= 0 && (sx as usize) < w && (sy as usize) < h {
                        let p = picture.get_pixel(sx as u32, sy as u32).0;
                        let alpha = f32::from(p[3]) / 255.0;
                        for c in 0..3 {
                            sum[c] += f32::from(p[c]) * alpha;
                        }
                        sum[3] += f32::from(p[3]);
                    }
                }
            }
            for c in 0..4 {
                out[(y * side + x) * 4 + c] = (sum[c] / area + 0.5) as u8;
            }
        }
    }
    Some(out)
}

/// Composes a premultiplied picture onto white: RGB, row by row.
pub fn on_white(pixels: &[u8]) -> Vec<u8> {
    pixels
        .chunks(4)
        .flat_map(|p| [0, 1, 2].map(|c| p[c].saturating_add(255 - p[3])))
        .collect()
}

/// Shrinks an RGB square from `side` to `target` pixels by averaging areas.
pub fn shrink(rgb: &[u8], side: usize, target: usize) -> Vec<u8> {
    let scale = side as f32 / target as f32;
    let covered = |i: usize| {
        let (from, to) = (i as f32 * scale, (i + 1) as f32 * scale);
        let first = from as usize;
        let last = (to.ceil() as usize).min(side);
        (first..last).map(move |s| (s, (to.min(s as f32 + 1.0) - from.max(s as f32)) / scale))
    };
    let mut out = Vec::with_capacity(target * target * 3);
    for y in 0..target {
        for x in 0..target {
            let mut sum = [0f32; 3];
            for (sy, wy) in covered(y) {
                for (sx, wx) in covered(x) {
                    for (c, sum) in sum.iter_mut().enumerate() {
                        *sum += f32::from(rgb[(sy * side + sx) * 3 + c]) * wy * wx;
                    }
                }
            }
            out.extend(sum.map(|s| (s + 0.5) as u8));
        }
    }
    out
}

/// Encodes an RGB square with a palette of up to 256 colours.
pub fn indexed_png(rgb: &[u8], side: u32) -> Option<Vec<u8>> {
    let rgba: Vec<u8> = rgb
        .chunks_exact(3)
        .flat_map(|p| [p[0], p[1], p[2], 255])
        .collect();
    let mut exact: Vec<[u8; 3]> = rgb.chunks_exact(3).map(|p| [p[0], p[1], p[2]]).collect();
    exact.sort_unstable();
    exact.dedup();
    let (palette, indices): (Vec<u8>, Vec<u8>) = if exact.len() <= 256 {
        let find = |p: &[u8]| {
            exact
                .binary_search(&[p[0], p[1], p[2]])
                .ok()
                .map(|i| i as u8)
        };
        (
            exact.concat(),
            rgb.chunks_exact(3).filter_map(find).collect(),
        )
    } else {
        let chosen = color_quant::NeuQuant::new(1, 256, &rgba);
        (
            chosen.color_map_rgb(),
            rgba.chunks_exact(4)
                .map(|p| chosen.index_of(p) as u8)
                .collect(),
        )
    };
    let mut out = Vec::new();
    let mut encoder = png::Encoder::new(&mut out, side, side);
    encoder.set_color(png::ColorType::Indexed);
    encoder.set_depth(png::BitDepth::Eight);
    encoder.set_palette(palette);
    encoder.set_compression(png::Compression::High);
    encoder.set_filter(png::Filter::NoFilter);
    let mut writer = encoder.write_header().ok()?;
    writer.write_image_data(&indices).ok()?;
    writer.finish().ok()?;
    Some(out)
}

/// Decodes a PNG file in memory to RGB; returns the pixels and the side.
pub fn decode(bytes: &[u8]) -> Option<(Vec<u8>, usize)> {
    let picture = image::load_from_memory(bytes).ok()?.to_rgb8();
    let side = picture.width() as usize;
    Some((picture.into_raw(), side))
}
