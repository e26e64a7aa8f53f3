//! `novic infer`: labels of own pictures.

mod cache_rows;
mod guide;
mod inputs;
mod labels;
mod output;
mod recorded;

use std::io::{BufRead, IsTerminal as _, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use candle_core::Device;
use clap::{Args, ValueEnum};
use clap_complete::engine::ArgValueCompleter;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use self::inputs::Inputs;
use self::labels::LabelFile;
use self::output::Output;
use super::dtype::Dtype;
use super::print::Out;
use super::{CliError, Exit, complete};
use crate::decoder::DecoderError;
use crate::decoder::generate::{GenerationConfig, Stop};
use crate::device;
use crate::images::DecodeOptions;
use crate::infer::{
    CheckpointSource, InferError, NovicModel, NovicModelBuilder, Polled, RecordOptions,
    StreamOptions,
};
use crate::net::resource_at;
use crate::runner::Interrupt;

/// Pictures embedded and decoded together unless told otherwise.
const BATCH: usize = 128;
/// Labels shown in texts and tables unless told otherwise.
const SHOWN: usize = 3;

/// Write what is in pictures, without a list of candidate labels
///
/// Takes files, folders and glob patterns, in this order. Pictures that cannot
/// be read are reported and skipped (exit code 3). Labels come with their
/// probabilities, or, where the generation configuration makes these
/// meaningless (priors, length exponents, temperatures), with scores. Results
/// go to standard output while the next pictures are read, everything else to
/// standard error.
///
///   novic infer picture.png
///   novic infer photos/ 'more/**/*.jpg' --top-k 5 --format jsonl
///   novic infer --checkpoint latest picture.png --guide nouns.txt
///   novic infer photos/ --gencfg greedy_k1_gn --gencfg beam_k10_gp --format csv
///   find . -name '*.jpg' -print0 | novic infer --paths-from - --format csv
///   echo '{"path": "cat.jpg", "id": 7}' | novic infer --stdin-jsonl
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct InferArgs {
    /// Pictures, folders, glob patterns; `-`: one picture from standard input
    #[arg(value_name = "PICTURE")]
    pictures: Vec<String>,
    /// The same, as the original names them
    #[arg(long, num_args = 1.., value_name = "PICTURE")]
    images: Vec<String>,
    /// Folder that relative names of pictures refer to
    #[arg(long, alias = "image_dir", value_name = "DIR")]
    image_dir: Option<PathBuf>,
    /// Descend into sub-folders
    #[arg(long)]
    recursive: bool,
    /// Patterns and folders without pictures are no error
    #[arg(long)]
    allow_empty: bool,
    /// A file with names of pictures, one per line or separated by NUL; `-`: standard input
    #[arg(long, value_name = "FILE")]
    paths_from: Option<PathBuf>,
    /// Texts to classify
    #[arg(long, num_args = 1.., value_name = "TEXT")]
    texts: Vec<String>,
    /// A file with one text per line; `-`: standard input
    #[arg(long, value_name = "FILE")]
    texts_from: Option<PathBuf>,
    /// Embeddings `[N, F]` of a safetensors file, or of an embedding cache
    #[arg(long, value_name = "FILE[:TENSOR]")]
    embeddings: Option<String>,
    /// Answer JSON lines such as {"path": …}, {"image": base64}, {"text": …}, {"embedding": […]}
    #[arg(long, conflicts_with_all = ["format", "json"])]
    stdin_jsonl: bool,

    /// A checkpoint file, a run, `latest`, or `embedded`; may be repeated
    #[arg(
        long,
        default_value = "embedded",
        value_name = "PATH|RUN|latest|embedded",
        help_heading = "Model",
        add = ArgValueCompleter::new(complete::checkpoints)
    )]
    checkpoint: Vec<CheckpointSource>,
    /// Generation configuration, may be repeated [default: beam_k10_vnone_gp_t1_a0]
    #[arg(long, value_name = "NAME", help_heading = "Model")]
    gencfg: Vec<String>,
    /// Nouns to choose from: a file with one per line, an embedding cache, `DATASET[:VARIANT]` for its class names, or `dictionary[:THRESHOLD]`
    #[arg(long, value_name = "FILE|NAME", help_heading = "Model")]
    guide: Vec<String>,
    /// Nouns to choose from
    #[arg(
        long,
        alias = "guide_targets",
        num_args = 1..,
        value_name = "NOUN",
        conflicts_with = "guide_targets_file",
        help_heading = "Model"
    )]
    guide_targets: Vec<String>,
    /// A file of nouns to choose from
    #[arg(
        long,
        alias = "guide_targets_file",
        value_name = "FILE",
        help_heading = "Model"
    )]
    guide_targets_file: Option<PathBuf>,
    /// Write guide nouns as the model knows them: `Red Foxes` as `red fox`
    #[arg(long, help_heading = "Model")]
    guide_canonical: bool,
    /// Inputs per batch; 0: all at once
    #[arg(long, alias = "batch_size", default_value_t = BATCH, value_name = "N", help_heading = "Model")]
    batch_size: usize,
    /// Where pictures are embedded: cpu, cuda or cuda:N; without such a GPU,
    /// the processor
    #[arg(
        long,
        default_value = "cpu",
        value_name = "DEVICE",
        help_heading = "Model"
    )]
    device: String,
    /// Precision in which the embedder keeps its matrices; f16 and bf16 take half the memory
    #[arg(long, value_enum, default_value_t = Dtype::Auto, help_heading = "Model")]
    dtype: Dtype,
    /// Has no effect; the original has it
    #[arg(long, alias = "torch_compile", hide = true)]
    torch_compile: bool,
    /// Has no effect; the original has it
    #[arg(long, alias = "no_tf32", hide = true)]
    no_tf32: bool,
    /// Turn pictures as their EXIF orientation says
    #[arg(long, help_heading = "Model")]
    exif_rotate: bool,

    /// How to print
    #[arg(long, value_enum, default_value_t = Format::Text, help_heading = "Output")]
    format: Format,
    /// Print JSON (the same as --format json)
    #[arg(long, conflicts_with = "jsonl", help_heading = "Output")]
    json: bool,
    /// Print JSON lines (the same as --format jsonl)
    #[arg(long, help_heading = "Output")]
    jsonl: bool,
    /// Labels per picture [default: 3 in texts and tables, else all]
    #[arg(long, alias = "top", value_name = "K", help_heading = "Output")]
    top_k: Option<usize>,
    /// Leave out labels that are less likely, 0 to 1
    #[arg(long, value_name = "P", help_heading = "Output")]
    min_prob: Option<f64>,
    /// With each label its tokens and their log-probabilities (json, jsonl)
    #[arg(long, help_heading = "Output")]
    token_log_probs: bool,
    /// A JSON file of input → accepted noun or nouns: marks labels as correct and counts them
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    labels: Option<PathBuf>,
    /// Write the embeddings `[N, F]` of what was classified to a safetensors file
    #[arg(long, value_name = "FILE", help_heading = "Output")]
    save_embeddings: Option<PathBuf>,
    /// What to do with inputs that cannot be read
    #[arg(long, value_enum, default_value_t = OnError::Skip, help_heading = "Output")]
    on_error: OnError,
    /// Colours in texts and tables
    #[arg(long, value_enum, default_value_t = Colours::Auto, help_heading = "Output")]
    color: Colours,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Format {
    /// A line per input
    Text,
    /// A table
    Table,
    /// One document
    Json,
    /// An object per line
    Jsonl,
    /// A line per label
    Csv,
    /// A prediction file, which tables are made from
    Predictions,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum OnError {
    /// Report them and go on
    Skip,
    /// Report the first and stop
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Colours {
    Auto,
    Always,
    Never,
}

/// Where results go and inputs come from.
pub struct InferIo<'a> {
    /// Standard input.
    pub input: Box<dyn BufRead + Send>,
    /// Results.
    pub out: &'a mut dyn Write,
    /// Everything else, a line at a time.
    pub log: &'a mut dyn FnMut(&str),
    /// Whether results go to a terminal that shows colours.
    pub colours: bool,
    /// Shows how far it is.
    pub progress: ProgressBar,
    /// Whether to stop.
    pub interrupt: Interrupt,
}

/// Labels pictures.
pub fn cmd_infer(args: &InferArgs) -> Result<Exit, CliError> {
    let interrupt = Interrupt::of_signals().map_err(CliError::failed)?;
    let progress = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
    let out = std::io::stdout().lock();
    let colours = out.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|v| v.is_empty());
    let mut out = Out(out);
    let bar = progress.clone();
    let mut log = |line: &str| bar.suspend(|| eprintln!("{line}"));
    infer(
        args,
        NovicModelBuilder::build,
        InferIo {
            input: Box::new(std::io::BufReader::new(std::io::stdin())),
            out: &mut out,
            log: &mut log,
            colours,
            progress,
            interrupt,
        },
    )
}

