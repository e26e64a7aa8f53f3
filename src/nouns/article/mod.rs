//! The indefinite article of a noun as spelled (`nouns-captions.md` 2.4).

mod published;
mod spoken;

pub(in crate::nouns) use spoken::spelling_takes_an;

/// Which rules choose between "a" and "an".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ArticleRules {
    /// Those of the published texts.
    #[default]
    Published,
    /// How the first word is pronounced.
    Exact,
}

impl ArticleRules {
    /// The indefinite article of `noun`, with a space: `"a "` or `"an "`.
    pub fn of(self, noun: &str) -> &'static str {
        article(self.takes_an(noun))
    }

    /// Whether the article of `noun` is "an".
    pub(super) fn takes_an(self, noun: &str) -> bool {
        match self {
            Self::Published => published::takes_an(noun),
            Self::Exact => spoken::takes_an(noun),
        }
    }
}

/// The article, with a space.
pub(super) fn article(takes_an: bool) -> &'static str {
    if takes_an { "an " } else { "a " }
}

/// The article of the published texts.
pub fn indefinite_article(noun: &str) -> &'static str {
    ArticleRules::Published.of(noun)
}

/// `noun` with the article of the published texts, and `suffix` appended.
pub fn make_indefinite(noun: &str, suffix: &str) -> String {
    [indefinite_article(noun), noun, suffix].concat()
}
