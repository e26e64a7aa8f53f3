//! Layers: the entries that one file, variable or argument gives.

use std::sync::Arc;

use serde_json::Value;

use super::cell::CellKind;
use super::migrate::VERSION;
use super::names::{LOOSE, TABLES, is_section, suggest};
use super::nearest::nearest;
use super::node::{Field, Node, Raw, word_bool, word_int};
use super::problem::Problem;
use super::schema::{self, Key, document_key, key_by_flat_name};
use super::source::{Location, Source};
use super::stage::{StageInput, StageKind};
use super::value::{Converted, convert};

/// Where prices of models stand.
const PRICES: &str = "annotate.gpt.price";

/// What an entry is for.
#[derive(Debug, Clone)]
pub(super) enum Slot {
    /// A value of a section, for all stages.
    Section(&'static Key),
    /// A value for one stage.
    Stage(String, &'static Key),
    /// A value of `[experiment]` or `[store]`.
    Document(&'static Key),
    /// A price of a model.
    Price(String, &'static Key),
    /// A stage exists.
    StageHeader(String),
    /// The kind of a stage.
    Kind(String),
    /// The inputs of a stage.
    Inputs(String),
    /// A cell exists.
    CellHeader(CellKind, String),
    /// A key of a cell.
    Cell(CellKind, String, String),
}

impl Slot {
    /// Its dotted name: entries of later layers with the same name win.
    pub fn path(&self) -> String {
        match self {
            Self::Section(key) | Self::Document(key) => key.path.to_owned(),
            Self::Stage(stage, key) => format!("stage.{stage}.{}", key.path),
            Self::Price(model, key) => {
                let name = key.path.strip_prefix(PRICES).unwrap_or(key.path);
                format!("{PRICES}.{model}{name}")
            }
            Self::StageHeader(stage) => format!("stage.{stage}"),
            Self::Kind(stage) => format!("stage.{stage}.kind"),
            Self::Inputs(stage) => format!("stage.{stage}.inputs"),
            Self::CellHeader(kind, cell) => format!("{}.{cell}", kind.as_str()),
            Self::Cell(kind, cell, key) => format!("{}.{cell}.{key}", kind.as_str()),
        }
    }
}

/// What a layer gives for a slot.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    /// For what.
    pub slot: Slot,
    /// What.
    pub content: Content,
    /// Where the value stands.
    pub location: Location,
    /// Where the key stands.
    pub key_location: Location,
    /// Whether the key is written with its flat name.
    pub flat: bool,
}

/// What stands there.
#[derive(Debug, Clone)]
pub(super) enum Content {
    /// A value of the slot's type.
    Value(Value),
    /// A value with references, converted when they are known.
    Template(Node),
    /// `???`: a value that others must give.
    Required,
    /// Kind of a stage.
    Kind(StageKind),
    /// Inputs of a stage.
    Inputs(Vec<StageInput>),
    /// Value of a cell's key.
    Raw(Node),
    /// Nothing: the slot says that something exists.
    Header,
}

/// Reads the entries of one source.
pub(super) struct LayerReader<'a> {
    source: &'a Arc<Source>,
    problems: &'a mut Vec<Problem>,
    entries: Vec<Entry>,
}

impl<'a> LayerReader<'a> {
    /// Entries of a top-level table, problems added to `problems`.
    pub fn read(
        source: &'a Arc<Source>,
        fields: &[Field],
        problems: &'a mut Vec<Problem>,
    ) -> Vec<Entry> {
        let mut reader = Self {
            source,
            problems,
            entries: Vec::new(),
        };
        for field in fields {
            reader.top(field);
        }
        reader.entries
    }

    fn top(&mut self, field: &Field) {
        match field.key.as_str() {
            "extends" | "unset" | "use" if self.source.is_file() => {}
            "version" if self.source.is_file() => self.version(field),
            "version" | "extends" | "unset" | "use" => {
                let problem = Problem::error(format!("`{}` belongs in a file", field.key))
                    .at(self.at(field.key_span.clone()), "");
                self.problems
                    .push(problem.help("groups are chosen with `use.GROUP=NAME`"));
            }
            "stage" => self.each(field, "stage", Self::stage),
            "table" => self.each(field, "table", |reader, cell| {
                reader.cell(CellKind::Table, cell);
            }),
            "plot" => self.each(field, "plot", |reader, cell| {
                reader.cell(CellKind::Plot, cell)
            }),
            _ => self.section_field("", field, None),
        }
    }

    /// Files of later versions may mean something else.
    fn version(&mut self, field: &Field) {
        let known = match &field.value.raw {
            Raw::Int(version) => (0..=VERSION).contains(version),
            _ => false,
        };
        if !known {
            let title = match &field.value.raw {
                Raw::Int(version) => format!("the file is of version {version}"),
                _ => format!(
                    "version: expected a number, found {}",
                    field.value.describe()
                ),
            };
            let problem = Problem::error(title)
                .at(self.at(field.value.span.clone()), "")
                .help(format!(
                    "this program reads up to {VERSION}; use a newer novic"
                ));
            self.problems.push(problem);
        }
    }

    fn each(&mut self, field: &Field, name: &str, mut read: impl FnMut(&mut Self, &Field)) {
        match &field.value.raw {
            Raw::Table(fields) => {
                for inner in fields {
                    let valid = !inner.key.is_empty()
                        && inner
                            .key
                            .chars()
                            .all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'));
                    if valid {
                        read(self, inner);
                    } else {
                        let problem = Problem::error(format!("invalid name of a {name}"))
                            .at(self.at(inner.key_span.clone()), "")
                            .help("names have letters, digits, `_` and `-`");
                        self.problems.push(problem);
                    }
                }
            }
            _ => self.not_a_table(name, field),
        }
    }

    fn stage(&mut self, field: &Field) {
        let name = field.key.as_str();
        let Raw::Table(fields) = &field.value.raw else {
            self.not_a_table(&format!("stage.{name}"), field);
            return;
        };
        self.push(
            Slot::StageHeader(name.to_owned()),
            Content::Header,
            field,
            false,
        );
        for inner in fields {
            match inner.key.as_str() {
                "kind" => {
                    // An unknown kind is a problem already, not a missing one.
                    let content = self.kind(inner).map_or(Content::Header, Content::Kind);
                    self.push(Slot::Kind(name.to_owned()), content, inner, false);
                }
                "inputs" => {
                    if let Some(inputs) = self.inputs(inner) {
                        let slot = Slot::Inputs(name.to_owned());
                        self.push(slot, Content::Inputs(inputs), inner, false);
                    }
                }
                _ => self.section_field("", inner, Some(name)),
            }
        }
    }

    fn kind(&mut self, field: &Field) -> Option<StageKind> {
        let given = field.value.text();
        if let Some(kind) = given.and_then(StageKind::from_name) {
            return Some(kind);
        }
        let title = match given {
            Some(name) => format!("there is no kind of stage `{name}`"),
            None => format!("expected a kind of stage, found {}", field.value.describe()),
        };
        let problem = Problem::error(title).at(self.at(field.value.span.clone()), "");
        let near = given.and_then(|name| nearest(name, StageKind::names()));
        let help = match near {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!(
                "kinds are {}",
                StageKind::names().collect::<Vec<_>>().join(", ")
            ),
        };
        self.problems.push(problem.help(help));
        None
    }

    fn inputs(&mut self, field: &Field) -> Option<Vec<StageInput>> {
        let Raw::List(items) = &field.value.raw else {
            let problem = Problem::error(format!(
                "inputs: expected a list of stages, found {}",
                field.value.describe()
            ))
            .at(self.at(field.value.span.clone()), "expected a list");
            self.problems.push(match field.value.text() {
                Some(name) => problem.help(format!("write [\"{name}\"]")),
                None => problem,
            });
            return None;
        };
        let inputs: Vec<_> = items.iter().map(|item| self.input(item)).collect();
        inputs.into_iter().collect()
    }

    fn input(&mut self, item: &Node) -> Option<StageInput> {
        let location = self.at(item.span.clone());
        if let Some(stage) = item.text() {
            return Some(StageInput {
                stage: stage.to_owned(),
                repeat: 1,
                location,
            });
        }
        let stage = item.get("stage").and_then(Node::text);
        let repeat = match item.get("repeat").map(|node| &node.raw) {
            None => Some(1),
            Some(Raw::Int(count)) => Some(*count),
            Some(Raw::Word(word)) => word_int(word),
            Some(_) => None,
        };
        let known = match &item.raw {
            Raw::Table(fields) => fields
                .iter()
                .all(|field| matches!(field.key.as_str(), "stage" | "repeat")),
            _ => false,
        };
        let repeat = repeat
            .and_then(|count| usize::try_from(count).ok())
            .filter(|&n| n >= 1);
        if let (Some(stage), Some(repeat), true) = (stage, repeat, known) {
            return Some(StageInput {
                stage: stage.to_owned(),
                repeat,
                location,
            });
        }
        let problem = Problem::error("invalid input of a stage")
            .at(location, "")
            .help("write the name of a stage, or { stage = \"NAME\", repeat = 4 }");
        self.problems.push(problem);
        None
    }

    fn cell(&mut self, kind: CellKind, field: &Field) {
        let name = field.key.as_str();
        let Raw::Table(fields) = &field.value.raw else {
            self.not_a_table(&format!("{}.{name}", kind.as_str()), field);
            return;
        };
        self.push(
            Slot::CellHeader(kind, name.to_owned()),
            Content::Header,
            field,
            false,
        );
        for inner in fields {
            let slot = Slot::Cell(kind, name.to_owned(), inner.key.clone());
            self.push(slot, Content::Raw(inner.value.clone()), inner, false);
        }
    }

    fn section_field(&mut self, prefix: &str, field: &Field, stage: Option<&str>) {
        let name = field.key.as_str();
        let is_table = matches!(field.value.raw, Raw::Table(_));
        if prefix.is_empty()
            && !is_table
            && let Some(key) = key_by_flat_name(name)
        {
            self.leaf(key, field, stage, true);
            return;
        }
        let path = if prefix.is_empty() {
            name.to_owned()
        } else {
            format!("{prefix}.{name}")
        };
        let document = if stage.is_none() {
            document_key(&path)
        } else {
            None
        };
        if let Some(key) = schema::key(&path).or(document) {
            self.leaf(key, field, stage, false);
            return;
        }
        if path == PRICES && stage.is_none() {
            self.prices(field);
            return;
        }
        let top = path.split('.').next().unwrap_or_default();
        let of_document = matches!(
            top,
            "experiment" | "store" | "slots" | "hooks" | "launcher" | "annotate"
        );
        if !is_section(&path) || of_document && stage.is_some() {
            self.unknown(prefix, field, stage);
            return;
        }
        match &field.value.raw {
            Raw::Table(fields) => {
                for inner in fields {
                    self.section_field(&path, inner, stage);
                }
            }
            _ => self.not_a_table(&path, field),
        }
    }

    /// A table of prices for every model.
    fn prices(&mut self, field: &Field) {
        let Raw::Table(models) = &field.value.raw else {
            self.not_a_table(PRICES, field);
            return;
        };
        let keys = schema::price_keys();
        let names = || keys.iter().filter_map(|key| key.path.rsplit('.').next());
        for model in models {
            let Raw::Table(fields) = &model.value.raw else {
                self.not_a_table(&format!("{PRICES}.{}", model.key), model);
                continue;
            };
            for inner in fields {
                let place = names().position(|name| name == inner.key);
                let Some(key) = place.map(|place| keys[place]) else {
                    let title = format!("unknown key `{}` in a price", inner.key);
                    let help = match nearest(&inner.key, names()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => format!("prices have {}", names().collect::<Vec<_>>().join(", ")),
                    };
                    let problem = Problem::error(title).at(self.at(inner.key_span.clone()), "");
                    self.problems.push(problem.help(help));
                    continue;
                };
                if let Some(content) = self.content(key, inner, false) {
                    let slot = Slot::Price(model.key.clone(), key);
                    self.push(slot, content, inner, false);
                }
            }
        }
    }

    /// What a field gives for a key, unless something is wrong with it.
    fn content(&mut self, key: &'static Key, field: &Field, flat: bool) -> Option<Content> {
        let faults = match mirror_switch(key, &field.value, flat) {
            Some(value) => return Some(Content::Value(value)),
            None if field.value.text() == Some("???") => return Some(Content::Required),
            None => match convert(&field.value, key) {
                Ok(Converted::Value(value)) => return Some(Content::Value(value)),
                Ok(Converted::Deferred) => return Some(Content::Template(field.value.clone())),
                Err(faults) => faults,
            },
        };
        let name = if flat { field.key.as_str() } else { key.path };
        for fault in faults {
            let note = match flat && key.path == "tracking.wandb.mode" {
                // The flat name is a switch, too.
                true => format!("{}, true or false", fault.note),
                false => fault.note,
            };
            let problem =
                Problem::error(format!("{name}: {}", fault.title)).at(self.at(fault.span), note);
            self.problems.push(match fault.help {
                Some(help) => problem.help(help),
                None => problem,
            });
        }
        None
    }

    fn leaf(&mut self, key: &'static Key, field: &Field, stage: Option<&str>, flat: bool) {
        let Some(content) = self.content(key, field, flat) else {
            return;
        };
        let slot = match stage {
            Some(stage) => Slot::Stage(stage.to_owned(), key),
            None if document_key(key.path).is_some() => Slot::Document(key),
            None => Slot::Section(key),
        };
        self.push(slot, content, field, flat);
    }

    fn push(&mut self, slot: Slot, content: Content, field: &Field, flat: bool) {
        let location = match content {
            Content::Header => self.at(field.key_span.clone()),
            _ => self.at(field.value.span.clone()),
        };
        let key_location = self.at(field.key_span.clone());
        self.entries.push(Entry {
            slot,
            content,
            location,
            key_location,
            flat,
        });
    }

    fn unknown(&mut self, prefix: &str, field: &Field, stage: Option<&str>) {
        let name = &field.key;
        let title = match (prefix, stage) {
            ("", Some(stage)) => format!("unknown key `{name}` in stage `{stage}`"),
            ("", None) => format!("unknown key `{name}`"),
            _ => format!("unknown key `{name}` in `{prefix}`"),
        };
        let extra: Vec<_> = match stage {
            Some(_) => vec!["kind", "inputs"],
            None => TABLES.iter().chain(LOOSE).copied().collect(),
        };
        let problem = Problem::error(title).at(self.at(field.key_span.clone()), "");
        let helps = suggest(prefix, name, &extra);
        self.problems
            .push(helps.into_iter().fold(problem, Problem::help));
    }

    fn not_a_table(&mut self, path: &str, field: &Field) {
        let problem = Problem::error(format!(
            "`{path}` is a section, found {}",
            field.value.describe()
        ))
        .at(self.at(field.value.span.clone()), "expected a table");
        self.problems.push(problem);
    }

    fn at(&self, span: std::ops::Range<usize>) -> Location {
        Location::new(self.source, span)
    }
}

/// The flat `wandb` is a switch: true means online, false off.
pub(super) fn mirror_switch(key: &Key, node: &Node, flat: bool) -> Option<Value> {
    if !flat || key.path != "tracking.wandb.mode" {
        return None;
    }
    let on = match &node.raw {
        Raw::Bool(on) => *on,
        Raw::Word(word) => word_bool(word)?,
        _ => return None,
    };
    Some(Value::from(if on { "online" } else { "off" }))
}
