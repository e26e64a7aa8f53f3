//! What looking at an image costs, in tokens (`annotation.md` 12).

use clap::ValueEnum;

/// How closely a model looks at an image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Detail {
    /// At a small copy.
    #[default]
    Low,
    /// At tiles of it.
    High,
    /// As the service chooses.
    Auto,
}

impl Detail {
    /// Its name in requests.
    pub fn name(self) -> &'static str {
        match self {
            Self::Low => "low",
            Self::High => "high",
            Self::Auto => "auto",
        }
    }
}

/// Tokens of images for one family of models.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageTokens {
    /// Of every image.
    pub base: u64,
    /// Of every tile that is looked at closely.
    pub tile: u64,
}

/// Begins of the names of models with what images cost there.
const FAMILIES: [(&str, ImageTokens); 5] = [
    (
        "gpt-4o-mini",
        ImageTokens {
            base: 2833,
            tile: 5667,
        },
    ),
    (
        "gpt-4o",
        ImageTokens {
            base: 85,
            tile: 170,
        },
    ),
    (
        "gpt-4.1",
        ImageTokens {
            base: 85,
            tile: 170,
        },
    ),
    (
        "gpt-5",
        ImageTokens {
            base: 70,
            tile: 140,
        },
    ),
    (
        "o1",
        ImageTokens {
            base: 75,
            tile: 150,
        },
    ),
];

impl ImageTokens {
    /// Those of a model; of an unknown one, those of the default model.
    pub fn of_model(model: &str) -> Self {
        let family = FAMILIES.iter().find(|(name, _)| model.starts_with(name));
        family.map_or(
            Self {
                base: 85,
                tile: 170,
            },
            |(_, tokens)| *tokens,
        )
    }

    /// Tokens of an image of this size.
    pub fn of(self, width: u32, height: u32, detail: Detail) -> u64 {
        match detail {
            Detail::Low => self.base,
            // Auto may be either; more is safe.
            Detail::High | Detail::Auto => self.base + self.tile * tiles(width, height),
        }
    }
}

/// Tiles of an image that was made to fit.
fn tiles(width: u32, height: u32) -> u64 {
    let (mut w, mut h) = (f64::from(width.max(1)), f64::from(height.max(1)));
    let fit = (2048.0 / w.max(h)).min(1.0);
    (w, h) = (w * fit, h * fit);
    let shorter = (768.0 / w.min(h)).min(1.0);
    (w, h) = (w * shorter, h * shorter);
    let along = |side: f64| (side / 512.0).ceil().max(1.0) as u64;
    along(w) * along(h)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_are_those_of_the_published_examples() {
        let tokens = ImageTokens::of_model("gpt-4o-2024-05-13");
        assert_eq!(tokens.of(1024, 1024, Detail::High), 765);
        assert_eq!(tokens.of(2048, 4096, Detail::High), 1105);
        assert_eq!(tokens.of(4096, 8192, Detail::Low), 85);
        assert_eq!(tokens.of(512, 512, Detail::High), 255);
    }
}
