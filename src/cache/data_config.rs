//! Data configurations: how a source delivers targets
//! (`embedding-cache.md` section 3).

use std::fmt;

use serde::{Deserialize, Serialize};

use super::error::{CacheError, Result};
use super::header::Header;

/// How targets and weights of a source are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Deliver weights.
    pub use_weights: bool,
    /// Weights of a sample sum to 1.
    pub unit_weights: bool,
    /// Deliver the target dimension `M`.
    pub multi_target: bool,
    /// Target dimension before batch dimension.
    pub multi_first: bool,
    /// No target is ever absent.
    pub full_targets: bool,
    /// The target dimension always has `multi_length` entries.
    pub fixed_multi_length: bool,
    /// Largest target dimension.
    pub multi_length: usize,
}

/// Wishes; `None` takes what the source has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DataRequest {
    /// See [`DataConfig::use_weights`].
    pub use_weights: Option<bool>,
    /// See [`DataConfig::unit_weights`].
    pub unit_weights: Option<bool>,
    /// See [`DataConfig::multi_target`].
    pub multi_target: Option<bool>,
    /// See [`DataConfig::multi_first`].
    pub multi_first: Option<bool>,
    /// See [`DataConfig::full_targets`].
    pub full_targets: Option<bool>,
    /// See [`DataConfig::fixed_multi_length`].
    pub fixed_multi_length: Option<bool>,
    /// See [`DataConfig::multi_length`].
    pub multi_length: Option<usize>,
}

/// Properties of a source that a request cannot change.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StrictFields {
    /// `use_weights` is fixed.
    pub use_weights: bool,
    /// `unit_weights` is fixed.
    pub unit_weights: bool,
    /// `multi_target` is fixed.
    pub multi_target: bool,
    /// `multi_first` is fixed.
    pub multi_first: bool,
    /// `full_targets` is fixed.
    pub full_targets: bool,
    /// `fixed_multi_length` is fixed.
    pub fixed_multi_length: bool,
    /// `multi_length` is fixed.
    pub multi_length: bool,
}

/// What a user should know about a resolved configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DataNotice {
    /// The source has weights that are not used.
    WeightsUnused,
    /// The source has more targets per sample than are used.
    TargetsUnused {
        /// Targets per sample of the source.
        available: usize,
        /// Targets per sample in use.
        used: usize,
    },
}

impl fmt::Display for DataNotice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::WeightsUnused => f.write_str(
                "the data have target weights that are not used; set target.weights=true to use them",
            ),
            Self::TargetsUnused { available, used } => write!(
                f,
                "the data have up to {available} targets per sample, only {used} used; set \
                 target.multi=true to use all"
            ),
        }
    }
}

impl DataConfig {
    /// What a cache file delivers, and its strict fields.
    pub(super) fn of_file(header: &Header) -> (Self, StrictFields) {
        let config = Self {
            use_weights: !(header.default_weights && header.full_targets),
            unit_weights: header.unit_weights,
            multi_target: header.embed_targets_dim > 1,
            multi_first: false,
            full_targets: header.full_targets,
            fixed_multi_length: false,
            multi_length: usize::from(header.embed_targets_dim).max(1),
        };
        let strict = StrictFields {
            full_targets: !header.full_targets,
            ..StrictFields::default()
        };
        (config, strict)
    }

    /// What the text noun dataset delivers, and its strict fields.
    pub fn of_nouns() -> (Self, StrictFields) {
        let config = Self {
            use_weights: false,
            unit_weights: true,
            multi_target: false,
            multi_first: false,
            full_targets: true,
            fixed_multi_length: true,
            multi_length: 1,
        };
        let strict = StrictFields {
            multi_length: true,
            ..StrictFields::default()
        };
        (config, strict)
    }

    /// Configuration for a request to a source with this nominal
    /// configuration.
    ///
    /// # Errors
    /// The request asks for more targets than there are, for none, or for
    /// something that a strict field of the source rules out.
    pub fn resolve(
        nominal: &Self,
        strict: &StrictFields,
        request: &DataRequest,
        use_targets: bool,
    ) -> Result<Self> {
        let wished = Self {
            use_weights: request.use_weights.unwrap_or(nominal.use_weights),
            unit_weights: request.unit_weights.unwrap_or(nominal.unit_weights),
            multi_target: request.multi_target.unwrap_or(nominal.multi_target),
            multi_first: request.multi_first.unwrap_or(nominal.multi_first),
            full_targets: request.full_targets.unwrap_or(nominal.full_targets),
            fixed_multi_length: request
                .fixed_multi_length
                .unwrap_or(nominal.fixed_multi_length),
            multi_length: request.multi_length.unwrap_or(nominal.multi_length),
        };
        let resolved = wished.normalised(use_targets)?;
        if resolved.multi_length > nominal.multi_length {
            return Err(CacheError::TooManyTargets {
                requested: resolved.multi_length,
                available: nominal.multi_length,
            });
        }
        // Single-target reading of data that are not full sets `full_targets`
        // by normalisation, hence both must differ.
        type Value = fn(&DataConfig) -> usize;
        let fields: [(&str, bool, Value); 7] = [
            ("use_weights", strict.use_weights, |c| c.use_weights.into()),
            ("unit_weights", strict.unit_weights, |c| {
                c.unit_weights.into()
            }),
            ("multi_target", strict.multi_target, |c| {
                c.multi_target.into()
            }),
            ("multi_first", strict.multi_first, |c| c.multi_first.into()),
            ("full_targets", strict.full_targets, |c| {
                c.full_targets.into()
            }),
            ("fixed_multi_length", strict.fixed_multi_length, |c| {
                c.fixed_multi_length.into()
            }),
            ("multi_length", strict.multi_length, |c| c.multi_length),
        ];
        for (field, is_strict, value) in fields {
            let differs = value(&wished) != value(nominal) && value(&resolved) != value(nominal);
            if is_strict && differs {
                return Err(CacheError::StrictDataField { field });
            }
        }
        Ok(resolved)
    }

    /// The rules between fields, applied in the order of the specification.
    fn normalised(mut self, use_targets: bool) -> Result<Self> {
        if !use_targets {
            self.use_weights = false;
            self.multi_target = false;
        }
        if !self.use_weights {
            self.unit_weights = true;
        }
        if !self.multi_target {
            self.multi_first = false;
            self.full_targets = true;
            self.fixed_multi_length = true;
            self.multi_length = 1;
        }
        if self.multi_length == 0 {
            return Err(CacheError::NoTargetsPerSample);
        }
        Ok(self)
    }

    /// Whether this can be applied to a source, and what a user should know.
    ///
    /// # Errors
    /// Absent targets could not be told from present ones: neither masks nor
    /// weights, and not full.
    pub fn check(
        &self,
        nominal: &Self,
        use_targets: bool,
        use_masks: bool,
    ) -> Result<Vec<DataNotice>> {
        if use_targets && !use_masks && !self.use_weights && !self.full_targets {
            return Err(CacheError::AbsentTargetsHidden);
        }
        let mut notices = Vec::new();
        if nominal.use_weights && !self.use_weights {
            notices.push(DataNotice::WeightsUnused);
        }
        if self.multi_length < nominal.multi_length {
            notices.push(DataNotice::TargetsUnused {
                available: nominal.multi_length,
                used: self.multi_length,
            });
        }
        Ok(notices)
    }
}
