//! `[run]`, `[needs]` and `[tracking]`: how a stage is executed and followed.

use super::action::{Action, readers};
use super::choice::choice;
use super::metric_rule::MetricRule;
use super::section::section;

choice! {
    /// Whether metrics are mirrored to Weights & Biases.
    pub enum WandbMode {
        /// Kept in the local record only.
        #[default]
        Off = "off",
        /// Mirrored to the service while the run goes on.
        Online = "online",
        /// Written as offline files, to be synchronised later.
        Offline = "offline",
    }
}

choice! {
    /// What the service does when a run with the same id exists.
    pub enum WandbResume {
        /// Continues it or starts a new one.
        #[default]
        Allow = "allow",
        /// Continues it; a missing one is an error.
        Must = "must",
        /// Never continues one.
        Never = "never",
    }
}

section! {
    /// How a stage is executed.
    pub struct Run("run") {
        /// Which of the twenty actions to execute; a stage sets it by its `kind`.
        action: Action = Action::Train => flat("action").read_by(readers::START);
        /// `cpu`, `cuda` or `cuda:N`; the CPU where there is no such GPU, with a warning where one was to be expected.
        device: String = "cuda".to_owned() => form(device).flat("device").read_by(readers::EMBEDDER);
        /// TF32 for matrix products and convolutions on CUDA.
        tf32: bool = true => flat("allow_tf32").read_by(readers::START);
        /// Autotuning of the original's convolutions; accepted and ignored.
        cudnn_bench: bool = true => flat("cudnn_bench").read_by(readers::START);
        /// Results that depend on neither the number of threads nor of loader workers; switches `model.amp` off.
        deterministic: bool = false => flat("determ").read_by(readers::START);
        /// Seed of every run.
        seed: u64 = 1 => flat("determ_seed").at_least(1.0).read_by(readers::START);
        /// Report only, write nothing.
        dry_run: bool = false => flat("dry_run").read_by(readers::FIX);
    }
}

section! {
    /// What a stage occupies while it runs; see `[slots]`.
    pub struct Needs("needs") {
        /// Threads it computes with; none: all there are, and it shares `slots.cpus` with no other stage.
        cpus: Option<usize> = None => at_least(1.0).cosmetic().read_by(readers::START);
        /// GPUs.
        gpus: usize = 0 => cosmetic().read_by(readers::START);
        /// Memory.
        memory: f64 = 0.0 => at_least(0.0).cosmetic().unit("GiB").read_by(readers::START);
    }
}

section! {
    /// How a run is named and grouped where its metrics go.
    pub struct Tracking("tracking") {
        /// Project.
        project: String = "novic".to_owned() => form(wandb_project).flat("wandb_project").read_by(readers::START);
        /// Account or team.
        entity: Option<String> = None => flat("wandb_entity").read_by(readers::START);
        /// Run group.
        group: Option<String> = None => flat("wandb_group").read_by(readers::START);
        /// Job type; none or empty: the action name.
        job_type: Option<String> = None => flat("wandb_job_type").read_by(readers::START);
        /// Run name; none: chosen by the service.
        name: Option<String> = None => flat("wandb_name").read_by(readers::START);
        /// Tags, separated by commas: trimmed, empties dropped, deduplicated, sorted. A list is accepted too.
        tags: Option<String> = None => comma_separated().flat("wandb_tags").read_by(readers::START);
        /// Free text kept with the run.
        notes: Option<String> = None => read_by(readers::START);
    }
    with {
        /// Connection to Weights & Biases.
        wandb: TrackingWandb,
    }
}

