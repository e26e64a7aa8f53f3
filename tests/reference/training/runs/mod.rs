//! `runs.json`, `runs/*`: whole trainings, replayed from their recorded batches
//! (`training.md` 2, 3.3, 3.4, 3.7).

mod checks;
mod loader;
mod recorder;
mod replay;
mod setup;
