//! Sweeps: every point once, whatever happens.

use std::collections::BTreeSet;
use std::fs;
use std::process::Stdio;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::folder::{Call, Folder, repository};

/// Two stages that do nothing: one that all points share, one of each point.
const NOTHING: &str = "[stage.shared]\nkind = \"nothing\"\nrun.seed = 1\n\n\
     [stage.own]\nkind = \"nothing\"\ninputs = [\"shared\"]\nrun.seed = 2\n";

impl Folder {
    fn nothing(&self) -> &'static str {
        fs::write(self.path("nothing.toml"), NOTHING).unwrap();
        "nothing.toml"
    }

    fn json(&self, arguments: &[&str], code: i32) -> Value {
        let call = self.call(arguments).expect(code);
        serde_json::from_str(&call.out).unwrap_or_else(|e| panic!("{e}: {}", call.out))
    }

    /// How many outputs of a kind there are.
    fn outputs(&self, kind: &str) -> usize {
        let items = fs::read_dir(self.path(".novic/store").join(kind));
        let items = items.into_iter().flatten().flatten();
        items
            .filter(|item| item.path().join("entry.json").is_file())
            .count()
    }
}

#[test]
fn points_run_once_and_a_sweep_grows() {
    let folder = Folder::new();
    let file = folder.nothing();
    let axis = "stage.own.run.seed=range(10,16)";
    let plan = folder.json(&["sweep", "plan", file, axis, "--json"], 0);
    assert_eq!((&plan["count"], &plan["to_run"]), (&6.into(), &6.into()));
    assert_eq!(plan["shared"][0]["stage"], "shared");
    assert_eq!(plan["shared"][0]["points"], 6);
    assert!(!folder.path(".novic").exists(), "a plan writes nothing");
    let run = |more: &[&str]| {
        let mut arguments = vec!["sweep", "run", file, axis, "--name", "s", "--json"];
        arguments.extend(more);
        folder.json(&arguments, 0)
    };
    let none = folder.call(&["sweep", "status"]).expect(0);
    assert!(none.out.contains("no sweeps yet"), "{}", none.out);
    let first = run(&["--jobs", "2"]);
    assert_eq!(first["summary"]["outcomes"].as_array().unwrap().len(), 7);
    assert_eq!(folder.outputs("nothing"), 7);
    assert!(run(&[])["summary"].is_null(), "nothing is left to do");
    // More values beside the file; the others are left alone.
    let more = folder.json(
        &["sweep", "extend", "s", "stage.own.run.seed=20,21", "--json"],
        0,
    );
    assert_eq!(more["summary"]["outcomes"].as_array().unwrap().len(), 2);
    assert_eq!(folder.outputs("nothing"), 9);
    assert!(run(&[])["summary"].is_null());
    let status = folder.json(&["sweep", "status", "s", "--json"], 0);
    assert_eq!(status["count"], 8);
    let states: BTreeSet<_> = status["points"]
        .as_array()
        .unwrap()
        .iter()
        .map(|p| p["state"].to_string())
        .collect();
    assert_eq!(states.len(), 1, "{states:?}");
    // Fewer values: what is gone is no part of it, and comes back unchanged.
    let fewer = [
        "sweep",
        "run",
        file,
        "stage.own.run.seed=10,11",
        "--name",
        "s",
        "--json",
    ];
    assert_eq!(
        folder.json(&fewer, 0)["results"]["groups"]
            .as_array()
            .unwrap()
            .len(),
        4
    );
    assert!(run(&[])["summary"].is_null());
    let processes = folder.json(
        &[
            "sweep",
            "run",
            file,
            "stage.own.run.seed=range(30,33)",
            "launcher.kind=processes",
            "--json",
        ],
        0,
    );
    assert_eq!(
        processes["summary"]["outcomes"].as_array().unwrap().len(),
        3
    );
    assert_eq!(folder.outputs("nothing"), 12);
    // What cannot be added is told as in files.
    for (argument, parts) in [
        (
            "stage.onw.run.seed=1",
            vec!["there is no stage `onw`", "did you mean `own`"],
        ),
        (
            "noise.vec_norm=1",
            vec!["no stage of this experiment reads noise.vec_norm"],
        ),
        (
            "stage.own.run.seed=range(100,200000)",
            vec!["points, more than 100000"],
        ),
        ("stage.own.inputs=[shraed]", vec!["did you mean `shared`"]),
    ] {
        let call = folder.call(&["sweep", "extend", "s", argument]).expect(2);
        for part in parts {
            assert!(call.err.contains(part), "{part}\n{}", call.err);
        }
    }
    let all = folder.call(&["sweep", "status"]).expect(0);
    for part in ["sweep", "left", "done"] {
        assert!(all.out.contains(part), "{part}\n{}", all.out);
    }
    let all = folder.json(&["sweep", "status", "--wait", "--json"], 0);
    let sweeps = all["sweeps"].as_array().unwrap();
    assert_eq!(sweeps.len(), 2, "{all}");
    let known = sweeps.iter().find(|sweep| sweep["sweep"] == "s").unwrap();
    let number = |name: &str| known[name].as_u64().unwrap();
    assert_eq!(
        (known["state"].as_str(), number("points"), number("done")),
        (Some("done"), 8, 8),
        "{all}"
    );
    assert_eq!(number("failed") + number("blocked") + number("left"), 0);
    // One that cannot be read leaves the others alone.
    fs::write(folder.path(".novic/sweeps/s/sweep.json"), "{").unwrap();
    let partly = folder.call(&["sweep", "status"]).expect(1);
    assert!(partly.out.contains("s: ") && partly.out.contains("is damaged"));
    assert!(partly.out.contains("nothing-"), "{}", partly.out);
}

