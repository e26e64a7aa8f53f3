//! Generation configurations and their names (`decoder.md` section 6):
//! `<method>_k<topk>_v<prior>_g<guide>_t<temperature>_a<alpha>`.

use std::fmt;
use std::str::FromStr;

use crate::config::schema::{GenerateGuide as SchemaGuide, GenerateMethod};
use crate::decoder::error::DecoderError;

pub use crate::config::schema::GenerateMethod as Method;

/// How a guide restricts the output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guiding {
    /// Not at all.
    #[default]
    None,
    /// Other tokens are impossible but keep their probability mass.
    Plain,
    /// Probabilities are normalised over the possible tokens.
    Renormalized,
}

impl From<SchemaGuide> for Guiding {
    fn from(guide: SchemaGuide) -> Self {
        match guide {
            SchemaGuide::None => Self::None,
            SchemaGuide::Plain => Self::Plain,
            SchemaGuide::Renorm => Self::Renormalized,
        }
    }
}

/// Prior of tokens that is divided out.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PriorConfig {
    /// Every distinct next token counts the same, else every noun does.
    pub per_token: bool,
    /// λ ≥ 0: exponent of the prior; 0 switches it off.
    pub scaler: f64,
}

/// How to decode. Numbers have at most three decimals, so that the name and
/// the configuration determine each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct GenerationConfig {
    /// Search method.
    pub method: Method,
    /// Number of results and of beams.
    pub topk: usize,
    /// Vocabulary prior.
    pub prior: Option<PriorConfig>,
    /// Guiding.
    pub guide: Guiding,
    /// Softmax temperature τ > 0.
    pub temperature: f64,
    /// Length exponent α.
    pub length_alpha: f64,
}

/// Results of a configuration, at most.
const MAX_TOPK: usize = 1_000_000;

impl Default for GenerationConfig {
    /// That of the inference library: `beam_k10_vnone_gp_t1_a0`.
    fn default() -> Self {
        Self {
            method: Method::Beam,
            topk: 10,
            prior: None,
            guide: Guiding::Plain,
            temperature: 1.0,
            length_alpha: 0.0,
        }
    }
}

/// At most three decimals, without trailing zeros.
fn number(value: f64) -> String {
    let text = format!("{value:.3}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl fmt::Display for GenerationConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let prior = match self.prior {
            None => "none".to_owned(),
            Some(prior) => {
                let kind = if prior.per_token { "tok" } else { "tgt" };
                format!("{kind}{}", number(prior.scaler))
            }
        };
        let guide = match self.guide {
            Guiding::None => 'n',
            Guiding::Plain => 'p',
            Guiding::Renormalized => 'r',
        };
        write!(
            f,
            "{}_k{}_v{prior}_g{guide}_t{}_a{}",
            self.method,
            self.topk,
            number(self.temperature),
            number(self.length_alpha)
        )
    }
}

impl FromStr for GenerationConfig {
    type Err = DecoderError;

    /// Parses a name; parts behind the method come in any order, later ones
    /// win, and all may be missing but `k`, which greedy decoding alone does not
    /// need. The canonical name is that of [`Display`](fmt::Display).
    fn from_str(name: &str) -> Result<Self, DecoderError> {
        let fail = |reason: String| DecoderError::Generation {
            name: name.to_owned(),
            reason,
        };
        let mut parts = name.split('_');
        let method = match parts.next() {
            Some("greedy") => GenerateMethod::Greedy,
            Some("beam") => GenerateMethod::Beam,
            Some("all") => GenerateMethod::All,
            other => {
                let found = other.unwrap_or_default();
                return Err(fail(format!(
                    "the method is greedy, beam or all, not {found:?}"
                )));
            }
        };
        // Greedy decoding has one result.
        let mut topk = (method == Method::Greedy).then_some(1);
        let mut config = Self {
            method,
            topk: 1,
            prior: None,
            guide: Guiding::None,
            temperature: 1.0,
            length_alpha: 0.0,
        };
        for part in parts {
            let mut chars = part.chars();
            let (kind, value) = (chars.next(), chars.as_str());
            match kind {
                Some('k') => {
                    let count = value.parse::<usize>().ok();
                    let count = count.filter(|count| (1..=MAX_TOPK).contains(count));
                    let reason = || {
                        fail(format!(
                            "k needs a whole number from 1 to {MAX_TOPK}, not {value:?}"
                        ))
                    };
                    topk = Some(count.ok_or_else(reason)?);
                }
                Some('v') => config.prior = parse_prior(value).map_err(fail)?,
                Some('g') => {
                    config.guide = match value {
                        "n" => Guiding::None,
                        "p" => Guiding::Plain,
                        "r" => Guiding::Renormalized,
                        _ => return Err(fail(format!("g is n, p or r, not {value:?}"))),
                    }
                }
                Some('t') => config.temperature = parse_number("t", value).map_err(fail)?,
                Some('a') => config.length_alpha = parse_number("a", value).map_err(fail)?,
                _ => {
                    let reason = format!("parts are k, v, g, t and a with a value, not {part:?}");
                    return Err(fail(reason));
                }
            }
        }
        config.topk = topk.ok_or_else(|| {
            fail(format!(
                "the number of results, k, is missing: for example {method}_k10"
            ))
        })?;
        if config.temperature <= 0.0 {
            return Err(fail("the temperature t must be positive".to_owned()));
        }
        Ok(config)
    }
}

