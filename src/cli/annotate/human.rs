//! `novic annotate human`: the page on which people judge predictions.

use std::fmt::Write as _;
use std::io::Write as _;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::process::{Command, Stdio};

use clap::Args;
use serde_json::json;

use crate::annotate::AnnotateError;
use crate::annotate::human::{
    HumanError, ImageSet, Lookups, NounOrder, Order, ServerOptions, Session, SessionOptions,
    SetOptions, read_sets, serve_session,
};
use crate::cli::print::print;
use crate::cli::{CliError, Exit};
use crate::runner::Interrupt;

/// Judge predictions on a page: right, nearly right or wrong
///
/// Opens a page in the browser, on this machine only. Everything is done with
/// keys: q w o p i (or 1 to 5) label the noun and go on, u takes back, ? shows
/// all keys. Every label is on the disk before the page says so; a killed
/// browser or program loses nothing.
///
///   novic annotate human --images world --predictions outputs/run1
///   novic annotate human --images world --predictions outputs/run1 --compare world/_class_annotations_gpt.json
///   novic annotate human --set world=extras/world --set wiki=extras/wiki \
///       --predictions world=outputs/run1 wiki=outputs/run2
///   novic annotate human sets.toml
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct HumanArgs {
    /// TOML file that lists image sets: [[set]] with name, images, predictions,
    /// annotations, k, gen_cfg, compare
    #[arg(value_name = "SETS", conflicts_with_all = ["images", "set", "predictions", "annotations", "compare"])]
    sets: Option<PathBuf>,
    /// Folder of the images
    #[arg(long, value_name = "DIR", required_unless_present_any = ["sets", "set"])]
    images: Option<PathBuf>,
    /// Several folders, each with a name for the page
    #[arg(long, value_name = "NAME=DIR", conflicts_with = "images")]
    set: Vec<String>,
    /// Prediction files, or directories of them; NAME=PATH for one set only
    #[arg(long, value_name = "PATH", num_args = 1.., required_unless_present = "sets")]
    predictions: Vec<String>,
    /// Annotation file to write; else _class_annotations.json in the folder.
    /// NAME=FILE for one of several sets
    #[arg(long, value_name = "FILE")]
    annotations: Vec<String>,
    /// Annotation files to compare with: a second person's, a model's
    #[arg(long, value_name = "FILE")]
    compare: Vec<String>,
    /// Nouns per image and configuration; NAME=K for one of several sets
    /// [default: 2]
    #[arg(short = 'k', long = "topk", value_name = "K")]
    k: Vec<String>,
    /// Only these generation configurations; NAME=CFG for one of several sets
    #[arg(long, value_name = "NAME", num_args = 1..)]
    gen_cfg: Vec<String>,
    /// Order of the images
    #[arg(long, value_enum, default_value_t = Order::File)]
    order: Order,
    /// Order of the nouns of an image
    #[arg(long, value_enum, default_value_t = NounOrder::Rank)]
    nouns: NounOrder,
    /// Seed of --order random
    #[arg(long, value_name = "N", default_value_t = 1)]
    shuffle_seed: u64,
    /// Show pictures whose links lead out of their folder
    #[arg(long)]
    allow_links: bool,
    /// Who judges; goes to the journal
    #[arg(long, value_name = "NAME")]
    annotator: Option<String>,
    /// Hide models, names of images, and all labels but those of --annotator
    #[arg(long)]
    blind: bool,
    /// Look only
    #[arg(long)]
    read_only: bool,
    /// Begin with all pairs, not with the open ones
    #[arg(long)]
    review: bool,
    /// Address to listen on
    #[arg(
        long,
        default_value = "127.0.0.1",
        value_name = "IP",
        help_heading = "Server"
    )]
    bind: IpAddr,
    /// Port to listen on; 0: any that is free
    #[arg(long, default_value_t = 0, help_heading = "Server")]
    port: u16,
    /// Secret of the address, or none; else drawn anew each time
    #[arg(long, value_name = "TEXT|none", help_heading = "Server")]
    token: Option<String>,
    /// Do not open the browser
    #[arg(long, help_heading = "Server")]
    no_open: bool,
    /// Address of a definition, with {noun}
    #[arg(long, value_name = "URL", help_heading = "Server")]
    definition_url: Option<String>,
    /// Address of pictures, with {noun}
    #[arg(long, value_name = "URL", help_heading = "Server")]
    images_url: Option<String>,
    /// Address of a WordNet, with {noun}
    #[arg(long, value_name = "URL", help_heading = "Server")]
    wordnet_url: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Runs `novic annotate human`.
