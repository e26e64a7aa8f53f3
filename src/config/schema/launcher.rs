//! `[launcher]`: where the points of a sweep run.

use super::choice::choice;
use super::section::section;

choice! {
    /// What runs the points of a sweep.
    pub enum LauncherKind {
        /// This machine, in the process that was started, as far as `[slots]` has room.
        #[default]
        Local = "local",
        /// This machine, a process for each point: what kills one leaves the others alone.
        Processes = "processes",
        /// A cluster with SLURM: job arrays.
        Slurm = "slurm",
    }
}

section! {
    /// Where the points of a sweep run.
    pub struct Launcher("launcher") {
        /// What runs them.
        kind: LauncherKind = LauncherKind::Local => cosmetic();
        /// Partition (queue) of the cluster; none: its default.
        partition: Option<String> = None => form(word).cosmetic();
        /// Generic resources of a job, such as `gpu:1`; none: `gpu:N` from `needs.gpus`.
        gres: Option<String> = None => form(word).cosmetic();
        /// Longest time of a job, such as `2:00:00` or `1-12`; none: that of the partition. Jobs that reach it go on in another one.
        time: Option<String> = None => form(word).cosmetic();
        /// Memory of a job, such as `16G`; none: from `needs.memory`.
        memory: Option<String> = None => form(word).cosmetic();
        /// Threads of a job; none: from `needs.cpus`.
        cpus: Option<usize> = None => at_least(1.0).cosmetic();
        /// Account that is charged.
        account: Option<String> = None => form(word).cosmetic();
        /// Quality of service.
        qos: Option<String> = None => form(word).cosmetic();
        /// Further options of `sbatch`, such as `--constraint=a100`.
        options: Vec<String> = Vec::new() => form(option).or_text().cosmetic();
        /// Lines of the shell before a job's program, such as `module load cuda`.
        preamble: Vec<String> = Vec::new() => or_text().cosmetic();
        /// Jobs of a sweep at the same time; none: as many as the cluster lets.
        parallel: Option<usize> = None => at_least(1.0).cosmetic();
        /// Seconds before the time limit at which a job saves its work to go on in another one.
        grace: u64 = 120 => at_least(1.0).cosmetic().unit("s");
        /// Jobs begin again after pre-emption, failure of a machine and the time limit.
        requeue: bool = true => cosmetic();
        /// Stages that write a cache and are divided: `STAGE:PARTS`.
        shards: Vec<String> = Vec::new() => form(shards).or_text();
    }
}

/// A value that becomes a part of an option of `sbatch`.
fn word(text: &str) -> Result<(), String> {
    let fits = !text.is_empty() && !text.chars().any(|c| c.is_whitespace() || c.is_control());
    match fits {
        true => Ok(()),
        false => Err("expected a text without blanks".to_owned()),
    }
}

fn option(text: &str) -> Result<(), String> {
    match text.starts_with('-') && !text.contains(['\n', '\r']) {
        true => Ok(()),
        false => Err("expected an option of sbatch, such as --constraint=a100".to_owned()),
    }
}

fn shards(text: &str) -> Result<(), String> {
    match shard_count(text) {
        Some(_) => Ok(()),
        None => Err("expected STAGE:PARTS with at least two parts, such as nouns:8".to_owned()),
    }
}

/// Stage and number of parts of an element of `launcher.shards`.
pub fn shard_count(text: &str) -> Option<(&str, usize)> {
    let (stage, parts) = text.rsplit_once(':')?;
    let parts = parts.parse().ok().filter(|parts| *parts >= 2)?;
    (!stage.is_empty()).then_some((stage, parts))
}
