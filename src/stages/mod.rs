//! One file per stage kind: the glue from typed configuration to the rooms
//! above. Implements the runner's trait.

mod convert_noun_dataset;
mod inputs;
mod train;

use crate::runner::{Nothing, Registry};

/// All stage kinds of the program.
pub fn registry() -> Registry {
    Registry::new(&[
        &Nothing,
        &convert_noun_dataset::ConvertNounDataset,
        &train::Train,
    ])
}
