//! Random views of a picture: place, size, colour, light, background.

use super::image_tower::IMAGE_SIZE;
use rand::Rng;

/// Mean and deviation of the pixel normalisation, all channels.
pub const PIXEL_MEAN: f32 = 0.5;

/// A premultiplied RGBA square.
#[derive(Clone, Copy)]
pub struct Square<'a> {
    pub pixels: &'a [u8],
    pub side: usize,
}

/// Writes a random view of a picture as normalised pixels of the tower's size.
/// `mirror`: the subject looks the same from the other side; `strength`: how
/// far the view may depart from the picture, 0 to 1.
pub fn view(picture: Square<'_>, mirror: bool, strength: f32, rng: &mut impl Rng, out: &mut [f32]) {
    let side = IMAGE_SIZE;
    let chance = f64::from(strength);
    let angle = gauss(rng) * 0.16 * strength;
    let scale = 1.0 + (rng.random_range(0.82..1.25f32) - 1.0) * strength;
    let aspect = (gauss(rng) * 0.08 * strength).exp();
    let shear = gauss(rng) * 0.07 * strength;
    let flip = if mirror && rng.random_bool(0.5) {
        -1.0
    } else {
        1.0
    };
    let shift = 0.05 * strength;
    let (shift_x, shift_y) = (gauss(rng) * shift, gauss(rng) * shift);
    let (sin, cos) = angle.sin_cos();
    let (sx, sy) = (scale * aspect, scale / aspect);
    // From target to source, both in [-0.5, 0.5].
    let map = [
        flip * cos * sx,
        flip * (-sin + shear) * sx,
        sin * sy,
        cos * sy,
    ];
    let back = background(strength, rng);
    let colour = Colour::random(strength, rng);
    let erase = rng.random_bool(0.25 * chance).then(|| {
        let (w, h) = (rng.random_range(0.1..0.4f32), rng.random_range(0.1..0.4f32));
        let (x, y) = (
            rng.random_range(-0.5..0.5f32),
            rng.random_range(-0.5..0.5f32),
        );
        [x - w / 2.0, x + w / 2.0, y - h / 2.0, y + h / 2.0]
    });
    let soft = if rng.random_bool(0.3 * chance) {
        rng.random_range(0.3..0.9f32)
    } else {
        0.0
    };
    let width = picture.side as f32;
    for y in 0..side {
        for x in 0..side {
            let tx = (x as f32 + 0.5) / side as f32 - 0.5;
            let ty = (y as f32 + 0.5) / side as f32 - 0.5;
            let (ux, uy) = (tx + shift_x, ty + shift_y);
            let px = (map[0] * ux + map[1] * uy + 0.5) * width - 0.5;
            let py = (map[2] * ux + map[3] * uy + 0.5) * width - 0.5;
            let mut p = sample(picture, px, py);
            if soft > 0.0 {
                for (dx, dy) in [(-soft, -soft), (soft, -soft), (-soft, soft), (soft, soft)] {
                    let other = sample(picture, px + dx, py + dy);
                    p.iter_mut().zip(other).for_each(|(p, o)| *p += o);
                }
                p.iter_mut().for_each(|p| *p /= 5.0);
            }
            if let Some([x0, x1, y0, y1]) = erase
                && tx > x0
                && tx < x1
                && ty > y0
                && ty < y1
            {
                p = [0.0; 4];
            }
            let alpha = p[3];
            let rgb = colour.apply([p[0], p[1], p[2]], alpha, tx, ty);
            let target = &mut out[(y * side + x) * 3..][..3];
            for c in 0..3 {
                let under = back.colour[c] + back.slope[c] * (tx * back.x + ty * back.y);
                let value = rgb[c] + (1.0 - alpha) * under;
                target[c] = (value.clamp(0.0, 1.0) - PIXEL_MEAN) / PIXEL_MEAN;
            }
        }
    }
}

