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
    says(&["action", "fix_checkpoints"], 2, "novic checkpoint fix");
    says(
        &["config", "mine.toml", "--section", "traim"],
        2,
        "did you mean `train`?",
    );
    says(&["ls", "stat = failed"], 0, "did you mean `state`?");
    says(&["ls", "state = faild"], 0, "did you mean `failed`?");
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
