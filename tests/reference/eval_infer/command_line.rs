//! `cli.json`: the command that classifies pictures.

use std::sync::Arc;

use clap::Parser;
use indicatif::ProgressBar;
use novic::cli::{Exit, InferArgs, InferIo, infer};
use novic::infer::NovicModelBuilder;
use novic::runner::Interrupt;

use super::AREA;
use super::stand_in::{StandIn, model_of};
use crate::golden;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: InferArgs,
}

/// Exit code and printed lines, the last line of the log included.
fn call(argv: &[String]) -> (u8, Vec<String>) {
    let words = ["infer".to_owned(), "--color=always".to_owned()];
    let line = match Line::try_parse_from(words.iter().chain(argv)) {
        Ok(line) => line,
        Err(error) => return (u8::try_from(error.exit_code()).unwrap(), Vec::new()),
    };
    let model = argv
        .iter()
        .find(|word| word.contains("/checkpoints/"))
        .map(|path| model_of(path));
    let (mut out, mut log) = (Vec::new(), Vec::new());
    let outcome = infer(
        &line.args,
        |builder: NovicModelBuilder| match &model {
            Some(model) => builder.embedder(Arc::new(StandIn::of(model))).build(),
            None => builder.build(),
        },
        InferIo {
            input: Box::new(std::io::empty()),
            out: &mut out,
            log: &mut |line| log.push(line.to_owned()),
            colours: true,
            progress: ProgressBar::hidden(),
            interrupt: Interrupt::new(),
        },
    );
    let exit = outcome.unwrap_or_else(|error| error.exit);
    let text = String::from_utf8(out).unwrap();
    let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
    lines.extend(log.into_iter().filter(|line| line.starts_with("Finished")));
    (exit.code(), lines)
}

/// Parts of a line that are percentages, and the rest of it.
fn split(line: &str) -> (String, Vec<f64>) {
    let (mut rest, mut numbers) = (String::new(), Vec::new());
    for word in line.split(' ') {
        match word
            .strip_suffix('%')
            .and_then(|number| number.parse().ok())
        {
            Some(number) => numbers.push(number),
            None => {
                rest.push_str(word);
                rest.push(' ');
            }
        }
    }
    (rest, numbers)
}

#[test]
fn arguments_give_the_lines_of_the_original() {
    let cases = golden::json(AREA, "cli.json");
    let cases = cases.as_array().unwrap();
    assert!(!cases.is_empty());
    let folder = tempfile::tempdir().unwrap();
    let objects = golden::json(AREA, "model_object.json");
    let file = objects["cases"].as_array().unwrap().iter();
    let file = file.clone().find(|case| case["guide_is_file"] == true);
    let guide = folder.path().join("guide.txt");
    std::fs::write(&guide, file.unwrap()["guide"].as_str().unwrap()).unwrap();
    let area = golden::area(AREA);
    let mut compared = 0;
    for case in cases {
        let what = case["argv"].to_string();
        let argv: Vec<String> = serde_json::from_value(case["argv"].clone()).unwrap();
        let argv: Vec<String> = argv
            .into_iter()
            .map(|word| match word.as_str() {
                "/golden/guide.txt" => guide.display().to_string(),
                "/golden" => area.join("images").display().to_string(),
                _ => match word.strip_prefix("/golden/outputs/") {
                    Some(tail) => area.join("checkpoints").join(tail).display().to_string(),
                    None => word,
                },
            })
            .collect();
        let (exit, lines) = call(&argv);
        let expected = case["exit"].as_u64().unwrap();
        let missing_checkpoint = argv.iter().any(|word| word.ends_with("none.train"));
        if expected == 1 && !missing_checkpoint {
            // Inputs that cannot be read are left out, and the rest is done;
            // a batch of 0 is all, and names in another form are accepted.
            let unread = ["missing", "notes"];
            let unread = argv
                .iter()
                .any(|word| unread.iter().any(|known| word.contains(known)));
            let code = if unread {
                Exit::SomeInputsFailed
            } else {
                Exit::Success
            };
            assert_eq!(exit, code.code(), "{what}: {lines:?}");
            let given = argv.iter().filter(|word| word.starts_with("own/")).count();
            assert_eq!(lines.len(), given + 1 - usize::from(unread), "{what}");
            continue;
        }
        assert_eq!(u64::from(exit), expected, "{what}: {lines:?}");
        let expected: Vec<String> = serde_json::from_value(case["lines"].clone()).unwrap();
        assert_eq!(lines.len(), expected.len(), "{what}: {lines:?}");
        for (own, expected) in lines.iter().zip(&expected) {
            let ((own, numbers), (expected, percentages)) = (split(own), split(expected));
            assert_eq!(own, expected, "{what}");
            assert_eq!(numbers.len(), percentages.len(), "{what}");
            for (own, expected) in numbers.iter().zip(&percentages) {
                // One in the last of three digits.
                assert!(
                    (own - expected).abs() <= 0.011 * expected,
                    "{what}: {own} {expected}"
                );
            }
            compared += 1;
        }
    }
    assert!(compared > 0);
}
