//! Elementary functions and reductions that the compiler can vectorise, and
//! the macro that compiles a kernel once per instruction set.

/// Defines a kernel that is compiled for the baseline, for AVX2 and for AVX-512,
/// and dispatches at run time. What the body calls must be `inline(always)`.
/// Sums go through a fixed number of lanes and products are not contracted, so
/// all three give the same numbers.
macro_rules! kernel {
    ($(#[$meta:meta])* $vis:vis fn $name:ident($($arg:ident: $ty:ty),* $(,)?) $(-> $ret:ty)? $body:block) => {
        $(#[$meta])*
        // Kernels take plain slices and sizes: a struct of borrows per kernel
        // would only name the same arguments twice.
        #[allow(clippy::too_many_arguments)]
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[inline(always)]
            fn plain($($arg: $ty),*) $(-> $ret)? $body

            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
                fn avx512($($arg: $ty),*) $(-> $ret)? {
                    plain($($arg),*)
                }
                #[target_feature(enable = "avx2")]
                fn avx2($($arg: $ty),*) $(-> $ret)? {
                    plain($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx512f")
                    && std::arch::is_x86_feature_detected!("avx512bw")
                    && std::arch::is_x86_feature_detected!("avx512dq")
                    && std::arch::is_x86_feature_detected!("avx512vl")
                {
                    // SAFETY: these features were just detected.
                    return unsafe { avx512($($arg),*) };
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the feature was just detected.
                    return unsafe { avx2($($arg),*) };
                }
            }
            plain($($arg),*)
        }
    };
}
pub(crate) use kernel;

/// Independent partial sums of a reduction: one AVX-512 register.
const LANES: usize = 16;

/// `e^x` with a relative error below 2e-7 for `x` in −87…88; smaller
/// arguments give a number below 1.7e-38, NaN stays NaN.
#[inline(always)]
pub fn exp(x: f32) -> f32 {
    // Cephes: x = n·ln 2 + r, |r| ≤ ln 2 / 2, and a polynomial for e^r.
    const SHIFT: f32 = 12_582_912.0; // 1.5 · 2^23: adding it rounds to an integer
    let clamped = if x < -87.0 { -87.0 } else { x };
    let clamped = if clamped > 88.0 { 88.0 } else { clamped };
    let shifted = clamped * std::f32::consts::LOG2_E + SHIFT;
    let n = shifted - SHIFT;
    let r = clamped - n * 0.693_359_4 + n * 2.121_944_4e-4;
    let mut p = 1.987_569_2e-4_f32;
    p = p * r + 1.398_199_9e-3;
    p = p * r + 8.333_452e-3;
    p = p * r + 4.166_579_6e-2;
    p = p * r + 1.666_666_5e-1;
    p = p * r + 5.0e-1;
    let e = p * r * r + r + 1.0;
    let exponent = shifted
        .to_bits()
        .wrapping_sub(SHIFT.to_bits())
        .wrapping_add(127)
        << 23;
    e * f32::from_bits(exponent)
}

/// Gauss error function, absolute error below 4e-7 (rational minimax form).
#[inline(always)]
pub fn erf(x: f32) -> f32 {
    let x = x.clamp(-4.0, 4.0);
    let x2 = x * x;
    let mut p = -2.726_142_3e-10_f32;
    p = p * x2 + 2.770_681_4e-8;
    p = p * x2 - 2.101_024e-6;
    p = p * x2 - 5.692_506_5e-5;
    p = p * x2 - 7.349_906_3e-4;
    p = p * x2 - 2.954_6e-3;
    p = p * x2 - 1.609_603_3e-2;
    let mut q = -1.456_607_2e-5_f32;
    q = q * x2 - 2.133_740_6e-4;
    q = q * x2 - 1.682_827e-3;
    q = q * x2 - 7.373_329e-3;
    q = q * x2 - 1.426_473_9e-2;
    x * p / q
}

#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    let mut half = [0.0; LANES / 2];
    for (i, h) in half.iter_mut().enumerate() {
        *h = lanes[i] + lanes[i + LANES / 2];
    }
    ((half[0] + half[4]) + (half[2] + half[6])) + ((half[1] + half[5]) + (half[3] + half[7]))
}

/// Σ f(xᵢ).
#[inline(always)]
pub fn sum_by(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane += f(value);
        }
    }
    rest.iter().fold(fold(lanes), |sum, &value| sum + f(value))
}