/// The overrides that a plan tells make what the sweep looks for.
#[test]
fn points_can_be_run_one_by_one() {
    let folder = Folder::new();
    let file = folder.nothing();
    let sweep = format!(
        "[sweep]\nbase = {file:?}\n\n[set]\nstage.shared.run.seed = 7\n\n\
         [grid]\nstage.own.run.seed = [8, 9]\n"
    );
    fs::write(folder.path("s.toml"), sweep).unwrap();
    let plan = folder.json(&["sweep", "plan", "s.toml", "--json"], 0);
    for point in plan["points"].as_array().unwrap() {
        let overrides = point["overrides"].as_array().unwrap();
        let mut arguments = vec!["run", file];
        arguments.extend(overrides.iter().filter_map(Value::as_str));
        folder.call(&arguments).expect(0);
    }
    let plan = folder.json(&["sweep", "plan", "s.toml", "--json"], 0);
    assert_eq!(plan["to_run"], 0, "{plan}");
}

/// Inputs are checked as in experiments that run by themselves.
#[test]
fn stages_of_sweeps_go_together() {
    let folder = Folder::new();
    let base = "[stage.nouns]\nkind = \"convert_noun_dataset\"\n\n\
         [stage.train]\nkind = \"train\"\ninputs = [\"nouns\"]\n\n\
         [stage.drawings]\nkind = \"eval_cls_decoding\"\ninputs = [\"train\"]\n";
    fs::write(folder.path("base.toml"), base).unwrap();
    let wrong = base.replace("[\"train\"]", "[\"nouns\"]");
    fs::write(folder.path("wrong.toml"), wrong).unwrap();
    let call = ["sweep", "plan", "wrong.toml", "noise.vec_norm=1,2"];
    let call = folder.call(&call).expect(2);
    for part in [
        "stage `drawings` cannot use the output of `nouns`",
        "wrong.toml:10:11",
        "here: `train`",
    ] {
        assert!(call.err.contains(part), "{part}\n{}", call.err);
    }
    let sweep = |text: &str| {
        let text = format!("[sweep]\nbase = \"base.toml\"\n\n{text}\n");
        fs::write(folder.path("s.toml"), text).unwrap();
        folder.call(&["sweep", "plan", "s.toml"]).expect(2).err
    };
    for (text, parts) in [
        (
            "[grid]\nstage.drawings.inputs = [[\"train\"], [\"nouns\"]]",
            vec![
                "cannot use the output of `nouns`",
                "s.toml:5:1",
                "here: `train`",
            ],
        ),
        (
            "[grid]\nstage.drawings.inputs = [[\"train\"], [\"trian\"]]",
            vec![
                "`trian`, which is no stage",
                "s.toml:5:1",
                "did you mean `train`",
            ],
        ),
        (
            "[set]\nstage.trian.model.layers = 2\n[grid]\nnoise.vec_norm = [1, 2]",
            vec![
                "there is no stage `trian`",
                "s.toml:5:1",
                "did you mean `stage.train`",
            ],
        ),
    ] {
        let said = sweep(text);
        for part in parts {
            assert!(said.contains(part), "{text}\n{part}\n{said}");
        }
    }
    let metric = "metric = \"drawnigs.top1\"\nshow = [\"trian.loss\"]\n";
    let said = sweep(&format!("{metric}[grid]\nnoise.vec_norm = [1, 2]"));
    for part in [
        "s.toml:4:10",
        "`drawings`",
        "s.toml:5:9",
        "did you mean `train`",
    ] {
        assert!(said.contains(part), "{part}\n{said}");
    }
}

