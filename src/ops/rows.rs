//! Kernels over one row of `f32` values: activations, softmax, layer
//! normalisation, dot products.
//!
//! Each is written once as plain loops over fixed-width lanes and compiled
//! twice on x86-64: for the baseline and for AVX2 with FMA, chosen at run
//! time.

/// Lanes of the accumulators: two AVX registers of `f32`.
const LANES: usize = 16;

/// `$name` runs its body with fused multiply-add where the machine has it.
macro_rules! kernel {
    ($(#[$doc:meta])* pub fn $name:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)? = $body:ident) => {
        $(#[$doc])*
        #[inline]
        pub fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2,fma")]
                fn fused($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2")
                    && std::arch::is_x86_feature_detected!("fma")
                {
                    // SAFETY: both features were just detected.
                    return unsafe { fused($($arg),*) };
                }
            }
            $body::<{ cfg!(target_arch = "aarch64") }>($($arg),*)
        }
    };
}

kernel! {
    /// Exact GELU in place, `x·Φ(x)`; absolute error below 1e-6·|x|.
    pub fn gelu(x: &mut [f32]) = gelu_body
}
kernel! {
    /// GELU in its tanh form in place.
    pub fn gelu_tanh(x: &mut [f32]) = gelu_tanh_body
}
kernel! {
    /// `x·σ(1.702x)` in place.
    pub fn quick_gelu(x: &mut [f32]) = quick_gelu_body
}
kernel! {
    /// `x·σ(x)` in place.
    pub fn silu(x: &mut [f32]) = silu_body
}
kernel! {
    /// Softmax in place.
    pub fn softmax(x: &mut [f32]) = softmax_body
}
kernel! {
    /// `(x − mean) / √(variance + eps) · weight + bias` into `out`; biased
    /// variance, two passes.
    pub fn layer_norm(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, out: &mut [f32])
        = layer_norm_body
}
kernel! {
    /// Attention scores of one query against one key, head by head:
    /// `scores[h] = scale · q_h·k_h`, where head `h` is the `h`-th of
    /// `scores.len()` equal parts.
    pub fn head_scores(q: &[f32], k: &[f32], scale: f32, scores: &mut [f32]) = head_scores_body
}
kernel! {
    /// `out_h += weights[h] · v_h` for every head.
    pub fn add_weighted_heads(v: &[f32], weights: &[f32], out: &mut [f32])
        = add_weighted_heads_body
}

/// `max(x, 0)` in place.
pub fn relu(x: &mut [f32]) {
    for value in x {
        *value = value.max(0.0);
    }
}

#[inline(always)]
fn madd<const FMA: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FMA { a.mul_add(b, c) } else { a * b + c }
}

/// `e^x` with a relative error of about 2e-7; saturates outside ±87.
#[inline(always)]
fn exp<const FMA: bool>(x: f32) -> f32 {
    // Adding 1.5·2²³ rounds to an integer that lands in the low mantissa bits.
    const ROUND: f32 = 12_582_912.0;
    let x = x.clamp(-87.3, 88.3);
    let shifted = madd::<FMA>(x, std::f32::consts::LOG2_E, ROUND);
    let n = shifted - ROUND;
    let r = madd::<FMA>(n, -0.693_359_4, x);
    let r = madd::<FMA>(n, 2.121_944_4e-4, r);
    let mut p = 1.987_569_1e-4;
    p = madd::<FMA>(p, r, 1.398_2e-3);
    p = madd::<FMA>(p, r, 8.333_452e-3);
    p = madd::<FMA>(p, r, 4.166_579_6e-2);
    p = madd::<FMA>(p, r, 1.666_666_5e-1);
    p = madd::<FMA>(p, r, 0.5);
    p = madd::<FMA>(p, r * r, r + 1.0);
    let exponent = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32) + 127;
    p * f32::from_bits((exponent << 23) as u32)
}

