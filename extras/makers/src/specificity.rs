//! The noun specificity list: which nouns name a coarse kind, by WordNet.
//!
//! A noun is coarse (0.5) if one of its senses that can be seen has many kinds
//! below it, or some and stands high in the hierarchy; all other nouns are fine
//! (1). The list holds every such noun of WordNet, as WordNet writes it and as
//! dictionaries do, every noun of the embedded dictionary, and the empty noun.

use crate::embedder::failure::{Outcome, at, content};
use serde_json::{Map, Value};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::path::Path;

/// From so many kinds below it on, a sense is coarse.
const MANY_KINDS: usize = 30;
/// From so many on if it stands high.
const SOME_KINDS: usize = 5;
/// Steps from the top that are still high.
const HIGH: usize = 4;

/// Lexicographer files of things that can be seen: tops, animals, artifacts,
/// body parts, food, objects, persons, phenomena, plants, shapes, substances.
const VISIBLE: [u8; 11] = [3, 5, 6, 8, 13, 17, 18, 19, 20, 25, 27];

/// Makes the list from WordNet's folder and the compressed dictionary.
pub fn make(wordnet: &Path, dictionary: &Path, out: &Path) -> Outcome<()> {
    let hierarchy = Hierarchy::read(&wordnet.join("data.noun"))?;
    let index = wordnet.join("index.sense");
    let mut coarse: BTreeMap<String, bool> = BTreeMap::new();
    for (line, text) in read_latin(&index)?.lines().enumerate() {
        let sense = parse_sense(text)
            .ok_or_else(|| content(&index, format!("line {} is no sense", line + 1)))?;
        let Some((lemma, synset)) = sense else {
            continue;
        };
        let Some(is_coarse) = hierarchy.is_coarse(synset) else {
            continue;
        };
        for noun in [canonical(&lemma), lemma] {
            *coarse.entry(noun).or_default() |= is_coarse;
        }
    }
    for noun in crate::dictionary::read(dictionary)? {
        coarse.entry(noun.text).or_default();
    }
    // Nothing at all is not fine.
    coarse.insert(String::new(), true);
    let count = coarse.values().filter(|is_coarse| **is_coarse).count();
    println!("{} nouns, {count} of them coarse", coarse.len());
    let list: Map<String, Value> = coarse
        .into_iter()
        .map(|(noun, is_coarse)| (noun, if is_coarse { 0.5.into() } else { 1.into() }))
        .collect();
    let text = format!("{:#}\n", Value::Object(list));
    let bytes = zstd::bulk::compress(text.as_bytes(), 19).map_err(at(out))?;
    std::fs::write(out, bytes).map_err(at(out))
}

/// Which kinds are below which.
struct Hierarchy {
    /// Whether a synset can be seen and is no particular thing.
    visible: HashMap<u32, bool>,
    above: HashMap<u32, Vec<u32>>,
    below: HashMap<u32, Vec<u32>>,
}

impl Hierarchy {
    fn read(path: &Path) -> Outcome<Self> {
        let mut hierarchy = Self {
            visible: HashMap::new(),
            above: HashMap::new(),
            below: HashMap::new(),
        };
        for (line, text) in read_latin(path)?.lines().enumerate() {
            // The licence at the top is indented.
            if !text.starts_with(' ') {
                hierarchy
                    .add(text)
                    .ok_or_else(|| content(path, format!("line {} is no synset", line + 1)))?;
            }
        }
        Ok(hierarchy)
    }

    /// `offset file type words (word id)* pointers (symbol offset pos fields)*`
    fn add(&mut self, line: &str) -> Option<()> {
        let mut fields = line.split(" | ").next()?.split(' ');
        let offset = fields.next()?.parse().ok()?;
        let file = fields.next()?.parse().ok()?;
        fields.next()?;
        let words = usize::from_str_radix(fields.next()?, 16).ok()?;
        let mut fields = fields.skip(2 * words);
        let pointers: usize = fields.next()?.parse().ok()?;
        let mut above = Vec::new();
        let mut is_instance = false;
        for _ in 0..pointers {
            let (symbol, target) = (fields.next()?, fields.next()?.parse().ok()?);
            fields.next()?;
            fields.next()?;
            match symbol {
                "@" => above.push(target),
                "@i" => is_instance = true,
                _ => {}
            }
        }
        for kind in &above {
            self.below.entry(*kind).or_default().push(offset);
        }
        self.above.insert(offset, above);
        self.visible
            .insert(offset, VISIBLE.contains(&file) && !is_instance);
        Some(())
    }

