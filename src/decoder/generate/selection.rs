//! Which generation configurations an action uses (`decoder.md` section 6).

use crate::config::schema::Generate;
use crate::decoder::error::DecoderError;

use super::config::{GenerationConfig, Guiding, Method};

/// The named configurations and those of the grid, each once. If there are
/// none, the single named one, else greedy decoding, guided if the action
/// usually is.
///
/// # Errors
/// Names and grid values that are no configuration.
pub fn select(
    config: &Generate,
    default_guided: bool,
) -> Result<Vec<GenerationConfig>, DecoderError> {
    let mut selected = Vec::new();
    let mut add = |config: GenerationConfig| {
        if !selected.contains(&config) {
            selected.push(config);
        }
    };
    for name in &config.configs {
        add(name.parse()?);
    }
    if config.grid.enabled {
        for config in grid(config)? {
            add(config);
        }
    }
    if !selected.is_empty() {
        return Ok(selected);
    }
    if !config.config.is_empty() {
        return Ok(vec![config.config.parse()?]);
    }
    Ok(vec![GenerationConfig {
        method: Method::Greedy,
        topk: 1,
        guide: if default_guided {
            Guiding::Plain
        } else {
            Guiding::None
        },
        ..GenerationConfig::default()
    }])
}

fn grid(config: &Generate) -> Result<Vec<GenerationConfig>, DecoderError> {
    let grid = &config.grid;
    let mut configs = Vec::new();
    for &method in &grid.method {
        for &topk in &grid.topk {
            for prior in &grid.prior {
                // A prior is parsed as the part of a name that it becomes.
                let prior = format!("beam_k1_v{}", rounded_prior(prior))
                    .parse::<GenerationConfig>()?
                    .prior;
                for &guide in &grid.guide {
                    for &temperature in &grid.temperature {
                        for &length_alpha in &grid.alpha {
                            let point = GenerationConfig {
                                method,
                                topk,
                                prior,
                                guide: guide.into(),
                                temperature,
                                length_alpha,
                            };
                            configs.push(meaningful(point).rounded()?);
                        }
                    }
                }
            }
        }
    }
    Ok(configs)
}

/// The text of a prior with its number rounded to three decimals.
fn rounded_prior(text: &str) -> String {
    let Some((kind, scaler)) = text.split_at_checked(3) else {
        return text.to_owned();
    };
    match scaler.parse::<f64>() {
        Ok(scaler) => format!("{kind}{scaler:.3}"),
        Err(_) => text.to_owned(),
    }
}

/// Replaces values that a method does not have.
fn meaningful(config: GenerationConfig) -> GenerationConfig {
    match config.method {
        Method::Greedy => GenerationConfig {
            topk: 1,
            prior: None,
            guide: match config.guide {
                Guiding::None => Guiding::None,
                Guiding::Plain | Guiding::Renormalized => Guiding::Plain,
            },
            temperature: 1.0,
            length_alpha: 0.0,
            ..config
        },
        Method::Beam => config,
        Method::All => GenerationConfig {
            guide: match config.guide {
                Guiding::None => Guiding::Plain,
                guide => guide,
            },
            ..config
        },
    }
}
