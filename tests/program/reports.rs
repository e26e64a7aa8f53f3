//! Reports and plots as their users meet them: records in files, tables out,
//! checked against committed ones.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::Value;

use crate::folder::{Folder, repository};

const REPORT: &str = r#"
title = "Layers (mean of {seeds})"
mark = { best = true }
replicates = { by = ["seed"], expected = "$seeds" }
[params]
seeds = 2
[source]
kind = "file"
from = ["records.csv"]
[rows]
header = "Layers"
by = ["layers"]
[[col]]
label = "Top-1"
value = "top1"
format = "{mean:.1f} ± {std:.1f}"
[plot.top1]
kind = "bar"
x = "layers"
y = "top1"
replicates = ["seed"]
"#;

fn folder() -> Folder {
    let folder = Folder::new();
    fs::write(folder.path("r.toml"), REPORT).unwrap();
    let records = "layers,seed,top1\n4,1,50\n4,2,51\n6,1,60.5\n";
    fs::write(folder.path("records.csv"), records).unwrap();
    folder
}

#[test]
fn committed_tables_are_checked_against_their_records() {
    let folder = folder();
    let written = folder.call(&[
        "report",
        "r.toml",
        "--format",
        "md,latex,parquet",
        "--out",
        "t",
    ]);
    assert_eq!(written.expect(0).out.lines().count(), 3);
    let text = fs::read_to_string(folder.path("t/r.md")).unwrap();
    assert!(text.contains("| 4 | 50.5 ± 0.7 |"), "{text}");
    assert!(text.contains("| 6 | **60.5 ± -** (1/2) |"), "{text}");
    assert!(
        text.contains("- 6, Top-1: 1 of 2 replicates, found [1]"),
        "{text}"
    );
    folder
        .call(&["report", "r.toml", "--check", "--out", "t"])
        .expect(0);
    fs::write(
        folder.path("records.csv"),
        "layers,seed,top1\n4,1,50\n4,2,51\n6,1,62.5\n",
    )
    .unwrap();
    let check = folder
        .call(&["report", "r.toml", "--check", "--out", "t"])
        .expect(1);
    assert!(
        check.out.contains("- | 6 | **60.5") && check.out.contains("+ | 6 | **62.5"),
        "{}",
        check.out
    );
    assert_eq!(
        fs::read_to_string(folder.path("t/r.md")).unwrap(),
        text,
        "--check writes nothing"
    );
    folder.call(&["report", "r.toml", "--strict"]).expect(1);
    folder
        .call(&["report", "r.toml", "seeds=1", "--strict"])
        .expect(0);
    let cell = folder
        .call(&["report", "r.toml", "--explain", "4", "Top-1"])
        .expect(0);
    assert!(cell.out.contains("values 50, 51"), "{}", cell.out);
    let rows = folder.call(&[
        "report",
        "r.toml",
        "--json",
        "--sql",
        "SELECT MAX(top1) AS best FROM records",
    ]);
    let rows: Value = serde_json::from_str(&rows.expect(0).out).unwrap();
    assert_eq!(rows[0]["best"], 62.5);
}

#[test]
fn mistakes_need_no_records_and_are_named_with_their_place() {
    let folder = folder();
    fs::remove_file(folder.path("records.csv")).unwrap();
    folder.call(&["report", "r.toml", "--validate"]).expect(0);
    fs::write(folder.path("r.toml"), REPORT.replace("header", "haeder")).unwrap();
    let call = folder.call(&["report", "r.toml", "--validate"]).expect(2);
    assert!(
        call.err.contains("r.toml:11:1") && call.err.contains("did you mean `header`?"),
        "{}",
        call.err
    );
    fs::write(folder.path("r.toml"), REPORT).unwrap();
    let call = folder.call(&["report", "r.toml"]).expect(1);
    assert!(
        call.err.contains("there is no file records.csv"),
        "{}",
        call.err
    );
    let call = folder.call(&["report", "r.toml", "seed=3"]).expect(2);
    assert!(call.err.contains("did you mean `seeds`?"), "{}", call.err);
}

#[test]
fn plots_become_files_for_print() {
    let folder = folder();
    let call = folder
        .call(&["plot", "r.toml", "--format", "svg,png,pdf", "--out", "p"])
        .expect(0);
    assert_eq!(call.out.lines().count(), 3);
    let read = |name: &str| fs::read(folder.path(name)).unwrap();
    assert!(
        String::from_utf8(read("p/top1.svg"))
            .unwrap()
            .contains("<rect")
    );
    assert!(read("p/top1.png").starts_with(b"\x89PNG"));
    assert!(read("p/top1.pdf").starts_with(b"%PDF"));
}

#[test]
fn all_reports_of_the_repository_are_without_mistakes_and_show_what_is_not_run() {
    let folder = Folder::new();
    let mut seen = 0;
    for place in ["reports/paper", "reports/small"] {
        for file in fs::read_dir(repository(place)).unwrap() {
            let path = file.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "toml") {
                continue;
            }
            seen += 1;
            let path = path.to_str().unwrap();
            folder.call(&["report", path, "--validate"]).expect(0);
            folder.call(&["plot", path, "--validate"]).expect(0);
        }
    }
    assert!(seen >= 10, "{seen} reports");
    let table = repository("reports/paper/table6.toml");
    let call = folder
        .call(&["report", table.to_str().unwrap(), "--format", "md"])
        .expect(0);
    assert!(
        call.out.contains("| Layers L = 6\\* | not run | *78.92* |"),
        "{}",
        call.out
    );
}

#[test]
fn the_page_is_served_while_stages_are_open() {
    let folder = Folder::new();
    let text = "[experiment]\ntitle = \"Open\"\n[stage.a]\nkind = \"nothing\"\n";
    fs::write(folder.path("e.toml"), text).unwrap();
    let check = folder.call(&["book", "e.toml", "--check"]).expect(1);
    assert!(
        check.out.contains("a: it has not been run"),
        "{}",
        check.out
    );
    let mut server = folder
        .command(&["book", "e.toml", "--watch", "--port", "0", "--json"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let out = server.stdout.take().unwrap();
    BufReader::new(out).read_line(&mut line).unwrap();
    let url: Value = serde_json::from_str(&line).unwrap();
    let address = url["url"]
        .as_str()
        .unwrap()
        .trim_start_matches("http://")
        .to_owned();
    let get = |path: &str| {
        let mut stream = TcpStream::connect(&address).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    let page = get("/");
    assert!(
        page.contains("not run") && page.contains("/watch.js"),
        "{page}"
    );
    let before = get("/version").lines().last().unwrap().to_owned();
    folder.call(&["run", "e.toml"]).expect(0);
    let version = || get("/version").lines().last().unwrap().to_owned();
    // The page is made anew once a second at most.
    let begun = std::time::Instant::now();
    while version() == before {
        assert!(begun.elapsed().as_secs() < 30, "the page does not change");
        std::thread::yield_now();
    }
    assert!(get("/watch.js").contains("/version"));
    server.kill().unwrap();
    server.wait().unwrap();
    folder.call(&["book", "e.toml", "--check"]).expect(0);
}
