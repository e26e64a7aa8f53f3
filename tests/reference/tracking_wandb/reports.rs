//! Reports over runs at the service, and over the same runs in the store.

use std::fs;
use std::path::Path;
use std::process::Output;

use serde_json::json;

use super::server::{Server, TlsFront, said, tool};

const REPORT: &str = r#"
[params]
from = "local"
[source.runs]
kind = "runs"
from = ["$from"]
where = { "run.state" = "finished" }
[source.samples]
kind = "samples"
from = ["$from"]
[source.metrics]
kind = "metrics"
from = ["$from"]
[[table]]
name = "decoding"
where = { "run.action" = "eval_cls_decoding" }
[table.rows]
header = "Model"
by = ["model.spec", "dataset", "dataset.split", "gencfg", "train.config.num_layers"]
union = ["runs"]
[[table.col]]
foreach = { k = [1, 3] }
label = "Top-{k}"
source = "runs"
value = "top{k}"
format = "{value}"
[[table.col]]
label = "Low"
source = "runs"
value = "top1_low"
format = "{value}"
[[table.col]]
label = "Tag"
source = "runs"
value = "train.tag"
agg = "last"
format = "{value}"
[[table.col]]
label = "Seed"
source = "runs"
value = "train.seed"
agg = "last"
format = "{value}"
[[table.col]]
label = "Batch"
source = "runs"
value = "train.config.effective_batch"
format = "{value}"
[[table]]
name = "inference"
where = { "run.action" = "infer" }
[table.rows]
by = ["model.spec", "gencfg"]
union = ["runs"]
[[table.col]]
label = "Valid"
source = "runs"
value = "valid"
format = "{value}"
[[table.col]]
label = "Samples"
source = "runs"
value = "num_samples"
format = "{value}"
[[table.col]]
foreach = { s = ["fox.png", "key.png"] }
label = "{s}"
source = "samples"
where = { "sample" = "{s}" }
value = "noun@1"
agg = "last"
format = "{value}"
[[table]]
name = "loss"
[table.rows]
by = ["model.dir", "sample"]
union = ["metrics"]
[[table.col]]
label = "Loss"
source = "metrics"
value = "loss"
format = "{value}"
"#;

/// A project with a run of the shrunken quick start, mirrored to a server.
fn mirrored(server: &Server, dir: &Path) {
    let repository = Path::new(env!("CARGO_MANIFEST_DIR"));
    fs::create_dir(dir.join("demo")).unwrap();
    for name in ["fox.png", "key.png", "snail.png"] {
        let from = repository.join("extras/demo").join(name);
        fs::copy(from, dir.join("demo").join(name)).unwrap();
    }
    let file = repository.join("tests/program/tiny.toml");
    let words = [
        "run",
        file.to_str().unwrap(),
        "tracking.wandb.mode=online",
        "tracking.entity=tester",
        "tracking.wandb.flush_interval=0.1",
    ];
    let run = server.novic(dir, &words).output().unwrap();
    assert!(run.status.success(), "{}", said(&run));
}

#[test]
fn reports_of_the_service_and_of_the_store_are_the_same() {
    let server = Server::start(&json!([]));
    let dir = tempfile::tempdir().unwrap();
    mirrored(&server, dir.path());
    fs::write(dir.path().join("r.toml"), REPORT).unwrap();
    let report = |more: &[&str]| -> Output {
        let words = [&["report", "r.toml", "--format", "md"], more].concat();
        server.novic(dir.path(), &words).output().unwrap()
    };
    let local = report(&[]);
    assert!(local.status.success(), "{}", said(&local));
    let remote = report(&["from=wandb:tester/novic"]);
    assert!(remote.status.success(), "{}", said(&remote));
    let (local, remote) = (
        String::from_utf8_lossy(&local.stdout),
        String::from_utf8_lossy(&remote.stdout),
    );
    assert_eq!(local, remote);
    // The tables have rows with numbers.
    let rows = local.lines().filter(|line| line.contains("| ovod")).count();
    assert!(rows > 4, "{local}");
    assert!(local.contains("| 100 | 3 | "), "{local}");

    let failed = |mut command: std::process::Command, code: i32, part: &str| {
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", said(&output));
        assert!(said(&output).contains(part), "{}", said(&output));
    };
    let words = ["report", "r.toml", "from=wandb:tester/novic"];
    let mut without_key = server.novic(dir.path(), &words);
    without_key
        .env_remove("WANDB_API_KEY")
        .env("NETRC", dir.path().join("none"));
    failed(without_key, 4, "there is no API key");
    let words = [
        "report",
        "r.toml",
        "from=wandb:tester/other",
        "--name",
        "decoding",
    ];
    let empty = server.novic(dir.path(), &words).output().unwrap();
    assert!(empty.status.success(), "{}", said(&empty));
}

#[test]
fn reports_trust_the_certificates_that_they_or_the_configuration_name() {
    let server = Server::start(&json!([]));
    let front = TlsFront::start(&server);
    let dir = tempfile::tempdir().unwrap();
    fs::copy(tool("tls/ca.pem"), dir.path().join("ca.pem")).unwrap();
    let file = |name: &str, more: &str| {
        let text = format!(
            "[source]\nkind = \"runs\"\nfrom = [\"wandb:tester/p\"]\n{more}\n\
             [rows]\nby = [\"dataset\"]\n[[col]]\nlabel = \"Top-1\"\nvalue = \"top1\"\n"
        );
        fs::write(dir.path().join(name), text).unwrap();
    };
    file("without.toml", "");
    file("with.toml", "ca_file = \"ca.pem\"");
    file(
        "samples.toml",
        "ca_file = \"ca.pem\"\n[source.predictions]\nfiles = [\"wandb:tester/p\"]",
    );
    file("wrong.toml", "ca_file = \"none.pem\"");
    let report = |name: &str, variable: Option<&str>| {
        let mut command = server.novic(dir.path(), &["report", name]);
        command.env("WANDB_BASE_URL", &front.url);
        command.envs(variable.map(|path| ("NOVIC__TRACKING__WANDB__CA_FILE", path)));
        command.output().unwrap()
    };
    let output = report("without.toml", None);
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(said(&output).contains("certificate"), "{}", said(&output));
    for output in [
        report("with.toml", None),
        report("samples.toml", None),
        report("without.toml", Some("ca.pem")),
    ] {
        assert!(output.status.success(), "{}", said(&output));
        assert!(said(&output).contains("Top-1"), "{}", said(&output));
    }
    let output = report("wrong.toml", Some("ca.pem"));
    assert_eq!(output.status.code(), Some(1), "{}", said(&output));
    assert!(
        said(&output).contains("there is no file none.pem"),
        "{}",
        said(&output)
    );
}
