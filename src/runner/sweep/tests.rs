//! Plans of sweeps: the keys of ordinary plans, each step once.

use std::collections::HashSet;
use std::fs;
use std::path::Path;

use crate::config::{Family, Request, Setting, Source, SourceKind};
use crate::runner::Plan;
use crate::stages::registry;
use crate::store::{ContentHashes, Project};

use super::graph::{GraphPoint, Misfits, plan};
use super::*;

fn settings(texts: &[&str]) -> Vec<Setting> {
    let mut problems = Vec::new();
    let mut settings: Vec<_> = texts
        .iter()
        .map(|text| Setting::parse(&Source::new(SourceKind::Point, *text), &mut problems).unwrap())
        .collect();
    assert!(problems.is_empty());
    settings.sort_by(|a, b| a.path.cmp(&b.path));
    settings
}

fn family(dir: &Path, text: &str) -> Family {
    fs::write(dir.join("e.toml"), text).unwrap();
    let request = Request {
        file: dir.join("e.toml"),
        ..Request::default()
    };
    Family::new(&request).unwrap()
}

/// The keys of a sweep's plan are those of a plan of each point.
fn same_keys(text: &str, points: &[(&[&str], Option<u64>)]) -> Graph {
    let dir = tempfile::tempdir().unwrap();
    let family = family(dir.path(), text);
    let project = Project::locate(dir.path(), None, None);
    let hashes = ContentHashes::open(&project, false);
    let all: Vec<_> = points.iter().map(|(texts, _)| settings(texts)).collect();
    let graph_points: Vec<_> = all
        .iter()
        .zip(points)
        .map(|(settings, (_, seed))| GraphPoint {
            settings,
            seed: *seed,
        })
        .collect();
    let graph = plan(
        &family,
        &graph_points,
        Misfits::Refused,
        &registry(),
        &project,
        &hashes,
    )
    .unwrap();
    for (place, point) in graph_points.iter().enumerate() {
        let experiment = family.member(&point.overrides()).unwrap();
        let plan = Plan::without_history(&experiment, &registry(), project.clone()).unwrap();
        let wanted: Vec<_> = plan
            .steps()
            .iter()
            .map(|s| (s.stage.clone(), s.id.clone()))
            .collect();
        let found: Vec<_> = graph.points[place]
            .iter()
            .map(|step| &graph.nodes[*step])
            .map(|node| (node.stage.to_string(), node.id.clone()))
            .collect();
        assert_eq!(found, wanted, "{:?}", point.overrides());
    }
    let ids: Vec<_> = graph
        .nodes
        .iter()
        .filter_map(|node| node.id.clone())
        .collect();
    let different: HashSet<_> = ids.iter().map(|id| id.to_string()).collect();
    assert_eq!(different.len(), ids.len(), "no step stands twice");
    graph
}

const QUICK: &str = "\
    [embedder]\nspec = \"openclip:novic/drawings\"\n\
    [nouns]\nvocab_path = \"embedded\"\nvocab_threshold = 20\n\
    [stage.nouns]\nkind = \"convert_noun_dataset\"\n\
    [stage.train]\nkind = \"train\"\ninputs = [\"nouns\"]\n\
    model.hidden_dim = 32\nmodel.heads = 2\n\
    [stage.drawings]\nkind = \"eval_cls_decoding\"\ninputs = [\"train\"]\n\
    cls.datasets = [\"fluent-emoji-flat\"]\n\
    [stage.zero_shot]\nkind = \"embedder_zero_shot\"\ncls.datasets = [\"fluent-emoji-flat\"]\n";

