//! Reasons for steps to run, and overrides without effect.

use std::path::Path;

use super::run_tests::{Bench, EXPERIMENT, experiment_in, project_in, registry};
use super::*;

fn why(dir: &Path, overrides: &[&str], stage: &str) -> String {
    let experiment = experiment_in(dir, overrides);
    let plan = Plan::in_project(&experiment, &registry(), project_in(dir), false).unwrap();
    let found = Why::of(&experiment, &plan, stage).unwrap();
    let text: Vec<_> = found.iter().map(why_text).collect();
    let run = regex::Regex::new("ovod_[0-9_]+[0-9]").unwrap();
    let place = format!("{}/", dir.display());
    run.replace_all(&text.concat(), "RUN").replace(&place, "")
}

#[test]
fn a_change_is_followed_back_to_who_made_it() {
    let bench = Bench::new(EXPERIMENT);
    insta::assert_snapshot!(why(bench.dir.path(), &[], "joined"), @r"
    joined (merge_caches): will run
    the store has no earlier output of it
    ");
    bench.run();
    insta::assert_snapshot!(why(bench.dir.path(), &[], "second"), @r"
    second (train): up to date
    its output was made in RUN

    stages that take its output: joined
    ");
    let overrides = ["stage.second.train.max_chunks=41", "train.lr.init=0.5"];
    insta::assert_snapshot!(why(bench.dir.path(), &overrides, "joined"), @r"
    joined (merge_caches): will run
    changed since its last output, of RUN:

      train.lr.init 0.0015 → 0.5 (for its inputs first, second)
          set by command line `train.lr.init=0.5`
          over 0.0015 (default)
      train.max_chunks 40 → 41 (for its input second)
          set by command line `stage.second.train.max_chunks=41`
          over 40 (test.toml:11:20)
          over 0 (default)
    ");
    insta::assert_snapshot!(why(bench.dir.path(), &overrides, "first"), @r"
    first (train): will run
    changed since its last output, of RUN:

      train.lr.init 0.0015 → 0.5
          set by command line `train.lr.init=0.5`
          over 0.0015 (default)

    goes stale with it: joined
    ");
    // The input was made again in the meantime; it still says why.
    bench.write(&EXPERIMENT.replace("max_chunks = 40", "max_chunks = 42"));
    bench.run_with(&mut Quiet, |execution| {
        execution.selection.only = vec!["second".into()]
    });
    insta::assert_snapshot!(why(bench.dir.path(), &[], "joined"), @r"
    joined (merge_caches): will run
    changed since its last output, of RUN:

      train.max_chunks 40 → 42 (for its input second)
          set by test.toml:11:20
          over 0 (default)
    ");
}

#[test]
fn overrides_that_no_stage_reads_are_reported() {
    let bench = Bench::new(EXPERIMENT);
    let unread = |overrides: &[&str]| {
        let experiment = experiment_in(bench.dir.path(), overrides);
        let found = unread_overrides(&experiment, &registry());
        found
            .into_iter()
            .map(|warning| warning.title)
            .collect::<Vec<_>>()
    };
    assert!(unread(&["train.lr.init=1", "merge.multi_mode=2", "run.seed=3"]).is_empty());
    assert_eq!(
        unread(&[
            "captions.templates=5",
            "stage.joined.train.lr.init=1",
            "train.lr.init=2"
        ]),
        [
            "no stage of this experiment reads captions.templates: the override has no effect",
            "stage `joined` does not read train.lr.init: the override has no effect",
        ]
    );
}

#[test]
fn overrides_that_only_other_stages_read_are_reported_for_a_choice() {
    let bench = Bench::new(EXPERIMENT);
    let experiment = experiment_in(bench.dir.path(), &["train.lr.init=1", "merge.multi_mode=2"]);
    let unread = |chosen: &str| {
        let found = unread_by_chosen(&experiment, &registry(), |stage| stage == chosen);
        let titles: Vec<_> = found.into_iter().map(|warning| warning.title).collect();
        titles
    };
    assert_eq!(
        unread("joined"),
        ["no stage that is chosen reads train.lr.init: the override has no effect on this run"]
    );
    assert_eq!(
        unread("first"),
        ["no stage that is chosen reads merge.multi_mode: the override has no effect on this run"]
    );
}

#[test]
fn keys_in_the_table_of_a_stage_that_its_kind_does_not_read_are_reported() {
    let shared = "[train]\nlr.init = 0.5\n[captions]\ntemplates = 4\n";
    let text = EXPERIMENT.replace(
        "kind = \"merge_caches\"\n",
        "kind = \"merge_caches\"\ntrain.lr.init = 0.25\ncaptions.templates = 5\nneeds.cpus = 1\n",
    );
    let bench = Bench::new(&format!("{text}{shared}"));
    // Sections and overrides are not meant for this stage alone.
    let experiment = experiment_in(bench.dir.path(), &["stage.joined.noise.mix_ratio=0.5"]);
    let found = unread_in_tables(&experiment, &registry());
    let place = format!("{}/", bench.dir.path().display());
    insta::assert_snapshot!(
        crate::config::render(&found, false).replace(&place, ""),
        @r"
    warning: stage `joined` of kind `merge_caches` does not read `captions.templates`: the value has no effect
      --> test.toml:16:22
       |
    16 | captions.templates = 5
       |                      ^
       |
       = help: it is read by stages of kind cache_captions

    warning: stage `joined` of kind `merge_caches` does not read `train.lr.init`: the value has no effect
      --> test.toml:15:17
       |
    15 | train.lr.init = 0.25
       |                 ^^^^
       |
       = help: here it is read by `first`, `second`
    "
    );
}

#[test]
fn a_seed_that_the_seeds_of_the_experiment_replace_is_reported() {
    let bench = Bench::new(&EXPERIMENT.replace("title =", "seeds = [1, 2]\ntitle ="));
    let experiment = experiment_in(bench.dir.path(), &["run.seed=7"]);
    let found = unread_overrides(&experiment, &registry());
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].title.contains("run.seed has no effect"));
    assert_eq!(found[0].help, ["give experiment.seeds=[7]"]);
}

/// A display that stops the run at the first progress of a stage.
struct Stops(Interrupt);

impl Display for Stops {
    fn begin(&mut self, _plan: &Plan) {}
    fn stage_started(&mut self, _step: &Step, _resumed: bool) {}
    fn stage_waits(&mut self, _step: &Step, _holder: &str) {}
    fn stage_progress(&mut self, _stage: &str, progress: &ProgressView) {
        if progress.done > 0 {
            self.0.raise();
        }
    }
    fn stage_finished(&mut self, _report: &StageReport) {}
    fn line(&mut self, _stage: Option<&str>, _level: crate::tracking::Level, _text: &str) {}
    fn end(&mut self, _summary: &RunSummary) {}
}

#[test]
fn unfinished_work_under_other_values_is_named() {
    let bench = Bench::new("[stage.only]\nkind = \"train\"\ntrain.max_chunks = 4_000\n");
    let experiment = experiment_in(bench.dir.path(), &[]);
    let plan = bench.plan();
    let start = crate::tracking::RunStart {
        experiment: plan.experiment().to_owned(),
        config: crate::config::experiment_json(&experiment, false),
        ..Default::default()
    };
    let recorder = crate::tracking::RunRecorder::start(plan.project(), start).unwrap();
    let interrupt = Interrupt::new();
    let execution = Execution {
        plan: &plan,
        registry: &registry(),
        recorder: &recorder,
        interrupt: &interrupt,
        selection: Selection::default(),
        keep_going: false,
        retries: Retries::default(),
        slots: Slots::default(),
    };
    let summary = execute(&execution, &mut Stops(interrupt.clone())).unwrap();
    assert!(summary.interrupted);
    recorder.finish(summary.end()).unwrap();
    let done = regex::Regex::new("[0-9,]+ of 4,000").unwrap();
    let text = |overrides: &[&str]| {
        let text = why(bench.dir.path(), overrides, "only");
        done.replace(&text, "SOME of ALL").into_owned()
    };
    let overrides = ["stage.only.train.max_chunks=4_100"];
    insta::assert_snapshot!(text(&overrides), @r"
    only (train): will run
    the store has no earlier output of it
    RUN left unfinished work under other values: SOME of ALL steps done; changed since:

      train.max_chunks 4000 → 4100
          set by command line `stage.only.train.max_chunks=4_100`
          over 4000 (test.toml:3:20)
          over 0 (default)
    ");
    assert!(text(&[]).contains("resumable"), "{}", text(&[]));
}

#[test]
fn nothing_goes_stale_with_a_stage_that_is_up_to_date() {
    let bench = Bench::new(EXPERIMENT);
    bench.run();
    let text = why(
        bench.dir.path(),
        &["stage.second.train.max_chunks=41"],
        "first",
    );
    assert!(
        text.contains("stages that take its output: joined"),
        "{text}"
    );
}
