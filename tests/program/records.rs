//! Records of runs: broken ones, damaged ones, and lists of what they say.

use std::fs;
use std::process::Command;

use serde_json::Value;

use crate::folder::Folder;

/// A folder with a run of one stage that takes no time.
fn with_run() -> Folder {
    let folder = Folder::new();
    fs::write(folder.path("mine.toml"), "[stage.a]\nkind = \"nothing\"\n").unwrap();
    folder.call(&["run", "mine.toml"]).expect(0);
    folder
}

/// Id of the only run.
fn only_run(folder: &Folder) -> String {
    let list = folder.call(&["ls", "--json"]).expect(0).out;
    let runs: Vec<Value> = serde_json::from_str(&list).unwrap();
    assert_eq!(runs.len(), 1, "{list}");
    runs[0]["run"].as_str().unwrap().to_owned()
}

#[test]
fn broken_records_are_listed_told_and_removed() {
    let folder = with_run();
    let good = only_run(&folder);
    let broken = [
        ("ovod_20200101_000001", "it is empty"),
        ("ovod_20200101_000002", "it begins otherwise"),
        ("ovod_20200101_000003", "it is a folder"),
        ("ovod_20200101_000004", "it is no regular file"),
    ];
    for (id, what) in broken {
        let run = folder.path(".novic/runs").join(id);
        fs::create_dir(&run).unwrap();
        let record = run.join("record.novic");
        match what {
            "it is empty" => fs::write(&record, "").unwrap(),
            "it begins otherwise" => fs::write(&record, [7u8; 5000]).unwrap(),
            "it is a folder" => fs::create_dir(&record).unwrap(),
            _ => {
                let made = Command::new("mkfifo").arg(&record).status().unwrap();
                assert!(made.success());
            }
        }
    }
    let list = folder.call(&["ls"]).expect(0);
    let doctor = folder.call(&["doctor"]).expect(1);
    folder.call(&["top"]).expect(0);
    for (id, what) in broken {
        let state = format!("unreadable: not a record ({what})");
        let line = list.out.lines().find(|line| line.starts_with(id)).unwrap();
        assert!(line.ends_with(&state), "{line}");
        let told = format!("{id} is {state}; `novic rm {id}` removes it");
        assert!(doctor.out.contains(&told), "{}", doctor.out);
        let show = folder.call(&["show", id]).expect(1);
        for part in [state.as_str(), "novic rm"] {
            assert!(show.err.contains(part), "{}", show.err);
        }
    }
    // The newest whose record can be read.
    let show = folder.call(&["show", "latest"]).expect(0);
    assert!(show.out.contains(&good), "{}", show.out);
    let states = folder
        .call(&["ls", "state = unreadable", "--json"])
        .expect(0);
    let states: Vec<Value> = serde_json::from_str(&states.out).unwrap();
    assert_eq!(states.len(), broken.len());
    for (id, _) in broken {
        folder.call(&["rm", id]).expect(0);
    }
    assert_eq!(only_run(&folder), good);
    folder.call(&["doctor"]).expect(0);
}

#[test]
fn what_lies_behind_damage_is_shown() {
    let folder = with_run();
    let id = only_run(&folder);
    let run = folder.path(".novic/runs").join(&id);
    let record = run.join("record.novic");
    let mut bytes = fs::read(&record).unwrap();
    let middle = bytes.len() / 2;
    for byte in &mut bytes[middle..middle + 50] {
        *byte ^= 0x41;
    }
    fs::write(&record, &bytes).unwrap();
    fs::remove_file(run.join("summary.json")).unwrap();
    let show = folder.call(&["show", &id]).expect(0).out;
    for part in ["finished", "bytes in the middle cannot be read"] {
        assert!(show.contains(part), "{part}\n{show}");
    }
    assert!(!show.contains("torn"), "{show}");
    let json = folder.call(&["show", &id, "--json"]).expect(0).out;
    let json: Value = serde_json::from_str(&json).unwrap();
    assert!(json["damaged_bytes"].as_u64().unwrap() >= 50);
    assert_eq!(json["torn_bytes"], 0);
    let doctor = folder.call(&["doctor", "--thorough"]).expect(1).out;
    assert!(doctor.contains(&id), "{doctor}");
}

#[test]
fn filters_say_what_fields_hold() {
    let folder = with_run();
    for (filter, part) in [
        ("seconds > abc", "`seconds` holds a number of seconds"),
        ("train.lr.init < abc", "`train.lr.init` holds a number"),
        ("state = faild", "did you mean `failed`?"),
        ("threads > many", "`threads` holds a number"),
    ] {
        let call = folder.call(&["ls", filter]).expect(2);
        assert!(call.err.contains(part), "{part}\n{}", call.err);
        folder.call(&["top", "--filter", filter]).expect(2);
    }
    let list = folder
        .call(&["ls", "time < 1h30m and threads > 0", "stages = a"])
        .expect(0);
    assert_eq!((list.out.lines().count(), list.err.as_str()), (2, ""));
    let columns = "--columns=run,time,stages,labels,host,program,git.commit";
    let list = folder.call(&["ls", columns, "--sort=-time"]).expect(0);
    assert!(list.err.is_empty(), "{}", list.err);
    assert!(list.out.contains(env!("CARGO_PKG_VERSION")), "{}", list.out);
    let unknown = ["ls", "secands = 1", "--sort=-secands", "--columns=secands"];
    let call = folder.call(&unknown).expect(0);
    assert_eq!(call.err.matches("secands").count(), 1, "{}", call.err);
    assert!(call.err.contains("did you mean `seconds`?"), "{}", call.err);
}

#[test]
fn nothing_that_people_wrote_moves_the_cursor() {
    let folder = with_run();
    folder.call(&["tag", "latest", "a\u{1b}[31m"]).expect(0);
    folder.call(&["note", "latest", "b\u{1b}[2Jc"]).expect(0);
    for command in [
        &["ls"][..],
        &["ls", "--columns=tags,note"],
        &["show", "latest"],
    ] {
        let out = folder.call(command).expect(0).out;
        assert!(!out.contains('\u{1b}'), "{out:?}");
        for part in [r"a\u{1b}[31m", r"b\u{1b}[2Jc"] {
            assert!(out.contains(part), "{out}");
        }
    }
}

#[test]
fn a_run_without_metrics_has_none_to_export() {
    let folder = with_run();
    let call = folder
        .call(&["export", "latest", "--step", "foo"])
        .expect(2);
    assert!(
        call.err.contains("has no metrics, so no column `foo`"),
        "{}",
        call.err
    );
}
