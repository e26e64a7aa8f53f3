//! How large a picture is shown (`annotation.md` section 2).

/// Largest width and height.
const MOST: (f64, f64) = (1400.0, 750.0);
/// Least width and height.
const LEAST: f64 = 640.0;

/// Size at which a picture of `width` × `height` is shown: neither larger than
/// 1400 × 750 nor smaller than 640 in any direction, as far as both can be had.
pub fn display_size(width: u32, height: u32) -> (u32, u32) {
    let (w, h) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let down = match h > MOST.1 || w > MOST.0 {
        true => (MOST.0 / w).min(MOST.1 / h),
        false => 1.0,
    };
    let up = match h < LEAST || w < LEAST {
        true => (LEAST / w).max(LEAST / h),
        false => 1.0,
    };
    let scale = if up - 1.0 > 1.0 - down { up } else { down };
    ((w * scale).floor() as u32, (h * scale).floor() as u32)
}
