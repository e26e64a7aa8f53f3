//! Report files (`reports/*.toml`): one table or several, with what they share
//! and what they include.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::plot::PlotSpec;
use super::render::Origin;
use super::spec::reading::{Entry, Item, Keys, Problems, entries};
use super::spec::{Parameters, SourceSpec, TableSpec};
use crate::config::overrides::parse_value;
use crate::config::{
    ConfigErrors, Location, Node, Problem, Raw, Source, SourceKind, nearest, parse_toml,
};

mod builtin;

pub use builtin::{builtin, builtin_names};

/// A report that has been read.
#[derive(Debug)]
pub struct Report {
    /// Name of what it writes.
    pub name: String,
    /// Heading.
    pub title: Option<String>,
    /// Markdown before the tables.
    pub text: Option<String>,
    /// The tables.
    pub tables: Vec<TableSpec>,
    /// The plots.
    pub plots: Vec<PlotSpec>,
    /// What renderings name in their last line.
    pub origin: Origin,
    /// Directory that paths in it are relative to besides the working
    /// directory.
    pub dir: PathBuf,
}

/// Includes below each other at most.
const DEPTH: usize = 16;

impl Report {
    /// Reads a report: a file, or the name of a built-in one. `given` are
    /// parameters of the command line.
    ///
    /// # Errors
    /// All mistakes at once, each where it stands.
    pub fn load(file: &Path, given: &[(String, String)]) -> Result<Self, ConfigErrors> {
        let problems = Problems::default();
        let report = Reading::open(file, &problems).map(|source| {
            let mut reading = Reading {
                problems: &problems,
                open: Vec::new(),
                hash: blake3::Hasher::new(),
            };
            reading.report(file, &source, given)
        });
        let found = problems.into_inner();
        match report {
            Some(report) if found.is_empty() => Ok(report),
            _ => Err(ConfigErrors { problems: found }),
        }
    }

    /// The report, if all its tables and plots say where their records come
    /// from: those that do not are about the stages of an experiment.
    ///
    /// # Errors
    /// All that do not say it.
    pub fn with_sources(self) -> Result<Self, ConfigErrors> {
        let tables = self.tables.iter();
        let tables = tables.map(|table| (&table.sources, &table.location));
        let plots = self.plots.iter();
        let plots = plots.map(|plot| (&plot.sources, &plot.location));
        let without = tables
            .chain(plots)
            .filter(|(sources, _)| sources.iter().any(SourceSpec::is_of_stages));
        let problems: Vec<Problem> = without
            .map(|(_, location)| without_source(location))
            .collect();
        match problems.is_empty() {
            true => Ok(self),
            false => Err(ConfigErrors { problems }),
        }
    }
}

/// A table before its keys are read.
struct Draft {
    name: Option<String>,
    location: Location,
    entries: Vec<Entry>,
}

struct Reading<'p> {
    problems: &'p Problems,
    /// Files that are being read, to find circles.
    open: Vec<PathBuf>,
    hash: blake3::Hasher,
}

