//! `novic verify`: do stages of an old run again and compare.

use std::io::{self, IsTerminal};
use std::time::Duration;

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use serde_json::{Value, json};

use super::print::print;
use super::run::recorded;
use super::{CliError, Exit, complete};
use crate::runner::{
    Agreement, Change, Display, Extent, LineDisplay, RunError, TOLERANCE, TerminalDisplay, Verdict,
    verify,
};
use crate::stages;
use crate::store::{ContentHashes, Project};
use crate::tracking::{Environment, RunRecord, find_run, read_record};

/// Do stages of an old run again, and compare what comes out
///
/// Each stage is done on the inputs that it had, beside the store, which stays
/// as it is. Says for each whether every byte is equal, numbers are equal within
/// a tolerance, or what differs first; and what of the machine and the program
/// is another than it was, which may explain it. Stages that the run did not
/// finish cannot be compared.
///
///   novic verify latest
///   novic verify 170509 --stage train
///   novic verify 170509 --seconds 60         # of long stages, the beginning
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct VerifyArgs {
    /// Run id, a unique part of one, or `latest`
    #[arg(add = ArgValueCompleter::new(complete::runs))]
    run: String,
    /// Only these stages
    #[arg(long, value_name = "STAGE", value_delimiter = ',', add = ArgValueCompleter::new(complete::stages_of_run))]
    stage: Vec<String>,
    /// So long at most for each stage: of those that take longer, the metrics of
    /// the beginning are compared
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// Verifies a run. Exit code 1 if something differs or cannot be compared, or if
/// there is nothing to compare.
pub fn cmd_verify(args: &VerifyArgs) -> Result<Exit, CliError> {
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let project = Project::find(None).map_err(|error| failed(&error))?;
    let (run, dir) =
        find_run(&project, &args.run).map_err(|error| CliError::from_error(Exit::Usage, &error))?;
    let record = read_record(&dir).map_err(|error| failed(&error))?;
    let experiment = recorded(&record, &[])?;
    let mut display: Box<dyn Display> = if io::stderr().is_terminal() {
        Box::new(TerminalDisplay::new())
    } else {
        Box::new(LineDisplay::new(io::stderr(), Duration::from_secs(10)))
    };
    let limit = args.seconds.map(Duration::try_from_secs_f64).transpose();
    let limit = limit.map_err(|error| CliError::usage(format!("--seconds: {error}")))?;
    let registry = stages::registry();
    let verdicts = verify(
        &experiment,
        &run,
        Extent {
            only: &args.stage,
            limit,
        },
        &project,
        &registry,
        display.as_mut(),
    )
    .map_err(|error| match error {
        RunError::UnknownStage { .. } => CliError::from_error(Exit::Usage, &error),
        error => failed(&error),
    })?;
    let differences = environment(&record, &project);
    // No verdict is no good one.
    let good = !verdicts.is_empty()
        && verdicts.iter().all(|(_, verdict)| {
            matches!(
                verdict,
                Verdict::Compared(Agreement::Equal | Agreement::Close { .. })
                    | Verdict::Sampled {
                        agreement: Agreement::Equal | Agreement::Close { .. },
                        ..
                    }
            )
        });
    if args.json {
        let stages: Vec<Value> = verdicts
            .iter()
            .map(|(stage, verdict)| json!({ "stage": stage, "verdict": verdict }))
            .collect();
        let value = json!({ "run": run.run, "stages": stages, "environment": differences });
        print(&format!("{value:#}\n"))?;
    } else {
        let mut text = String::new();
        for (stage, verdict) in &verdicts {
            text.push_str(&format!("{stage}: {}\n", verdict_text(verdict)));
        }
        if !verdicts.iter().any(|(_, verdict)| was_done_again(verdict)) {
            text.push_str(&format!("{}: there is nothing to compare\n", run.run));
        }
        if !good && !differences.is_empty() {
            text.push_str("\nother than it was:\n");
            for difference in &differences {
                text.push_str(&format!("  {difference}\n"));
            }
        }
        print(&text)?;
    }
    Ok(if good { Exit::Success } else { Exit::Failed })
}

/// Whether there is something new that was compared, or was to be.
fn was_done_again(verdict: &Verdict) -> bool {
    matches!(
        verdict,
        Verdict::Compared(_) | Verdict::Sampled { .. } | Verdict::Failed { .. }
    )
}

fn agreement_text(agreement: &Agreement) -> String {
    match agreement {
        Agreement::Equal => "equal".to_owned(),
        Agreement::Close { largest } => {
            format!("equal within {TOLERANCE:e} (largest relative difference {largest:.1e})")
        }
        Agreement::Different { place, what } => {
            format!("DIFFERENT, first in {place}: {what}")
        }
    }
}

fn verdict_text(verdict: &Verdict) -> String {
    match verdict {
        Verdict::Compared(agreement) => agreement_text(agreement),
        Verdict::Sampled { rows, agreement } => {
            let text = agreement_text(agreement);
            format!("{text}, as far as it got: {rows} rows of its metrics")
        }
        Verdict::Gone { stage } => format!("cannot be compared: the output of {stage} is gone"),
        Verdict::Changed {
            changes,
            identities,
        } => {
            let values = changes
                .iter()
                .filter(|change| matches!(change, Change::Value { .. } | Change::Code { .. }));
            let identities = identities
                .iter()
                .map(|of| identity_text(&of.what, &of.from, &of.to));
            let all: Vec<_> = values.map(ToString::to_string).chain(identities).collect();
            format!("cannot be compared, changed: {}", all.join(", "))
        }
        Verdict::Impossible { message } => format!("cannot be compared: {message}"),
        Verdict::Failed { message } => format!("FAILED: {message}"),
    }
}

/// `content of dictionary 1a2b3c4d → 5e6f7a8b`; of an unknown one, a dash.
fn identity_text(what: &str, from: &str, to: &str) -> String {
    let short = |text: &str| text.get(..8).unwrap_or("–").to_owned();
    format!("{what} {} → {}", short(from), short(to))
}

/// What of machine and program is another now.
fn environment(record: &RunRecord, project: &Project) -> Vec<String> {
    let now = Environment::capture();
    let program = env!("CARGO_PKG_VERSION");
    let mut found = Vec::new();
    if record.header.program != program {
        found.push(format!("program: {} → {program}", record.header.program));
    }
    let hash = std::env::current_exe().ok().and_then(|path| {
        let hashes = ContentHashes::open(project, false);
        hashes.file(&path).ok().map(|hash| hash.to_string())
    });
    if let (Some(before), Some(now)) = (&record.program_hash, &hash)
        && before != now
    {
        found.push(format!("program_hash: {before} → {now}"));
    }
    let before = json!(record.environment);
    let now = json!(now);
    for (name, value) in now.as_object().into_iter().flatten() {
        if !before[name].is_null() && before[name] != *value {
            found.push(format!("{name}: {} → {value}", before[name]));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use crate::config::{Experiment, Request};
    use crate::runner::Quiet;
    use crate::tracking::{Event, RunEnd, RunRecorder, RunStart, StageOutcome};

    use super::*;

    /// What is said of the only stage of a run that recorded it with a key and an
    /// outcome.
    fn said(key: &str, outcome: StageOutcome) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let recorder = RunRecorder::start(&project, RunStart::default()).unwrap();
        recorder.event(Event::StageQueued {
            stage: "a".into(),
            kind: "nothing".into(),
            key: key.into(),
        });
        recorder.event(Event::StageFinished {
            stage: "a".into(),
            outcome,
            seconds: 0.0,
            message: Some("why".into()),
            results: Value::Null,
        });
        let end = RunEnd {
            exit_code: 0,
            reason: String::new(),
        };
        recorder.finish(end).unwrap();
        let (run, _) = find_run(&project, "latest").unwrap();
        let request = Request {
            file: "mine.toml".into(),
            text: Some("[stage.a]\nkind = \"nothing\"\n".into()),
            ..Request::default()
        };
        let experiment = Experiment::load(&request).unwrap();
        let (extent, registry) = (Extent::default(), stages::registry());
        let verdicts = verify(&experiment, &run, extent, &project, &registry, &mut Quiet).unwrap();
        let texts = verdicts.iter().map(|(_, verdict)| verdict_text(verdict));
        texts.collect()
    }

    #[test]
    fn what_cannot_be_compared_says_why() {
        assert_eq!(
            said("", StageOutcome::Blocked),
            ["cannot be compared: it was blocked in that run: why"]
        );
        let other = said(&"1a2b3c4d".repeat(4), StageOutcome::Done).concat();
        assert!(
            other.starts_with("cannot be compared, changed: key 1a2b3c4d → "),
            "{other}"
        );
    }

    #[test]
    fn identities_are_told_old_and_new() {
        assert_eq!(
            identity_text("content of dictionary", "0123456789", ""),
            "content of dictionary 01234567 → –"
        );
    }
}
