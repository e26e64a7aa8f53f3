//! `wiki.json`: the requests of a collection with their pauses, and its files.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Cursor, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use image::{DynamicImage, ImageFormat, RgbImage, RgbaImage};
use novic::annotate::collect::wiki::{Clock, Progress, WikiOptions, collect};
use serde_json::{Value, json};

use super::AREA;
use crate::golden;

/// Host of the pictures in the reference.
const HOST: &str = "http://images.test";

/// A request as the service saw it.
#[derive(Clone, Debug)]
struct Call {
    /// Address of a picture, or nothing for the interface.
    picture: Option<String>,
    parameters: HashMap<String, String>,
    slept: Vec<f64>,
    user_agent: String,
}

/// The service: answers as the reference's did, and notes what is asked.
struct Service {
    address: String,
    calls: Arc<Mutex<Vec<Call>>>,
    pauses: Arc<Mutex<Vec<f64>>>,
}

struct Recorder(Arc<Mutex<Vec<f64>>>);

impl Clock for Recorder {
    fn pause(&self, time: Duration) {
        self.0.lock().unwrap().push(time.as_secs_f64());
    }
}

struct Quiet;

impl Progress for Quiet {
    fn reach(&mut self, _: &'static str, _: usize, _: usize) {}
    fn note(&mut self, _: &str) {}
}

enum Reply {
    Json(String),
    Typed(&'static str, Vec<u8>),
    Status(u16),
    /// The connection ends without an answer.
    Nothing,
}

struct Script {
    data: Value,
    address: String,
    /// How often each thing was asked for.
    times: HashMap<String, usize>,
}

impl Script {
    /// The fault of this request for `what`, if there is one.
    fn fault(&mut self, faults: &str, what: &str) -> Option<String> {
        let times = self.times.entry(format!("{faults} {what}")).or_default();
        let fault = self.data[faults][what][*times].as_str();
        *times += 1;
        fault.filter(|fault| *fault != "ok").map(str::to_owned)
    }

    fn query(&mut self, parameters: &HashMap<String, String>) -> Reply {
        let parameter = |name: &str| parameters.get(name).map(String::as_str);
        if parameter("list") == Some("search") {
            let noun = parameter("srsearch").unwrap().to_owned();
            match self.fault("search_faults", &noun).as_deref() {
                None => {}
                Some("timeout" | "connection") => return Reply::Nothing,
                Some("html") => return Reply::Typed("text/html", b"<p>busy</p>".to_vec()),
                Some("bad json") => return Reply::Json("{\"query\": ".to_owned()),
                Some("shape") => return Reply::Json("{\"batchcomplete\": \"\"}".to_owned()),
                Some(status) => return Reply::Status(status.parse().unwrap()),
            }
            let titles = self.data["search_results"][&noun].as_array().unwrap();
            let results: Vec<Value> = titles.iter().map(|title| json!({"title": title})).collect();
            return Reply::Json(json!({"query": {"search": results}}).to_string());
        }
        let titles = parameter("titles").unwrap().split('|');
        let mut pages = serde_json::Map::new();
        if parameter("prop") == Some("pageimages") {
            for (number, title) in titles.enumerate() {
                let mut page = json!({"pageid": number + 1, "title": title});
                if let Some(original) = self.data["pages"].get(title) {
                    page["original"] = original.clone();
                    let source = original["source"].as_str().unwrap();
                    page["original"]["source"] = source.replace(HOST, &self.address).into();
                }
                pages.insert((number + 1).to_string(), page);
            }
        }
        Reply::Json(json!({"query": {"pages": pages}}).to_string())
    }