impl Reading<'_> {
    /// The text of a file or of a built-in report.
    fn open(file: &Path, problems: &Problems) -> Option<Arc<Source>> {
        let kind = SourceKind::File(file.to_owned());
        match std::fs::read_to_string(file) {
            Ok(text) => Some(Source::new(kind, text)),
            Err(error) => {
                if let Some(text) = builtin(&file.display().to_string()) {
                    return Some(Source::new(kind, text));
                }
                let name = file.display().to_string();
                let problem = Problem::error(format!("failed to read {name}: {error}"));
                let problem = match nearest(&name, builtin_names()) {
                    Some(near) => problem.help(format!("did you mean the built-in `{near}`?")),
                    None => problem.help(format!(
                        "give a report file, or one of {}",
                        builtin_names().collect::<Vec<_>>().join(", ")
                    )),
                };
                problems.borrow_mut().push(problem);
                None
            }
        }
    }

    fn report(&mut self, file: &Path, source: &Arc<Source>, given: &[(String, String)]) -> Report {
        let stem = file.file_stem().unwrap_or_default();
        let stem = stem.to_string_lossy().into_owned();
        let mut report = Report {
            name: stem,
            title: None,
            text: None,
            tables: Vec::new(),
            plots: Vec::new(),
            origin: Origin {
                file: file
                    .file_name()
                    .unwrap_or(file.as_os_str())
                    .to_string_lossy()
                    .into_owned(),
                hash: String::new(),
            },
            dir: file.parent().map(PathBuf::from).unwrap_or_default(),
        };
        let fields = match parse_toml(source) {
            Ok(fields) => fields,
            Err(problem) => {
                self.problems.borrow_mut().push(problem);
                return report;
            }
        };
        let all = entries(source, &fields);
        if let Some(entry) = all.iter().find(|entry| entry.key == "report")
            && let Some(keys) = Keys::of(&entry.item, "`[report]`", self.problems)
        {
            report.title = keys.text("title");
            report.text = keys.text("text");
            if let Some(name) = keys.text("name") {
                report.name = name;
            }
            keys.finish();
        }
        let mut drawn: Vec<Entry> = Vec::new();
        for entry in all.iter().filter(|entry| entry.key == "plot") {
            let Some(plots) = entry.item.entries() else {
                entry
                    .item
                    .wrong("`plot`", "tables `[plot.NAME]`", self.problems);
                continue;
            };
            drawn.extend(plots);
        }
        let shared: Vec<Entry> = all
            .iter()
            .filter(|entry| matches!(entry.key.as_str(), "params" | "source"))
            .cloned()
            .collect();
        let drafts = self.drafts(file, source, all, !drawn.is_empty());
        let mut declared: Vec<&[Entry]> = drafts.iter().map(|d| d.entries.as_slice()).collect();
        declared.push(&shared);
        let parameters = self.parameters(&declared, given);
        for plot in drawn {
            let Some(own) = plot.item.entries() else {
                plot.item
                    .wrong("`plot`", "tables `[plot.NAME]`", self.problems);
                continue;
            };
            report.plots.extend(PlotSpec::read(
                &plot.key,
                &plot.location,
                &merged(&shared, own),
                &parameters,
                self.problems,
            ));
        }
        let several = drafts.len() > 1;
        for (at, draft) in drafts.into_iter().enumerate() {
            let name = match draft.name {
                Some(name) => name,
                None if several => format!("{}-{}", report.name, at + 1),
                None => report.name.clone(),
            };
            report.tables.extend(TableSpec::read(
                &name,
                &draft.location,
                &draft.entries,
                &parameters,
                self.problems,
            ));
        }
        let hash = self.hash.finalize().to_hex();
        report.origin.hash = hash.as_str()[..16].to_owned();
        report
    }

    /// The tables of a file, with what they include.
    fn drafts(
        &mut self,
        file: &Path,
        source: &Arc<Source>,
        all: Vec<Entry>,
        has_plots: bool,
    ) -> Vec<Draft> {
        self.hash.update(source.text.as_bytes());
        self.open.push(file.to_owned());
        let (special, shared): (Vec<Entry>, Vec<Entry>) = all
            .into_iter()
            .partition(|entry| matches!(entry.key.as_str(), "report" | "table" | "plot"));
        let whole = Location::new(source, 0..0);
        let mut drafts = Vec::new();
        match special.iter().find(|entry| entry.key == "table") {
            Some(entry) => match entry.item.items() {
                Some(items) => {
                    for item in &items {
                        let own = item.entries().unwrap_or_default();
                        let merged = merged(&shared, own);
                        drafts.extend(self.included(file, &item.location(), merged));
                    }
                }
                None => entry
                    .item
                    .wrong("`table`", "tables `[[table]]`", self.problems),
            },
            None => {
                let says = |key: &str| shared.iter().any(|entry| entry.key == key);
                if !has_plots || says("rows") || says("col") || says("include") {
                    drafts.extend(self.included(file, &whole, shared));
                }
            }
        }
        self.open.pop();
        drafts
    }

    /// A table, or the tables of the report that it includes, with its own
    /// keys over theirs.
    fn included(&mut self, file: &Path, location: &Location, mut own: Vec<Entry>) -> Vec<Draft> {
        let include = own.iter().position(|entry| entry.key == "include");
        let name = own.iter().position(|entry| entry.key == "name");
        let Some(include) = include else {
            let name = name.map(|at| own.remove(at));
            return vec![Draft {
                name: name.and_then(|entry| entry.item.text().map(str::to_owned)),
                location: location.clone(),
                entries: own,
            }];
        };
        let include = own.remove(include).item;
        let Some(target) = include.text() else {
            include.wrong("`include`", "the name of a report", self.problems);
            return Vec::new();
        };
        let target = beside(file, target);
        if self.open.contains(&target) || self.open.len() >= DEPTH {
            let mut names: Vec<String> =
                self.open.iter().map(|p| p.display().to_string()).collect();
            names.push(target.display().to_string());
            let title = format!("reports include each other: {}", names.join(" → "));
            include.fault(
                title,
                Some("take one of these out".to_owned()),
                self.problems,
            );
            return Vec::new();
        }
        let before = self.problems.borrow().len();
        let Some(source) = Self::open(&target, self.problems) else {
            if let Some(problem) = self.problems.borrow_mut().get_mut(before) {
                problem.places.push((include.location(), String::new()));
            }
            return Vec::new();
        };
        let fields = match parse_toml(&source) {
            Ok(fields) => fields,
            Err(problem) => {
                self.problems.borrow_mut().push(problem);
                return Vec::new();
            }
        };
        let all = entries(&source, &fields);
        let mut drafts = self.drafts(&target, &source, all, false);
        for draft in &mut drafts {
            draft.entries = merged(&draft.entries, own.clone());
            if let Some(at) = draft.entries.iter().position(|entry| entry.key == "name") {
                let name = draft.entries.remove(at);
                draft.name = name.item.text().map(str::to_owned);
            }
        }
        drafts
    }

    /// Parameters of the command line, which tables must have.
    fn parameters(&self, declared: &[&[Entry]], given: &[(String, String)]) -> Parameters {
        let entries = || declared.iter().copied().flatten();
        let declared: Vec<String> = entries()
            .filter(|entry| entry.key == "params")
            .flat_map(|entry| entry.item.entries().unwrap_or_default())
            .map(|entry| entry.key)
            .collect();
        let mut parameters = Parameters::new();
        for (name, text) in given {
            if !declared.contains(name) {
                let names = declared.iter().map(String::as_str);
                let help = match nearest(name, names.clone()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if declared.is_empty() => "this report has no parameters".to_owned(),
                    None => format!("known are {}", names.collect::<Vec<_>>().join(", ")),
                };
                let argument = Source::new(SourceKind::Argument, format!("{name}={text}"));
                let problem = Problem::error(format!("there is no parameter `{name}`"))
                    .at(Location::new(&argument, 0..name.len()), "")
                    .help(help);
                self.problems.borrow_mut().push(problem);
                continue;
            }
            parameters.insert(name.clone(), value_of(text));
        }
        parameters
    }
}