#[test]
fn mistakes_are_shown_where_they_stand() {
    let folder = Folder::new();
    folder.nothing();
    let sweep = "[sweep]\nbase = \"nothing.toml\"\nmax_points = 50\nshow = []\n\n";
    for (text, expected) in [
        (
            "[grid]\nrun.sed = [1, 2]",
            vec!["s.toml:7:5", "did you mean `run.seed`"],
        ),
        (
            "[grid]\nstage.onw.run.seed = [1]",
            vec!["there is no stage `onw`", "did you mean `own`"],
        ),
        (
            "[grid]\nrun.seed = []",
            vec!["has no values", "s.toml:7:12"],
        ),
        ("[grid]\nrun.seed = \"range(3,3)\"", vec!["has no values"]),
        (
            "[grid]\nrun.seed = [1, \"x\"]",
            vec!["expected a whole number", "s.toml:7:16"],
        ),
        (
            "[grid]\nrun.seed = \"interval(1,4)\"",
            vec!["values that can be listed"],
        ),
        (
            "[grid]\nrun.seed = [1]\ndeterm_seed = [2]",
            vec!["two axes `run.seed`"],
        ),
        (
            "[grid]\nrun.seed = [1]\nstage.own.run.seed = [2]",
            vec!["for the same value"],
        ),
        (
            "[set]\nrun.seed = 4\n[grid]\nrun.seed = [1]",
            vec!["set for all points and varies"],
        ),
        (
            "[grid]\nrun.seed = \"range(1,100)\"",
            vec!["more than 50 points", "= 99"],
        ),
        (
            "[grid]\nrun.seed = [1, 2]\n[[exclude]]\nrun.seed = [1, 2]",
            vec!["all 2 points are excluded"],
        ),
        (
            "[grid]\nrun.seed = [1]\n[[exclude]]\nrun.device = \"cpu\"",
            vec!["no axis varies `run.device`"],
        ),
        (
            "[grid]\nrun.seed = [1]\n[[exclude]]\nrun.seed = [\"x\"]",
            vec!["expected a whole number", "s.toml:9:13"],
        ),
        (
            "[grid]\nrun.seed = [1]\n[[exclude]]\nrun.seed = \"interval(-1,4)\"",
            vec!["-1 is out of range", "s.toml:9:12"],
        ),
        (
            "[grid]\nnoise.mix_ratio = [0]\n[[exclude]]\nnoise.mix_ratio = \"interval(0,2)\"",
            vec!["2 is out of range", "s.toml:9:19"],
        ),
        (
            "[grid]\nrun.seed = [1]\n[[exclude]]\nrun.seed = \"interval(1,4.5)\"",
            vec!["expected a whole number", "s.toml:9:12"],
        ),
        (
            "[grid]\nrun.seed = [1]\n[[exclude]]\nrun.seed = \"interval(1,4,2)\"",
            vec!["expected values or interval(low, high)", "s.toml:9:12"],
        ),
        (
            "[grid]\nrun.seed = [1]\n[[exclude]]\nrun.device = \"interval(1,4)\"",
            vec!["run.device is no number", "s.toml:9:14"],
        ),
        (
            "[search]\ntrials = 2\n[search.space]\nrun.seed = \"1,2\"\n[[exclude]]\nrun.seed = 1",
            vec!["a search leaves no points out", "s.toml:1"],
        ),
        (
            "[grid]\nnoise.vec_norm = [1, 2]",
            vec!["no stage of this experiment reads noise.vec_norm"],
        ),
        (
            "[[zip]]\nrun.seed = [1, 2]\nrun.device = [\"cpu\"]",
            vec!["as many values each"],
        ),
        ("[grdi]\nrun.seed = [1]", vec!["did you mean `grid`"]),
    ] {
        let place = folder.path("s.toml");
        fs::write(&place, format!("{sweep}{text}\n")).unwrap();
        let call = folder.call(&["sweep", "plan", "s.toml"]).expect(2);
        for part in expected {
            assert!(call.err.contains(part), "{text}\n{part}\n{}", call.err);
        }
    }
    let given = [
        "sweep",
        "plan",
        "nothing.toml",
        "run.seed=1,2",
        "stage.own.run.seed=4",
    ];
    let call = folder.call(&given).expect(2);
    assert!(
        call.err.contains("the sweep varies `run.seed`"),
        "{}",
        call.err
    );
    let axis = "stage.own.run.seed=1,2";
    let plan = |more: &[&str], code: i32| {
        let mut arguments = vec!["sweep", "plan", "nothing.toml", axis];
        arguments.extend(more);
        folder.call(&arguments).expect(code).err
    };
    let twice = plan(&["seeds=3,3"], 2);
    assert!(twice.contains("the seed 3 is given twice"), "{twice}");
    let none = plan(&["-j", "0"], 2);
    assert!(none.contains("at least one"), "{none}");
    let unread = plan(&["noise.vec_norm=2"], 0);
    assert!(unread.contains("the override has no effect"), "{unread}");
    let unknown = folder.call(&["sweep", "status", "nosuch"]).expect(2);
    assert!(
        unknown.err.contains("there is no sweep `nosuch`"),
        "{}",
        unknown.err
    );
    let many = ["sweep", "run", "nothing.toml", "run.seed=range(1,200)"];
    let many = folder.call(&many).expect(2);
    assert!(many.err.contains("add --yes"), "{}", many.err);
}

