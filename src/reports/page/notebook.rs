//! The notebook view: prose, stages, curves, tables, pictures, configuration
//! and how to come back to this result.

use std::fmt::Write as _;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::gallery::Gallery;
use super::style;
use crate::reports::evaluate::EvaluatedTable;
use crate::reports::experiment::CellFailure;
use crate::reports::plot::{self, Figure, svg};
use crate::reports::render::{Origin, SORT_SCRIPT, SORT_STYLE, html_with_runs};
use crate::store::publish_file;

/// How a stage stands when the page is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageState {
    /// Done in this run.
    Done,
    /// Taken from the store: nothing had changed.
    Fresh,
    /// It is being done.
    Running,
    /// It has never been done.
    New,
    /// Its output no longer belongs to the experiment file.
    Stale,
    /// It failed.
    Failed,
    /// It was interrupted and can go on.
    Interrupted,
    /// An input is missing.
    Blocked,
}

impl StageState {
    fn key(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Fresh => "fresh",
            Self::Running => "running",
            Self::New => "new",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Blocked => "blocked",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Fresh => "up to date",
            Self::Running => "running",
            Self::New => "not run",
            Self::Stale => "stale",
            Self::Failed => "failed",
            Self::Interrupted => "interrupted",
            Self::Blocked => "blocked",
        }
    }
}

/// One line of the stage list.
#[derive(Clone, Debug)]
pub struct StageLine {
    /// Name in the experiment file.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// How it stands.
    pub state: StageState,
    /// How long the work took when it was done, in seconds.
    pub seconds: Option<f64>,
    /// How much is done, from 0 to 1, while it is being done.
    pub progress: Option<f64>,
    /// What it made, in a few words.
    pub result: String,
    /// Why it is not up to date.
    pub why: Vec<String>,
    /// Run that made its output; of a stale one, the earlier output.
    pub run: String,
    /// The last lines that it said.
    pub console: Vec<String>,
}

/// A table of the page.
#[derive(Clone, Debug)]
pub struct ShownTable {
    /// The table.
    pub table: EvaluatedTable,
    /// What it was made of.
    pub origin: Origin,
    /// What it lacks.
    pub waits: Option<String>,
}

/// A plot of the page.
#[derive(Clone, Debug)]
pub struct ShownPlot {
    /// The plot.
    pub figure: Figure,
    /// What it lacks.
    pub waits: Option<String>,
}

/// Everything the page shows.
#[derive(Clone, Debug)]
pub struct Notebook {
    /// Heading.
    pub title: String,
    /// Markdown below the heading.
    pub prose: String,
    /// Experiment file as the user named it.
    pub file: String,
    /// Run that wrote the page.
    pub run_id: String,
    /// Date, host, version: one line.
    pub facts: String,
    /// Stages in file order.
    pub stages: Vec<StageLine>,
    /// Plots in file order.
    pub plots: Vec<ShownPlot>,
    /// Tables in file order.
    pub tables: Vec<ShownTable>,
    /// Tables and plots that cannot be made.
    pub failures: Vec<CellFailure>,
    /// Picture grids, each with the folder its pictures lie in.
    pub galleries: Vec<(Gallery, PathBuf)>,
    /// The resolved configuration as TOML, with the origins of its values.
    pub configuration: String,
}

impl Notebook {
    /// Writes the page as one self-contained file, atomically; one that is there
    /// already stays as it is.
    pub fn write(&self, path: &Path) -> io::Result<()> {
        let page = self.render().into_string();
        let same_length = |file: fs::Metadata| file.is_file() && file.len() == page.len() as u64;
        if fs::metadata(path).is_ok_and(same_length)
            && fs::read(path).is_ok_and(|known| known == page.as_bytes())
        {
            return Ok(());
        }
        publish_file(path, |file| file.write_all(page.as_bytes()))
    }

