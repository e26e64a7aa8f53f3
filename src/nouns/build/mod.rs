//! How the built-in dictionary is made from WordNet, a list of irregular
//! plurals and a word frequency list (`nouns-captions.md` section 9).
//!
//! [`Sources::load`] reads the pinned packages, [`build_dictionary`] makes the
//! nouns and a report, [`write_dictionary`] the file. The same sources always
//! give the same bytes. The steps are one file each: select synsets,
//! group their words to lemmas, add plurals, weights and what the
//! lists say, in that order.

mod articles;
mod class_lists;
mod drafts;
mod error;
mod frequencies;
mod lemmas;
mod lists;
mod plurals;
mod raise;
mod report;
mod select;
mod sources;
mod weights;
mod wordnet;
mod write;

pub use articles::build_article_list;
pub use class_lists::{ClassLists, build_class_lists};
pub use drafts::{BuiltDictionary, build_dictionary};
pub use error::BuildError;
pub use report::{BuildReport, ReportRow};
pub use sources::Sources;
pub use write::{to_json, write_class_lists, write_dictionary, write_text};
