//! People's annotations by HTTP: what is answered is on the disk, whatever is
//! killed.

use std::fs;

use serde_json::{Value, json};

use crate::annotator::{Annotator, file, labels, set};

const FREE: [&str; 2] = ["--token", "none"];

fn triple(image: &str, noun: &str, category: &str) -> (String, String, String) {
    (image.to_owned(), noun.to_owned(), category.to_owned())
}

#[test]
fn a_whole_session_by_http() {
    let folder = set();
    let annotator = Annotator::start(&folder, &FREE);
    let session = annotator.get("/api/session").json();
    assert_eq!(session["version"], 1);
    assert_eq!(
        (&session["done"], &session["total"]),
        (&json!(0), &json!(8))
    );
    assert_eq!(session["categories"].as_array().unwrap().len(), 5);
    assert_eq!(session["categories"][0]["key"], "q");
    let items = annotator.get("/api/items?status=open&limit=2").json();
    assert_eq!(
        (&items["total"], items["items"].as_array().unwrap().len()),
        (&json!(3), 2)
    );
    let first = &items["items"][0]["nouns"];
    let nouns: Vec<&str> = first
        .as_array()
        .unwrap()
        .iter()
        .map(|noun| noun["noun"].as_str().unwrap())
        .collect();
    // Best rank first, then by name.
    assert_eq!(nouns, ["fox", "red fox", "wolf"]);
    assert_eq!(first[0]["models"], json!(["one · beam"]));

    let answer = annotator.label("fox.png", "fox", "correct_primary");
    assert_eq!(
        (&answer["done"], &answer["previous"]),
        (&json!(1), &Value::Null)
    );
    let answer = annotator.label("fox.png", "fox", "close_primary");
    assert_eq!(answer["previous"], "correct_primary");
    annotator.label("key.png", "lock", "incorrect");
    let undone = annotator.post("/api/undo", &json!({})).json();
    assert_eq!(
        (&undone["noun"], &undone["category"]),
        (&json!("lock"), &Value::Null)
    );
    let redone = annotator.post("/api/redo", &json!({})).json();
    assert_eq!(
        (&redone["noun"], &redone["category"]),
        (&json!("lock"), &json!("incorrect"))
    );
    assert_eq!(annotator.post("/api/redo", &json!({})).status, 409);

    let label = |changes: Value| {
        let mut body =
            json!({"set": "set", "image": "fox.png", "noun": "wolf", "category": "incorrect"});
        for (name, value) in changes.as_object().unwrap() {
            body[name] = value.clone();
        }
        annotator.post("/api/label", &body)
    };
    for (changes, status) in [
        (json!({"set": "other"}), 404),
        (json!({"set": 7}), 404),
        (json!({"image": "owl.png"}), 404),
        (json!({"image": "../predictions.json"}), 404),
        (json!({"noun": "dog"}), 404),
        (json!({"category": "right"}), 400),
        (json!({"surprise": 1}), 400),
        (json!({"noun": 3}), 400),
        (json!({"noun": "x".repeat(70_000)}), 413),
        (json!({"noun": "dog", "extra": true}), 200),
        (json!({"category": null}), 200),
    ] {
        let answer = label(changes.clone());
        assert_eq!(answer.status, status, "{changes}");
        if status == 404 || status == 400 {
            let error = &answer.json()["error"];
            assert!(error["message"].as_str().unwrap().len() > 5 && error["code"].is_string());
        }
    }
    for (path, status) in [
        ("/api/image/set/fox.png", 200),
        ("/api/image/0/fox.png?max=50", 200),
        ("/api/image/set/owl.png", 404),
        ("/api/image/set/..%2Fpredictions.json", 404),
        ("/api/image/set/../predictions.json", 404),
        ("/api/image/set/_class_annotations.json", 404),
        ("/api/items?status=odd", 400),
        ("/api/nothing", 404),
    ] {
        assert_eq!(annotator.get(path).status, status, "{path}");
    }
    let small = annotator.get("/api/image/0/fox.png?max=50");
    assert!(small.head.contains("content-type: image/jpeg"));
    let image = image::load_from_memory(&small.body).unwrap();
    assert_eq!(image.width().max(image.height()), 50);

    let saved = annotator.post("/api/save", &json!({})).json();
    assert!(saved["files"].is_array());
    let (code, report) = annotator.interrupt();
    assert_eq!(code, Some(0));
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(report["sets"][0]["open_pairs"], 6);
    let text = fs::read_to_string(file(&folder)).unwrap();
    let expected = "{\n  \"fox.png\": {\n    \"close_primary\": [\"fox\"],\n    \"close_secondary\": [],\n    \
                    \"correct_primary\": [],\n    \"correct_secondary\": [],\n    \"incorrect\": [\"dog\"]\n  },\n  \
                    \"key.png\": {\n    \"close_primary\": [],\n    \"close_secondary\": [],\n    \
                    \"correct_primary\": [],\n    \"correct_secondary\": [],\n    \"incorrect\": [\"lock\"]\n  }\n}";
    // An image that has come and gone leaves no trace; the order is that of work.
    assert_eq!(text, expected);
}

