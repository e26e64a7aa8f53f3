//! `novic top`: runs while they run.

mod state;
mod view;

use std::io::{self, IsTerminal};
use std::time::{Duration, Instant};

use clap::Args;
use clap_complete::engine::ArgValueCompleter;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEventKind, KeyModifiers};
use serde_json::json;

use super::print::print;
use super::{CliError, Exit, complete, ls};
use crate::store::Project;
use crate::tracking::{Filter, RunOverview, list_runs};
use state::{Choice, Top};

/// Width and height of a snapshot.
const SNAPSHOT: (u16, u16) = (100, 36);

/// Watch runs while they run
///
/// Runs at work and the newest others, with their stages, progress and time
/// left, curves of one metric, and the last lines they showed. Where standard
/// output is no terminal, prints one picture and ends.
///
/// Keys: ↑ ↓ choose a run, space adds its curve to the others', ← → choose the
/// metric, l makes the scale logarithmic, q ends.
///
///   novic top
///   novic top latest --metric train/loss
///   novic top --filter 'experiment = ye2'
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct TopArgs {
    /// Run ids, unique parts of some, or `latest`; all of them share the curves
    #[arg(value_name = "RUN", add = ArgValueCompleter::new(complete::runs))]
    runs: Vec<String>,
    /// Only runs that fulfil this, as for `novic ls`
    #[arg(long, value_name = "FILTER", add = ArgValueCompleter::new(complete::filters))]
    filter: Vec<Filter>,
    /// Metric to begin with: NAME or STAGE/NAME
    #[arg(long, value_name = "METRIC")]
    metric: Option<String>,
    /// Seconds between two looks
    #[arg(long, value_name = "SECONDS", default_value_t = 1.0)]
    interval: f64,
    /// Print JSON: one look
    #[arg(long)]
    json: bool,
}

/// Shows runs until told to stop, or once.
pub fn cmd_top(args: &TopArgs) -> Result<Exit, CliError> {
    let project =
        Project::find(None).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
    let interval = Duration::try_from_secs_f64(args.interval)
        .map_err(|error| CliError::usage(format!("--interval: {error}")))?;
    if !args.filter.is_empty() {
        let (mut runs, _) =
            list_runs(&project).map_err(|error| CliError::from_error(Exit::Failed, &error))?;
        if ls::needs_surroundings(&args.filter.iter().flat_map(Filter::names).collect()) {
            RunOverview::read_surroundings(&mut runs, &project);
        }
        ls::check(&args.filter, &runs)?;
    }
    let choice = Choice {
        runs: args.runs.clone(),
        filters: args.filter.clone(),
        metric: args.metric.clone(),
    };
    let mut top =
        Top::new(project, choice).map_err(|error| CliError::from_error(Exit::Usage, &error))?;
    if args.json {
        return print(&format!("{:#}\n", json!(top.to_json())));
    }
    if !io::stdout().is_terminal() {
        return print(&snapshot(&mut top, SNAPSHOT));
    }
    let mut terminal = ratatui::try_init().map_err(terminal_error)?;
    let ended = watch(&mut terminal, &mut top, interval);
    ratatui::restore();
    ended.map(|()| Exit::Success).map_err(terminal_error)
}

fn terminal_error(error: io::Error) -> CliError {
    CliError::failed(format!("failed to use the terminal: {error}"))
}

fn watch(
    terminal: &mut ratatui::DefaultTerminal,
    top: &mut Top,
    interval: Duration,
) -> io::Result<()> {
    let mut looked = Instant::now();
    loop {
        terminal.draw(|frame| view::draw(frame, top))?;
        let wait = interval.saturating_sub(looked.elapsed());
        if event::poll(wait)? {
            if let Event::Key(key) = event::read()?
                && key.kind == KeyEventKind::Press
            {
                let control = key.modifiers.contains(KeyModifiers::CONTROL);
                match key.code {
                    KeyCode::Char('q') | KeyCode::Esc => return Ok(()),
                    KeyCode::Char('c') if control => return Ok(()),
                    KeyCode::Up | KeyCode::Char('k') => top.select(-1),
                    KeyCode::Down | KeyCode::Char('j') => top.select(1),
                    KeyCode::Left => top.choose_metric(-1),
                    KeyCode::Right | KeyCode::Tab => top.choose_metric(1),
                    KeyCode::Char(' ') => top.mark(),
                    KeyCode::Char('l') => top.logarithmic = !top.logarithmic,
                    _ => {}
                }
            }
        } else {
            // What cannot be read now may be readable the next time.
            top.trouble = top.look().err().map(|error| error.to_string());
            looked = Instant::now();
        }
    }
}

/// One picture as text.
fn snapshot(top: &mut Top, (width, height): (u16, u16)) -> String {
    let mut terminal = match Terminal::new(TestBackend::new(width, height)) {
        Ok(terminal) => terminal,
        Err(never) => match never {},
    };
    match terminal.draw(|frame| view::draw(frame, top)) {
        Ok(_) => buffer_text(terminal.backend().buffer()),
        Err(never) => match never {},
    }
}

