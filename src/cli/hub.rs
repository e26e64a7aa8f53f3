//! `novic hub`: fetch models, data sets and other files, and list what is
//! there.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::{Args, Subcommand};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use super::print::print;
use super::{CliError, Exit};
use crate::datasets::{expanded, sort_imagenet_val};
use crate::embedders::{
    EmbedderSpec, Renewal, fetch, fetch_state, hub_cache, known_specifications,
};
use crate::net::{
    Downloader, KNOWN_RESOURCES, MIRROR_VARIABLE, Patience, Progress, Roots, State,
    hub_model_bytes, known_resource,
};
use crate::runner::{MissingResource, Plan, bytes_text};

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
/// other hosts. Nothing is fetched twice, unless --refresh asks for what has
/// changed.
///
///   novic hub get openclip:timm/ViT-B-16-SigLIP
///   novic hub get world cifar10 --datasets data
///   novic hub get cifar10 --from Downloads/cifar-10-python.tar.gz
///   novic hub get imagenet-val --from ILSVRC2012_img_val.tar \
///     --labels ILSVRC2012_devkit_t12.tar.gz
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
struct GetArgs {
    /// Ids of things or specifications of embedders
    #[arg(required = true, value_name = "ID")]
    ids: Vec<String>,
    /// Folder of the data sets
    #[arg(long, default_value = "~/Datasets", value_name = "DIR")]
    datasets: String,
    /// Ask whether what is here has changed, and fetch what has
    #[arg(long)]
    refresh: bool,
    /// Take this archive or file, as it was downloaded, in the place of the
    /// network
    #[arg(long, value_name = "FILE", conflicts_with = "refresh")]
    from: Option<PathBuf>,
    /// For imagenet-val: the development kit, or a list of pictures and synsets
    #[arg(long, value_name = "FILE", requires = "from")]
    labels: Option<PathBuf>,
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
            match resource.bytes.map(bytes_text) {
                Some(size) => format!("{}, {size}; licence: {}", resource.what, resource.licence),
                None => format!("{}; licence: {}", resource.what, resource.licence),
            },
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
            match hub_model_bytes(spec.name()).map(bytes_text) {
                Some(size) => format!("embedder, about {size}"),
                None => "embedder".to_owned(),
            },
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
    let roots = roots(&args.datasets);
    let show = |id: &str, place: &Path| {
        if args.json {
            return Ok(());
        }
        print(&format!("{id}: {}\n", place.display())).map(|_| ())
    };
    let fetched = match &args.from {
        Some(from) => {
            let place = take_from(args, from, &roots)?;
            show(&args.ids[0], &place)?;
            vec![(args.ids[0].clone(), place)]
        }
        None => {
            let renewal = match args.refresh {
                true => Renewal::Ask,
                false => Renewal::Missing,
            };
            fetch_all(&args.ids, &roots, renewal, show)?
        }
    };
    if args.json {
        let rows: Vec<Value> = fetched
            .iter()
            .map(|(id, place)| json!({"id": id, "place": place.display().to_string()}))
            .collect();
        print(&format!("{:#}\n", Value::from(rows)))?;
    }
    Ok(Exit::Success)
}

/// The data set whose pictures people fetch themselves.
const SORTED: &str = "imagenet-val";

