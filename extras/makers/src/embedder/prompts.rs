//! Prompt sentences around a noun.

use super::failure::{Outcome, read_json};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Deserialize)]
struct Collections {
    prompts: BTreeMap<String, Vec<(u32, String)>>,
}

/// All templates, with the blanks `{noun}`, `{singular}`, `{plural}`,
/// `{article_noun}`, `{article_singular}` and `{c}`.
pub struct Prompts(Vec<String>);

impl Prompts {
    /// Reads the noun prompts and the class prompts of the product's data.
    pub fn read(folder: &Path) -> Outcome<Self> {
        let nouns: Collections = read_json(&folder.join("prompts.json"))?;
        let classes: BTreeMap<String, Vec<String>> =
            read_json(&folder.join("cls_prompts_clip.json"))?;
        let mut all: Vec<String> = nouns
            .prompts
            .into_values()
            .flatten()
            .map(|(_, text)| text)
            .collect();
        for set in ["imagenet1k", "cifar10"] {
            all.extend(classes.get(set).into_iter().flatten().cloned());
        }
        Ok(Self(all))
    }

    /// Number of templates.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Template `i` with the noun filled in.
    pub fn fill(&self, i: usize, noun: &str) -> String {
        let with_article = || {
            let vowel = noun.starts_with(['a', 'e', 'i', 'o', 'u', 'A', 'E', 'I', 'O', 'U']);
            format!("{} {noun}", if vowel { "an" } else { "a" })
        };
        self.0[i]
            .replace("{article_noun}", &with_article())
            .replace("{article_singular}", &with_article())
            .replace("{plural}", &plural(noun))
            .replace("{singular}", noun)
            .replace("{noun}", noun)
            .replace("{c}", noun)
    }
}

/// The regular plural: enough to teach the tower what the ending means.
fn plural(noun: &str) -> String {
    if noun.ends_with(['s', 'x', 'z']) || noun.ends_with("ch") || noun.ends_with("sh") {
        return format!("{noun}es");
    }
    match noun.strip_suffix('y') {
        Some(stem) if !stem.ends_with(['a', 'e', 'i', 'o', 'u']) => format!("{stem}ies"),
        _ => format!("{noun}s"),
    }
}

/// The class prompts of ImageNet, with the blank `{c}`.
pub fn class_templates(folder: &Path) -> Outcome<Vec<String>> {
    let mut sets: BTreeMap<String, Vec<String>> = read_json(&folder.join("cls_prompts_clip.json"))?;
    Ok(sets.remove("imagenet1k").unwrap_or_default())
}
