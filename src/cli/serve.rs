//! `novic serve`: a model as an HTTP server with a page.

use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::num::ParseIntError;
use std::str::FromStr;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::dtype::Dtype;
use super::{CliError, Exit};
use crate::decoder::generate::GenerationConfig;
use crate::device;
use crate::images::ImageLimits;
use crate::infer::{CheckpointSource, InferError, NounList, NovicModel};
use crate::runner::Interrupt;
use crate::serve::{ServeOptions, run};

/// Serve a model: a page for people and a JSON API for programs
///
/// Listens on this machine only, unless told otherwise. The page takes
/// pictures by dropping, pasting, choosing and from the camera. Programs post
/// pictures to /v1/classify; /openapi.json describes all of it. Ctrl-C finishes
/// what has begun and ends.
///
///   novic serve
///   novic serve --checkpoint latest --port 8080
///   curl --data-binary @cat.jpg -H 'Content-Type: image/jpeg' localhost:8400/v1/classify
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ServeArgs {
    /// A checkpoint file, a run, `latest`, or `embedded`
    #[arg(
        long,
        default_value = "embedded",
        value_name = "PATH|RUN|latest|embedded"
    )]
    checkpoint: CheckpointSource,
    /// Generation configuration of requests that name none
    #[arg(long, default_value = "beam_k10_vnone_gp_t1_a0", value_name = "NAME")]
    gencfg: GenerationConfig,
    /// Nouns to choose from in requests that name none: a file with one per line
    #[arg(long, value_name = "FILE")]
    guide: Option<std::path::PathBuf>,
    /// Where pictures are embedded: cpu, cuda or cuda:N; without such a GPU,
    /// the processor
    #[arg(long, default_value = "cpu", value_name = "DEVICE")]
    device: String,
    /// Precision in which the embedder keeps its matrices; f16 and bf16 take half the memory
    #[arg(long, value_enum, default_value_t = Dtype::Auto)]
    dtype: Dtype,
    /// Address to listen on
    #[arg(long, default_value = "127.0.0.1", value_name = "IP")]
    address: IpAddr,
    /// Port to listen on; 0: any that is free
    #[arg(long, default_value_t = 8400)]
    port: u16,
    /// Token that requests must show; else NOVIC_TOKEN of the environment
    #[arg(long, value_name = "TEXT")]
    token: Option<String>,
    /// Inputs that are worked on or wait; more are refused with status 503
    #[arg(long, default_value_t = 256, value_parser = at_least_one::<usize>, value_name = "N")]
    queue: usize,
    /// Inputs that are embedded together
    #[arg(long, default_value_t = 32, value_parser = at_least_one::<usize>, value_name = "N")]
    max_batch: usize,
    /// How long a batch waits for further inputs
    #[arg(long, default_value_t = 2, value_name = "MS")]
    max_wait_ms: u64,
    /// Inputs of one request
    #[arg(long, default_value_t = 64, value_parser = at_least_one::<usize>, value_name = "N")]
    max_inputs: usize,
    /// Size of one request
    #[arg(long, default_value_t = 32, value_parser = at_least_one::<usize>, value_name = "MIB")]
    max_body: usize,
    /// Size of one picture in millions of pixels
    #[arg(long, default_value_t = 50, value_parser = at_least_one::<u64>, value_name = "N")]
    max_megapixels: u64,
    /// Time for a request
    #[arg(long, default_value_t = 60, value_parser = at_least_one::<u64>, value_name = "S")]
    timeout: u64,
    /// Connections at a time
    #[arg(long, default_value_t = 256, value_parser = at_least_one::<usize>, value_name = "N")]
    connections: usize,
    /// Print the address as JSON
    #[arg(long)]
    json: bool,
}

/// A limit; one of 0 would refuse everything.
fn at_least_one<T: FromStr<Err = ParseIntError> + From<u8> + PartialEq>(
    text: &str,
) -> Result<T, String> {
    match text.parse::<T>() {
        Ok(limit) if limit == T::from(0) => Err("it must be at least 1".to_owned()),
        Ok(limit) => Ok(limit),
        Err(error) => Err(error.to_string()),
    }
}

/// Serves until it is interrupted.
pub fn cmd_serve(args: &ServeArgs) -> Result<Exit, CliError> {
    let token = args
        .token
        .clone()
        .or_else(|| std::env::var("NOVIC_TOKEN").ok())
        .filter(|token| !token.is_empty());
    if !args.address.is_loopback() && token.is_none() {
        eprintln!(
            "warning: everybody who reaches {} may use this server: give it a --token",
            args.address
        );
    }
    let (device, warning) = device::open(&args.device);
    if let Some(warning) = warning {
        eprintln!("{warning}");
    }
    let mut builder = NovicModel::builder(&args.checkpoint)
        .generation(args.gencfg)
        .device(device)
        .precision(args.dtype.precision());
    if let Some(path) = &args.guide {
        let list = NounList::read(path).map_err(|e| CliError::from_error(Exit::Usage, &e))?;
        builder = builder.guide(list.nouns);
    }
    let model = builder.build().map_err(|error| match &error {
        InferError::Decoder(inner) if inner.is_usage() => CliError::from_error(Exit::Usage, &error),
        _ => CliError::from_error(Exit::Failed, &error),
    })?;
    let max_bytes = args.max_body.saturating_mul(1 << 20);
    let options = ServeOptions {
        address: SocketAddr::new(args.address, args.port),
        token,
        queue: args.queue,
        max_inputs: args.max_inputs,
        max_body: max_bytes,
        images: ImageLimits {
            max_bytes: max_bytes as u64,
            max_pixels: args.max_megapixels.saturating_mul(1_000_000),
        },
        timeout: Duration::from_secs(args.timeout),
        max_batch: args.max_batch,
        max_wait: Duration::from_millis(args.max_wait_ms),
        connections: args.connections,
        ..ServeOptions::default()
    };
    let interrupt = Interrupt::of_signals().map_err(CliError::failed)?;
    let stop = async move { interrupt.raised().await };
    let as_json = args.json;
    let listening = move |address: SocketAddr| {
        let url = format!("http://{address}");
        let line = if as_json {
            json!({ "url": url }).to_string()
        } else {
            format!("listening on {url}")
        };
        // Whoever started it may not listen any more.
        let _ = writeln!(std::io::stdout(), "{line}");
    };
    run(model, &options, listening, stop)
        .map_err(|error| CliError::failed(format!("{}: {error}", options.address)))?;
    Ok(Exit::Success)
}
