//! Sweep files, and sweeps that stand on the command line alone.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::overrides::{KeyPart, parse as parse_override};
use crate::config::{
    Choices, ConfigErrors, Field, Location, Node, Problem, Raw, Setting, Source, SourceKind,
    is_several, parse_choices, parse_fields,
};

use super::axes::{AxisReader, check_twice};
use super::fields::{Fields, leaves};
use super::metric::{Goal, Metric};
use super::search_file::read_search;
use super::spec::{ASK_ABOVE, Axis, Block, Exclusion, MAX_POINTS, Row, SweepSpec};

/// Tables and keys of a sweep file.
pub(super) const TOP: &[&str] = &[
    "sweep", "set", "grid", "zip", "point", "random", "exclude", "union", "search", "launcher",
    "slots", "store",
];
/// Keys of `[sweep]`.
pub(super) const SWEEP: &[&str] = &[
    "name",
    "title",
    "prose",
    "base",
    "seeds",
    "metric",
    "goal",
    "show",
    "draws",
    "draws_seed",
    "max_points",
    "ask_above",
];
/// Keys of `[[union]]`.
pub(super) const UNION: &[&str] = &["name", "set", "grid", "zip", "point", "random", "exclude"];

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 16 << 20;

/// A sweep with the overrides that hold for all of its points.
#[derive(Debug)]
pub struct SweepRequest {
    /// The sweep.
    pub spec: SweepSpec,
    /// Overrides of the command line with a single value.
    pub overrides: Vec<String>,
}

impl SweepRequest {
    /// Reads a sweep file, or makes a sweep of an experiment file and of
    /// arguments with several values.
    ///
    /// # Errors
    /// All mistakes of the file and of the arguments.
    pub fn load(file: &Path, arguments: &[String]) -> Result<SweepRequest, ConfigErrors> {
        let text = read(file).map_err(|reason| {
            ConfigErrors::from(
                Problem::error(format!("cannot read {}: {reason}", file.display()))
                    .help("name a sweep file or an experiment file (TOML)"),
            )
        })?;
        let source = Source::new(SourceKind::File(file.to_owned()), text);
        let fields = parse_fields(&source).map_err(ConfigErrors::from)?;
        let mut problems = Vec::new();
        let mut spec = match fields.iter().any(|field| field.key == "sweep") {
            true => read_file(file, &source, &fields, &mut problems),
            false => of_experiment(file, arguments),
        };
        let overrides = add_arguments(&mut spec, arguments, &mut problems);
        for block in &spec.blocks {
            check_twice(&spec, block, &mut problems);
        }
        match problems.is_empty() {
            true => Ok(SweepRequest { spec, overrides }),
            false => Err(ConfigErrors { problems }),
        }
    }
}

fn read(path: &Path) -> Result<String, String> {
    let explain = |error: std::io::Error| error.to_string();
    let size = fs::metadata(path).map_err(explain)?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("it has {size} bytes, more than {MAX_FILE_BYTES}"));
    }
    fs::read_to_string(path).map_err(explain)
}

fn empty(file: &Path, base: PathBuf, name: String) -> SweepSpec {
    SweepSpec {
        name,
        title: String::new(),
        file: file.to_owned(),
        base,
        seeds: None,
        metric: None,
        goal: Goal::Max,
        show: Vec::new(),
        max_points: MAX_POINTS,
        ask_above: ASK_ABOVE,
        fixed: Vec::new(),
        blocks: Vec::new(),
        search: None,
        places: Vec::new(),
    }
}

fn stem(file: &Path) -> String {
    let stem = file.file_stem().unwrap_or_default();
    stem.to_string_lossy().into_owned()
}

/// A sweep of an experiment file. Equal arguments give equal names, so that the
/// same command goes on.
fn of_experiment(file: &Path, arguments: &[String]) -> SweepSpec {
    let mut sorted = arguments.to_vec();
    sorted.sort();
    let text = format!("{}\n{}", file.display(), sorted.join("\n"));
    let hash = blake3::hash(text.as_bytes()).to_hex();
    let name = format!("{}-{}", stem(file), &hash.as_str()[..6]);
    let mut spec = empty(file, file.to_owned(), name);
    spec.blocks.push(Block::default());
    spec
}

