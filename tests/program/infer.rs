//! `novic infer`: everything that can be classified, in every form, and what
//! happens to what cannot be read.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::folder::{Call, Folder, repository};

fn fed(mut command: Command, input: &[u8]) -> Call {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(input).unwrap();
    child.wait_with_output().unwrap().into()
}

fn records(call: &Call) -> Vec<Value> {
    let line = |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
    call.out.lines().map(line).collect()
}

fn inputs(records: &[Value]) -> Vec<String> {
    let name = |record: &Value| record["input"].as_str().unwrap().to_owned();
    records.iter().map(name).collect()
}

/// The same nouns, with scores that differ by rounding at most: batches of
/// another size add up in another order.
#[track_caller]
fn expect_alike(a: &Value, b: &Value) {
    let list = |record: &Value| record["predictions"].as_array().unwrap().clone();
    let (a, b) = (list(a), list(b));
    assert_eq!(a.len(), b.len());
    for (a, b) in a.iter().zip(&b) {
        assert_eq!((&a["noun"], &a["type"]), (&b["noun"], &b["type"]));
        let score = |label: &Value| label["score"].as_f64().unwrap();
        assert!((score(a) - score(b)).abs() < 1e-4, "{a} {b}");
    }
}

fn best(record: &Value) -> &str {
    record["predictions"][0]["noun"].as_str().unwrap()
}

#[test]
fn files_folders_patterns_and_lists_keep_their_order() {
    let folder = Folder::new();
    fs::create_dir_all(folder.path("demo/deep/er")).unwrap();
    fs::create_dir(folder.path("demo/no.png")).unwrap();
    for (from, to) in [
        ("demo/fox.png", "demo/.hidden.png"),
        ("demo/key.png", "demo/deep/KEY.PNG"),
        ("demo/fox.png", "demo/deep/er/fox.png"),
        ("demo/fox.png", "a*b.png"),
    ] {
        fs::copy(folder.path(from), folder.path(to)).unwrap();
    }
    fs::write(folder.path("demo/notes.txt"), "no picture").unwrap();
    let jsonl = |more: &[&str]| {
        let words = [&["infer", "--jsonl"], more].concat();
        records(&folder.call(&words).expect(0))
    };
    // A folder: its pictures by name, without what is hidden, below or none.
    let of_folder = jsonl(&["demo"]);
    assert_eq!(
        inputs(&of_folder),
        ["demo/fox.png", "demo/key.png", "demo/snail.png"]
    );
    // Duplicates stay, hidden files count if they are named, `*` in a name of
    // a file that is there is no pattern.
    let named = jsonl(&[
        "demo/key.png",
        "demo/.hidden.png",
        "demo/key.png",
        "a*b.png",
    ]);
    assert_eq!(
        inputs(&named),
        [
            "demo/key.png",
            "demo/.hidden.png",
            "demo/key.png",
            "a*b.png"
        ]
    );
    expect_alike(&named[0], &named[2]);
    expect_alike(&named[1], &named[3]);
    let indices: Vec<&Value> = named.iter().map(|record| &record["index"]).collect();
    assert_eq!(indices, [0, 1, 2, 3]);
    assert_eq!(
        inputs(&jsonl(&["demo/**/*.png", "demo/deep/*.PNG"])),
        [
            "demo/deep/er/fox.png",
            "demo/fox.png",
            "demo/key.png",
            "demo/snail.png",
            "demo/deep/KEY.PNG"
        ]
    );
    let all = inputs(&jsonl(&["--recursive", "demo"]));
    let all: BTreeSet<String> = all.into_iter().collect();
    assert_eq!(all.len(), 5, "{all:?}");
    assert_eq!(
        inputs(&jsonl(&[
            "--image-dir",
            "demo",
            "key.png",
            "--texts",
            "a fox"
        ])),
        ["key.png", "\"a fox\""]
    );
    // Lists of names, one per line or separated by NUL, and one picture.
    let list = |words: &[&str], text: &[u8]| {
        let words = [&["infer", "--jsonl"], words].concat();
        records(&fed(folder.command(&words), text).expect(0))
    };
    for text in [
        &b"demo/key.png\n\ndemo/fox.png\r\n"[..],
        b"demo/key.png\0demo/fox.png",
    ] {
        assert_eq!(
            inputs(&list(&["--paths-from", "-"], text)),
            ["demo/key.png", "demo/fox.png"]
        );
    }
    let fox = fs::read(folder.path("demo/fox.png")).unwrap();
    let piped = list(&["-"], &fox);
    expect_alike(&piped[0], &of_folder[0]);
    // Nothing that could be meant.
    let empty = folder.call(&["infer", "demo/*.gif"]).expect(2);
    assert!(empty.err.contains("demo/*.gif"), "{}", empty.err);
    folder
        .call(&["infer", "demo/*.gif", "--allow-empty", "--json"])
        .expect(0);
    for words in [
        &["infer"][..],
        &["infer", "-", "--stdin-jsonl"],
        &["infer", "demo", "--gencfg", "beam_k0"],
        &["infer", "demo", "--gencfg", "beam"],
        &["infer", "demo", "--gencfg", "beam_k1000000_gn"],
        &["infer", "demo", "--top-k", "0"],
        &["infer", "demo", "--min-prob", "2"],
        &["infer", "demo", "--guide", "nowhere"],
        &["infer", "demo", "--batch-size", "-1"],
    ] {
        let call = folder.call(words).expect(2);
        assert_eq!(call.out, "", "{words:?}");
        assert!(!call.err.is_empty());
    }
}

