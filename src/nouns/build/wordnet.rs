//! WordNet's noun synsets and senses, from `data.noun` and `index.sense`.

use std::collections::{HashMap, HashSet};

use super::error::BuildError;

/// Byte offset of a synset in `data.noun`: its identity.
pub(super) type Offset = u32;

/// A set of synonyms.
#[derive(Debug)]
pub(super) struct Synset {
    pub offset: Offset,
    /// Lexicographer file number.
    pub file: u8,
    /// Spellings, with spaces.
    pub words: Vec<String>,
    pub hypernyms: Vec<Offset>,
    /// A particular person, place or thing, not a kind.
    pub is_instance: bool,
}

/// One noun sense of a lemma.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sense {
    /// From 1, the most frequent one first.
    pub number: u32,
    pub synset: Offset,
    /// How often the sense was tagged in WordNet's texts.
    pub tags: u32,
}

/// How often a lemma was tagged, and its number of senses.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Uses {
    pub tags: u32,
    pub senses: u32,
}

impl Uses {
    pub fn add(&mut self, tags: u32) {
        self.tags += tags;
        self.senses += 1;
    }

    /// Half a use per sense keeps untagged senses from counting nothing.
    pub fn weight(self) -> f64 {
        f64::from(self.tags) + 0.5 * f64::from(self.senses)
    }
}

#[derive(Debug)]
pub(super) struct WordNet {
    pub synsets: Vec<Synset>,
    by_offset: HashMap<Offset, usize>,
    /// Noun senses per lemma, with spaces, lower case.
    pub senses: HashMap<String, Vec<Sense>>,
    /// Uses per lemma in all parts of speech.
    pub uses: HashMap<String, Uses>,
}

const DATA: &str = "data.noun";
const INDEX: &str = "index.sense";
const NOUN: &str = "1";

impl WordNet {
    pub fn parse(data_noun: &str, index_sense: &str) -> Result<Self, BuildError> {
        let mut synsets = Vec::new();
        for (index, line) in data_noun.lines().enumerate() {
            // The licence at the top is indented.
            if line.starts_with(' ') {
                continue;
            }
            let synset = parse_synset(line).ok_or(BuildError::Malformed {
                file: DATA,
                line: index + 1,
                reason: "not a synset",
            })?;
            synsets.push(synset);
        }
        let by_offset = synsets.iter().enumerate().map(|(i, s)| (s.offset, i));
        let mut wordnet = Self {
            by_offset: by_offset.collect(),
            synsets,
            senses: HashMap::new(),
            uses: HashMap::new(),
        };
        for (index, line) in index_sense.lines().enumerate() {
            wordnet.add_sense(line).ok_or(BuildError::Malformed {
                file: INDEX,
                line: index + 1,
                reason: "not a sense",
            })?;
        }
        Ok(wordnet)
    }

    fn add_sense(&mut self, line: &str) -> Option<()> {
        let mut fields = line.split(' ');
        let (lemma, key) = fields.next()?.split_once('%')?;
        let sense = Sense {
            synset: fields.next()?.parse().ok()?,
            number: fields.next()?.parse().ok()?,
            tags: fields.next()?.parse().ok()?,
        };
        let lemma = lemma.replace('_', " ");
        self.uses.entry(lemma.clone()).or_default().add(sense.tags);
        if key.split(':').next()? == NOUN {
            self.senses.entry(lemma).or_default().push(sense);
        }
        Some(())
    }

    /// The synset of the sense `word#number`.
    pub fn sense(&self, name: &str) -> Result<Offset, BuildError> {
        let missing = || BuildError::NoSense(name.to_owned());
        let (word, number) = name.split_once('#').ok_or_else(missing)?;
        let number: u32 = number.parse().map_err(|_| missing())?;
        let senses = self.senses.get(&word.replace('_', " "));
        let sense = senses.into_iter().flatten().find(|s| s.number == number);
        sense.map(|s| s.synset).ok_or_else(missing)
    }

    /// The synset itself and everything above it.
    pub fn ancestors(&self, offset: Offset) -> HashSet<Offset> {
        let mut found = HashSet::from([offset]);
        let mut pending = vec![offset];
        while let Some(offset) = pending.pop() {
            let synset = self.by_offset.get(&offset).map(|&i| &self.synsets[i]);
            for &hypernym in synset.into_iter().flat_map(|s| &s.hypernyms) {
                if found.insert(hypernym) {
                    pending.push(hypernym);
                }
            }
        }
        found
    }
}

/// `offset file type words (word id)* pointers (symbol offset pos fields)* | gloss`
fn parse_synset(line: &str) -> Option<Synset> {
    let mut fields = line.split(" | ").next()?.split(' ');
    let offset = fields.next()?.parse().ok()?;
    let file = fields.next()?.parse().ok()?;
    fields.next()?;
    let count = usize::from_str_radix(fields.next()?, 16).ok()?;
    let mut words = Vec::new();
    for _ in 0..count {
        words.push(fields.next()?.replace('_', " "));
        fields.next()?;
    }
    let pointers: usize = fields.next()?.parse().ok()?;
    let mut hypernyms = Vec::new();
    let mut is_instance = false;
    for _ in 0..pointers {
        let (symbol, target) = (fields.next()?, fields.next()?);
        fields.next()?;
        fields.next()?;
        match symbol {
            "@" => hypernyms.push(target.parse().ok()?),
            "@i" => is_instance = true,
            _ => {}
        }
    }
    Some(Synset {
        offset,
        file,
        words,
        hypernyms,
        is_instance,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const DATA: &str = "  1 licence\n\
        00000001 03 n 02 thing 0 object 0 000 | what there is\n\
        00000002 05 n 01 St._Bernard 0 002 @ 00000001 n 0000 ~ 00000009 n 0000 | a dog\n\
        00000003 15 n 01 Alps 0 001 @i 00000001 n 0000 | mountains\n";
    const INDEX: &str = "thing%1:03:00:: 00000001 1 7\nthing%2:03:00:: 00000005 1 2\n";

    #[test]
    fn synsets_senses_and_ancestors() {
        let wordnet = WordNet::parse(DATA, INDEX).expect("valid");
        let [_, dog, alps] = wordnet.synsets.as_slice() else {
            panic!("three synsets");
        };
        assert_eq!(dog.words, ["St. Bernard"]);
        assert_eq!(wordnet.ancestors(2), HashSet::from([1, 2]));
        assert!(alps.is_instance && !dog.is_instance);
        assert_eq!(wordnet.sense("thing#1").expect("a sense"), 1);
        assert!(wordnet.sense("thing#2").is_err());
        assert_eq!(wordnet.uses["thing"].weight(), 10.0);
    }

    #[test]
    fn damaged_lines_are_named() {
        let error = WordNet::parse("00000001 03 n 05 thing\n", "").expect_err("damaged");
        assert!(
            error.to_string().starts_with("data.noun, line 1"),
            "{error}"
        );
    }
}
