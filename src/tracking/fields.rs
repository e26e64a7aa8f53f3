//! Fields by name, of runs and of what was picked from them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::listing::RunOverview;

/// What filters and lists look at.
pub trait Fields {
    /// A field by its name, as [`RunOverview::field`] has it.
    fn field(&self, name: &str) -> Option<Value>;
}

impl Fields for RunOverview {
    fn field(&self, name: &str) -> Option<Value> {
        RunOverview::field(self, name)
    }
}

/// Some fields of a run: of many runs, these take less room than the runs.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Picked<'a>(Vec<(&'a str, Option<Value>)>);

impl<'a> Picked<'a> {
    /// Picks fields of a run.
    pub fn of(run: &impl Fields, names: &BTreeSet<&'a str>) -> Picked<'a> {
        let fields = names.iter().map(|name| (*name, run.field(name)));
        Picked(fields.collect())
    }
}

impl Fields for Picked<'_> {
    fn field(&self, name: &str) -> Option<Value> {
        let picked = self.0.iter().find(|(known, _)| *known == name);
        picked.and_then(|(_, value)| value.clone())
    }
}
