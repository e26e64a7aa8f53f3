//! One entry of the object noun dictionary (`nouns-captions.md` 1.1).

/// Grammatical number of a spelling, prompt or caption.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Number {
    /// Singular.
    Singular,
    /// Plural.
    Plural,
}

impl Number {
    /// Both, in the order in which everything is enumerated.
    pub const ALL: [Self; 2] = [Self::Singular, Self::Plural];
}

/// One spelling of a noun.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Spelling {
    /// The text as it is put into prompts.
    pub text: String,
    /// Integer log-scale frequency, at least 1.
    pub frequency: u32,
}

/// One target noun with its spellings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Noun {
    /// Identity across threshold levels; only used for hypernyms and class
    /// mapping.
    pub id: u64,
    /// What the decoder must output.
    pub target: String,
    /// Spelling shown to people.
    pub pretty: String,
    /// Singular spellings; empty for nouns that exist only in the plural.
    pub singulars: Vec<Spelling>,
    /// Plural spellings; empty for mass nouns.
    pub plurals: Vec<Spelling>,
    /// Ids of broader nouns, most specific first.
    pub hypernyms: Vec<u64>,
}

impl Noun {
    /// Spellings of one number.
    pub fn spellings(&self, number: Number) -> &[Spelling] {
        match number {
            Number::Singular => &self.singulars,
            Number::Plural => &self.plurals,
        }
    }

    /// All spellings, singular ones first.
    pub fn variants(&self) -> impl Iterator<Item = &Spelling> {
        self.singulars.iter().chain(&self.plurals)
    }

    /// Frequency of the noun: the sum over all its spellings. Thresholds
    /// compare with this.
    pub fn frequency(&self) -> u64 {
        self.variants().map(|v| u64::from(v.frequency)).sum()
    }

    /// Whether `text` is one of the spellings, exactly.
    pub fn is_spelled(&self, text: &str) -> bool {
        self.variants().any(|v| v.text == text)
    }
}
