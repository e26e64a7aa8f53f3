//! `novic hub get`: a model is asked about only when something is missing or
//! the user wants to know; archives that are on the disk are taken from there.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::thread;

use crate::folder::{Call, Folder, repository};

/// A repository of the hub.
#[derive(Default)]
struct Repository {
    commit: String,
    files: BTreeMap<String, Vec<u8>>,
}

/// A hub with a model, and whatever else is put there.
#[derive(Default)]
struct ModelHub {
    repositories: BTreeMap<&'static str, Repository>,
    /// Method and path of every request.
    requests: Vec<String>,
}

impl ModelHub {
    fn tiny(&mut self) -> &mut Repository {
        self.repositories.entry("owner/tiny").or_default()
    }
}

type Shared = Arc<Mutex<ModelHub>>;

/// Puts the files of a folder into a repository, those that are `wanted`.
fn fill(repository: &mut Repository, folder: &Path, wanted: impl Fn(&str) -> bool) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        if wanted(name) {
            let content = fs::read(&path).unwrap();
            repository.files.insert(name.to_owned(), content);
        }
    }
}

fn answer(hub: &mut ModelHub, method: &str, path: &str) -> Vec<u8> {
    hub.requests.push(format!("{method} {path}"));
    let mut headers = String::new();
    let mut body = None;
    for (name, repository) in &hub.repositories {
        if path.starts_with(&format!("/api/models/{name}/revision/")) {
            let files = repository.files.keys();
            let files: Vec<_> = files
                .map(|file| serde_json::json!({"rfilename": file}))
                .collect();
            let answer = serde_json::json!({"sha": repository.commit, "siblings": files});
            body = Some(answer.to_string().into_bytes());
        }
        let prefix = format!("/{name}/resolve/{}/", repository.commit);
        let file = path.strip_prefix(&prefix);
        if let Some(content) = file.and_then(|file| repository.files.get(file)) {
            let tag = blake3::hash(content).to_hex();
            headers = format!("ETag: \"{}\"\r\n", &tag.as_str()[..40]);
            body = Some(content.clone());
        }
    }
    let status = match body {
        Some(_) => "200 OK",
        None => "404 Not Found",
    };
    let body = body.unwrap_or_default();
    let mut reply = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    )
    .into_bytes();
    if method != "HEAD" {
        reply.extend(body);
    }
    reply
}

fn serve(repository: Shared) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
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
            let mut words = request.split_whitespace();
            let (method, path) = (words.next().unwrap_or(""), words.next().unwrap_or(""));
            let reply = answer(&mut repository.lock().unwrap(), method, path);
            let _ = stream.write_all(&reply);
        }
    });
    address
}

#[test]
fn a_model_is_asked_about_only_when_it_is_missing_or_to_be_refreshed() {
    let folder = Folder::new();
    let shared = Shared::default();
    let model = repository("tests/golden/embedders/models/openclip_quickgelu");
    {
        let mut hub = shared.lock().unwrap();
        hub.tiny().commit = "c0ffee01".to_owned();
        fill(hub.tiny(), &model, |_| true);
    }
    let address = serve(shared.clone());
    let call = |arguments: &[&str]| {
        let mut command = folder.command(arguments);
        command
            .env("HF_ENDPOINT", &address)
            .env("HF_HOME", folder.path("hf"))
            .env_remove("HF_HUB_CACHE")
            .env_remove("HF_HUB_OFFLINE");
        Call::from(command.output().unwrap())
    };
    let asked = || std::mem::take(&mut shared.lock().unwrap().requests);
    let spec = "openclip:owner/tiny";
    call(&["embed", "info", spec]).expect(1);
    assert_eq!(asked(), [""; 0], "nothing is fetched unasked");
    call(&["hub", "get", spec]).expect(0);
    assert!(!asked().is_empty());
    let info = ["embed", "info", spec, "--json"];
    assert!(call(&info).expect(0).out.contains("c0ffee01"));
    call(&["hub", "get", spec]).expect(0);
    assert_eq!(asked(), [""; 0], "what is complete is not asked about");

    // The branch moves; the weights stay.
    {
        let mut hub = shared.lock().unwrap();
        hub.tiny().commit = "c0ffee02".to_owned();
        let config = hub.tiny().files.get_mut("open_clip_config.json").unwrap();
        config.push(b'\n');
    }
    call(&["hub", "get", spec]).expect(0);
    assert!(call(&info).expect(0).out.contains("c0ffee01"));
    assert_eq!(asked(), [""; 0]);
    call(&["hub", "get", spec, "--refresh"]).expect(0);
    let requests = asked();
    let gets = requests.iter().filter(|request| request.starts_with("GET"));
    let fetched: Vec<&String> = gets.filter(|request| request.contains("resolve")).collect();
    assert_eq!(fetched.len(), 1, "only what has changed: {requests:?}");
    assert!(fetched[0].ends_with("open_clip_config.json"), "{fetched:?}");
    assert!(call(&info).expect(0).out.contains("c0ffee02"));

    // The same from `novic embed`, and a pinned revision stays.
    shared.lock().unwrap().tiny().commit = "c0ffee03".to_owned();
    let refreshed = call(&["embed", "info", spec, "--json", "--refresh"]).expect(0);
    assert!(refreshed.out.contains("c0ffee03"), "{}", refreshed.out);
    let pinned = format!("{spec}@c0ffee02");
    let pinned = call(&["embed", "info", &pinned, "--json"]).expect(0);
    assert!(pinned.out.contains("c0ffee02"), "{}", pinned.out);

    // Somebody removed a file: the next call fetches it.
    let snapshot = folder.path("hf/hub/models--owner--tiny/snapshots/c0ffee03");
    fs::remove_file(snapshot.join("open_clip_config.json")).unwrap();
    asked();
    call(&["hub", "get", spec]).expect(0);
    assert!(snapshot.join("open_clip_config.json").is_file());
}

