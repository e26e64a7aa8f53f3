//! What an evaluation records and prints.

use std::path::Path;

use crate::cache::TargetConfig;
use crate::decoder::generate::{GenerationConfig, Generator, Guiding, NounReader, NounTrie};
use crate::embedders::Embedder;
use crate::evaluate::{FirstBatch, Subject, TokenResults};
use crate::infer::TrainedDecoder;
use crate::reports::record::Record;
use crate::runner::{StageContext, StageError};
use crate::tracking::Value;

/// First target → greedy decoding of the first batch; with guiding the guided
/// one, the other in brackets.
pub(super) fn first_batch(
    context: &StageContext<'_>,
    embedder: &Embedder,
    target: &TargetConfig,
    subject: &Subject,
    guide: Option<&NounTrie>,
    first: &FirstBatch,
) -> Result<(), StageError> {
    let Subject::Decoder(decoder) = subject else {
        return Ok(());
    };
    let tokenizer = embedder.tokenizer();
    let reader = NounReader {
        target,
        tokenizer: tokenizer.as_ref(),
    };
    let greedy = |guide: Option<&NounTrie>| -> Result<Vec<String>, StageError> {
        let configuration = GenerationConfig {
            guide: match guide {
                Some(_) => Guiding::Plain,
                None => Guiding::None,
            },
            .."greedy_k1_vnone_gn_t1_a0".parse()?
        };
        let generator = Generator::new(decoder, configuration, guide, None)?;
        let mut texts = Vec::new();
        for hypotheses in generator.generate(&first.embeds)? {
            let predictions = reader.predictions(hypotheses, false)?;
            let best = predictions.into_iter().next();
            texts.push(best.map_or_else(String::new, |best| best.text));
        }
        Ok(texts)
    };
    let free = greedy(None)?;
    let guided = guide.map(|guide| greedy(Some(guide))).transpose()?;
    for (sample, ids) in first.targets.iter().enumerate() {
        let ids: Vec<i64> = ids.iter().map(|&id| i64::from(id)).collect();
        let truth = target.detokenize(tokenizer.as_ref(), &ids)?;
        let verdict = if first.right[sample] {
            "right"
        } else {
            "wrong"
        };
        let written = match &guided {
            Some(guided) => format!("{} [{}]", guided[sample], free[sample]),
            None => free[sample].clone(),
        };
        context.note(&format!("{truth} → {written} ({verdict})"));
    }
    Ok(())
}

/// Records, tracks and prints what a dataset says of a model.
pub(super) fn report(
    context: &StageContext<'_>,
    records: &mut Vec<Record>,
    summary: &mut Vec<String>,
    dataset: &str,
    model: Option<&TrainedDecoder>,
    (results, elapsed): (TokenResults, f64),
) -> Result<(), StageError> {
    let part = |part: Option<&std::ffi::OsStr>| {
        part.map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default()
    };
    let path = model.map(|model| model.path.as_path());
    let texts = [
        ("dataset", dataset.to_owned()),
        ("model_path", part(path.map(Path::as_os_str))),
        (
            "model_dir",
            part(path.and_then(Path::parent).and_then(Path::file_name)),
        ),
        ("model_name", part(path.and_then(Path::file_name))),
    ];
    let mut metrics = results.metrics();
    metrics.push(("elapsed_time".to_owned(), elapsed));
    let mut record = Record::new();
    let mut row: Vec<(String, Value)> = Vec::new();
    for (name, text) in texts {
        record.set(name, text.clone());
        row.push((format!("Eval/{name}"), Value::Text(text)));
    }
    for (name, number) in metrics {
        record.set(&name, number);
        row.push((format!("Eval/{name}"), Value::Number(number)));
    }
    let row: Vec<(&str, Value)> = row
        .iter()
        .map(|(name, value)| (name.as_str(), value.clone()))
        .collect();
    context.metrics()?.row(&row);
    let name = record.text("model_name").unwrap_or_default().to_owned();
    let name = if name.is_empty() {
        "random weights".to_owned()
    } else {
        name
    };
    context.note(&format!(
        "{dataset}, {name}: {} samples, {} valid targets, {} batches; loss {:.4}, noun top-1 \
         {:.2} %, token top-1 {:.2} %",
        results.num_samples,
        results.num_valid_targets,
        results.num_batches,
        results.loss,
        results.noun_top1 * 100.0,
        results.top1 * 100.0,
    ));
    if results.num_skipped > 0 {
        context.warn(&format!(
            "{dataset}, {name}: {} samples were left out, because the model cannot express their \
             nouns",
            results.num_skipped
        ));
    }
    record.set("num_skipped", results.num_skipped);
    record.set("guided", context.config().eval.guided);
    let columns = (results.top1_at.iter().zip(&results.tokens_at))
        .map(|(top1, tokens)| format!("{:.2} % of {tokens}", top1 * 100.0));
    let columns: Vec<String> = columns.collect();
    context.note(&format!("token top-1 by position: {}", columns.join(", ")));
    summary.push(format!(
        "{dataset}: noun top-1 {:.1} %",
        results.noun_top1 * 100.0
    ));
    records.push(record);
    Ok(())
}