#[test]
fn what_cannot_be_read_is_told_of_in_its_place() {
    let folder = Folder::new();
    let fox = fs::read(folder.path("demo/fox.png")).unwrap();
    fs::write(folder.path("demo/half.png"), &fox[..fox.len() / 2]).unwrap();
    fs::write(folder.path("demo/none.jpg"), "no picture").unwrap();
    let call = folder
        .call(&["infer", "--format", "jsonl", "demo", "missing.png"])
        .expect(3);
    let found = records(&call);
    let kinds: Vec<&Value> = found
        .iter()
        .map(|record| &record["error"]["kind"])
        .collect();
    assert_eq!(
        kinds,
        [
            &Value::Null,
            &json!("image_decode"),
            &Value::Null,
            &json!("image_decode"),
            &Value::Null,
            &json!("image_read")
        ]
    );
    assert!(call.err.contains("demo/half.png") && call.err.contains("3 could not be read"));
    // The others are what they are alone.
    let alone = records(&folder.call(&["infer", "--jsonl", "demo/key.png"]).expect(0));
    expect_alike(&found[2], &alone[0]);
    let text = folder.call(&["infer", "demo"]).expect(3);
    assert_eq!(text.out.lines().count(), 3, "{}", text.out);
    assert!(!text.out.contains('\u{1b}'));
    let csv = folder
        .call(&["infer", "demo", "--format", "csv", "--top-k", "2"])
        .expect(3);
    assert_eq!(csv.out.lines().count(), 1 + 2 * 3 + 2, "{}", csv.out);
    // Pictures whose labels are all too unlikely have a line without one.
    let unlikely = [
        "infer",
        "demo/fox.png",
        "demo/key.png",
        "--min-prob",
        "1",
        "--format",
        "csv",
    ];
    let csv = folder.call(&unlikely).expect(0);
    let lines: Vec<&str> = csv.out.lines().skip(1).collect();
    assert_eq!(
        lines,
        [
            "0,demo/fox.png,,,,,,,embedded,beam_k10_vnone_gp_t1_a0",
            "1,demo/key.png,,,,,,,embedded,beam_k10_vnone_gp_t1_a0"
        ]
    );
    let predictions = folder
        .call(&["infer", "demo", "--format", "predictions"])
        .expect(3);
    let file: Value = serde_json::from_str(&predictions.out).unwrap();
    // The flat configuration of such a stage, as a whole.
    let infer_cfg = file["infer_cfg"].as_object().unwrap();
    assert_eq!(
        infer_cfg.keys().collect::<Vec<_>>(),
        file["model_cfg"]
            .as_object()
            .unwrap()
            .keys()
            .collect::<Vec<_>>()
    );
    for (name, value) in [
        ("action", json!("infer")),
        ("embedder_spec", json!("openclip:novic/drawings")),
        ("load_model", json!("embedded")),
        ("gencfg", json!("beam_k10_vnone_gp_t1_a0")),
        ("infer_all_images_dir", json!("demo")),
        ("infer_images", json!([])),
        ("infer_pred_json", json!(true)),
    ] {
        assert_eq!(infer_cfg[name], value, "{name}");
    }
    assert_eq!(
        file["samples"],
        json!(["demo/fox.png", "demo/key.png", "demo/snail.png"])
    );
    let stopped = folder
        .call(&["infer", "--jsonl", "demo", "--on-error", "stop"])
        .expect(1);
    assert_eq!(records(&stopped).len(), 2);
    folder.call(&["infer", "missing.png"]).expect(2);
}