#[test]
fn the_tokenizer_of_another_repository_is_taken_from_the_cache_or_fetched_when_asked_for() {
    const NAMED: &str = "bert-base-uncased";
    let folder = Folder::new();
    let shared = Shared::default();
    let model = repository("tests/golden/embedders/models/openclip_clipa");
    let of_model = |name: &str| name.starts_with("open_clip");
    {
        let mut hub = shared.lock().unwrap();
        hub.tiny().commit = "c0ffee01".to_owned();
        fill(hub.tiny(), &model, of_model);
        let other = hub.repositories.entry(NAMED).or_default();
        other.commit = "dec0de01".to_owned();
        fill(other, &model, |name| !of_model(name));
    }
    // The same model with its tokenizer and without, as folders.
    for (to, whole) in [("whole", true), ("bare", false)] {
        fs::create_dir(folder.path(to)).unwrap();
        for entry in fs::read_dir(&model).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap();
            if whole || of_model(name) {
                fs::copy(&path, folder.path(to).join(name)).unwrap();
            }
        }
    }
    let address = serve(shared.clone());
    let call = |offline: &str, arguments: &[&str]| {
        let mut command = folder.command(arguments);
        command
            .env("HF_ENDPOINT", &address)
            .env("HF_HOME", folder.path("hf"))
            .env("HF_HUB_OFFLINE", offline)
            .env_remove("HF_HUB_CACHE");
        Call::from(command.output().unwrap())
    };
    let embed =
        |spec: &str, out: &str| call("1", &["embed", "texts", spec, "a red fox", "--out", out]);
    embed("openclip:./whole", "whole.npy").expect(0);
    let missing = embed("openclip:./bare", "bare.npy").expect(1);
    for part in [NAMED, "tokenizer.json", "novic hub get openclip:./bare"] {
        assert!(missing.err.contains(part), "no {part} in {}", missing.err);
    }
    let offline = call("1", &["hub", "get", "openclip:./bare"]).expect(1);
    assert!(offline.err.contains("HF_HUB_OFFLINE"), "{}", offline.err);
    assert!(shared.lock().unwrap().requests.is_empty());
    call("0", &["hub", "get", "openclip:./bare"]).expect(0);
    embed("openclip:./bare", "bare.npy").expect(0);
    // And of a model of the hub, with which it comes.
    fs::remove_dir_all(folder.path("hf")).unwrap();
    call("0", &["hub", "get", "openclip:owner/tiny"]).expect(0);
    embed("openclip:owner/tiny", "tiny.npy").expect(0);
    let read = |name: &str| fs::read(folder.path(name)).unwrap();
    assert_eq!(read("bare.npy"), read("whole.npy"));
    assert_eq!(read("tiny.npy"), read("whole.npy"));
    shared.lock().unwrap().requests.clear();
    call("0", &["hub", "get", "openclip:owner/tiny"]).expect(0);
    assert!(shared.lock().unwrap().requests.is_empty());
    // Without it the model is not whole, and fetched again.
    fs::remove_dir_all(folder.path("hf/hub/models--bert-base-uncased")).unwrap();
    let missing = embed("openclip:owner/tiny", "tiny.npy").expect(1);
    assert!(missing.err.contains(NAMED), "{}", missing.err);
    let download = ["embed", "info", "openclip:owner/tiny", "--download"];
    call("0", &download).expect(0);
    embed("openclip:owner/tiny", "tiny.npy").expect(0);
    // A repository without a tokenizer.
    fs::remove_dir_all(folder.path("hf/hub/models--bert-base-uncased")).unwrap();
    let clear = |hub: &mut ModelHub| hub.repositories.get_mut(NAMED).unwrap().files.clear();
    clear(&mut shared.lock().unwrap());
    let empty = call("0", &["hub", "get", "openclip:./bare"]).expect(1);
    assert!(empty.err.contains("has no tokenizer"), "{}", empty.err);
}

