//! Downloads from a server that does everything wrong.

use std::path::Path;
use std::time::Duration;

use super::download::{DownloadError, Downloader, Fetch, Patience, Silent, sha256};
use super::hub::{Hub, HubError};
use super::loopback::{Reply, Request, Server};

fn downloader() -> Downloader {
    Downloader::new(Patience {
        attempts: 3,
        first_wait: Duration::ZERO,
    })
    .unwrap()
}

fn body() -> Vec<u8> {
    (0..300_000u32).map(|i| (i * 7 % 251) as u8).collect()
}

fn fetch<'a>(address: &'a str, target: &'a Path) -> Fetch<'a> {
    Fetch {
        address,
        target,
        token: None,
        sha256: None,
        size: None,
        limit: 1 << 20,
    }
}

#[test]
fn cut_connections_are_continued() {
    let server = Server::start(|number, request| {
        let reply = Reply::part_of(&body(), request).with("ETag", "\"v1\"");
        if number < 4 {
            reply.cut_after(60_000)
        } else {
            reply
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("sub/file.bin");
    let hash = downloader()
        .fetch(&fetch(&server.address, &target), &mut Silent)
        .unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), body());
    assert_eq!(hash, sha256(&target).unwrap());
    let seen = server.seen();
    assert_eq!(seen.len(), 5);
    assert_eq!(seen[4].range(), Some(240_000));
    assert_eq!(seen[4].header("if-range"), Some("\"v1\""));
    // Nothing else is left behind.
    assert_eq!(
        std::fs::read_dir(target.parent().unwrap()).unwrap().count(),
        1
    );
}

#[test]
fn a_changed_file_begins_anew() {
    let server = Server::start(|number, request| match number {
        0 => Reply::ok(&[9; 1000]).with("ETag", "\"old\"").cut_after(500),
        // The tag does not fit: servers send the whole new file.
        _ => {
            assert_eq!(request.header("if-range"), Some("\"old\""));
            Reply::ok(&body()).with("ETag", "\"new\"")
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let done = downloader().fetch(&fetch(&server.address, &target), &mut Silent);
    done.unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), body());
}

#[test]
fn an_interrupted_download_is_resumed_by_the_next_run() {
    let server = Server::start(|number, request| {
        let reply = Reply::part_of(&body(), request);
        match number {
            0 => reply.cut_after(100_000),
            1..=3 => Reply::status(503),
            _ => reply,
        }
    });
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let request = fetch(&server.address, &target);
    let error = downloader().fetch(&request, &mut Silent).unwrap_err();
    assert!(matches!(error, DownloadError::Connection { .. }), "{error}");
    assert!(!target.exists());
    downloader().fetch(&request, &mut Silent).unwrap();
    assert_eq!(std::fs::read(&target).unwrap(), body());
    assert_eq!(server.seen().last().unwrap().range(), Some(100_000));
}

#[test]
fn servers_that_are_busy_are_asked_again() {
    for status in [429, 500, 502, 503, 504] {
        let server = Server::start(move |number, _| match number {
            0 => Reply::status(status).with("Retry-After", "0"),
            1 => Reply::status(status),
            _ => Reply::ok(b"content"),
        });
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file");
        downloader()
            .fetch(&fetch(&server.address, &target), &mut Silent)
            .unwrap();
        assert_eq!(std::fs::read(&target).unwrap(), b"content", "{status}");
    }
}

#[test]
fn refusals_are_not_repeated() {
    for (status, word) in [
        (401, "HF_TOKEN"),
        (403, "HF_TOKEN"),
        (404, "not found"),
        (418, "418"),
    ] {
        let server = Server::start(move |_, _| Reply::status(status));
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("file");
        let error = downloader()
            .fetch(&fetch(&server.address, &target), &mut Silent)
            .unwrap_err();
        assert!(error.to_string().contains(word), "{error}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn wrong_content_is_removed() {
    let server = Server::start(|_, request| Reply::part_of(b"content", request));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let request = Fetch {
        sha256: Some("00"),
        ..fetch(&server.address, &target)
    };
    let error = downloader().fetch(&request, &mut Silent).unwrap_err();
    assert!(matches!(error, DownloadError::Hash { .. }), "{error}");
    let request = Fetch {
        size: Some(6),
        ..fetch(&server.address, &target)
    };
    let error = downloader().fetch(&request, &mut Silent).unwrap_err();
    assert!(
        matches!(
            error,
            DownloadError::Length {
                found: 7,
                wanted: 6,
                ..
            }
        ),
        "{error}"
    );
    let request = Fetch {
        limit: 6,
        ..fetch(&server.address, &target)
    };
    let error = downloader().fetch(&request, &mut Silent).unwrap_err();
    assert!(matches!(error, DownloadError::TooLarge { .. }), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}

#[test]
fn tokens_go_to_the_first_host_only() {
    let other = Server::start(|_, _| Reply::ok(b"content"));
    let place = other.address.clone();
    let server = Server::start(move |_, _| Reply::status(302).with("Location", place.clone()));
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let request = Fetch {
        token: Some("secret"),
        ..fetch(&server.address, &target)
    };
    downloader().fetch(&request, &mut Silent).unwrap();
    assert_eq!(
        server.seen()[0].header("authorization"),
        Some("Bearer secret")
    );
    assert_eq!(other.seen()[0].header("authorization"), None);
    // Endless redirects end.
    let server = Server::start(|_, _| Reply::status(302).with("Location", "/again"));
    let request = fetch(&server.address, &target);
    assert!(downloader().fetch(&request, &mut Silent).is_err());
}

#[test]
fn one_process_downloads_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let target = folder.path().join("file");
    let lock = std::fs::File::create(folder.path().join("file.lock")).unwrap();
    lock.lock().unwrap();
    let error = downloader()
        .fetch(&fetch("http://127.0.0.1:9/", &target), &mut Silent)
        .unwrap_err();
    assert!(matches!(error, DownloadError::Busy { .. }), "{error}");
}

/// A hub with one repository.
fn hub(request: &Request) -> Reply {
    const COMMIT: &str = "0123abcd";
    let weights = body();
    match request.path.as_str() {
        "/api/models/owner/model/revision/main" => Reply::ok(
            format!(
                r#"{{"sha": "{COMMIT}", "siblings": [{{"rfilename": "config.json"}},
                    {{"rfilename": "weights.bin"}}, {{"rfilename": "../evil"}}]}}"#
            )
            .as_bytes(),
        ),
        "/owner/model/resolve/0123abcd/config.json" => Reply::ok(b"{}").with("ETag", "\"c0ffee\""),
        "/owner/model/resolve/0123abcd/weights.bin" if request.method == "HEAD" => {
            Reply::status(302)
                .with("Location", "/elsewhere")
                .with("X-Linked-Size", weights.len().to_string())
                .with("X-Linked-ETag", format!("\"{}\"", hash_of(&weights)))
        }
        "/owner/model/resolve/0123abcd/weights.bin" => {
            Reply::status(302).with("Location", "/elsewhere")
        }
        "/elsewhere" => Reply::part_of(&weights, request),
        _ => Reply::status(404),
    }
}

fn hash_of(content: &[u8]) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("content");
    std::fs::write(&path, content).unwrap();
    sha256(&path).unwrap()
}

