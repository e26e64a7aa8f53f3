//! Reports and plots as their users meet them: records in files, tables out,
//! checked against committed ones.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::Stdio;

use serde_json::{Value, json};

use crate::browser::Browser;
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

#[test]
fn a_report_says_what_it_lacks() {
    let folder = folder();
    let without = REPORT.replace("[source]\nkind = \"file\"\nfrom = [\"records.csv\"]\n", "");
    fs::write(folder.path("r.toml"), &without).unwrap();
    for words in [["report", "r.toml"], ["plot", "r.toml"]] {
        let call = folder.call(&words).expect(2);
        assert!(
            call.err.contains("there is no `source`") && call.err.contains("kind = \"runs\""),
            "{}",
            call.err
        );
    }
    for (from, part) in [
        ("from = []", "needs `from`"),
        ("from = [\"wandb:a/b/c\"]", "write wandb:PROJECT"),
        (
            "from = [\"wandb:lab/novic\"]",
            "`kind = \"runs\"` reads runs",
        ),
    ] {
        let from = match from {
            "from = []" => "",
            from => from,
        };
        let text = REPORT.replace("from = [\"records.csv\"]", from);
        fs::write(folder.path("r.toml"), text).unwrap();
        let call = folder.call(&["report", "r.toml", "--validate"]).expect(2);
        assert!(call.err.contains(part), "{}", call.err);
    }
}

/// Prediction files of two models over forty samples, and their annotations.
fn predictions(folder: &Folder) {
    fs::create_dir(folder.path("preds")).unwrap();
    let samples: Vec<String> = (0..40).map(|at| format!("{at}.png")).collect();
    let annotations: serde_json::Map<String, Value> = samples
        .iter()
        .map(|name| {
            (
                name.clone(),
                json!({"correct_primary": ["fox"], "incorrect": ["key"]}),
            )
        })
        .collect();
    let annotations = Value::from(annotations).to_string();
    fs::write(folder.path("annotations.json"), annotations).unwrap();
    for (model, right) in [("good", 38), ("bad", 10), ("same", 37)] {
        let noun = |at: usize| if at < right { "fox" } else { "key" };
        let rows = |row: &dyn Fn(usize) -> Value| (0..40).map(|at| json!([row(at)])).collect();
        let pred: Vec<Value> = rows(&|at| noun(at).into());
        let score: Vec<Value> = rows(&|_| 0.5.into());
        let result: Vec<Value> = rows(&|_| 2.into());
        let file = json!({
            "version": 1, "model": format!("run/{model}"), "model_dir": "run", "model_name": model,
            "model_cfg": {}, "infer_cfg": {"infer_image_dir": "$SOURCE/demo"},
            "guide_targets": [], "vocab_targets": ["fox"], "samples": samples,
            "predictions": {"greedy": {
                "gen_cfg": {"topk": 1}, "pred": pred, "score": score, "result": result,
            }},
        });
        fs::write(
            folder.path("preds").join(format!("{model}.json")),
            file.to_string(),
        )
        .unwrap();
    }
}

#[test]
fn models_are_compared_sample_by_sample() {
    let folder = folder();
    predictions(&folder);
    let text = "compare_to = \"run/good\"\n[source]\nkind = \"predictions\"\nfrom = [\"preds/*.json\"]\n\
                [source.predictions]\nannotations = { human = \"annotations.json\" }\n\
                [rows]\nheader = \"Model\"\nby = [\"model.spec\"]\n[[col]]\nlabel = \"Score\"\n\
                value = \"pred.score\"\n[[col]]\nlabel = \"Interval\"\n\
                values = { low = \"pred.ci_lo\", high = \"pred.ci_hi\" }\n\
                format = \"{low:.1f} – {high:.1f}\"\nmark = false\nreference = true\n";
    fs::write(folder.path("c.toml"), text).unwrap();
    let call = folder
        .call(&["report", "c.toml", "--format", "md"])
        .expect(0);
    for part in [
        "| run/bad | 25.00 | -70.00† | *12.5 – 40.0* |",
        "| run/good | 95.00 | - | *87.5 – 100.0* |",
        "| run/same | 92.50 | -2.50 | ",
        "p &lt; 0.05 of paired resamples of the samples (10000, seed 1) in Score; 2 comparisons with \
         run/good were made",
    ] {
        assert!(call.out.contains(part), "no {part} in\n{}", call.out);
    }
    let json = folder.call(&["report", "c.toml", "--json"]).expect(0);
    let table: Value = serde_json::from_str(&json.out).unwrap();
    let cells = |row: usize| table[0]["groups"][0]["rows"][row]["cells"][1].clone();
    assert!(cells(0)["p"].as_f64().unwrap() < 0.001, "{table:#}");
    assert!(cells(2)["p"].as_f64().unwrap() > 0.05, "{table:#}");
    assert!(cells(0)["stats"]["ci_hi"].as_f64().unwrap() < -50.0);
}

