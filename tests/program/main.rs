//! The program as its users meet it: the binary is started in an empty folder,
//! and what it prints, leaves behind and answers is looked at.

mod annotate;
mod annotate_batches;
mod annotate_stops;
mod annotator;
mod bad_input;
mod browser;
mod caches;
mod captions;
mod checkpoints;
mod collection;
mod documentation;
mod download;
mod embed;
mod evaluation;
mod experiments;
mod folder;
mod guide;
mod hub;
mod human;
mod human_page;
mod infer;
mod kills;
mod large_merge;
mod llm_server;
mod printed;
mod quickstart;
mod reference_experiment;
mod reports;
mod serve;
mod serve_page;
mod slurm;
mod surroundings;
mod sweeps;
mod tables;
mod texts;
