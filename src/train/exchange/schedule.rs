//! The learning rate as the original stores it: state dictionaries of a linear
//! warm-up and of a cosine scheduler (`training.md` 3.2, 3.7).

use serde_json::{Map, Value as Json, json};

use super::Problem;
use super::plain::dict_to_json;
use crate::pickle::{Dict, Value};
use crate::train::schedule::{Schedule, ScheduleSettings, ScheduleState};

/// Entry of the warm-up.
pub(super) const WARMUP: &str = "scheduler_warmup_state_dict";
/// Entry of the cosine.
pub(super) const COSINE: &str = "scheduler_state_dict";

/// The schedule of a file. `group_rate` is the rate in the optimizer's groups,
/// `final_rate` that of the configuration, `finished` the finished chunks.
pub(super) fn read(
    top: &Dict,
    group_rate: f64,
    final_rate: f64,
    finished: u64,
) -> Result<Schedule, Problem> {
    let warmup = scheduler(top, WARMUP)?;
    let cosine = scheduler(top, COSINE)?;
    let first = |dict: &Option<&Dict>, what: &str| -> Result<Option<f64>, Problem> {
        let Some(dict) = dict else {
            return Ok(None);
        };
        let rates = dict.require(what, "a scheduler")?.items(what)?;
        Ok(rates.first().map(|rate| rate.number(what)).transpose()?)
    };
    let whole = |dict: &Dict, what: &str| -> Result<u64, Problem> {
        let number = dict.require(what, "a scheduler")?.int(what)?;
        u64::try_from(number).map_err(|_| Problem::content(format!("{what} is {number}")))
    };
    let warmup_rate = first(&warmup, "_last_lr")?;
    let rate = match first(&cosine, "_last_lr")? {
        Some(rate) => rate,
        None => warmup_rate.unwrap_or(group_rate),
    };
    let init = match first(&cosine, "base_lrs")? {
        Some(init) => init,
        None => first(&warmup, "base_lrs")?.unwrap_or(group_rate),
    };
    let settings = ScheduleSettings {
        init,
        last: match cosine {
            Some(cosine) => cosine
                .require("eta_min", "a scheduler")?
                .number("eta_min")?,
            None => final_rate,
        },
        cosine: cosine.is_some(),
        warmup_chunks: match warmup {
            Some(warmup) => whole(warmup, "total_iters")?,
            None => 0,
        },
    };
    let state = ScheduleState {
        cosine_period: cosine.map(|cosine| whole(cosine, "T_max")).transpose()?,
        finished: match cosine.or(warmup) {
            Some(dict) => whole(dict, "last_epoch")?,
            None => finished,
        },
        rate,
        warmup_rate: warmup_rate.unwrap_or(rate),
    };
    Schedule::restored(&settings, state)
        .map_err(|error| Problem::content(format!("its schedule: {error}")))
}

fn scheduler<'a>(top: &'a Dict, name: &str) -> Result<Option<&'a Dict>, Problem> {
    match top.require(name, "the file")? {
        Value::None => Ok(None),
        value => Ok(Some(value.dict(name)?)),
    }
}

/// Both entries of a file as JSON, to be kept as they are.
pub(super) fn keep(top: &Dict) -> Result<[(&'static str, Json); 2], Problem> {
    let entry = |name| -> Result<Json, Problem> {
        Ok(match scheduler(top, name)? {
            Some(dict) => Json::Object(dict_to_json(dict, name)?),
            None => Json::Null,
        })
    };
    Ok([(WARMUP, entry(WARMUP)?), (COSINE, entry(COSINE)?)])
}

/// Both entries for a schedule; `groups` is the number of parameter groups.
pub(super) fn written(schedule: &Schedule, groups: usize) -> [(&'static str, Json); 2] {
    let (settings, state) = (schedule.settings(), schedule.state());
    let scheduler = |own: Json, last: f64| {
        let mut entries = Map::new();
        entries.extend(own.as_object().cloned().unwrap_or_default());
        let common = json!({
            "base_lrs": vec![settings.init; groups],
            "last_epoch": state.finished,
            "verbose": false,
            "_step_count": state.finished + 1,
            "_get_lr_called_within_step": false,
            "_last_lr": vec![last; groups],
        });
        entries.extend(common.as_object().cloned().unwrap_or_default());
        Json::Object(entries)
    };
    let warmup = settings.warmup_chunks;
    let warmup = if warmup >= 1 {
        let own = json!({
            "start_factor": 1.0 / (warmup as f64 + 1.0),
            "end_factor": 1,
            "total_iters": warmup,
        });
        scheduler(own, state.warmup_rate)
    } else {
        Json::Null
    };
    let cosine = match state.cosine_period {
        Some(period) => scheduler(
            json!({"T_max": period, "eta_min": settings.last}),
            state.rate,
        ),
        None => Json::Null,
    };
    [(WARMUP, warmup), (COSINE, cosine)]
}
