//! The model object.

use std::path::PathBuf;
use std::sync::Arc;

use image::RgbImage;
use novic::decoder::generate::GenerationConfig;
use novic::device;
use novic::embedders::{Embedder, EmbedderSpec, OpenOptions, Precision};
use novic::images::{DecodeOptions, decode_bytes, decode_file};
use novic::infer::{CheckpointSource, Content, Label, NounList, NovicModel, Sample, StreamOptions};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;
use pyo3::types::PyBytes;

use crate::array::Array;
use crate::errors::{self, InputError, OptionError};

/// Embedder and decoder, loaded once.
#[pyclass(frozen, module = "novic._novic")]
pub struct Model(NovicModel);

/// A picture.
#[derive(FromPyObject)]
pub enum Input {
    /// Bytes of a file.
    #[pyo3(transparent)]
    Bytes(PyBackedBytes),
    /// Width, height and RGB values.
    #[pyo3(transparent)]
    Pixels((u32, u32, PyBackedBytes)),
    /// A file.
    #[pyo3(transparent)]
    Path(PathBuf),
}

impl Input {
    fn sample(self, index: usize) -> Result<Sample, PyErr> {
        let name = format!("picture {index}");
        let (name, content) = match self {
            Self::Path(path) => return Ok(Sample::file(path)),
            Self::Bytes(bytes) => (name, Content::Bytes(bytes.to_vec())),
            Self::Pixels((width, height, values)) => {
                let picture = RgbImage::from_raw(width, height, values.to_vec())
                    .filter(|picture| picture.width() > 0 && picture.height() > 0)
                    .ok_or_else(|| InputError::new_err(format!("{name} has no pixels")))?;
                (name, Content::Picture(picture))
            }
        };
        Ok(Sample {
            name,
            content,
            tag: None,
        })
    }
}

#[pymethods]
impl Model {
    #[new]
    fn new(
        py: Python<'_>,
        checkpoint: &str,
        generation: &str,
        embedder: Option<&str>,
        tokens: bool,
        device: &str,
        dtype: &str,
    ) -> PyResult<Self> {
        let source: CheckpointSource = match checkpoint.parse() {
            Ok(source) => source,
            Err(never) => match never {},
        };
        let generation = parse(generation)?;
        // Whether the device is there, `device_warning` has told.
        let device = py.detach(|| device::open(device)).0;
        let precision = match dtype {
            "auto" => None,
            name => Some(Precision::named(name).ok_or_else(|| {
                OptionError::new_err(format!("dtype {name:?} is not auto, f32, f16 or bf16"))
            })?),
        };
        let embedder = match embedder {
            None => None,
            Some(text) => {
                let spec: EmbedderSpec = text.parse().map_err(|e| errors::embedder(&e))?;
                let options = OpenOptions {
                    precision: precision
                        .unwrap_or_else(|| Precision::automatic(&device, true, false)),
                    device: device.clone(),
                    ..OpenOptions::default()
                };
                let opened = py.detach(|| Embedder::open_with(&spec, &options));
                Some(opened.map_err(|e| errors::embedder(&e))?)
            }
        };
        let mut builder = NovicModel::builder(&source)
            .generation(generation)
            .token_log_probs(tokens)
            .device(device)
            .precision(precision);
        if let Some(embedder) = embedder {
            builder = builder.embedder(Arc::new(embedder));
        }
        let model = py.detach(|| builder.build()).map_err(errors::option)?;
        Ok(Self(model))
    }

    /// The same with another generation configuration.
    fn with_generation(&self, name: &str) -> PyResult<Self> {
        let model = self.0.clone().with_generation(parse(name)?);
        model.map(Self).map_err(errors::option)
    }

    /// The same with these nouns to choose from; none: the vocabulary.
    fn with_guide(&self, py: Python<'_>, nouns: Option<Vec<String>>) -> PyResult<Self> {
        let guide = match nouns {
            None => self.0.decoder().vocabulary().clone(),
            Some(nouns) => {
                let mut list = NounList::default();
                nouns.iter().for_each(|noun| list.push(noun));
                let decoder = self.0.decoder();
                let guide = py.detach(|| decoder.guide(&list.nouns));
                Arc::new(guide.map_err(errors::option)?)
            }
        };
        let model = self.0.clone().with_guide(guide).map_err(errors::option)?;
        Ok(Self(model))
    }

