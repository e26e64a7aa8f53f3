//! Every command of the guide does what it is shown for: the blocks of shell
//! commands are run, page after page, in a project with the shrunken quick
//! start. Blocks marked `sh,elsewhere` need a network, a key or much time; the
//! commands in them must be ones that the program understands.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use pulldown_cmark::{CodeBlockKind, Event, Parser, Tag, TagEnd};
use serde_json::Value;

use crate::folder::{Call, Folder, repository};

/// The pages, in the order in which a reader meets them; later ones need the
/// runs of the first.
const PAGES: [&str; 11] = [
    "tutorial.md",
    "from-the-original.md",
    "guide.md",
    "reports.md",
    "howto/own-images.md",
    "howto/own-nouns.md",
    "howto/own-embedder.md",
    "howto/noise-sweep.md",
    "howto/cluster.md",
    "howto/paper-tables.md",
    "howto/annotation.md",
];

/// `novic` as the blocks call it: the server is ended once it listens, and
/// comparisons may answer that there are differences.
const NOVIC: &str = r#"#!/bin/bash
case "$1 $2" in
serve*)
    mkfifo listening
    "$NOVIC_PROGRAM" "$@" --port 0 > listening &
    read -r line < listening
    rm listening
    kill -INT $!
    wait $!
    [[ $line == "listening on http://"* ]] ;;
"checkpoint diff" | "cache diff") "$NOVIC_PROGRAM" "$@" || [ $? = 1 ] ;;
*) exec "$NOVIC_PROGRAM" "$@" ;;
esac
"#;

/// What `cargo run --release -- …` stands for.
const CARGO: &str =
    "#!/bin/bash\n[[ \"$1 $2 $3\" == 'run --release --' ]] && exec novic \"${@:4}\"\n";

struct Block {
    text: String,
    elsewhere: bool,
    line: usize,
}

fn blocks(page: &str) -> Vec<Block> {
    let text = fs::read_to_string(repository("docs").join(page)).unwrap();
    let mut found: Vec<Block> = Vec::new();
    let mut inside = false;
    for (event, range) in Parser::new(&text).into_offset_iter() {
        match event {
            Event::Start(Tag::CodeBlock(CodeBlockKind::Fenced(info))) => {
                let mut words = info.split(',').map(str::trim);
                inside = words.next() == Some("sh");
                let elsewhere = match words.next() {
                    None => false,
                    Some("elsewhere") => true,
                    Some(other) => panic!("{page}: a block of shell commands is `{other}`"),
                };
                if inside {
                    found.push(Block {
                        text: String::new(),
                        elsewhere,
                        line: text[..range.start].lines().count() + 1,
                    });
                }
            }
            Event::Text(code) if inside => {
                if let Some(block) = found.last_mut() {
                    block.text.push_str(&code);
                }
            }
            Event::End(TagEnd::CodeBlock) => inside = false,
            _ => {}
        }
    }
    found
}

#[test]
fn every_command_of_the_guide_does_what_it_is_shown_for() {
    let project = Sandbox::new();
    let mut run = 0;
    for page in PAGES {
        let blocks = blocks(page);
        assert!(!blocks.is_empty(), "{page} has no commands");
        for block in blocks {
            if block.elsewhere {
                understood(page, &block);
                continue;
            }
            project.run(page, &block);
            run += 1;
        }
        if page == "tutorial.md" {
            project.prepare_files();
        }
    }
    assert!(run > PAGES.len());
}

#[test]
fn commands_of_other_pages_are_ones_that_exist() {
    for entry in fs::read_dir(repository("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") && !PAGES.contains(&name.as_str()) {
            for block in blocks(&name) {
                understood(&name, &block);
            }
        }
    }
}

/// Commands that cannot be run here are at least ones that exist.
fn understood(page: &str, block: &Block) {
    let text = block.text.replace("\\\n", " ");
    let commands = text.lines().filter(|line| line.starts_with("novic "));
    for command in commands {
        let Some(words) = shlex::split(command) else {
            panic!("{page}:{}: {command}", block.line);
        };
        // What is behind a redirection or a pipe is not the command's.
        let own = words.split(|word| [">", ">>", "|", ";"].contains(&word.as_str()));
        let read = novic::cli::command().try_get_matches_from(own.take(1).flatten());
        if let Err(error) = read
            && error.use_stderr()
        {
            panic!("{page}:{}: {command}\n{error}", block.line);
        }
    }
}

/// A project that looks like a clone of the repository to those who work in it.
struct Sandbox(Folder);

