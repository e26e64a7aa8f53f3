//! `novic doctor`: whether this machine and this project are in order.

use std::path::Path;

use clap::Args;
use serde_json::{Value, json};

use super::print::print;
use super::records::printable;
use super::{CliError, Exit};
use crate::config::schema::Config;
use crate::datasets::expanded;
use crate::device;
use crate::embedders::hub_cache;
use crate::net::{KNOWN_RESOURCES, Roots, WANDB_SERVICE};
use crate::runner::bytes_text;
use crate::store::{Project, Store, StoreError};
use crate::tracking::wandb::ApiKey;
use crate::tracking::{Environment, RunOverview, RunState, list_runs, read_record_without_metrics};

/// Check whether this machine and this project are in order
///
/// Processor, threads, GPU, memory, the store and its disk, run records, the
/// hub cache, keys of services (present or not, never shown), and the files
/// that the published recipes need, with where they come from. Ends with exit
/// code 1 if something is broken.
///
///   novic doctor
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct DoctorArgs {
    /// Read every file of the store and every record, and compare their content
    #[arg(long)]
    thorough: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// How a check came out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Health {
    Good,
    /// Works, but something may be missed.
    Note,
    Broken,
}

struct Check {
    what: &'static str,
    health: Health,
    text: String,
}

/// Prints the state of machine and project.
pub fn cmd_doctor(args: &DoctorArgs) -> Result<Exit, CliError> {
    let project =
        Project::find(None).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let mut checks = machine();
    checks.extend(store(&project, args.thorough));
    checks.extend(runs(&project, args.thorough));
    checks.extend(services());
    checks.extend(resources(&project));
    let broken = checks.iter().any(|check| check.health == Health::Broken);
    let shown = if args.json {
        let checks: Vec<Value> = checks.iter().map(to_json).collect();
        format!("{:#}\n", Value::from(checks))
    } else {
        printable(&text(&checks))
    };
    print(&shown)?;
    Ok(if broken { Exit::Failed } else { Exit::Success })
}

fn good(what: &'static str, text: impl Into<String>) -> Check {
    Check {
        what,
        health: Health::Good,
        text: text.into(),
    }
}

fn note(what: &'static str, text: impl Into<String>) -> Check {
    Check {
        health: Health::Note,
        ..good(what, text)
    }
}

fn broken(what: &'static str, text: impl Into<String>) -> Check {
    Check {
        health: Health::Broken,
        ..good(what, text)
    }
}

fn machine() -> Vec<Check> {
    let machine = Environment::capture();
    let features = machine.cpu_features.join(" ");
    let processor = if machine.cpu_features.iter().any(|name| name == "avx2") || features.is_empty()
    {
        good("processor", format!("{} ({features})", machine.cpu))
    } else {
        note("processor", format!("{} without avx2: slow", machine.cpu))
    };
    let threads = format!("{} of {} granted", machine.threads, machine.cpus);
    vec![
        good(
            "program",
            format!("novic {}, {}", device::VERSION, machine.system),
        ),
        processor,
        good("threads", threads),
        gpu(&machine),
        good("memory", bytes_text(machine.memory)),
    ]
}

/// Whether a GPU is there and of use.
fn gpu(machine: &Environment) -> Check {
    let names = match machine.gpus.is_empty() {
        true => "a GPU".to_owned(),
        false => machine.gpus.join(", "),
    };
    match (device::has_driver(), device::BUILT_WITH_CUDA) {
        (false, false) => good("gpu", "none; everything runs on the processor"),
        (false, true) => note(
            "gpu",
            "no driver for NVIDIA GPUs; everything runs on the processor",
        ),
        (true, false) => note(
            "gpu",
            format!("{names}, but this program was built without CUDA"),
        ),
        (true, true) => match device::open("cuda") {
            (_, Some(warning)) => note("gpu", format!("{names}: {warning}")),
            (_, None) => good("gpu", names),
        },
    }
}

fn store(project: &Project, thorough: bool) -> Vec<Check> {
    let store = Store::new(project.store_dir());
    if !store.root().exists() {
        return vec![good(
            "store",
            format!("none yet: {}", project.home().display()),
        )];
    }
    match entries(&store, thorough) {
        Ok((count, bytes, partial, damaged)) => {
            let mut checks = vec![good(
                "store",
                format!(
                    "{}: {count} outputs, {}; {partial} unfinished",
                    store.root().display(),
                    bytes_text(bytes)
                ),
            )];
            checks.extend(damaged.into_iter().map(|what| broken("store", what)));
            checks.extend(disk(store.root()));
            checks
        }
        Err(error) => vec![broken("store", error.to_string())],
    }
}

