//! The loss scale of half precision in files of the original.

use serde_json::{Value as Json, json};

use crate::train::LossScaler;
use crate::train::loss_scaler::{BACKOFF, GROWTH, INTERVAL};

/// Whether the loss is scaled.
pub(super) const ENABLED: &str = "amp_scaler_enabled";
/// Its scale; empty where it is not.
pub(super) const STATE: &str = "amp_scaler_state_dict";

/// The scaler of both entries; none where the loss is not scaled.
pub(super) fn read(enabled: &Json, state: &Json) -> Option<LossScaler> {
    let scale = state["scale"].as_f64().filter(|scale| *scale > 0.0);
    match (enabled, scale) {
        (Json::Bool(true), Some(scale)) => Some(LossScaler {
            scale,
            good_steps: state["_growth_tracker"].as_u64().unwrap_or(0),
            overflows: 0,
        }),
        _ => None,
    }
}

/// Both entries of a scaler.
pub(super) fn written(scaler: &LossScaler) -> [(&'static str, Json); 2] {
    let state = json!({
        "scale": scaler.scale,
        "growth_factor": GROWTH,
        "backoff_factor": BACKOFF,
        "growth_interval": INTERVAL,
        "_growth_tracker": scaler.good_steps,
    });
    [(ENABLED, json!(true)), (STATE, state)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scaler_survives_a_file_of_the_original() {
        let scaler = LossScaler {
            scale: 4096.0,
            good_steps: 17,
            overflows: 0,
        };
        let [(_, enabled), (_, state)] = written(&scaler);
        assert_eq!(read(&enabled, &state), Some(scaler));
        assert_eq!(read(&json!(false), &json!({})), None);
        assert_eq!(read(&json!(true), &json!({})), None);
    }
}
