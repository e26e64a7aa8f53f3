//! `nouns_v1`: what was predicted for every sample.

use super::Table;
use crate::evaluate::{Colour, PredictionType, significant};
use crate::reports::predictions::error::Result;
use crate::reports::predictions::file::{ConfigurationPredictions, ModelPredictions};
use crate::reports::printed::Printed;

pub(super) fn show(table: &Table<'_>, out: &mut Printed) -> Result<()> {
    let topk = table.request.topk;
    let mut heads = vec!["Sample".to_owned()];
    heads.extend((1..=topk).map(|rank| format!("Prediction {rank}")));
    for file in table.files {
        for entry in &file.predictions {
            let mut title = format!(
                "Top-{} predictions for {} decoded with {}",
                topk.min(entry.topk),
                file.file_name(),
                entry.name
            );
            if table.is_full() {
                title.push_str(&unannotated(table, file, entry));
            }
            out.result(title + ":");
            let samples = file.samples.iter().enumerate();
            let mut rows: Vec<Vec<String>> = samples
                .map(|(at, sample)| {
                    let cells = entry.row(at).take(topk);
                    let cells = cells.map(|cell| painted(table, sample, cell));
                    std::iter::once(sample.clone()).chain(cells).collect()
                })
                .collect();
            table.sort(&heads, &mut rows, out)?;
            out.table(heads.clone(), rows);
        }
    }
    Ok(())
}

/// The noun in the colour of what it is, and its score.
fn painted(table: &Table<'_>, sample: &str, cell: (&str, f64, PredictionType)) -> String {
    let (noun, score, kind) = cell;
    let kind = if table.annotations.is_correct(sample, noun) {
        PredictionType::Correct
    } else {
        kind
    };
    format!(
        "{} = {}",
        Colour::of(kind).paint(noun),
        significant(score, 3)
    )
}

/// How many top-1 predictions are not annotated, in words.
fn unannotated(
    table: &Table<'_>,
    file: &ModelPredictions,
    entry: &ConfigurationPredictions,
) -> String {
    let annotations = table.annotations;
    let samples = file.samples.iter().enumerate();
    let open = samples.filter(|(at, sample)| {
        let place = annotations.place(sample);
        let noun = entry.nouns.row(*at).next();
        noun.is_some_and(|noun| {
            place.is_none_or(|place| annotations.categories_of(place, noun).is_empty())
        })
    });
    format!(
        " ({} of {} top-1 predictions unannotated)",
        open.count(),
        file.samples.len()
    )
}
