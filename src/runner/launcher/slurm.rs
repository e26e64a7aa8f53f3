//! SLURM: pieces of work as elements of job arrays.
//!
//! Pieces that wait for others are in an array that depends on theirs. A job
//! runs a copy of this program on the sweep as it was frozen, so that what was
//! submitted is what runs. Whatever the cluster does to a job, what it made so
//! far is in the store, and nobody does the same piece at the same time.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde::{Deserialize, Serialize};

use super::error::LaunchError;
use super::processes::write_list;
use crate::config::schema::{Launcher, Needs};
use crate::runner::sweep::{LISTS, Sweep, SweepError, SweepFolder, Unit, UnitSpec};
use crate::store::{StoreError, publish_file};

/// Elements of an array; most clusters allow no more.
const MOST: usize = 1000;

/// File with the arrays of a sweep.
const JOBS: &str = "jobs.jsonl";

/// An array that was submitted.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ArrayLine {
    /// Number of the array at the cluster.
    pub job: String,
    /// List of its pieces of work; a piece's place is its index.
    pub list: PathBuf,
    /// How many there are.
    pub count: usize,
    /// When it was submitted, ms since 1970.
    pub submitted_ms: u64,
}

/// What the cluster says about an element.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobState {
    /// The state: `RUNNING`, `PENDING`, `TIMEOUT` …
    pub state: String,
    /// Why it waits, or why it ended so; may be empty.
    pub reason: String,
    /// Whether it will run or runs.
    pub active: bool,
}

/// A piece of work with the job it was given to.
#[derive(Clone, Debug)]
pub struct Submitted {
    /// The piece.
    pub spec: UnitSpec,
    /// The element: `123_4`.
    pub element: String,
    /// When it was submitted, ms since 1970.
    pub submitted_ms: u64,
    /// What the cluster says; none: it does not know it any more.
    pub state: Option<JobState>,
}

/// Submits pieces of work, except those that are `active` under some element
/// already; the arrays.
///
/// # Errors
/// The cluster is not there or refuses.
pub fn submit(
    sweep: &Sweep,
    units: &[Unit],
    active: &BTreeMap<String, String>,
    launcher: &Launcher,
    options: &[String],
) -> Result<Vec<ArrayLine>, SweepError> {
    let program = frozen_program(&sweep.folder)?;
    let mut depths: Vec<usize> = Vec::with_capacity(units.len());
    for unit in units {
        let before = unit.after.iter().map(|other| depths[*other] + 1);
        depths.push(before.max().unwrap_or(0));
    }
    let levels = depths.iter().max().map_or(0, |depth| depth + 1);
    let mut lines: Vec<ArrayLine> = Vec::new();
    let mut job_of: Vec<Option<String>> = units
        .iter()
        .map(|unit| active.get(&unit.spec.unit).cloned())
        .collect();
    for level in 0..levels {
        let members: Vec<usize> = (0..units.len())
            .filter(|at| depths[*at] == level && job_of[*at].is_none())
            .collect();
        for members in members.chunks(MOST) {
            let mut before: Vec<&String> = members
                .iter()
                .flat_map(|at| &units[*at].after)
                .filter_map(|other| job_of[*other].as_ref())
                .collect();
            before.sort();
            before.dedup();
            let before: Vec<String> = before.into_iter().cloned().collect();
            let specs: Vec<&UnitSpec> = members.iter().map(|at| &units[*at].spec).collect();
            let needs = most(members.iter().map(|at| &units[*at].needs));
            let list = write_list(sweep, &specs)?;
            let array = Array {
                sweep,
                launcher,
                list: &list,
                program: &program,
                count: members.len(),
                needs: &needs,
                before: &before,
                options,
            };
            let job = array.submit()?;
            for at in members {
                job_of[*at] = Some(job.clone());
            }
            let line = ArrayLine {
                job,
                list,
                count: members.len(),
                submitted_ms: jiff::Timestamp::now().as_millisecond().max(0) as u64,
            };
            // Before the next one, so that it is known whatever happens.
            sweep.folder.append(JOBS, std::slice::from_ref(&line))?;
            lines.push(line);
        }
    }
    Ok(lines)
}

