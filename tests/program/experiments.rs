//! Experiments and their runs: what is recorded, what is up to date, what may be
//! named.

use std::fs;

use serde_json::Value;

use crate::folder::{Call, Folder};

/// Three stages that take no time.
const NOTHING: &str = "[stage.a]\nkind = \"nothing\"\n[stage.b]\nkind = \"nothing\"\ninputs = [\"a\"]\n[stage.c]\nkind = \"nothing\"\nrun.seed = 2\n";

fn with_files(files: &[(&str, &str)]) -> Folder {
    let folder = Folder::new();
    for (name, text) in files {
        fs::write(folder.path(name), text).unwrap();
    }
    folder
}

fn json(call: &Call) -> Value {
    serde_json::from_str(&call.out).unwrap()
}

fn runs(folder: &Folder) -> Vec<Value> {
    let call = folder.call(&["ls", "--json", "--last", "0"]).expect(0);
    serde_json::from_str(&call.out).unwrap()
}

#[test]
fn what_another_experiment_made_is_recorded_once_with_a_page_of_its_own() {
    let folder = with_files(&[("first.toml", NOTHING), ("second.toml", NOTHING)]);
    let first = json(&folder.call(&["run", "first.toml", "--json"]).expect(0));
    let page = fs::read_to_string(folder.path(first["page"].as_str().unwrap())).unwrap();
    let second = json(&folder.call(&["run", "second.toml", "--json"]).expect(0));
    assert_ne!(first["run"], second["run"]);
    let kept = fs::read_to_string(folder.path(first["page"].as_str().unwrap())).unwrap();
    assert!(page == kept, "the page of the first experiment is its own");
    let own = fs::read_to_string(folder.path(second["page"].as_str().unwrap())).unwrap();
    assert!(own.contains("<title>second"), "{own}");
    let steps = second["summary"]["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 3);
    assert!(steps.iter().all(|step| step["outcome"] == "up_to_date"));
    let names = |runs: &[Value]| -> Vec<String> {
        let name = |run: &Value| run["experiment"].as_str().unwrap().to_owned();
        runs.iter().map(name).collect()
    };
    let listed = names(&runs(&folder));
    assert_eq!(listed.len(), 2, "{listed:?}");
    assert!(listed.contains(&"second".to_owned()), "{listed:?}");

    // From now on there is nothing to record.
    let call = folder.call(&["run", "second.toml", "--json"]).expect(0);
    let again = json(&call);
    assert_eq!(
        (&again["run"], &again["page"]),
        (&second["run"], &second["page"])
    );
    assert_eq!(again["summary"]["steps"].as_array().unwrap().len(), 3);
    assert_eq!(runs(&folder).len(), 2);

    // Without the run nothing would keep the outputs.
    let run = second["run"].as_str().unwrap();
    folder.call(&["rm", run]).expect(0);
    let renewed = json(&folder.call(&["run", "second.toml", "--json"]).expect(0));
    assert_ne!(renewed["run"], second["run"]);
    assert_eq!(runs(&folder).len(), 2);
    folder.call(&["book", "second.toml"]).expect(0);

    // What changed since is told although another experiment made the output.
    let why = folder
        .call(&["why", "second.toml", "c", "stage.c.run.seed=3"])
        .expect(0);
    assert!(why.out.contains("run.seed 2 → 3"), "{}", why.out);
}

#[test]
fn stages_that_are_not_there_are_refused_before_anything_is_recorded() {
    let folder = with_files(&[
        ("mine.toml", NOTHING),
        ("b.toml", "[stage.bee]\nkind = \"nothing\"\n"),
    ]);
    for option in ["--only", "--from", "--until", "--force"] {
        let call = folder.call(&["run", "b.toml", option, "beee"]).expect(2);
        assert!(call.err.contains("did you mean `bee`?"), "{}", call.err);
    }
    let none = ["run", "mine.toml", "--only", "a", "--from", "b"];
    let call = folder.call(&none).expect(2);
    assert!(call.err.contains("choose no stage"), "{}", call.err);
    assert!(!folder.path(".novic/runs").exists(), "nothing was begun");
    folder.call(&["run", "b.toml"]).expect(0);
    let call = folder
        .call(&["verify", "latest", "--stage", "beee"])
        .expect(2);
    assert!(call.err.contains("did you mean `bee`?"), "{}", call.err);
    // Also where everything is up to date.
    folder.call(&["run", "b.toml", "--only", "beee"]).expect(2);
}

#[test]
fn an_experiment_without_stages_says_so() {
    let folder = with_files(&[("none.toml", "[experiment]\ntitle = \"None\"\n")]);
    let call = folder.call(&["run", "none.toml"]).expect(0);
    assert!(call.err.contains("no stages"), "{}", call.err);
    assert!(!folder.path(".novic/runs").exists(), "nothing was begun");
}

#[test]
fn hooks_of_the_command_line_are_not_recorded() {
    let folder = with_files(&[("mine.toml", NOTHING)]);
    folder
        .call(&["run", "mine.toml", "hooks.finish='cat > heard.json'"])
        .expect(0);
    assert!(folder.path("heard.json").is_file());
    for arguments in [&["show", "latest"][..], &["show", "latest", "--json"]] {
        let shown = folder.call(arguments).expect(0).out;
        assert!(!shown.contains("heard.json"), "{shown}");
        assert!(shown.contains("hooks.finish=(secret)"), "{shown}");
    }
}

#[test]
fn pictures_of_ones_own_are_not_called_those_of_the_publication() {
    let folder = with_files(&[(
        "mine.toml",
        "[stage.look]\nkind = \"infer\"\ncheckpoint.load = \"c.safetensors\"\n",
    )]);
    let plan = |place: &str| {
        let folder_key = format!("infer.all_images_dir={place}");
        folder
            .call(&["plan", "mine.toml", &folder_key])
            .expect(0)
            .out
    };
    let own = plan("my/photos");
    assert!(own.contains("of your own"), "{own}");
    assert!(!own.contains("World"), "{own}");
    let world = plan("extras/world");
    assert!(world.contains("`novic hub get world`"), "{world}");
}

#[test]
fn inputs_seeds_and_needs_that_make_no_sense_are_told_by_the_plan() {
    let folder = with_files(&[(
        "mine.toml",
        "[experiment]\nseeds = [1, 2]\n[slots]\ncpus = 2\n[stage.idle]\nkind = \"nothing\"\n\
         [stage.train]\nkind = \"train\"\ninputs = [\"idle\"]\n",
    )]);
    let call = folder.call(&["plan", "mine.toml"]).expect(2);
    for part in ["mine.toml:9:11", "cannot use the output of `idle`"] {
        assert!(call.err.contains(part), "{}", call.err);
    }
    let seeds = "experiment.seeds=[1,2,2]";
    let call = folder.call(&["plan", "mine.toml", seeds]).expect(2);
    assert!(
        call.err.contains("experiment.seeds has 2 twice"),
        "{}",
        call.err
    );
    let warned = [
        "plan",
        "mine.toml",
        "stage.train.inputs=[]",
        "run.seed=7",
        "stage.idle.needs.cpus=4",
    ];
    let call = folder.call(&warned).expect(0);
    for part in [
        "run.seed has no effect",
        "needs.cpus = 4, but slots.cpus is 2",
    ] {
        assert!(call.err.contains(part), "{part}\n{}", call.err);
    }
}

#[test]
fn wrong_words_on_the_command_line_have_near_names() {
    let folder = with_files(&[("mine.toml", NOTHING)]);
    fs::write(folder.path("bin.toml"), [0xff, 0xfe]).unwrap();
    folder.call(&["run", "mine.toml"]).expect(0);
    let says = |arguments: &[&str], code: i32, part: &str| {
        let call = folder.call(arguments).expect(code);
        assert!(call.err.contains(part), "{part}\n{}", call.err);
    };
    says(&["run", "mine.toml", "-j", "0"], 2, "at least one stage");
    says(
        &["run", "mine.toml", "--from-run", "latest"],
        2,
        "takes no file",
    );
    says(&["run", "bin.toml"], 2, "a text in UTF-8");
    says(&["action", "trian"], 2, "did you mean `train`?");
    says(
        &["config", "mine.toml", "--section", "traim"],
        2,
        "did you mean `train`?",
    );
    says(&["ls", "stat = failed"], 0, "did you mean `state`?");
    says(&["ls", "state = faild"], 2, "did you mean `failed`?");
    says(&["tag", "latest", "--remove", "x"], 2, "it has none");
    let section = folder
        .call(&["config", "mine.toml", "--section", "init_lr"])
        .expect(0);
    assert!(section.out.contains("lr"), "{}", section.out);
    let diff = [
        "config",
        "mine.toml",
        "train.max_chunks=3",
        "--diff=mine.toml",
    ];
    let diff = folder.call(&diff).expect(0);
    assert!(diff.out.contains("train.max_chunks"), "{}", diff.out);
}

#[test]
fn a_run_in_which_nothing_was_done_is_not_verified() {
    let folder = with_files(&[(
        "mine.toml",
        "[stage.look]\nkind = \"infer\"\ncheckpoint.load = \"c.safetensors\"\n",
    )]);
    folder.call(&["run", "mine.toml", "--keep-going"]).expect(1);
    let call = folder.call(&["verify", "latest"]).expect(1);
    for part in [
        "look: cannot be compared: it was blocked",
        "nothing to compare",
    ] {
        assert!(call.out.contains(part), "{part}\n{}", call.out);
    }
}

#[test]
fn all_of_an_experiment_is_shown_and_compared() {
    let slots = "[slots]\njobs = 2\n[hooks]\nfinish = \"echo hello\"\n[table.t]\nrows = \"run\"\n";
    let folder = with_files(&[
        ("a.toml", NOTHING),
        ("b.toml", &format!("{NOTHING}{slots}")),
    ]);
    let says = |arguments: &[&str], parts: &[&str]| {
        let call = folder.call(arguments).expect(0);
        for part in parts {
            assert!(
                call.out.contains(part),
                "{arguments:?}: {part}\n{}",
                call.out
            );
        }
    };
    says(
        &["config", "b.toml", "--section", "slots", "--origins"],
        &["jobs = 2", "b.toml:"],
    );
    says(
        &["config", "b.toml", "--section", "stage.b"],
        &["[stage.b]", "inputs"],
    );
    says(
        &["config", "b.toml", "--section", "table.t"],
        &["[table.t]"],
    );
    says(
        &["config", "b.toml", "--section", "slots", "--json"],
        &["\"slots.jobs\": 2"],
    );
    says(
        &["config", "a.toml", "--diff=b.toml"],
        &["slots.jobs", "hooks.finish", "table.t"],
    );
    says(&["config", "b.toml", "--diff"], &["[slots]", "[table.t]"]);
    let call = folder
        .call(&["config", "a.toml", "--diff=b.toml", "--json"])
        .expect(0);
    assert!(!call.out.contains("echo hello"), "{}", call.out);
    let call = folder
        .call(&["config", "b.toml", "--section", "slotz"])
        .expect(2);
    assert!(call.err.contains("did you mean `slots`?"), "{}", call.err);
    let seeds = [
        "config",
        "a.toml",
        "experiment.seeds=[1, 2]",
        "--stage",
        "c@2",
        "--section",
        "run",
    ];
    says(&seeds, &["seed = 2"]);
}

#[test]
fn what_is_wrong_leaves_no_run_behind() {
    let folder = with_files(&[("mine.toml", NOTHING)]);
    for pause in ["nan", "1e300", "-5"] {
        let call = folder
            .call(&["run", "mine.toml", "--retry-pause", pause])
            .expect(2);
        assert!(call.err.contains("--retry-pause"), "{}", call.err);
    }
    assert!(runs(&folder).is_empty());
    folder
        .call(&["run", "mine.toml", "--jobs", "999999999999"])
        .expect(0);
    let call = folder.call(&["plan", "none.toml", "--json"]).expect(2);
    assert_eq!(json(&call)["exit_code"], 2);
}

#[test]
fn a_pipe_is_not_read() {
    let stage = "[stage.demo]\nkind = \"infer\"\ncheckpoint.load = \"embedded\"\n\
                 infer.images = [\"pipe.png\"]\ninfer.image_dir = \".\"\n";
    let folder = with_files(&[("mine.toml", stage)]);
    let pipe = folder.path("pipe.png");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    let call = folder.call(&["plan", "mine.toml"]);
    let said = format!("{}{}", call.out, call.err);
    assert!(said.contains("pipe.png is no plain file"), "{said}");
}

#[test]
fn checkpoints_are_mended_by_an_action_too() {
    let folder = Folder::new();
    let run = folder.path("outputs/ovod_20240101_000000");
    fs::create_dir_all(&run).unwrap();
    fs::write(
        run.join("ovod_chunk0001_20240101_000000.train"),
        "no checkpoint",
    )
    .unwrap();
    let call = folder
        .call(&["action", "fix_checkpoints", "--json"])
        .expect(3);
    let step = json(&call)["summary"]["steps"][0].clone();
    assert_eq!(step["outcome"], "done", "{step:#}");
    let report = folder
        .output_of("fix_checkpoints")
        .join("fix_checkpoints.json");
    let report: Value = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    assert_eq!(report[0]["outcome"], "skipped");
    folder.call(&["action", "fix_checkpoints"]).expect(0);
}