#[test]
fn archives_that_were_downloaded_otherwise_are_taken() {
    let folder = Folder::new();
    let mut archive = tar::Builder::new(Vec::new());
    for number in 1..=4u32 {
        let picture = fs::read(repository("extras/demo/fox.png")).unwrap();
        let mut header = tar::Header::new_gnu();
        header.set_size(picture.len() as u64);
        header.set_mode(0o644);
        let name = format!("ILSVRC2012_val_{number:08}.JPEG");
        archive
            .append_data(&mut header, name, &picture[..])
            .unwrap();
    }
    let archive = archive.into_inner().unwrap();
    fs::write(folder.path("ILSVRC2012_img_val.tar"), archive).unwrap();
    let kit = repository("tests/imagenet_devkit_of_three.tar.gz");
    let get = |more: &[&str]| {
        let start = ["hub", "get", "imagenet-val", "--datasets", "data"];
        folder.call(&[&start, more].concat())
    };
    let advice = get(&[]).expect(1);
    assert!(advice.err.contains("--labels"), "{}", advice.err);
    let advice = get(&["--from", "ILSVRC2012_img_val.tar"]).expect(2);
    assert!(advice.err.contains("devkit"), "{}", advice.err);
    let all = ["--from", "ILSVRC2012_img_val.tar", "--labels"];
    get(&[&all[..], &[kit.to_str().unwrap()]].concat()).expect(0);
    let sorted = folder.path("data/ImageNet1K/ILSVRC-CLS/val");
    let file = |synset: &str, number: u32| {
        sorted.join(format!("{synset}/ILSVRC2012_val_{number:08}.JPEG"))
    };
    for (synset, number) in [
        ("n01440764", 1),
        ("n02123045", 2),
        ("n01440764", 3),
        ("n07930864", 4),
    ] {
        assert!(file(synset, number).is_file(), "{synset} {number}");
    }
    get(&[&all[..], &[kit.to_str().unwrap()]].concat()).expect(1);
    let ls = folder.call(&["hub", "ls", "--datasets", "data", "--json"]);
    let ls: serde_json::Value = serde_json::from_str(&ls.expect(0).out).unwrap();
    let row = ls.as_array().unwrap().iter();
    let row = row.clone().find(|row| row["id"] == "imagenet-val").unwrap();
    assert_eq!(row["state"], "present");
    assert!(
        ls.as_array()
            .unwrap()
            .iter()
            .any(|row| row["id"] == "openai:RN50x64")
    );
}

#[test]
fn a_dataset_is_read_out_of_its_archive_and_says_how_to_unpack_it() {
    let folder = Folder::new();
    fs::create_dir(folder.path("data")).unwrap();
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(
        Vec::new(),
        flate2::Compression::fast(),
    ));
    for (class, picture) in [("n01440764", "fox.png"), ("n02979186", "key.png")] {
        for part in ["train", "val"] {
            let content = fs::read(repository("extras/demo").join(picture)).unwrap();
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(0o644);
            let name = format!("imagenette2-320/{part}/{class}/1.png");
            archive
                .append_data(&mut header, name, &content[..])
                .unwrap();
        }
    }
    let archive = archive.into_inner().unwrap().finish().unwrap();
    fs::write(folder.path("data/imagenette2-320.tgz"), archive).unwrap();
    let zero_shot = || {
        folder.call(&[
            "embed",
            "zero-shot",
            "openclip:novic/drawings",
            "--dataset",
            "Imagenette",
            "--root",
            "data",
        ])
    };
    let packed = zero_shot().expect(0);
    let advice = "`novic hub get imagenette --from data/imagenette2-320.tgz` unpacks it once";
    assert!(packed.err.contains(advice), "{}", packed.err);
    let from = ["--from", "data/imagenette2-320.tgz", "--datasets", "data"];
    folder
        .call(&[&["hub", "get", "imagenette"], &from[..]].concat())
        .expect(0);
    let done = zero_shot().expect(0);
    assert!(done.out.contains("over 2 samples is"), "{}", done.out);
    assert_eq!(packed.out, done.out);
    assert!(!done.err.contains("unpacks it"), "{}", done.err);
}
