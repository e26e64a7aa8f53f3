//! Embedding noise of training (`decoder.md` section 5).
//!
//! What a batch gets depends only on (seed, epoch, batch), and what a row gets
//! only on its number within the batch: every row has a ChaCha stream of its
//! own, so neither thread count nor a resume changes anything.

use rand::Rng;
use rand_chacha::ChaCha12Rng;
use rand_distr::StandardNormal;
use rayon::prelude::*;

use crate::config::schema::{Noise, NoiseScheme};
use crate::ops::tape::math::dot;

use super::error::DecoderError;
use super::stream::{Purpose, stream};

/// A checked noise scheme.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum EmbeddingNoise {
    /// Adds a Gaussian vector of the given rms norm.
    GaussElem {
        /// Norm before renormalisation.
        vec_norm: f64,
    },
    /// Adds a random direction times a Gaussian length.
    GaussVec {
        /// Standard deviation of the length.
        vec_norm: f64,
    },
    /// Rotates by a Gaussian angle, clamped.
    GaussAngle {
        /// Standard deviation in degrees.
        std: f64,
        /// Largest angle in degrees.
        max: f64,
    },
    /// Rotates by a uniform angle.
    UniformAngle {
        /// Smallest angle in degrees, may be negative.
        min: f64,
        /// End of the angles in degrees.
        max: f64,
    },
    /// `UniformAngle` with probability `mix_ratio`, else `GaussElem`.
    GaussElemUniformAngle {
        /// As in `GaussElem`.
        vec_norm: f64,
        /// As in `UniformAngle`.
        min: f64,
        /// As in `UniformAngle`.
        max: f64,
        /// Share of rotated rows.
        mix_ratio: f64,
    },
}

/// Random numbers of one row.
pub trait NoiseSource {
    /// Standard normal numbers for a direction to rotate to or to move in.
    fn direction(&mut self, out: &mut [f32]);
    /// Standard normal numbers of an added vector.
    fn offset(&mut self, out: &mut [f32]);
    /// Standard normal number for a length or an angle.
    fn normal(&mut self) -> f32;
    /// Uniform angle in radians between two angles in radians.
    fn angle(&mut self, min: f64, max: f64) -> f64;
    /// Uniform number in [0, 1).
    fn mix(&mut self) -> f32;
}

impl NoiseSource for ChaCha12Rng {
    fn direction(&mut self, out: &mut [f32]) {
        self.offset(out);
    }

    fn offset(&mut self, out: &mut [f32]) {
        for value in out {
            *value = self.sample(StandardNormal);
        }
    }

    fn normal(&mut self) -> f32 {
        self.sample(StandardNormal)
    }

    fn angle(&mut self, min: f64, max: f64) -> f64 {
        min + (max - min) * self.random::<f64>()
    }

    fn mix(&mut self) -> f32 {
        self.random()
    }
}

impl EmbeddingNoise {
    /// The scheme of a configuration, none if it is switched off.
    ///
    /// # Errors
    /// Parameters a scheme cannot work with.
    pub fn new(config: &Noise) -> Result<Option<Self>, DecoderError> {
        let fail = |key, reason: &str| DecoderError::Config {
            key,
            reason: format!("{reason} (scheme {:?})", config.scheme),
        };
        let &Noise {
            vec_norm,
            angle_min: min,
            angle_max: max,
            angle_std: std,
            mix_ratio,
            ..
        } = config;
        let check_norm = || {
            if vec_norm > 0.0 && vec_norm.is_finite() {
                Ok(())
            } else {
                Err(fail("noise.vec_norm", "must be positive"))
            }
        };
        let check_angles = || {
            if min <= max && min.is_finite() && max.is_finite() {
                Ok(())
            } else {
                Err(fail("noise.angle_min", "must not exceed noise.angle_max"))
            }
        };
        Ok(Some(match config.scheme {
            NoiseScheme::None => return Ok(None),
            NoiseScheme::GaussElem => {
                check_norm()?;
                Self::GaussElem { vec_norm }
            }
            NoiseScheme::GaussVec => {
                check_norm()?;
                Self::GaussVec { vec_norm }
            }
            NoiseScheme::GaussAngle => {
                if std.is_nan() || std <= 0.0 {
                    return Err(fail("noise.angle_std", "must be positive"));
                }
                if max.is_nan() || max <= 0.0 {
                    return Err(fail("noise.angle_max", "must be positive"));
                }
                Self::GaussAngle { std, max }
            }
            NoiseScheme::UniformAngle => {
                check_angles()?;
                Self::UniformAngle { min, max }
            }
            NoiseScheme::GaussElemUniformAngle => {
                check_norm()?;
                check_angles()?;
                if !(0.0..=1.0).contains(&mix_ratio) {
                    return Err(fail("noise.mix_ratio", "must be in [0, 1]"));
                }
                Self::GaussElemUniformAngle {
                    vec_norm,
                    min,
                    max,
                    mix_ratio,
                }
            }
        }))
    }

