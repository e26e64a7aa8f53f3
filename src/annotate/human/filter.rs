//! Which pairs a person wants to see.

use serde::Deserialize;
use serde_json::{Value, json};

use super::super::category::Category;
use super::session::Session;
use super::set::Pair;

/// Which pairs by their state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// Without a label.
    #[default]
    Open,
    /// With one.
    Done,
    /// Both.
    All,
    /// Labelled differently by somebody else at the same time.
    Conflict,
    /// Judged otherwise in a file to compare with.
    Disagree,
}

/// What a person wants to see.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// One set only.
    pub set: Option<usize>,
    /// By state.
    pub status: Status,
    /// In this category.
    pub category: Option<Category>,
    /// Predicted by this model.
    pub model: Option<String>,
    /// Nouns with this part, in any case.
    pub noun: String,
    /// Images with this part in their name, in any case.
    pub image: String,
}

impl Filter {
    /// Whether a pair is wanted, whatever its state is.
    pub(super) fn takes(&self, set: usize, image: &str, pair: &Pair) -> bool {
        let has = |text: &str, part: &str| {
            part.is_empty() || text.to_lowercase().contains(&part.to_lowercase())
        };
        self.set.is_none_or(|wanted| wanted == set)
            && has(image, &self.image)
            && has(&pair.noun, &self.noun)
            && self
                .model
                .as_ref()
                .is_none_or(|model| pair.models.contains(model))
    }

    /// Whether a pair is wanted in its state.
    pub(super) fn matches(&self, session: &Session, set: usize, image: &str, pair: &Pair) -> bool {
        self.takes(set, image, pair)
            && is_in(session, self.status, set, image, &pair.noun)
            && self.category.is_none_or(|category| {
                session.category_of(set, image, &pair.noun) == Some(category.name())
            })
    }
}

fn is_in(session: &Session, status: Status, set: usize, image: &str, noun: &str) -> bool {
    let category = session.category_of(set, image, noun);
    match status {
        Status::Open => category.is_none(),
        Status::Done => category.is_some(),
        Status::All => true,
        Status::Conflict => {
            let mut conflicts = session.conflicts(set).iter();
            conflicts.any(|conflict| conflict.image == image && conflict.noun == noun)
        }
        Status::Disagree => category.is_some_and(|category| {
            let mut others = session.others(set).iter();
            others.any(|other| other.disagrees(image, noun, category))
        }),
    }
}

/// How many pairs each choice of a filter would show, the others as they are.
pub(super) fn counts(session: &Session, filter: &Filter) -> Value {
    let mut statuses = [0usize; 5];
    let mut categories = [0usize; 5];
    let mut models: Vec<(&str, usize)> = Vec::new();
    let any_model = Filter {
        model: None,
        ..filter.clone()
    };
    for (place, set) in session.sets().enumerate() {
        for model in set.models() {
            if !models.iter().any(|(known, _)| *known == model) {
                models.push((model, 0));
            }
        }
        for item in &set.items {
            for pair in &item.pairs {
                if !any_model.takes(place, &item.image, pair) {
                    continue;
                }
                if any_model.matches(session, place, &item.image, pair) {
                    for (model, count) in &mut models {
                        *count += usize::from(pair.models.iter().any(|known| known == model));
                    }
                }
                if !filter.takes(place, &item.image, pair) {
                    continue;
                }
                let all = [
                    Status::Open,
                    Status::Done,
                    Status::All,
                    Status::Conflict,
                    Status::Disagree,
                ];
                for (count, status) in statuses.iter_mut().zip(all) {
                    *count += usize::from(is_in(session, status, place, &item.image, &pair.noun));
                }
                let category = session.category_of(place, &item.image, &pair.noun);
                for (count, known) in categories.iter_mut().zip(Category::ALL) {
                    *count += usize::from(category == Some(known.name()));
                }
            }
        }
    }
    let [open, done, all, conflict, disagree] = statuses;
    let categories: serde_json::Map<String, Value> = Category::ALL
        .iter()
        .zip(categories)
        .map(|(category, count)| (category.name().to_owned(), count.into()))
        .collect();
    let models: Vec<Value> = models
        .into_iter()
        .map(|(name, count)| json!({"name": name, "pairs": count}))
        .collect();
    json!({
        "status": {"open": open, "done": done, "all": all, "conflict": conflict, "disagree": disagree},
        "category": categories,
        "models": models,
    })
}