#[inline(always)]
fn gelu_body<const FMA: bool>(x: &mut [f32]) {
    for value in x {
        // erfc by Abramowitz & Stegun 7.1.26 on |x|/√2.
        let z = value.abs() * std::f32::consts::FRAC_1_SQRT_2;
        let t = 1.0 / madd::<FMA>(0.327_591_1, z, 1.0);
        let mut p = 1.061_405_4;
        p = madd::<FMA>(p, t, -1.453_152_1);
        p = madd::<FMA>(p, t, 1.421_413_8);
        p = madd::<FMA>(p, t, -0.284_496_72);
        p = madd::<FMA>(p, t, 0.254_829_6);
        let erfc = p * t * exp::<FMA>(-z * z);
        let twice_phi = if *value < 0.0 { erfc } else { 2.0 - erfc };
        *value *= 0.5 * twice_phi;
    }
}

#[inline(always)]
fn gelu_tanh_body<const FMA: bool>(x: &mut [f32]) {
    for value in x {
        // 0.5·(1 + tanh(u)) = σ(2u)
        let x = *value;
        let u = 0.797_884_6 * madd::<FMA>(0.044_715 * x * x, x, x);
        *value = x / (1.0 + exp::<FMA>(-2.0 * u));
    }
}

#[inline(always)]
fn quick_gelu_body<const FMA: bool>(x: &mut [f32]) {
    for value in x {
        *value /= 1.0 + exp::<FMA>(-1.702 * *value);
    }
}

#[inline(always)]
fn silu_body<const FMA: bool>(x: &mut [f32]) {
    for value in x {
        *value /= 1.0 + exp::<FMA>(-*value);
    }
}

/// Sum of `f` over `x` in `LANES` independent accumulators.
#[inline(always)]
fn lane_sum(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane += f(value);
        }
    }
    let tail: f32 = rest.iter().map(|&value| f(value)).sum();
    lanes.iter().sum::<f32>() + tail
}

#[inline(always)]
fn softmax_body<const FMA: bool>(x: &mut [f32]) {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (blocks, rest) = x.as_chunks::<LANES>();
    for block in blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane = lane.max(value);
        }
    }
    let max = lanes
        .iter()
        .chain(rest)
        .copied()
        .fold(f32::NEG_INFINITY, f32::max);
    for value in x.iter_mut() {
        *value = exp::<FMA>(*value - max);
    }
    let scale = 1.0 / lane_sum(x, |value| value);
    for value in x {
        *value *= scale;
    }
}

#[inline(always)]
fn layer_norm_body<const FMA: bool>(
    x: &[f32],
    weight: &[f32],
    bias: &[f32],
    eps: f32,
    out: &mut [f32],
) {
    let count = x.len() as f32;
    let mean = lane_sum(x, |value| value) / count;
    let variance = lane_sum(x, |value| (value - mean) * (value - mean)) / count;
    let scale = 1.0 / (variance + eps).sqrt();
    for (((out, &x), &weight), &bias) in out.iter_mut().zip(x).zip(weight).zip(bias) {
        *out = madd::<FMA>((x - mean) * scale, weight, bias);
    }
}

#[inline(always)]
fn head_scores_body<const FMA: bool>(q: &[f32], k: &[f32], scale: f32, scores: &mut [f32]) {
    let dim = q.len() / scores.len();
    for (score, (q, k)) in scores
        .iter_mut()
        .zip(q.chunks_exact(dim).zip(k.chunks_exact(dim)))
    {
        let mut lanes = [0f32; 8];
        let (q_blocks, q_rest) = q.as_chunks::<8>();
        let (k_blocks, k_rest) = k.as_chunks::<8>();
        for (q, k) in q_blocks.iter().zip(k_blocks) {
            for ((lane, &q), &k) in lanes.iter_mut().zip(q).zip(k) {
                *lane = madd::<FMA>(q, k, *lane);
            }
        }
        let tail: f32 = q_rest.iter().zip(k_rest).map(|(q, k)| q * k).sum();
        *score = scale * (lanes.iter().sum::<f32>() + tail);
    }
}