/// What several pieces need at most.
fn most<'a>(needs: impl Iterator<Item = &'a Needs>) -> Needs {
    needs.fold(Needs::default(), |most, needs| Needs {
        cpus: most.cpus.max(needs.cpus),
        gpus: most.gpus.max(needs.gpus),
        memory: most.memory.max(needs.memory),
    })
}

/// A copy of this program that stays as it is, in the sweep's directory.
fn frozen_program(folder: &SweepFolder) -> Result<PathBuf, SweepError> {
    let here = Path::new("novic");
    let program = std::env::current_exe().map_err(StoreError::io("find", here))?;
    let mut hasher = blake3::Hasher::new();
    let file = fs::File::open(&program).map_err(StoreError::io("open", &program))?;
    hasher
        .update_reader(file)
        .map_err(StoreError::io("read", &program))?;
    let hash = hasher.finalize().to_hex();
    let dir = folder.dir().join("bin");
    fs::create_dir_all(&dir).map_err(StoreError::io("make", &dir))?;
    let copy = dir.join(format!("novic-{}", &hash.as_str()[..16]));
    if !copy.exists() {
        let copied = publish_file(&copy, |to| {
            let mut from = fs::File::open(&program)?;
            std::io::copy(&mut from, to)?;
            Ok(())
        });
        copied
            .and_then(|()| fs::set_permissions(&copy, fs::Permissions::from_mode(0o755)))
            .map_err(StoreError::io("write", &copy))?;
    }
    Ok(copy)
}

/// An array that is to be submitted.
struct Array<'a> {
    sweep: &'a Sweep,
    launcher: &'a Launcher,
    list: &'a Path,
    program: &'a Path,
    count: usize,
    needs: &'a Needs,
    before: &'a [String],
    options: &'a [String],
}

impl Array<'_> {
    /// Its number at the cluster.
    fn submit(&self) -> Result<String, SweepError> {
        let logs = self.sweep.folder.dir().join("logs");
        fs::create_dir_all(&logs).map_err(StoreError::io("make", &logs))?;
        let script = self.list.with_extension("sh");
        crate::store::write_file(&script, self.script().as_bytes())?;
        let mut command = Command::new("sbatch");
        command.args(self.arguments(&logs)).arg(&script);
        let said = run(command, "sbatch")?;
        // With several clusters, `job;cluster`.
        let job = said.trim().split(';').next().unwrap_or_default();
        match !job.is_empty() && job.bytes().all(|b| b.is_ascii_digit()) {
            true => Ok(job.to_owned()),
            false => Err(LaunchError::Refused {
                program: "sbatch",
                said: format!("expected the number of a job, found {:?}", said.trim()),
            }
            .into()),
        }
    }

    fn script(&self) -> String {
        let mut text = String::from("#!/bin/bash\n");
        for line in &self.launcher.preamble {
            let _ = writeln!(text, "{line}");
        }
        let quoted = |path: &Path| {
            let text = path.display().to_string();
            shlex::try_quote(&text).map_or_else(|_| text.clone(), |text| text.into_owned())
        };
        let _ = write!(
            text,
            "exec {} sweep job {} --list {} --place \"$SLURM_ARRAY_TASK_ID\"",
            quoted(self.program),
            quoted(self.sweep.folder.dir()),
            quoted(self.list)
        );
        for option in self.options {
            let _ = write!(text, " {option}");
        }
        text.push('\n');
        text
    }

    fn arguments(&self, logs: &Path) -> Vec<String> {
        let launcher = self.launcher;
        let mut arguments = vec![
            "--parsable".to_owned(),
            format!("--job-name={}", self.sweep.header.name),
            format!("--output={}", logs.join("%A_%a.log").display()),
            "--open-mode=append".to_owned(),
            format!("--chdir={}", self.sweep.header.working_dir.display()),
            // To the program itself, which then saves its work.
            format!("--signal=B:USR1@{}", launcher.grace),
            match launcher.requeue {
                true => "--requeue".to_owned(),
                false => "--no-requeue".to_owned(),
            },
        ];
        let at_once = launcher
            .parallel
            .map(|n| format!("%{n}"))
            .unwrap_or_default();
        arguments.push(format!("--array=0-{}{at_once}", self.count - 1));
        let mut option = |name: &str, value: Option<String>| {
            arguments.extend(value.map(|value| format!("--{name}={value}")));
        };
        option("partition", launcher.partition.clone());
        option("account", launcher.account.clone());
        option("qos", launcher.qos.clone());
        option("time", launcher.time.clone());
        let gpus = (self.needs.gpus > 0).then(|| format!("gpu:{}", self.needs.gpus));
        option("gres", launcher.gres.clone().or(gpus));
        let memory =
            (self.needs.memory > 0.0).then(|| format!("{}M", (self.needs.memory * 1024.0).ceil()));
        option("mem", launcher.memory.clone().or(memory));
        let cpus = launcher.cpus.or(self.needs.cpus);
        option("cpus-per-task", cpus.map(|cpus| cpus.to_string()));
        // However they ended: a piece looks itself whether it has what it needs.
        let before =
            (!self.before.is_empty()).then(|| format!("afterany:{}", self.before.join(":")));
        option("dependency", before);
        arguments.extend(launcher.options.iter().cloned());
        arguments
    }
}

