//! `novic hub`: fetch models, data sets and other files, and list what is
//! there.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::print::print;
use super::{CliError, Exit};
use crate::datasets::expanded;
use crate::embedders::{EmbedderSpec, fetch, fetch_state, hub_cache, known_specifications};
use crate::net::{
    Downloader, KNOWN_RESOURCES, MIRROR_VARIABLE, Patience, Progress, Roots, known_resource,
};

/// Fetch models, data sets and other files, and list what is there
#[derive(Debug, Args)]
pub struct HubArgs {
    #[command(subcommand)]
    command: HubCommand,
}

#[derive(Debug, Subcommand)]
enum HubCommand {
    Ls(LsArgs),
    Get(GetArgs),
}

/// List everything that can be fetched, with its state
///
/// Models lie in the hub cache that Python tools share (HF_HOME, HF_HUB_CACHE),
/// data sets below their own folder, the rest in the working directory.
#[derive(Debug, Args)]
struct LsArgs {
    /// Folder of the data sets
    #[arg(long, default_value = "~/Datasets", value_name = "DIR")]
    datasets: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Fetch things by their ids: resume, check, unpack
///
/// An id is one of `novic hub ls`, or any embedder (openclip:OWNER/REPO,
/// transformers:OWNER/REPO, openai:NAME; @REVISION pins a revision). HF_TOKEN,
/// HF_ENDPOINT and HF_HUB_OFFLINE are honoured; NOVIC_MIRROR stands in for all
/// other hosts. Nothing is fetched twice.
///
///   novic hub get openclip:timm/ViT-B-16-SigLIP
///   novic hub get world cifar10 --datasets data
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct GetArgs {
    /// Ids of things or specifications of embedders
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Folder of the data sets
    #[arg(long, default_value = "~/Datasets", value_name = "DIR")]
    datasets: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic hub`.
pub fn cmd_hub(args: &HubArgs) -> Result<Exit, CliError> {
    match &args.command {
        HubCommand::Ls(args) => ls(args),
        HubCommand::Get(args) => get(args),
    }
}

fn roots(datasets: &str) -> Roots {
    Roots {
        project: PathBuf::from("."),
        datasets: expanded(datasets),
    }
}

fn ls(args: &LsArgs) -> Result<Exit, CliError> {
    let roots = roots(&args.datasets);
    let mut rows: Vec<[String; 4]> = Vec::new();
    for resource in KNOWN_RESOURCES {
        rows.push([
            resource.id.to_owned(),
            resource.state(&roots).name().to_owned(),
            resource.place(&roots).display().to_string(),
            format!("{}; licence: {}", resource.what, resource.licence),
        ]);
    }
    let cache = hub_cache();
    for name in known_specifications() {
        let Ok(spec) = name.parse::<EmbedderSpec>() else {
            continue;
        };
        rows.push([
            (*name).to_owned(),
            fetch_state(&spec).name().to_owned(),
            cache.display().to_string(),
            "embedder".to_owned(),
        ]);
    }
    if args.json {
        let rows: Vec<Value> = rows
            .iter()
            .map(|[id, state, place, what]| {
                json!({"id": id, "state": state, "place": place, "what": what})
            })
            .collect();
        print(&format!("{:#}\n", Value::from(rows)))?;
    } else {
        let wide = rows.iter().map(|row| row[0].len()).max().unwrap_or(0);
        for [id, state, place, what] in rows {
            print(&format!("{state:<8} {id:<wide$}  {place}  ({what})\n"))?;
        }
    }
    Ok(Exit::Success)
}

fn get(args: &GetArgs) -> Result<Exit, CliError> {
    enum Wanted {
        Resource(&'static crate::net::KnownResource),
        Embedder(EmbedderSpec),
    }
    // All ids are checked before anything is fetched.
    let mut wanted = Vec::new();
    for id in &args.ids {
        let found = match known_resource(id) {
            Some(resource) => Wanted::Resource(resource),
            None if id.contains(':') => {
                let spec = id.parse::<EmbedderSpec>();
                Wanted::Embedder(spec.map_err(|error| CliError::from_error(Exit::Usage, &error))?)
            }
            None => {
                let ids = KNOWN_RESOURCES.iter().map(|resource| resource.id);
                let near = crate::config::nearest(id, ids);
                let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
                return Err(CliError::usage(format!(
                    "nothing is called {id:?}; `novic hub ls` lists all, embedders have a type \
                     (openclip:{id}){hint}"
                )));
            }
        };
        wanted.push((id, found));
    }
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let downloader = Downloader::new(Patience::default()).map_err(|error| failed(&error))?;
    let mirror = std::env::var(MIRROR_VARIABLE).ok();
    let roots = roots(&args.datasets);
    let mut bar = Bar::new();
    let mut rows = Vec::new();
    for (id, wanted) in wanted {
        let place = match wanted {
            Wanted::Resource(resource) => resource
                .get(&downloader, &roots, mirror.as_deref(), &mut bar)
                .map_err(|error| failed(&error))?,
            Wanted::Embedder(spec) => {
                fetch(&spec, &downloader, mirror.as_deref(), &mut bar)
                    .map_err(|error| failed(&error))?;
                hub_cache()
            }
        };
        bar.finish();
        if args.json {
            rows.push(json!({"id": id, "place": place.display().to_string()}));
        } else {
            print(&format!("{id}: {}\n", place.display()))?;
        }
    }
    if args.json {
        print(&format!("{:#}\n", Value::from(rows)))?;
    }
    Ok(Exit::Success)
}

/// A bar on standard error.
pub(super) struct Bar(Option<ProgressBar>);

impl Bar {
    pub(super) fn new() -> Self {
        Self(None)
    }

    pub(super) fn finish(&mut self) {
        if let Some(bar) = self.0.take() {
            bar.finish_and_clear();
        }
    }
}

impl Progress for Bar {
    fn begin(&mut self, name: &str, done: u64, total: Option<u64>) {
        self.finish();
        let target = ProgressDrawTarget::stderr_with_hz(4);
        let bar = ProgressBar::with_draw_target(total, target);
        let style = "{msg} {bytes}/{total_bytes} {bar:30} {bytes_per_sec} {eta}";
        if let Ok(style) = ProgressStyle::with_template(style) {
            bar.set_style(style);
        }
        // Blobs are called by their hashes.
        bar.set_message(name.chars().take(24).collect::<String>());
        bar.set_position(done);
        bar.enable_steady_tick(Duration::from_millis(500));
        self.0 = Some(bar);
    }

    fn advance(&mut self, bytes: u64) {
        if let Some(bar) = &self.0 {
            bar.inc(bytes);
        }
    }

    fn note(&mut self, text: &str) {
        match &self.0 {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }
}