pub(super) fn human(args: &HumanArgs) -> Result<Exit, CliError> {
    let token = token(args)?;
    let lookups = lookups(args)?;
    let sets = sets(args)?
        .iter()
        .map(|set| ImageSet::open(set, args.order, args.nouns, args.shuffle_seed))
        .collect::<Result<Vec<_>, _>>()
        .map_err(failed)?;
    if sets.iter().all(|set| set.items.is_empty()) {
        return Err(CliError::usage(
            "there is nothing to judge: the prediction files are empty",
        ));
    }
    let options = SessionOptions {
        annotator: args.annotator.clone(),
        read_only: args.read_only,
        blind: args.blind,
    };
    let session = Session::open(sets, options).map_err(failed)?;
    let interrupt = Interrupt::of_signals().map_err(CliError::failed)?;
    let stop = async move { interrupt.raised().await };
    let (as_json, opens) = (args.json, !args.no_open);
    let listening = move |url: String| {
        let line = match as_json {
            true => json!({ "url": url }).to_string(),
            false => format!("annotate at {url}\nCtrl-C ends it; everything is on the disk"),
        };
        // Whoever started it may not listen any more.
        let _ = writeln!(std::io::stdout(), "{line}");
        if opens {
            open_browser(&url);
        }
    };
    let options = ServerOptions {
        address: SocketAddr::new(args.bind, args.port),
        token,
        review: args.review,
        lookups,
    };
    let session = serve_session(session, &options, listening, stop)
        .map_err(|error| CliError::failed(format!("{}: {error}", options.address)))?;
    let session = session
        .lock()
        .unwrap_or_else(|poisoned| poisoned.into_inner());
    tell(args, &session)
}

fn failed(error: HumanError) -> CliError {
    let exit = match &error {
        HumanError::Sets(_) | HumanError::SameFile { .. } | HumanError::NoFolder { .. } => {
            Exit::Usage
        }
        HumanError::Annotate(
            AnnotateError::NoConfig { .. } | AnnotateError::NoPredictions { .. },
        ) => Exit::Usage,
        _ => Exit::Failed,
    };
    CliError::from_error(exit, &error)
}

fn token(args: &HumanArgs) -> Result<Option<String>, CliError> {
    match args.token.as_deref() {
        Some("none") if !args.bind.is_loopback() => Err(CliError::usage(
            "--token none is for this machine only: without it everybody who reaches the address \
             could write your files",
        )),
        Some("none") => Ok(None),
        Some(token) => {
            let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
            if token.len() < 8 || !token.bytes().all(is_plain) {
                let message = "--token: give at least 8 letters, digits, or any of - _ . ~";
                return Err(CliError::usage(message));
            }
            Ok(Some(token.to_owned()))
        }
        None => {
            if !args.bind.is_loopback() {
                eprintln!(
                    "warning: everybody who reaches {} and knows the address can label",
                    args.bind
                );
            }
            let secret: [u8; 16] = rand::random();
            Ok(Some(
                secret.iter().map(|byte| format!("{byte:02x}")).collect(),
            ))
        }
    }
}

fn lookups(args: &HumanArgs) -> Result<Lookups, CliError> {
    let usual = Lookups::default();
    let choose = |given: &Option<String>, usual: String| match given {
        None => Ok(usual),
        Some(address) if address.starts_with("https://") || address.starts_with("http://") => {
            Ok(address.clone())
        }
        Some(address) => Err(CliError::usage(format!(
            "{address:?} is no address of a page: it begins with https://, and {{noun}} stands for the noun"
        ))),
    };
    Ok(Lookups {
        definition: choose(&args.definition_url, usual.definition)?,
        images: choose(&args.images_url, usual.images)?,
        wordnet: choose(&args.wordnet_url, usual.wordnet)?,
    })
}