    fn picture(&mut self, address: &str) -> Reply {
        let contains = |list: &str, data: &Value| {
            let list = data[list].as_array().unwrap();
            list.iter().any(|entry| entry == address)
        };
        match self.fault("download_faults", address).as_deref() {
            None => {}
            Some("connection" | "timeout") => return Reply::Nothing,
            Some(status) => return Reply::Status(status.parse().unwrap()),
        }
        if contains("undecodable", &self.data) {
            return Reply::Typed("image/jpeg", b"no picture".to_vec());
        }
        let pages = self.data["pages"].as_object().unwrap();
        let page = pages
            .values()
            .find(|page| page["source"] == address)
            .unwrap();
        let side = |name: &str| page[name].as_u64().unwrap() as u32;
        let mut bytes = encoded(address, side("width"), side("height"));
        if contains("truncated_jpeg", &self.data) {
            bytes.truncate(bytes.len() / 2);
        }
        Reply::Typed("application/octet-stream", bytes)
    }
}

/// A picture in the format of its name. Each looks different.
fn encoded(address: &str, width: u32, height: u32) -> Vec<u8> {
    let shade = address
        .bytes()
        .fold(0u8, |sum, byte| sum.wrapping_mul(31).wrapping_add(byte));
    let lower = address.to_lowercase();
    let (image, format): (DynamicImage, _) = if lower.ends_with(".png") {
        let pixel = |x: u32, y: u32| image::Rgba([x as u8, y as u8, shade, x as u8]);
        (
            RgbaImage::from_fn(width, height, pixel).into(),
            ImageFormat::Png,
        )
    } else {
        let pixel = |x: u32, y: u32| image::Rgb([x as u8, y as u8, shade]);
        let image = RgbImage::from_fn(width, height, pixel).into();
        let is_gif = lower.ends_with(".gif");
        (
            image,
            if is_gif {
                ImageFormat::Gif
            } else {
                ImageFormat::Jpeg
            },
        )
    };
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

impl Service {
    fn start(data: &Value) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let service = Self {
            address: address.clone(),
            calls: Arc::default(),
            pauses: Arc::default(),
        };
        let (calls, pauses) = (service.calls.clone(), service.pauses.clone());
        let mut script = Script {
            data: data.clone(),
            address,
            times: HashMap::new(),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut reader = BufReader::new(stream.try_clone().unwrap());
                let mut line = String::new();
                if reader.read_line(&mut line).unwrap_or(0) == 0 {
                    continue;
                }
                let path = line.split(' ').nth(1).unwrap().to_owned();
                let mut user_agent = String::new();
                loop {
                    let mut header = String::new();
                    reader.read_line(&mut header).unwrap();
                    let Some((name, value)) = header.trim_end().split_once(": ") else {
                        break;
                    };
                    if name.eq_ignore_ascii_case("user-agent") {
                        user_agent = value.to_owned();
                    }
                }
                let url = reqwest::Url::parse(&format!("http://host{path}")).unwrap();
                let picture = (url.path() != "/w/api.php").then(|| format!("{HOST}{path}"));
                let parameters: HashMap<String, String> = url.query_pairs().into_owned().collect();
                calls.lock().unwrap().push(Call {
                    picture: picture.clone(),
                    parameters: parameters.clone(),
                    slept: std::mem::take(&mut *pauses.lock().unwrap()),
                    user_agent,
                });
                let reply = match picture {
                    None => script.query(&parameters),
                    Some(address) => script.picture(&address),
                };
                let (status, kind, body) = match reply {
                    Reply::Json(text) => {
                        (200, "application/json; charset=utf-8", text.into_bytes())
                    }
                    Reply::Typed(kind, body) => (200, kind, body),
                    Reply::Status(status) => (status, "text/plain", b"no".to_vec()),
                    Reply::Nothing => continue,
                };
                let head = format!(
                    "HTTP/1.1 {status} Answer\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\
                     Connection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &body].concat());
            }
        });
        service
    }
}

#[test]
fn requests_pauses_and_files() {
    let data = golden::json(AREA, "wiki.json");
    let service = Service::start(&data);
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("pictures");
    let list = |name: &str| data[name].as_array().unwrap().clone();
    let nouns: Vec<String> = list("nouns")
        .iter()
        .map(|noun| noun.as_str().unwrap().to_owned())
        .collect();
    let options = WikiOptions {
        parallel: 1,
        ..WikiOptions::polite(
            format!("{}/w/api.php", service.address),
            "tests@example.org",
        )
    };
    let clock = Recorder(service.pauses.clone());
    let run = || {
        let journal = out.join("journal.jsonl");
        collect(
            &nouns,
            &options,
            &out,
            &journal,
            (&clock, &|| false),
            &mut Quiet,
        )
        .unwrap()
    };
    let report = run();

    // Licences are asked for as well, which the reference did not do.
    let mut calls = service.calls.lock().unwrap().clone();
    calls.retain(|call| {
        call.parameters
            .get("prop")
            .is_none_or(|prop| !prop.contains("imageinfo"))
    });
    let expected = list("calls");
    assert_eq!(calls.len(), expected.len());
    for (call, expected) in calls.iter().zip(&expected) {
        assert!(call.user_agent.contains("novic") && call.user_agent.contains("tests@example.org"));
        match &call.picture {
            Some(address) => assert_eq!(*address, expected["url"].as_str().unwrap()),
            None => assert_eq!(expected["url"], "API"),
        }
        for (name, value) in expected["params"].as_object().into_iter().flatten() {
            let value = value.as_str().unwrap();
            let found = &call.parameters[name];
            // The names of the files are asked for as well.
            let is_more = name == "piprop" && found.split('|').any(|part| part == value);
            assert!(
                found == value || is_more,
                "{name}: {found:?}, not {value:?}"
            );
        }
        let slept: Vec<f64> = expected["slept"]
            .as_array()
            .unwrap()
            .iter()
            .map(|pause| pause.as_f64().unwrap())
            .collect();
        assert_eq!(call.slept, slept, "before {expected}");
    }

    let expected = list("files");
    assert_eq!(report.images, expected.len());
    for file in &expected {
        let path = out.join(file["name"].as_str().unwrap());
        let reader = image::ImageReader::open(&path)
            .unwrap()
            .with_guessed_format()
            .unwrap();
        assert_eq!(reader.format(), Some(ImageFormat::Jpeg));
        let image = reader.decode().unwrap();
        assert_eq!(
            image.width(),
            file["width"].as_u64().unwrap() as u32,
            "{file}"
        );
        assert_eq!(
            image.height(),
            file["height"].as_u64().unwrap() as u32,
            "{file}"
        );
        assert_eq!(image.color(), image::ColorType::Rgb8);
    }
    let manifest = std::fs::read_to_string(out.join("manifest.jsonl")).unwrap();
    assert_eq!(manifest.lines().count(), expected.len());

    // Once more: only what had no answer is asked for again, nothing is stored
    // twice.
    service.calls.lock().unwrap().clear();
    let again = run();
    assert!(again.images >= report.images);
    let calls = service.calls.lock().unwrap().clone();
    let stored: Vec<Value> = manifest
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for call in &calls {
        if let Some(noun) = call.parameters.get("srsearch") {
            let had_fault = !data["search_faults"][noun].is_null();
            assert!(had_fault, "{noun} had its answer");
        }
        if let Some(address) = &call.picture {
            let source = address.replace(HOST, &service.address);
            assert!(
                stored
                    .iter()
                    .all(|found| found["source"] != source.as_str()),
                "{address}"
            );
        }
    }
}