    /// The page.
    pub fn render(&self) -> Markup {
        html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (self.title) }
                    style {
                        (PreEscaped(style::PAGE)) (PreEscaped(plot::STYLE)) (PreEscaped(SORT_STYLE))
                    }
                }
                body {
                    main {
                        p.meta { "novic experiment " code { (self.file) } }
                        h1 { (self.title) }
                        p.meta { (self.facts) }
                        (self.render_state())
                        (markdown(&self.prose))
                        (self.render_failures())
                        (self.render_tables())
                        (self.render_plots())
                        @for (gallery, folder) in &self.galleries { (gallery.render(folder)) }
                        (self.render_stages())
                        h2 { "Configuration" }
                        details {
                            summary { "Everything that was set, resolved" }
                            pre { code { (self.configuration) } }
                        }
                        h2 { "Again" }
                        p { "The same command does only what has changed since:" }
                        pre { code { "novic run " (self.file) } }
                        p.note { "Record of this run: " code { "novic show " (self.run_id) } }
                    }
                    @if !self.tables.is_empty() { script { (PreEscaped(SORT_SCRIPT)) } }
                }
            }
        }
    }

    /// Whether what is shown belongs to the file as it is now.
    fn render_state(&self) -> Markup {
        let count = |states: &[StageState]| {
            let stages = self.stages.iter();
            stages.filter(|stage| states.contains(&stage.state)).count()
        };
        let current = count(&[StageState::Done, StageState::Fresh]);
        let running = count(&[StageState::Running]);
        let open = self.stages.len() - current - running;
        html! {
            @if running > 0 {
                p.state data-state="running" { (running) " of " (self.stages.len()) " stages running" }
            } @else if open > 0 {
                p.state data-state="stale" {
                    (open) " of " (self.stages.len())
                    " stages have no output that belongs to the file as it is now; "
                    "what depends on them is missing below."
                }
            }
        }
    }

    fn render_failures(&self) -> Markup {
        html! {
            @for failure in &self.failures {
                div.state data-state="failed" {
                    code { (failure.cell) } " cannot be made:"
                    pre { code { (crate::config::render(std::slice::from_ref(&failure.problem), false)) } }
                }
            }
        }
    }

    fn render_tables(&self) -> Markup {
        html! {
            @if !self.tables.is_empty() {
                h2 { "Results" }
                @for ShownTable { table, origin, waits } in &self.tables {
                    div.scroll { (PreEscaped(html_with_runs(table))) }
                    @let partial: Vec<_> = table.notes.iter().filter(|n| n.mark.is_empty()).collect();
                    @if !partial.is_empty() {
                        details {
                            summary { "incomplete cells: " (partial.len()) }
                            ul.note { @for note in &partial { li { (note.text) } } }
                        }
                    }
                    p.origin {
                        "table " code { (table.name) } " · runs "
                        (runs_of(table)) " · " code { (origin.hash) }
                        @if let Some(waits) = waits { " · " span.stale { (waits) } }
                    }
                }
            }
        }
    }

    fn render_plots(&self) -> Markup {
        html! {
            @if !self.plots.is_empty() {
                h2 { "Plots" }
                div.plots {
                    @for ShownPlot { figure, waits } in &self.plots {
                        figure.plot {
                            @if figure.is_empty() {
                                p.note { (figure.title) ": nothing has been run that it shows" }
                            } @else {
                                @match svg(figure) {
                                    Ok(text) => div.scroll { (PreEscaped(text)) },
                                    Err(error) => p.note { (error) },
                                }
                            }
                            figcaption {
                                @if let Some(caption) = &figure.caption { (caption) " " }
                                @if let Some(note) = &figure.note { (note) " " }
                                span.origin { "runs " (shortened(&figure.runs)) }
                                @if let Some(waits) = waits { " · " span.stale { (waits) } }
                            }
                        }
                    }
                }
            }
        }
    }

    fn render_stages(&self) -> Markup {
        html! {
            h2 { "Stages" }
            div.scroll {
                table.stages {
                    thead { tr {
                        th scope="col" { "Stage" } th scope="col" { "Kind" }
                        th scope="col" { "State" } th scope="col" { "Time" }
                        th scope="col" { "Run" } th scope="col" { "Result" }
                    } }
                    tbody { @for stage in &self.stages { (stage.render()) } }
                }
            }
        }
    }
}