#[inline(always)]
fn add_weighted_heads_body<const FMA: bool>(v: &[f32], weights: &[f32], out: &mut [f32]) {
    let dim = v.len() / weights.len();
    for (&weight, (v, out)) in weights
        .iter()
        .zip(v.chunks_exact(dim).zip(out.chunks_exact_mut(dim)))
    {
        for (out, &v) in out.iter_mut().zip(v) {
            *out = madd::<FMA>(weight, v, *out);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Vec<f32> {
        (-4000..=4000).map(|i| i as f32 * 0.003).collect()
    }

    /// erf by its Maclaurin series, exact enough in `f64` for |x| < 4.
    fn erf(x: f64) -> f64 {
        if x.abs() > 4.0 {
            return x.signum();
        }
        let (mut term, mut sum) = (x, x);
        for n in 1..400 {
            term *= -x * x / n as f64;
            sum += term / (2 * n + 1) as f64;
        }
        sum * 2.0 / std::f64::consts::PI.sqrt()
    }

    #[test]
    fn activations_follow_their_definitions() {
        let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
        let tanh_form = |x: f64| {
            0.5 * x
                * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        };
        type Case<'a> = (fn(&mut [f32]), &'a dyn Fn(f64) -> f64);
        let cases: [Case; 5] = [
            (gelu, &|x| 0.5 * x * (1.0 + erf(x / 2f64.sqrt()))),
            (gelu_tanh, &tanh_form),
            (quick_gelu, &|x| x * sigmoid(1.702 * x)),
            (silu, &|x| x * sigmoid(x)),
            (relu, &|x| x.max(0.0)),
        ];
        for (index, (kernel, exact)) in cases.into_iter().enumerate() {
            let mut values = grid();
            kernel(&mut values);
            for (x, y) in grid().into_iter().zip(values) {
                let want = exact(f64::from(x)) as f32;
                assert!(
                    (y - want).abs() <= 2e-6,
                    "activation {index} at {x}: {y} is not {want}"
                );
            }
        }
    }

    #[test]
    fn softmax_sums_to_one_and_orders() {
        let mut x: Vec<f32> = (0..37).map(|i| (i % 11) as f32 * 3.0 - 90.0).collect();
        softmax(&mut x);
        assert!((x.iter().sum::<f32>() - 1.0).abs() < 1e-6);
        assert!(x[10] > x[9]);
        let mut single = [1e30f32];
        softmax(&mut single);
        assert_eq!(single, [1.0]);
    }

    #[test]
    fn layer_norm_has_zero_mean_and_unit_variance() {
        let x: Vec<f32> = (0..37).map(|i| (i * i % 17) as f32 + 1000.0).collect();
        let (ones, zeros, mut y) = (vec![1f32; 37], vec![0f32; 37], vec![0f32; 37]);
        layer_norm(&x, &ones, &zeros, 0.0, &mut y);
        let mean = y.iter().sum::<f32>() / 37.0;
        let variance = y.iter().map(|v| v * v).sum::<f32>() / 37.0;
        assert!(
            mean.abs() < 1e-5 && (variance - 1.0).abs() < 1e-4,
            "{mean} {variance}"
        );
    }

    #[test]
    fn heads_are_equal_parts() {
        let q: Vec<f32> = (0..30).map(|i| i as f32).collect();
        let k: Vec<f32> = (0..30).map(|i| (i % 4) as f32).collect();
        let mut scores = [0f32; 3];
        head_scores(&q, &k, 0.5, &mut scores);
        for (head, &score) in scores.iter().enumerate() {
            let want: f32 = (head * 10..head * 10 + 10).map(|i| q[i] * k[i]).sum();
            assert!((score - 0.5 * want).abs() < 1e-4);
        }
        let mut out = vec![1f32; 30];
        add_weighted_heads(&k, &[1.0, 2.0, 3.0], &mut out);
        for (i, &value) in out.iter().enumerate() {
            assert_eq!(value, 1.0 + (i / 10 + 1) as f32 * k[i]);
        }
    }
}