#[test]
fn a_killed_program_loses_nothing() {
    let folder = set();
    let given =
        "{\n  \"snail.png\": {\n    \"incorrect\": [\"slug\"],\n    \"odd\": [\"thing\"]\n  }\n}";
    fs::write(file(&folder), given).unwrap();
    let annotator = Annotator::start(&folder, &FREE);
    annotator.label("fox.png", "fox", "correct_primary");
    annotator.label("fox.png", "wolf", "close_primary");
    annotator.label("snail.png", "slug", "close_primary");
    annotator.post("/api/undo", &json!({}));
    annotator.label("key.png", "key", "correct_primary");
    // Right after the answer.
    annotator.kill();

    let second = Annotator::start(&folder, &FREE);
    assert_eq!(second.get("/api/session").json()["done"], 4);
    // Nobody else may write meanwhile.
    let mut other = folder.command(&[
        "annotate",
        "human",
        "--no-open",
        "--images",
        "set",
        "--predictions",
        "predictions.json",
    ]);
    let other = other.output().unwrap();
    assert_eq!(other.status.code(), Some(1));
    let message = String::from_utf8_lossy(&other.stderr).into_owned();
    assert!(
        message.contains("another process") && message.contains("--read-only"),
        "{message}"
    );
    // But look.
    let reader = Annotator::start(&folder, &["--token", "none", "--read-only"]);
    assert_eq!(reader.get("/api/session").json()["done"], 4);
    let body = json!({"set": "set", "image": "fox.png", "noun": "fox", "category": null});
    assert_eq!(reader.post("/api/label", &body).status, 403);
    drop(reader);
    // What was done before the kill can be undone.
    let undone = second.post("/api/undo", &json!({})).json();
    assert_eq!(undone["noun"], "key");
    let undone = second.post("/api/undo", &json!({})).json();
    assert_eq!(undone["noun"], "wolf");
    second.post("/api/redo", &json!({}));
    assert_eq!(second.interrupt().0, Some(0));
    let expected = [
        triple("fox.png", "fox", "correct_primary"),
        triple("fox.png", "wolf", "close_primary"),
        triple("snail.png", "slug", "incorrect"),
        triple("snail.png", "thing", "odd"),
    ];
    assert_eq!(labels(&folder), expected);
    let backup = folder.path("set").join("_class_annotations.json.bak");
    assert!(backup.is_file());

    // Kills at any moment: what was answered is there.
    for round in 0..5 {
        let annotator = Annotator::start(&folder, &FREE);
        let category = ["incorrect", "close_primary"][round % 2];
        annotator.label("key.png", "lock", category);
        annotator.kill();
        let look = Annotator::start(&folder, &["--token", "none", "--read-only"]);
        let items = look.get("/api/items?set=set").json();
        let lock = &items["items"][1]["nouns"][1];
        assert_eq!(
            (&lock["noun"], &lock["category"]),
            (&json!("lock"), &json!(category))
        );
    }
}