/// Runs a program of the cluster; what it prints.
fn run(mut command: Command, program: &'static str) -> Result<String, LaunchError> {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(LaunchError::NoProgram { program });
        }
        Err(source) => {
            return Err(LaunchError::Start {
                program: program.to_owned(),
                source,
            });
        }
    };
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<_> = said
        .lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .collect();
    Err(LaunchError::Refused {
        program,
        said: lines.join("; "),
    })
}

/// The pieces of work that were submitted, each with its last job and what the
/// cluster says about that.
///
/// # Errors
/// The sweep's files cannot be read, or the cluster does not answer.
pub fn submitted(folder: &SweepFolder) -> Result<Vec<Submitted>, SweepError> {
    adopt(folder)?;
    let arrays: Vec<ArrayLine> = folder.lines(JOBS)?;
    if arrays.is_empty() {
        return Ok(Vec::new());
    }
    let mut last: BTreeMap<String, Submitted> = BTreeMap::new();
    for array in &arrays {
        let name = array.list.file_name().unwrap_or_default();
        let list = format!("{LISTS}/{}", name.to_string_lossy());
        for (place, spec) in folder.lines::<UnitSpec>(&list)?.into_iter().enumerate() {
            let piece = Submitted {
                element: format!("{}_{place}", array.job),
                submitted_ms: array.submitted_ms,
                state: None,
                spec,
            };
            last.insert(piece.spec.unit.clone(), piece);
        }
    }
    let mut pieces: Vec<Submitted> = last.into_values().collect();
    let jobs: Vec<&str> = arrays.iter().map(|array| array.job.as_str()).collect();
    let mut states = queued(&jobs)?;
    let missing = pieces
        .iter()
        .any(|piece| !states.contains_key(&piece.element));
    if missing {
        for (element, state) in ended(&jobs) {
            states.entry(element).or_insert(state);
        }
    }
    for piece in &mut pieces {
        piece.state = states.get(&piece.element).cloned();
    }
    pieces.sort_by_key(|piece| piece.spec.point);
    Ok(pieces)
}

