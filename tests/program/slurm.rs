//! Sweeps on a real cluster of one node, where SLURM is installed.
//!
//! `tests/tools/slurm-up` starts it; where its programs or the rights are
//! missing, only the test of that is run.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::folder::{Call, Folder, repository};

/// A cluster that ends with the tests.
struct Cluster {
    dir: PathBuf,
    conf: PathBuf,
}

/// The cluster, if one can be started here.
fn cluster() -> Option<&'static Cluster> {
    static CLUSTER: OnceLock<Option<Cluster>> = OnceLock::new();
    CLUSTER.get_or_init(start).as_ref()
}

fn start() -> Option<Cluster> {
    let here = ["slurmctld", "slurmd", "munged", "sbatch"]
        .iter()
        .all(|program| find(program).is_some());
    if !here || !rustix::process::geteuid().is_root() {
        eprintln!("SLURM cannot be started here: the tests of it are left out");
        return None;
    }
    let dir = tempfile::tempdir().unwrap().keep();
    let script = repository("tests/tools/slurm-up");
    let started = Command::new("bash")
        .arg(&script)
        .arg("start")
        .arg(&dir)
        .stderr(Stdio::null())
        .output()
        .unwrap();
    assert!(started.status.success(), "slurm-up failed");
    // Ends it when this process ends, however.
    let watch = format!(
        "while kill -0 {} 2>/dev/null; do sleep 1; done; bash '{}' stop '{}'; rm -rf '{}'",
        std::process::id(),
        script.display(),
        dir.display(),
        dir.display()
    );
    let beside = format!("({watch}) < /dev/null > /dev/null 2>&1 &");
    let begun = Command::new("setsid")
        .args(["bash", "-c", &beside])
        .status();
    assert!(begun.unwrap().success());
    Some(Cluster {
        conf: dir.join("slurm.conf"),
        dir,
    })
}

fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let places = std::env::split_paths(&path).chain(["/usr/sbin".into(), "/sbin".into()]);
    places
        .map(|dir| dir.join(program))
        .find(|path| path.is_file())
}

impl Cluster {
    fn command(&self, folder: &Folder, arguments: &[&str]) -> Command {
        let mut command = folder.command(arguments);
        command.env("SLURM_CONF", &self.conf);
        command
    }

    fn call(&self, folder: &Folder, arguments: &[&str]) -> Call {
        self.command(folder, arguments).output().unwrap().into()
    }

    fn json(&self, folder: &Folder, arguments: &[&str], code: i32) -> Value {
        let call = self.call(folder, arguments).expect(code);
        serde_json::from_str(&call.out).unwrap_or_else(|e| panic!("{e}: {}", call.out))
    }

    fn run(&self, program: &str, arguments: &[&str]) {
        let mut command = Command::new(program);
        let status = command
            .args(arguments)
            .env("SLURM_CONF", &self.conf)
            .status();
        assert!(status.unwrap().success(), "{program} {arguments:?}");
    }
}

/// Waits until something is so.
#[track_caller]
fn until(what: &str, mut so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !so() {
        assert!(begun.elapsed() < Duration::from_secs(120), "never: {what}");
        thread::sleep(Duration::from_millis(100));
    }
}

fn outputs(folder: &Folder, kind: &str) -> usize {
    let items = fs::read_dir(folder.path(".novic/store").join(kind));
    let items = items.into_iter().flatten().flatten();
    items
        .filter(|item| item.path().join("entry.json").is_file())
        .count()
}

/// The shrunken quick start, trained so long that there is time to disturb it.
fn long(folder: &Folder, chunks: u32) -> String {
    let tiny = repository("tests/program/tiny.toml");
    let text = format!(
        "extends = {:?}\n[launcher]\nkind = \"slurm\"\ngrace = 1\n[stage.train]\n\
         train.max_chunks = {chunks}\n",
        tiny.to_str().unwrap()
    );
    fs::write(folder.path("long.toml"), text).unwrap();
    "long.toml".to_owned()
}

/// Whether a training has begun, by its unfinished output.
fn is_training(folder: &Folder) -> bool {
    let dir = folder.path(".novic/store/train/.partial");
    let items = fs::read_dir(dir).into_iter().flatten().flatten();
    items
        .map(|item| item.path())
        .any(|partial| partial.join("partial.json").is_file())
}