/// Bilinear sample in [0, 1]; transparent outside.
fn sample(picture: Square<'_>, x: f32, y: f32) -> [f32; 4] {
    let (fx, fy) = (x.floor(), y.floor());
    let mut out = [0.0; 4];
    if fx < -1.0 || fy < -1.0 || fx >= picture.side as f32 || fy >= picture.side as f32 {
        return out;
    }
    let (dx, dy) = (x - fx, y - fy);
    for (ox, oy, w) in [
        (0, 0, (1.0 - dx) * (1.0 - dy)),
        (1, 0, dx * (1.0 - dy)),
        (0, 1, (1.0 - dx) * dy),
        (1, 1, dx * dy),
    ] {
        let (sx, sy) = (fx as i32 + ox, fy as i32 + oy);
        if sx >= 0 && sy >= 0 && (sx as usize) < picture.side && (sy as usize) < picture.side {
            let at = (sy as usize * picture.side + sx as usize) * 4;
            for c in 0..4 {
                out[c] += f32::from(picture.pixels[at + c]) * (w / 255.0);
            }
        }
    }
    out
}

struct Background {
    colour: [f32; 3],
    slope: [f32; 3],
    x: f32,
    y: f32,
}

fn background(strength: f32, rng: &mut impl Rng) -> Background {
    let plain = Background {
        colour: [1.0; 3],
        slope: [0.0; 3],
        x: 0.0,
        y: 0.0,
    };
    if rng.random_bool(1.0 - 0.4 * f64::from(strength)) {
        return plain;
    }
    let grey: f32 = rng.random();
    let strong = rng.random_range(0.0..0.8f32);
    let mut colour =
        || std::array::from_fn(|_| grey * (1.0 - strong) + strong * rng.random::<f32>());
    let (colour, slope) = (colour(), colour().map(|s: f32| s - 0.5));
    let angle = rng.random_range(0.0..std::f32::consts::TAU);
    let steep = if rng.random_bool(0.4) { 0.8 } else { 0.0 };
    Background {
        colour,
        slope,
        x: angle.cos() * steep,
        y: angle.sin() * steep,
    }
}

struct Colour {
    matrix: [f32; 9],
    offset: f32,
    light: [f32; 2],
}

impl Colour {
    fn random(strength: f32, rng: &mut impl Rng) -> Self {
        let chance = f64::from(strength);
        // A rotation about the grey axis with scaled saturation.
        let turn = if rng.random_bool(0.12 * chance) {
            rng.random_range(-3.1..3.1f32)
        } else {
            gauss(rng) * 0.2 * strength
        };
        let saturation = if rng.random_bool(0.06 * chance) {
            0.0
        } else {
            (gauss(rng) * 0.3 * strength).exp()
        };
        let bright = (gauss(rng) * 0.15).exp();
        let (sin, cos) = turn.sin_cos();
        let third = 1.0f32 / 3.0;
        let root = third.sqrt();
        let mut matrix = [0.0; 9];
        for i in 0..3 {
            for j in 0..3 {
                let same = if i == j { 1.0 } else { 0.0 };
                let cross = if i == j {
                    0.0
                } else if (i + 1) % 3 == j {
                    -root
                } else {
                    root
                };
                let rotated = cos * (same - third) + sin * cross;
                matrix[i * 3 + j] = bright * (third + saturation * rotated);
            }
        }
        let offset = gauss(rng) * 0.04;
        let shaded = rng.random_bool(0.5);
        let light = if shaded {
            [gauss(rng) * 0.35, gauss(rng) * 0.35]
        } else {
            [0.0; 2]
        };
        Self {
            matrix,
            offset,
            light,
        }
    }

    fn apply(&self, p: [f32; 3], alpha: f32, x: f32, y: f32) -> [f32; 3] {
        let light = 1.0 + self.light[0] * x + self.light[1] * y;
        let m = &self.matrix;
        std::array::from_fn(|i| {
            let mixed = m[i * 3] * p[0] + m[i * 3 + 1] * p[1] + m[i * 3 + 2] * p[2];
            (mixed * light + self.offset * alpha).clamp(0.0, alpha)
        })
    }
}

/// Roughly normal, bounded by ±3.5: the sum of uniform numbers.
fn gauss(rng: &mut impl Rng) -> f32 {
    (0..4).map(|_| rng.random_range(-0.5..0.5f32)).sum::<f32>() * 1.732
}