/// Writes down arrays that the cluster took from a process that went away before
/// it could.
fn adopt(folder: &SweepFolder) -> Result<(), SweepError> {
    let known: Vec<ArrayLine> = folder.lines(JOBS)?;
    let lists = folder.dir().join(LISTS);
    let scripts = fs::read_dir(&lists).into_iter().flatten().flatten();
    let scripts = scripts.map(|entry| entry.path());
    let lost: Vec<PathBuf> = scripts
        .filter(|path| path.extension().is_some_and(|end| end == "sh"))
        .map(|path| path.with_extension("jsonl"))
        .filter(|list| !known.iter().any(|array| array.list == *list))
        .collect();
    if lost.is_empty() {
        return Ok(());
    }
    let mut command = Command::new("squeue");
    command.args(["--noheader", "--array", "--format=%F|%o"]);
    let Ok(text) = run(command, "squeue") else {
        // Where there is no cluster, it has taken nothing.
        return Ok(());
    };
    let jobs: BTreeMap<&str, &str> = text
        .lines()
        .filter_map(|line| line.trim().split_once('|'))
        .map(|(job, script)| (script, job))
        .collect();
    for list in lost {
        let script = list.with_extension("sh").display().to_string();
        if let Some(job) = jobs.get(script.as_str()) {
            let name = list.file_name().unwrap_or_default().to_string_lossy();
            let specs: Vec<UnitSpec> = folder.lines(&format!("{LISTS}/{name}"))?;
            let line = ArrayLine {
                job: (*job).to_owned(),
                count: specs.len(),
                list,
                submitted_ms: jiff::Timestamp::now().as_millisecond().max(0) as u64,
            };
            folder.append(JOBS, &[line])?;
        }
    }
    Ok(())
}

/// Elements that wait or run.
fn queued(jobs: &[&str]) -> Result<BTreeMap<String, JobState>, LaunchError> {
    let mut command = Command::new("squeue");
    command.args(["--noheader", "--array", "--format=%F_%K|%T|%r", "--jobs"]);
    command.arg(jobs.join(","));
    match run(command, "squeue") {
        Ok(text) => Ok(read_queue(&text)),
        // None of them is known any more.
        Err(LaunchError::Refused { said, .. }) if said.contains("Invalid job id") => {
            Ok(BTreeMap::new())
        }
        Err(error) => Err(error),
    }
}

fn read_queue(text: &str) -> BTreeMap<String, JobState> {
    let mut states = BTreeMap::new();
    for line in text.lines() {
        let mut parts = line.trim().splitn(3, '|');
        if let (Some(element), Some(state)) = (parts.next(), parts.next()) {
            let reason = parts.next().unwrap_or_default();
            states.insert(element.to_owned(), JobState::of(state, reason));
        }
    }
    states
}

/// Elements that ended, from the accounts of the cluster, or from what it has not
/// forgotten yet.
fn ended(jobs: &[&str]) -> BTreeMap<String, JobState> {
    let mut command = Command::new("sacct");
    command.args(["--noheader", "--parsable2", "--allocations"]);
    command.args(["--format=JobID,State,ExitCode", "--jobs"]);
    command.arg(jobs.join(","));
    let mut states = match run(command, "sacct") {
        Ok(text) => read_accounts(&text),
        // Without accounting.
        Err(_) => BTreeMap::new(),
    };
    for job in jobs {
        let mut command = Command::new("scontrol");
        command.args(["--oneliner", "show", "job", job]);
        if let Ok(text) = run(command, "scontrol") {
            for (element, state) in read_jobs(&text) {
                states.entry(element).or_insert(state);
            }
        }
    }
    states
}

fn read_accounts(text: &str) -> BTreeMap<String, JobState> {
    let mut states = BTreeMap::new();
    for line in text.lines() {
        let parts: Vec<&str> = line.split('|').collect();
        if let [element, state, code] = parts.as_slice()
            && element.contains('_')
        {
            // `CANCELLED by 0`.
            let word = state.split(' ').next().unwrap_or(state);
            states.insert((*element).to_owned(), JobState::of(word, &exit_text(code)));
        }
    }
    states
}