#[test]
fn a_sweep_goes_on_with_what_it_was_begun_with() {
    let folder = Folder::new();
    let file = folder.nothing();
    let run = [
        "sweep",
        "run",
        file,
        "stage.own.run.seed=3,4",
        "--name",
        "s",
    ];
    folder.call(&run).expect(0);
    // Comments change nothing.
    fs::write(folder.path(file), format!("# A comment.\n{NOTHING}")).unwrap();
    folder.call(&run).expect(0);
    // Nor does what only people and mirrors see.
    let mut renamed = run.to_vec();
    renamed.extend(["tracking.group=night", "stage.own.tracking.tags=[late]"]);
    let call = folder.call(&renamed).expect(0);
    assert!(call.err.contains("up to date"), "{}", call.err);
    fs::write(folder.path(file), NOTHING.replace("seed = 1", "seed = 7")).unwrap();
    let call = folder.call(&run).expect(2);
    for part in [
        "the experiment changed",
        "stage.shared.run.seed 1 → 7",
        "nothing.toml:3:12",
    ] {
        assert!(call.err.contains(part), "{part}\n{}", call.err);
    }
    let resumed = folder.call(&["sweep", "resume", "s"]).expect(0);
    assert!(resumed.err.contains("up to date"), "{}", resumed.err);
    assert_eq!(folder.outputs("nothing"), 3);
    let mut update = run.to_vec();
    update.push("--update");
    folder.call(&update).expect(0);
    assert_eq!(folder.outputs("nothing"), 6);
    fs::copy(folder.path(file), folder.path("other.toml")).unwrap();
    let other = [
        "sweep",
        "run",
        "other.toml",
        "stage.own.run.seed=3,4",
        "--name",
        "s",
    ];
    let call = folder.call(&other).expect(2);
    assert!(call.err.contains("belongs to"), "{}", call.err);
}