/// The command with a way of making models, for embedders that are not in
/// files.
pub fn infer(
    args: &InferArgs,
    build: impl Fn(NovicModelBuilder) -> Result<NovicModel, InferError>,
    mut io: InferIo<'_>,
) -> Result<Exit, CliError> {
    let generations = args.generations()?;
    let missing = args.checkpoint.iter().filter(|c| c.is_missing());
    let missing: Vec<String> = missing.map(ToString::to_string).collect();
    if !missing.is_empty() {
        let here = std::env::current_dir().unwrap_or_default();
        let released = missing
            .iter()
            .filter_map(|path| resource_at(&here.join(path), &here))
            .map(|known| format!("; `novic hub get {}` fetches {}", known.id, known.what));
        return Err(CliError::failed(format!(
            "no checkpoint is at {}: name a file, a run, latest or embedded{}",
            missing.join(", "),
            released.collect::<String>()
        )));
    }
    let labels = args.labels.as_deref().map(LabelFile::read).transpose()?;
    let guide = guide::nouns(args, io.log)?;
    let inputs = Inputs::of(args, io.input)?;
    let device = args.open_device(io.log)?;
    let format = args.effective_format();
    args.check_several(format, &inputs)?;
    let options = RecordOptions {
        top: match format {
            Format::Text | Format::Table => Some(args.top_k.unwrap_or(SHOWN)),
            _ => args.top_k,
        },
        min_prob: args.min_prob,
        ..RecordOptions::default()
    };
    let colours = match args.color {
        Colours::Always => true,
        Colours::Never => false,
        Colours::Auto => io.colours,
    };
    let output = Output::new(
        format,
        options,
        output::Shown {
            colours,
            configurations: generations.len() > 1,
            models: args.checkpoint.len() > 1,
        },
        args.save_embeddings.clone(),
    );
    let mut run = Run {
        args,
        generations: &generations,
        labels,
        output,
        total: Total::default(),
    };
    let mut inputs = Some(inputs);
    for checkpoint in &args.checkpoint {
        let inputs = match inputs.take() {
            Some(inputs) => inputs,
            // Standard input has no part in it.
            None => Inputs::of(args, Box::new(std::io::empty()))?,
        };
        let model = model(
            args,
            checkpoint,
            generations[0],
            guide.as_deref(),
            |builder| {
                build(
                    builder
                        .device(device.clone())
                        .precision(args.dtype.precision()),
                )
            },
            io.log,
        )?;
        if !args.gencfg.is_empty() || args.top_k.is_some() {
            let mut shortages = generations.iter().filter_map(|g| model.guide().shortage(g));
            if let Some(shortage) = shortages.next_back() {
                (io.log)(&format!("warning: {shortage}"));
            }
        }
        let interrupt = io.interrupt.clone();
        let model = model.with_stop(Stop::when(move || interrupt.is_raised()));
        let place = Place {
            model: &model,
            progress: &io.progress,
            interrupt: &io.interrupt,
        };
        run.classify(&place, inputs, &mut io.out, io.log)?;
        if run.total.end.is_some() {
            break;
        }
    }
    io.progress.finish_and_clear();
    run.finish(&mut io.out, io.log)
}