#[test]
fn damaged_and_foreign_files_are_left_alone() {
    let folder = set();
    for text in ["{\"a\": ", "[1, 2]", "{\"a\": {\"incorrect\": 3}}"] {
        fs::write(file(&folder), text).unwrap();
        let call = folder.call(&[
            "annotate",
            "human",
            "--no-open",
            "--images",
            "set",
            "--predictions",
            "predictions.json",
        ]);
        let call = call.expect(1);
        assert!(call.err.contains("_class_annotations.json"), "{}", call.err);
        assert_eq!(fs::read_to_string(file(&folder)).unwrap(), text);
    }
    fs::remove_file(file(&folder)).unwrap();
    let journal = folder.path("set").join("_class_annotations.json.journal");
    fs::write(&journal, "my diary\n").unwrap();
    let call = folder.call(&[
        "annotate",
        "human",
        "--no-open",
        "--images",
        "set",
        "--predictions",
        "predictions.json",
    ]);
    let call = call.expect(1);
    assert!(
        call.err.contains("no journal of annotations"),
        "{}",
        call.err
    );
    assert_eq!(fs::read_to_string(&journal).unwrap(), "my diary\n");
}

#[test]
fn changes_from_outside_are_merged_or_shown() {
    let folder = set();
    let annotator = Annotator::start(&folder, &FREE);
    annotator.label("fox.png", "fox", "correct_primary");
    annotator.post("/api/save", &json!({}));
    // Somebody else edits the file while labels are in the journal only: one
    // new pair, and another category for one of ours.
    let theirs = json!({
        "fox.png": {"correct_primary": ["fox"], "incorrect": ["wolf"]},
        "snail.png": {"close_primary": ["slug"]},
    });
    fs::write(file(&folder), theirs.to_string()).unwrap();
    annotator.label("fox.png", "wolf", "close_secondary");
    annotator.label("key.png", "key", "correct_primary");
    annotator.post("/api/save", &json!({}));
    let step = json!({"first": true, "filter": {"status": "conflict"}});
    let view = annotator.post("/api/step", &step).json();
    assert_eq!(view["at"]["noun"], "wolf", "{view}");
    let wolf = view["nouns"]
        .as_array()
        .unwrap()
        .iter()
        .find(|n| n["noun"] == "wolf")
        .unwrap();
    assert_eq!(
        wolf["conflict"],
        json!({"ours": "close_secondary", "theirs": "incorrect"})
    );
    let expected = [
        triple("fox.png", "fox", "correct_primary"),
        triple("fox.png", "wolf", "incorrect"),
        triple("key.png", "key", "correct_primary"),
        triple("snail.png", "slug", "close_primary"),
    ];
    assert_eq!(labels(&folder), expected);
    // The conflict outlives the program, and is settled by a label.
    annotator.kill();
    let annotator = Annotator::start(&folder, &FREE);
    let view = annotator.post("/api/step", &step).json();
    assert_eq!(view["at"]["noun"], "wolf", "{view}");
    annotator.label("fox.png", "wolf", "incorrect");
    let view = annotator.post("/api/step", &step).json();
    assert_eq!(view["at"], Value::Null);
    // A file that is damaged meanwhile is not overwritten.
    fs::write(file(&folder), "{").unwrap();
    annotator.label("key.png", "lock", "incorrect");
    let refused = annotator.post("/api/save", &json!({}));
    assert_eq!(refused.status, 500);
    assert!(
        refused.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("nothing is changed")
    );
    assert_eq!(fs::read_to_string(file(&folder)).unwrap(), "{");
    fs::write(file(&folder), theirs.to_string()).unwrap();
    assert_eq!(annotator.post("/api/save", &json!({})).status, 200);
    assert!(labels(&folder).contains(&triple("key.png", "lock", "incorrect")));
}

