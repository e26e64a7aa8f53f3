//! The program as its users meet it: the binary is started in an empty folder,
//! and what it prints, leaves behind and answers is looked at.

mod bad_input;
mod captions;
mod checkpoints;
mod documentation;
mod download;
mod embed;
mod folder;
mod guide;
mod kills;
mod large_merge;
mod llm_server;
mod printed;
mod quickstart;
mod reference_experiment;
mod serve;
mod surroundings;
mod sweeps;
mod texts;