fn buffer_text(buffer: &Buffer) -> String {
    let area = buffer.area;
    let mut text = String::new();
    for y in area.top()..area.bottom() {
        let line: String = (area.left()..area.right())
            .map(|x| buffer[(x, y)].symbol())
            .collect();
        text.push_str(line.trim_end());
        text.push('\n');
    }
    format!("{}\n", text.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tracking::{Event, Level, RunEnd, RunRecorder, RunStart, StageOutcome};

    /// A run of two stages, the second of which is half done.
    fn begin(project: &Project, experiment: &str, rate: f64) -> RunRecorder {
        let start = RunStart {
            experiment: experiment.into(),
            ..RunStart::default()
        };
        let run = RunRecorder::start(project, start).unwrap();
        for (stage, kind) in [("nouns", "convert_noun_dataset"), ("train", "train")] {
            run.event(Event::StageQueued {
                stage: stage.into(),
                kind: kind.into(),
                key: String::new(),
            });
        }
        run.event(Event::StageFinished {
            stage: "nouns".into(),
            outcome: StageOutcome::Done,
            seconds: 12.3,
            message: None,
            results: serde_json::Value::Null,
        });
        run.event(Event::StageStarted {
            stage: "train".into(),
            resumed: false,
        });
        let log = run.stage("train");
        for step in 0..100u64 {
            let loss = 2.0 * (-(step as f64) * rate).exp();
            log.row(&[("loss", loss.into()), ("step", step.into())]);
        }
        run.event(Event::StageProgress {
            stage: "train".into(),
            unit: "steps".into(),
            done: 100,
            total: Some(200),
        });
        run.console(Some("train"), Level::Info, "half of the way");
        run.flush().unwrap();
        run
    }

    fn top(project: &Project, runs: &[String]) -> Top {
        let choice = Choice {
            runs: runs.to_vec(),
            ..Choice::default()
        };
        Top::new(project.clone(), choice).unwrap()
    }

    #[test]
    fn a_picture_shows_runs_stages_curves_and_lines() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let first = begin(&project, "first", 0.05);
        let second = begin(&project, "second", 0.02);
        first
            .finish(RunEnd {
                exit_code: 1,
                reason: String::new(),
            })
            .unwrap();
        let mut top = top(&project, &[]);
        let text = snapshot(&mut top, SNAPSHOT);
        let times = regex::Regex::new(r"ovod_[0-9_]+|[0-9]+\.[0-9]s|[0-9:]{8}").unwrap();
        let text = times.replace_all(&text, |found: &regex::Captures<'_>| {
            "#".repeat(found[0].chars().count())
        });
        insta::assert_snapshot!(text);
        drop(second);
    }

    #[test]
    fn runs_and_metrics_are_chosen() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let runs = [
            begin(&project, "first", 0.05),
            begin(&project, "second", 0.02),
        ];
        let ids: Vec<_> = runs.iter().map(|run| run.id().to_string()).collect();
        let mut chosen = top(&project, &ids);
        assert_eq!(chosen.curves().len(), 2, "named runs share the curves");
        assert_eq!(chosen.metric(), Some("train/loss"));
        chosen.choose_metric(1);
        assert_eq!(chosen.metric(), Some("train/step"));
        let mut all = top(&project, &[]);
        assert_eq!(all.curves().len(), 1);
        all.mark();
        all.select(1);
        assert_eq!(all.curves().len(), 2);
        all.select(5);
        all.mark();
        assert_eq!(all.curves().len(), 2);
        assert!(
            Top::new(
                project.clone(),
                Choice {
                    runs: vec!["none".into()],
                    ..Choice::default()
                }
            )
            .is_err()
        );
        assert_eq!(all.to_json()[0]["state"]["state"], "running");
    }

    #[test]
    fn the_loss_is_drawn_when_it_comes_and_a_metric_that_is_not_there_is_told() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = RunRecorder::start(&project, RunStart::default()).unwrap();
        run.stage("train").row(&[("batch", 1.0.into())]);
        run.flush().unwrap();
        let mut shown = top(&project, &[]);
        assert_eq!(shown.metric(), Some("train/batch"));
        run.stage("train").row(&[("loss", 1.0.into())]);
        run.flush().unwrap();
        shown.look().unwrap();
        assert_eq!(shown.metric(), Some("train/loss"));
        let choice = Choice {
            metric: Some("foo".into()),
            ..Choice::default()
        };
        let shown = Top::new(project.clone(), choice).unwrap();
        assert_eq!(shown.missing_metric(), Some("foo"));
        assert_eq!(shown.metric(), Some("train/loss"));
    }

    #[test]
    fn broken_records_are_shown_as_such_and_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let broken = project.runs_dir().join("ovod_20200101_000000");
        std::fs::create_dir_all(&broken).unwrap();
        std::fs::write(broken.join("record.novic"), "something else, long enough").unwrap();
        let text = snapshot(&mut top(&project, &[]), SNAPSHOT);
        assert!(text.contains("unreadable: not a record"), "{text}");
        assert!(text.contains("no metrics yet"), "{text}");
        let run = begin(&project, "first", 0.05);
        let choice = |filter: &str| Choice {
            filters: vec![filter.parse().unwrap()],
            ..Choice::default()
        };
        let found = |filter: &str| {
            Top::new(project.clone(), choice(filter))
                .unwrap()
                .runs
                .len()
        };
        assert_eq!(found("threads > 0"), 1);
        assert_eq!(found("threads < 0"), 0);
        drop(run);
    }

    #[test]
    fn nothing_to_see_is_said() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        assert!(snapshot(&mut top(&project, &[]), SNAPSHOT).contains("no runs"));
    }
}
