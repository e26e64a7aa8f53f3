//! Training: configuration, optimizers, schedules, lengths, recorded runs
//! (`tests/golden/training/README.md`).

mod checkpoints;
mod config;
mod evaluation;
mod expression;
mod lengths;
mod optimizers;
mod runs;
mod schedules;