/// The sets of the command line or of the file.
fn sets(args: &HumanArgs) -> Result<Vec<SetOptions>, CliError> {
    if let Some(file) = &args.sets {
        let k = topk(&args.k)?;
        return read_sets(file, k, args.allow_links).map_err(failed);
    }
    let mut named: Vec<(String, PathBuf)> = Vec::new();
    for set in &args.set {
        let (name, folder) = set
            .split_once('=')
            .filter(|(name, folder)| !name.is_empty() && !folder.is_empty())
            .ok_or_else(|| CliError::usage(format!("--set {set:?}: write NAME=DIR")))?;
        if named.iter().any(|(known, _)| known == name) {
            return Err(CliError::usage(format!("--set {name} is there twice")));
        }
        named.push((name.to_owned(), folder.into()));
    }
    if let Some(folder) = &args.images {
        let name = folder.file_name().unwrap_or(folder.as_os_str());
        named.push((name.to_string_lossy().into_owned(), folder.clone()));
    }
    let names: Vec<String> = named.iter().map(|(name, _)| name.clone()).collect();
    // What is meant for one set, and what for all.
    let of = |values: &[String], set: &str| -> Vec<String> {
        let mut found = Vec::new();
        for value in values {
            match value.split_once('=') {
                Some((name, path)) if names.iter().any(|known| known == name) => {
                    if name == set {
                        found.push(path.to_owned());
                    }
                }
                _ => found.push(value.clone()),
            }
        }
        found
    };
    named
        .into_iter()
        .map(|(name, images)| {
            let annotations = of(&args.annotations, &name);
            let predictions = of(&args.predictions, &name);
            if annotations.len() > 1 {
                let message =
                    format!("{name} has several annotation files: give --annotations once");
                return Err(CliError::usage(message));
            }
            if predictions.is_empty() {
                let message = format!("{name} has no predictions: give --predictions {name}=PATH");
                return Err(CliError::usage(message));
            }
            Ok(SetOptions {
                k: topk(&of(&args.k, &name))?,
                gen_cfg: of(&args.gen_cfg, &name),
                annotations: paths(annotations).into_iter().next(),
                predictions: paths(predictions),
                compare: paths(of(&args.compare, &name)),
                links: args.allow_links,
                name,
                images,
            })
        })
        .collect()
}

fn paths(names: Vec<String>) -> Vec<PathBuf> {
    names.into_iter().map(PathBuf::from).collect()
}

/// How many nouns: the last number that was given.
fn topk(given: &[String]) -> Result<usize, CliError> {
    let Some(text) = given.last() else {
        return Ok(2);
    };
    let number = text.parse().ok().filter(|k| *k > 0);
    number.ok_or_else(|| CliError::usage(format!("-k {text:?}: give a number of nouns, 1 or more")))
}

/// Opens a page in the user's browser, if there is one.
fn open_browser(url: &str) {
    let program = if cfg!(target_os = "macos") {
        "open"
    } else {
        "xdg-open"
    };
    // Its address is printed as well.
    let _ = Command::new(program)
        .arg(url)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
}

/// What the session has come to.
fn tell(args: &HumanArgs, session: &Session) -> Result<Exit, CliError> {
    let seconds = session.lasted().as_secs();
    let errors: Vec<(&str, &str)> = session.save_errors().collect();
    if args.json {
        let sets: Vec<_> = session
            .sets()
            .enumerate()
            .map(|(place, set)| {
                let progress = session.progress(place);
                json!({
                    "name": set.name,
                    "annotations": set.annotations,
                    "categories": session.counts(place),
                    "pairs": progress.pairs,
                    "open_pairs": progress.pairs - progress.pairs_done,
                    "images": progress.images,
                    "complete_images": progress.images_done,
                })
            })
            .collect();
        let report = json!({"sets": sets, "labels": session.labels(), "seconds": seconds});
        print(&format!("{report:#}\n"))?;
    } else {
        let mut text = String::new();
        for (place, set) in session.sets().enumerate() {
            let progress = session.progress(place);
            let _ = writeln!(
                text,
                "{}: {} of {} pairs labelled, {} of {} images complete",
                set.name,
                progress.pairs_done,
                progress.pairs,
                progress.images_done,
                progress.images
            );
            for (category, count) in session.counts(place) {
                let _ = writeln!(text, "  {count:>8} {category}");
            }
        }
        let _ = writeln!(
            text,
            "{} labels in {} min",
            session.labels(),
            seconds.div_ceil(60)
        );
        print(&text)?;
    }
    if errors.is_empty() {
        return Ok(Exit::Success);
    }
    for (set, why) in errors {
        eprintln!("{set}: {why}; the labels are in the journal, the next session takes them in");
    }
    Ok(Exit::Failed)
}
