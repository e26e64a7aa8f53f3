//! What the program meets on other people's machines: places that cannot be
//! written, clocks that were moved, other processes, and signals.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::folder::{Call, Folder};

/// Three stages that take no time.
const NOTHING: &str = "[stage.a]\nkind = \"nothing\"\n[stage.b]\nkind = \"nothing\"\ninputs = [\"a\"]\n[stage.c]\nkind = \"nothing\"\nrun.seed = 2\n";

fn with_experiment(text: &str) -> Folder {
    let folder = Folder::new();
    fs::write(folder.path("mine.toml"), text).unwrap();
    folder
}

/// The same call where everything in the folder is on a disk that cannot be
/// written.
fn read_only(folder: &Folder, arguments: &[&str]) -> Call {
    let inner = folder.command(arguments);
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c"])
        .arg("mount --bind . . && mount -o remount,bind,ro . && cd \"$PWD\" && ! touch probe 2>/dev/null && exec \"$0\" \"$@\"")
        .arg(inner.get_program())
        .args(inner.get_args())
        .current_dir(inner.get_current_dir().unwrap());
    for (name, value) in inner.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    command.output().expect("unshare (util-linux)").into()
}

fn runs(folder: &Folder) -> Vec<Value> {
    let call = folder.call(&["ls", "--json", "--last", "0"]).expect(0);
    serde_json::from_str(&call.out).unwrap()
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < Duration::from_secs(60), "no {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// A run that goes on for long, and the process that does its work.
fn long_run(folder: &Folder) -> (Child, rustix::process::Pid) {
    let child = folder
        .run_tiny(&["stage.train.train.max_chunks=100000"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lease = || -> Option<PathBuf> {
        let run = fs::read_dir(folder.path(".novic/runs")).ok()?.next()?;
        Some(run.ok()?.path().join("lease"))
    };
    let pid = wait_for("lease of a run", || {
        let text = fs::read_to_string(lease()?).ok()?;
        let holder: Value = serde_json::from_str(text.lines().next()?).ok()?;
        rustix::process::Pid::from_raw(i32::try_from(holder["pid"].as_i64()?).ok()?)
    });
    // The lease is there a moment before the record.
    wait_for("record of the run", || {
        (!runs(folder).is_empty()).then_some(())
    });
    (child, pid)
}

#[test]
fn inspection_works_where_nothing_can_be_written_and_a_run_says_what_is_in_its_way() {
    let folder = with_experiment(NOTHING);
    folder.call(&["run", "mine.toml", "--only", "a"]).expect(0);
    for arguments in [
        &["ls"][..],
        &["show", "latest"],
        &["plan", "mine.toml"],
        &["why", "mine.toml", "b"],
        &["config", "mine.toml"],
        &["top"],
        &["gc", "--dry-run"],
        &["doctor"],
    ] {
        let call = read_only(&folder, arguments);
        assert_eq!(
            call.code,
            Some(0),
            "{arguments:?}\n{}{}",
            call.out,
            call.err
        );
    }
    let call = read_only(&folder, &["run", "mine.toml"]).expect(1);
    assert!(
        call.err.contains(".novic") && call.err.contains("make it writable"),
        "{}",
        call.err
    );
}

#[test]
fn a_place_elsewhere_serves_a_working_directory_that_cannot_be_written() {
    let folder = with_experiment(NOTHING);
    let elsewhere = tempfile::tempdir().unwrap();
    let home = elsewhere.path().join("home");
    let setting = format!("store.dir={}", home.display());
    let call = read_only(&folder, &["run", "mine.toml", &setting]);
    assert_eq!(call.code, Some(1), "{}", call.err);
    // The work is done and recorded; only the page has no place.
    assert!(call.err.contains("outputs"), "{}", call.err);
    assert_eq!(fs::read_dir(home.join("store/nothing")).unwrap().count(), 4);
}

#[test]
fn runs_of_the_future_are_no_trouble_after_the_clock_was_moved_back() {
    let folder = with_experiment(NOTHING);
    folder.call(&["run", "mine.toml", "--only", "a"]).expect(0);
    // Everything that was written so far says that it is from next year.
    let later = std::time::SystemTime::now() + Duration::from_secs(365 * 86_400);
    let mut pending = vec![folder.path(".novic")];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            pending.extend(fs::read_dir(&path).unwrap().map(|e| e.unwrap().path()));
        } else {
            fs::File::open(&path).unwrap().set_modified(later).unwrap();
        }
    }
    let entry = folder.output_of("nothing").join("entry.json");
    let mut manifest: Value = serde_json::from_slice(&fs::read(&entry).unwrap()).unwrap();
    manifest["published_ms"] = (manifest["published_ms"].as_u64().unwrap() + 31_536_000_000).into();
    fs::write(&entry, manifest.to_string()).unwrap();
    let call = folder.call(&["run", "mine.toml"]).expect(0);
    assert!(call.err.contains("2 done"), "{}", call.err);
    assert_eq!(runs(&folder).len(), 2);
    folder.call(&["ls"]).expect(0);
    folder
        .call(&["gc", "--older-than", "1d", "--dry-run"])
        .expect(0);
}

#[test]
fn two_processes_share_one_store() {
    for locks in ["store.locks=true", "store.locks=false"] {
        let folder = Folder::new();
        let start = || {
            folder
                .run_tiny(&[locks, "--until", "train"])
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap()
        };
        let children = [start(), start()];
        let calls = children.map(|child| Call::from(child.wait_with_output().unwrap()).expect(0));
        // Each stage was made by one of them.
        for kind in ["convert_noun_dataset", "train"] {
            let entries = fs::read_dir(folder.path(".novic/store").join(kind)).unwrap();
            let entries =
                entries.filter(|e| e.as_ref().unwrap().path().join("entry.json").exists());
            assert_eq!(entries.count(), 1, "{kind}");
        }
        let done = |call: &Call| call.err.matches("DONE").count();
        assert_eq!(calls.iter().map(done).sum::<usize>(), 2, "{locks}");
        let runs = runs(&folder);
        assert!(runs.len() == 2 && runs.iter().all(|run| run["state"]["state"] == "finished"));
    }
}

/// The list says that a run has ended so within the last seconds: a busy
/// machine takes its time between the end and the list.
fn assert_recent(list: &str, how: &str) {
    let recent = (0..5).any(|seconds| list.contains(&format!("{how} {seconds} s ago")));
    assert!(recent, "{list}");
}

#[test]
fn a_killed_run_is_shown_as_such_at_once() {
    let folder = Folder::new();
    let (mut parent, worker) = long_run(&folder);
    assert_eq!(runs(&folder)[0]["state"]["state"], "running");
    rustix::process::kill_process(worker, rustix::process::Signal::KILL).unwrap();
    assert_eq!(parent.wait().unwrap().code(), Some(128 + 9));
    let list = folder.call(&["ls"]).expect(0).out;
    assert_recent(&list, "killed (signal 9)");
    assert_eq!(
        folder
            .call(&["ls", "state = killed"])
            .expect(0)
            .out
            .lines()
            .count(),
        2
    );
}

#[test]
fn a_run_ends_with_the_process_that_was_started() {
    let folder = Folder::new();
    let (mut parent, worker) = long_run(&folder);
    parent.kill().unwrap();
    parent.wait().unwrap();
    wait_for("end of the worker", || {
        rustix::process::test_kill_process(worker)
            .is_err()
            .then_some(())
    });
    let list = folder.call(&["ls"]).expect(0).out;
    assert_recent(&list, "ended without a word");
    assert!(list.contains("(last heartbeat "), "{list}");
    let show = folder.call(&["show", "latest"]).expect(0).out;
    assert!(show.contains("last heartbeat at "), "{show}");
}

#[test]
fn what_is_to_be_said_before_a_run_is_said_once() {
    let folder = with_experiment(NOTHING);
    for is_up_to_date in [false, true] {
        let call = folder.call(&["run", "mine.toml", "noise.vec_norm=2"]);
        let call = call.expect(0);
        let warnings = call.err.matches("the override has no effect").count();
        assert_eq!(warnings, 1, "{}", call.err);
        let nothing_to_do = call.err.contains("everything is up to date");
        assert_eq!(nothing_to_do, is_up_to_date, "{}", call.err);
    }
}

#[test]
fn hooks_hear_of_the_end_and_hold_up_nothing() {
    let folder = with_experiment(&format!(
        "hooks.finish = [\"cat > heard.json\", \"exit 7\"]\n{NOTHING}"
    ));
    let call = folder.call(&["run", "mine.toml"]).expect(0);
    let heard: Value =
        serde_json::from_slice(&fs::read(folder.path("heard.json")).unwrap()).unwrap();
    assert_eq!(
        (&heard["event"], &heard["exit_code"]),
        (&"finish".into(), &0.into())
    );
    assert_eq!(heard["run"], runs(&folder)[0]["run"]);
    assert!(
        call.err.contains("hooks.finish[1] failed: exit status: 7"),
        "{}",
        call.err
    );
    let record = folder.call(&["show", "latest", "--json"]).expect(0).out;
    assert!(!record.contains("heard.json"), "hooks may hold secrets");
}

#[test]
fn a_stage_that_takes_the_process_along_fails_alone() {
    let folder = with_experiment(
        "[embedder]\nspec = \"openclip:novic/drawings\"\n\
         [nouns]\nvocab_path = \"embedded\"\nvocab_threshold = 20\n[run]\ndevice = \"cpu\"\n\
         [stage.texts]\nkind = \"cache_noun_dataset\"\n\
         [stage.huge]\nkind = \"train\"\ninputs = [\"texts\"]\n\
         model.hidden_dim = 1000000000\nmodel.heads = 1\n\
         [stage.free]\nkind = \"nothing\"\ninputs = [\"texts\"]\n",
    );
    let arguments = ["run", "mine.toml", "--retries=1", "--retry-pause=0.01"];
    let call = folder.call(&[&arguments[..], &["--keep-going", "--force-all"]].concat());
    let call = call.expect(1);
    let made = |line: &&str| line.contains("DONE") && line.ends_with("texts");
    let made = call.err.lines().filter(made).count();
    assert_eq!(made, 1, "once in all processes: {}", call.err);
    assert!(
        call.err.contains("going on with what is left"),
        "{}",
        call.err
    );
    assert!(call.err.contains("attempt 1 of 2 failed"), "{}", call.err);
    assert!(call.err.contains("killed by signal 6"), "{}", call.err);
    let listed = runs(&folder);
    let states: Vec<_> = listed.iter().map(|run| run["state"].clone()).collect();
    assert_eq!(states.len(), 3, "{states:?}");
    let plan = folder.call(&["plan", "mine.toml", "--json"]).expect(0);
    let plan: Value = serde_json::from_str(&plan.out).unwrap();
    let state = |name: &str| {
        let steps = plan["steps"].as_array().unwrap().iter();
        let step = steps.clone().find(|step| step["name"] == name);
        step.unwrap_or_else(|| panic!("no {name}: {plan:#}"))["state"].clone()
    };
    assert_eq!(state("free"), "up_to_date", "{plan:#}");
    assert_eq!(state("huge"), "failed", "{plan:#}");
}

#[test]
fn a_full_disk_is_freed_by_gc() {
    let folder = with_experiment(NOTHING);
    let inner = folder.command(&["gc"]);
    let program = inner.get_program().to_owned();
    let mut command = Command::new("unshare");
    command
        .args(["-rm", "sh", "-c"])
        .arg(
            "mkdir disk && mount -t tmpfs -o size=2m none disk && cp mine.toml disk && cd disk && \
             \"$0\" run mine.toml && ! head -c 4m /dev/zero > fill 2>/dev/null && \
             \"$0\" gc --older-than 0s --dry-run && \"$0\" gc --max 0 && ls .novic/store/nothing",
        )
        .arg(program)
        .env_remove("NOVIC_HOME")
        .current_dir(inner.get_current_dir().unwrap());
    let call: Call = command.output().expect("unshare (util-linux)").into();
    assert!(
        !call.err.contains("No space left"),
        "{}\n{}",
        call.out,
        call.err
    );
    call.expect(0);
}

#[test]
fn a_closed_terminal_stops_a_run_at_a_safe_point() {
    let folder = Folder::new();
    let (mut child, _) = long_run(&folder);
    let parent = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(parent, rustix::process::Signal::HUP).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(runs(&folder)[0]["state"]["state"], "interrupted");
}