#[test]
fn strangers_are_kept_out() {
    let folder = set();
    let annotator = Annotator::start(&folder, &[]);
    let token = annotator.url.split("token=").nth(1).unwrap().to_owned();
    assert!(token.len() >= 32);
    assert_eq!(annotator.get("/api/session").status, 401);
    let arrival = annotator.get(&format!("/?token={token}"));
    let cookie = arrival
        .head
        .lines()
        .find_map(|line| line.strip_prefix("set-cookie: "))
        .unwrap();
    assert!(
        cookie.contains("samesite=strict") && cookie.contains("httponly"),
        "{cookie}"
    );
    assert!(arrival.head.contains("default-src 'none'") && arrival.head.contains("sha256-"));
    assert!(!annotator.get("/?token=wrong").head.contains("set-cookie"));
    let pair = cookie.split(';').next().unwrap();
    assert_eq!(
        annotator
            .ask("GET", "/api/session", &[("Cookie", pair)], "")
            .status,
        200
    );
    let own = format!("http://{}", annotator.host);
    for (headers, status) in [
        (vec![("Cookie", pair)], 409),
        (vec![("Cookie", pair), ("Origin", own.as_str())], 409),
        (
            vec![("Cookie", pair), ("Origin", "http://evil.example")],
            403,
        ),
        (vec![("Cookie", pair), ("Host", "evil.example")], 403),
        (vec![("Cookie", "novic=x")], 401),
    ] {
        let answer = annotator.ask("POST", "/api/undo", &headers, "{}");
        assert_eq!(answer.status, status, "{headers:?}");
    }
}

#[test]
fn links_out_of_the_folder_are_no_pictures() {
    let folder = set();
    fs::remove_file(folder.path("set/key.png")).unwrap();
    std::os::unix::fs::symlink(folder.path("demo/key.png"), folder.path("set/key.png")).unwrap();
    fs::write(folder.path("set/snail.png"), "no picture").unwrap();
    let annotator = Annotator::start(&folder, &FREE);
    assert_eq!(annotator.get("/api/image/set/key.png").status, 404);
    // Both are passed over, and told of.
    annotator.label("fox.png", "fox", "correct_primary");
    annotator.label("fox.png", "red fox", "correct_primary");
    annotator.label("fox.png", "wolf", "incorrect");
    let view = annotator.post("/api/step", &json!({"first": true})).json();
    assert_eq!(view["at"], Value::Null, "{view}");
    let problems = &annotator.get("/api/session").json()["sets"][0]["problems"];
    let named: Vec<&str> = problems
        .as_array()
        .unwrap()
        .iter()
        .map(|problem| problem["image"].as_str().unwrap())
        .collect();
    assert_eq!(named.len(), 2, "{problems}");
    // They can be labelled all the same.
    annotator.label("key.png", "key", "correct_primary");
    drop(annotator);
    // Somebody may want the links.
    let annotator = Annotator::start(&folder, &["--token", "none", "--allow-links"]);
    assert_eq!(annotator.get("/api/image/set/key.png").status, 200);
    assert_eq!(annotator.get("/api/image/set/snail.png").status, 422);
}

#[test]
fn status_tells_who_has_done_how_much() {
    let folder = set();
    let anna = Annotator::start(&folder, &["--token", "none", "--annotator", "anna"]);
    anna.label("fox.png", "fox", "correct_primary");
    anna.label("fox.png", "wolf", "incorrect");
    anna.interrupt();
    let ben = Annotator::start(&folder, &["--token", "none", "--annotator", "ben"]);
    ben.label("key.png", "key", "correct_primary");
    ben.interrupt();
    let path = file(&folder);
    let path = path.to_str().unwrap();
    let arguments = [
        "annotate",
        "status",
        path,
        "--predictions",
        "predictions.json",
        "-k",
        "2",
    ];
    let status = folder.call(&arguments).expect(0);
    assert!(
        status.out.contains("\"anna\" gave 2 labels"),
        "{}",
        status.out
    );
    assert!(
        status.out.contains("\"ben\" gave 1 labels"),
        "{}",
        status.out
    );
    assert!(
        status.out.contains("5 of 8 predicted pairs are open"),
        "{}",
        status.out
    );
    let json = folder
        .call(&[&arguments[..], &["--json"]].concat())
        .expect(0);
    let json: Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(json[0]["people"][0]["annotator"], "anna");
    assert_eq!(json[0]["people"][0]["labels"], 2);
    assert!(json[0]["people"][0]["seconds"].as_u64().unwrap() < 60);
}