    /// Keys that are set although the scheme does not use them.
    pub fn unused_keys(config: &Noise) -> Vec<&'static str> {
        use NoiseScheme as S;
        let scheme = config.scheme;
        let mixed = scheme == S::GaussElemUniformAngle;
        let uniform = mixed || scheme == S::UniformAngle;
        [
            (
                "noise.vec_norm",
                config.vec_norm,
                mixed || matches!(scheme, S::GaussElem | S::GaussVec),
            ),
            ("noise.angle_min", config.angle_min, uniform),
            (
                "noise.angle_max",
                config.angle_max,
                uniform || scheme == S::GaussAngle,
            ),
            ("noise.angle_std", config.angle_std, scheme == S::GaussAngle),
            ("noise.mix_ratio", config.mix_ratio, mixed),
        ]
        .into_iter()
        .filter(|&(_, value, used)| value != 0.0 && !used)
        .map(|(key, ..)| key)
        .collect()
    }

    /// Adds noise to the unit vectors `embeds` `[B, dim]` of a training batch.
    pub fn apply(&self, embeds: &mut [f32], dim: usize, seed: u64, epoch: u64, batch: u64) {
        let base = stream(seed, Purpose::Noise, &[epoch, batch]);
        embeds
            .par_chunks_exact_mut(dim.max(1))
            .enumerate()
            .for_each_init(
                || vec![0.0; dim],
                |scratch, (row, embed)| {
                    let mut source = base.clone();
                    source.set_stream(row as u64);
                    self.apply_row(embed, scratch, &mut source);
                },
            );
    }

    /// Adds noise to one unit vector; `scratch` has its length.
    pub fn apply_row(&self, embed: &mut [f32], scratch: &mut [f32], source: &mut impl NoiseSource) {
        match *self {
            Self::GaussElem { vec_norm } => add_gaussian(embed, scratch, vec_norm, source),
            Self::GaussVec { vec_norm } => {
                source.direction(scratch);
                normalize(scratch);
                let length = vec_norm as f32 * source.normal();
                for (e, &n) in embed.iter_mut().zip(scratch.iter()) {
                    *e += length * n;
                }
                normalize(embed);
            }
            Self::GaussAngle { std, max } => {
                source.direction(scratch);
                let limit = max.to_radians();
                let angle = (std.to_radians() * f64::from(source.normal())).clamp(-limit, limit);
                rotate(embed, scratch, angle);
            }
            Self::UniformAngle { min, max } => {
                source.direction(scratch);
                let angle = source.angle(min.to_radians(), max.to_radians());
                rotate(embed, scratch, angle);
            }
            Self::GaussElemUniformAngle {
                vec_norm,
                min,
                max,
                mix_ratio,
            } => {
                if f64::from(source.mix()) < mix_ratio {
                    Self::UniformAngle { min, max }.apply_row(embed, scratch, source);
                } else {
                    add_gaussian(embed, scratch, vec_norm, source);
                }
            }
        }
    }
}

/// Moves every row of `embeds` `[B, shift.len()]` by `shift` and back to unit
/// length: the mean shift between text and image embeddings.
pub fn shift_mean(embeds: &mut [f32], shift: &[f32]) {
    for row in embeds.chunks_exact_mut(shift.len().max(1)) {
        for (e, &s) in row.iter_mut().zip(shift) {
            *e += s;
        }
        normalize(row);
    }
}

fn add_gaussian(
    embed: &mut [f32],
    scratch: &mut [f32],
    vec_norm: f64,
    source: &mut impl NoiseSource,
) {
    source.offset(scratch);
    let scale = (vec_norm / (embed.len() as f64).sqrt()) as f32;
    for (e, &n) in embed.iter_mut().zip(scratch.iter()) {
        *e += scale * n;
    }
    normalize(embed);
}

/// Rotates the unit vector `embed` by `angle` radians towards `direction`,
/// which is overwritten.
fn rotate(embed: &mut [f32], direction: &mut [f32], angle: f64) {
    let along = dot(embed, direction);
    for (d, &e) in direction.iter_mut().zip(embed.iter()) {
        *d -= along * e;
    }
    normalize(direction);
    let (sin, cos) = (angle.sin() as f32, angle.cos() as f32);
    for (e, &d) in embed.iter_mut().zip(direction.iter()) {
        *e = *e * cos + d * sin;
    }
    normalize(embed);
}

fn normalize(x: &mut [f32]) {
    let norm = dot(x, x).sqrt().max(1e-12);
    for value in x {
        *value /= norm;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_depends_on_seed_epoch_batch_and_row_only() {
        let noise = EmbeddingNoise::GaussElem { vec_norm: 1.0 };
        let clean: Vec<f32> = (0..12)
            .map(|i| if i % 4 == 0 { 1.0 } else { 0.0 })
            .collect();
        let noisy = |rows: usize, epoch, batch| {
            let mut embeds = clean[..rows * 4].to_vec();
            noise.apply(&mut embeds, 4, 7, epoch, batch);
            embeds
        };
        assert_eq!(noisy(3, 1, 2), noisy(3, 1, 2));
        assert_eq!(noisy(3, 1, 2)[..4], noisy(1, 1, 2));
        assert_ne!(noisy(3, 1, 2)[..4], noisy(3, 1, 2)[4..8]);
        assert_ne!(noisy(3, 1, 2), noisy(3, 1, 3));
        assert_ne!(noisy(3, 1, 2), noisy(3, 2, 2));
    }

    #[test]
    fn keys_a_scheme_does_not_use_are_named() {
        let config = Noise {
            scheme: NoiseScheme::UniformAngle,
            vec_norm: 1.0,
            angle_max: 5.0,
            mix_ratio: 0.5,
            ..Noise::default()
        };
        assert_eq!(
            EmbeddingNoise::unused_keys(&config),
            ["noise.vec_norm", "noise.mix_ratio"]
        );
    }
}
