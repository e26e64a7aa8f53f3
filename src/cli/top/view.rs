//! What `novic top` draws.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style, Stylize};
use ratatui::symbols::Marker;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Axis, Block, Cell, Chart, Dataset, GraphType, Paragraph, Row, Table};

use super::state::Top;
use crate::runner::time_text;
use crate::tracking::{Level, RunOverview, RunState, StageOutcome, StageOverview};
use std::time::Duration;

/// Colours of the curves, distinguishable by colour-blind people.
const COLOURS: [Color; 6] = [
    Color::Cyan,
    Color::Yellow,
    Color::Magenta,
    Color::Green,
    Color::Blue,
    Color::Red,
];

/// Lines of the console.
const CONSOLE: u16 = 6;

/// Cells of a bar.
const BAR: u64 = 12;

/// Draws everything.
pub(super) fn draw(frame: &mut Frame<'_>, top: &Top) {
    let runs = u16::try_from(top.runs.len()).unwrap_or(u16::MAX);
    let [head, list, middle, console, keys] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(runs.saturating_add(1).min(frame.area().height / 3)),
        Constraint::Fill(1),
        Constraint::Length(CONSOLE),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(header(top), head);
    frame.render_widget(keys_line(), keys);
    if top.runs.is_empty() {
        frame.render_widget(Paragraph::new("no runs"), list);
        return;
    }
    runs_table(frame, top, list);
    let [stages, curves] =
        Layout::horizontal([Constraint::Percentage(45), Constraint::Fill(1)]).areas(middle);
    frame.render_widget(stages_text(top), stages);
    draw_curves(frame, top, curves);
    frame.render_widget(console_text(top), console);
}

fn header(top: &Top) -> Line<'_> {
    let at_work = top
        .runs
        .iter()
        .filter(|run| run.state == RunState::Running)
        .count();
    let count = format!(" {at_work} at work");
    let missing = top.missing_metric();
    let missing = missing.map(|name| format!("no metric `{name}` (yet)"));
    let trouble = top.trouble.clone().or(missing).unwrap_or_default();
    Line::from(vec![
        "novic top".bold(),
        count.into(),
        format!("  {trouble}").red(),
    ])
}

fn keys_line() -> Line<'static> {
    Line::from("↑↓ run   space add curve   ←→ metric   l logarithm   q end").dim()
}

fn runs_table(frame: &mut Frame<'_>, top: &Top, area: Rect) {
    // Keeps the selected run in sight.
    let rows = usize::from(area.height).saturating_sub(1).max(1);
    let first = (top.selected() + 1).saturating_sub(rows);
    let lines = top.runs.iter().enumerate().skip(first).take(rows);
    let lines = lines.map(|(at, run)| {
        let mark = if top.is_marked(&run.run) { "+" } else { " " };
        let time = time_text(Duration::from_secs_f64(run.seconds()));
        let row = Row::new([
            Cell::from(mark),
            Cell::from(run.run.as_str()),
            Cell::from(run.experiment.as_str()),
            Cell::from(Line::from(time).right_aligned()),
            Cell::from(stages_count(run)),
            Cell::from(Span::styled(run.state.to_string(), state_style(&run.state))),
        ]);
        if at == top.selected() {
            row.style(Modifier::REVERSED)
        } else {
            row
        }
    });
    let widths = [
        Constraint::Length(1),
        Constraint::Length(23),
        Constraint::Fill(2),
        Constraint::Length(8),
        Constraint::Length(7),
        Constraint::Fill(2),
    ];
    let head = ["", "run", "experiment", "    time", "stages", "state"];
    let table = Table::new(lines, widths).header(Row::new(head).dim());
    frame.render_widget(table, area);
}

fn state_style(state: &RunState) -> Style {
    match state {
        RunState::Running => Style::new().cyan(),
        RunState::Finished => Style::new().green(),
        RunState::Failed
        | RunState::Killed { .. }
        | RunState::Vanished { .. }
        | RunState::Unreadable { .. } => Style::new().red(),
        RunState::Interrupted => Style::new().yellow(),
    }
}

fn is_good(stage: &StageOverview) -> bool {
    matches!(
        stage.outcome,
        Some(StageOutcome::Done | StageOutcome::UpToDate)
    )
}

fn stages_count(run: &RunOverview) -> String {
    let done = run.stages.iter().filter(|stage| is_good(stage)).count();
    format!("{done}/{}", run.stages.len())
}

