//! The conditions by which runs are found (`reports.md` section 6).

use std::collections::BTreeSet;

use jiff::Zoned;
use regex::Regex;
use serde_json::{Value, json};

use super::error::{Result, RunTablesError};
use crate::config::schema::{Config, RunsTable};
use crate::reports::time_filter::{before, iso, stamp};

/// Which runs are wanted, as the configuration says it.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Which table.
    pub table: RunsTable,
    /// Trained models or their directories, separated by blanks.
    pub models: String,
    /// Patterns of the hosts that trained, likewise.
    pub model_hosts: String,
    /// Hosts that evaluated, likewise; may have `*` and `?`.
    pub hosts: String,
    /// Age, at least.
    pub min_ago: String,
    /// Age, at most.
    pub max_ago: String,
    /// Not before this time.
    pub min_stamp: String,
    /// Not after this time.
    pub max_stamp: String,
    /// Directory of the pictures of inference runs, as they were told it.
    pub image_dir: String,
    /// Their annotation file, likewise.
    pub annotations: String,
    /// Their generation configuration; empty for the default one.
    pub gencfg: String,
}

impl Selection {
    /// What a configuration asks for.
    pub fn of(config: &Config) -> Self {
        let runs = &config.tables.runs;
        Self {
            table: runs.r#type,
            models: runs.models.clone(),
            model_hosts: runs.model_hosts.clone(),
            hosts: runs.hosts.clone(),
            min_ago: runs.min_ago.clone(),
            max_ago: runs.max_ago.clone(),
            min_stamp: runs.min_stamp.clone(),
            max_stamp: runs.max_stamp.clone(),
            image_dir: config.infer.image_dir.clone(),
            annotations: config.infer.annotations.clone(),
            gencfg: config.generate.config.clone(),
        }
    }

    /// Trained models, or directories of them, that are named.
    pub fn named_models(&self) -> BTreeSet<String> {
        words(&self.models)
    }

    /// Conditions on training runs by their hosts; none if no hosts are named.
    pub fn training_hosts(&self) -> Option<Value> {
        let hosts: BTreeSet<String> = words(&self.model_hosts)
            .into_iter()
            .flat_map(|host| {
                let long = (!is_long_host(&host)).then(|| long_host(&host));
                std::iter::once(host).chain(long)
            })
            .collect();
        let patterns: Vec<String> = hosts
            .iter()
            .map(|host| format!("({})", host.replace('/', "\\/")))
            .collect();
        (!hosts.is_empty()).then(|| {
            let pattern = format!("^({})$", patterns.join("|"));
            json!({ "$and": [
                { "state": "finished" },
                { "config.action": "train" },
                { "host": { "$regex": pattern } },
            ]})
        })
    }

    /// Conditions on the training runs of a model's directory.
    pub fn training(dir: &str) -> Value {
        json!({ "$and": [
            { "state": "finished" },
            { "config.action": "train" },
            { "config.hydra_name": dir },
        ]})
    }

    /// Conditions on evaluating runs. `models` are models and directories that
    /// they must have loaded.
    ///
    /// # Errors
    /// A limit of time that cannot be read.
    pub fn runs(&self, models: &BTreeSet<String>, now: &Zoned) -> Result<Value> {
        let mut all = vec![json!({ "state": "finished" })];
        let zone = now.time_zone();
        for (operator, time) in [
            ("$gt", before(now, &self.max_ago)?),
            ("$lt", before(now, &self.min_ago)?),
            ("$gt", stamp(&self.min_stamp, zone)?),
            ("$lt", stamp(&self.max_stamp, zone)?),
        ] {
            if let Some(time) = time {
                all.push(json!({ "createdAt": { operator: iso(&time) } }));
            }
        }
        all.push(match self.table {
            RunsTable::EvalGenClsV1 => json!({ "config.action": { "$in": ["eval", "eval_cls"] } }),
            RunsTable::InferV1 => json!({ "config.action": "infer" }),
            _ => json!({ "config.action": { "$in": ["eval", "eval_cls", "infer"] } }),
        });
        if self.table != RunsTable::EvalGenClsV1 {
            all.push(self.inference());
        }
        if !models.is_empty() {
            let pattern = loaded(models);
            all.push(json!({ "$or": [
                { "config.load_model": { "$regex": pattern } },
                { "config.load_models": { "$regex": pattern } },
            ]}));
        }
        if let Some(hosts) = self.evaluating_hosts() {
            all.push(hosts);
        }
        Ok(json!({ "$and": all }))
    }

    /// Inference runs must be of the pictures, and unguided.
    fn inference(&self) -> Value {
        let absent_or = |key: &str, value: Value| {
            let key = format!("config.{key}");
            json!({ "$or": [{ &key: { "$exists": false } }, { &key: value }] })
        };
        let older_name = self.annotations.replace("$IMAGEDIR", "$INFER_IMAGE_DIR");
        let gencfg = if self.gencfg.is_empty() {
            absent_or("gencfg", json!(""))
        } else {
            json!({ "$and": [
                { "config.gencfg": { "$exists": true } },
                { "config.gencfg": self.gencfg },
            ]})
        };
        json!({ "$or": [
            { "config.action": { "$ne": "infer" } },
            { "$and": [
                absent_or("infer_log", json!(true)),
                { "config.infer_texts": "[]" },
                { "config.infer_image_dir": self.image_dir },
                { "$or": [
                    { "config.infer_ann_json": { "$exists": false } },
                    { "config.infer_ann_json": self.annotations },
                    { "config.infer_ann_json": older_name },
                ]},
                { "config.infer_guided": false },
                gencfg,
                absent_or("gencfgs", json!("[]")),
                absent_or("gencfgs_grid", json!(false)),
            ]},
        ]})
    }

