//! Bad input, bad surroundings, and people who press Ctrl-C: a clear word, the
//! right exit code, nothing lost.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use crate::folder::{Call, Folder, repository};

#[track_caller]
fn says(call: &Call, parts: &[&str]) {
    for part in parts {
        assert!(call.err.contains(part), "no `{part}` in:\n{}", call.err);
    }
}

#[test]
fn an_experiment_file_that_is_missing_or_wrong_is_shown_with_its_place() {
    let folder = Folder::new();
    let missing = folder.call(&["run", "mine.toml"]).expect(2);
    says(&missing, &["mine.toml"]);

    let text = "[experiment]\nname = \"mine\"\n\n[nois]\nvec_norm = 3\n\n[stage.train]\nkind = \"trian\"\nmodel.layers = \"six\"\n";
    fs::write(folder.path("mine.toml"), text).unwrap();
    for command in ["run", "plan", "config"] {
        let wrong = folder.call(&[command, "mine.toml"]).expect(2);
        // All at once, each with its line and the nearest name.
        says(
            &wrong,
            &[
                "mine.toml:4:2",
                "`noise`",
                "mine.toml:8",
                "`train`",
                "mine.toml:9:16",
            ],
        );
    }

    fs::write(folder.path("mine.toml"), "[experiment\nname = 1\n").unwrap();
    let broken = folder.call(&["run", "mine.toml"]).expect(2);
    says(&broken, &["mine.toml:1"]);
    assert!(!folder.path(".novic").exists(), "nothing was begun");
}

#[test]
fn an_unknown_embedder_and_a_missing_dictionary_are_named_and_never_replaced() {
    let folder = Folder::new();
    let embedder = "embedder.spec=openclip:novic/drawing";
    let call = Call::from(folder.run_tiny(&[embedder]).output().unwrap()).expect(1);
    says(
        &call,
        &[
            "openclip:novic/drawing is not here",
            "blocked",
            "openclip:novic/drawings",
        ],
    );

    let dictionary = "nouns.vocab_path=nouns.json";
    let call = Call::from(folder.run_tiny(&[dictionary]).output().unwrap()).expect(1);
    says(&call, &["dictionary nouns.json is not here", "blocked"]);
}

#[test]
fn what_is_missing_is_named_with_its_address_and_size() {
    let folder = Folder::new();
    let file = repository("tests/program/tiny.toml");
    let plan = |overrides: &[&str]| {
        let call = [&["plan", file.to_str().unwrap()], overrides].concat();
        folder.call(&call).expect(0).out
    };
    let hub = plan(&[
        "embedder.spec=openclip:timm/ViT-B-16-SigLIP",
        "stage.zero_shot.cls.datasets=[CIFAR10]",
        "stage.zero_shot.cls.root=data",
    ]);
    assert!(hub.contains("/timm/ViT-B-16-SigLIP, 812 MB)"), "{hub}");
    assert!(hub.contains("cifar-10-python.tar.gz, 170 MB)"), "{hub}");
    let archive = plan(&["embedder.spec=openai:ViT-B/32"]);
    assert!(
        archive.contains("(weights: https://openaipublic.") && archive.contains("/ViT-B-32.pt)"),
        "{archive}"
    );
}

#[test]
fn pictures_that_cannot_be_read_are_left_out_and_told_in_the_exit_code() {
    let folder = Folder::new();
    let whole = fs::read(folder.path("demo/fox.png")).unwrap();
    fs::write(folder.path("demo/half.png"), &whole[..whole.len() / 3]).unwrap();
    fs::write(folder.path("demo/words.jpg"), "no picture").unwrap();
    let call = folder.call(&["infer", "demo"]).expect(3);
    says(&call, &["demo/half.png", "demo/words.jpg"]);
    assert_eq!(call.out.lines().count(), 3, "{}", call.out);
    let none = folder.call(&["infer", "demo/none.png"]).expect(2);
    says(&none, &["demo/none.png"]);
}

#[test]
fn a_damaged_cache_is_noticed_and_made_again() {
    let folder = Folder::new();
    let until_train = ["--until", "train"];
    Call::from(folder.run_tiny(&until_train).output().unwrap()).expect(0);
    let cache = folder.output_of("convert_noun_dataset").join("cache.bin");
    let whole = fs::read(&cache).unwrap();
    fs::write(&cache, &whole[..whole.len() / 2]).unwrap();
    let plan = folder.call(&[
        "plan",
        repository("tests/program/tiny.toml").to_str().unwrap(),
    ]);
    assert!(plan.expect(0).out.contains("cache.bin has"));
    Call::from(folder.run_tiny(&until_train).output().unwrap()).expect(0);
    let again = folder.output_of("convert_noun_dataset").join("cache.bin");
    assert!(
        fs::read(again).unwrap() == whole,
        "the cache is not the same as before"
    );
}

#[test]
fn a_place_that_cannot_be_written_ends_the_run_with_its_name() {
    let folder = Folder::new();
    fs::write(folder.path(".novic"), "in the way").unwrap();
    let call = Call::from(folder.run_tiny(&[]).output().unwrap()).expect(1);
    says(&call, &[".novic"]);
    assert_eq!(fs::read(folder.path(".novic")).unwrap(), b"in the way");
}

/// A run whose files may have no more than `blocks` blocks of 512 bytes: as on a
/// full disk, writes fail half way.
fn limited(folder: &Folder, blocks: u32) -> Call {
    let run = folder.run_tiny(&[]);
    let mut shell = Command::new("sh");
    shell
        .arg("-c")
        .arg(format!(
            "trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""
        ))
        .arg(run.get_program())
        .args(run.get_args())
        .current_dir(run.get_current_dir().unwrap());
    for (name, value) in run.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.output().unwrap().into()
}

#[test]
fn a_disk_without_room_leaves_nothing_half_written() {
    let folder = Folder::new();
    let full = limited(&folder, 2000).expect(1);
    says(&full, &["FAILED", "nouns", "cache.bin"]);
    let shelf = folder.path(".novic/store/convert_noun_dataset");
    let published = fs::read_dir(shelf).unwrap();
    let published = published.filter(|e| e.as_ref().unwrap().path().join("entry.json").exists());
    assert_eq!(published.count(), 0, "half an output was published");
    // With room again, the same command goes on.
    let call = folder.run_tiny(&["--until", "nouns"]).output().unwrap();
    Call::from(call).expect(0);
}

/// Starts a run and waits until a line of its report holds `text`.
fn run_until(folder: &Folder, text: &str) -> (Child, BufReader<std::process::ChildStderr>) {
    let long = ["stage.train.train.max_chunks=100000"];
    let mut child = folder
        .run_tiny(&long)
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    while !line.contains(text) {
        line.clear();
        assert_ne!(
            lines.read_line(&mut line).unwrap(),
            0,
            "it ended without `{text}`"
        );
    }
    (child, lines)
}

fn interrupt(child: &Child) {
    let pid = rustix::process::Pid::from_raw(child.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
}

#[test]
fn ctrl_c_stops_at_a_safe_point_and_twice_at_once() {
    let folder = Folder::new();
    let (mut child, mut lines) = run_until(&folder, "saved ovod_chunk");
    interrupt(&child);
    let mut rest = String::new();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
    assert!(
        rest.contains("STOPPED") && rest.contains("goes on where it stopped"),
        "{rest}"
    );

    let (mut child, mut lines) = run_until(&folder, "goes on after batch");
    interrupt(&child);
    interrupt(&child);
    // The pipe must not fill up while it ends.
    rest.clear();
    std::io::Read::read_to_string(&mut lines, &mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130), "{rest}");
}
