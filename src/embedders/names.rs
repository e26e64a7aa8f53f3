//! Tables that say how a checkpoint's names map to the names that towers ask
//! for.
//!
//! One [`Rule`] per kind of parameter. `{n}` stands for a number, a trailing
//! `*` for any rest. Names without a rule stay as they are and are reported as
//! unexpected when nobody takes them.

/// How one stored parameter becomes (part of) a parameter of a tower.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reading {
    /// As it is.
    Whole,
    /// With both dimensions exchanged.
    Transposed,
    /// With a leading dimension of one.
    Leading,
    /// It is this one of three that are stacked along the first dimension.
    Third(usize),
    /// These thirds of its first dimension.
    Thirds(usize, usize),
    /// Not used for embedding.
    Ignored,
}

/// One line of a table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// Name in the checkpoint.
    pub stored: &'static str,
    /// Name that towers ask for.
    pub name: &'static str,
    /// How it is read.
    pub reading: Reading,
}

/// A parameter that only changes its name.
pub const fn whole(stored: &'static str, name: &'static str) -> Rule {
    read(stored, name, Reading::Whole)
}

/// A parameter that is read in another way.
pub const fn read(stored: &'static str, name: &'static str, reading: Reading) -> Rule {
    Rule {
        stored,
        name,
        reading,
    }
}

/// A parameter that is not used for embedding.
pub const fn ignored(stored: &'static str) -> Rule {
    read(stored, "", Reading::Ignored)
}

/// All lines for one model layout.
pub type NameTable = &'static [Rule];

impl Rule {
    /// Name for the tower of a stored parameter that this rule is about.
    pub fn named(&self, stored: &str) -> Option<String> {
        Some(fill(self.name, &captures(self.stored, stored)?))
    }

    /// Name in the checkpoint of a tower's parameter that this rule is about.
    pub fn stored_as(&self, name: &str) -> Option<String> {
        if self.reading == Reading::Ignored {
            return None;
        }
        Some(fill(self.stored, &captures(self.name, name)?))
    }
}

/// What the placeholders of a pattern stand for in a name that it matches.
fn captures<'a>(pattern: &str, name: &'a str) -> Option<Vec<&'a str>> {
    let mut found = Vec::new();
    let (mut pattern, mut name) = (pattern, name);
    loop {
        if let Some(rest) = pattern.strip_prefix("{n}") {
            let end = name
                .find(|c: char| !c.is_ascii_digit())
                .unwrap_or(name.len());
            if end == 0 {
                return None;
            }
            found.push(&name[..end]);
            (pattern, name) = (rest, &name[end..]);
        } else if pattern == "*" {
            found.push(name);
            return Some(found);
        } else if pattern.is_empty() {
            return name.is_empty().then_some(found);
        } else {
            let end = pattern.find(['{', '*']).unwrap_or(pattern.len());
            name = name.strip_prefix(&pattern[..end])?;
            pattern = &pattern[end..];
        }
    }
}

/// The pattern with its placeholders replaced in their order.
fn fill(pattern: &str, captures: &[&str]) -> String {
    let mut filled = String::with_capacity(pattern.len() + 4);
    let mut captures = captures.iter();
    let mut rest = pattern;
    while let Some(at) = rest.find(['{', '*']) {
        filled.push_str(&rest[..at]);
        filled.push_str(captures.next().copied().unwrap_or_default());
        let length = if rest[at..].starts_with("{n}") { 3 } else { 1 };
        rest = &rest[at + length..];
    }
    filled.push_str(rest);
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_map_names_in_both_directions() {
        let rule = whole("encoder.layers.{n}.mlp.fc1.*", "blocks.{n}.up.*");
        let stored = "encoder.layers.12.mlp.fc1.weight";
        assert_eq!(rule.named(stored).unwrap(), "blocks.12.up.weight");
        assert_eq!(rule.stored_as("blocks.12.up.weight").unwrap(), stored);
        assert_eq!(rule.named("encoder.layers.x.mlp.fc1.weight"), None);
        assert_eq!(rule.named("encoder.layers.1.mlp.fc2.weight"), None);
        let rule = whole("proj.weight", "proj");
        assert_eq!(rule.named("proj.weight.more"), None);
        assert_eq!(ignored("scale").stored_as(""), None);
    }
}
