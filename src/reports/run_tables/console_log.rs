//! Predictions out of console logs, as old runs of the original left them.

use std::sync::LazyLock;

use regex::Regex;

use crate::reports::predictions::normal_form;

/// What a log says about one model.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogPredictions {
    /// Samples with their nouns, in order.
    pub nouns: Vec<(String, String)>,
    /// What is odd.
    pub warnings: Vec<String>,
}

/// Finds what was predicted with the model `spec`.
pub fn parse_log(log: &str, spec: &str) -> LogPredictions {
    let mut found = LogPredictions::default();
    let mut warn = |text: &str| found.warnings.push(format!("{text}: {spec}"));
    let lines: Vec<&str> = log.lines().collect();
    let loads = |line: &&str| {
        let path = line.split_once("] Loading model: ").map(|(_, path)| path);
        path.is_some_and(|path| {
            let dir = path.strip_suffix(spec);
            dir.is_some_and(|dir| dir.ends_with('/'))
        })
    };
    let Some(start) = lines.iter().position(loads) else {
        warn("Failed to locate inference result for model despite having a result row");
        return found;
    };
    if lines[start + 1..].iter().any(loads) {
        warn("Encountered multiple inference results within the same log for the same model");
    }
    let after = &lines[start + 1..];
    let begins =
        |line: &&str| line.ends_with("] Inferencing loaded model on the generated embeddings...");
    let (begin, end) = match (
        after.iter().position(begins),
        after.iter().position(|line| is_rule(line)),
    ) {
        (Some(begin), Some(end)) if begin < end => (begin, end),
        (Some(_), Some(_)) => {
            warn("Failed to parse inference results due to pre/post line order mismatch");
            return found;
        }
        _ => {
            warn("Failed to parse inference results because the log ends before them");
            return found;
        }
    };
    for line in &after[begin + 1..end] {
        let Some((sample, noun)) = prediction(line) else {
            continue;
        };
        let noun = normal_form(noun);
        match found.nouns.iter_mut().find(|(known, _)| known == sample) {
            Some((_, known)) => *known = noun,
            None => found.nouns.push((sample.to_owned(), noun)),
        }
    }
    if found.nouns.is_empty() {
        found.warnings.push(format!(
            "Failed to locate any prediction lines for the model: {spec}"
        ));
    }
    found
}

/// `] ` and at least 40 dashes at the end.
fn is_rule(line: &str) -> bool {
    let rest = line.trim_end_matches('-');
    line.len() - rest.len() >= 40 && rest.ends_with("] ")
}

/// `] KEY --> NOUN`: the key is everything up to the last ` -->`.
fn prediction(line: &str) -> Option<(&str, &str)> {
    static LINE: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"^.*?\] (.*) -->(.*)$").ok());
    let parts = LINE.as_ref()?.captures(line)?;
    Some((parts.get(1)?.as_str(), parts.get(2)?.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(lines: &[&str]) -> String {
        let lines = lines
            .iter()
            .map(|line| format!("[ INFO][01-Jan-24 00:00:00] {line}\n"));
        lines.collect()
    }

    #[test]
    fn logs_that_end_early_are_no_crash() {
        let begin = "Inferencing loaded model on the generated embeddings...";
        let rule = "-".repeat(40);
        for (lines, expected) in [
            (vec![], "despite having a result row: d/m"),
            (
                vec!["Loading model: /x/d/m"],
                "the log ends before them: d/m",
            ),
            (
                vec!["Loading model: /x/d/m", begin, "a.png --> fox"],
                "the log ends before them: d/m",
            ),
            (
                vec!["Loading model: /x/d/m", &rule, begin],
                "order mismatch: d/m",
            ),
            (
                vec!["Loading model: /x/d/m", begin, &rule],
                "any prediction lines for the model: d/m",
            ),
        ] {
            let found = parse_log(&log(&lines), "d/m");
            assert!(
                found.warnings[0].ends_with(expected),
                "{:?}",
                found.warnings
            );
            assert!(found.nouns.is_empty());
        }
        let lines = [
            "Loading model: /x/d/m",
            begin,
            "a --> b.png -->  hot  dog ",
            &rule,
        ];
        let found = parse_log(&log(&lines), "d/m");
        assert_eq!(
            found.nouns,
            [("a --> b.png".to_owned(), "hot dog".to_owned())]
        );
        assert!(found.warnings.is_empty());
    }
}