#[test]
fn several_sets_in_one_session() {
    let folder = set();
    fs::create_dir(folder.path("more")).unwrap();
    fs::copy(folder.path("demo/fox.png"), folder.path("more/owl.png")).unwrap();
    let predictions =
        json!({"samples": ["owl.png"], "predictions": {"g": {"pred": [["owl", "bird"]]}}});
    fs::write(folder.path("owl.json"), predictions.to_string()).unwrap();
    let toml = "[[set]]\nname = \"first\"\nimages = \"set\"\npredictions = [\"predictions.json\"]\nk = 1\n\n\
                [[set]]\nimages = \"more\"\npredictions = [\"owl.json\"]\nannotations = \"owl_labels.json\"\n";
    fs::write(folder.path("sets.toml"), toml).unwrap();
    let annotator = Annotator::start(&folder, &["sets.toml", "--token", "none"]);
    let session = annotator.get("/api/session").json();
    assert_eq!(session["sets"][0]["name"], "first");
    assert_eq!(session["sets"][0]["pairs"], 5);
    assert_eq!(session["sets"][1]["name"], "more");
    assert_eq!(session["sets"][1]["pairs"], 2);
    let body = json!({"set": "more", "image": "owl.png", "noun": "owl", "category": "incorrect"});
    assert_eq!(annotator.post("/api/label", &body).status, 200);
    let body = json!({"set": "first", "image": "fox.png", "noun": "fox", "category": "incorrect"});
    assert_eq!(annotator.post("/api/label", &body).status, 200);
    // Undo goes through the sets in the order of time.
    assert_eq!(
        annotator.post("/api/undo", &json!({})).json()["set"],
        "first"
    );
    assert_eq!(
        annotator.post("/api/undo", &json!({})).json()["set"],
        "more"
    );
    annotator.post("/api/redo", &json!({}));
    assert_eq!(annotator.interrupt().0, Some(0));
    assert!(folder.path("owl_labels.json").is_file());
    assert!(!file(&folder).exists());

    let wrong = toml.replace("predictions = [\"owl", "predicitons = [\"owl");
    fs::write(folder.path("wrong.toml"), wrong).unwrap();
    let call = folder.call(&["annotate", "human", "wrong.toml"]).expect(2);
    assert!(call.err.contains("predicitons"), "{}", call.err);
    let by_flags = Annotator::start(
        &folder,
        &[
            "--set",
            "a=set",
            "--set",
            "b=more",
            "--predictions",
            "a=predictions.json",
            "b=owl.json",
            "--annotations",
            "b=b.json",
            "--token",
            "none",
            "-k",
            "a=1",
            "--gen-cfg",
            "a=beam",
        ],
    );
    let sets = &by_flags.get("/api/session").json()["sets"];
    assert_eq!(sets[1]["name"], "b");
    // One noun of one configuration here, the usual two there.
    assert_eq!(
        (&sets[0]["pairs"], &sets[1]["pairs"]),
        (&json!(3), &json!(2))
    );
}

/// What the page is told of the current noun.
fn current(view: &Value) -> &Value {
    let nouns = view["nouns"].as_array().unwrap().iter();
    let mut all = nouns.chain(view["others"].as_array().unwrap());
    all.find(|noun| noun["noun"] == view["noun"]).unwrap()
}

