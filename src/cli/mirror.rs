//! How far the mirrors of runs are, for people and programs.

use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use crate::tracking::wandb::{MirrorState, Say, count_unsent, each_once};

/// How far the mirrors of the run in `dir` are, for people.
pub(super) fn text(dir: &Path) -> String {
    let states = match MirrorState::of_run(dir) {
        Ok(states) => states,
        Err(error) => return format!("{:>11}  {error}\n", "wandb"),
    };
    let told = states.iter().map(|state| {
        let sent = state.progress.acknowledged;
        let unsent = match count_unsent(state) {
            Ok(Some(0)) | Ok(None) if state.is_settled() => "complete".to_owned(),
            Ok(count) => format!("{} to send", count.unwrap_or(0)),
            Err(error) => error.to_string(),
        };
        let place = match &state.progress.offline {
            Some(dir) => dir.display().to_string(),
            None => state.page(),
        };
        let trouble = state.progress.refused.as_ref();
        let trouble = trouble.or(state.progress.last_error.as_ref());
        let trouble = trouble.map(|text| format!(" ({text})")).unwrap_or_default();
        format!(
            "{:>11}  {}: {} rows and lines sent, {unsent}: {place}{trouble}\n",
            "wandb",
            state.stage,
            sent.history + sent.events + sent.log
        )
    });
    told.collect()
}

/// The same for programs.
pub(super) fn to_json(dir: &Path) -> Value {
    let states = MirrorState::of_run(dir).unwrap_or_default();
    let states = states.iter().map(|state| {
        json!({
            "stage": state.stage,
            "run": state.run.id,
            "page": state.page(),
            "unsent": count_unsent(state).ok().flatten(),
            "progress": state.progress,
        })
    });
    states.collect()
}

/// Says things on standard error, each once.
pub(super) fn say_on_stderr() -> Say {
    each_once(Arc::new(|text: &str| eprintln!("{text}")))
}
