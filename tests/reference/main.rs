//! Reference tests: one module per area of the reference data, named as the
//! folder under `tests/golden` with underscores.

mod annotation;
mod annotation_human;
mod decoder;
mod device;
mod e2e;
mod embedders;
mod embedding_cache;
mod eval_infer;
mod golden;
mod nouns_captions;
mod reports;
mod reports_declarative;
mod tracking_wandb;
mod training;