#[test]
fn many_pictures_with_a_bad_one_have_all_other_results() {
    let folder = Folder::new();
    fs::write(folder.path("bad.png"), "bad").unwrap();
    let names: String = (0..1000)
        .map(|n| {
            if n == 500 {
                "bad.png\n"
            } else {
                "demo/fox.png\n"
            }
        })
        .collect();
    let words = [
        "infer",
        "--jsonl",
        "--paths-from",
        "-",
        "--gencfg",
        "greedy_k1_gn",
        "--batch-size",
        "64",
    ];
    let call = fed(folder.command(&words), names.as_bytes()).expect(3);
    let found = records(&call);
    assert_eq!(found.len(), 1000);
    let bad = found.iter().filter(|record| record["error"].is_object());
    assert_eq!(bad.count(), 1);
    assert!(found[500]["error"].is_object());
    let nouns: BTreeSet<&str> = (found.iter())
        .filter(|record| record["error"].is_null())
        .map(best)
        .collect();
    assert_eq!(nouns.len(), 1, "{nouns:?}");
}

/// A program that answers line by line.
struct Talk {
    child: Child,
    out: BufReader<std::process::ChildStdout>,
}

impl Talk {
    fn start(folder: &Folder, words: &[&str]) -> Self {
        let mut child = folder
            .command(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let out = BufReader::new(child.stdout.take().unwrap());
        Self { child, out }
    }

    fn say(&mut self, line: &str) {
        let input = self.child.stdin.as_mut().unwrap();
        writeln!(input, "{line}").unwrap();
        input.flush().unwrap();
    }

    fn hear(&mut self) -> Value {
        let mut line = String::new();
        self.out.read_line(&mut line).unwrap();
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line:?}"))
    }
}

