//! `[target]`: how nouns become token targets.

use super::action::readers;
use super::section::section;

section! {
    /// How nouns become token targets.
    pub struct Target("target") {
        /// Targets begin with a start token.
        start_token: bool = false => flat("with_start_token").read_by(readers::TARGET);
        /// Targets end with an end token.
        end_token: bool = true => flat("with_end_token").read_by(readers::TARGET);
        /// Number only the tokens that occur in nouns, consecutively.
        compact_ids: bool = true => flat("compact_ids").read_by(readers::TARGET);
        /// All targets have the same length.
        fixed_length: bool = false => flat("fixed_token_length").read_by(readers::TARGET);
        /// The fixed length is that of the longest noun, not of the tokenizer's context.
        auto_length: bool = true => flat("auto_fixed_token_length").read_by(readers::TARGET);
        /// Targets carry padding masks.
        masks: bool = true => flat("use_masks").read_by(readers::TARGET);
        /// Targets carry weights; none: no preference.
        weights: Option<bool> = Some(false) => flat("use_weights").read_by(readers::DATA_CONFIG);
        /// Several targets per sample; none: no preference.
        multi: Option<bool> = Some(false) => flat("multi_target").read_by(readers::DATA_CONFIG);
        /// The axis of targets comes first; none: no preference.
        multi_first: Option<bool> = Some(false) => flat("multi_first").read_by(readers::DATA_CONFIG);
        /// All samples have the same number of targets; none: no preference.
        fixed_multi: Option<bool> = Some(false) => flat("fixed_multi_length").read_by(readers::DATA_CONFIG);
    }
}