#[test]
fn a_sweep_is_done_by_job_arrays() {
    let Some(cluster) = cluster() else { return };
    let folder = Folder::new();
    fs::write(
        folder.path("n.toml"),
        "[launcher]\nkind = \"slurm\"\npreamble = \"export SAID=hello\"\n\
         [stage.shared]\nkind = \"nothing\"\nrun.seed = 1\n\
         [stage.own]\nkind = \"nothing\"\ninputs = [\"shared\"]\nrun.seed = 2\n",
    )
    .unwrap();
    let run = [
        "sweep",
        "run",
        "n.toml",
        "stage.own.run.seed=range(10,14)",
        "--name",
        "s",
        "--json",
    ];
    let submitted = cluster.json(&folder, &run, 0);
    let arrays = submitted["submitted"].as_array().unwrap();
    let counts: Vec<_> = arrays
        .iter()
        .map(|a| a["count"].as_u64().unwrap())
        .collect();
    assert_eq!(counts, [1, 4], "{submitted}");
    // Another process finds them in the queue and submits nothing twice.
    let again = cluster.json(&folder, &run, 0);
    assert!(
        again["submitted"].as_array().is_none_or(Vec::is_empty),
        "{again}"
    );
    let status = cluster.json(&folder, &["sweep", "status", "s", "--wait", "--json"], 0);
    let states = status["points"].as_array().unwrap().iter();
    assert!(states.clone().all(|p| p["state"] == "done"), "{status}");
    assert_eq!(outputs(&folder, "nothing"), 5);
    let logs = fs::read_dir(folder.path(".novic/sweeps/s/logs"))
        .unwrap()
        .count();
    assert_eq!(logs, 5);
    let done = cluster.json(&folder, &run, 0);
    assert!(
        done["summary"].is_null() && done["unfinished"] == 0,
        "{done}"
    );
}

#[test]
fn jobs_that_are_put_back_go_on_with_their_work() {
    let Some(cluster) = cluster() else { return };
    let folder = Folder::new();
    let file = long(&folder, 40);
    let run = [
        "sweep",
        "run",
        &file,
        "noise.vec_norm=1",
        "--name",
        "r",
        "--json",
    ];
    let submitted = cluster.json(&folder, &run, 0);
    let job = submitted["submitted"][0]["job"]
        .as_str()
        .unwrap()
        .to_owned();
    until("a training", || is_training(&folder));
    cluster.run("scontrol", &["requeue", &format!("{job}_0")]);
    let status = ["sweep", "status", "r", "--wait", "--json"];
    let status = cluster.json(&folder, &status, 0);
    assert_eq!(status["points"][0]["state"], "done", "{status}");
    assert_eq!(outputs(&folder, "train"), 1);
    let log =
        fs::read_to_string(folder.path(&format!(".novic/sweeps/r/logs/{job}_0.log"))).unwrap();
    assert!(log.contains("RESUME"), "{log}");
}

#[test]
fn jobs_at_their_time_limit_go_on_in_others() {
    let Some(cluster) = cluster() else { return };
    let folder = Folder::new();
    let file = long(&folder, 40);
    let run = [
        "sweep",
        "run",
        &file,
        "noise.vec_norm=1.1",
        "--name",
        "t",
        "--json",
    ];
    let submitted = cluster.json(&folder, &run, 0);
    let element = format!("{}_0", submitted["submitted"][0]["job"].as_str().unwrap());
    until("a training", || is_training(&folder));
    // What the cluster sends before the limit.
    cluster.run("scancel", &["--batch", "--signal=USR1", &element]);
    let status = cluster.json(&folder, &["sweep", "status", "t", "--wait", "--json"], 0);
    assert_eq!(status["points"][0]["state"], "done", "{status}");
    let log =
        fs::read_to_string(folder.path(&format!(".novic/sweeps/t/logs/{element}.log"))).unwrap();
    assert!(
        log.contains("the time is over") && log.contains("RESUME"),
        "{log}"
    );
}

#[test]
fn jobs_are_ended_from_anywhere() {
    let Some(cluster) = cluster() else { return };
    let folder = Folder::new();
    let file = long(&folder, 4000);
    let run = [
        "sweep",
        "run",
        &file,
        "noise.vec_norm=1,1.2",
        "--name",
        "c",
        "--json",
    ];
    cluster.json(&folder, &run, 0);
    until("a training", || is_training(&folder));
    let cancelled = cluster.json(&folder, &["sweep", "cancel", "c", "--json"], 0);
    assert!(cancelled["jobs"].as_u64().unwrap() > 0, "{cancelled}");
    let status = cluster.json(&folder, &["sweep", "status", "c", "--wait", "--json"], 1);
    assert_eq!(outputs(&folder, "train"), 0, "{status}");
    let told = cluster.call(&folder, &["sweep", "status", "c"]).expect(0);
    assert!(told.out.contains("nothing is running"), "{}", told.out);
}

#[test]
fn a_cluster_that_refuses_says_why() {
    let folder = Folder::new();
    fs::write(
        folder.path("n.toml"),
        "[stage.own]\nkind = \"nothing\"\nrun.seed = 2\n",
    )
    .unwrap();
    let run = |more: &str| {
        let arguments = [
            "sweep",
            "run",
            "n.toml",
            "run.seed=3,4",
            "launcher.kind=slurm",
            more,
        ];
        folder.command(&arguments)
    };
    let mut without = run("launcher.partition=debug");
    let call = Call::from(without.env("PATH", "/nowhere").output().unwrap()).expect(1);
    assert!(
        call.err.contains("there is no `sbatch` here"),
        "{}",
        call.err
    );
    let Some(cluster) = cluster() else { return };
    for (more, expected) in [
        ("launcher.partition=nosuch", "launcher.partition"),
        ("launcher.options=--nosuch", "unrecognized option"),
    ] {
        let mut command = run(more);
        let call = Call::from(command.env("SLURM_CONF", &cluster.conf).output().unwrap()).expect(1);
        assert!(call.err.contains(expected), "{}", call.err);
    }
    assert!(Path::new(&cluster.dir).is_dir());
}
