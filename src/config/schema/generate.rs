//! `[generate]`: decoding of nouns.

use crate::decoder::DecoderError;
use crate::decoder::generate::GenerationConfig;

use super::action::readers;
use super::choice::choice;
use super::section::section;

choice! {
    /// Decoding method.
    pub enum GenerateMethod {
        /// The likeliest token each time.
        #[default]
        Greedy = "greedy",
        /// Beam search.
        Beam = "beam",
        /// Every noun is scored.
        All = "all",
    }
}

choice! {
    /// Guiding of the decoding by a set of nouns.
    pub enum GenerateGuide {
        /// Not guided.
        None = "none",
        /// Only tokens that continue a guide noun.
        #[default]
        Plain = "plain",
        /// The same with their probabilities normalised again.
        Renorm = "renorm",
    }
}

section! {
    /// Decoding of nouns.
    pub struct Generate("generate") {
        /// Name of a decoding configuration, such as `beam_k10_vnone_gp_t1_a0`.
        config: String = String::new() => form(generation).flat("gencfg").read_by(readers::GENERATE_ONE);
        /// Several of these.
        configs: Vec<String> = Vec::new() => form(generation).flat("gencfgs").read_by(readers::GENERATE);
        /// Prediction files of version 2, with places, classes, times and embedder.
        details: bool = false => read_by(readers::GENERATE);
    }
    with {
        /// Grid of decoding configurations.
        grid: GenerateGrid,
    }
}

section! {
    /// Grid of decoding configurations: the product of its lists.
    pub struct GenerateGrid("generate.grid") {
        /// Add the grid to the named configurations.
        enabled: bool = false => flat("gencfgs_grid").read_by(readers::GENERATE);
        /// Methods.
        method: Vec<GenerateMethod> = vec![GenerateMethod::Greedy, GenerateMethod::Beam] => flat("gencfg_method").read_by(readers::GENERATE);
        /// Beam widths.
        topk: Vec<usize> = vec![3, 5, 10] => flat("gencfg_topk").at_least(1.0).read_by(readers::GENERATE);
        /// Vocabulary priors: `none`, `tgtX` over target nouns or `tokX` over tokens, X being the strength.
        prior: Vec<String> = ["none", "tgt0.25", "tgt0.5", "tok0.25", "tok0.5"].map(str::to_owned).into() => form(prior).flat("gencfg_prior").read_by(readers::GENERATE);
        /// Guides.
        guide: Vec<GenerateGuide> = vec![GenerateGuide::Plain] => flat("gencfg_guide").read_by(readers::GENERATE);
        /// Softmax temperatures.
        temperature: Vec<f64> = vec![0.5, 1.0, 2.0] => flat("gencfg_tau").at_least(0.001).whole_default().read_by(readers::GENERATE);
        /// Length exponents.
        alpha: Vec<f64> = vec![-0.2, 0.0, 0.2, 0.5] => flat("gencfg_alpha").whole_default().read_by(readers::GENERATE);
    }
}

/// A decoding configuration that could be used with any nouns.
fn generation(text: &str) -> Result<(), String> {
    if text.is_empty() {
        return Ok(());
    }
    let config = text.parse::<GenerationConfig>();
    let checked = config.and_then(|config| config.check(true, true));
    checked.map_err(|error| match error {
        DecoderError::Generation { reason, .. } => reason,
        other => other.to_string(),
    })
}

fn prior(text: &str) -> Result<(), String> {
    let strength = text
        .strip_prefix("tgt")
        .or_else(|| text.strip_prefix("tok"));
    let known = text == "none"
        || strength.is_some_and(|s| s.parse::<f64>().is_ok_and(|value| value.is_finite()));
    if known {
        Ok(())
    } else {
        Err("expected none, tgtX or tokX with a number X".to_owned())
    }
}