/// Makes one thing of a file that is on this disk.
fn take_from(args: &GetArgs, from: &Path, roots: &Roots) -> Result<PathBuf, CliError> {
    let [id] = args.ids.as_slice() else {
        return Err(CliError::usage("--from is for one id"));
    };
    let Wanted::Resource(resource) = Wanted::of(id)? else {
        return Err(CliError::usage(format!(
            "{id} is an embedder: name its folder instead (openclip:./folder)"
        )));
    };
    if !from.exists() {
        return Err(CliError::usage(format!("{} is not there", from.display())));
    }
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    if id != SORTED {
        if args.labels.is_some() {
            return Err(CliError::usage(format!("--labels is for {SORTED} only")));
        }
        let place = resource.make_of(from, roots);
        return place.map_err(|error| failed(&error));
    }
    let Some(labels) = &args.labels else {
        return Err(CliError::usage(
            "which class each picture has must be given: --labels ILSVRC2012_devkit_t12.tar.gz, \
             or a list of pictures and synsets",
        ));
    };
    let place = resource.place(roots);
    if resource.state(roots) == State::Present {
        return Err(CliError::failed(format!(
            "{} is there already; remove it first",
            place.display()
        )));
    }
    let count = sort_imagenet_val(from, labels, &place).map_err(|error| failed(&error))?;
    eprintln!("{count} pictures sorted");
    Ok(place)
}

/// Something that can be fetched.
enum Wanted {
    Resource(&'static crate::net::KnownResource),
    Embedder(EmbedderSpec),
}

impl Wanted {
    fn of(id: &str) -> Result<Self, CliError> {
        if let Some(resource) = known_resource(id) {
            return Ok(Self::Resource(resource));
        }
        if id.contains(':') {
            return id
                .parse::<EmbedderSpec>()
                .map(Self::Embedder)
                .map_err(|error| CliError::from_error(Exit::Usage, &error));
        }
        let ids = KNOWN_RESOURCES.iter().map(|resource| resource.id);
        let near = crate::config::nearest(id, ids);
        let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
        Err(CliError::usage(format!(
            "nothing is called {id:?}; `novic hub ls` lists all, embedders have a type \
             (openclip:{id}){hint}"
        )))
    }
}

/// Fetches resources and embedders by their ids, one after the other; calls
/// `done` with each and where it lies.
fn fetch_all(
    ids: &[String],
    roots: &Roots,
    renewal: Renewal,
    mut done: impl FnMut(&str, &Path) -> Result<(), CliError>,
) -> Result<Vec<(String, PathBuf)>, CliError> {
    // All ids are checked before anything is fetched.
    let wanted: Vec<Wanted> = ids
        .iter()
        .map(|id| Wanted::of(id))
        .collect::<Result<_, _>>()?;
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let downloader = Downloader::new(Patience::default()).map_err(|error| failed(&error))?;
    let mirror = std::env::var(MIRROR_VARIABLE).ok();
    let mut bar = Bar::new();
    let mut fetched = Vec::new();
    for (id, wanted) in ids.iter().zip(wanted) {
        let place = match wanted {
            Wanted::Resource(resource) => resource
                .get(
                    &downloader,
                    roots,
                    mirror.as_deref(),
                    renewal == Renewal::Ask,
                    &mut bar,
                )
                .map_err(|error| failed(&error))?,
            Wanted::Embedder(spec) => {
                fetch(&spec, &downloader, mirror.as_deref(), renewal, &mut bar)
                    .map_err(|error| failed(&error))?;
                hub_cache()
            }
        };
        bar.finish();
        done(id, &place)?;
        fetched.push((id.clone(), place));
    }
    Ok(fetched)
}

/// Fetches what the steps of a plan lack and the tables of addresses know; says
/// so on standard error. Returns whether there was anything.
pub(super) fn fetch_missing(plan: &Plan) -> Result<bool, CliError> {
    let mut any = false;
    let mut seen = BTreeSet::new();
    for step in plan.steps() {
        let roots = roots(&step.config.cls.root);
        let missing = step.resources.iter().filter_map(|it| it.missing.as_ref());
        for id in missing.filter_map(|MissingResource { id, .. }| id.as_ref()) {
            if Wanted::of(id).is_ok() && seen.insert(id.clone()) {
                eprintln!("fetching {id}");
                let id = std::slice::from_ref(id);
                fetch_all(id, &roots, Renewal::Missing, |_, _| Ok(()))?;
                any = true;
            }
        }
    }
    Ok(any)
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