/// Σ f(xᵢ, yᵢ) over slices of one length.
#[inline(always)]
pub fn sum_by2(x: &[f32], y: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    let (xs, x_rest) = x.as_chunks::<LANES>();
    let (ys, y_rest) = y.as_chunks::<LANES>();
    let mut lanes = [0.0; LANES];
    for (a, b) in xs.iter().zip(ys) {
        for i in 0..LANES {
            lanes[i] += f(a[i], b[i]);
        }
    }
    x_rest
        .iter()
        .zip(y_rest)
        .fold(fold(lanes), |sum, (&a, &b)| sum + f(a, b))
}

/// Scalar product.
#[inline(always)]
pub fn dot(x: &[f32], y: &[f32]) -> f32 {
    sum_by2(x, y, |a, b| a * b)
}

/// `y += a·x`.
#[inline(always)]
pub fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, &x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// Largest element, −∞ for an empty slice; NaN elements are passed over.
#[inline(always)]
pub fn max(x: &[f32]) -> f32 {
    let (chunks, rest) = x.as_chunks::<LANES>();
    let mut lanes = [f32::NEG_INFINITY; LANES];
    for chunk in chunks {
        for (lane, &value) in lanes.iter_mut().zip(chunk) {
            *lane = if value > *lane { value } else { *lane };
        }
    }
    lanes
        .iter()
        .chain(rest)
        .fold(f32::NEG_INFINITY, |m, &v| if v > m { v } else { m })
}

kernel! {
    /// `log Σ exp(xᵢ·scale)`: NaN if an element is, −∞ for an empty slice.
    pub fn log_sum_exp(x: &[f32], scale: f32) -> f32 {
        let top = max(x) * scale;
        if top == f32::NEG_INFINITY {
            return if x.iter().any(|v| v.is_nan()) { f32::NAN } else { top };
        }
        top + sum_by(x, |v| exp(v * scale - top)).ln()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_accurate() {
        for i in -8_700..8_800 {
            let x = i as f32 * 0.01;
            let exact = f64::from(x).exp();
            let error = (f64::from(exp(x)) - exact).abs() / exact;
            assert!(error < 2e-7, "{x}: {error}");
        }
        assert!(exp(f32::NEG_INFINITY) < 1.7e-38);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn error_function_is_accurate() {
        for i in -600..600 {
            let x = i as f32 * 0.01;
            let exact = candle_core::cpu::erf::erf_f64(f64::from(x));
            let error = (f64::from(erf(x)) - exact).abs();
            assert!(error < 4e-7, "{x}: {error}");
        }
    }

    #[test]
    fn reductions_cover_every_element() {
        for n in [0, 1, 15, 16, 17, 40] {
            let x: Vec<f32> = (0..n).map(|i| i as f32).collect();
            let expected = (0..n).sum::<usize>() as f32;
            assert_eq!(sum_by(&x, |v| v), expected);
            assert_eq!(dot(&x, &vec![1.0; n]), expected);
            let expected = x.iter().map(|v| v.exp()).sum::<f32>().ln();
            assert!(n == 0 || (log_sum_exp(&x, 1.0) - expected).abs() < 1e-5);
        }
        assert_eq!(log_sum_exp(&[], 1.0), f32::NEG_INFINITY);
        assert!(log_sum_exp(&[0.0, f32::NAN], 1.0).is_nan());
    }
}