    /// Loads the weights of the embedder.
    fn load(&self, py: Python<'_>) -> PyResult<()> {
        py.detach(|| self.0.warm_up()).map_err(errors::infer)
    }

    /// Frees the weights of the embedder.
    fn release(&self, py: Python<'_>) {
        py.detach(|| self.0.embedder().release());
    }

    #[getter]
    fn path(&self) -> PathBuf {
        self.0.path().to_owned()
    }

    #[getter]
    fn generation(&self) -> String {
        self.0.generation().to_string()
    }

    #[getter]
    fn dim(&self) -> usize {
        self.0.decoder().dim()
    }

    #[getter]
    fn vocabulary(&self) -> Vec<String> {
        self.0.vocabulary().to_vec()
    }

    #[getter]
    fn guide(&self) -> Vec<String> {
        self.0.guide().nouns().to_vec()
    }

    /// The embedder that the checkpoint names.
    #[getter]
    fn embedder(&self) -> String {
        let embedder = &self.0.header().embedder["spec"];
        embedder.as_str().unwrap_or_default().to_owned()
    }

    /// The checkpoint's configuration in the original's form, as JSON.
    #[getter]
    fn configuration(&self) -> String {
        serde_json::Value::from(self.0.header().cfg_flat.clone()).to_string()
    }

