//! Tests with real processes: killed while publishing, refused by the disk.

use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use super::*;

fn id(number: u64) -> EntryId {
    EntryId::new("nothing", Key::of(&number.to_le_bytes())).unwrap()
}

fn fill(dir: &Path, number: u64) {
    for file in 0..8u64 {
        fs::write(
            dir.join(format!("{file}.bin")),
            vec![(number + file) as u8; 50_000],
        )
        .unwrap();
    }
}

/// Not a test by itself: publishes entries until it is killed.
#[test]
fn child_publishes_for_ever() {
    let Some(dir) = child::dir() else { return };
    let store = Store::new(dir);
    for number in 0.. {
        if let Claim::Build(building) = store.claim(&id(number), "child").unwrap() {
            fill(&building.out(), number);
            fs::write(building.work().join("scratch"), b"scratch").unwrap();
            building.publish(EntryDescription::default()).unwrap();
            println!("\npublished");
        }
    }
}

#[test]
fn killed_while_publishing_leaves_whole_entries_or_none() {
    let dir = tempfile::tempdir().unwrap();
    for wait_ms in [3, 11, 17, 29, 41] {
        let mut process = child::spawn("store::fault_tests::child_publishes_for_ever", dir.path());
        let _lines = child::wait_for(&mut process, "published");
        thread::sleep(Duration::from_millis(wait_ms));
        child::kill(process);
    }
    let store = Store::new(dir.path().to_path_buf());
    let entries = store.entries("nothing").unwrap();
    assert!(!entries.is_empty());
    for entry in &entries {
        entry.check_content().unwrap();
        assert_eq!(entry.manifest().files.len(), 8);
    }
    // What was left half-made is made whole by the next process.
    let mut number = 0;
    while number <= entries.len() as u64 {
        if let Claim::Build(building) = store.claim(&id(number), "next").unwrap() {
            fill(&building.out(), number);
            building.publish(EntryDescription::default()).unwrap();
        }
        store
            .get(&id(number))
            .unwrap()
            .unwrap()
            .check_content()
            .unwrap();
        number += 1;
    }
    assert_eq!(
        fs::read_dir(dir.path().join("nothing/.partial"))
            .unwrap()
            .count(),
        0
    );
}

/// Not a test by itself: a process whose files may not grow beyond 4 kB.
#[test]
fn child_has_no_room() {
    use rustix::process::{Resource, Rlimit, Signal, getrlimit, setrlimit};
    let Some(dir) = child::dir() else { return };
    let ignored = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    signal_hook::flag::register(Signal::XFSZ.as_raw(), ignored).unwrap();
    let store = Store::new(dir.clone());
    let Claim::Build(building) = store.claim(&id(0), "child").unwrap() else {
        panic!("free")
    };
    for number in 0..200 {
        fs::write(building.out().join(format!("{number:0>40}")), b"x").unwrap();
    }
    write_file(&dir.join("good"), b"old").unwrap();
    let unlimited = getrlimit(Resource::Fsize);
    setrlimit(
        Resource::Fsize,
        Rlimit {
            current: Some(4096),
            ..unlimited
        },
    )
    .unwrap();
    let error = write_file(&dir.join("good"), &[0; 5000])
        .unwrap_err()
        .to_string();
    assert!(
        error.contains("failed to write") && error.contains("good"),
        "{error}"
    );
    // The manifest of 200 files is longer than that.
    let error = building
        .publish(EntryDescription::default())
        .unwrap_err()
        .to_string();
    setrlimit(Resource::Fsize, unlimited).unwrap();
    assert!(error.contains("entry.json"), "{error}");
    assert!(store.get(&id(0)).unwrap().is_none());
    println!("\nas expected");
}

#[test]
fn no_room_means_an_error_and_no_half_entry() {
    let dir = tempfile::tempdir().unwrap();
    let process = child::spawn("store::fault_tests::child_has_no_room", dir.path());
    let output = process.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stdout)
    );
    assert!(String::from_utf8_lossy(&output.stdout).contains("as expected"));
    assert_eq!(fs::read(dir.path().join("good")).unwrap(), b"old");
    // The work is still there for the next attempt.
    let store = Store::new(dir.path().to_path_buf());
    let Claim::Build(building) = store.claim(&id(0), "next").unwrap() else {
        panic!("free")
    };
    assert!(building.is_resumed());
    assert_eq!(
        building
            .publish(EntryDescription::default())
            .unwrap()
            .manifest()
            .files
            .len(),
        200
    );
}

#[test]
fn a_full_disk_says_what_to_do() {
    let full = std::io::Error::from(std::io::ErrorKind::StorageFull);
    let message = StoreError::io("write", Path::new("/data/x"))(full).to_string();
    assert!(
        message.starts_with("failed to write /data/x: "),
        "{message}"
    );
    assert!(message.contains(
        "free some space there (`novic gc`), or keep the project's outputs elsewhere with NOVIC_HOME"
    ));
}