impl Sandbox {
    fn new() -> Self {
        let folder = Folder::new();
        copy(&repository("experiments"), &folder.path("experiments"));
        copy(&repository("sweeps"), &folder.path("sweeps"));
        symlink(repository("schema"), folder.path("schema")).unwrap();
        for picture in ["extras/demo", "photos", "classes/fox", "more"] {
            fs::create_dir_all(folder.path(picture)).unwrap();
        }
        copy(&folder.path("demo"), &folder.path("extras/demo"));
        copy(&folder.path("demo"), &folder.path("photos"));
        fs::copy(folder.path("demo/fox.png"), folder.path("picture.png")).unwrap();
        fs::copy(
            folder.path("demo/fox.png"),
            folder.path("classes/fox/1.png"),
        )
        .unwrap();
        let picture = image::open(folder.path("demo/key.png")).unwrap().to_rgb8();
        picture.save(folder.path("more/key.jpg")).unwrap();
        // The quick start is the shrunken one.
        let quickstart = folder.path("experiments/quickstart.toml");
        fs::rename(&quickstart, folder.path("experiments/full.toml")).unwrap();
        let tiny = fs::read_to_string(repository("tests/program/tiny.toml")).unwrap();
        let tiny = tiny.replace("../../experiments/quickstart.toml", "full.toml");
        fs::write(quickstart, tiny).unwrap();
        fs::create_dir(folder.path("home")).unwrap();
        fs::create_dir(folder.path("bin")).unwrap();
        for (name, text) in [("novic", NOVIC), ("cargo", CARGO)] {
            let path = folder.path("bin").join(name);
            fs::write(&path, text).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        }
        Self(folder)
    }

    /// What the guide takes for granted: files with the names that it uses.
    fn prepare_files(&self) {
        let folder = &self.0;
        let cache = folder.output_of("convert_noun_dataset").join("cache.bin");
        for name in ["cache.bin", "a.bin", "b.bin"] {
            fs::copy(&cache, folder.path(name)).unwrap();
        }
        fs::create_dir(folder.path("caches")).unwrap();
        fs::write(folder.path("captions.json"), "[]").unwrap();
        let old = folder.path("outputs/ovod_20240610_105233/hydra");
        fs::create_dir_all(&old).unwrap();
        fs::write(old.join("config.yaml"), "action: train\nlr_warmup: 2\n").unwrap();
        let runs = self.trained();
        let newest = runs.last().unwrap();
        let convert = ["checkpoint", "convert", newest, "X.train"];
        folder.call(&convert).expect(0);
    }

    /// Ids of the runs that trained a decoder, the oldest first.
    fn trained(&self) -> Vec<String> {
        let list = self.0.call(&["ls", "--json", "--last", "0"]).expect(0);
        let list: Vec<Value> = serde_json::from_str(&list.out).unwrap();
        let trained = |run: &&Value| {
            let mut stages = run["stages"].as_array().unwrap().iter();
            stages.any(|stage| stage["kind"] == "train" && stage["outcome"] == "done")
        };
        let ids = list.iter().filter(trained);
        ids.map(|run| run["run"].as_str().unwrap().to_owned())
            .collect()
    }

    fn run(&self, page: &str, block: &Block) {
        let folder = &self.0;
        let mut text = block.text.clone();
        let runs = self.trained();
        if let (Some(first), Some(last)) = (runs.first(), runs.last()) {
            let end = &first[first.len() - 6..];
            for (name, value) in [
                ("RUN", last.as_str()),
                ("OTHER", first),
                ("170509", end),
                ("SPEC", "openclip:novic/drawings"),
            ] {
                text = text.replace(&format!(" {name} "), &format!(" {value} "));
            }
        }
        let novic = folder.command(&[]);
        let path = std::env::var("PATH").unwrap_or_default();
        let bin = folder.path("bin");
        let mut command = Command::new("bash");
        command
            .args(["-eu", "-o", "pipefail", "-c", &text])
            .current_dir(folder.path("."))
            .env("NOVIC_PROGRAM", novic.get_program())
            .env("PATH", format!("{}:{path}", bin.display()))
            .env("HOME", folder.path("home"))
            .env("COLUMNS", "100");
        let call = Call::from(command.output().unwrap());
        assert_eq!(
            call.code,
            Some(0),
            "docs/{page}:{}\n{text}--- standard output\n{}\n--- standard error\n{}",
            block.line,
            call.out,
            call.err
        );
    }
}

/// Copies the files of a folder and of those in it.
fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            fs::copy(&path, target).unwrap();
        }
    }
}