    /// Labels of pictures; `progress` is called with how many are done.
    #[pyo3(signature = (inputs, batch_size, rotate, progress))]
    fn classify_images(
        &self,
        py: Python<'_>,
        inputs: Vec<Input>,
        batch_size: usize,
        rotate: bool,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Outcome> {
        let samples: Vec<Sample> = inputs
            .into_iter()
            .enumerate()
            .map(|(index, input)| input.sample(index))
            .collect::<PyResult<_>>()?;
        self.classify(py, samples, batch_size, rotate, progress)
    }

    /// Labels of texts.
    #[pyo3(signature = (texts, batch_size, progress))]
    fn classify_texts(
        &self,
        py: Python<'_>,
        texts: Vec<String>,
        batch_size: usize,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Outcome> {
        let samples = texts.iter().map(|text| Sample::text(text)).collect();
        self.classify(py, samples, batch_size, false, progress)
    }

    /// Labels of embeddings: rows of `dim` single precision numbers, as bytes.
    #[pyo3(signature = (embeds, batch_size, progress))]
    fn classify_embeds(
        &self,
        py: Python<'_>,
        embeds: &[u8],
        batch_size: usize,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Outcome> {
        let row = self.0.decoder().dim() * 4;
        let samples = embeds
            .chunks(row)
            .enumerate()
            .map(|(index, bytes)| Sample {
                name: format!("embedding {index}"),
                content: Content::Embedding(floats(bytes)),
                tag: None,
            })
            .collect();
        self.classify(py, samples, batch_size, false, progress)
    }
}

impl Model {
    fn classify(
        &self,
        py: Python<'_>,
        samples: Vec<Sample>,
        batch_size: usize,
        rotate: bool,
        progress: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Outcome> {
        let total = samples.len();
        let options = StreamOptions {
            batch_size,
            decode: DecodeOptions {
                exif_rotate: rotate,
                ..DecodeOptions::default()
            },
            keep_embeddings: true,
            ..StreamOptions::default()
        };
        let mut stream = self.0.stream(samples.into_iter(), options);
        let mut rows = Vec::with_capacity(total);
        let mut embeds = Vec::with_capacity(total * self.0.decoder().dim());
        loop {
            let batch = py.detach(|| {
                let batch: Vec<_> = stream.by_ref().take(batch_size.max(1)).collect();
                batch
            });
            if batch.is_empty() {
                break;
            }
            for classified in batch {
                let classified = classified.map_err(errors::infer)?;
                let labels = classified
                    .outcome
                    .map_err(|error| errors::sample(&classified.name, &error))?;
                rows.push(labels);
                embeds.extend(classified.embedding.unwrap_or_default());
            }
            // Ctrl-C ends between batches.
            py.check_signals()?;
            if let Some(progress) = &progress {
                progress.call1((rows.len(), total))?;
            }
        }
        let (dim, ranks) = (self.0.decoder().dim(), self.0.generation().topk);
        Ok(Outcome::of(&rows, embeds, dim, ranks))
    }
}

fn parse(name: &str) -> PyResult<GenerationConfig> {
    name.parse()
        .map_err(|error: novic::decoder::DecoderError| OptionError::new_err(error.to_string()))
}

fn floats(bytes: &[u8]) -> Vec<f32> {
    let (words, _) = bytes.as_chunks::<4>();
    words.iter().map(|word| f32::from_le_bytes(*word)).collect()
}

/// What a model says of many inputs: `B` rows of up to `K` labels.
#[derive(IntoPyObject)]
pub struct Outcome {
    /// Nouns, best first.
    preds: Vec<Vec<String>>,
    /// `[B, F]`.
    embeds: Array,
    /// `[B, K]`; negative infinity where there are fewer labels.
    scores: Array,
    /// `[B, K]`; not a number where the generation configuration has no
    /// probabilities, 0 where there are fewer labels.
    probs: Array,
    /// `[B, K]`, as in prediction files.
    types: Array,
    /// Text, id and log-probability of the tokens of every noun, if they were
    /// asked for.
    tokens: Vec<Vec<Option<Vec<Token>>>>,
}

type Token = (String, u32, f64);

impl Outcome {
    fn of(rows: &[Vec<Label>], embeds: Vec<f32>, dim: usize, ranks: usize) -> Self {
        fn table<T: Copy>(
            rows: &[Vec<Label>],
            ranks: usize,
            absent: T,
            value: impl Fn(&Label) -> T,
        ) -> Vec<T> {
            let mut values = Vec::with_capacity(rows.len() * ranks);
            for row in rows {
                let own = row.iter().map(&value);
                values.extend(own.chain(std::iter::repeat(absent)).take(ranks));
            }
            values
        }
        let shape = vec![rows.len(), ranks];
        let scores = table(rows, ranks, f64::NEG_INFINITY, |label| label.score);
        let probs = table(rows, ranks, 0.0, |label| {
            label.probability.unwrap_or(f64::NAN)
        });
        let types = table(rows, ranks, 3, |label| label.kind.number() as i8);
        let tokens = |label: &Label| {
            let tokens = label.tokens.as_ref()?.iter();
            Some(
                tokens
                    .map(|token| (token.text.clone(), token.id, token.log_prob))
                    .collect(),
            )
        };
        Self {
            preds: rows
                .iter()
                .map(|row| row.iter().map(|label| label.noun.clone()).collect())
                .collect(),
            embeds: Array::f32(embeds, vec![rows.len(), dim]),
            scores: Array::f64(scores, shape.clone()),
            probs: Array::f64(probs, shape.clone()),
            types: Array::i8(types, shape),
            tokens: rows
                .iter()
                .map(|row| row.iter().map(tokens).collect())
                .collect(),
        }
    }
}

/// Why the processor is used although another device was named; none if it is
/// there.
#[pyfunction]
pub fn device_warning(py: Python<'_>, name: &str) -> Option<String> {
    py.detach(|| device::open(name)).1
}

/// Width, height and RGB values of a picture file or its bytes.
#[pyfunction]
#[pyo3(signature = (input, rotate))]
pub fn decode_image<'py>(
    py: Python<'py>,
    input: Input,
    rotate: bool,
) -> PyResult<(u32, u32, Bound<'py, PyBytes>)> {
    let options = DecodeOptions {
        exif_rotate: rotate,
        ..DecodeOptions::default()
    };
    let decoded = py.detach(|| match input {
        Input::Path(path) => decode_file(&path, &options).map_err(|error| error.to_string()),
        Input::Bytes(bytes) => {
            decode_bytes(&bytes, "picture".as_ref(), &options).map_err(|error| error.to_string())
        }
        Input::Pixels((width, height, values)) => {
            RgbImage::from_raw(width, height, values.to_vec())
                .ok_or_else(|| "a picture has width · height · 3 values".to_owned())
        }
    });
    let picture = decoded.map_err(InputError::new_err)?;
    let (width, height) = picture.dimensions();
    Ok((width, height, PyBytes::new(py, picture.as_raw())))
}
