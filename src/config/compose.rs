//! Composition: which files, variables and arguments make an experiment, in
//! which order.
//!
//! Defaults < files named by `extends` < groups chosen by `[use]` < the file
//! itself < point of a sweep < environment `NOVIC__SECTION__FIELD` < command
//! line. Every file, value of a point, variable and argument is a layer of its
//! own.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::interpolate::{escaped, with_variables};
use super::layer::LayerReader;
use super::names::{LOOSE, TABLES, is_section, suggest};
use super::nearest::nearest;
use super::node::{Field, Node, Raw};
use super::overrides::{self, KeyPart, Operation, Override};
use super::problem::Problem;
use super::schema::{self, document_key, key_by_flat_name};
use super::source::{Location, Source, SourceKind};
use super::stacks::Stacks;
use super::toml;

/// Largest file that is read.
const MAX_FILE_BYTES: u64 = 16 << 20;
/// Prefix of environment variables that are configuration.
const VARIABLE_PREFIX: &str = "NOVIC__";
/// Variables of Weights & Biases, and the keys that they give; `NOVIC__…` comes
/// before them.
const WANDB_VARIABLES: &[(&str, &str)] = &[
    ("WANDB_PROJECT", "tracking.project"),
    ("WANDB_ENTITY", "tracking.entity"),
    ("WANDB_RUN_GROUP", "tracking.group"),
    ("WANDB_JOB_TYPE", "tracking.job_type"),
    ("WANDB_NAME", "tracking.name"),
    ("WANDB_TAGS", "tracking.tags"),
    ("WANDB_NOTES", "tracking.notes"),
    ("WANDB_MODE", "tracking.wandb.mode"),
    ("WANDB_BASE_URL", "tracking.wandb.base_url"),
    ("WANDB_RUN_ID", "tracking.wandb.run_id"),
    ("WANDB_RESUME", "tracking.wandb.resume"),
];

/// What an experiment is made from.
#[derive(Debug, Clone, Default)]
pub struct Request {
    /// The experiment file.
    pub file: PathBuf,
    /// Its text, if it is not to be read from the disk.
    pub text: Option<String>,
    /// Texts of all files that belong to it, if none is to be read from the
    /// disk.
    pub texts: Option<Arc<BTreeMap<PathBuf, String>>>,
    /// Overrides of a point of a sweep.
    pub point: Vec<String>,
    /// Environment variables; only those that begin with `NOVIC__`, those of
    /// Weights & Biases and those that `${env:NAME}` names matter.
    pub environment: Vec<(String, String)>,
    /// Overrides of the command line, in their order.
    pub overrides: Vec<String>,
}

impl Request {
    /// An experiment file with the environment of the process.
    pub fn new(file: impl Into<PathBuf>) -> Self {
        // Variables that are no Unicode cannot be configuration.
        let environment = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect();
        Self {
            file: file.into(),
            environment,
            ..Self::default()
        }
    }

    /// The same with overrides.
    pub fn overrides(mut self, overrides: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.overrides.extend(overrides.into_iter().map(Into::into));
        self
    }

    fn read(&self, path: &Path) -> Result<String, String> {
        match &self.texts {
            None => read(path),
            Some(texts) => texts
                .get(path)
                .cloned()
                .ok_or_else(|| "it was not there when the sweep was begun".to_owned()),
        }
    }

    fn has_file(&self, path: &Path) -> bool {
        match &self.texts {
            None => path.is_file(),
            Some(texts) => texts.contains_key(path),
        }
    }
}

/// All layers of an experiment.
#[derive(Debug, Clone)]
pub(super) struct Composition {
    /// Their entries.
    pub stacks: Stacks,
    /// Every file that was read, in the order of the layers.
    pub files: Vec<Arc<Source>>,
    /// Whether a file is missing, so that what it says is unknown.
    pub incomplete: bool,
}

/// What lies above the files: parsed overrides, lowest first.
#[derive(Debug, Clone)]
pub(super) struct Above(Vec<(Arc<Source>, Override)>);

