//! The weighted sums of Pillow's resampling: weights in fixed point, sums of
//! 32 bits, results of 8.
//!
//! Written as plain loops over lanes and compiled twice on x86-64, for the
//! baseline and for AVX2, chosen at run time; both give the same bytes.

/// Fractional bits of weights.
pub const PRECISION: u32 = 22;
const HALF: i32 = 1 << (PRECISION - 1);
/// Lines that are narrowed together: few enough to stay in the first cache.
const LANES: usize = 16;

/// The weights of one result, for consecutive values.
#[derive(Clone, Copy, Debug)]
pub struct Weights<'a> {
    /// Place of the first value.
    pub start: usize,
    /// In fixed point.
    pub weights: &'a [i32],
}

macro_rules! kernel {
    ($name:ident($($arg:ident: $ty:ty),*) = $body:ident) => {
        fn $name($($arg: $ty),*) {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx2")]
                fn wide($($arg: $ty),*) {
                    $body($($arg),*)
                }
                if std::arch::is_x86_feature_detected!("avx2") {
                    // SAFETY: the feature was just detected.
                    return unsafe { wide($($arg),*) };
                }
            }
            $body($($arg),*)
        }
    };
}

/// Weighted sums of whole lines of bytes: `to[i]` of `line(start)[i]`,
/// `line(start + 1)[i]`, ….
pub fn sum_lines<'a>(weights: Weights<'_>, line: impl Fn(usize) -> &'a [u8], to: &mut [u8]) {
    let mut sums = vec![HALF; to.len()];
    for (place, &weight) in (weights.start..).zip(weights.weights) {
        add(&mut sums, line(place), weight);
    }
    finish(&sums, to);
}

/// Weighted sums along each of some lines of RGB pixels: `lines` `[R, W, 3]` →
/// `to` `[R, N, 3]`, result `n` of pixels `weights(n).start`, ….
pub fn sum_pixels<'w>(
    lines: &[&[u8]],
    results: usize,
    weights: impl Fn(usize) -> Weights<'w>,
    to: &mut [u8],
) {
    let width = 3 * results;
    assert!(to.len() == lines.len() * width);
    let Some(bytes) = lines.first().map(|line| line.len()) else {
        return;
    };
    // Values of the same place in all lines lie side by side.
    let mut columns = vec![[0u8; LANES]; bytes];
    for (lines, to) in lines.chunks(LANES).zip(to.chunks_mut(LANES * width)) {
        for (lane, line) in lines.iter().enumerate() {
            for (column, &value) in columns.iter_mut().zip(*line) {
                column[lane % LANES] = value;
            }
        }
        for (result, place) in (0..results).zip((0..).step_by(3)) {
            let Weights { start, weights } = weights(result);
            let mut sums = [[0u8; LANES]; 3];
            sum_columns(&columns[3 * start..], weights, &mut sums);
            for (lane, line) in to.chunks_exact_mut(width).enumerate() {
                for (value, sums) in line[place..place + 3].iter_mut().zip(&sums) {
                    *value = sums[lane % LANES];
                }
            }
        }
    }
}

kernel!(add(sums: &mut [i32], values: &[u8], weight: i32) = add_body);
kernel!(finish(sums: &[i32], to: &mut [u8]) = finish_body);

#[inline(always)]
fn add_body(sums: &mut [i32], values: &[u8], weight: i32) {
    for (sum, &value) in sums.iter_mut().zip(values) {
        *sum += weight * i32::from(value);
    }
}

#[inline(always)]
fn finish_body(sums: &[i32], to: &mut [u8]) {
    for (value, &sum) in to.iter_mut().zip(sums) {
        *value = (sum >> PRECISION).clamp(0, 255) as u8;
    }
}

/// The three channels of one result for all lanes.
fn sum_columns(columns: &[[u8; LANES]], weights: &[i32], to: &mut [[u8; LANES]; 3]) {
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx2") {
        // SAFETY: the feature was just detected.
        return unsafe { sum_columns_wide(columns, weights, to) };
    }
    for (channel, to) in to.iter_mut().enumerate() {
        let mut sums = [HALF; LANES];
        for (&weight, pixel) in weights.iter().zip(columns.chunks_exact(3)) {
            add_body(&mut sums, &pixel[channel], weight);
        }
        finish_body(&sums, to);
    }
}

/// The same by AVX2, which compilers do not find by themselves.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn sum_columns_wide(columns: &[[u8; LANES]], weights: &[i32], to: &mut [[u8; LANES]; 3]) {
    use std::arch::x86_64::{
        _mm_cvtsi64_si128, _mm256_add_epi32, _mm256_cvtepu8_epi32, _mm256_extract_epi32,
        _mm256_mullo_epi32, _mm256_set1_epi32, _mm256_srai_epi32,
    };
    for (channel, to) in to.iter_mut().enumerate() {
        let mut sums = [_mm256_set1_epi32(HALF); LANES / 8];
        for (&weight, pixel) in weights.iter().zip(columns.chunks_exact(3)) {
            let weight = _mm256_set1_epi32(weight);
            let (values, _) = pixel[channel].as_chunks::<8>();
            for (sum, &values) in sums.iter_mut().zip(values) {
                let values = _mm_cvtsi64_si128(i64::from_le_bytes(values));
                let product = _mm256_mullo_epi32(weight, _mm256_cvtepu8_epi32(values));
                *sum = _mm256_add_epi32(*sum, product);
            }
        }
        for (to, sum) in to.as_chunks_mut::<8>().0.iter_mut().zip(sums) {
            let sum = _mm256_srai_epi32::<{ PRECISION as i32 }>(sum);
            *to = [
                _mm256_extract_epi32::<0>(sum),
                _mm256_extract_epi32::<1>(sum),
                _mm256_extract_epi32::<2>(sum),
                _mm256_extract_epi32::<3>(sum),
                _mm256_extract_epi32::<4>(sum),
                _mm256_extract_epi32::<5>(sum),
                _mm256_extract_epi32::<6>(sum),
                _mm256_extract_epi32::<7>(sum),
            ]
            .map(|value| value.clamp(0, 255) as u8);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_pixels_are_summed_alike() {
        let weights = [1 << 21, 3 << 20, -(1 << 20)];
        let weights = |start| Weights {
            start,
            weights: &weights,
        };
        // One line more than go together.
        let picture: Vec<Vec<u8>> = (0..LANES as u32 + 1)
            .map(|y| (0..15).map(|x| (x * 37 + y * 91) as u8).collect())
            .collect();
        let lines: Vec<&[u8]> = picture.iter().map(Vec::as_slice).collect();
        let mut along = vec![0; lines.len() * 9];
        sum_pixels(&lines, 3, weights, &mut along);
        for (line, along) in lines.iter().zip(along.chunks_exact(9)) {
            // Pixels as lines of their own.
            let mut across = [0; 9];
            for (start, to) in across.chunks_exact_mut(3).enumerate() {
                sum_lines(weights(start), |pixel| &line[3 * pixel..3 * pixel + 3], to);
            }
            assert_eq!(along, across);
        }
        let exact = (2 * i32::from(picture[0][0]) + 3 * i32::from(picture[0][3])
            - i32::from(picture[0][6])
            + 2)
            >> 2;
        assert_eq!(i32::from(along[0]), exact.clamp(0, 255));
        sum_pixels(&[], 3, weights, &mut []);
    }
}
