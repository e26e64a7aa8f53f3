//! `[experiment]`, `[store]`, `[slots]` and `[hooks]`: sections of an experiment
//! file that describe the experiment itself and are no part of a stage's
//! configuration.

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
        /// Whether locks of the file system hold among all machines that use the store; else who has a lease is told by its content.
        locks: bool = true => cosmetic();
    }
}

section! {
    /// What stages may occupy together. They run at the same time where they do not need each other and what they need is free; one that needs more than there is runs alone.
    pub struct Slots("slots") {
        /// Stages at the same time; none: as many as `cpus`, else one. `--jobs` wins.
        jobs: Option<usize> = None => at_least(1.0).cosmetic();
        /// Threads that stages share by `needs.cpus`; none: not counted.
        cpus: Option<usize> = None => at_least(1.0).cosmetic();
        /// GPUs that stages share by `needs.gpus`.
        gpus: usize = 1 => cosmetic();
        /// Memory that stages share by `needs.memory`; none: that of the machine.
        memory: Option<f64> = None => above(0.0).cosmetic().unit("GiB");
    }
}

section! {
    /// Whom to tell what happens in a run. Each hook is a command for the shell or, if it begins with http:// or https://, an address that gets a POST request. Both get the same JSON object, the command on its standard input.
    pub struct Hooks("hooks") {
        /// When a run ends.
        finish: Vec<String> = Vec::new() => or_text().secret().cosmetic();
        /// When a stage fails.
        failure: Vec<String> = Vec::new() => or_text().secret().cosmetic();
        /// When a metric becomes NaN or infinite, once for each.
        nan: Vec<String> = Vec::new() => or_text().secret().cosmetic();
        /// When the metric `plateau_metric` has no new minimum in `plateau_rows` rows that have it, once for each stage.
        plateau: Vec<String> = Vec::new() => or_text().secret().cosmetic();
        /// The metric, as in `novic show`.
        plateau_metric: String = "loss".to_owned() => cosmetic();
        /// How many rows.
        plateau_rows: u64 = 1000 => at_least(1.0).cosmetic();
        /// Longest time that a hook may take.
        timeout: f64 = 30.0 => above(0.0).cosmetic().unit("s");
    }
}