#[test]
fn a_sweep_that_is_killed_again_and_again_does_every_point_once() {
    let folder = Folder::new();
    let tiny = repository("tests/program/tiny.toml");
    let arguments = [
        "sweep",
        "run",
        tiny.to_str().unwrap(),
        "noise.vec_norm=1,1.5",
        "seeds=1,2",
        "--name",
        "k",
        "--json",
    ];
    // Another process finds it busy, or has nothing to do for it.
    let begun = Instant::now();
    let mut killed = 0;
    for n in 0..4 {
        let mut child = folder
            .command(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let until = Instant::now() + Duration::from_millis(400 * (n + 1));
        while Instant::now() < until && child.try_wait().unwrap().is_none() {
            thread::sleep(Duration::from_millis(5));
        }
        killed += u32::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(
        killed > 0,
        "no sweep lived long enough, {:?}",
        begun.elapsed()
    );
    let done = folder.json(&arguments, 0);
    assert_eq!(done["unfinished"], 0);
    // The texts are shuffled by the seed, the zero-shot scores by nothing.
    assert_eq!(folder.outputs("convert_noun_dataset"), 2);
    assert_eq!(folder.outputs("embedder_zero_shot"), 1);
    assert_eq!(folder.outputs("train"), 4);
    assert_eq!(folder.outputs("eval_cls_decoding"), 4);
    let again = Call::from(folder.command(&arguments).output().unwrap()).expect(0);
    let again: Value = serde_json::from_str(&again.out).unwrap();
    assert!(again["summary"].is_null(), "{again}");
    let results = ["sweep", "results", "k", "--show", "drawings.top1", "--json"];
    let results = folder.json(&results, 0);
    let groups = results["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 2);
    assert!(
        groups
            .iter()
            .all(|g| g["means"]["drawings.top1"].is_number()),
        "{results}"
    );
}

/// A sweep has one process at a time; sweeps with other names share the
/// directory, and what they need is made once.
#[test]
fn two_sweeps_go_well_in_one_directory() {
    let folder = Folder::new();
    let tiny = repository("tests/program/tiny.toml");
    let sweep = |name: &str, chunks: &str| {
        let chunks = format!("stage.train.train.max_chunks={chunks}");
        let arguments = [
            "sweep",
            "run",
            tiny.to_str().unwrap(),
            "noise.vec_norm=1,1.5",
            &chunks,
            "--name",
            name,
        ];
        let mut command = folder.command(&arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let mut first = sweep("long", "100000").spawn().unwrap();
    let begun = Instant::now();
    while folder.outputs("embedder_zero_shot") == 0 {
        assert!(
            begun.elapsed() < Duration::from_secs(120),
            "nothing is made"
        );
        thread::sleep(Duration::from_millis(20));
    }
    let second = Call::from(sweep("long", "100000").output().unwrap()).expect(1);
    for part in [
        "sweep `long` is being run by process",
        "novic sweep status long --wait",
        "novic sweep cancel long",
    ] {
        assert!(second.err.contains(part), "{part}\n{}", second.err);
    }
    let others = [sweep("a", "3"), sweep("b", "3")];
    let others: Vec<_> = others.map(|mut other| other.spawn().unwrap()).into();
    for other in others {
        Call::from(other.wait_with_output().unwrap()).expect(0);
    }
    assert_eq!(folder.outputs("convert_noun_dataset"), 1);
    assert_eq!(folder.outputs("embedder_zero_shot"), 1);
    assert_eq!(folder.outputs("train"), 2);
    assert!(first.try_wait().unwrap().is_none(), "the first is at work");
    folder.call(&["sweep", "cancel", "long"]).expect(0);
    Call::from(first.wait_with_output().unwrap()).expect(130);
}

#[test]
fn a_point_that_fails_leaves_the_others_alone() {
    let folder = Folder::new();
    let tiny = repository("tests/program/tiny.toml");
    let run = |more: &[&str], code: i32| {
        let mut arguments = vec![
            "sweep",
            "run",
            tiny.to_str().unwrap(),
            "stage.train.model.type=DudDecoder,PrefixedIterDecoder",
            "--name",
            "f",
            "--json",
        ];
        arguments.extend(more);
        folder.json(&arguments, code)
    };
    let summary = run(&[], 1);
    assert_eq!(summary["unfinished"], 1);
    let outcomes = summary["summary"]["outcomes"].as_array().unwrap();
    let of = |unit: &str| outcomes.iter().find(|line| line["unit"] == unit).unwrap();
    assert_eq!(of("point 0")["outcome"], "failed");
    let message = of("point 0")["message"].as_str().unwrap();
    assert!(message.contains("no parameters to train"), "{message}");
    assert_eq!(of("point 1")["outcome"], "done");
    let status = folder.call(&["sweep", "status", "f"]).expect(0);
    assert!(
        status.out.contains("no parameters to train"),
        "{}",
        status.out
    );
    // The same command tries it again, and nothing else.
    let again = run(&[], 1);
    assert_eq!(again["summary"]["outcomes"].as_array().unwrap().len(), 1);
}

#[test]
fn a_search_goes_by_what_came_out() {
    let folder = Folder::new();
    let tiny = repository("tests/program/tiny.toml");
    let text = format!(
        "[sweep]\nbase = {:?}\nmetric = \"train.loss\"\n\n\
         [search]\ntrials = 5\nstartup = 3\n\n\
         [search.space]\nnoise.vec_norm = \"interval(0.5,3)\"\n\
         stage.train.model.layers = \"range(1,3)\"\n\n\
         [search.prune]\nmethod = \"asha\"\nmetric = \"loss\"\nresource = \"chunk\"\nmin = 1\nmax = 3\n",
        tiny.to_str().unwrap()
    );
    let write = |text: &str| fs::write(folder.path("search.toml"), text).unwrap();
    // What would end trials early is logged.
    for (right, wrong, parts) in [
        (
            "metric = \"loss\"",
            "metric = \"los\"",
            vec![
                "does not log `los`",
                "did you mean `loss`",
                "search.toml:15:10",
            ],
        ),
        (
            "\"chunk\"",
            "\"chunks\"",
            vec![
                "does not log `chunks`",
                "did you mean `chunk`",
                "search.toml:16:12",
            ],
        ),
        (
            "\"chunk\"",
            "\"epoch\"",
            vec![
                "`loss` and `epoch` are not in the same rows",
                "search.toml:16:12",
            ],
        ),
        (
            "\"asha\"",
            "\"asha\"\nstage = \"nouns\"",
            vec![
                "stage `nouns` logs no metrics",
                "stages that do: train",
                "search.toml:15:9",
            ],
        ),
        (
            "\"asha\"",
            "\"asha\"\nstage = \"trian\"",
            vec![
                "there is no stage `trian`",
                "did you mean `train`",
                "search.toml:15:9",
            ],
        ),
    ] {
        write(&text.replacen(right, wrong, 1));
        let call = folder.call(&["sweep", "plan", "search.toml"]).expect(2);
        for part in parts {
            assert!(call.err.contains(part), "{part}\n{}", call.err);
        }
    }
    write(&text);
    let plan = folder.call(&["sweep", "plan", "search.toml"]).expect(0);
    for part in [
        "5 of 5 trials left, by tpe: train.loss (min)",
        "noise.vec_norm: interval(0.5, 3)",
        "asha by train.loss (min), looked at from chunk 1 to 3",
        "nouns: one output for 5 points, will run",
        "steps of unknown time",
    ] {
        assert!(plan.out.contains(part), "{part}\n{}", plan.out);
    }
    let run = ["sweep", "run", "search.toml", "--json"];
    let first = folder.json(&run, 0);
    let groups = first["results"]["groups"].as_array().unwrap();
    assert_eq!(groups.len(), 5, "{first}");
    let best = first["results"]["best"]["value"].as_f64().unwrap();
    let values = groups
        .iter()
        .filter_map(|g| g["means"]["train.loss"].as_f64());
    assert!(values.clone().count() >= 1 && values.clone().all(|value| value >= best));
    let again = folder.json(&run, 0);
    assert!(again["outcomes"].as_array().unwrap().is_empty(), "{again}");
    assert_eq!(again["results"], first["results"]);
    let plan = folder.json(&["sweep", "plan", "search.toml", "--json"], 0);
    assert_eq!((&plan["trials"], &plan["to_run"]), (&5.into(), &0.into()));
    assert_eq!(plan["expected_seconds"], 0.0, "{plan}");
    // More trials: what they take is known by those before.
    write(&text.replace("trials = 5", "trials = 8"));
    let plan = folder.json(&["sweep", "plan", "search.toml", "--json"], 0);
    assert_eq!(plan["to_run"], 3, "{plan}");
    assert!(plan["expected_seconds"].as_f64().unwrap() > 0.0, "{plan}");
    let shared = plan["shared"].as_array().unwrap();
    let nouns = shared.iter().find(|line| line["stage"] == "nouns").unwrap();
    assert_eq!((&nouns["points"], &nouns["to_run"]), (&3.into(), &0.into()));
    let plan = folder.call(&["sweep", "plan", "search.toml"]).expect(0);
    for part in ["of work", "less where trials end early", "in the store"] {
        assert!(plan.out.contains(part), "{part}\n{}", plan.out);
    }
    // The question counts what is left.
    let asks = text.replace("trials = 5", "trials = 8");
    write(&asks.replace("[search]\n", "ask_above = 2\n\n[search]\n"));
    let call = folder.call(&["sweep", "run", "search.toml"]).expect(2);
    for part in ["3 points are to be run", "nouns: one output", "of work"] {
        assert!(call.err.contains(part), "{part}\n{}", call.err);
    }
    let status = folder.json(&["sweep", "status", "--json"], 0);
    let line = &status["sweeps"][0];
    assert_eq!(
        (&line["sweep"], &line["left"]),
        (&"search".into(), &0.into())
    );
    assert_eq!(line["best"]["value"], best, "{status}");
    let status = folder.call(&["sweep", "status"]).expect(0);
    assert!(status.out.contains("train.loss = "), "{}", status.out);
    // A search chooses its points itself.
    let extend = ["sweep", "extend", "search", "noise.vec_norm=1"];
    let call = folder.call(&extend).expect(2);
    for part in ["searches for its points", "`trials`"] {
        assert!(call.err.contains(part), "{part}\n{}", call.err);
    }
    let slurm = ["sweep", "run", "search.toml", "launcher.kind=slurm", "-y"];
    let call = folder.call(&slurm).expect(2);
    assert!(
        call.err.contains("a search runs on this machine"),
        "{}",
        call.err
    );
}

#[test]
fn hopeless_trials_end_early() {
    let folder = Folder::new();
    let tiny = repository("tests/program/tiny.toml");
    let text = format!(
        "[sweep]\nbase = {:?}\nmetric = \"train.loss\"\n\n\
         [set]\nstage.train.train.max_chunks = 60\nstage.train.train.max_epochs = 60\n\n\
         [search]\nmethod = \"random\"\ntrials = 5\n\n\
         [search.space]\nnoise.vec_norm = \"interval(0.5,3)\"\n\n\
         [search.prune]\nmetric = \"loss\"\nresource = \"chunk\"\nmin = 1\nmax = 60\n",
        tiny.to_str().unwrap()
    );
    fs::write(folder.path("search.toml"), text).unwrap();
    let run = ["sweep", "run", "search.toml", "--json"];
    let first = folder.json(&run, 0);
    let outcomes = first["outcomes"].as_array().unwrap();
    let ended = outcomes.iter().filter(|line| line["pruned"] == true);
    assert!(ended.count() > 0, "{first}");
    // They are over: nothing is left, and the best is one that went to its end.
    let again = folder.json(&run, 0);
    assert!(again["outcomes"].as_array().unwrap().is_empty(), "{again}");
    assert_eq!(again["results"]["best"], first["results"]["best"]);
    let status = folder.json(&["sweep", "status", "--json"], 0);
    assert_eq!(status["sweeps"][0]["left"], 0, "{status}");
}

#[test]
fn a_search_goes_round_trials_that_cannot_run() {
    let folder = Folder::new();
    let tiny = repository("tests/program/tiny.toml");
    let search = |metric: &str, space: &str| {
        format!(
            "[sweep]\nbase = {:?}\nmetric = \"{metric}\"\n\n\
             [search]\ntrials = 4\nmethod = \"random\"\n\n\
             [search.space]\nnoise.vec_norm = \"interval(0.5,3)\"\n{space}",
            tiny.to_str().unwrap()
        )
    };
    let space = "stage.train.checkpoint.load = \"choice('','nofile.safetensors')\"\n";
    fs::write(folder.path("partly.toml"), search("train.loss", space)).unwrap();
    let run = folder.call(&["sweep", "run", "partly.toml"]).expect(0);
    assert!(run.err.contains("nofile.safetensors"), "{}", run.err);
    let plan = folder.json(&["sweep", "plan", "partly.toml", "--json"], 0);
    let points = plan["points"].as_array().unwrap();
    let count = |state: &str| points.iter().filter(|p| p["state"] == state).count();
    assert!(count("done") > 0 && count("blocked") > 0, "{plan}");
    assert_eq!(count("done") + count("blocked"), 4, "{plan}");
    // Values that do not go together are chosen by nobody.
    let space = "stage.train.model.heads = \"choice(2,3)\"\n";
    fs::write(folder.path("heads.toml"), search("train.loss", space)).unwrap();
    let run = folder.call(&["sweep", "run", "heads.toml"]).expect(0);
    assert!(run.err.contains("3 attention heads"), "{}", run.err);
    let again = folder.call(&["sweep", "run", "heads.toml"]).expect(0);
    assert!(again.err.contains("0 of 4 trials left"), "{}", again.err);
    // A metric that is not measured is told after the first trial.
    fs::write(folder.path("nosuch.toml"), search("train.nosuch", "")).unwrap();
    let call = folder.call(&["sweep", "run", "nosuch.toml"]).expect(1);
    for part in ["no finished point has `train.nosuch`", "train.loss"] {
        assert!(call.err.contains(part), "{part}\n{}", call.err);
    }
    let plan = folder.json(&["sweep", "plan", "nosuch.toml", "--json"], 0);
    assert_eq!(plan["count"], 1, "{plan}");
}

#[test]
fn nobody_needs_to_read_what_is_said() {
    let folder = Folder::new();
    let file = folder.nothing();
    let mut command = folder.command(&["sweep", "run", file, "stage.own.run.seed=range(10,16)"]);
    let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stderr.take());
    assert!(child.wait().unwrap().success());
    assert_eq!(folder.outputs("nothing"), 7);
}

#[test]
fn the_sweeps_that_are_shipped_can_be_planned() {
    let folder = Folder::new();
    let files = fs::read_dir(repository("sweeps")).unwrap();
    let mut planned = 0;
    for file in files {
        let file = file.unwrap().path();
        let plan = ["sweep", "plan", file.to_str().unwrap(), "--json"];
        let plan = folder.json(&plan, 0);
        assert!(plan["count"].as_u64().unwrap() > 5, "{}", file.display());
        planned += 1;
    }
    assert!(planned > 4);
}