#[test]
fn repositories_land_in_the_standard_cache() {
    let server = Server::start(|number, request| {
        let reply = hub(request);
        // The large file breaks once.
        if request.path == "/elsewhere" && number < 6 {
            reply.cut_after(1000)
        } else {
            reply
        }
    });
    let cache = tempfile::tempdir().unwrap();
    let mut hub = Hub {
        endpoint: server.address.clone(),
        cache: cache.path().to_owned(),
        token: None,
        offline: false,
    };
    let downloader = downloader();
    let listing = hub.list(&downloader, "owner/model", "main").unwrap();
    assert_eq!(listing.files, ["config.json", "weights.bin"]);
    let files = listing.files.clone();
    let fetch = |hub: &Hub| {
        hub.fetch(
            &downloader,
            "owner/model",
            "main",
            &listing,
            &files,
            &mut Silent,
        )
    };
    let snapshot = fetch(&hub).unwrap();
    let root = cache.path().join("models--owner--model");
    assert_eq!(snapshot, root.join("snapshots/0123abcd"));
    assert_eq!(std::fs::read(snapshot.join("weights.bin")).unwrap(), body());
    assert_eq!(
        std::fs::read_to_string(root.join("refs/main")).unwrap(),
        "0123abcd"
    );
    assert!(root.join("blobs").join(hash_of(&body())).is_file());
    // What is there is not asked for again.
    let before = server.seen().len();
    fetch(&hub).unwrap();
    assert_eq!(server.seen().len(), before);
    let missing = hub.list(&downloader, "owner/none", "main").unwrap_err();
    assert!(missing.to_string().contains("404"), "{missing}");
    hub.offline = true;
    let offline = hub.list(&downloader, "owner/model", "main").unwrap_err();
    assert!(matches!(offline, HubError::Offline { .. }), "{offline}");
}
