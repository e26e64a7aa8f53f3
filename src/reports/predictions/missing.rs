//! Predictions that lack annotations, in the form that the annotation tools
//! take: a prediction file with the nouns to be judged.

use serde_json::{Value, json};

use super::annotations::Annotations;
use super::score::Findings;

/// A prediction file with one configuration, `unannotated`: for each sample the
/// nouns that lack an annotation.
pub fn missing_predictions(findings: &Findings, annotations: &Annotations) -> Value {
    let absent = findings.absent().iter();
    let absent = absent.map(|(sample, nouns)| (sample.as_str(), nouns));
    let (samples, nouns): (Vec<_>, Vec<_>) = findings.missing(annotations).chain(absent).unzip();
    json!({
        "version": 1,
        "samples": samples,
        "predictions": { "unannotated": { "pred": nouns } },
    })
}
