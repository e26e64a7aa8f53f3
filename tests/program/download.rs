//! `novic run --download`: what a plan lacks is fetched from a mirror on this
//! machine before anything starts.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener};
use std::thread;

use crate::folder::Folder;

/// Two nouns are enough for a cache.
const DICTIONARY: &str = r#"[
{"id":0,"target_noun":"fox","pretty_noun":"fox","singulars":["fox"],"plurals":["foxes"],"singulars_freq":[3],"plurals_freq":[2],"hypernyms":[]},
{"id":1,"target_noun":"snail","pretty_noun":"snail","singulars":["snail"],"plurals":["snails"],"singulars_freq":[2],"plurals_freq":[2],"hypernyms":[]}
]"#;

const EXPERIMENT: &str = r#"
[embedder]
spec = "openclip:novic/drawings"

[nouns]
vocab_path = "data/object_nouns.json"
prompts = "ImageNet1KSel"

[stage.nouns]
kind = "convert_noun_dataset"
"#;

/// A server that has one file, at every address that ends with its name.
fn serve(name: &'static str, content: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let mut request = String::new();
            reader.read_line(&mut request).unwrap();
            let mut line = String::new();
            while reader.read_line(&mut line).unwrap() > 2 {
                line.clear();
            }
            let path = request.split_whitespace().nth(1).unwrap_or_default();
            let (status, body) = match path.ends_with(name) {
                true => ("200 OK", content),
                false => ("404 Not Found", ""),
            };
            // Who asked may be gone already.
            let _ = write!(
                stream,
                "HTTP/1.1 {status}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                body.len()
            );
        }
    });
    address
}

#[test]
fn what_is_missing_is_fetched_only_when_asked_for() {
    let folder = Folder::new();
    fs::write(folder.path("nouns.toml"), EXPERIMENT).unwrap();
    let mirror = format!("http://{}", serve("object_nouns.json", DICTIONARY));
    let run = |more: &[&str]| {
        let mut command = folder.command(&["run", "nouns.toml"]);
        command.args(more).env("NOVIC_MIRROR", &mirror);
        crate::folder::Call::from(command.output().unwrap())
    };
    let blocked = run(&[]).expect(1);
    assert!(blocked.err.contains("object-nouns"), "{}", blocked.err);
    assert!(blocked.err.contains("--download"), "{}", blocked.err);
    assert!(!folder.path("data").exists());

    let done = run(&["--download"]).expect(0);
    assert!(done.err.contains("fetching object-nouns"), "{}", done.err);
    assert_eq!(
        fs::read_to_string(folder.path("data/object_nouns.json")).unwrap(),
        DICTIONARY
    );
    let again = run(&["--download"]).expect(0);
    assert!(again.err.contains("up to date"), "{}", again.err);
    assert!(!again.err.contains("fetching"), "{}", again.err);
}

#[test]
fn what_nobody_has_says_so_and_nothing_starts() {
    let folder = Folder::new();
    fs::write(folder.path("nouns.toml"), EXPERIMENT).unwrap();
    let mirror = format!("http://{}", serve("nothing", ""));
    let mut command = folder.command(&["run", "nouns.toml", "--download"]);
    command.env("NOVIC_MIRROR", &mirror);
    let failed = crate::folder::Call::from(command.output().unwrap()).expect(1);
    assert!(failed.err.contains("object_nouns.json"), "{}", failed.err);
    assert!(failed.err.contains("404"), "{}", failed.err);
    assert!(!folder.path(".novic/runs").exists(), "{}", failed.err);
}
