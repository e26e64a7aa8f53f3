//! `[nouns]`: the dictionary and the prompts that make texts of it.

use super::action::readers;
use super::choice::choice;
use super::section::section;

choice! {
    /// Rules for "a" and "an".
    pub enum Article {
        /// Those of the published texts ("a FAQ", "a heir").
        #[default]
        Novic = "novic",
        /// How the noun is pronounced.
        Exact = "exact",
    }
}

choice! {
    /// What templates become.
    pub enum TextRules {
        /// Sentences that end in `?` or `!` get no full stop, templates that become the same text count as one, hypernym templates keep a leading space.
        #[default]
        Mended = "mended",
        /// Letter by letter the texts of the original.
        Original = "original",
    }
}

section! {
    /// The noun dictionary and the prompts that make texts of it.
    pub struct Nouns("nouns") {
        /// Noun dictionary JSON; `embedded` names the built-in one.
        vocab_path: String = "$SOURCE/data/object_nouns.json".to_owned() => path().flat("vocab_path").read_by(readers::NOUNS);
        /// Drop entries whose singular plus plural frequency is at most this.
        vocab_threshold: usize = 0 => flat("vocab_thres").read_by(readers::NOUN_THRESHOLD);
        /// Prompt templates JSON.
        prompt_path: String = "$SOURCE/data/prompts.json".to_owned() => path().flat("prompt_path").read_by(readers::NOUNS);
        /// Template collections, joined with `|`.
        prompts: String = "ImageNet1K | CIFAR".to_owned() => flat("prompt_collection").read_by(readers::NOUNS);
        /// Hypernym template collections, joined with `|`; `None`: none.
        hypernyms: String = "None".to_owned() => flat("hypernym_collection").read_by(readers::NOUNS);
        /// What templates become; for the shipped prompts both are the same.
        text_rules: TextRules = TextRules::Mended => read_by(readers::NOUNS);
        /// How "a" and "an" are chosen.
        article: Article = Article::Novic => read_by(readers::NOUNS);
        /// Use the embedded text cache of the noun dataset.
        cache: bool = true => flat("noun_cache").read_by(readers::NOUN_CACHE);
        /// Make that cache anew.
        recache: bool = false => flat("noun_recache").read_by(readers::NOUN_RECACHE);
        /// Take vectors of texts from finished text caches of the store with the same embedder and precision. They are equal to vectors made anew up to rounding: the last bits may depend on the texts that are embedded together.
        reuse: bool = false => read_by(readers::TEXT_CACHE);
        /// Directory of these caches.
        cache_dir: String = "$SOURCE/cache/noun_dataset".to_owned() => path().flat("noun_cache_dir").read_by(readers::NOUN_RECACHE);
    }
}