/// Arguments with several values become axes; the others are returned.
fn add_arguments(
    spec: &mut SweepSpec,
    arguments: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<String> {
    let mut overrides = Vec::new();
    for text in arguments {
        let source = Source::new(SourceKind::Argument, text.as_str());
        let split = text
            .split_once('=')
            .filter(|(key, _)| !key.starts_with(['+', '~']));
        let Some((name, value)) = split else {
            overrides.push(text.clone());
            continue;
        };
        let is_seeds = matches!(name.trim(), "seeds" | "experiment.seeds");
        if !is_seeds && !is_several(text, name.len() + 1) {
            overrides.push(text.clone());
            continue;
        }
        let key = match parse_override(&format!("{name}=")) {
            Ok(change) => change.key,
            Err(error) => {
                let place = Location::new(&source, error.span);
                problems.push(Problem::error(error.message).at(place, "").help(error.help));
                continue;
            }
        };
        let node = Node {
            span: name.len() + 1..text.len(),
            raw: Raw::Text(value.to_owned()),
        };
        if is_seeds {
            spec.seeds = read_seeds(&source, &node, problems).or(spec.seeds.take());
            continue;
        }
        let mut reader = AxisReader {
            source: &source,
            problems,
        };
        if let Some(search) = &mut spec.search {
            let dimension = reader.dimension(&key, &node);
            search.space.extend(dimension);
            continue;
        }
        if let Some(axis) = reader.axis(&key, &node) {
            for block in &mut spec.blocks {
                block.axes.push(axis.clone());
            }
        }
    }
    overrides
}

/// Axes and seeds that arguments add to a sweep; each must be `key=value`.
pub(super) fn extension(arguments: &[String]) -> Result<(Vec<Axis>, Vec<u64>), ConfigErrors> {
    let mut spec = of_experiment(Path::new(""), &[]);
    let mut problems = Vec::new();
    // A single value is an axis of one here.
    let several = arguments.iter().map(|text| match text.split_once('=') {
        Some((key, value)) if !is_several(text, key.len() + 1) => format!("{key}=choice({value})"),
        _ => text.clone(),
    });
    let several: Vec<String> = several.collect();
    let rest = add_arguments(&mut spec, &several, &mut problems);
    for text in rest {
        problems.push(
            Problem::error(format!("`{text}` adds no points"))
                .help("write KEY=VALUE,VALUE or seeds=4,5"),
        );
    }
    let block = spec.blocks.remove(0);
    check_twice(&spec, &block, &mut problems);
    match problems.is_empty() {
        true => Ok((block.axes, spec.seeds.unwrap_or_default())),
        false => Err(ConfigErrors { problems }),
    }
}

/// Seeds: whole numbers above 0, each once.
fn read_seeds(source: &Arc<Source>, node: &Node, problems: &mut Vec<Problem>) -> Option<Vec<u64>> {
    let nodes = match &node.raw {
        Raw::List(items) => items.clone(),
        Raw::Text(text) => match parse_choices(text, 0) {
            Ok(Choices::Listed(nodes)) => nodes,
            _ => Vec::new(),
        },
        _ => vec![node.clone()],
    };
    let mut seeds = Vec::new();
    for item in &nodes {
        match item.to_json().as_u64().filter(|seed| *seed > 0) {
            Some(seed) if !seeds.contains(&seed) => seeds.push(seed),
            Some(seed) => {
                // Places in a text are counted from its beginning.
                let span = match node.raw {
                    Raw::List(_) => item.span.clone(),
                    _ => node.span.clone(),
                };
                let place = Location::new(source, span);
                problems.push(
                    Problem::error(format!("the seed {seed} is given twice"))
                        .at(place, "")
                        .help("give every seed once"),
                );
                return None;
            }
            None => {
                seeds.clear();
                break;
            }
        }
    }
    if seeds.is_empty() {
        let place = Location::new(source, node.span.clone());
        problems.push(
            Problem::error("expected seeds: whole numbers above 0")
                .at(place, "")
                .help("write seeds = [1, 2, 3]"),
        );
        return None;
    }
    Some(seeds)
}

fn read_file(
    file: &Path,
    source: &Arc<Source>,
    fields: &[Field],
    problems: &mut Vec<Problem>,
) -> SweepSpec {
    let mut spec = empty(file, PathBuf::new(), stem(file));
    let mut draws = Draws { count: 0, seed: 1 };
    for field in fields.iter().filter(|field| field.key == "sweep") {
        read_sweep(file, source, field, &mut spec, &mut draws, problems);
    }
    let mut main = Block::default();
    let mut unions = Vec::new();
    let mut excluded_everywhere = Vec::new();
    for field in fields {
        let mut top = Fields {
            source,
            name: "",
            problems,
        };
        match field.key.as_str() {
            "sweep" => {}
            "set" => {
                let fields = top.table(field);
                settings(&mut top, fields, &mut spec.fixed, &mut spec.places);
            }
            "launcher" | "slots" | "store" => {
                let fields = std::slice::from_ref(field);
                settings(&mut top, fields, &mut spec.fixed, &mut spec.places);
            }
            "exclude" => excluded_everywhere.extend(exclusions(&mut top, field)),
            "union" => {
                for (_, fields) in top.tables(field) {
                    unions.push(read_union(source, fields, draws, top.problems));
                }
            }
            "search" => spec.search = read_search(&mut top, field),
            _ => read_block_field(&mut top, field, &mut main, draws, TOP),
        }
    }
    if spec.search.is_none() && (unions.is_empty() || !main.axes.is_empty()) {
        unions.insert(0, main);
    } else if spec.search.is_some() && !(unions.is_empty() && main.axes.is_empty()) {
        problems.push(
            Problem::error("a sweep either lists its points or searches for them")
                .help("take the axes out, or [search]; what a search varies is its [search.space]"),
        );
    }
    if let (Some(_), Some(first)) = (&spec.search, excluded_everywhere.first()) {
        problems.push(
            Problem::error("a search leaves no points out")
                .at(first.location.clone(), "")
                .help("take it out; what a search varies is its [search.space]"),
        );
    }
    for block in &mut unions {
        block.exclusions.extend(excluded_everywhere.iter().cloned());
    }
    spec.blocks = unions;
    spec
}

/// How many rows a `[random]` table has.
#[derive(Clone, Copy)]
struct Draws {
    count: u64,
    seed: u64,
}

fn read_sweep(
    file: &Path,
    source: &Arc<Source>,
    field: &Field,
    spec: &mut SweepSpec,
    draws: &mut Draws,
    problems: &mut Vec<Problem>,
) {
    let mut table = Fields {
        source,
        name: "sweep",
        problems,
    };
    let mut goal = None;
    for field in table.table(field) {
        match field.key.as_str() {
            "name" => {
                if let Some(name) = table.text(field) {
                    match is_name(&name) {
                        true => spec.name = name,
                        false => table.wrong(field, "a name of letters, digits, `.`, `_` and `-`"),
                    }
                }
            }
            "title" => spec.title = table.text(field).unwrap_or_default(),
            // For people who read the file.
            "prose" => drop(table.text(field)),
            "base" => {
                if let Some(base) = table.text(field) {
                    spec.base = file.parent().unwrap_or(Path::new("")).join(base);
                }
            }
            "seeds" => spec.seeds = read_seeds(source, &field.value, table.problems),
            "metric" => {
                let text = table.text(field);
                let place = table.at(&field.value);
                match text.as_deref().map(str::parse::<Metric>) {
                    Some(Ok(metric)) => {
                        spec.places.push((metric.to_string(), place));
                        spec.metric = Some(metric);
                    }
                    Some(Err(expected)) => {
                        table.problems.push(
                            Problem::error(format!("sweep.metric: {expected}")).at(place, ""),
                        );
                    }
                    None => {}
                }
            }
            "show" => {
                for (text, place) in table.texts(field) {
                    match text.parse::<Metric>() {
                        Ok(metric) => {
                            spec.places.push((metric.to_string(), place));
                            spec.show.push(metric);
                        }
                        Err(expected) => table
                            .problems
                            .push(Problem::error(format!("sweep.show: {expected}")).at(place, "")),
                    }
                }
            }
            "goal" => goal = table.choice(field, &[("min", Goal::Min), ("max", Goal::Max)]),
            "draws" => draws.count = table.count(field, 1).unwrap_or(1),
            "draws_seed" => draws.seed = table.count(field, 0).unwrap_or(1),
            "max_points" => {
                spec.max_points = table.count(field, 1).map_or(MAX_POINTS, |n| n as usize);
            }
            "ask_above" => {
                spec.ask_above = table.count(field, 0).map_or(ASK_ABOVE, |n| n as usize);
            }
            _ => table.unknown(field, SWEEP),
        }
    }
    let usual = spec
        .metric
        .as_ref()
        .map(|metric| Goal::usual(&metric.field));
    spec.goal = goal.or(usual).unwrap_or(Goal::Max);
    if spec.base.as_os_str().is_empty() {
        let place = Location::new(source, field.key_span.clone());
        problems.push(
            Problem::error("the sweep has no experiment")
                .at(place, "")
                .help("write base = \"../experiments/quickstart.toml\", relative to this file"),
        );
    }
}

/// Whether a text can be the name of a sweep, which names a directory.
pub fn is_name(text: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || "._-".contains(c);
    !text.is_empty() && text.len() <= 100 && !text.starts_with('.') && text.chars().all(fits)
}

fn read_union(
    source: &Arc<Source>,
    fields: &[Field],
    draws: Draws,
    problems: &mut Vec<Problem>,
) -> Block {
    let mut block = Block::default();
    for field in fields {
        let mut table = Fields {
            source,
            name: "union",
            problems,
        };
        match field.key.as_str() {
            "name" => block.name = table.text(field),
            "set" => {
                let fields = table.table(field);
                settings(&mut table, fields, &mut block.fixed, &mut block.places);
            }
            "exclude" => block.exclusions.extend(exclusions(&mut table, field)),
            _ => read_block_field(&mut table, field, &mut block, draws, UNION),
        }
    }
    block
}

fn read_block_field(
    table: &mut Fields<'_>,
    field: &Field,
    block: &mut Block,
    draws: Draws,
    known: &[&str],
) {
    match field.key.as_str() {
        "grid" => {
            let fields = table.table(field);
            let mut reader = AxisReader::of(table);
            for (key, node) in leaves(fields) {
                block.axes.extend(reader.axis(&key, node));
            }
        }
        "zip" => {
            for (node, fields) in table.tables(field) {
                block.axes.extend(zip(table, node, fields));
            }
        }
        "point" => block.axes.extend(points(table, field)),
        "random" => {
            let fields = table.table(field);
            let mut reader = AxisReader::of(table);
            let dimensions: Vec<_> = leaves(fields)
                .iter()
                .filter_map(|(key, node)| reader.dimension(key, node))
                .collect();
            if draws.count == 0 {
                let place = Location::new(table.source, field.key_span.clone());
                table.problems.push(
                    Problem::error("the sweep does not say how many points are drawn")
                        .at(place, "")
                        .help("write draws = 20 under [sweep]"),
                );
                return;
            }
            let mut reader = AxisReader::of(table);
            block
                .axes
                .extend(reader.drawn(&dimensions, draws.count, draws.seed));
        }
        _ => table.unknown(field, known),
    }
}

/// Keys that vary together.
fn zip(table: &mut Fields<'_>, node: &Node, fields: &[Field]) -> Option<Axis> {
    let mut reader = AxisReader::of(table);
    let axes: Vec<Axis> = leaves(fields)
        .iter()
        .filter_map(|(key, node)| reader.axis(key, node))
        .collect();
    let count = axes.iter().map(|axis| axis.rows.len()).max()?;
    if let Some(short) = axes.iter().find(|axis| axis.rows.len() != count) {
        let lengths: Vec<_> = axes
            .iter()
            .map(|axis| format!("{} has {}", axis.keys[0].0, axis.rows.len()))
            .collect();
        let problem = Problem::error(format!(
            "keys of a zip have as many values each: {}",
            lengths.join(", ")
        ));
        table.problems.push(
            problem
                .at(short.keys[0].1.clone(), "")
                .at(table.at(node), ""),
        );
        return None;
    }
    let rows = (0..count).map(|at| Row {
        settings: axes
            .iter()
            .flat_map(|axis| axis.rows[at].settings.clone())
            .collect(),
        label: None,
    });
    Some(Axis {
        rows: rows.collect(),
        keys: axes.into_iter().flat_map(|axis| axis.keys).collect(),
    })
}

/// Points that are written out, as an axis.
fn points(table: &mut Fields<'_>, field: &Field) -> Option<Axis> {
    let mut axis = Axis {
        keys: Vec::new(),
        rows: Vec::new(),
    };
    for (_, fields) in table.tables(field) {
        let mut row = Row::default();
        let (labels, keys): (Vec<_>, Vec<_>) = fields
            .iter()
            .cloned()
            .partition(|field| field.key == "label");
        for label in &labels {
            row.label = table.text(label);
        }
        for (key, node) in leaves(&keys) {
            let place = key_place(table.source, &key);
            let mut reader = AxisReader::of(table);
            if let Some(setting) = reader.setting(&key, node) {
                if !axis.keys.iter().any(|(path, _)| *path == setting.path) {
                    axis.keys.push((setting.path.clone(), place));
                }
                row.settings.push(setting);
            }
        }
        axis.rows.push(row);
    }
    Some(axis).filter(|axis| !axis.rows.is_empty())
}

/// Values of a table, and where they stand.
fn settings(
    table: &mut Fields<'_>,
    fields: &[Field],
    values: &mut Vec<Setting>,
    places: &mut Vec<(String, Location)>,
) {
    let source = table.source;
    let mut reader = AxisReader::of(table);
    for (key, node) in leaves(fields) {
        if let Some(setting) = reader.setting(&key, node) {
            places.push((setting.path.clone(), key_place(source, &key)));
            values.push(setting);
        }
    }
}

fn exclusions(table: &mut Fields<'_>, field: &Field) -> Vec<Exclusion> {
    let mut found = Vec::new();
    for (node, fields) in table.tables(field) {
        let location = table.at(node);
        let mut reader = AxisReader::of(table);
        let conditions: Vec<_> = leaves(fields)
            .iter()
            .filter_map(|(key, node)| reader.test(key, node))
            .collect();
        if !conditions.is_empty() {
            found.push(Exclusion {
                conditions,
                location,
            });
        }
    }
    found
}

/// Where a key stands.
pub(super) fn key_place(source: &Arc<Source>, key: &[KeyPart]) -> Location {
    let start = key.first().map_or(0, |part| part.span.start);
    let end = key.last().map_or(start, |part| part.span.end);
    Location::new(source, start..end)
}