impl Above {
    /// Point, variables and arguments of a request.
    pub fn of(request: &Request, problems: &mut Vec<Problem>) -> Self {
        let mut above = Self::point(&request.point, problems);
        above.0.extend(wandb_variables(request));
        above.0.extend(variables(request, problems));
        let arguments = &request.overrides;
        above
            .0
            .extend(parsed(SourceKind::Argument, arguments, problems));
        above
    }

    /// The overrides of a point.
    pub fn point(point: &[String], problems: &mut Vec<Problem>) -> Self {
        Self(parsed(SourceKind::Point, point, problems))
    }

    /// Whether a group is chosen, so that other files count.
    pub fn chooses(&self) -> bool {
        self.0
            .iter()
            .any(|(_, change)| change.key[0].name == "use" && change.key.len() == 2)
    }

    /// Adds a layer for each.
    pub fn add(&self, stacks: &mut Stacks, problems: &mut Vec<Problem>) {
        for (source, change) in &self.0 {
            add_override(source, change, stacks, problems);
        }
    }

    /// Names of what they give, with where; groups as `use.GROUP`.
    pub fn names(&self) -> Vec<(String, Location)> {
        let mut names = Vec::new();
        for (source, change) in &self.0 {
            let location = Location::new(source, change.key_span.clone());
            let written: Vec<_> = change.key.iter().map(|part| part.name.as_str()).collect();
            let written = written.join(".");
            let value = change
                .value
                .clone()
                .filter(|_| !written.starts_with("use."));
            let Some(value) = value else {
                let name = known_path(&written).unwrap_or(written);
                names.push((name, location));
                continue;
            };
            let field = nested(&change.key, &value);
            // What is wrong with them is told when they are added.
            let entries = LayerReader::read(source, std::slice::from_ref(&field), &mut Vec::new());
            names.extend(
                entries
                    .iter()
                    .map(|entry| (entry.slot.path(), location.clone())),
            );
        }
        names
    }
}

/// A file with those that it extends.
struct Tree {
    source: Arc<Source>,
    fields: Vec<Field>,
    extends: Vec<Tree>,
}

/// A choice of a group.
struct Choice {
    group: String,
    name: String,
    location: Location,
}

/// Reads all layers. Problems are added to `problems`; what could be read is
/// returned all the same, so that all of them are found at once.
pub(super) fn compose(request: &Request, problems: &mut Vec<Problem>) -> Composition {
    let above = Above::of(request, problems);
    let mut composition = compose_files(request, &above, problems);
    above.add(&mut composition.stacks, problems);
    composition
}

/// The layers of files alone; `above` may choose some of them.
pub(super) fn compose_files(
    request: &Request,
    above: &Above,
    problems: &mut Vec<Problem>,
) -> Composition {
    let main = match &request.text {
        Some(text) => Ok(text.clone()),
        None => request.read(&request.file),
    };
    let before = problems.len();
    let tree = match main {
        Ok(text) => {
            let mut chain = Vec::new();
            load(request, &request.file, text, &mut chain, problems)
        }
        Err(reason) => {
            problems.push(missing_main(&request.file, &reason));
            None
        }
    };
    let incomplete = problems.len() > before;
    let mut stacks = Stacks::default();
    let mut files = Vec::new();
    if let Some(tree) = tree {
        let mut choices = Vec::new();
        collect_choices(request, &tree, &mut choices, problems);
        for (source, change) in &above.0 {
            override_choice(request, source, change, &mut choices, problems);
        }
        let Tree {
            source: main,
            fields,
            extends,
        } = tree;
        let directories = group_directories(&main, &extends);
        for tree in &extends {
            add_tree(tree, &mut stacks, &mut files, problems);
        }
        for choice in &choices {
            add_group(
                request,
                choice,
                &directories,
                &mut stacks,
                &mut files,
                problems,
            );
        }
        add_file(&main, &fields, &mut stacks, &mut files, problems);
    }
    Composition {
        stacks,
        files,
        incomplete,
    }
}

