//! `[experiment]` and `[store]`: sections of an experiment file that describe
//! the experiment itself and are no part of a stage's configuration.

use super::section::section;

section! {
    /// What an experiment is.
    pub struct ExperimentInfo("experiment") {
        /// Short name; none: the name of the file.
        name: Option<String> = None => cosmetic();
        /// Title of its page.
        title: Option<String> = None => cosmetic();
        /// Text (Markdown) at the top of its page.
        prose: Option<String> = None => cosmetic();
        /// Seeds: stages that draw random numbers, and what depends on them, run once for each; empty: `run.seed` alone.
        seeds: Vec<u64> = Vec::new() => at_least(1.0);
    }
}

section! {
    /// Where outputs are kept.
    pub struct StoreSettings("store") {
        /// Directory of the store; none: `.novic` in the nearest parent that has one.
        dir: Option<String> = None => path();
    }
}