/// The selected run's stages; of one at work, how far it is.
fn stages_text(top: &Top) -> Paragraph<'_> {
    let mut lines = Vec::new();
    for stage in top.run().into_iter().flat_map(|run| &run.stages) {
        let time = time_text(Duration::try_from_secs_f64(stage.seconds).unwrap_or_default());
        let (word, style) = match stage.outcome {
            Some(StageOutcome::Done) => (time.as_str(), Style::new().green()),
            Some(StageOutcome::UpToDate) => ("up to date", Style::new().green()),
            Some(StageOutcome::Failed) => ("failed", Style::new().red()),
            Some(StageOutcome::Interrupted) => ("stopped", Style::new().yellow()),
            Some(StageOutcome::Blocked) => ("blocked", Style::new().yellow()),
            Some(StageOutcome::Skipped) => ("skipped", Style::new().dim()),
            None if stage.started => ("at work", Style::new().cyan()),
            None => ("queued", Style::new().dim()),
        };
        lines.push(Line::from(vec![
            Span::styled(format!("{word:>10} "), style),
            stage.name.as_str().into(),
        ]));
        if stage.outcome.is_none() && stage.started {
            lines.push(progress_line(top, stage));
        }
    }
    Paragraph::new(lines).block(Block::new().title("stages".dim()))
}

fn progress_line<'a>(top: &Top, stage: &StageOverview) -> Line<'a> {
    let Some((done, total, unit)) = &stage.progress else {
        return Line::default();
    };
    let pace = top.follower().and_then(|run| run.pace(&stage.name));
    let Some(total) = total.filter(|total| *total > 0) else {
        return Line::from(format!("{:11}{done} {unit}", ""));
    };
    let share = (*done).min(total);
    let filled = (share * BAR / total) as usize;
    let bar = format!(
        "{}{}",
        "━".repeat(filled),
        " ".repeat(BAR as usize - filled)
    );
    let left = pace.map(|pace| (total - share) as f64 / pace);
    let left = left.and_then(|left| Duration::try_from_secs_f64(left).ok());
    let left = left.map_or_else(String::new, |left| format!(", {} left", time_text(left)));
    Line::from(vec![
        format!("{:11}", "").into(),
        bar.cyan(),
        format!(" {} % of {total} {unit}{left}", share * 100 / total).into(),
    ])
}

fn draw_curves(frame: &mut Frame<'_>, top: &Top, area: Rect) {
    let curves = top.curves();
    let Some(metric) = top.metric().filter(|_| !curves.is_empty()) else {
        let text = Paragraph::new("no metrics yet".dim());
        frame.render_widget(text.block(Block::new().title("curves".dim())), area);
        return;
    };
    let points = || curves.iter().flat_map(|curve| &curve.points);
    let range = |of: fn(&(f64, f64)) -> f64| {
        let values = points().map(of);
        let low = values.clone().fold(f64::INFINITY, f64::min);
        let high = values.fold(f64::NEG_INFINITY, f64::max);
        // A flat curve lies in the middle.
        if low < high {
            [low, high]
        } else {
            [low - 0.5, high + 0.5]
        }
    };
    let (x, y) = (range(|point| point.0), range(|point| point.1));
    let value = |y: f64| if top.logarithmic { 10f64.powf(y) } else { y };
    let label = |y: f64| format!("{:.4}", value(y));
    let several = curves.len() > 1;
    let datasets = curves.iter().zip(COLOURS.iter().cycle());
    let datasets = datasets.map(|(curve, colour)| {
        let data = Dataset::default()
            .marker(Marker::Braille)
            .graph_type(GraphType::Line)
            .style(*colour)
            .data(&curve.points);
        if several {
            data.name(curve.run.trim_start_matches("ovod_").to_owned())
        } else {
            data
        }
    });
    let last = curves
        .first()
        .and_then(|curve| curve.points.last())
        .map(|point| format!(" {:.5}", value(point.1)))
        .unwrap_or_default();
    let chart = Chart::new(datasets.collect())
        .block(Block::new().title(Line::from(vec![metric.bold(), last.into()])))
        .x_axis(
            Axis::default()
                .bounds(x)
                .labels([
                    format!("{:.0}", x[0].ceil()),
                    format!("row {:.0}", x[1].floor()),
                ])
                .style(Style::new().dim()),
        )
        .y_axis(
            Axis::default()
                .bounds(y)
                .labels([label(y[0]), label((y[0] + y[1]) / 2.0), label(y[1])])
                .style(Style::new().dim()),
        );
    frame.render_widget(chart, area);
}

fn console_text(top: &Top) -> Paragraph<'_> {
    let lines = top.follower().into_iter().flat_map(|run| run.console());
    let mut lines: Vec<Line<'_>> = lines
        .take(usize::from(CONSOLE) - 1)
        .map(|line| {
            let style = match line.level {
                Level::Error => Style::new().red(),
                Level::Warn => Style::new().yellow(),
                Level::Info | Level::Debug => Style::new(),
            };
            let stage = line.stage.as_deref().unwrap_or_default();
            Line::from(vec![
                format!("{stage:>10} ").dim(),
                Span::styled(line.text.lines().next().unwrap_or_default(), style),
            ])
        })
        .collect();
    lines.reverse();
    Paragraph::new(lines).block(Block::new().title("last lines".dim()))
}