fn read(path: &Path) -> Result<String, String> {
    let explain = |error: std::io::Error| error.to_string();
    let size = std::fs::metadata(path).map_err(explain)?.len();
    if size > MAX_FILE_BYTES {
        return Err(format!("it has {size} bytes, more than {MAX_FILE_BYTES}"));
    }
    std::fs::read_to_string(path).map_err(explain)
}

fn missing_main(path: &Path, reason: &str) -> Problem {
    let problem = Problem::error(format!("cannot read {}: {reason}", path.display()));
    if path.is_file() {
        return problem.help(match std::fs::File::open(path) {
            Ok(_) => "an experiment file is a text in UTF-8",
            Err(_) => "make it readable for you",
        });
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let names = toml_names(directory);
    let stem = path
        .file_stem()
        .map(|stem| stem.to_string_lossy().into_owned());
    match stem.and_then(|stem| nearest(&stem, names.iter().map(String::as_str)).map(str::to_owned))
    {
        Some(name) => {
            let near = directory.join(format!("{name}.toml"));
            problem.help(format!("did you mean {}?", near.display()))
        }
        None if names.is_empty() => problem.help("name an experiment file (TOML)"),
        None => problem.help(format!("{} has {}", directory.display(), names.join(", "))),
    }
}

/// Stems of the TOML files in a directory, sorted.
fn toml_names(directory: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
    let mut names: Vec<_> = entries
        .map(|entry| entry.path())
        .filter(|path| {
            path.extension()
                .is_some_and(|extension| extension == "toml")
        })
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    names
}

fn load(
    request: &Request,
    path: &Path,
    text: String,
    chain: &mut Vec<PathBuf>,
    problems: &mut Vec<Problem>,
) -> Option<Tree> {
    let source = Source::new(SourceKind::File(path.to_owned()), text);
    let fields = match toml::parse(&source) {
        Ok(fields) => fields,
        Err(problem) => {
            problems.push(problem);
            return None;
        }
    };
    chain.push(path.to_owned());
    let mut extends = Vec::new();
    for (name, location) in texts_of(&source, &fields, "extends", problems) {
        let target = path.parent().unwrap_or(Path::new("")).join(&name);
        if let Some(start) = chain.iter().position(|other| same_file(other, &target)) {
            let circle: Vec<_> = chain[start..]
                .iter()
                .chain([&target])
                .map(|path| path.display().to_string())
                .collect();
            let problem =
                Problem::error(format!("files extend each other: {}", circle.join(" → ")))
                    .at(location, "")
                    .help("take this name out of `extends`");
            problems.push(problem);
            continue;
        }
        match request.read(&target) {
            Ok(text) => extends.extend(load(request, &target, text, chain, problems)),
            Err(reason) => {
                let problem = Problem::error(format!("cannot read {}: {reason}", target.display()))
                    .at(location, "named here")
                    .help("names in `extends` are relative to the file that says them");
                problems.push(problem);
            }
        }
    }
    chain.pop();
    Some(Tree {
        source,
        fields,
        extends,
    })
}

fn same_file(a: &Path, b: &Path) -> bool {
    a == b || matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

/// The texts of a top-level key that takes a text or a list of texts.
fn texts_of(
    source: &Arc<Source>,
    fields: &[Field],
    key: &str,
    problems: &mut Vec<Problem>,
) -> Vec<(String, Location)> {
    let Some(field) = fields.iter().find(|field| field.key == key) else {
        return Vec::new();
    };
    let single = std::slice::from_ref(&field.value);
    let items = match &field.value.raw {
        Raw::List(items) => items.as_slice(),
        _ => single,
    };
    let mut texts = Vec::new();
    for item in items {
        let location = Location::new(source, item.span.clone());
        match item.text() {
            Some(text) => texts.push((text.to_owned(), location)),
            None => problems.push(
                Problem::error(format!("{key}: expected a text, found {}", item.describe()))
                    .at(location, "expected a text or a list of texts"),
            ),
        }
    }
    texts
}

/// Choices of a file and of those it extends; later ones of a group win.
fn collect_choices(
    request: &Request,
    tree: &Tree,
    choices: &mut Vec<Choice>,
    problems: &mut Vec<Problem>,
) {
    for inner in &tree.extends {
        collect_choices(request, inner, choices, problems);
    }
    let Some(field) = tree.fields.iter().find(|field| field.key == "use") else {
        return;
    };
    let Raw::Table(groups) = &field.value.raw else {
        let problem = Problem::error(format!(
            "`use` is a section, found {}",
            field.value.describe()
        ))
        .at(
            Location::new(&tree.source, field.value.span.clone()),
            "expected a table",
        )
        .help("write [use] and under it GROUP = \"NAME\"");
        problems.push(problem);
        return;
    };
    for Field { key, value, .. } in groups {
        choose(request, &tree.source, key, value, choices, problems);
    }
}

fn choose(
    request: &Request,
    source: &Arc<Source>,
    group: &str,
    value: &Node,
    choices: &mut Vec<Choice>,
    problems: &mut Vec<Problem>,
) {
    let location = Location::new(source, value.span.clone());
    if value.text().is_none() {
        let problem = Problem::error(format!(
            "use.{group}: expected a name, found {}",
            value.describe()
        ))
        .at(location, "expected the name of a file of the group");
        problems.push(problem);
        return;
    }
    let variable = |name: &str| {
        let mut given = request.environment.iter();
        given
            .find(|(other, _)| other == name)
            .map(|(_, value)| value.clone())
    };
    let name = match with_variables(value, &variable) {
        Ok(name) => name,
        Err(fault) => {
            let problem = Problem::error(format!("use.{group}: {}", fault.title))
                .at(location, "")
                .help("groups are chosen before there are values: write a name or ${env:NAME,DEFAULT}");
            problems.push(problem);
            return;
        }
    };
    let choice = Choice {
        group: group.to_owned(),
        name,
        location,
    };
    match choices.iter_mut().find(|other| other.group == group) {
        Some(other) => *other = choice,
        None => choices.push(choice),
    }
}

/// Takes a `use.GROUP=NAME` or `~use.GROUP`.
fn override_choice(
    request: &Request,
    source: &Arc<Source>,
    change: &Override,
    choices: &mut Vec<Choice>,
    problems: &mut Vec<Problem>,
) {
    let [first, group] = change.key.as_slice() else {
        return;
    };
    if first.name != "use" {
        return;
    }
    match &change.value {
        Some(value) => choose(request, source, &group.name, value, choices, problems),
        None => choices.retain(|choice| choice.group != group.name),
    }
}

/// Directories that may hold groups: `base/` beside the experiment file, beside
/// those it extends, and their own directories (for files in `base/`).
fn group_directories(main: &Source, extends: &[Tree]) -> Vec<PathBuf> {
    fn add(source: &Source, directories: &mut Vec<PathBuf>) {
        let SourceKind::File(path) = &source.kind else {
            return;
        };
        let parent = path.parent().unwrap_or(Path::new(""));
        for directory in [parent.join("base"), parent.to_owned()] {
            if !directories.contains(&directory) {
                directories.push(directory);
            }
        }
    }
    fn add_trees(trees: &[Tree], directories: &mut Vec<PathBuf>) {
        for tree in trees {
            add(&tree.source, directories);
            add_trees(&tree.extends, directories);
        }
    }
    let mut directories = Vec::new();
    add(main, &mut directories);
    add_trees(extends, &mut directories);
    directories
}

fn add_group(
    request: &Request,
    choice: &Choice,
    directories: &[PathBuf],
    stacks: &mut Stacks,
    files: &mut Vec<Arc<Source>>,
    problems: &mut Vec<Problem>,
) {
    let plain = |name: &str| {
        !name.is_empty()
            && name
                .chars()
                .all(|c| c.is_alphanumeric() || "_-.".contains(c))
    };
    let folders = || {
        directories
            .iter()
            .map(|directory| directory.join(&choice.group))
    };
    let path = folders()
        .map(|folder| folder.join(format!("{}.toml", choice.name)))
        .find(|path| plain(&choice.group) && plain(&choice.name) && request.has_file(path));
    let Some(path) = path else {
        problems.push(unknown_choice(choice, folders(), directories));
        return;
    };
    let text = match request.read(&path) {
        Ok(text) => text,
        Err(reason) => {
            let problem = Problem::error(format!("cannot read {}: {reason}", path.display()));
            problems.push(problem.at(choice.location.clone(), "chosen here"));
            return;
        }
    };
    let Some(tree) = load(request, &path, text, &mut Vec::new(), problems) else {
        return;
    };
    if let Some(field) = tree.fields.iter().find(|field| field.key == "use") {
        let problem = Problem::error("a file of a group cannot choose groups itself")
            .at(Location::new(&tree.source, field.key_span.clone()), "")
            .help("use `extends` here, or choose both groups in the experiment file");
        problems.push(problem);
    }
    add_tree(&tree, stacks, files, problems);
}

fn unknown_choice(
    choice: &Choice,
    folders: impl Iterator<Item = PathBuf>,
    directories: &[PathBuf],
) -> Problem {
    let Choice {
        group,
        name,
        location,
    } = choice;
    let options: BTreeSet<String> = folders.flat_map(|folder| toml_names(&folder)).collect();
    if options.is_empty() {
        let problem = Problem::error(format!("there is no group `{group}`"));
        let looked: Vec<_> = directories
            .iter()
            .map(|d| d.join(group).display().to_string())
            .collect();
        let problem = problem.at(location.clone(), "");
        let groups = group_names(directories);
        let problem = match nearest(group, groups.iter().map(String::as_str)) {
            Some(near) => problem.help(format!("did you mean `{near}`?")),
            None => problem.help(format!(
                "groups are directories; looked for {}",
                looked.join(", ")
            )),
        };
        let groups: Vec<_> = groups.into_iter().collect();
        return match groups.is_empty() {
            true => problem,
            false => problem.help(format!("groups here are {}", groups.join(", "))),
        };
    }
    let problem =
        Problem::error(format!("group `{group}` has no `{name}`")).at(location.clone(), "");
    let problem = match nearest(name, options.iter().map(String::as_str)) {
        Some(near) => problem.help(format!("did you mean `{near}`?")),
        None => problem,
    };
    let options: Vec<_> = options.into_iter().collect();
    problem.help(format!("`{group}` has {}", options.join(", ")))
}

/// Names of the groups in directories: of their folders that hold TOML files.
fn group_names(directories: &[PathBuf]) -> BTreeSet<String> {
    let entries = directories
        .iter()
        .filter_map(|dir| std::fs::read_dir(dir).ok());
    let folders = entries.flatten().flatten().map(|entry| entry.path());
    folders
        .filter(|folder| folder.is_dir() && !toml_names(folder).is_empty())
        .filter_map(|folder| Some(folder.file_name()?.to_string_lossy().into_owned()))
        .collect()
}

fn add_tree(
    tree: &Tree,
    stacks: &mut Stacks,
    files: &mut Vec<Arc<Source>>,
    problems: &mut Vec<Problem>,
) {
    for inner in &tree.extends {
        add_tree(inner, stacks, files, problems);
    }
    add_file(&tree.source, &tree.fields, stacks, files, problems);
}

fn add_file(
    source: &Arc<Source>,
    fields: &[Field],
    stacks: &mut Stacks,
    files: &mut Vec<Arc<Source>>,
    problems: &mut Vec<Problem>,
) {
    files.push(Arc::clone(source));
    for (name, location) in texts_of(source, fields, "unset", problems) {
        match known_path(&name) {
            Some(path) => {
                stacks.remove(&path);
            }
            None => problems.push(unknown_removal(&name, location)),
        }
    }
    let entries = LayerReader::read(source, fields, problems);
    stacks.add(entries, problems);
}

/// The nested form of a name that may be removed: of a key, of a section, of a
/// stage, of a cell, or of a value of one.
fn known_path(name: &str) -> Option<String> {
    if let Some(key) = key_by_flat_name(name) {
        return Some(key.path.to_owned());
    }
    if schema::key(name).is_some() || document_key(name).is_some() || is_section(name) {
        return Some(name.to_owned());
    }
    let (table, rest) = name.split_once('.')?;
    match table {
        "table" | "plot" => Some(name.to_owned()),
        "stage" => match rest.split_once('.') {
            None | Some((_, "kind" | "inputs")) => Some(name.to_owned()),
            Some((stage, inner)) => match key_by_flat_name(inner) {
                Some(key) => Some(format!("stage.{stage}.{}", key.path)),
                None if schema::key(inner).is_some() || is_section(inner) => Some(name.to_owned()),
                None => None,
            },
        },
        _ => None,
    }
}

fn unknown_removal(name: &str, location: Location) -> Problem {
    let one = match name {
        "stage" | "table" | "plot" => Some("NAME"),
        "use" => Some("GROUP"),
        _ => None,
    };
    if let Some(one) = one {
        return Problem::error(format!("`{name}` cannot be removed as a whole"))
            .at(location, "")
            .help(format!("name one of them: `{name}.{one}`"));
    }
    if LOOSE.contains(&name) {
        return Problem::error(format!("`{name}` cannot be removed"))
            .at(location, "")
            .help("take it out of the file");
    }
    let problem = Problem::error(format!("there is no `{name}` to remove")).at(location, "");
    let (prefix, last) = name.rsplit_once('.').unwrap_or(("", name));
    let extra: Vec<_> = TABLES.iter().chain(LOOSE).copied().collect();
    let helps = if prefix.is_empty() || is_section(prefix) {
        suggest(prefix, last, &extra)
    } else {
        Vec::new()
    };
    helps.into_iter().fold(problem, Problem::help)
}

fn parsed(
    kind: SourceKind,
    texts: &[String],
    problems: &mut Vec<Problem>,
) -> Vec<(Arc<Source>, Override)> {
    let mut parsed = Vec::new();
    for text in texts {
        let source = Source::new(kind.clone(), text.as_str());
        match overrides::parse(text) {
            Ok(change) => parsed.push((source, change)),
            Err(error) => problems.push(
                Problem::error(error.message)
                    .at(Location::new(&source, error.span), "")
                    .help(error.help),
            ),
        }
    }
    parsed
}

/// Whether an environment variable gives a key of the configuration.
pub(super) fn is_variable(name: &str) -> bool {
    let is_wandb = WANDB_VARIABLES.iter().any(|(known, _)| *known == name);
    is_wandb || name.starts_with(VARIABLE_PREFIX)
}

/// Variables that the official programs of Weights & Biases read.
fn wandb_variables(request: &Request) -> Vec<(Arc<Source>, Override)> {
    let mut found = Vec::new();
    for &(name, path) in WANDB_VARIABLES {
        let mut given = request.environment.iter();
        let Some((_, value)) = given.find(|(other, value)| other == name && !value.is_empty())
        else {
            continue;
        };
        let value = match (name, value.as_str()) {
            ("WANDB_MODE", "disabled") => "off",
            (_, value) => value,
        };
        // A text, whatever it looks like.
        let text = format!("{name}={value}");
        let value = Node {
            span: name.len() + 1..text.len(),
            raw: Raw::Text(escaped(value)),
        };
        let source = Source::new(SourceKind::Environment, text.as_str());
        let key_span = 0..name.len();
        let key = path.split('.').map(|part| KeyPart {
            name: part.to_owned(),
            span: key_span.clone(),
        });
        let change = Override {
            operation: Operation::Force,
            key: key.collect(),
            key_span,
            value: Some(value),
        };
        found.push((source, change));
    }
    found
}

/// Variables `NOVIC__SECTION__FIELD=value`, sorted by name.
fn variables(request: &Request, problems: &mut Vec<Problem>) -> Vec<(Arc<Source>, Override)> {
    let mut variables: Vec<_> = request
        .environment
        .iter()
        .filter(|(name, _)| name.starts_with(VARIABLE_PREFIX))
        .collect();
    variables.sort();
    let mut parsed = Vec::new();
    for (name, value) in variables {
        let text = format!("{name}={value}");
        let source = Source::new(SourceKind::Environment, text.as_str());
        let mut key = Vec::new();
        let mut at = VARIABLE_PREFIX.len();
        for part in name[VARIABLE_PREFIX.len()..].split("__") {
            let span = at..at + part.len();
            at = span.end + 2;
            key.push(KeyPart {
                name: part.to_lowercase(),
                span,
            });
        }
        let key_span = VARIABLE_PREFIX.len()..name.len();
        match overrides::parse_value(&text, name.len() + 1) {
            Ok(value) => {
                let change = Override {
                    operation: Operation::Force,
                    key,
                    key_span,
                    value: Some(value),
                };
                parsed.push((source, change));
            }
            Err(error) => problems.push(
                Problem::error(error.message)
                    .at(Location::new(&source, error.span), "")
                    .help(error.help),
            ),
        }
    }
    parsed
}

fn add_override(
    source: &Arc<Source>,
    change: &Override,
    stacks: &mut Stacks,
    problems: &mut Vec<Problem>,
) {
    if change.key.first().is_some_and(|part| part.name == "use") && change.key.len() == 2 {
        return;
    }
    let names: Vec<_> = change.key.iter().map(|part| part.name.as_str()).collect();
    let name = names.join(".");
    let at = || Location::new(source, change.key_span.clone());
    let Some(value) = &change.value else {
        match known_path(&name) {
            Some(path)
                if path.starts_with("stage.")
                    || path.starts_with("table.")
                    || path.starts_with("plot.") =>
            {
                if !stacks.remove(&path) {
                    problems.push(
                        Problem::error(format!("there is no `{path}` to remove")).at(at(), ""),
                    );
                }
            }
            Some(path) => {
                stacks.remove(&path);
            }
            None => problems.push(unknown_removal(&name, at())),
        }
        return;
    };
    if let Some(problem) = check_operation(source, change, &names, stacks) {
        problems.push(problem);
        return;
    }
    let field = nested(&change.key, value);
    let before = problems.len();
    let entries = LayerReader::read(source, std::slice::from_ref(&field), problems);
    if problems.len() == before {
        stacks.add(entries, problems);
    }
}

/// Whether the operation fits: `key=` needs what it sets, `+key=` needs that it
/// is not there yet.
fn check_operation(
    source: &Arc<Source>,
    change: &Override,
    names: &[&str],
    stacks: &Stacks,
) -> Option<Problem> {
    let at = |part: usize| {
        let span = change
            .key
            .get(part)
            .map_or(change.key_span.clone(), |part| part.span.clone());
        Location::new(source, span)
    };
    let plain = &source.text[change.key_span.start..];
    let is_map = matches!(names, ["stage" | "table" | "plot", _, ..]);
    match change.operation {
        Operation::Set if is_map => {
            let owner = format!("{}.{}", names[0], names[1]);
            if stacks.contains(&owner) {
                return None;
            }
            let existing = stacks.in_order();
            let others = existing
                .iter()
                .filter_map(|entry| match (&entry.slot, names[0]) {
                    (super::layer::Slot::StageHeader(name), "stage") => Some(name.as_str()),
                    (super::layer::Slot::CellHeader(kind, name), table)
                        if kind.as_str() == table =>
                    {
                        Some(name.as_str())
                    }
                    _ => None,
                });
            let problem =
                Problem::error(format!("there is no {} `{}`", names[0], names[1])).at(at(1), "");
            let problem = match nearest(names[1], others) {
                Some(near) => problem.help(format!("did you mean `{}.{near}`?", names[0])),
                None => problem,
            };
            // Points of sweeps add nothing.
            Some(match source.kind {
                SourceKind::Point => problem,
                _ => problem.help(format!("write `+{plain}` to add it")),
            })
        }
        Operation::Add if is_map => {
            let name = names.join(".");
            stacks
                .contains(&known_path(&name).unwrap_or(name.clone()))
                .then(|| {
                    Problem::error(format!("`{name}` exists"))
                        .at(at(0), "")
                        .help(format!("write `{plain}` to set it"))
                })
        }
        Operation::Add if known_path(&names.join(".")).is_some() => Some(
            Problem::error(
                "`+` adds entries to maps (stages, tables, plots); this key always exists",
            )
            .at(at(0), "")
            .help(format!("write `{plain}`")),
        ),
        _ => None,
    }
}

/// `a.b.c=value` as the field `a = {b = {c = value}}`.
pub(super) fn nested(key: &[KeyPart], value: &Node) -> Field {
    let mut parts = key.iter().rev();
    let field = |part: &KeyPart, value: Node| Field {
        key: part.name.clone(),
        key_span: part.span.clone(),
        value,
    };
    let Some(last) = parts.next() else {
        return Field {
            key: String::new(),
            key_span: 0..0,
            value: value.clone(),
        };
    };
    parts.fold(field(last, value.clone()), |inner, part| {
        let span = inner.key_span.start..inner.value.span.end;
        field(
            part,
            Node {
                span,
                raw: Raw::Table(vec![inner]),
            },
        )
    })
}

#[cfg(test)]
mod tests {
    use super::super::{ConfigErrors, Experiment};
    use super::*;

    fn load(
        text: &str,
        environment: &[(&str, &str)],
        overrides: &[&str],
    ) -> Result<Experiment, ConfigErrors> {
        let files = [
            ("main.toml", text),
            ("base/size/one.toml", "[train]\nmax_chunks = 1\n"),
            ("base/size/two.toml", "[train]\nmax_chunks = 2\n"),
        ];
        let texts = files.map(|(path, text)| (PathBuf::from(path), text.to_owned()));
        let environment = environment.iter();
        let environment = environment.map(|(name, value)| ((*name).into(), (*value).into()));
        let request = Request {
            file: "main.toml".into(),
            texts: Some(Arc::new(texts.into())),
            environment: environment.collect(),
            ..Request::default()
        };
        Experiment::load(&request.overrides(overrides.iter().copied()))
    }

    #[test]
    fn groups_are_chosen_by_the_environment() {
        let text = "[use]\nsize = \"${env:SIZE,one}\"\n";
        let chunks = |environment: &[(&str, &str)], overrides: &[&str]| {
            let experiment = load(text, environment, overrides).unwrap();
            experiment.config.train.max_chunks
        };
        assert_eq!(chunks(&[], &[]), 1);
        assert_eq!(chunks(&[("SIZE", "two")], &[]), 2);
        assert_eq!(chunks(&[("OTHER", "two")], &["use.size=${env:OTHER}"]), 2);
        let refused = |text: &str| load(text, &[], &[]).unwrap_err().to_string();
        let error = refused("[use]\nsize = \"${train.lr.init}\"\n");
        assert!(error.contains("before there are values"), "{error}");
        let error = refused("[use]\nsize = \"${env:SIZE}\"\n");
        assert!(error.contains("the environment has no `SIZE`"), "{error}");
    }

    #[test]
    fn a_plain_reference_is_a_text() {
        let text = "[tracking]\nname = '\\${x} ${env:WHO}'\nnotes = \"${tracking.name}\"\n";
        let environment = [("WHO", "me"), ("WANDB_JOB_TYPE", "${a}\\b")];
        let overrides = ["tracking.group=\\${y}"];
        let tracking = load(text, &environment, &overrides)
            .unwrap()
            .config
            .tracking;
        assert_eq!(tracking.name.as_deref(), Some("${x} me"));
        assert_eq!(tracking.notes.as_deref(), Some("${x} me"));
        assert_eq!(tracking.group.as_deref(), Some("${y}"));
        assert_eq!(tracking.job_type.as_deref(), Some("${a}\\b"));
    }

    #[test]
    fn tables_are_not_removed_as_a_whole() {
        let said = |what: &str| load("", &[], &[what]).unwrap_err().to_string();
        assert!(said("~stage").contains("name one of them: `stage.NAME`"));
        assert!(said("~use").contains("name one of them: `use.GROUP`"));
        assert!(said("~extends").contains("take it out of the file"));
    }
}
