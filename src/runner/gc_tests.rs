//! What goes from the store, and what stays.

use std::time::Duration;

use crate::store::{Claim, EntryDescription, EntryId, EntryInput, Key, Manifest};
use crate::tracking::{RunRecorder, RunStart, StageOutcome};

use super::run_tests::{Bench, EXPERIMENT, project_in, registry};
use super::*;

#[test]
fn outputs_go_by_reachability_age_and_size_and_come_back() {
    let bench = Bench::new(EXPERIMENT);
    bench.run();
    let project = project_in(bench.dir.path());
    let plan = |older_than, max_bytes| {
        let policy = GcPolicy {
            older_than,
            max_bytes,
        };
        let keep = |manifest: &Manifest| manifest.kind == "merge_caches";
        GcPlan::of(&project, policy, &keep, &|_| false).unwrap()
    };
    assert_eq!(plan(None, None).victims().count(), 0);
    assert_eq!(
        plan(Some(Duration::from_secs(3600)), None)
            .victims()
            .count(),
        0
    );
    let all: u64 = plan(None, None).items.iter().map(|item| item.bytes).sum();
    // The one used longest ago goes first, and one is enough.
    let victims: Vec<_> = plan(None, Some(all - 1))
        .victims()
        .map(|item| item.stage.clone())
        .collect();
    assert_eq!(victims.len(), 1);
    // What is to be kept stays even if nothing else helps.
    let smallest = plan(None, Some(0));
    let reasons: Vec<_> = smallest.victims().map(|item| item.reason).collect();
    assert_eq!(reasons, [Some(GcReason::Size); 2]);
    assert!(smallest.execute(&project).unwrap().is_empty());
    assert_eq!(plan(None, None).items.len(), 1);
    assert_eq!(bench.run().count(StageOutcome::Done), 2);
    // Without its runs, nothing is reachable.
    for run in crate::tracking::list_runs(&project).unwrap().0 {
        crate::tracking::remove_run(&project.runs_dir().join(run.run)).unwrap();
    }
    let unreachable = plan(None, None);
    assert_eq!(unreachable.victims().count(), 3);
    unreachable.execute(&project).unwrap();
    assert!(plan(None, None).items.is_empty());
    assert_eq!(bench.run().count(StageOutcome::Done), 3);
}

#[test]
fn unfinished_work_says_whose_it_is() {
    let bench = Bench::new("[stage.bad]\nkind = \"eval\"\n");
    assert_eq!(bench.run().count(StageOutcome::Failed), 1);
    let project = project_in(bench.dir.path());
    let plan = GcPlan::of(&project, GcPolicy::default(), &|_| false, &|_| false).unwrap();
    let item = plan.items.iter().find(|item| item.unfinished).unwrap();
    assert_eq!(item.stage, "bad");
}

#[test]
fn what_a_running_run_uses_stays() {
    let bench = Bench::new(EXPERIMENT);
    let plan = bench.plan();
    let recorder = RunRecorder::start(plan.project(), RunStart::default()).unwrap();
    let execution = Execution {
        plan: &plan,
        registry: &registry(),
        recorder: &recorder,
        interrupt: &Interrupt::new(),
        selection: Selection::default(),
        keep_going: false,
        retries: Retries::default(),
        slots: Slots::default(),
    };
    execute(&execution, &mut Quiet).unwrap();
    recorder.flush().unwrap();
    let policy = GcPolicy {
        older_than: Some(Duration::ZERO),
        max_bytes: Some(0),
    };
    let gc = GcPlan::of(plan.project(), policy, &|_| false, &|_| false).unwrap();
    assert_eq!((gc.items.len(), gc.victims().count()), (3, 0));
}

#[test]
fn what_reads_its_inputs_later_stays_and_goes_with_them() {
    let bench = Bench::new(EXPERIMENT);
    bench.run();
    let project = project_in(bench.dir.path());
    let plan = |older_than, max_bytes, keep: bool| {
        let policy = GcPolicy {
            older_than,
            max_bytes,
        };
        let merge = |manifest: &Manifest| manifest.kind == "merge_caches";
        let keep = |manifest: &Manifest| keep && merge(manifest);
        GcPlan::of(&project, policy, &keep, &merge).unwrap()
    };
    let inputs: Vec<String> = {
        let everything = plan(None, None, false);
        let store = crate::store::Store::new(project.store_dir());
        let entries = store.entries("merge_caches").unwrap();
        let of_merge = entries[0].manifest().description.inputs.clone();
        assert!(everything.victims().next().is_none() && !of_merge.is_empty());
        of_merge
            .iter()
            .map(|input| format!("{}/{}", input.kind, input.key))
            .collect()
    };
    // A merge that is kept keeps what it reads.
    let kept = plan(Some(Duration::ZERO), Some(0), true);
    for item in &kept.items {
        let needed = inputs.contains(&item.id.to_string())
            || item.id.to_string().starts_with("merge_caches");
        assert!(!needed || item.reason.is_none(), "{}", item.id);
    }
    // Else it never outlives them.
    let all: u64 = kept.items.iter().map(|item| item.bytes).sum();
    for max in (0..all).step_by(1 + all as usize / 20) {
        let plan = plan(None, Some(max), false);
        let goes = |name: &str| {
            let item = plan.items.iter().find(|item| item.id.to_string() == name);
            item.is_some_and(|item| item.reason.is_some())
        };
        let merge = plan
            .items
            .iter()
            .find(|item| item.id.to_string().starts_with("merge_caches"));
        let merge_stays = merge.is_some_and(|item| item.reason.is_none());
        assert!(
            !merge_stays || inputs.iter().all(|input| !goes(input)),
            "at most {max} bytes"
        );
    }
}

#[test]
fn tables_stay_with_what_they_are_made_of() {
    let bench = Bench::new(EXPERIMENT);
    bench.run();
    let project = project_in(bench.dir.path());
    let store = project.store();
    let joined = store.entries("merge_caches").unwrap()[0].manifest().clone();
    let id = EntryId::new("table", Key::of(b"a table")).unwrap();
    let Claim::Build(building) = store.claim_anew(&id, "test").unwrap() else {
        panic!("the store has it")
    };
    let input = EntryInput {
        stage: joined.description.stage.clone(),
        kind: joined.kind.clone(),
        key: joined.key,
        repeat: 1,
    };
    let description = EntryDescription {
        inputs: vec![input],
        ..joined.description
    };
    building.publish(description).unwrap();
    let stays = |keep: &dyn Fn(&Manifest) -> bool| {
        let policy = GcPolicy {
            older_than: Some(Duration::ZERO),
            max_bytes: Some(0),
        };
        let plan = GcPlan::of(&project, policy, keep, &|_| false).unwrap();
        let table = plan.items.iter().find(|item| item.id == id).unwrap();
        table.reason.is_none()
    };
    assert!(stays(&|manifest: &Manifest| manifest.kind == "merge_caches"));
    assert!(!stays(&|_: &Manifest| false));
}