/// Tables of experiments are about their stages; a report file has none.
fn without_source(location: &Location) -> Problem {
    Problem::error("there is no `source`, and a report file has no stages of its own")
        .at(location.clone(), "")
        .help(
            "say where the records come from: `source = { kind = \"runs\" }` for the runs of \
             this project; other kinds are metrics, predictions, samples, values, angles and file",
        )
}

/// What a parameter of the command line is: as the value of an override.
fn value_of(text: &str) -> Node {
    let node = parse_value(text, 0).unwrap_or_else(|_| Node {
        span: 0..0,
        raw: Raw::Text(text.to_owned()),
    });
    Node::from_json(&node.to_json(), 0..0)
}

/// Where a report that another one names lies: beside it, or among the
/// built-in ones.
fn beside(file: &Path, target: &str) -> PathBuf {
    let dir = file.parent().unwrap_or(Path::new(""));
    let with_extension = |name: &str| {
        if name.ends_with(".toml") {
            dir.join(name)
        } else {
            dir.join(format!("{name}.toml"))
        }
    };
    let own = with_extension(target);
    if own.exists() {
        return own;
    }
    let sibling = dir.join(target);
    if builtin(&sibling.display().to_string()).is_some() {
        return sibling;
    }
    if builtin(target).is_some() {
        return PathBuf::from(target);
    }
    own
}

