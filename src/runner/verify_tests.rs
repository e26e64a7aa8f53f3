//! Stages done again.

use std::fs;
use std::time::Duration;

use super::run_tests::{Bench, EXPERIMENT, experiment_in, project_in, registry};
use super::*;

#[test]
fn what_is_verified_is_done_again_and_compared() {
    let bench = Bench::new(EXPERIMENT);
    bench.run();
    let project = project_in(bench.dir.path());
    let verdicts = || {
        let experiment = experiment_in(bench.dir.path(), &[]);
        let (run, _) = crate::tracking::find_run(&project, "latest").unwrap();
        let all = Extent::default();
        verify(&experiment, &run, all, &project, &registry(), &mut Quiet).unwrap()
    };
    let executions = bench.executions();
    let equal = Verdict::Compared(Agreement::Equal);
    let all: Vec<_> = ["first", "second", "joined"]
        .map(|name| (name.to_owned(), equal.clone()))
        .into();
    assert_eq!(verdicts(), all);
    assert_eq!(bench.executions(), executions, "the store is left alone");
    let entry = match &bench.plan().steps()[1].state {
        StepState::UpToDate(entry) => entry.dir().to_owned(),
        other => panic!("{other:?}"),
    };
    // The output is another than what the stage makes.
    let manifest = fs::read_to_string(entry.join("entry.json")).unwrap();
    fs::write(
        entry.join("entry.json"),
        manifest.replacen("\"hash\": ", "\"hash\": 1", 1),
    )
    .unwrap();
    let found = verdicts();
    assert!(
        matches!(&found[1].1, Verdict::Compared(Agreement::Different { place, .. }) if place == "results hash"),
        "{found:?}"
    );
    bench.write(&EXPERIMENT.replace("max_chunks = 40", "max_chunks = 41"));
    assert!(matches!(verdicts()[1].1, Verdict::Changed { .. }));
}

#[test]
fn of_long_stages_the_beginning_is_compared() {
    let long = EXPERIMENT.replace("max_chunks = 40", "max_chunks = 400");
    let bench = Bench::new(&long);
    bench.run();
    let project = project_in(bench.dir.path());
    let experiment = experiment_in(bench.dir.path(), &[]);
    let (run, _) = crate::tracking::find_run(&project, "latest").unwrap();
    let verdicts = |limit| {
        let extent = Extent {
            only: &["second".to_owned()],
            limit: Some(limit),
        };
        verify(&experiment, &run, extent, &project, &registry(), &mut Quiet).unwrap()
    };
    let soon = verdicts(Duration::from_millis(20));
    assert!(
        matches!(&soon[..], [(stage, Verdict::Sampled { rows: 1..400, agreement: Agreement::Equal })]
            if stage == "second"),
        "{soon:?}"
    );
    let whole = verdicts(Duration::from_secs(600));
    assert_eq!(whole[0].1, Verdict::Compared(Agreement::Equal));
}