    /// Whether a synset is coarse; none if it cannot be seen.
    fn is_coarse(&self, synset: u32) -> Option<bool> {
        if !*self.visible.get(&synset)? {
            return None;
        }
        let kinds = reachable(&self.below, synset);
        Some(kinds >= MANY_KINDS || kinds >= SOME_KINDS && self.height(synset) <= HIGH)
    }

    /// Steps to the nearest top.
    fn height(&self, synset: u32) -> usize {
        let mut level = vec![synset];
        let mut seen: HashSet<u32> = level.iter().copied().collect();
        let mut steps = 0;
        loop {
            let mut next = Vec::new();
            for synset in level {
                match self.above.get(&synset) {
                    Some(above) if !above.is_empty() => {
                        next.extend(above.iter().copied().filter(|kind| seen.insert(*kind)));
                    }
                    _ => return steps,
                }
            }
            level = next;
            steps += 1;
        }
    }
}

/// Number of others that are reached.
fn reachable(edges: &HashMap<u32, Vec<u32>>, from: u32) -> usize {
    let mut seen = HashSet::from([from]);
    let mut pending = vec![from];
    while let Some(at) = pending.pop() {
        for next in edges.get(&at).into_iter().flatten() {
            if seen.insert(*next) {
                pending.push(*next);
            }
        }
    }
    seen.len() - 1
}

/// `lemma%type:… synset number tags`; the lemma and synset of nouns.
fn parse_sense(line: &str) -> Option<Option<(String, u32)>> {
    let mut fields = line.split(' ');
    let (lemma, key) = fields.next()?.split_once('%')?;
    let synset = fields.next()?.parse().ok()?;
    let is_noun = key.starts_with("1:");
    Some(is_noun.then(|| (lemma.replace('_', " "), synset)))
}

/// Lower case, without points and apostrophes, single blanks between words.
fn canonical(noun: &str) -> String {
    let plain: String = noun
        .to_lowercase()
        .chars()
        .filter(|c| !matches!(c, '.' | '\''))
        .map(|c| if c.is_alphanumeric() { c } else { ' ' })
        .collect();
    plain.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// The files are ASCII with a few Latin-1 bytes.
fn read_latin(path: &Path) -> Outcome<String> {
    let bytes = std::fs::read(path).map_err(at(path))?;
    Ok(bytes.into_iter().map(char::from).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_are_counted_once_and_heights_are_the_shortest() {
        let mut hierarchy = Hierarchy {
            visible: HashMap::new(),
            above: HashMap::new(),
            below: HashMap::new(),
        };
        for line in [
            "00000001 03 n 01 top 0 000 | x",
            "00000002 05 n 02 left 0 links 0 001 @ 00000001 n 0000 | x",
            "00000003 05 n 01 right 0 001 @ 00000002 n 0000 | x",
            "00000004 05 n 01 both 0 002 @ 00000003 n 0000 @ 00000002 n 0000 | x",
            "00000005 09 n 01 thought 0 001 @ 00000001 n 0000 | x",
            "00000006 17 n 01 Alps 0 001 @i 00000001 n 0000 | x",
        ] {
            hierarchy.add(line).unwrap();
        }
        assert_eq!(reachable(&hierarchy.below, 2), 2);
        assert_eq!(hierarchy.height(4), 2);
        assert_eq!(hierarchy.height(1), 0);
        assert_eq!(hierarchy.is_coarse(4), Some(false));
        assert_eq!(hierarchy.is_coarse(5), None);
        assert_eq!(hierarchy.is_coarse(6), None);
    }

    #[test]
    fn nouns_are_written_as_dictionaries_do() {
        assert_eq!(canonical("Aaron's rod"), "aarons rod");
        assert_eq!(canonical("A-bomb"), "a bomb");
        assert_eq!(canonical("A. testudineus"), "a testudineus");
        assert_eq!(
            parse_sense("dog%1:05:00:: 02086723 1 42"),
            Some(Some(("dog".into(), 2_086_723)))
        );
        assert_eq!(parse_sense("run%2:05:00:: 02086723 1 42"), Some(None));
        assert_eq!(parse_sense("dog"), None);
    }
}