/// Loads a model with its guide.
fn model(
    args: &InferArgs,
    checkpoint: &CheckpointSource,
    generation: GenerationConfig,
    guide: Option<&[String]>,
    build: impl Fn(NovicModelBuilder) -> Result<NovicModel, InferError>,
    log: &mut dyn FnMut(&str),
) -> Result<NovicModel, CliError> {
    let failed = |error: InferError| match &error {
        InferError::Decoder(inner) if inner.is_usage() => CliError::from_error(Exit::Usage, &error),
        _ => CliError::from_error(Exit::Failed, &error),
    };
    let builder = NovicModel::builder(checkpoint)
        .generation(generation)
        .token_log_probs(args.token_log_probs)
        .for_pictures(!args.pictures.is_empty() || !args.images.is_empty());
    let model = build(builder).map_err(failed)?;
    let Some(nouns) = guide else {
        return Ok(model);
    };
    let nouns = match args.guide_canonical {
        true => guide::as_known(nouns, model.vocabulary(), log)?,
        false => nouns.to_vec(),
    };
    let guide = model.decoder().guide(&nouns).map_err(failed)?;
    for warning in guide.warnings(model.vocabulary()) {
        log(&format!("warning: {warning}"));
    }
    let capitalised = guide.capitalised(model.decoder().vocabulary()).next();
    if let Some(noun) = capitalised {
        log(&format!(
            "the model knows nouns such as {noun} in lower case alone: --guide-canonical writes \
             them so"
        ));
    }
    model.with_guide(Arc::new(guide)).map_err(failed)
}

