//! `lr_schedules.json`: the rate of every chunk, also across resumes
//! (`training.md` 2.5, 3.7).

use novic::train::{Schedule, ScheduleSettings, UNLIMITED_CHUNKS};
use serde_json::Value;

use crate::golden;

#[test]
fn rates_of_every_chunk() {
    let cases = golden::json("training", "lr_schedules.json");
    let defaults = golden::json("training", "config_defaults.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    for case in cases {
        let name = case["case"].as_str().unwrap();
        let options = Options {
            layers: [&case["resume_options"], &case["options"], &defaults],
        };
        let fresh = Options {
            layers: [&Value::Null, &case["options"], &defaults],
        };
        let mut schedule = Schedule::new(&fresh.settings(), fresh.max_chunks(), 1).unwrap();
        for (number, segment) in case["segments"].as_array().unwrap().iter().enumerate() {
            let start = segment["start_chunk"].as_u64().unwrap();
            if number > 0 {
                schedule = if options.get("load_lr_state").as_bool().unwrap() {
                    let stored = serde_json::to_string(&schedule).unwrap();
                    serde_json::from_str(&stored).unwrap()
                } else {
                    Schedule::new(&options.settings(), options.max_chunks(), start).unwrap()
                };
            }
            let tolerance = 1e-9 * fresh.settings().init;
            let check = |expected: &Value, own: f64, what: &str| {
                let expected = expected.as_f64().unwrap();
                assert!(
                    (expected - own).abs() <= tolerance,
                    "{name}, segment {number}, {what}: {own} instead of {expected}"
                );
            };
            let before = if number > 0 && options.get("load_lr_state").as_bool().unwrap() {
                schedule.rate()
            } else {
                schedule.reported_before_start()
            };
            check(&segment["preinit_lr"], before, "before the first batch");
            for (chunk, expected) in (start..).zip(segment["lrs"].as_array().unwrap()) {
                check(expected, schedule.rate(), &format!("chunk {chunk}"));
                schedule.advance();
            }
            check(&segment["lr_after_last"], schedule.rate(), "after the last");
        }
    }
}

/// Flat keys, the first layer that has one counts.
struct Options<'a> {
    layers: [&'a Value; 3],
}

impl Options<'_> {
    fn get(&self, key: &str) -> Value {
        let [first, second, defaults] = self.layers;
        first
            .get(key)
            .or_else(|| second.get(key))
            .unwrap_or_else(|| &defaults[key]["value"])
            .clone()
    }

    fn settings(&self) -> ScheduleSettings {
        ScheduleSettings {
            init: self.get("init_lr").as_f64().unwrap(),
            last: self.get("final_lr").as_f64().unwrap(),
            cosine: self
                .get("lr_scheduler")
                .as_str()
                .unwrap()
                .eq_ignore_ascii_case("cosine"),
            warmup_chunks: self.get("lr_warmup").as_u64().unwrap(),
        }
    }

    fn max_chunks(&self) -> u64 {
        match self.get("max_chunks").as_u64().unwrap() {
            0 => UNLIMITED_CHUNKS,
            chunks => chunks,
        }
    }
}
