//! How far the noise of training moves embeddings: angles in degrees between
//! embeddings and the same with noise.

use serde_json::{Map, Value, json};

use super::modality_gap::{AngleStatistics, angle, indented};

/// The angles between the embeddings that were added and the same with noise.
#[derive(Clone, Debug, Default)]
pub struct NoiseAngles {
    angles: AngleStatistics,
}

impl NoiseAngles {
    /// Adds unit vectors `[B, dim]` and the same with noise.
    pub fn add(&mut self, before: &[f32], after: &[f32], dim: usize) {
        let dim = dim.max(1);
        for (before, after) in before.chunks_exact(dim).zip(after.chunks_exact(dim)) {
            self.angles.add(angle(before, after));
        }
    }

    /// The angles.
    pub fn angles(&self) -> &AngleStatistics {
        &self.angles
    }

    /// Text of the file that plots read: indented, lists of numbers on one line.
    pub fn file(&self, embedder: Map<String, Value>, noise: Map<String, Value>) -> String {
        let mut text = indented(&json!({
            "cfg_embedder": embedder,
            "cfg_noise": noise,
            "noise_angle_mean": self.angles.mean(),
            "noise_angle_std": self.angles.deviation(),
            "noise_angle_histc": self.angles.histogram(),
        }));
        text.push('\n');
        text
    }
}

/// Name of that file.
pub fn noise_angles_file(path_safe_specification: &str) -> String {
    format!("noise_angles_{path_safe_specification}.json")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::schema::{Noise, NoiseScheme};
    use crate::decoder::noise::EmbeddingNoise;

    /// Angles that a scheme makes of many vectors of the paper's dimension.
    fn measured(noise: &Noise) -> NoiseAngles {
        const DIM: usize = 768;
        let mut before = vec![0.0; 2000 * DIM];
        for (row, vector) in before.chunks_exact_mut(DIM).enumerate() {
            vector[row % DIM] = 1.0;
        }
        let mut after = before.clone();
        let scheme = EmbeddingNoise::new(noise).unwrap().unwrap();
        scheme.apply(&mut after, DIM, 1, 0, 0);
        let mut angles = NoiseAngles::default();
        angles.add(&before, &after, DIM);
        angles
    }

    #[test]
    fn the_published_noise_moves_embeddings_as_published() {
        let gauss = Noise {
            scheme: NoiseScheme::GaussElem,
            vec_norm: 3.25,
            ..Noise::default()
        };
        // Figure 5 of the paper: mean 72.9°, standard deviation 1.94°.
        let all = measured(&gauss);
        let (mean, deviation) = (all.angles().mean(), all.angles().deviation());
        assert!((mean - 72.9).abs() < 0.15, "{mean}");
        assert!((deviation - 1.94).abs() < 0.1, "{deviation}");
        let uniform = Noise {
            scheme: NoiseScheme::UniformAngle,
            angle_min: 45.0,
            angle_max: 75.0,
            ..Noise::default()
        };
        let counts = measured(&uniform).angles().counts().to_vec();
        assert_eq!(counts.iter().sum::<u64>(), 2000);
        assert_eq!(counts[90..=150].iter().sum::<u64>(), 2000);
        let text = all.file(Map::new(), Map::new());
        let back: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(back["noise_angle_histc"]["bins"], 360);
        assert_eq!(back["noise_angle_mean"], mean);
    }
}
