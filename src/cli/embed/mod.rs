//! `novic embed`: texts and pictures to vectors, zero-shot accuracies, and
//! everything about an embedder.

mod bench;
mod info;
mod output;
mod vectors;
mod zero_shot;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::hub::Bar;
use super::{CliError, Exit};
use crate::embedders::{Embedder, EmbedderError, EmbedderSpec, OpenOptions, fetch};
use crate::net::{Downloader, MIRROR_VARIABLE, Patience};

/// Texts and pictures to vectors, zero-shot accuracies, facts about embedders
#[derive(Debug, Args)]
pub struct EmbedArgs {
    #[command(subcommand)]
    command: EmbedCommand,
}

#[derive(Debug, Subcommand)]
enum EmbedCommand {
    Texts(vectors::TextsArgs),
    Images(vectors::ImagesArgs),
    ZeroShot(zero_shot::ZeroShotArgs),
    Info(info::InfoArgs),
    Check(info::CheckArgs),
    Bench(bench::BenchArgs),
}

/// Runs `novic embed`.
pub fn cmd_embed(args: &EmbedArgs) -> Result<Exit, CliError> {
    match &args.command {
        EmbedCommand::Texts(args) => vectors::texts(args),
        EmbedCommand::Images(args) => vectors::images(args),
        EmbedCommand::ZeroShot(args) => zero_shot::zero_shot(args),
        EmbedCommand::Info(args) => info::info(args),
        EmbedCommand::Check(args) => info::check(args),
        EmbedCommand::Bench(args) => bench::bench(args),
    }
}

/// Which embedder, and where what its files lack comes from.
#[derive(Debug, Args)]
pub(super) struct EmbedderArgs {
    /// Fetch missing files of the model
    #[arg(long)]
    download: bool,
    /// JSON file with architectures of timm towers that are not built in
    #[arg(long, value_name = "FILE")]
    timm_models: Option<PathBuf>,
    /// File of merges for openai: archives of another vocabulary
    #[arg(long, value_name = "FILE")]
    openai_merges: Option<PathBuf>,
}

impl EmbedderArgs {
    /// Opens an embedder.
    pub(super) fn open(&self, spec: &str) -> Result<Embedder, CliError> {
        let usage = |error| CliError::from_error(Exit::Usage, &error);
        let spec: EmbedderSpec = spec.parse().map_err(usage)?;
        let options = OpenOptions {
            timm_models: self.timm_models.clone(),
            openai_merges: self.openai_merges.clone(),
        };
        let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
        let embedder = match Embedder::open_with(&spec, &options) {
            Err(EmbedderError::NotInCache { .. }) if self.download => {
                let downloader =
                    Downloader::new(Patience::default()).map_err(|error| failed(&error))?;
                let mirror = std::env::var(MIRROR_VARIABLE).ok();
                let mut bar = Bar::new();
                let fetched = fetch(&spec, &downloader, mirror.as_deref(), &mut bar);
                bar.finish();
                fetched.map_err(|error| failed(&error))?;
                Embedder::open_with(&spec, &options)
            }
            opened => opened,
        };
        let embedder = embedder.map_err(|error| failed(&error))?;
        for notice in embedder.notices() {
            eprintln!("{notice}");
        }
        Ok(embedder)
    }
}
