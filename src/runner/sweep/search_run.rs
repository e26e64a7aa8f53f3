//! Running a search.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

use crate::config::Setting;

use super::axes::draw;
use super::spec::SearchSpec;

/// A point of the space, to look at the experiment with.
pub(super) fn first_point(search: &SearchSpec) -> Vec<Setting> {
    let mut random = ChaCha8Rng::seed_from_u64(search.seed);
    let mut settings: Vec<Setting> = search
        .space
        .iter()
        .map(|dimension| draw(dimension, &mut random))
        .collect();
    settings.sort_by(|a, b| a.path.cmp(&b.path));
    settings
}
