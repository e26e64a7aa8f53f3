//! Image sets by the program: samples, and a collection from a service on this
//! machine that is killed on the way.

use std::collections::HashSet;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::folder::{Folder, repository};

/// A MediaWiki with a page for every noun.
struct Wiki {
    address: String,
    seen: Arc<Mutex<Vec<String>>>,
}

impl Wiki {
    fn start() -> Self {
        Self::with(|_| None)
    }

    /// One that answers some queries otherwise: with a status and this.
    fn with(mut otherwise: impl FnMut(&str) -> Option<(u16, Value)> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let seen: Arc<Mutex<Vec<String>>> = Arc::default();
        let (log, own) = (seen.clone(), address.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    continue;
                }
                let mut agent = false;
                loop {
                    let mut header = String::new();
                    if reader.read_line(&mut header).unwrap_or(0) == 0 || header.trim().is_empty() {
                        break;
                    }
                    agent |= header.contains("me@example.org");
                }
                assert!(agent, "nobody to write to");
                let path = line.split(' ').nth(1).unwrap().to_owned();
                let (status, (kind, body)) = match otherwise(&path) {
                    None => (200, answer(&own, &path)),
                    Some((status, value)) => {
                        (status, ("application/json", value.to_string().into_bytes()))
                    }
                };
                log.lock().unwrap().push(path);
                let head = format!(
                    "HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        Self { address, seen }
    }

    fn seen(&self) -> Vec<String> {
        self.seen.lock().unwrap().clone()
    }
}

fn answer(own: &str, path: &str) -> (&'static str, Vec<u8>) {
    let url = reqwest::Url::parse(&format!("http://host{path}")).unwrap();
    if url.path() != "/api.php" {
        let number: u8 = url
            .path()
            .bytes()
            .fold(7, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
        let image =
            image::RgbImage::from_fn(200, 150, |x, y| image::Rgb([x as u8, y as u8, number]));
        let mut bytes = std::io::Cursor::new(Vec::new());
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        return ("image/png", bytes.into_inner());
    }
    let parameter = |name: &str| {
        let found = url.query_pairs().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    };
    let titles = parameter("titles");
    let titles = titles.split('|');
    let value = match parameter("prop").as_str() {
        "" => json!({"query": {"search": [{"title": parameter("srsearch").to_uppercase()}]}}),
        "pageimages" => json!({"query": {"pages": titles.enumerate().map(|(at, title)| json!({
            "pageid": at, "title": title, "pageimage": format!("{title}.png"),
            "original": {"source": format!("{own}/files/{title}.png"), "width": 200, "height": 150},
        })).collect::<Vec<_>>()}}),
        _ => json!({"query": {"pages": titles.map(|title| {
            let licence = if title.contains("NOUN3") { "Fair use" } else { "CC BY 4.0" };
            json!({"title": title, "lastrevid": 9, "imageinfo": [{
                "descriptionurl": format!("{own}/wiki/{title}"),
                "extmetadata": {"LicenseShortName": {"value": licence}, "Artist": {"value": "<b>Ann</b>"}},
            }]})
        }).collect::<Vec<_>>()}}),
    };
    ("application/json", value.to_string().into_bytes())
}

fn manifest(folder: &Folder) -> Vec<Value> {
    let text = fs::read_to_string(folder.path("pictures/manifest.jsonl")).unwrap_or_default();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_killed_collection_goes_on_and_asks_nothing_twice() {
    let folder = Folder::new();
    let nouns: Vec<String> = (0..40).map(|number| format!("noun{number}")).collect();
    fs::write(
        folder.path("nouns.txt"),
        format!("# nouns\n{}\nnoun1\n", nouns.join("\n")),
    )
    .unwrap();
    let wiki = Wiki::start();
    let api = format!("{}/api.php", wiki.address);
    let arguments = [
        "images",
        "wiki",
        "--nouns",
        "nouns.txt",
        "pictures",
        "--contact",
        "me@example.org",
        "--api-url",
        &api,
        "--pause",
        "0.002",
        "--backoff-base",
        "0.01",
        "--download-pause",
        "0.01",
        "--licence",
        "cc",
        "--json",
    ];
    // Killed after so many requests.
    for wanted in [5, 30, 43, 60] {
        let mut child = folder
            .command(&arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        while wiki.seen().len() < wanted && child.try_wait().unwrap().is_none() {
            std::thread::yield_now();
        }
        let _ = child.kill();
        child.wait().unwrap();
    }
    let report = folder.call(&arguments).expect(0);
    let report: Value = serde_json::from_str(&report.out).unwrap();
    // NOUN3 and NOUN30 to NOUN39 have another licence.
    assert_eq!(report["images"], 29, "{report}");
    let found = manifest(&folder);
    let sources: HashSet<&str> = found
        .iter()
        .map(|f| f["source"].as_str().unwrap())
        .collect();
    assert_eq!((found.len(), sources.len()), (29, 29));
    for entry in &found {
        let path = folder
            .path("pictures")
            .join(entry["file"].as_str().unwrap());
        assert!(image::open(path).is_ok());
        assert_eq!(entry["licence"], "CC BY 4.0");
        assert_eq!(entry["author"], "Ann");
        assert_eq!(entry["revision"], 9);
        assert_eq!(entry["nouns"].as_array().unwrap().len(), 1);
    }
    let seen = wiki.seen();
    for noun in &nouns {
        let search = format!("srsearch={noun}&");
        let times = seen.iter().filter(|path| path.contains(&search)).count();
        // A kill between an answer and its record costs one.
        assert!((1..=5).contains(&times), "{noun}: {times}");
    }
    let searches = seen.iter().filter(|path| path.contains("srsearch")).count();
    assert!(searches <= nouns.len() + 4, "{searches}");

    // There is nothing more to ask.
    let before = wiki.seen().len();
    folder.call(&arguments).expect(0);
    assert_eq!(wiki.seen().len(), before);
    let outlook = folder
        .call(&[
            "images",
            "wiki",
            "--nouns",
            "nouns.txt",
            "pictures",
            "--dry-run",
        ])
        .expect(0);
    assert!(
        outlook.out.starts_with("40 of 40 nouns searched"),
        "{}",
        outlook.out
    );
    assert!(outlook.out.contains("0 to 0 requests"), "{}", outlook.out);
}

/// Collects pictures of three nouns.
fn collect(folder: &Folder, wiki: &Wiki, more: &[&str]) -> crate::folder::Call {
    fs::write(folder.path("nouns.txt"), "fox\nkey\nsnail\n").unwrap();
    let api = format!("{}/api.php", wiki.address);
    let arguments = [
        "images",
        "wiki",
        "--nouns",
        "nouns.txt",
        "pictures",
        "--contact",
        "me@example.org",
        "--api-url",
        &api,
        "--pause",
        "0",
        "--backoff-base",
        "0.001",
        "--no-shuffle",
        "--json",
    ];
    folder.call(&[&arguments, more].concat())
}

fn is_about_licences(path: &str) -> bool {
    path.contains("prop=imageinfo")
}

#[test]
fn pictures_without_an_answer_about_their_licence_are_tried_again() {
    for more in [&[][..], &["--licence", "cc"]] {
        let folder = Folder::new();
        // A service that is ill for some time, and one that answers with an error.
        let ill = Wiki::with(|path| is_about_licences(path).then(|| (503, json!({}))));
        let odd = Wiki::with(|path| {
            is_about_licences(path).then(|| (200, json!({"error": {"code": "internal"}})))
        });
        for wiki in [ill, odd] {
            let call = collect(&folder, &wiki, more).expect(3);
            let report: Value = serde_json::from_str(&call.out).unwrap();
            assert_eq!(
                (&report["failed"], &report["images"], &report["passed_over"]),
                (&json!(3), &json!(0), &json!(0)),
                "{report}"
            );
            assert!(manifest(&folder).is_empty());
        }
        // A short illness is waited out.
        let mut times = 0;
        let well = Wiki::with(move |path| {
            times += usize::from(is_about_licences(path));
            (is_about_licences(path) && times <= 4).then(|| (503, json!({})))
        });
        collect(&folder, &well, more).expect(0);
        let found = manifest(&folder);
        assert_eq!(found.len(), 3);
        assert!(found.iter().all(|f| f["licence"] == "CC BY 4.0"));
        let searches = |wiki: &Wiki| wiki.seen().iter().any(|path| path.contains("srsearch"));
        assert!(!searches(&well), "what was answered is asked again");
    }
}

#[test]
fn licences_are_asked_for_until_all_are_told() {
    let folder = Folder::new();
    let page = |title: &str, licence: Option<&str>| match licence {
        None => json!({"title": title}),
        Some(name) => json!({"title": title, "imageinfo": [
            {"extmetadata": {"LicenseShortName": {"value": name}}},
        ]}),
    };
    let wiki = Wiki::with(move |path| {
        if !is_about_licences(path) {
            return None;
        }
        // One licence an answer.
        let places = [
            ("FOX", ""),
            ("KEY", "iicontinue=KEY"),
            ("SNAIL", "iicontinue=SNAIL"),
        ];
        let at = places
            .iter()
            .rposition(|(_, mark)| path.contains(mark))
            .unwrap();
        let pages = places.iter().enumerate().map(|(number, (title, _))| {
            page(
                &format!("File:{title}.png"),
                (number == at).then_some("CC0"),
            )
        });
        let mut answer = json!({"query": {"pages": pages.collect::<Vec<_>>()}});
        if let Some((next, _)) = places.get(at + 1) {
            answer["continue"] = json!({"iicontinue": next, "continue": "||"});
        }
        Some((200, answer))
    });
    collect(&folder, &wiki, &["--licence", "cc0"]).expect(0);
    let licences: Vec<Value> = manifest(&folder)
        .iter()
        .map(|f| f["licence"].clone())
        .collect();
    assert_eq!(licences, ["CC0", "CC0", "CC0"]);
}

#[test]
fn collections_leave_the_files_of_others_alone() {
    let wiki = Wiki::start();
    let folder = Folder::new();
    fs::create_dir(folder.path("pictures")).unwrap();
    let notes = folder.path("pictures/manifest.jsonl");
    for text in ["my notes", "my notes\n"] {
        fs::write(&notes, text).unwrap();
        let call = collect(&folder, &wiki, &[]).expect(1);
        assert!(call.err.contains("is no manifest"), "{}", call.err);
        assert_eq!(fs::read_to_string(&notes).unwrap(), text);
        let files = fs::read_dir(folder.path("pictures")).unwrap().count();
        assert_eq!(files, 1);
    }
    fs::remove_file(&notes).unwrap();
    let own = folder.path("pictures/000001-FOX.jpg");
    fs::write(&own, "my picture").unwrap();
    collect(&folder, &wiki, &[]).expect(0);
    assert_eq!(fs::read_to_string(&own).unwrap(), "my picture");
    let files = |folder: &Folder| -> Vec<Value> {
        manifest(folder).iter().map(|f| f["file"].clone()).collect()
    };
    let expected = ["000002-FOX.jpg", "000003-KEY.jpg", "000004-SNAIL.jpg"];
    assert_eq!(files(&folder), expected);
    // What a killed run has stored and not recorded is taken.
    let lines = fs::read_to_string(&notes).unwrap();
    let two: String = lines.split_inclusive('\n').take(2).collect();
    fs::write(&notes, two).unwrap();
    let journal = fs::read_to_string(folder.path("pictures/journal.jsonl")).unwrap();
    let count = journal.lines().count() - 1;
    let all_but_last: String = journal.split_inclusive('\n').take(count).collect();
    fs::write(folder.path("pictures/journal.jsonl"), all_but_last).unwrap();
    collect(&folder, &wiki, &[]).expect(0);
    assert_eq!(files(&folder), expected);
    let stored = fs::read_dir(folder.path("pictures")).unwrap().count();
    assert_eq!(stored, 6, "three pictures, theirs, manifest, journal");
}

#[test]
fn collections_need_nouns_and_a_contact() {
    let folder = Folder::new();
    let call = folder.call(&["images", "wiki", "out"]).expect(2);
    assert!(call.err.contains("--nouns"), "{}", call.err);
    fs::write(folder.path("nouns.txt"), "fox\n").unwrap();
    let call = folder
        .call(&["images", "wiki", "--nouns", "nouns.txt", "out"])
        .expect(2);
    assert!(call.err.contains("--contact"), "{}", call.err);
    fs::create_dir(folder.path("out")).unwrap();
    fs::write(folder.path("out/journal.jsonl"), "my diary\n").unwrap();
    let call = folder
        .call(&[
            "images",
            "wiki",
            "--nouns",
            "nouns.txt",
            "out",
            "--contact",
            "me@example.org",
        ])
        .expect(1);
    assert!(call.err.contains("is no journal"), "{}", call.err);
    assert_eq!(
        fs::read_to_string(folder.path("out/journal.jsonl")).unwrap(),
        "my diary\n"
    );
}

#[test]
fn samples_are_repeatable_and_overwrite_nothing() {
    let folder = Folder::new();
    fs::create_dir(folder.path("in")).unwrap();
    for name in [
        "fox.png",
        "key.png",
        "snail.png",
        "turtle.png",
        "guitar.png",
    ] {
        fs::copy(
            repository("extras/demo").join(name),
            folder.path("in").join(name),
        )
        .unwrap();
    }
    folder
        .call(&["images", "sample", "in", "a", "-n", "3"])
        .expect(0);
    folder
        .call(&["images", "sample", "in", "b", "-n", "3"])
        .expect(0);
    // What cannot be read is left out, and told of.
    fs::write(folder.path("in/broken.jpg"), "no picture").unwrap();
    let call = folder
        .call(&["images", "sample", "in", "all", "--json"])
        .expect(3);
    assert!(call.err.contains("left out: broken.jpg"), "{}", call.err);
    let all: Value = serde_json::from_str(&call.out).unwrap();
    assert_eq!(all["images"].as_array().unwrap().len(), 5, "{all}");
    assert_eq!(
        (&all["candidates"], &all["unreadable"][0]["name"]),
        (&json!(5), &json!("broken.jpg"))
    );
    assert!(!folder.path("all/broken.jpg").exists());
    let read = |name: &str| -> Value {
        let text = fs::read_to_string(folder.path(name).join("manifest.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    };
    let (a, b) = (read("a"), read("b"));
    assert_eq!(a["images"], b["images"]);
    for image in a["images"].as_array().unwrap() {
        let name = image["name"].as_str().unwrap();
        let (from, to) = (folder.path("in").join(name), folder.path("a").join(name));
        assert_eq!(fs::read(&from).unwrap(), fs::read(&to).unwrap());
        let time = |path| fs::metadata(path).unwrap().modified().unwrap();
        assert_eq!(time(&from), time(&to));
    }
    folder
        .call(&["images", "sample", "in", "a", "-n", "3"])
        .expect(2);
    folder
        .call(&["images", "sample", "nowhere", "c", "-n", "3"])
        .expect(1);
    assert!(!folder.path("c").exists());

    // A strong pull is followed; what cannot be read is told of.
    let call = folder
        .call(&[
            "images",
            "sample",
            "in",
            "c",
            "-n",
            "1",
            "--toward",
            "guitar=500",
            "--mean",
            "0",
            "--json",
        ])
        .expect(3);
    assert!(call.err.contains("broken.jpg"), "{}", call.err);
    let drawn: Value = serde_json::from_str(&call.out).unwrap();
    assert_eq!(drawn["images"][0]["name"], "guitar.png", "{drawn}");
    assert_eq!(drawn["candidates"], 5);
    let call = folder
        .call(&[
            "images",
            "sample",
            "in",
            "d",
            "--toward",
            "fox=-3",
            "--dry-run",
        ])
        .expect(3);
    assert!(
        call.out.contains("5 of 5 pictures would be drawn"),
        "{}",
        call.out
    );
    assert!(!folder.path("d").exists());
    folder
        .call(&["images", "sample", "in", "d", "--toward", "fox"])
        .expect(2);
}

#[test]
fn the_actions_are_stages() {
    let folder = Folder::new();
    let call = folder
        .call(&[
            "action",
            "sample_images",
            "sample_input_dir=demo",
            "sample_count=2",
            "sample.output_dir=sampled",
        ])
        .expect(0);
    assert!(
        call.err.contains("2 of 3 images") || call.out.contains("2 of 3 images"),
        "{}{}",
        call.out,
        call.err
    );
    let sampled: Vec<_> = fs::read_dir(folder.path("sampled")).unwrap().collect();
    assert_eq!(sampled.len(), 1);
    let inside = fs::read_dir(sampled[0].as_ref().unwrap().path())
        .unwrap()
        .count();
    assert_eq!(inside, 3);
    // Without a folder it is blocked before anything is done.
    let call = folder.call(&["action", "sample_images"]);
    assert_ne!(call.code, Some(0));
    assert!(
        format!("{}{}", call.out, call.err).contains("sample.input_dir"),
        "{}{}",
        call.out,
        call.err
    );

    let nouns: Vec<Value> = ["fox", "key", "snail"]
        .iter()
        .enumerate()
        .map(|(id, noun)| {
            json!({
                "id": id, "target_noun": noun, "pretty_noun": noun, "singulars": [noun],
                "plurals": [], "singulars_freq": [3], "plurals_freq": [], "hypernyms": [],
            })
        })
        .collect();
    fs::write(folder.path("nouns.json"), json!(nouns).to_string()).unwrap();
    let wiki = Wiki::start();
    let api = format!("wiki.api_url={}/api.php", wiki.address);
    let call = folder.call(&[
        "action",
        "collect_wiki_images",
        "nouns.vocab_path=nouns.json",
        "wiki.contact=me@example.org",
        "wiki.max_images=2",
        "wiki.output_dir=wiki",
        &api,
    ]);
    let call = call.expect(0);
    let told = format!("{}{}", call.out, call.err);
    assert!(told.contains("2 images for 3 of 3 nouns"), "{told}");
    let place = fs::read_dir(folder.path("wiki")).unwrap().next().unwrap();
    let files = fs::read_dir(place.unwrap().path()).unwrap().count();
    // Two pictures and their manifest.
    assert_eq!(files, 3);
}