#[test]
fn keys_are_those_of_plans() {
    let graph = same_keys(
        QUICK,
        &[
            (&["noise.vec_norm=1"], None),
            (&["noise.vec_norm=2"], None),
            (&["noise.vec_norm=2", "stage.train.model.layers=3"], None),
            (&["noise.vec_norm=1"], Some(1)),
            (&["noise.vec_norm=1"], Some(7)),
            (&["nouns.vocab_threshold=21"], Some(7)),
            (&["cls.datasets=[fluent-emoji]"], Some(7)),
            (
                &["stage.drawings.generate.configs=[beam_k3_vnone_gp_t1_a0]"],
                None,
            ),
            (&["stage.train.kind=nothing", "noise.vec_norm=2"], None),
            (&["stage.drawings.inputs=[{stage: train, repeat: 2}]"], None),
            (&["needs.cpus=1"], None),
            (&[], None),
        ],
    );
    let uses = |stage: &str| -> usize {
        let nodes = graph.nodes.iter().filter(|node| &*node.stage == stage);
        nodes.map(|node| node.uses).max().unwrap()
    };
    assert!(uses("zero_shot") > 6 && uses("nouns") > 4);
}

#[test]
fn references_are_followed() {
    let inputs = "inputs = [\"nouns\"]\n";
    let refers = format!("{inputs}train.lr.init = \"${{noise.vec_norm}}\"\n");
    let graph = same_keys(
        &QUICK.replace(inputs, &refers),
        &[
            (&["noise.vec_norm=0.5"], None),
            (&["noise.vec_norm=0.25"], None),
        ],
    );
    let trainings = graph.nodes.iter().filter(|node| &*node.kind == "train");
    assert_eq!(trainings.count(), 2);
}

#[test]
fn pieces_of_work_wait_for_what_they_share() {
    let graph = same_keys(
        "[stage.a]\nkind = \"nothing\"\nrun.seed = 1\n\
         [stage.b]\nkind = \"nothing\"\ninputs = [\"a\"]\nrun.seed = 2\n\
         [stage.c]\nkind = \"nothing\"\ninputs = [\"b\"]\nrun.seed = 3\n",
        &[
            (&["stage.b.run.seed=5", "stage.c.run.seed=6"], None),
            (&["stage.b.run.seed=5", "stage.c.run.seed=7"], None),
            (&["stage.b.run.seed=8", "stage.c.run.seed=7"], None),
        ],
    );
    let units = units(&graph, &[0, 1, 2]);
    let told: Vec<_> = units
        .iter()
        .map(|unit| (unit.spec.label(), unit.after.clone()))
        .collect();
    assert_eq!(
        told,
        [
            ("a (for 3 points)".to_owned(), vec![]),
            ("b (for 2 points)".to_owned(), vec![0]),
            ("point 0".to_owned(), vec![1]),
            ("point 1".to_owned(), vec![1]),
            ("point 2".to_owned(), vec![0]),
        ]
    );
}

#[test]
fn values_that_do_not_go_together_block_their_points() {
    let dir = tempfile::tempdir().unwrap();
    let family = family(dir.path(), QUICK);
    let project = Project::locate(dir.path(), None, None);
    let hashes = ContentHashes::open(&project, false);
    let all = [3, 2, 4, -1].map(|heads| {
        let path = "stage.train.model.heads".to_owned();
        vec![Setting::of(path, heads.into())]
    });
    let points: Vec<_> = all
        .iter()
        .map(|settings| GraphPoint {
            settings,
            seed: None,
        })
        .collect();
    let planned = |misfits| plan(&family, &points, misfits, &registry(), &project, &hashes);
    assert!(planned(Misfits::Refused).is_err());
    let graph = planned(Misfits::Blocked).unwrap();
    let blocked: Vec<bool> = (0..4)
        .map(|place| graph.blockage(place).is_some())
        .collect();
    assert_eq!(blocked, [true, false, false, true]);
    let why = graph.blockage(0).unwrap();
    assert!(why.contains("3 attention heads"), "{why}");
    let units = units(&graph, &[0, 1, 2, 3]);
    assert!(units.iter().all(|unit| !matches!(unit.spec.point, 0 | 3)));
}
