//! The acceptance cases: scripted runs against a server with faults. Each is
//! run by the reference runner in a process of its own, all at the same time,
//! because they mostly wait.

use std::thread;

use crate::golden;

use super::AREA;
use super::server::{python, said, tool};

#[test]
fn every_case_is_accepted() {
    let cases = golden::json(AREA, "cases.json");
    let cases = cases.as_array().expect("a list of cases");
    assert!(!cases.is_empty());
    let file = golden::area(AREA).join("cases.json");
    let program = env!("CARGO_BIN_EXE_novic");
    let failures: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = cases
            .iter()
            .map(|case| {
                let name = case["name"].as_str().expect("a name");
                let file = &file;
                scope.spawn(move || {
                    let output = python()
                        .arg(tool("wandb_cases.py"))
                        .arg(file)
                        .args(["--only", name])
                        .args([
                            "--replay",
                            &format!("'{program}' replay {{script}} --store {{store}}"),
                        ])
                        .args(["--sync", &format!("'{program}' sync {{store}}")])
                        .output()
                        .expect("python3 starts");
                    let text = said(&output);
                    let ok = output.status.success() && text.contains(&format!("ok   {name}"));
                    (!ok).then(|| format!("{name}: {text}"))
                })
            })
            .collect();
        let ended = running
            .into_iter()
            .map(|case| case.join().expect("a case ends"));
        ended.flatten().collect()
    });
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
