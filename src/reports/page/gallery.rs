//! Pictures with what a model wrote under them. An evaluation stage leaves a
//! `gallery.json` and its pictures; the page shows them.

use std::path::Path;

use base64::Engine as _;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

/// One prediction of a picture.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Guess {
    /// The predicted noun.
    pub noun: String,
    /// Its probability, 0 to 1.
    pub probability: f64,
    /// `correct`, `guide`, `vocab` or `other` (`eval-infer.md` 1).
    pub kind: String,
}

/// A picture and its predictions, best first.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Picture {
    /// PNG file beside `gallery.json`.
    pub file: String,
    /// Name of the class, if it is known.
    pub label: Option<String>,
    /// Predictions, best first.
    pub guesses: Vec<Guess>,
}

/// A grid of pictures.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gallery {
    /// Heading.
    pub title: String,
    /// The pictures in order.
    pub pictures: Vec<Picture>,
}

impl Gallery {
    /// The grid with its pictures embedded; pictures that cannot be read show
    /// their file name.
    pub(super) fn render(&self, folder: &Path) -> Markup {
        html! {
            section {
                h3 { (self.title) }
                div.gallery {
                    @for picture in &self.pictures { (picture.render(folder)) }
                }
            }
        }
    }
}

impl Picture {
    fn render(&self, folder: &Path) -> Markup {
        let alt = self.label.as_deref().unwrap_or(&self.file);
        html! {
            figure {
                @match std::fs::read(folder.join(&self.file)) {
                    Ok(bytes) => img alt=(alt) loading="lazy" src={
                        "data:image/png;base64,"
                        (base64::engine::general_purpose::STANDARD.encode(bytes))
                    };,
                    Err(_) => div.absent { (self.file) },
                }
                figcaption {
                    @if let Some(label) = &self.label { div.truth { (label) } }
                    @for guess in &self.guesses {
                        div.guess data-kind=(guess.kind) title=(kind_title(&guess.kind)) {
                            span.bar style=(format!("width:{:.1}%", bar(guess.probability))) {}
                            span.noun { (guess.noun) }
                            span.probability { (format!("{:.1} %", guess.probability * 100.0)) }
                        }
                    }
                }
            }
        }
    }
}

fn bar(probability: f64) -> f64 {
    (probability * 100.0).clamp(0.0, 100.0)
}

fn kind_title(kind: &str) -> &'static str {
    match kind {
        "correct" => "correct: an accepted name of the class",
        "guide" => "a noun of the guide list",
        "vocab" => "a noun of the model's vocabulary",
        _ => "not a known noun",
    }
}
