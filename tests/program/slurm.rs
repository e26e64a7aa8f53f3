//! Sweeps on a real cluster of one node, where SLURM is installed.
//!
//! `tests/tools/slurm-up` starts it; where its programs or the rights are
//! missing, only the test of that is run.

use std::fs;
use std::ops::Deref;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::folder::{Call, Folder, repository};

/// A cluster that ends with the tests.
struct Cluster {
    dir: PathBuf,
    conf: PathBuf,
}

/// The cluster, beside other tests or alone.
struct Turn<G> {
    cluster: &'static Cluster,
    _turn: G,
}

impl<G> Deref for Turn<G> {
    type Target = Cluster;
    fn deref(&self) -> &Cluster {
        self.cluster
    }
}

static TURNS: RwLock<()> = RwLock::new(());

/// The cluster, if one can be started here.
fn cluster() -> Option<Turn<RwLockReadGuard<'static, ()>>> {
    Some(Turn {
        cluster: started()?,
        _turn: TURNS.read().unwrap_or_else(PoisonError::into_inner),
    })
}

/// The same, for what disturbs other jobs.
fn cluster_alone() -> Option<Turn<RwLockWriteGuard<'static, ()>>> {
    Some(Turn {
        cluster: started()?,
        _turn: TURNS.write().unwrap_or_else(PoisonError::into_inner),
    })
}