impl InferArgs {
    fn open_device(&self, log: &mut dyn FnMut(&str)) -> Result<Device, CliError> {
        let (device, warning) = device::open(&self.device);
        if let Some(warning) = warning {
            log(&warning);
        }
        Ok(device)
    }

    fn effective_format(&self) -> Format {
        if self.stdin_jsonl || self.jsonl {
            Format::Jsonl
        } else if self.json {
            Format::Json
        } else {
            self.format
        }
    }

    /// What cannot be done with several models or configurations.
    fn check_several(&self, format: Format, inputs: &Inputs) -> Result<(), CliError> {
        if self.checkpoint.len() == 1 {
            return Ok(());
        }
        if inputs.reads_standard_input {
            return Err(CliError::usage(
                "standard input can be read once: name files where there are several checkpoints",
            ));
        }
        if format == Format::Predictions {
            return Err(CliError::usage(
                "a prediction file is of one checkpoint: give one --checkpoint, or another --format",
            ));
        }
        if self.save_embeddings.is_some() {
            return Err(CliError::usage(
                "--save-embeddings is for one checkpoint: give one --checkpoint",
            ));
        }
        Ok(())
    }

    /// The configurations, each once; at least one.
    fn generations(&self) -> Result<Vec<GenerationConfig>, CliError> {
        let usage = |error: &dyn std::error::Error| CliError::from_error(Exit::Usage, error);
        let mut generations: Vec<GenerationConfig> = Vec::new();
        for name in &self.gencfg {
            let generation = name.parse().map_err(|error| usage(&error))?;
            if !generations.contains(&generation) {
                generations.push(generation);
            }
        }
        if generations.is_empty() {
            generations.push(GenerationConfig {
                // As many beams as labels are wanted.
                topk: self
                    .top_k
                    .unwrap_or(0)
                    .max(GenerationConfig::default().topk),
                ..GenerationConfig::default()
            });
        }
        for generation in &generations {
            self.check_generation(generation)?;
        }
        Ok(generations)
    }

    fn check_generation(&self, generation: &GenerationConfig) -> Result<(), CliError> {
        let usage = |error: &dyn std::error::Error| CliError::from_error(Exit::Usage, error);
        generation
            .check(true, true)
            .map_err(|error| usage(&error))?;
        if let Some(least) = self.min_prob {
            if !(0.0..=1.0).contains(&least) {
                return Err(CliError::usage(format!(
                    "--min-prob {least} is no probability: give a number from 0 to 1"
                )));
            }
            if !generation.gives_probabilities() {
                return Err(CliError::usage(format!(
                    "--min-prob needs probabilities, and {generation} has none: use a \
                     configuration with vnone, t1 and a0"
                )));
            }
        }
        if self.top_k == Some(0) {
            return Err(CliError::usage("--top-k must be at least 1"));
        }
        Ok(())
    }
}

struct Run<'a> {
    args: &'a InferArgs,
    generations: &'a [GenerationConfig],
    labels: Option<LabelFile>,
    output: Output,
    total: Total,
}

/// What came of all inputs.
#[derive(Default)]
struct Total {
    failed: usize,
    /// Why no more is wanted.
    end: Option<Exit>,
    /// Lines for the end.
    said: Vec<String>,
    /// Whoever reads has seen enough.
    unread: bool,
}

/// Where inputs are classified.
struct Place<'a> {
    model: &'a NovicModel,
    progress: &'a ProgressBar,
    interrupt: &'a Interrupt,
}

