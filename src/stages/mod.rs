//! One file per stage kind: the glue from typed configuration to the rooms
//! above. Implements the runner's trait.

use crate::runner::{Nothing, Registry};

/// All stage kinds of the program.
pub fn registry() -> Registry {
    Registry::new(&[&Nothing])
}