#[test]
fn pictures_are_drawn_with_what_models_wrote() {
    let folder = folder();
    predictions(&folder);
    for name in ["fox", "key"] {
        let to = if name == "fox" { "0.png" } else { "1.png" };
        fs::copy(
            folder.path(&format!("demo/{name}.png")),
            folder.path("demo").join(to),
        )
        .unwrap();
    }
    let text = "[source]\nkind = \"samples\"\nfrom = [\"preds/*.json\"]\n\
                [source.predictions]\nannotations = { human = \"annotations.json\" }\n\
                [plot.pictures]\nkind = \"gallery\"\ntitle = \"Two & more\"\ntop = 3\n\
                label = \"{model.name}\"\nwhere = { \"model.name\" = { ne = \"same\" } }\n";
    fs::write(folder.path("g.toml"), text).unwrap();
    let words = ["plot", "g.toml", "--format", "svg,png,pdf", "--out", "p"];
    folder.call(&words).expect(0);
    let svg = fs::read_to_string(folder.path("p/pictures.svg")).unwrap();
    // Two of the three pictures are there; the third has its name.
    assert_eq!(svg.matches("href=\"data:image/png;base64,").count(), 2);
    for part in [
        "Two &amp; more",
        ">2.png<",
        ">good: fox<",
        ">50.0 %<",
        "#18794E",
    ] {
        assert!(svg.contains(part), "no {part} in\n{svg}");
    }
    let png = image::open(folder.path("p/pictures.png"))
        .unwrap()
        .to_rgb8();
    let vivid = |pixel: &image::Rgb<u8>| {
        let [r, g, b] = pixel.0;
        r > 200 && g > 60 && g < 190 && b < 90
    };
    assert!(
        png.pixels().filter(|pixel| vivid(pixel)).count() > 2000,
        "no fox in the PNG"
    );
    let pdf = fs::read(folder.path("p/pictures.pdf")).unwrap();
    let has = |name: &[u8]| pdf.windows(name.len()).any(|part| part == name);
    assert!(has(b"/Image"), "no picture in the PDF");

    // An experiment draws what its stages left.
    let file = repository("tests/program/tiny.toml");
    let text = format!(
        "extends = {:?}\n[plot.shown]\nkind = \"gallery\"\ntop = 2\n",
        file.to_str().unwrap()
    );
    fs::write(folder.path("e.toml"), text).unwrap();
    let empty = folder
        .call(&["plot", "e.toml", "--name", "shown"])
        .expect(0);
    assert!(empty.err.contains("plot `shown` is empty"), "{}", empty.err);
    folder.call(&["run", "e.toml"]).expect(0);
    let words = ["plot", "e.toml", "--name", "shown", "--out", "p"];
    folder.call(&words).expect(0);
    let svg = fs::read_to_string(folder.path("p/shown.svg")).unwrap();
    assert!(
        svg.matches("<image ").count() >= 2 && svg.contains("noun of"),
        "{svg}"
    );
    // The machine and the command line of the training are fields of its runs.
    let sql = "SELECT \"train.tag\" AS tag, \"train.command\" AS words, gencfg, valid FROM records \
               WHERE \"run.action\" = 'infer'";
    let call = folder.call(&["report", "--json", "--sql", sql]).expect(0);
    let rows: Value = serde_json::from_str(&call.out).unwrap();
    assert!(!rows[0]["tag"].as_str().unwrap().is_empty(), "{rows}");
    assert!(rows[0]["words"].to_string().contains("e.toml"), "{rows}");
    assert!(
        rows[0]["valid"].is_number() && rows[0]["gencfg"].is_string(),
        "{rows}"
    );
}

#[test]
fn rows_of_pages_are_sorted_by_their_headers() {
    let folder = folder();
    let records = "layers,seed,top1\n4,1,50\n6,1,9.5\n8,1,\n10,1,60.5\n8,2,70\n";
    fs::write(folder.path("records.csv"), records).unwrap();
    let text = REPORT.replace("expected = \"$seeds\"", "expected = 1");
    let text = text.replace("[rows]", "[[table]]\nwhere = { seed = 1 }\n[table.rows]");
    let text = text.replace("[[col]]", "[[table.col]]").replace("±", "+");
    fs::write(folder.path("r.toml"), text).unwrap();
    let words = ["report", "r.toml", "--format", "html", "--out", "t"];
    folder.call(&words).expect(0);
    let Some(mut browser) = Browser::start() else {
        return;
    };
    browser.open(&format!("file://{}", folder.path("t/r.html").display()));
    let order = "[...document.querySelectorAll('tbody th')].map((head) => head.textContent).join()";
    let sorted = "document.querySelectorAll('thead th')[1].getAttribute('aria-sort')";
    assert_eq!(browser.value(order), "4,6,8,10");
    // To the header of the numbers with the keyboard alone.
    browser.press("Tab");
    browser.press("Tab");
    browser.press("Enter");
    assert_eq!(browser.value(sorted), "descending");
    assert_eq!(
        browser.value(order),
        "10,4,6,8",
        "what is missing comes last"
    );
    browser.press("Enter");
    assert_eq!(browser.value(sorted), "ascending");
    assert_eq!(browser.value(order), "6,4,10,8");
    browser.press("Enter");
    assert!(browser.value(sorted).is_null());
    assert_eq!(browser.value(order), "4,6,8,10");
    assert_eq!(browser.complaints, Vec::<String>::new());
}