#[test]
fn blind_sessions_show_own_labels_only_and_keep_those_of_others() {
    let folder = set();
    let llm = json!({"fox.png": {"correct_primary": ["fox"]}});
    fs::write(folder.path("llm.json"), llm.to_string()).unwrap();
    let anna = Annotator::start(&folder, &["--token", "none", "--annotator", "anna"]);
    anna.label("fox.png", "fox", "incorrect");
    anna.label("fox.png", "wolf", "correct_primary");
    let extra = json!({"set": 0, "image": "fox.png", "noun": "zebra", "category": "incorrect", "extra": true});
    assert_eq!(anna.post("/api/label", &extra).status, 200);
    anna.interrupt();
    let of_anna = [
        triple("fox.png", "fox", "incorrect"),
        triple("fox.png", "wolf", "correct_primary"),
        triple("fox.png", "zebra", "incorrect"),
    ];
    assert_eq!(labels(&folder), of_anna);

    let blind = |name: &[&str]| {
        let options = ["--token", "none", "--blind", "--compare", "llm.json"];
        Annotator::start(&folder, &[&options, name].concat())
    };
    let ben = blind(&["--annotator", "ben"]);
    let session = ben.get("/api/session").json();
    assert_eq!(
        (&session["done"], &session["total"]),
        (&json!(0), &json!(8))
    );
    assert_eq!(
        (&session["can_undo"], &session["can_redo"]),
        (&json!(false), &json!(false))
    );
    assert_eq!(session["sets"][0]["compare"], json!([]));
    // Neither counts nor filters tell of what is hidden.
    let counts = ben.post("/api/filters", &json!({})).json();
    assert_eq!(
        counts["status"],
        json!({"open": 8, "done": 0, "all": 8, "conflict": 0, "disagree": 0})
    );
    let by_category: Vec<&Value> = counts["category"].as_object().unwrap().values().collect();
    assert!(by_category.iter().all(|count| **count == 0), "{counts}");
    assert_eq!(counts["models"], json!([]));
    for filter in [
        json!({"status": "done"}),
        json!({"status": "all", "category": "incorrect"}),
        json!({"status": "open", "model": "one · beam"}),
        json!({"status": "disagree"}),
    ] {
        let view = ben
            .post("/api/step", &json!({"first": true, "filter": filter}))
            .json();
        assert_eq!(view["at"], Value::Null, "{filter}");
    }
    assert_eq!(ben.get("/api/items?status=open").json()["total"], 3);
    // Hidden pairs are offered, and open.
    let first = ben.post("/api/step", &json!({"first": true})).json();
    assert_eq!(
        (&first["noun"], &current(&first)["category"]),
        (&json!("fox"), &Value::Null)
    );
    assert_eq!(first["others"], json!([]));
    // Nothing opens what is open.
    let open = json!({"set": 0, "image": "fox.png", "noun": "fox", "category": null});
    assert_eq!(
        ben.post("/api/label", &open).json()["previous"],
        Value::Null
    );
    let unknown = json!({"set": 0, "image": "fox.png", "noun": "zebra", "category": "incorrect"});
    assert_eq!(ben.post("/api/label", &unknown).status, 404);
    assert_eq!(ben.post("/api/undo", &json!({})).status, 409);
    ben.post("/api/save", &json!({}));
    assert_eq!(labels(&folder), of_anna);
    // Who says the same has said it.
    let agree = json!({"command": "incorrect", "at": first["at"]});
    let agreed = ben.post("/api/step", &agree).json();
    assert_eq!(agreed["did"]["category"], "incorrect");
    assert_eq!(agreed["did"]["previous"], Value::Null);
    assert_eq!(agreed["done"], 1);
    assert_eq!(
        ben.label("fox.png", "wolf", "close_primary")["previous"],
        Value::Null
    );
    let counts = ben.post("/api/filters", &json!({})).json();
    assert_eq!(
        (
            &counts["status"]["done"],
            &counts["category"]["close_primary"]
        ),
        (&json!(2), &json!(1))
    );
    // Undo gives back what was hidden, unseen.
    let undone = ben.post("/api/undo", &json!({})).json();
    assert_eq!(
        (&undone["category"], &undone["previous"]),
        (&Value::Null, &json!("close_primary"))
    );
    assert_eq!(ben.get("/api/session").json()["done"], 1);
    ben.post("/api/save", &json!({}));
    assert_eq!(labels(&folder), of_anna);
    let redone = ben.post("/api/redo", &json!({})).json();
    assert_eq!(
        (&redone["category"], &redone["previous"]),
        (&json!("close_primary"), &Value::Null)
    );
    ben.kill();

    // The next session of the same name goes on, one without a name begins.
    let ben = blind(&["--annotator", "ben"]);
    let view = ben.post("/api/step", &json!({"first": true})).json();
    assert_eq!(
        (&view["done"], &view["noun"], &view["can_undo"]),
        (&json!(2), &json!("red fox"), &json!(true))
    );
    // What somebody else replaces is hidden again, and no conflict is told of.
    let theirs = json!({"fox.png": {"incorrect": ["fox", "zebra"], "correct_secondary": ["wolf"]}});
    ben.post("/api/save", &json!({}));
    fs::write(file(&folder), theirs.to_string()).unwrap();
    ben.post("/api/save", &json!({}));
    assert_eq!(ben.get("/api/session").json()["done"], 1);
    ben.label("fox.png", "wolf", "close_primary");
    assert_eq!(ben.get("/api/session").json()["done"], 2);
    let (_, report) = ben.interrupt();
    let report: Value = serde_json::from_str(&report).unwrap();
    assert_eq!(
        report["sets"][0]["categories"],
        json!({"close_primary": 1, "incorrect": 1})
    );
    let nobody = blind(&[]);
    assert_eq!(nobody.get("/api/session").json()["done"], 0);
    drop(nobody);
    let expected = [
        triple("fox.png", "fox", "incorrect"),
        triple("fox.png", "wolf", "close_primary"),
        triple("fox.png", "zebra", "incorrect"),
    ];
    assert_eq!(labels(&folder), expected);
}