/// Outputs, their bytes, unfinished ones, and what is damaged.
fn entries(store: &Store, thorough: bool) -> Result<(usize, u64, usize, Vec<String>), StoreError> {
    let (mut count, mut bytes, mut partial) = (0, 0, 0);
    let mut damaged = Vec::new();
    for kind in store.kinds()? {
        for entry in store.entries(&kind)? {
            count += 1;
            bytes += entry.manifest().bytes;
            let checked = if thorough {
                entry.check_content()
            } else {
                entry.check_sizes()
            };
            damaged.extend(checked.err().map(|error| error.to_string()));
        }
        partial += store.partials(&kind)?.len();
    }
    let left = store.doomed()?.len();
    if left > 0 {
        damaged.push(format!(
            "{left} removals were cut short; `novic gc` ends them"
        ));
    }
    Ok((count, bytes, partial, damaged))
}

fn disk(dir: &Path) -> Option<Check> {
    let space = rustix::fs::statvfs(dir).ok()?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    let text = format!("{} free", bytes_text(free));
    Some(if free < 1_000_000_000 {
        note("disk", format!("{text}; `novic gc --max SIZE` makes room"))
    } else {
        good("disk", text)
    })
}

fn runs(project: &Project, thorough: bool) -> Vec<Check> {
    let (runs, errors) = match list_runs(project) {
        Ok(found) => found,
        Err(error) => return vec![broken("runs", error.to_string())],
    };
    let count = |wanted: fn(&RunState) -> bool| {
        let states = runs.iter().map(|run| &run.state);
        states.filter(|state| wanted(state)).count()
    };
    let running = count(|state| *state == RunState::Running);
    let vanished =
        count(|state| matches!(state, RunState::Killed { .. } | RunState::Vanished { .. }));
    let mut checks = vec![good(
        "runs",
        format!(
            "{}: {running} running, {vanished} ended without a word",
            runs.len()
        ),
    )];
    checks.extend(runs.iter().filter_map(|run| damage(project, run, thorough)));
    let errors = errors.iter().map(|error| broken("runs", error.to_string()));
    checks.extend(errors);
    checks
}

/// What is wrong with the record of a run.
fn damage(project: &Project, run: &RunOverview, thorough: bool) -> Option<Check> {
    let id = &run.run;
    let way_out = format!("`novic rm {id}` removes it");
    if run.state.is_unreadable() {
        return Some(broken("runs", format!("{id} is {}; {way_out}", run.state)));
    }
    if !thorough || run.state == RunState::Running {
        return None;
    }
    match read_record_without_metrics(&project.runs_dir().join(id)) {
        Ok(record) if record.damaged_bytes == 0 => None,
        Ok(record) => Some(broken(
            "runs",
            format!(
                "{id}: {} bytes in the middle of its record cannot be read; `novic show {id}` shows the rest, {way_out}",
                record.damaged_bytes
            ),
        )),
        Err(error) => Some(broken("runs", format!("{error}; {way_out}"))),
    }
}

fn services() -> Vec<Check> {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    let wandb = std::env::var("WANDB_BASE_URL").ok();
    let wandb = wandb.filter(|url| !url.is_empty());
    let wandb = ApiKey::of_service(wandb.as_deref().unwrap_or(WANDB_SERVICE));
    let key = |what, found: bool, purpose: &str, variable: &str| {
        if found {
            good(what, "the key is there")
        } else {
            note(what, format!("no key; {purpose} needs {variable}"))
        }
    };
    let cache = hub_cache();
    let repositories = std::fs::read_dir(&cache).into_iter().flatten().flatten();
    let repositories = repositories
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("models--"))
        .count();
    vec![
        good(
            "hub cache",
            format!("{}: {repositories} models", cache.display()),
        ),
        key("wandb", wandb.is_ok(), "mirroring online", "WANDB_API_KEY"),
        key(
            "llm",
            set("OPENAI_API_KEY"),
            "annotation by a language model",
            "OPENAI_API_KEY",
        ),
    ]
}

/// Files of the published recipes that are not here.
fn resources(project: &Project) -> Vec<Check> {
    let roots = Roots {
        project: project.working_dir().to_owned(),
        datasets: expanded(&Config::default().cls.root),
    };
    let missing = KNOWN_RESOURCES
        .iter()
        .map(|resource| (resource, resource.place(&roots)))
        .filter(|(_, place)| !place.exists());
    missing
        .map(|(resource, place)| {
            let text = format!(
                "not at {}: {} ({})",
                place.display(),
                resource.what,
                resource.address
            );
            note("resource", text)
        })
        .collect()
}

fn to_json(check: &Check) -> Value {
    let health = match check.health {
        Health::Good => "good",
        Health::Note => "note",
        Health::Broken => "broken",
    };
    json!({ "check": check.what, "health": health, "text": check.text })
}

fn text(checks: &[Check]) -> String {
    let lines = checks.iter().map(|check| {
        let word = match check.health {
            Health::Good => "ok",
            Health::Note => "note",
            Health::Broken => "BROKEN",
        };
        format!("{word:>6}  {:9}  {}\n", check.what, check.text)
    });
    lines.collect()
}
