//! The text of an imported experiment.

use std::fmt::Write;

use super::draft::{Drafted, Stage, unsaid};
use crate::config::schema::{self, Key, SECTIONS};
use crate::config::show::{toml_text, toml_value};

/// An experiment file with these stages.
pub(super) fn file(stages: &[Stage], name: Option<&str>) -> String {
    let mut writer = Writer {
        stages,
        text: String::new(),
    };
    writer.head();
    let usual = match stages {
        [stage] => stage.name.as_str(),
        _ => "imported",
    };
    writer.table("experiment");
    writer.line(
        &format!("name = {}", toml_value(&name.unwrap_or(usual).into())),
        None,
    );
    for &section in SECTIONS {
        writer.section(section);
    }
    for stage in stages {
        writer.stage(stage);
    }
    writer.text
}

struct Writer<'a> {
    stages: &'a [Stage],
    text: String,
}

impl<'a> Writer<'a> {
    /// Where the file comes from, and what is to be said about several stages.
    fn head(&mut self) {
        self.comment("Imported from");
        for stage in self.stages {
            self.comment(&format!("  {}", stage.draft.origin));
        }
        let mut said: Vec<&String> = Vec::new();
        for note in self.stages.iter().flat_map(|stage| &stage.draft.notes) {
            if self.is_common(note) && !said.contains(&note) {
                said.push(note);
            }
        }
        if !said.is_empty() {
            self.text.push('\n');
        }
        for note in said {
            self.comment(note);
        }
    }

    fn is_common(&self, note: &String) -> bool {
        let with = |stage: &&Stage| stage.draft.notes.contains(note);
        self.stages.iter().filter(with).count() > 1
    }

    /// The values of a section that hold for all stages.
    fn section(&mut self, section: &str) {
        let mut begun = false;
        for key in schema::keys() {
            let within = key.path.strip_prefix(section);
            let Some(name) = within.and_then(|rest| rest.strip_prefix('.')) else {
                continue;
            };
            let Some(drafted) = self.shared(key) else {
                continue;
            };
            if !begun {
                self.table(section);
                begun = true;
            }
            self.value(name, key, drafted);
        }
    }

    /// The value of a key if every stage has the same one, given or not: what
    /// only some commands say must not change the others.
    fn shared(&self, key: &Key) -> Option<&'a Drafted> {
        let first = self
            .stages
            .iter()
            .find_map(|stage| stage.draft.values.get(key.path))?;
        let same = |stage: &Stage| match stage.draft.values.get(key.path) {
            Some(other) => other.value == first.value,
            None => unsaid(key) == first.value,
        };
        self.stages.iter().all(same).then_some(first)
    }

    fn stage(&mut self, stage: &Stage) {
        self.text.push('\n');
        for note in &stage.draft.notes {
            if !self.is_common(note) {
                self.comment(note);
            }
        }
        let _ = writeln!(self.text, "[stage.{}]", stage.name);
        self.line(
            &format!("kind = {}", toml_value(&stage.draft.action.as_str().into())),
            None,
        );
        if !stage.inputs.is_empty() {
            let inputs: Vec<_> = stage
                .inputs
                .iter()
                .map(|(name, repeat)| match repeat {
                    1 => toml_value(&name.as_str().into()),
                    _ => format!(
                        "{{ stage = {}, repeat = {repeat} }}",
                        toml_value(&name.as_str().into())
                    ),
                })
                .collect();
            self.line(&format!("inputs = [{}]", inputs.join(", ")), None);
        }
        for key in schema::keys() {
            if self.shared(key).is_some() {
                continue;
            }
            if let Some(drafted) = stage.draft.values.get(key.path) {
                self.value(key.path, key, drafted);
            }
        }
    }

    fn value(&mut self, name: &str, key: &Key, drafted: &Drafted) {
        let text = format!("{name} = {}", toml_text(&drafted.value, key.kind));
        self.line(&text, drafted.note.as_deref());
    }

    fn table(&mut self, name: &str) {
        let _ = writeln!(self.text, "\n[{name}]");
    }

    fn line(&mut self, text: &str, note: Option<&str>) {
        self.text.push_str(text);
        if let Some(note) = note {
            let _ = write!(self.text, "  # {note}");
        }
        self.text.push('\n');
    }

    fn comment(&mut self, text: &str) {
        for line in text.lines() {
            let _ = writeln!(self.text, "# {line}");
        }
    }
}