fn read_jobs(text: &str) -> BTreeMap<String, JobState> {
    let mut states = BTreeMap::new();
    for line in text.lines() {
        let field = |name: &str| {
            line.split(' ')
                .find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        if let (Some(array), Some(task), Some(state)) =
            (field("ArrayJobId"), field("ArrayTaskId"), field("JobState"))
        {
            let code = exit_text(field("ExitCode").unwrap_or_default());
            let reason = match field("Reason") {
                None | Some("None") => code,
                // What becomes of every job whose process is killed.
                Some("JobLaunchFailure") if !code.is_empty() => code,
                Some(reason) => reason.to_owned(),
            };
            states.insert(format!("{array}_{task}"), JobState::of(state, &reason));
        }
    }
    states
}

/// `1:0` is exit code and signal.
fn exit_text(code: &str) -> String {
    match code.split_once(':') {
        Some(("0", "0")) | None => String::new(),
        Some((code, "0")) => format!("exit code {code}"),
        Some((_, signal)) => format!("signal {signal}"),
    }
}

impl JobState {
    fn of(state: &str, reason: &str) -> JobState {
        let active = matches!(
            state,
            "PENDING"
                | "RUNNING"
                | "SUSPENDED"
                | "COMPLETING"
                | "CONFIGURING"
                | "REQUEUED"
                | "REQUEUE_HOLD"
                | "REQUEUE_FED"
                | "RESIZING"
                | "SIGNALING"
                | "STAGE_OUT"
                | "STOPPED"
        );
        JobState {
            state: state.to_owned(),
            reason: match reason {
                "None" => String::new(),
                reason => reason.to_owned(),
            },
            active,
        }
    }
}

/// Ends the jobs of a sweep that wait or run; how many there were.
///
/// # Errors
/// The cluster does not answer.
pub fn cancel(folder: &SweepFolder) -> Result<usize, SweepError> {
    let active: Vec<String> = submitted(folder)?
        .into_iter()
        .filter(|piece| piece.state.as_ref().is_some_and(|state| state.active))
        .map(|piece| piece.element)
        .collect();
    for elements in active.chunks(MOST) {
        let mut command = Command::new("scancel");
        command.args(elements);
        run(command, "scancel")?;
    }
    Ok(active.len())
}

/// The element that this process is, if it is one of a job array.
pub fn element() -> Option<String> {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        text.bytes().all(|b| b.is_ascii_digit()).then_some(text)
    };
    Some(format!(
        "{}_{}",
        number("SLURM_ARRAY_JOB_ID")?,
        number("SLURM_ARRAY_TASK_ID")?
    ))
}

/// Puts an element back into the queue, which ends this process.
///
/// # Errors
/// The cluster refuses.
pub fn requeue(element: &str) -> Result<(), LaunchError> {
    let mut command = Command::new("scontrol");
    command.args(["requeue", element]);
    run(command, "scontrol").map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_cluster_prints_is_understood() {
        let queue = read_queue("12_0|RUNNING|None\n12_1|PENDING|Dependency\n");
        assert!(queue["12_0"].active && queue["12_0"].reason.is_empty());
        assert_eq!(queue["12_1"].reason, "Dependency");
        let accounts = read_accounts(
            "12_0|COMPLETED|0:0\n12_1|CANCELLED by 0|0:15\n12_2|OUT_OF_MEMORY|0:125\n12|x|0:0\n",
        );
        assert_eq!(accounts.len(), 3);
        assert_eq!(accounts["12_1"], JobState::of("CANCELLED", "signal 15"));
        assert!(!accounts["12_0"].active);
        let jobs = read_jobs(
            "JobId=13 ArrayJobId=12 ArrayTaskId=3 JobName=x JobState=TIMEOUT Reason=TimeLimit ExitCode=0:1\n\
             JobId=12 ArrayJobId=12 ArrayTaskId=4 JobState=FAILED Reason=None ExitCode=1:0\n",
        );
        assert_eq!(jobs["12_3"].reason, "TimeLimit");
        assert_eq!(jobs["12_4"].reason, "exit code 1");
    }
}