fn parse_prior(value: &str) -> Result<Option<PriorConfig>, String> {
    let (per_token, scaler) = match (value, value.strip_prefix("tgt"), value.strip_prefix("tok")) {
        ("none", ..) => return Ok(None),
        (_, Some(scaler), _) => (false, scaler),
        (_, _, Some(scaler)) => (true, scaler),
        _ => {
            return Err(format!(
                "v is none, tgt<number> or tok<number>, not {value:?}"
            ));
        }
    };
    let scaler = parse_number("v", scaler)?;
    if scaler < 0.0 {
        return Err("the prior scaler must not be negative".to_owned());
    }
    Ok(Some(PriorConfig { per_token, scaler }))
}

fn parse_number(part: &str, value: &str) -> Result<f64, String> {
    let parsed: f64 = value
        .parse()
        .ok()
        .filter(|value: &f64| value.is_finite())
        .ok_or_else(|| format!("{part} needs a finite number, not {value:?}"))?;
    let named = number(parsed);
    if named.parse() == Ok(parsed) {
        Ok(parsed)
    } else {
        Err(format!(
            "{part}{value} has more than three decimals: use {part}{named}"
        ))
    }
}

impl GenerationConfig {
    /// Numbers rounded to those of the name.
    pub(super) fn rounded(self) -> Result<Self, DecoderError> {
        self.to_string().parse()
    }

    /// Whether the scores are log-probabilities: no prior, no length exponent,
    /// no temperature.
    pub fn gives_probabilities(&self) -> bool {
        self.prior.is_none_or(|prior| prior.scaler == 0.0)
            && self.length_alpha == 0.0
            && self.temperature == 1.0
    }

    /// Checks what a name cannot say: which tables are at hand.
    ///
    /// # Errors
    /// Combinations that have no meaning, and missing tables.
    pub fn check(&self, has_guide: bool, has_vocabulary: bool) -> Result<(), DecoderError> {
        let fail = |reason: &str| {
            Err(DecoderError::Generation {
                name: self.to_string(),
                reason: reason.to_owned(),
            })
        };
        if self.method == Method::Greedy && self.topk != 1 {
            return fail("greedy decoding has one result: use k1, or beam");
        }
        if self.method == Method::Greedy && self.prior.is_some() {
            return fail("greedy decoding has no prior: use vnone, or beam");
        }
        if self.method == Method::All && self.guide == Guiding::None {
            return fail("all scores the guide nouns: use gp or gr");
        }
        if self.guide != Guiding::None && !has_guide {
            return fail("guiding needs guide nouns: give a list, or use gn");
        }
        if self.prior.is_some() && !has_vocabulary {
            return fail("priors need the vocabulary: give it, or use vnone");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_names_say_what_is_lacking() {
        let name = |name: &str| match name.parse::<GenerationConfig>() {
            Ok(config) => config.to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(name("greedy"), "greedy_k1_vnone_gn_t1_a0");
        assert_eq!(name("greedy_gp"), "greedy_k1_vnone_gp_t1_a0");
        assert_eq!(name("all_gr_k3"), "all_k3_vnone_gr_t1_a0");
        assert!(name("beam").contains("k, is missing: for example beam_k10"));
        assert!(name("all_gp").contains("k, is missing: for example all_k10"));
        assert!(name("beam_k1000001").contains("from 1 to 1000000"));
        let unguided: GenerationConfig = "all_k3".parse().unwrap();
        let error = unguided.check(true, true).unwrap_err().to_string();
        assert!(error.contains("use gp or gr"), "{error}");
    }
}