#[test]
fn added_nouns_are_places_too() {
    let folder = set();
    let annotator = Annotator::start(&folder, &FREE);
    annotator.label("fox.png", "fox", "correct_primary");
    let extra = json!({"set": 0, "image": "fox.png", "noun": "zebra", "category": "incorrect", "extra": true});
    annotator.post("/api/label", &extra);
    let at = |noun: &str| json!({"set": 0, "image": "fox.png", "noun": noun});
    let step = |command: &str, at: &Value| {
        annotator
            .post("/api/step", &json!({"command": command, "at": at}))
            .json()
    };
    // Undo and redo lead to the pair, from wherever somebody is.
    let elsewhere = json!({"set": 0, "image": "snail.png", "noun": "slug"});
    for (command, category) in [
        ("undo", Value::Null),
        ("redo", json!("incorrect")),
        ("undo", Value::Null),
    ] {
        let view = step(command, &elsewhere);
        assert_eq!(view["at"], at("zebra"), "{command}");
        assert_eq!(
            (&view["image"]["number"], &view["noun"]),
            (&json!(1), &json!("zebra"))
        );
        assert_eq!(current(&view)["category"], category, "{command}");
    }
    // From there work goes on with what is open at the image.
    let view = step("skip", &at("zebra"));
    assert_eq!(view["at"], at("red fox"));
    assert_eq!(step("next_noun", &at("zebra"))["at"]["image"], "key.png");
    assert_eq!(step("previous_noun", &at("zebra"))["at"], at("wolf"));
    assert_eq!(step("next_image", &at("zebra"))["at"]["image"], "key.png");
    // It is judged like the others.
    let view = step("close_primary", &at("zebra"));
    assert_eq!(view["did"]["category"], "close_primary");
    let view = step("close_primary", &at("zebra"));
    assert_eq!(
        (&view["did"]["category"], &view["did"]["previous"]),
        (&Value::Null, &json!("close_primary"))
    );
    // A noun that nobody has added is no place.
    assert_eq!(step("zoom_in", &at("yak"))["noun"], Value::Null);
    let refused = annotator.post(
        "/api/step",
        &json!({"command": "incorrect", "at": at("yak")}),
    );
    assert_eq!(refused.status, 404);
}