#[test]
fn a_line_is_answered_before_the_next_one_comes() {
    let folder = Folder::new();
    let mut talk = Talk::start(&folder, &["infer", "--stdin-jsonl"]);
    talk.say(r#"{"path": "demo/fox.png", "id": 7}"#);
    let first = talk.hear();
    assert_eq!(first["id"], 7);
    let fox = fs::read(folder.path("demo/fox.png")).unwrap();
    let data = base64::engine::general_purpose::STANDARD.encode(fox);
    talk.say(&json!({ "image": data, "id": { "mine": [1] } }).to_string());
    let second = talk.hear();
    assert_eq!(second["id"], json!({ "mine": [1] }));
    expect_alike(&second, &first);
    for (line, id) in [
        (r#"{"path": "nowhere.png", "id": "a"}"#, json!("a")),
        (r#"{"image": "%%%", "id": 3}"#, json!(3)),
        (r#"{"embedding": [1, 2], "id": 4}"#, json!(4)),
        (r#"{"path": "demo/fox.png", "size": 3, "id": 5}"#, json!(5)),
        ("{", Value::Null),
        ("\u{0}\u{7f}", Value::Null),
    ] {
        talk.say(line);
        let answer = talk.hear();
        assert!(answer["error"]["message"].is_string(), "{line}: {answer}");
        assert_eq!(answer["id"], id, "{line}");
    }
    talk.say(r#"{"text": "a picture of a fox"}"#);
    assert!(!best(&talk.hear()).is_empty());
    drop(talk.child.stdin.take());
    assert_eq!(talk.child.wait().unwrap().code(), Some(3));
}

#[test]
fn an_interrupt_is_heard_while_nothing_comes() {
    let folder = Folder::new();
    let mut talk = Talk::start(&folder, &["infer", "--stdin-jsonl"]);
    talk.say(r#"{"path": "demo/fox.png"}"#);
    talk.hear();
    let id = rustix::process::Pid::from_child(&talk.child);
    rustix::process::kill_process(id, rustix::process::Signal::INT).unwrap();
    let until = Instant::now() + Duration::from_secs(20);
    let status = loop {
        if let Some(status) = talk.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < until, "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert_eq!(status.code(), Some(130));
    let mut rest = String::new();
    assert_eq!(talk.out.read_line(&mut rest).unwrap(), 0, "{rest}");
}

#[test]
fn several_configurations_and_models_give_a_record_each() {
    let folder = Folder::new();
    let names = ["greedy_k1_vnone_gp_t1_a0", "beam_k3_vnone_gp_t1_a0"];
    let each = ["--gencfg", "greedy_k1_gp", "--gencfg", names[1]];
    let words = [
        &[
            "infer",
            "--jsonl",
            "demo/fox.png",
            "none.png",
            "demo/key.png",
        ],
        &each[..],
    ];
    let call = folder.call(&words.concat()).expect(3);
    let found = records(&call);
    let of = |record: &Value| (record["index"].clone(), record["gencfg"].clone());
    let found_of: Vec<(Value, Value)> = found.iter().map(of).collect();
    assert_eq!(
        found_of,
        [
            (json!(0), json!(names[0])),
            (json!(0), json!(names[1])),
            (json!(1), Value::Null),
            (json!(2), json!(names[0])),
            (json!(2), json!(names[1])),
        ]
    );
    // Each is what the configuration gives alone.
    for (record, name) in [(&found[3], names[0]), (&found[4], names[1])] {
        let words = ["infer", "--jsonl", "demo/key.png", "--gencfg", name];
        let alone = records(&folder.call(&words).expect(0));
        expect_alike(record, &alone[0]);
    }
    assert!(call.err.contains("on 3 images"), "{}", call.err);
    let words = [&["infer", "demo", "--format", "predictions"], &each[..]].concat();
    let file: Value = serde_json::from_str(&folder.call(&words).expect(0).out).unwrap();
    let entries = file["predictions"].as_object().unwrap();
    assert_eq!(entries.keys().collect::<Vec<_>>(), names);
    assert_eq!(entries[names[1]]["pred"].as_array().unwrap().len(), 3);

    let twice = ["--checkpoint", "embedded", "--checkpoint", "embedded"];
    let text = folder
        .call(&[&["infer", "demo/fox.png"], &each[..], &twice[..]].concat())
        .expect(0);
    assert_eq!(text.out.lines().count(), 4);
    assert!(
        text.out
            .starts_with(&format!("demo/fox.png [embedded, {}] --> ", names[0])),
        "{}",
        text.out
    );
    let table = folder
        .call(
            &[
                &["infer", "demo/fox.png", "--format", "table"],
                &each[..],
                &twice[..],
            ]
            .concat(),
        )
        .expect(0);
    assert!(
        table.out.contains("| Model") && table.out.contains("| Gen Cfg"),
        "{}",
        table.out
    );
    for words in [
        &["infer", "-"][..],
        &["infer", "demo", "--format", "predictions"],
        &["infer", "demo", "--save-embeddings", "e.safetensors"],
    ] {
        folder.call(&[words, &twice[..]].concat()).expect(2);
    }
}

#[test]
fn labels_are_counted_for_each_configuration() {
    let folder = Folder::new();
    let free = records(&folder.call(&["infer", "--jsonl", "demo/fox.png"]).expect(0));
    let labels = json!({ "fox.png": [best(&free[0])], "key.png": "nothing of the kind" });
    fs::write(folder.path("labels.json"), labels.to_string()).unwrap();
    let words = ["infer", "--jsonl", "demo", "--labels", "labels.json"];
    let call = folder.call(&words).expect(0);
    assert_eq!(records(&call)[0]["predictions"][0]["type"], "correct");
    assert!(
        call.err
            .contains("2 inputs with known labels: top-1 50.00 %"),
        "{}",
        call.err
    );
    let each = ["--gencfg", "beam_k3_gp", "--gencfg", "beam_k5_gp"];
    let call = folder.call(&[&words[..], &each[..]].concat()).expect(0);
    for name in ["beam_k3_vnone_gp_t1_a0", "beam_k5_vnone_gp_t1_a0"] {
        let line = format!("embedded, {name}: 2 inputs with known labels: top-1 50.00 %");
        assert!(call.err.contains(&line), "{}", call.err);
    }
}

#[test]
fn guides_come_from_files_lists_and_caches_in_any_spelling() {
    let folder = Folder::new();
    fs::write(
        folder.path("nouns.txt"),
        "# mine\nfox\n\n key \nfox\nqwrtz\n",
    )
    .unwrap();
    let call = folder
        .call(&[
            "infer",
            "--jsonl",
            "demo",
            "--guide",
            "nouns.txt",
            "--guide-targets",
            "snail",
        ])
        .expect(0);
    for record in records(&call) {
        for prediction in record["predictions"].as_array().unwrap() {
            let noun = prediction["noun"].as_str().unwrap();
            assert!(["fox", "key", "snail", "qwrtz"].contains(&noun), "{noun}");
            assert_eq!(prediction["type"], "guide");
        }
        // Fewer nouns than places: as many as there are.
        assert!(record["predictions"].as_array().unwrap().len() <= 4);
    }
    assert!(
        call.err.contains("given more than once") && call.err.contains("qwrtz"),
        "{}",
        call.err
    );
    let words = [
        "infer",
        "--jsonl",
        "demo",
        "--guide-targets",
        "Foxes",
        "KEY",
        "snails",
    ];
    let foreign = folder.call(&words).expect(0);
    for part in [
        "not in the model's vocabulary",
        "such as KEY in lower case alone: --guide-canonical",
    ] {
        assert!(foreign.err.contains(part), "{}", foreign.err);
    }
    assert!(!foreign.err.contains("asks for"), "{}", foreign.err);
    let wide = folder
        .call(&[&words[..], &["--gencfg", "all_k5_gp"]].concat())
        .expect(0);
    for part in [
        "left out, because the model has no tokens for them: Foxes",
        "all_k5_vnone_gp_t1_a0 asks for 5 results, but only 2 nouns",
    ] {
        assert!(wide.err.contains(part), "{}", wide.err);
    }
    let canonical = folder
        .call(&[&words[..], &["--guide-canonical"]].concat())
        .expect(0);
    assert!(
        canonical
            .err
            .contains("3 guide nouns are written as the model knows them: Foxes → fox"),
        "{}",
        canonical.err
    );
    let plain = folder
        .call(&[
            "infer",
            "--jsonl",
            "demo",
            "--guide-targets",
            "fox",
            "key",
            "snail",
        ])
        .expect(0);
    for (a, b) in records(&canonical).iter().zip(&records(&plain)) {
        expect_alike(a, b);
    }
    // Nouns that cannot be written at all, files that are none.
    fs::write(folder.path("none.txt"), "# nothing\n").unwrap();
    fs::write(folder.path("latin1.txt"), b"caf\xe9\n").unwrap();
    for (name, part) in [("none.txt", "no noun"), ("latin1.txt", "UTF-8")] {
        let call = folder.call(&["infer", "demo", "--guide", name]).expect(2);
        assert!(
            call.err.contains(name) && call.err.contains(part),
            "{}",
            call.err
        );
    }
    // The nouns of a cache; this one's are words that mean nothing here.
    let cache = repository("tests/golden/embedding-cache/caches/noun_dataset.bin");
    let of_cache = folder.call(&["infer", "demo", "--guide", cache.to_str().unwrap()]);
    assert!(of_cache.err.contains("guide nouns"), "{}", of_cache.err);
}

#[test]
fn half_precision_of_the_embedder_gives_nearly_the_same() {
    let folder = Folder::new();
    let vectors = |dtype: &str| {
        let out = format!("{dtype}.safetensors");
        let call = folder.call(&[
            "infer",
            "demo",
            "--dtype",
            dtype,
            "--jsonl",
            "--save-embeddings",
            &out,
        ]);
        let labels = records(&call.expect(0));
        let best: Vec<String> = labels
            .iter()
            .map(|record| best(record).to_owned())
            .collect();
        let bytes = fs::read(folder.path(&out)).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let (_, view) = tensors.tensors().into_iter().next().unwrap();
        let values = view.data().chunks_exact(4);
        let values: Vec<f32> = values
            .map(|value| f32::from_le_bytes(value.try_into().unwrap()))
            .collect();
        (best, values)
    };
    let (wanted, single) = vectors("f32");
    assert_eq!(vectors("auto").1, single, "single on processors");
    for dtype in ["f16", "bf16"] {
        let (found, half) = vectors(dtype);
        assert_eq!(found, wanted);
        assert_ne!(half, single);
        let rows = wanted.len();
        let dot: f32 = half.iter().zip(&single).map(|(a, b)| a * b).sum();
        assert!(dot > 0.999 * rows as f32, "{dtype}: {dot}");
    }
    let other = folder.call(&["infer", "demo/fox.png", "--device", "cuda:77"]);
    let other = other.expect(0);
    assert!(other.err.contains("cuda:77 is not here"), "{}", other.err);
    folder
        .call(&["infer", "demo/fox.png", "--dtype", "f8"])
        .expect(2);
}

#[test]
fn stored_embeddings_have_the_labels_of_what_they_were_made_of() {
    let folder = Folder::new();
    let texts = ["a red fox", "a key", "a red fox"];
    for out in ["texts.bin", "texts.safetensors"] {
        let words = [
            "embed",
            "texts",
            "openclip:novic/drawings",
            texts[0],
            texts[1],
            texts[2],
        ];
        folder
            .call(&[&words[..], &["--out", out]].concat())
            .expect(0);
    }
    let texts = [&["infer", "--jsonl", "--texts"], &texts[..]].concat();
    let direct = records(&folder.call(&texts).expect(0));
    for name in ["texts.bin", "texts.safetensors"] {
        let stored = records(
            &folder
                .call(&["infer", "--jsonl", "--embeddings", name])
                .expect(0),
        );
        assert_eq!(stored.len(), 3);
        assert_eq!(stored[1]["input"], format!("{name}[1]"));
        for (a, b) in stored.iter().zip(&direct) {
            assert_eq!(best(a), best(b));
        }
    }
    // Kept embeddings of pictures, classified again.
    let words = [
        "infer",
        "--jsonl",
        "demo",
        "--save-embeddings",
        "kept.safetensors",
    ];
    let pictures = records(&folder.call(&words).expect(0));
    let words = [
        "infer",
        "--jsonl",
        "--embeddings",
        "kept.safetensors:embeddings",
    ];
    let again = records(&folder.call(&words).expect(0));
    for (a, b) in pictures.iter().zip(&again) {
        expect_alike(a, b);
    }
    for name in ["kept.safetensors:nothing", "demo/fox.png", "nowhere.bin"] {
        let call = folder.call(&["infer", "--embeddings", name]).expect(2);
        assert!(
            call.err.contains(name.split(':').next().unwrap()),
            "{}",
            call.err
        );
    }
    // Of another space.
    let cache = repository("tests/golden/embedding-cache/caches/no_targets.bin");
    let call = folder
        .call(&["infer", "--jsonl", "--embeddings", cache.to_str().unwrap()])
        .expect(3);
    assert!(
        records(&call)
            .iter()
            .all(|record| record["error"]["kind"] == "embedding")
    );
}

#[test]
fn what_was_brought_to_the_outputs_is_named_by_its_run_and_by_its_id() {
    let folder = Folder::new();
    let infer =
        |checkpoint: &str| folder.call(&["infer", "demo/fox.png", "--checkpoint", checkpoint]);
    let missing = infer("novic/ye2").expect(1);
    assert!(
        missing.err.contains("outputs/ovod_20240628_142131")
            && missing
                .err
                .contains("`novic hub get novic/ye2` fetches the released model ye2"),
        "{}",
        missing.err
    );
    let unknown = infer("ovod_20000101_000000").expect(1);
    assert!(
        unknown
            .err
            .contains("no trained decoder `ovod_20000101_000000`"),
        "{}",
        unknown.err
    );
    let run = folder.path("outputs/ovod_20240628_142131");
    fs::create_dir_all(&run).unwrap();
    fs::copy(
        repository("extras/decoder/embedded.safetensors"),
        run.join("ovod_chunk0433_20240628_142131.safetensors"),
    )
    .unwrap();
    let embedded = infer("embedded").expect(0).out;
    for name in ["novic/ye2", "ovod_20240628_142131"] {
        assert_eq!(infer(name).expect(0).out, embedded, "{name}");
    }
}