impl Run<'_> {
    /// Classifies all inputs with one model.
    fn classify(
        &mut self,
        place: &Place<'_>,
        inputs: Inputs,
        out: &mut dyn Write,
        log: &mut dyn FnMut(&str),
    ) -> Result<(), CliError> {
        let &Place {
            model,
            progress,
            interrupt,
        } = place;
        let batch_size = match (self.args.batch_size, inputs.count) {
            (0, Some(count)) => count,
            (0, None) => 4096,
            (size, _) => size,
        };
        let stream_options = StreamOptions {
            batch_size,
            eager: inputs.eager,
            decode: DecodeOptions {
                exif_rotate: self.args.exif_rotate,
                ..DecodeOptions::default()
            },
            keep_embeddings: self.args.save_embeddings.is_some(),
        };
        if let Some(count) = inputs.count {
            progress.set_length(count as u64);
        }
        progress.set_style(style(inputs.count.is_some()));
        progress.enable_steady_tick(Duration::from_millis(200));
        let start = Instant::now();
        let (mut count, mut failed, mut batches) = (0usize, 0usize, 0usize);
        self.output.begin(
            model,
            recorded::infer_cfg(self.args, self.generations, model),
        );
        progress.set_position(0);
        let mut stream = model
            .stream_each(inputs.samples, stream_options, self.generations)
            .map_err(|error| CliError::from_error(Exit::Failed, &error))?;
        while self.total.end.is_none() {
            let classified = match stream.poll(Duration::from_millis(100)) {
                Polled::Ready(classified) => *classified,
                Polled::Waiting => {
                    if interrupt.is_raised() {
                        self.total.end = Some(Exit::Interrupted);
                    }
                    continue;
                }
                Polled::Ended => break,
            };
            let mut classified = match classified {
                Ok(classified) => classified,
                Err(InferError::Decoder(DecoderError::Interrupted)) => {
                    self.total.end = Some(Exit::Interrupted);
                    break;
                }
                // A configuration that does not fit the model is told when it is used.
                Err(InferError::Decoder(error)) if error.is_usage() => {
                    return Err(CliError::from_error(Exit::Usage, &error));
                }
                Err(error) => return Err(CliError::from_error(Exit::Failed, &error)),
            };
            for warning in model.embedder().take_warnings() {
                log(&warning);
            }
            batches = batches.max(classified.batch + 1);
            if classified.index == count {
                count += 1;
                progress.inc(1);
            }
            if let Some(labels) = &mut self.labels {
                labels.mark(&mut classified, &model.decoder().tail());
            }
            if let Err(error) = &classified.outcome {
                failed += 1;
                log(&format!("skipped: {}: {error}", classified.name));
                if self.args.on_error == OnError::Stop {
                    self.total.end = Some(Exit::Failed);
                }
            }
            if !self.output.add(&classified, out)? {
                self.total.unread = true;
                self.total.end = Some(Exit::Success);
            }
            if interrupt.is_raised() {
                self.total.end = Some(Exit::Interrupted);
            }
        }
        self.total.failed += failed;
        if self.total.unread {
            return Ok(());
        }
        let seconds = start.elapsed().as_secs_f64();
        let mut said = vec![
            format!(
                "Finished inferencing model checkpoint on {count} images in {batches} batches: {}",
                model.decoder().tail()
            ),
            format!(
                "{count} inputs in {seconds:.2} s, {:.1} per second",
                count as f64 / seconds.max(1e-9),
            ),
        ];
        if failed > 0 {
            said[1].push_str(&format!("; {failed} could not be read"));
        }
        self.total.said.append(&mut said);
        Ok(())
    }

    /// Prints what was kept for the end, and says how it went.
    fn finish(self, out: &mut dyn Write, log: &mut dyn FnMut(&str)) -> Result<Exit, CliError> {
        if self.total.unread {
            return Ok(Exit::Success);
        }
        self.output.finish(out)?;
        for line in &self.total.said {
            log(line);
        }
        for line in self.labels.iter().flat_map(LabelFile::summary) {
            log(&line);
        }
        Ok(match self.total.end {
            Some(end) => end,
            None if self.total.failed > 0 => Exit::SomeInputsFailed,
            None => Exit::Success,
        })
    }
}

fn style(has_length: bool) -> ProgressStyle {
    let template = if has_length {
        "{bar:30} {human_pos}/{human_len} {per_sec} {eta}"
    } else {
        "{spinner} {human_pos} {per_sec}"
    };
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