#[test]
fn refusals_have_one_shape() {
    let folder = set();
    let free = Annotator::start(&folder, &FREE);
    let large = format!("{{\"noun\": \"{}\"}}", "x".repeat(70_000));
    let evil = [("Origin", "http://evil.example")];
    for (method, path, headers, body, status, code) in [
        ("POST", "/api/undo", &evil[..], "{}", 403, "forbidden"),
        (
            "GET",
            "/api/session",
            &[("Host", "evil.example")],
            "",
            403,
            "forbidden",
        ),
        ("POST", "/api/label", &[], &large, 413, "too_large"),
        ("POST", "/api/filters", &[], "{", 400, "request"),
        ("GET", "/api/items?limit=many", &[], "", 400, "request"),
        (
            "GET",
            "/api/image/0/fox.png?max=wide",
            &[],
            "",
            400,
            "request",
        ),
        ("GET", "/api/compare?set=0&set=1", &[], "", 400, "request"),
        ("GET", "/api/image/%ff/fox.png", &[], "", 400, "request"),
        ("GET", "/api/nothing", &[], "", 404, "unknown"),
        ("GET", "/api/undo", &[], "", 405, "method"),
        ("POST", "/api/redo", &[], "{}", 409, "nothing"),
    ] {
        let answer = free.ask(method, path, headers, body);
        assert_eq!(answer.status, status, "{path}");
        let error = &answer.json()["error"];
        assert_eq!(error["code"], code, "{path}: {error}");
        assert!(
            error["message"].as_str().unwrap().len() > 5,
            "{path}: {error}"
        );
        assert_eq!(error.as_object().unwrap().len(), 2, "{path}: {error}");
    }
    drop(free);
    let secret = Annotator::start(&folder, &[]);
    let answer = secret.get("/api/session");
    assert_eq!(
        (answer.status, &answer.json()["error"]["code"]),
        (401, &json!("forbidden"))
    );
}

#[test]
fn missing_folders_are_named() {
    let folder = set();
    let annotations = "nowhere/labels.json";
    for (more, named) in [
        (vec!["--images", "nodir"], "nodir"),
        (
            vec!["--images", "set", "--annotations", annotations],
            "nowhere",
        ),
        (vec!["--images", "predictions.json"], "predictions.json"),
    ] {
        let arguments = [
            "annotate",
            "human",
            "--no-open",
            "--predictions",
            "predictions.json",
        ];
        let call = folder.call(&[&arguments[..], &more].concat()).expect(2);
        assert!(
            call.err.contains(&format!("there is no folder {named}")),
            "{}",
            call.err
        );
    }
    assert!(!folder.path("nodir").exists() && !folder.path("nowhere").exists());
}

#[test]
fn backups_of_sessions_are_replaced_and_those_of_people_are_not() {
    let folder = set();
    let backup = folder.path("set").join("_class_annotations.json.bak");
    let given = json!({"key.png": {"incorrect": ["key"]}}).to_string();
    let arguments = [
        "annotate",
        "human",
        "--no-open",
        "--images",
        "set",
        "--predictions",
        "predictions.json",
    ];
    fs::write(file(&folder), &given).unwrap();
    // A text, and a file of annotations that a person has kept.
    for text in ["my notes", r#"{"fox.png": {"incorrect": ["fox"]}}"#] {
        fs::write(&backup, text).unwrap();
        let call = folder.call(&arguments).expect(1);
        let named = call.err.contains("_class_annotations.json.bak");
        assert!(named && call.err.contains("move it away"), "{}", call.err);
        assert_eq!(fs::read_to_string(&backup).unwrap(), text);
        // Whoever only looks needs no backup.
        drop(Annotator::start(
            &folder,
            &["--token", "none", "--read-only"],
        ));
    }
    fs::remove_file(&backup).unwrap();
    let mut before = given;
    for category in ["close_primary", "correct_primary"] {
        let annotator = Annotator::start(&folder, &FREE);
        annotator.label("fox.png", "fox", category);
        annotator.post("/api/save", &json!({}));
        annotator.label("key.png", "lock", category);
        annotator.interrupt();
        assert_eq!(fs::read_to_string(&backup).unwrap(), before);
        before = fs::read_to_string(file(&folder)).unwrap();
    }
    // One that comes under way stays; the labels wait in the journal.
    let annotator = Annotator::start(&folder, &FREE);
    fs::write(&backup, "my notes").unwrap();
    annotator.label("fox.png", "wolf", "incorrect");
    let refused = annotator.post("/api/save", &json!({}));
    assert_eq!(refused.status, 500);
    assert_eq!(fs::read_to_string(&backup).unwrap(), "my notes");
    fs::remove_file(&backup).unwrap();
    assert_eq!(annotator.post("/api/save", &json!({})).status, 200);
    assert!(labels(&folder).contains(&triple("fox.png", "wolf", "incorrect")));
}