impl StageLine {
    fn render(&self) -> Markup {
        html! {
            tr {
                th scope="row" { (self.name) }
                td.text { code { (self.kind) } }
                td.text {
                    span.badge data-state=(self.state.key()) {
                        (self.state.words())
                        @if let Some(progress) = self.progress {
                            " " (format!("{:.0} %", progress.clamp(0.0, 1.0) * 100.0))
                        }
                    }
                }
                td { (self.seconds.map(duration).unwrap_or_default()) }
                td.text { code { (self.run) } }
                td.text.wide {
                    (self.result)
                    @for reason in &self.why { div.why { (reason) } }
                    @if !self.console.is_empty() {
                        details {
                            summary { "console" }
                            pre { code { @for line in &self.console { (line) "\n" } } }
                        }
                    }
                }
            }
        }
    }
}

/// Runs of all cells of a table.
fn runs_of(table: &EvaluatedTable) -> String {
    let cells = table.rows().flat_map(|row| &row.cells);
    let mut runs: Vec<String> = cells.flat_map(|cell| cell.records.clone()).collect();
    runs.sort_unstable();
    runs.dedup();
    shortened(&runs)
}

/// Runs that are named; of more, their number.
const RUNS: usize = 4;

fn shortened(runs: &[String]) -> String {
    match runs.len() {
        0 => "none".to_owned(),
        count if count <= RUNS => runs.join(", "),
        count => format!("{} … {} ({count})", runs[0], runs[count - 1]),
    }
}

/// Markdown to HTML; raw HTML in the source is shown, not passed through.
pub fn markdown(source: &str) -> Markup {
    use pulldown_cmark::{Event, Parser};
    let events = Parser::new(source).map(|event| match event {
        Event::Html(raw) | Event::InlineHtml(raw) => Event::Text(raw),
        other => other,
    });
    let mut out = String::new();
    pulldown_cmark::html::push_html(&mut out, events);
    PreEscaped(out)
}

/// Seconds as people say them: `0.4 s`, `12.3 s`, `4 min 05 s`.
fn duration(seconds: f64) -> String {
    let mut text = String::new();
    let whole = seconds.round() as u64;
    let written = if seconds < 60.0 {
        write!(text, "{seconds:.1} s")
    } else if whole < 3600 {
        write!(text, "{} min {:02} s", whole / 60, whole % 60)
    } else {
        write!(text, "{} h {:02} min", whole / 3600, whole / 60 % 60)
    };
    debug_assert!(written.is_ok(), "writing to a string cannot fail");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_self_contained_and_escapes() {
        let page = Notebook {
            title: "A <b> test".to_owned(),
            prose: "Some *prose* <script>alert(1)</script>".to_owned(),
            file: "experiments/x.toml".to_owned(),
            run_id: "ovod_20250101_000000".to_owned(),
            facts: "2025-01-01".to_owned(),
            stages: vec![StageLine {
                name: "train".to_owned(),
                kind: "train".to_owned(),
                state: StageState::Done,
                seconds: Some(65.2),
                progress: None,
                result: "3 chunks".to_owned(),
                why: vec!["noise.vec_norm 1 → 2".to_owned()],
                run: "ovod_20250101_000000".to_owned(),
                console: vec!["a <line>".to_owned()],
            }],
            plots: Vec::new(),
            tables: Vec::new(),
            failures: Vec::new(),
            galleries: Vec::new(),
            configuration: "a = 1".to_owned(),
        };
        let html = page.render().into_string();
        assert!(html.contains("A &lt;b&gt; test"));
        assert!(html.contains("<em>prose</em>"));
        assert!(!html.contains("<script"));
        assert!(!html.contains("http://") && !html.contains("https://"));
        assert!(html.contains("1 min 05 s"));
        assert!(html.contains("noise.vec_norm 1 → 2") && html.contains("a &lt;line&gt;"));
    }
}
