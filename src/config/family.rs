//! Many experiments that differ in a few values: the points of a sweep.
//!
//! Files are read once; a member of the family is what they say together with
//! the overrides of one point.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use super::compose::{Above, Composition, Request, compose_files, is_variable};
use super::experiment::Experiment;
use super::layer::Content;
use super::node::{Node, Raw};
use super::problem::ConfigErrors;
use super::schema::key_by_flat_name;
use super::source::Location;
use super::stacks::Stacks;

/// Experiments that differ in the overrides of a point only.
#[derive(Debug)]
pub struct Family {
    request: Request,
    files: Composition,
    above: Above,
}

impl Family {
    /// The family of what a request asks for, whose own point is part of all
    /// members.
    ///
    /// # Errors
    /// All problems of its files, variables and arguments.
    pub fn new(request: &Request) -> Result<Family, ConfigErrors> {
        let mut problems = Vec::new();
        let above = Above::of(request, &mut problems);
        let files = compose_files(request, &above, &mut problems);
        if !problems.is_empty() {
            return Err(ConfigErrors { problems });
        }
        Ok(Family {
            request: request.clone(),
            files,
            above,
        })
    }

    /// The member with a point.
    ///
    /// # Errors
    /// All problems of this point.
    pub fn member(&self, point: &[String]) -> Result<Experiment, ConfigErrors> {
        let mut problems = Vec::new();
        let own = Above::point(point, &mut problems);
        let mut composition = if own.chooses() {
            let mut request = self.request.clone();
            request.point.extend_from_slice(point);
            let above = Above::of(&request, &mut problems);
            compose_files(&request, &above, &mut problems)
        } else {
            self.files.clone()
        };
        own.add(&mut composition.stacks, &mut problems);
        self.above.add(&mut composition.stacks, &mut problems);
        Experiment::build(&self.request, &composition, problems)
    }

    /// Names of what variables and arguments give, and where.
    pub fn given(&self) -> Vec<(String, Location)> {
        self.above.names()
    }

    /// The request that gives the same experiments wherever it is asked for: the
    /// texts of the files of `members`, and the variables that count.
    pub fn frozen<'a>(&self, members: impl IntoIterator<Item = &'a Experiment>) -> Request {
        let mut texts: BTreeMap<PathBuf, String> = BTreeMap::new();
        let mut variables = BTreeSet::new();
        for member in members {
            for (path, source) in member.files.iter().zip(&member.sources) {
                texts
                    .entry(path.clone())
                    .or_insert_with(|| source.text.clone());
            }
            let names = member.references.iter();
            variables.extend(names.filter_map(|name| name.strip_prefix("env:")));
        }
        // Those that choose groups are named in no value.
        let chooses = |name: &str| {
            let reference = format!("${{env:{name}");
            texts.values().any(|text| text.contains(&reference))
        };
        let counts = |name: &str| is_variable(name) || variables.contains(name) || chooses(name);
        let environment = self.request.environment.iter();
        let environment = environment.filter(|(name, _)| counts(name)).cloned();
        let environment = environment.collect();
        Request {
            file: self.request.file.clone(),
            text: self.request.text.clone(),
            texts: Some(Arc::new(texts)),
            point: self.request.point.clone(),
            environment,
            overrides: self.request.overrides.clone(),
        }
    }
}

/// What texts with references name: dotted keys, and variables as `env:NAME`.
pub(super) fn references(stacks: &Stacks) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for entry in stacks.entries() {
        if let Content::Template(node) = &entry.content {
            collect(node, &mut names);
        }
    }
    names
}

fn collect(node: &Node, names: &mut BTreeSet<String>) {
    match &node.raw {
        Raw::List(items) => items.iter().for_each(|item| collect(item, names)),
        Raw::Text(text) | Raw::Word(text) => {
            let mut rest = text.as_str();
            while let Some((_, behind)) = rest.split_once("${") {
                let (inside, after) = behind.split_once('}').unwrap_or((behind, ""));
                let name = inside.split(',').next().unwrap_or_default().trim();
                let path = key_by_flat_name(name).map_or(name, |key| key.path);
                names.insert(path.to_owned());
                rest = after;
            }
        }
        _ => {}
    }
}