    fn evaluating_hosts(&self) -> Option<Value> {
        let named = words(&self.hosts);
        let (globs, named): (BTreeSet<_>, BTreeSet<_>) = named
            .into_iter()
            .partition(|host| host.contains(['*', '?']));
        let mut any = Vec::new();
        if !named.is_empty() {
            let hosts: BTreeSet<String> = named
                .iter()
                .flat_map(|host| {
                    let long = (!is_long_host(host)).then(|| long_host(host));
                    std::iter::once(host.clone()).chain(long)
                })
                .collect();
            any.push(json!({ "host": { "$in": hosts } }));
        }
        let is_number = |host: &&String| host.bytes().all(|byte| byte.is_ascii_digit());
        let numbers: Vec<&str> = named.iter().filter(is_number).map(String::as_str).collect();
        if !numbers.is_empty() {
            let pattern = format!("^ovod-[a-zA-Z-]*({})-mlpod$", numbers.join("|"));
            any.push(json!({ "host": { "$regex": pattern } }));
        }
        for glob in globs {
            any.push(json!({ "host": { "$regex": glob_pattern(&glob) } }));
        }
        match any.len() {
            0 | 1 => any.pop(),
            _ => Some(json!({ "$or": any })),
        }
    }
}

/// The name of a host in tables.
#[derive(Clone, Debug)]
pub struct HostTag(Regex);

impl HostTag {
    /// The group of a pattern is the tag; hosts that do not match keep their
    /// names.
    ///
    /// # Errors
    /// A pattern that cannot be read, or without a group.
    pub fn new(pattern: &str) -> Result<Self> {
        let wrong = |reason: String| RunTablesError::Pattern {
            pattern: pattern.to_owned(),
            reason,
        };
        let regex = Regex::new(pattern).map_err(|error| wrong(error.to_string()))?;
        if regex.captures_len() < 2 {
            return Err(wrong("it has no group in parentheses".to_owned()));
        }
        Ok(Self(regex))
    }

    /// The original's hosts: without `ovod-` and `-mlpod`.
    pub const ORIGINAL: &'static str = "^(?:ovod-)?(.*?)(?:-mlpod)?$";

    /// The tag of a host.
    pub fn of(&self, host: &str) -> String {
        let group = self.0.captures(host).and_then(|found| found.get(1));
        group.map_or(host, |group| group.as_str()).to_owned()
    }
}

fn words(text: &str) -> BTreeSet<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn is_long_host(host: &str) -> bool {
    host.starts_with("ovod-") && host.ends_with("-mlpod")
}

fn long_host(host: &str) -> String {
    format!("ovod-{host}-mlpod")
}

/// Runs that loaded one of these models, or all of a directory.
fn loaded(models: &BTreeSet<String>) -> String {
    let entries: Vec<String> = models.iter().map(|model| escaped(model)).collect();
    let dirs: BTreeSet<String> = models
        .iter()
        .filter_map(|model| Some(escaped(model.split_once('/')?.0)))
        .collect();
    let entries = entries.join("|");
    if dirs.is_empty() {
        format!("\\b({entries})\\b")
    } else {
        let dirs: Vec<String> = dirs.into_iter().collect();
        format!("\\b(({entries})\\b|({})\\b(?!\\/))", dirs.join("|"))
    }
}

/// The text as a pattern that matches itself, as Python escapes it, with
/// slashes escaped for the service.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if "()[]{}?*+-|^$\\.&~# \t\n\r\u{b}\u{c}/".contains(c) {
            out.push('\\');
        }
        out.push(c);
    }
    out
}

fn glob_pattern(glob: &str) -> String {
    let parts = glob.chars().map(|c| match c {
        '*' => ".*".to_owned(),
        '?' => ".".to_owned(),
        c => escaped(&c.to_string()),
    });
    format!("^{}$", parts.collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_may_be_globs() {
        let selection = Selection {
            hosts: "node-* box".to_owned(),
            ..Selection::default()
        };
        assert_eq!(
            selection.evaluating_hosts().unwrap(),
            json!({ "$or": [
                { "host": { "$in": ["box", "ovod-box-mlpod"] } },
                { "host": { "$regex": "^node\\-.*$" } },
            ]})
        );
    }

    #[test]
    fn tags_are_the_group_of_a_pattern() {
        let original = HostTag::new(HostTag::ORIGINAL).unwrap();
        assert_eq!(original.of("ovod-aa-mlpod"), "aa");
        assert_eq!(original.of("farmbox"), "farmbox");
        let own = HostTag::new(r"^node-(\d+)$").unwrap();
        assert_eq!(
            (own.of("node-12"), own.of("box")),
            ("12".into(), "box".into())
        );
        assert!(HostTag::new("node").is_err());
        assert!(HostTag::new("(").is_err());
    }
}
