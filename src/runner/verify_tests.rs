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

/// A display that keeps how runs ended.
struct Ends(Vec<bool>);

impl Display for Ends {
    fn begin(&mut self, _plan: &Plan) {}
    fn stage_started(&mut self, _step: &Step, _resumed: bool) {}
    fn stage_waits(&mut self, _step: &Step, _holder: &str) {}
    fn stage_progress(&mut self, _stage: &str, _progress: &ProgressView) {}
    fn stage_finished(&mut self, _report: &StageReport) {}
    fn line(&mut self, _stage: Option<&str>, _level: crate::tracking::Level, _text: &str) {}
    fn end(&mut self, summary: &RunSummary) {
        self.0.push(summary.interrupted);
    }
}

#[test]
fn a_stage_whose_time_is_over_is_not_said_to_go_on() {
    let bench = Bench::new(&EXPERIMENT.replace("max_chunks = 40", "max_chunks = 400"));
    bench.run();
    let project = project_in(bench.dir.path());
    let experiment = experiment_in(bench.dir.path(), &[]);
    let (run, _) = crate::tracking::find_run(&project, "latest").unwrap();
    let extent = Extent {
        only: &["second".to_owned()],
        limit: Some(Duration::from_millis(20)),
    };
    let mut ends = Ends(Vec::new());
    verify(&experiment, &run, extent, &project, &registry(), &mut ends).unwrap();
    assert_eq!(ends.0, [false]);
}

#[test]
fn what_changed_is_named_with_its_identity() {
    let text = "[stage.words]\nkind = \"cache_captions\"\ncaptions.path = \"words.json\"\n";
    let bench = Bench::new(text);
    let file = bench.dir.path().join("words.json");
    fs::write(&file, "one").unwrap();
    bench.run();
    let project = project_in(bench.dir.path());
    let (run, _) = crate::tracking::find_run(&project, "latest").unwrap();
    let experiment = experiment_in(bench.dir.path(), &[]);
    let verdict = || {
        let all = Extent::default();
        let mut found = verify(&experiment, &run, all, &project, &registry(), &mut Quiet).unwrap();
        found.pop().unwrap().1
    };
    assert_eq!(verdict(), Verdict::Compared(Agreement::Equal));
    let hash = |text: &str| crate::store::ContentHash::of(text.as_bytes()).to_string();
    let is_named = || {
        let Verdict::Changed {
            changes,
            identities,
        } = verdict()
        else {
            panic!("{:?}", verdict())
        };
        assert!(
            matches!(changes[..], [Change::Resource { .. }]),
            "{changes:?}"
        );
        assert_eq!(
            (identities[0].from.clone(), identities[0].to.clone()),
            (hash("one"), hash("two, longer"))
        );
        assert_eq!(identities.last().unwrap().what, "key");
    };
    fs::write(&file, "two, longer").unwrap();
    is_named();
    // By the record alone, too.
    fs::remove_dir_all(project.store_dir().join("cache_captions")).unwrap();
    is_named();
    fs::remove_file(&file).unwrap();
    assert!(
        matches!(verdict(), Verdict::Impossible { message } if message.contains("is not here")),
        "{:?}",
        verdict()
    );
}

#[test]
fn what_the_run_did_not_finish_has_no_verdict() {
    let bench = Bench::new("[stage.bad]\nkind = \"eval\"\n[stage.other]\nkind = \"nothing\"\n");
    bench.run_with(&mut Quiet, |execution| {
        execution.selection.only = vec!["bad".into()];
    });
    let project = project_in(bench.dir.path());
    let experiment = experiment_in(bench.dir.path(), &[]);
    let (run, _) = crate::tracking::find_run(&project, "latest").unwrap();
    let verdicts = |only: &[String]| {
        let extent = Extent { only, limit: None };
        verify(&experiment, &run, extent, &project, &registry(), &mut Quiet).unwrap()
    };
    let said = |message: &str| Verdict::Impossible {
        message: message.to_owned(),
    };
    assert_eq!(
        verdicts(&[]),
        [(
            "bad".to_owned(),
            said("it failed in that run: the numbers are bad")
        )]
    );
    assert_eq!(
        verdicts(&["other".to_owned()]),
        [("other".to_owned(), said("the run did not do it"))]
    );
}