section! {
    /// Connection to Weights & Biases.
    pub struct TrackingWandb("tracking.wandb") {
        /// Whether metrics are mirrored; effective for train, eval, eval_cls, eval_cls_decoding and infer. The flat `wandb=True` means `online`, `wandb=False` means `off`.
        mode: WandbMode = WandbMode::Off => flat("wandb").read_by(readers::START);
        /// What the service shows metrics over, and what its summary has of them: `NAME [by STEP] [KIND …]`. The name may end with `*`; kinds are min, max, mean, last and none. `loss by sample min` plots the loss over the samples, and its smallest value is in the summary. None: everything over the number of the row, the last value.
        metrics: Vec<String> = Vec::new() => form(metric_rule_form).or_text().read_by(readers::START);
        /// Address of the service.
        base_url: String = crate::net::WANDB_SERVICE.to_owned() => read_by(readers::START);
        /// File with certificates (PEM) that are trusted beside those of the system.
        ca_file: Option<String> = None => path().read_by(readers::START);
        /// The service's name of the run, 1 to 64 characters of `[A-Za-z0-9_.-]`; none: drawn once and kept in the run's record.
        run_id: Option<String> = None => form(wandb_run_id).read_by(readers::START);
        /// What to do when a run with this id exists; none: `allow` when a local run is continued.
        resume: Option<WandbResume> = None => read_by(readers::START);
        /// With `resume` = `must` or `never` on the command line: the run does not start when the service has no such run, or has it already. Else that is a warning, and the run goes on without the mirror.
        strict: bool = false => read_by(readers::START);
        /// Longest time between two uploads.
        flush_interval: f64 = 15.0 => above(0.0).unit("s").read_by(readers::START);
        /// Time between two signs of life.
        heartbeat_interval: f64 = 30.0 => above(0.0).unit("s").read_by(readers::START);
        /// Longest time of a request.
        request_timeout: f64 = 30.0 => above(0.0).unit("s").read_by(readers::START);
        /// Longest time of a file upload.
        upload_timeout: f64 = 180.0 => above(0.0).unit("s").read_by(readers::START);
        /// Longest time to wait for uploads at the end of a run.
        finish_timeout: f64 = 60.0 => at_least(0.0).unit("s").read_by(readers::START);
        /// Shortest pause before a request is tried again.
        retry_min: f64 = 2.0 => above(0.0).unit("s").read_by(readers::START);
        /// Longest pause before a request is tried again.
        retry_max: f64 = 60.0 => above(0.0).unit("s").read_by(readers::START);
        /// Largest request.
        max_request_bytes: usize = 8 << 20 => at_least(1.0).unit("bytes").read_by(readers::START);
        /// Longest line of a file stream.
        max_line_bytes: usize = 8 << 20 => at_least(1.0).unit("bytes").read_by(readers::START);
        /// Send the console log.
        console: bool = true => read_by(readers::START);
        /// Time between two samples of processor, memory and GPU use; 0: none are sent.
        system_metrics: f64 = 15.0 => at_least(0.0).unit("s").read_by(readers::START);
        /// Send the configuration and metadata files.
        files: bool = true => read_by(readers::START);
    }
}

fn metric_rule_form(text: &str) -> Result<(), String> {
    MetricRule::read(text).map(drop)
}

fn device(text: &str) -> Result<(), String> {
    let number = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit());
    let known = matches!(text, "cpu" | "cuda") || text.strip_prefix("cuda:").is_some_and(number);
    if known {
        Ok(())
    } else {
        Err("expected cpu, cuda or cuda:N".to_owned())
    }
}

fn wandb_project(text: &str) -> Result<(), String> {
    let allowed = !text.is_empty()
        && text.chars().count() <= 128
        && !text.contains(['/', '\\', '#', '?', '%', ':']);
    let expected = "expected 1 to 128 characters, none of / \\ # ? % :";
    if allowed {
        Ok(())
    } else if text.contains('/') {
        Err(format!("{expected}; an account or team is the entity"))
    } else {
        Err(expected.to_owned())
    }
}

fn wandb_run_id(text: &str) -> Result<(), String> {
    let allowed = (1..=64).contains(&text.len())
        && text
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'));
    if allowed {
        Ok(())
    } else {
        Err("expected 1 to 64 characters of [A-Za-z0-9_.-]".to_owned())
    }
}