fn started() -> Option<&'static Cluster> {
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

    fn said(&self, program: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(program);
        let output = command
            .args(arguments)
            .env("SLURM_CONF", &self.conf)
            .output();
        String::from_utf8_lossy(&output.unwrap().stdout).into_owned()
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

/// Submits a sweep of one long training, and waits until that is at work. Returns
/// the job, as an element of its array.
#[track_caller]
fn training(cluster: &Cluster, folder: &Folder, chunks: u32, value: &str, name: &str) -> String {
    let file = long(folder, chunks);
    let run = ["sweep", "run", &file, value, "--name", name, "--json"];
    let submitted = cluster.json(folder, &run, 0);
    until("a training", || is_training(folder));
    format!("{}_0", submitted["submitted"][0]["job"].as_str().unwrap())
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
    let element = training(&cluster, &folder, 40, "noise.vec_norm=1.1", "t");
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

/// The machine that submits goes away between the cluster's taking an array and
/// the line about it: nothing is submitted twice, and all of it is done.
#[test]
fn a_submission_that_breaks_off_is_taken_up() {
    let Some(cluster) = cluster() else { return };
    let folder = Folder::new();
    fs::write(
        folder.path("n.toml"),
        "[launcher]\nkind = \"slurm\"\n\
         [stage.shared]\nkind = \"nothing\"\nrun.seed = 1\n\
         [stage.own]\nkind = \"nothing\"\ninputs = [\"shared\"]\nrun.seed = 2\n",
    )
    .unwrap();
    let sbatch = find("sbatch").unwrap();
    let text = format!(
        "#!/bin/bash\n{} --hold \"$@\"\nkill -9 $PPID\n",
        sbatch.display()
    );
    let path = program(&folder, "sbatch", &text);
    let run = [
        "sweep",
        "run",
        "n.toml",
        "stage.own.run.seed=range(10,13)",
        "--name",
        "g",
        "--json",
    ];
    let mut broken = cluster.command(&folder, &run);
    broken.env("PATH", path);
    let broken = broken.output().unwrap();
    assert_eq!(broken.status.code(), None, "it was killed");
    assert!(!folder.path(".novic/sweeps/g/jobs.jsonl").exists());
    // The shared stage is in the queue: only the points are new.
    let submitted = cluster.json(&folder, &run, 0);
    let arrays = submitted["submitted"].as_array().unwrap();
    let counts: Vec<_> = arrays.iter().map(|a| a["count"].as_u64()).collect();
    assert_eq!(counts, [Some(3)], "{submitted}");
    let jobs = fs::read_to_string(folder.path(".novic/sweeps/g/jobs.jsonl")).unwrap();
    let first: Value = serde_json::from_str(jobs.lines().next().unwrap()).unwrap();
    cluster.run("scontrol", &["release", first["job"].as_str().unwrap()]);
    cluster.json(&folder, &["sweep", "status", "g", "--wait", "--json"], 0);
    assert_eq!(outputs(&folder, "nothing"), 4);
}

/// The daemon of the machine is killed with all that it started: the cluster puts
/// the job back, and it goes on with its work.
#[test]
fn jobs_of_a_machine_that_fails_go_on() {
    let Some(cluster) = cluster_alone() else {
        return;
    };
    let folder = Folder::new();
    let element = training(&cluster, &folder, 40, "noise.vec_norm=1.3", "d");
    let daemon = || {
        let pid = fs::read_to_string(cluster.dir.join("slurmd.pid")).unwrap();
        pid.trim().parse::<i32>().unwrap()
    };
    // The job, and the process of the cluster that watches it.
    let job = process_of(&folder.path(".novic/sweeps/d")).expect("a job");
    let watcher = parent(job).expect("a watcher");
    for process in [daemon(), watcher, job] {
        kill(process);
    }
    // The machine comes back; that the job is gone counts once it could have
    // told of itself.
    let number = element.split('_').next().unwrap();
    until("the job is put back", || {
        cluster.run("slurmd", &[]);
        thread::sleep(Duration::from_secs(5));
        let show = ["--oneliner", "show", "job", number];
        let is_back = cluster.said("scontrol", &show).contains("Restarts=1");
        if !is_back {
            kill(daemon());
            thread::sleep(Duration::from_millis(500));
        }
        is_back
    });
    let status = cluster.json(&folder, &["sweep", "status", "d", "--wait", "--json"], 0);
    assert_eq!(status["points"][0]["state"], "done", "{status}");
    assert_eq!(outputs(&folder, "train"), 1);
    let log =
        fs::read_to_string(folder.path(&format!(".novic/sweeps/d/logs/{element}.log"))).unwrap();
    assert!(log.contains("RESUME"), "{log}");
}

/// The process of a job of a sweep.
fn process_of(sweep: &Path) -> Option<i32> {
    let sweep = fs::canonicalize(sweep).ok()?;
    let entries = fs::read_dir("/proc").ok()?.flatten();
    let ours = |pid: &i32| {
        let words = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        let words: Vec<_> = words.split(|byte| *byte == 0).collect();
        words.get(1..3) == Some(&[b"sweep".as_slice(), b"job".as_slice()])
            && words.get(3).is_some_and(|dir| {
                let dir = Path::new(std::str::from_utf8(dir).unwrap_or_default());
                fs::canonicalize(dir).is_ok_and(|dir| dir == sweep)
            })
    };
    let mut pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.find(ours)
}

fn parent(pid: i32) -> Option<i32> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    line.trim().parse().ok()
}

fn kill(pid: i32) {
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

/// A stage that writes a cache, divided: the parts are elements of an array, and
/// what they are joined to is what one machine writes.
#[test]
fn divided_stages_are_job_arrays() {
    let Some(cluster) = cluster() else { return };
    let folder = Folder::new();
    let tiny = repository("tests/program/tiny.toml");
    let run = [
        "sweep",
        "run",
        tiny.to_str().unwrap(),
        "noise.vec_norm=1,1.4",
        "launcher.kind=slurm",
        "launcher.shards=nouns:3",
        "--name",
        "p",
        "--json",
    ];
    let submitted = cluster.json(&folder, &run, 0);
    let arrays = submitted["submitted"].as_array().unwrap();
    let counts: Vec<_> = arrays.iter().map(|a| a["count"].as_u64()).collect();
    // Three parts beside the zero-shot scores, then the join, then the points.
    assert_eq!(counts, [Some(4), Some(1), Some(2)], "{submitted}");
    let status = cluster.json(&folder, &["sweep", "status", "p", "--wait", "--json"], 0);
    let states = status["points"].as_array().unwrap().iter();
    assert!(states.clone().all(|p| p["state"] == "done"), "{status}");
    assert_eq!(outputs(&folder, "convert_noun_dataset"), 4);
    assert_eq!(outputs(&folder, "train"), 2);
    let alone = Folder::new();
    let whole = ["run", tiny.to_str().unwrap(), "--until", "nouns"];
    alone.call(&whole).expect(0);
    let [made] = caches(&alone).try_into().expect("one cache");
    let made = fs::read(made).unwrap();
    let joined = caches(&folder)
        .iter()
        .any(|path| fs::read(path).unwrap() == made);
    assert!(joined, "the joined cache is another one");
}

/// The caches of nouns in the store.
fn caches(folder: &Folder) -> Vec<PathBuf> {
    let items = fs::read_dir(folder.path(".novic/store/convert_noun_dataset")).unwrap();
    let files = items.flatten().map(|item| item.path().join("cache.bin"));
    files.filter(|path| path.is_file()).collect()
}

/// A job ends without a word of its own: status says what the cluster knows,
/// without accounting and with it.
#[test]
fn jobs_that_end_without_a_word_are_told_of() {
    let Some(cluster) = cluster() else { return };
    let folder = Folder::new();
    let element = training(&cluster, &folder, 4000, "noise.vec_norm=1.6", "w");
    kill(process_of(&folder.path(".novic/sweeps/w")).expect("a job"));
    let status = ["sweep", "status", "w", "--wait", "--json"];
    let status = cluster.json(&folder, &status, 1);
    let lost = &status["lost"][0];
    assert_eq!(lost["job"], element.as_str(), "{status}");
    assert_eq!(lost["state"], "FAILED", "{status}");
    assert!(
        lost["reason"]
            .as_str()
            .is_some_and(|reason| !reason.is_empty()),
        "{status}"
    );
    let bin = program(
        &folder,
        "sacct",
        &format!("#!/bin/bash\necho '{element}|OUT_OF_MEMORY|0:125'\n"),
    );
    let mut with_accounts = cluster.command(&folder, &["sweep", "status", "w"]);
    let told = Call::from(with_accounts.env("PATH", bin).output().unwrap()).expect(0);
    assert!(
        told.out
            .contains(&format!("job {element}: OUT_OF_MEMORY (signal 125)")),
        "{}",
        told.out
    );
}

/// Puts a program before those of the machine; the path to search.
fn program(folder: &Folder, name: &str, text: &str) -> String {
    let bin = folder.path("bin");
    fs::create_dir_all(&bin).unwrap();
    fs::write(bin.join(name), text).unwrap();
    fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{}:{path}", bin.display())
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
