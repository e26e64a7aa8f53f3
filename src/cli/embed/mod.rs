//! `novic embed`: texts and pictures to vectors, zero-shot accuracies, and
//! everything about an embedder.

mod bench;
mod info;
mod output;
mod vectors;
mod zero_shot;

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::dtype::Dtype;
use super::hub::Bar;
use super::{CliError, Exit};
use crate::device;
use crate::embedders::{
    Embedder, EmbedderError, EmbedderSpec, OpenOptions, Precision, Renewal, fetch,
};
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
    /// Ask the hub whether the model has changed, and fetch what has
    #[arg(long)]
    refresh: bool,
    /// Precision in which matrices are kept; f16 and bf16 take half the memory
    #[arg(long, value_enum, default_value_t = Dtype::Auto)]
    dtype: Dtype,
    /// Where it computes: cpu, cuda or cuda:N; without such a GPU, the processor
    #[arg(long, value_name = "DEVICE", default_value = "cpu")]
    device: String,
    /// JSON file with architectures of timm towers that are not built in
    #[arg(long, value_name = "FILE")]
    timm_models: Option<PathBuf>,
    /// File of merges for openai: archives of another vocabulary
    #[arg(long, value_name = "FILE")]
    openai_merges: Option<PathBuf>,
}

/// Says what happened while embedding.
pub(super) fn tell(embedder: &Embedder) {
    for warning in embedder.take_warnings() {
        eprintln!("{warning}");
    }
}

impl EmbedderArgs {
    /// Opens an embedder.
    pub(super) fn open(&self, spec: &str) -> Result<Embedder, CliError> {
        let usage = |error| CliError::from_error(Exit::Usage, &error);
        let spec: EmbedderSpec = spec.parse().map_err(usage)?;
        let (device, warning) = device::open(&self.device);
        if let Some(warning) = warning {
            eprintln!("{warning}");
        }
        let options = OpenOptions {
            timm_models: self.timm_models.clone(),
            openai_merges: self.openai_merges.clone(),
            precision: (self.dtype.precision())
                .unwrap_or_else(|| Precision::automatic(&device, true, false)),
            device,
            ..OpenOptions::default()
        };
        let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
        let fetch = |renewal| {
            let downloader =
                Downloader::new(Patience::default()).map_err(|error| failed(&error))?;
            let mirror = std::env::var(MIRROR_VARIABLE).ok();
            let mut bar = Bar::new();
            let fetched = fetch(&spec, &downloader, mirror.as_deref(), renewal, &mut bar);
            bar.finish();
            fetched.map_err(|error| failed(&error))
        };
        if self.refresh {
            fetch(Renewal::Ask)?;
        }
        let embedder = match Embedder::open_with(&spec, &options) {
            Err(EmbedderError::NotInCache { .. }) if self.download => {
                fetch(Renewal::Missing)?;
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