/// Keys over others; parameters are merged one by one.
fn merged(under: &[Entry], over: Vec<Entry>) -> Vec<Entry> {
    let mut all = under.to_vec();
    for entry in over {
        match all.iter_mut().find(|own| own.key == entry.key) {
            Some(own) if entry.key == "params" => {
                own.item = merged_items(&own.item, &entry.item);
            }
            Some(own) => *own = entry,
            None => all.push(entry),
        }
    }
    all
}

fn merged_items(under: &Item, over: &Item) -> Item {
    let mut item = under.clone();
    if let (Raw::Table(own), Raw::Table(new)) = (&mut item.node.raw, &over.node.raw) {
        for field in new {
            match own.iter_mut().find(|other| other.key == field.key) {
                Some(other) => *other = field.clone(),
                None => own.push(field.clone()),
            }
        }
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(files: &[(&str, &str)]) -> Vec<String> {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            std::fs::write(dir.path().join(name), text).unwrap();
        }
        match Report::load(&dir.path().join(files[0].0), &[]) {
            Ok(_) => Vec::new(),
            Err(errors) => errors
                .problems
                .iter()
                .map(|problem| {
                    let title = problem.title.replace(&dir.path().display().to_string(), "");
                    let place = problem.places.first().map_or(String::new(), |(place, _)| {
                        let (line, column) = place.source.line_column(place.span.start);
                        format!("{line}:{column} ")
                    });
                    format!("{place}{title} [{}]", problem.help.join("; "))
                })
                .collect(),
        }
    }

    #[test]
    fn mistakes_are_shown_where_they_stand_with_the_nearest_name() {
        let found = problems(&[(
            "a.toml",
            "[source]\nkind = \"runs\"\n[rows]\nby = [\"train.config.num_layer\"]\n\
             labl = \"x\"\n[[col]]\nlabel = \"A\"\nvalue = \"top1\"\nformat = \"{meen:.2f}\"\n\
             where = { dataset = { glb = \"x\" } }\npick = \"B\"\nagg = \"avg\"\n\
             scale = \"2\"\n",
        )]);
        insta::assert_snapshot!(found.join("\n"), @r"
        4:7 unknown field `train.config.num_layer` [did you mean `train.config.num_layers`?]
        5:1 `rows`: unknown key `labl` [did you mean `label`?]
        12:7 `[[col]]`: `agg` cannot be `avg` [known are mean, max, min, median, best, first, last, count, sum, distinct]
        9:10 there is no value `meen` [did you mean `{mean}`?]
        10:23 unknown operator `glb` [did you mean `glob`?]
        13:9 `[[col]]`: `scale`: expected a number, found a text []
        6:1 `pick` names `B`, which is no column [did you mean `A`?]
        ");
    }

    #[test]
    fn circles_of_includes_are_found() {
        let found = problems(&[
            ("a.toml", "[[table]]\ninclude = \"b\"\n"),
            ("b.toml", "include = \"a\"\n"),
        ]);
        insta::assert_snapshot!(found.join("\n"), @"1:11 reports include each other: /a.toml → /b.toml → /a.toml [take one of these out]");
    }

    #[test]
    fn parameters_keep_their_types_and_must_exist() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("a.toml");
        let text = "title = \"of {k}\"\nwhere = { layers = \"$k\" }\n[params]\nk = 4\n\
                    [source]\nkind = \"runs\"\n[rows]\nby = [\"a\"]\n[[col]]\nvalue = \"b\"\n\
                    label = \"L$k\"\n";
        std::fs::write(&file, text).unwrap();
        let given = |name: &str| vec![(name.to_owned(), "6".to_owned())];
        let report = Report::load(&file, &given("k")).unwrap();
        assert_eq!(report.tables[0].columns[0].label, "L6");
        let errors = Report::load(&file, &given("kk")).unwrap_err();
        assert_eq!(errors.problems[0].help, ["did you mean `k`?"]);
    }
}
