//! The forms in which results are printed.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde_json::{Map, json};

use super::Format;
use crate::cli::CliError;
use crate::evaluate::{Colour, TextTable, significant};
use crate::infer::{
    Classified, Label, NovicModel, Predictions, RecordOptions, prediction_file, record,
    write_tensors,
};

/// Prints results in one form.
pub(super) struct Output {
    format: Format,
    options: RecordOptions,
    colours: bool,
    printed: usize,
    table: TextTable,
    predictions: Option<Predictions>,
    samples: Vec<String>,
    embeddings: Option<(PathBuf, Vec<f32>)>,
}

impl Output {
    pub(super) fn new(
        format: Format,
        options: RecordOptions,
        colours: bool,
        save_embeddings: Option<PathBuf>,
    ) -> Self {
        let ranks = 1..=options.top.unwrap_or(0);
        let heads = ["Input".to_owned()].into_iter();
        Self {
            table: TextTable::new(heads.chain(ranks.map(|rank| format!("Label {rank}")))),
            format,
            options,
            colours,
            printed: 0,
            predictions: None,
            samples: Vec::new(),
            embeddings: save_embeddings.map(|path| (path, Vec::new())),
        }
    }

    /// Prints a result, or keeps it for the end. Returns whether anybody still
    /// reads.
    pub(super) fn add(
        &mut self,
        classified: &Classified,
        model: &NovicModel,
        out: &mut dyn Write,
    ) -> Result<bool, CliError> {
        if let (Some((_, values)), Some(embedding)) = (&mut self.embeddings, &classified.embedding)
        {
            values.extend(embedding);
        }
        let text = match self.format {
            Format::Text => self.line(classified),
            Format::Table => {
                self.table_row(classified);
                String::new()
            }
            Format::Json => {
                let start = if self.printed == 0 { "[\n" } else { ",\n" };
                format!("{start}  {}", record(classified, &self.options))
            }
            Format::Jsonl => format!("{}\n", record(classified, &self.options)),
            Format::Csv => self.csv(classified),
            Format::Predictions => {
                self.keep(classified, model)?;
                String::new()
            }
        };
        self.printed += 1;
        written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Prints what was kept.
    pub(super) fn finish(
        mut self,
        model: &NovicModel,
        out: &mut dyn Write,
    ) -> Result<(), CliError> {
        let text = match self.format {
            Format::Text | Format::Jsonl => String::new(),
            Format::Csv if self.printed > 0 => String::new(),
            Format::Csv => CSV_HEAD.to_owned(),
            Format::Table => self.table.render(),
            Format::Json if self.printed == 0 => "[]\n".to_owned(),
            Format::Json => "\n]\n".to_owned(),
            Format::Predictions => {
                let predictions = self
                    .predictions
                    .take()
                    .unwrap_or_else(|| Predictions::new(*model.generation(), 0));
                let mut cfg = Map::new();
                cfg.insert("action".to_owned(), json!("infer"));
                cfg.insert("gencfg".to_owned(), json!(self.options.gencfg));
                let samples = std::mem::take(&mut self.samples);
                let file = prediction_file(
                    model.decoder(),
                    model.guide(),
                    samples,
                    cfg,
                    std::slice::from_ref(&predictions),
                );
                file.to_text()
            }
        };
        written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))?;
        if let Some((path, values)) = self.embeddings {
            save(&path, values, model.decoder().dim())
                .map_err(|error| CliError::failed(format!("{}: {error}", path.display())))?;
        }
        Ok(())
    }

    /// `<input> --> <noun> = <percent>% / …`
    fn line(&self, classified: &Classified) -> String {
        match &classified.outcome {
            Err(_) => String::new(),
            Ok(labels) => {
                let labels: Vec<String> = self
                    .options
                    .shown(labels)
                    .map(|label| self.label(label))
                    .collect();
                format!("{} --> {}\n", classified.name, labels.join(" / "))
            }
        }
    }

    fn label(&self, label: &Label) -> String {
        let noun = if self.colours {
            Colour::of(label.kind).paint(&label.noun)
        } else {
            label.noun.clone()
        };
        match label.probability {
            Some(probability) => format!("{noun} = {}%", significant(probability * 100.0, 3)),
            None => format!("{noun} (score {})", significant(label.score, 3)),
        }
    }

    fn table_row(&mut self, classified: &Classified) {
        let mut cells = vec![classified.name.clone()];
        match &classified.outcome {
            Err(error) => cells.push(error.to_string()),
            Ok(labels) => {
                let labels: Vec<String> = self
                    .options
                    .shown(labels)
                    .map(|label| self.label(label))
                    .collect();
                cells.extend(labels);
            }
        }
        self.table.row(cells);
    }

    fn csv(&self, classified: &Classified) -> String {
        let mut text = if self.printed == 0 {
            CSV_HEAD.to_owned()
        } else {
            String::new()
        };
        let (index, input) = (classified.index.to_string(), classified.name.clone());
        match &classified.outcome {
            Err(error) => csv_line(
                &[&index, &input, "", "", "", "", "", &error.to_string()],
                &mut text,
            ),
            Ok(labels) => {
                for (rank, label) in (1..).zip(self.options.shown(labels)) {
                    let rank: usize = rank;
                    let probability = label
                        .probability
                        .map_or_else(String::new, |value| value.to_string());
                    csv_line(
                        &[
                            &index,
                            &input,
                            &rank.to_string(),
                            &label.noun,
                            &label.score.to_string(),
                            &probability,
                            label.kind.name(),
                            "",
                        ],
                        &mut text,
                    );
                }
            }
        }
        text
    }

    fn keep(&mut self, classified: &Classified, model: &NovicModel) -> Result<(), CliError> {
        if let Ok(labels) = &classified.outcome {
            self.samples.push(classified.name.clone());
            self.predictions
                .get_or_insert_with(|| Predictions::new(*model.generation(), 0))
                .add(labels.clone(), None)
                .map_err(CliError::failed)?;
        }
        Ok(())
    }
}

const CSV_HEAD: &str = "index,input,rank,noun,score,probability,type,error\n";

fn csv_line(fields: &[&str], out: &mut String) {
    for (number, field) in fields.iter().enumerate() {
        if number > 0 {
            out.push(',');
        }
        if field.contains([',', '"', '\n', '\r']) {
            out.push('"');
            out.push_str(&field.replace('"', "\"\""));
            out.push('"');
        } else {
            out.push_str(field);
        }
    }
    out.push('\n');
}

fn written(outcome: io::Result<()>) -> Result<bool, CliError> {
    match outcome {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(CliError::failed(format!(
            "failed to write to standard output: {error}"
        ))),
    }
}

fn save(
    path: &Path,
    values: Vec<f32>,
    dim: usize,
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let rows = values.len() / dim.max(1);
    let tensor = Tensor::from_vec(values, (rows, dim), &Device::Cpu)?;
    write_tensors(path, &HashMap::from([("embeddings", tensor)]))
}
