//! The five judgements of a noun about a picture.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What a noun is to a picture.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, ValueEnum,
)]
#[serde(rename_all = "snake_case")]
#[value(rename_all = "snake_case")]
pub enum Category {
    /// Right and specific name of a main subject.
    CorrectPrimary,
    /// Right name of something that is visible beside the subject.
    CorrectSecondary,
    /// Nearly right for a main subject.
    ClosePrimary,
    /// Nearly right for something beside it.
    CloseSecondary,
    /// Neither.
    Incorrect,
}

impl Category {
    /// All of them, most points first.
    pub const ALL: [Self; 5] = [
        Self::CorrectPrimary,
        Self::CorrectSecondary,
        Self::ClosePrimary,
        Self::CloseSecondary,
        Self::Incorrect,
    ];

    /// The order in which people's files list them.
    pub const HUMAN_ORDER: [Self; 5] = [
        Self::ClosePrimary,
        Self::CloseSecondary,
        Self::CorrectPrimary,
        Self::CorrectSecondary,
        Self::Incorrect,
    ];

    /// The order in which files made by a model list them.
    pub const MODEL_ORDER: [Self; 5] = Self::ALL;

    /// Its name in files.
    pub fn name(self) -> &'static str {
        match self {
            Self::CorrectPrimary => "correct_primary",
            Self::CorrectSecondary => "correct_secondary",
            Self::ClosePrimary => "close_primary",
            Self::CloseSecondary => "close_secondary",
            Self::Incorrect => "incorrect",
        }
    }

    /// The category with this name in files.
    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|category| category.name() == name)
    }

    /// What a prediction of this category scores.
    pub fn points(self) -> f64 {
        match self {
            Self::CorrectPrimary => 1.0,
            Self::CorrectSecondary => 0.8,
            Self::ClosePrimary => 0.5,
            Self::CloseSecondary => 0.4,
            Self::Incorrect => 0.0,
        }
    }
}

impl fmt::Display for Category {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Points of a category by its name in a file; an unknown one scores nothing.
pub fn points_of(name: &str) -> f64 {
    Category::of_name(name).map_or(0.0, Category::points)
}
