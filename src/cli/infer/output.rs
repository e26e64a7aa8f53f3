//! The forms in which results are printed.

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};
use serde_json::{Map, Value};

use super::Format;
use crate::cli::CliError;
use crate::evaluate::{Colour, TextTable, significant};
use crate::infer::{
    Classified, Label, NovicModel, Predictions, RecordOptions, prediction_file, record,
    write_tensors,
};

/// What lines and tables show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown {
    pub colours: bool,
    /// There are several configurations.
    pub configurations: bool,
    /// There are several models.
    pub models: bool,
}

/// Prints results in one form.
pub(super) struct Output {
    format: Format,
    options: RecordOptions,
    shown: Shown,
    printed: usize,
    table: TextTable,
    model: Option<NovicModel>,
    /// How prediction files say that they were made.
    infer_cfg: Map<String, Value>,
    predictions: Vec<Predictions>,
    samples: Vec<String>,
    embeddings: Option<(PathBuf, Vec<f32>)>,
}

impl Output {
    pub(super) fn new(
        format: Format,
        options: RecordOptions,
        shown: Shown,
        save_embeddings: Option<PathBuf>,
    ) -> Self {
        let ranks = 1..=options.top.unwrap_or(0);
        let heads = [
            (true, "Input"),
            (shown.models, "Model"),
            (shown.configurations, "Gen Cfg"),
        ];
        let heads = heads.into_iter().filter(|(is_there, _)| *is_there);
        let heads = heads.map(|(_, head)| head.to_owned());
        Self {
            table: TextTable::new(heads.chain(ranks.map(|rank| format!("Label {rank}")))),
            format,
            options,
            shown,
            printed: 0,
            model: None,
            infer_cfg: Map::new(),
            predictions: Vec::new(),
            samples: Vec::new(),
            embeddings: save_embeddings.map(|path| (path, Vec::new())),
        }
    }

    /// What follows is of this model.
    pub(super) fn begin(&mut self, model: &NovicModel, infer_cfg: Map<String, Value>) {
        self.infer_cfg = infer_cfg;
        self.options.model = model.decoder().tail();
        self.model = Some(model.clone());
    }

    /// Prints a result, or keeps it for the end. Returns whether anybody still
    /// reads.
    pub(super) fn add(
        &mut self,
        classified: &Classified,
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
                self.keep(classified)?;
                String::new()
            }
        };
        self.printed += 1;
        written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
    }

    /// Prints what was kept.
    pub(super) fn finish(mut self, out: &mut dyn Write) -> Result<(), CliError> {
        let Some(model) = self.model.take() else {
            return Ok(());
        };
        let text = match self.format {
            Format::Text | Format::Jsonl => String::new(),
            Format::Csv if self.printed > 0 => String::new(),
            Format::Csv => CSV_HEAD.to_owned(),
            Format::Table => self.table.render(),
            Format::Json if self.printed == 0 => "[]\n".to_owned(),
            Format::Json => "\n]\n".to_owned(),
            Format::Predictions => {
                if self.predictions.is_empty() {
                    self.predictions
                        .push(Predictions::new(*model.generation(), 0));
                }
                let samples = std::mem::take(&mut self.samples);
                let file = prediction_file(
                    model.decoder(),
                    model.guide(),
                    samples,
                    std::mem::take(&mut self.infer_cfg),
                    &self.predictions,
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
                let by = self.by(classified).join(", ");
                let by = if by.is_empty() {
                    by
                } else {
                    format!(" [{by}]")
                };
                format!("{}{by} --> {}\n", classified.name, labels.join(" / "))
            }
        }
    }

    /// Model and configuration, where there are several.
    fn by(&self, classified: &Classified) -> Vec<String> {
        let mut by = Vec::new();
        if self.shown.models {
            by.push(self.options.model.clone());
        }
        if self.shown.configurations {
            by.push(classified.generation.to_string());
        }
        by
    }

    fn label(&self, label: &Label) -> String {
        let noun = if self.shown.colours {
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
        cells.extend(self.by(classified));
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
        let (model, gencfg) = (&self.options.model, classified.generation.to_string());
        match &classified.outcome {
            Err(error) => csv_line(
                &[
                    &index,
                    &input,
                    "",
                    "",
                    "",
                    "",
                    "",
                    &error.to_string(),
                    model,
                    "",
                ],
                &mut text,
            ),
            // No picture disappears: one without labels has a line without.
            Ok(labels) if self.options.shown(labels).next().is_none() => csv_line(
                &[&index, &input, "", "", "", "", "", "", model, &gencfg],
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
                            model,
                            &gencfg,
                        ],
                        &mut text,
                    );
                }
            }
        }
        text
    }

    fn keep(&mut self, classified: &Classified) -> Result<(), CliError> {
        let Ok(labels) = &classified.outcome else {
            return Ok(());
        };
        let config = classified.generation;
        let known = self.predictions.iter();
        let place = known.take_while(|part| *part.config() != config).count();
        if place == self.predictions.len() {
            self.predictions.push(Predictions::new(config, 0));
        }
        if place == 0 {
            self.samples.push(classified.name.clone());
        }
        self.predictions[place]
            .add(labels.clone(), None)
            .map_err(CliError::failed)
    }
}

const CSV_HEAD: &str = "index,input,rank,noun,score,probability,type,error,model,gencfg\n";

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
