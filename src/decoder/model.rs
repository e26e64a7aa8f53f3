//! `PrefixedIterDecoder`: a transformer whose first positions are made from an
//! embedding vector and which continues with the tokens of a noun
//! (`decoder.md` sections 2 to 4).
//!
//! [`Decoder`] holds the parameters; [`Decoder::forward`] computes logits, loss
//! and accuracy of a batch of targets. Rows of the transformer are packed, see
//! [`super::packing`]; decoding runs the same layers over a key-value cache.

use std::collections::HashMap;

use candle_core::{Device, Tensor, Var};
use rand::RngCore;
use rand_chacha::ChaCha12Rng;

use crate::cache::batch::TargetBatch;
use crate::config::schema::Model;
use crate::ops::tape::cross_entropy::{CrossEntropy, RowSummary, summarize_rows};
use crate::ops::tape::{Buffer, Dropout, InputRows, Pool, Tape, Value, normalize_rows, tensor};

use super::architecture::{Architecture, Dimensions};
use super::error::DecoderError;
use super::generate::{END, NounTrie};
use super::init;
use super::loss::{Loss, LossConfig};
use super::packing::{PackedBatch, Targets};
use super::parameters::{LayerIndex, LinearIndex, NormIndex, ParameterLayout};
use super::state;
use super::stream::{Purpose, stream};

/// The object decoder.
#[derive(Clone, Debug)]
pub struct Decoder {
    architecture: Architecture,
    layout: ParameterLayout,
    parameters: Vec<Var>,
    loss: LossConfig,
    pub(super) input_dropout: f64,
    pub(super) layer_dropout: f64,
    /// Memory of passes before.
    pub(super) pool: Pool,
}

/// Keys of the dropout sites of one training batch.
pub struct DropoutSites {
    rng: ChaCha12Rng,
    factor: f64,
}

impl DropoutSites {
    /// Sites of batch `batch` of epoch `epoch`; `factor` multiplies every
    /// probability (0 disables dropout).
    pub fn new(seed: u64, epoch: u64, batch: u64, factor: f64) -> Self {
        Self {
            rng: stream(seed, Purpose::Dropout, &[epoch, batch]),
            factor,
        }
    }

    /// A random number of the batch, to seed another generator with.
    pub fn key(&mut self) -> u64 {
        self.rng.next_u64()
    }

    pub(super) fn next(&mut self, rate: f64) -> Option<Dropout> {
        let key = self.rng.next_u64();
        // A probability of 1 would divide by zero: nothing would be kept.
        let rate = (rate * self.factor).clamp(0.0, 0.999);
        (rate > 0.0).then(|| Dropout::new(rate as f32, key))
    }
}

/// What [`Decoder::forward`] computes and how.
#[derive(Default)]
pub struct ForwardOptions<'a> {
    /// Loss; [`Decoder::loss_config`] gives that of the configuration.
    pub loss: LossConfig,
    /// Restrict all results to the last column.
    pub only_last_column: bool,
    /// Restrict predictions to continuations of the true prefix in this trie.
    pub guide: Option<&'a NounTrie>,
    /// Keep what [`Forward::backward`] needs.
    pub gradients: bool,
    /// Dropout of training; absent in evaluation.
    pub dropout: Option<DropoutSites>,
    /// Give each target of a sample a prefix of its own, as the original does.
    /// Changes results only under dropout.
    pub repeat_prefix: bool,
}

/// Result of a forward pass over `A` target rows and `C` columns (one column
/// if restricted to the last).
pub struct Forward {
    /// Columns of the masks below.
    pub columns: usize,
    /// Effective padding `[A, C]`.
    pub padding: Vec<bool>,
    /// Counted positions whose prediction is right `[A, C]`.
    pub correct: Vec<bool>,
    /// Loss and counts.
    pub loss: Loss,
    /// Flat index into `[A, C]` of each counted position.
    pub places: Vec<u32>,
    logits: Buffer,
    vocab_size: usize,
    parameters: usize,
    entropy: CrossEntropy,
    pass: Option<BackwardPass>,
}

struct BackwardPass {
    tape: Tape,
    output: Value,
    summaries: Vec<RowSummary>,
    weights: Vec<f32>,
}

impl Forward {
    /// Logits `[N, V]` of the counted positions, as a copy.
    ///
    /// # Errors
    /// None on the CPU.
    pub fn logits(&self) -> Result<Tensor, DecoderError> {
        let width = self.vocab_size;
        let mut values = Vec::with_capacity(self.entropy.rows.len() * width);
        for &row in &self.entropy.rows {
            let start = row as usize * width;
            values.extend_from_slice(&self.logits[start..start + width]);
        }
        Ok(tensor(values, (self.entropy.rows.len(), width))?)
    }

    /// Gradients of `scale`·(loss sum) in the order of
    /// [`Decoder::parameters`], absent for parameters that take no part. Needs
    /// [`ForwardOptions::gradients`]; all absent otherwise or if nothing counts.
    ///
    /// # Errors
    /// None on the CPU.
    pub fn backward(self, scale: f64) -> Result<Vec<Option<Buffer>>, DecoderError> {
        let Some(pass) = self.pass else {
            return Ok((0..self.parameters).map(|_| None).collect());
        };
        let factors: Vec<f32> = (pass.weights.iter())
            .map(|&w| (f64::from(w) * scale) as f32)
            .collect();
        let mut gradient = self.logits;
        self.entropy
            .replace_by_gradient(&mut gradient, self.vocab_size, &pass.summaries, &factors);
        let gradients = (pass.tape).backward(&pass.output, gradient, self.parameters)?;
        Ok(gradients.into_vec())
    }
}

impl Decoder {
    /// A decoder with fresh weights drawn from `seed`.
    ///
    /// # Errors
    /// A configuration that no model can have.
    pub fn new(config: &Model, dimensions: Dimensions, seed: u64) -> Result<Self, DecoderError> {
        Self::of_parameters(config, dimensions, |architecture, layout| {
            let specs = layout.parameters.iter().enumerate();
            specs
                .map(|(index, spec)| init::fresh(spec, index, architecture, &config.init, seed))
                .collect()
        })
    }

    /// A decoder with the weights of a state dictionary.
    ///
    /// # Errors
    /// A configuration that no model can have; otherwise as
    /// [`Self::load_state_dict`].
    pub fn of_state_dict(
        config: &Model,
        dimensions: Dimensions,
        state: &HashMap<String, Tensor>,
    ) -> Result<Self, DecoderError> {
        Self::of_parameters(config, dimensions, |architecture, layout| {
            state::parameters_of(architecture, layout, state)
        })
    }

    fn of_parameters(
        config: &Model,
        dimensions: Dimensions,
        values: impl FnOnce(&Architecture, &ParameterLayout) -> Result<Vec<Tensor>, DecoderError>,
    ) -> Result<Self, DecoderError> {
        let architecture = Architecture::new(config, dimensions)?;
        let layout = ParameterLayout::new(&architecture);
        let parameters = values(&architecture, &layout)?
            .iter()
            .map(Var::from_tensor)
            .collect::<Result<_, _>>()?;
        Ok(Self {
            architecture,
            layout,
            parameters,
            loss: LossConfig {
                num_end_loss: config.num_end_loss,
                label_smoothing: config.label_smoothing,
            },
            input_dropout: config.input_dropout,
            layer_dropout: config.layer_dropout,
            pool: Pool::default(),
        })
    }

    /// The same decoder with its parameters on another device. Off the CPU
    /// [`Self::forward_composed`] computes; [`Self::forward`] and decoding need
    /// parameters on the CPU.
    ///
    /// # Errors
    /// A device without memory for them.
    pub fn to_device(&self, device: &Device) -> Result<Self, DecoderError> {
        let parameters = self.parameters.iter();
        let parameters = parameters
            .map(|var| {
                Ok(Var::from_tensor(
                    &var.as_detached_tensor().to_device(device)?,
                )?)
            })
            .collect::<Result<_, DecoderError>>()?;
        Ok(Self {
            parameters,
            pool: Pool::default(),
            ..self.clone()
        })
    }

    /// Where the parameters are.
    pub fn device(&self) -> &Device {
        // Every architecture has parameters.
        self.parameters
            .first()
            .map_or(&Device::Cpu, |var| var.device())
    }

    /// Sizes and switches.
    pub fn architecture(&self) -> &Architecture {
        &self.architecture
    }

    /// Parameter names, shapes and counts.
    pub fn layout(&self) -> &ParameterLayout {
        &self.layout
    }

    /// Parameters in registration order, those of [`ParameterLayout`].
    pub fn parameters(&self) -> &[Var] {
        &self.parameters
    }

    /// Parameters with their names, as an optimizer takes them.
    pub fn named_parameters(&self) -> Vec<(String, Var)> {
        self.layout
            .parameters
            .iter()
            .map(|spec| spec.name.clone())
            .zip(self.parameters.iter().cloned())
            .collect()
    }

    /// Loss of the configuration.
    pub fn loss_config(&self) -> LossConfig {
        self.loss
    }

    /// Logits, loss and accuracy of a batch: `embeds` `[B, F]` of any length,
    /// and targets.
    ///
    /// # Errors
    /// A batch that does not fit the model.
    pub fn forward(
        &self,
        embeds: &Tensor,
        batch: &TargetBatch,
        options: ForwardOptions<'_>,
    ) -> Result<Forward, DecoderError> {
        let samples = self.check_embeds(embeds)?;
        let targets = Targets::new(
            batch,
            samples,
            self.architecture.dimensions,
            options.loss.num_end_loss,
        )?;
        let all = batch.columns;
        let first = if options.only_last_column { all - 1 } else { 0 };
        let packed = PackedBatch::new(
            batch,
            &targets,
            samples,
            &self.architecture,
            options.repeat_prefix && options.dropout.is_some(),
            |row, t| t >= first && !targets.padding[row * all + t],
        );

        let mut pass = Pass::new(self, options.gradients, options.dropout);
        let (output, logits) = if packed.places.is_empty() {
            (None, self.pool.take(0))
        } else {
            let prefix = pass.prefix(embeds)?;
            let x = pass.input(&prefix, &packed.rows)?;
            let x = pass.layers(x, Some(&packed.kept), |pass, _, qkv| {
                let dropout = pass.layer_dropout();
                Ok(pass.tape.attention(qkv, &packed.sequences, dropout)?)
            })?;
            let mut output = pass.logits(&x)?;
            let logits = output.take_numbers(&self.pool)?;
            (Some(output), logits)
        };

        let vocab_size = self.vocab_size();
        let summaries = summarize_rows(&logits, vocab_size);
        let entropy = CrossEntropy {
            targets: packed
                .places
                .iter()
                .map(|&place| batch.ids[place as usize])
                .collect(),
            rows: packed.states,
            label_smoothing: options.loss.label_smoothing as f32,
        };
        let weights: Vec<f32> = packed
            .places
            .iter()
            .map(|&place| {
                batch
                    .weights
                    .as_ref()
                    .map_or(1.0, |w| w[place as usize / all])
            })
            .collect();
        let losses = entropy.losses(&logits, vocab_size, &summaries);
        let rows = entropy.rows.iter().map(|&row| row as usize);
        let predictions: Vec<Option<u32>> = match options.guide {
            None => rows.map(|row| Some(summaries[row].arg_max)).collect(),
            Some(guide) => rows
                .zip(&packed.places)
                .map(|(row, &place)| {
                    let logits = &logits[row * vocab_size..(row + 1) * vocab_size];
                    guided_prediction(guide, batch, place, logits)
                })
                .collect(),
        };

        let columns = all - first;
        let place = |place: u32| Targets::place_from(place, all, first);
        let padding = targets.padding_from(all, first);
        let mut correct = vec![false; targets.rows * columns];
        for ((&at, prediction), &target) in
            packed.places.iter().zip(predictions).zip(&entropy.targets)
        {
            correct[place(at) as usize] = prediction == Some(target);
        }
        let loss = Loss::new(&losses, &weights, correct.iter().filter(|&&c| c).count());
        Ok(Forward {
            columns,
            padding,
            correct,
            loss,
            places: packed.places.iter().map(|&at| place(at)).collect(),
            logits,
            vocab_size,
            parameters: self.parameters.len(),
            entropy,
            pass: output
                .filter(|_| options.gradients)
                .map(|output| BackwardPass {
                    tape: pass.tape,
                    output,
                    summaries,
                    weights,
                }),
        })
    }

    pub(super) fn vocab_size(&self) -> usize {
        self.architecture.dimensions.vocab_size
    }

    pub(super) fn check_embeds(&self, embeds: &Tensor) -> Result<usize, DecoderError> {
        let expected = self.architecture.dimensions.embed_dim;
        match embeds.dims() {
            [samples, dim] if *dim == expected && embeds.dtype() == candle_core::DType::F32 => {
                Ok(*samples)
            }
            other => Err(DecoderError::Batch {
                reason: format!(
                    "embeddings of shape {other:?} and type {:?}, expected f32 of [B, {expected}]",
                    embeds.dtype()
                ),
            }),
        }
    }
}

/// Best continuation of the true prefix of position `place` among the nouns of
/// `guide`; none if no noun has this prefix.
fn guided_prediction(
    guide: &NounTrie,
    batch: &TargetBatch,
    place: u32,
    logits: &[f32],
) -> Option<u32> {
    let (start, t) = (
        place as usize / batch.columns * batch.columns,
        place as usize % batch.columns,
    );
    let prefix = &batch.ids[start..start + t];
    if let Some(end) = prefix.iter().position(|&token| token == END) {
        // Behind a complete noun only further end tokens follow.
        return guide.find(&prefix[..=end]).map(|_| END);
    }
    let node = guide.find(prefix)?;
    guide
        .children(node)
        .map(|(token, _)| token)
        .reduce(|best, token| {
            if logits[token as usize] > logits[best as usize] {
                token
            } else {
                best
            }
        })
}

/// One run through the network.
pub(super) struct Pass<'a> {
    decoder: &'a Decoder,
    pub tape: Tape,
    dropout: Option<DropoutSites>,
}

impl<'a> Pass<'a> {
    pub fn new(decoder: &'a Decoder, gradients: bool, dropout: Option<DropoutSites>) -> Self {
        let pool = decoder.pool.clone();
        let tape = if gradients {
            Tape::recording(decoder.parameters.len(), pool)
        } else {
            Tape::off(pool)
        };
        Self {
            decoder,
            tape,
            dropout,
        }
    }

    fn parameter(&self, index: usize) -> Value {
        self.tape
            .parameter(index, self.decoder.parameters[index].as_detached_tensor())
    }

    fn linear(&mut self, x: &Value, linear: &LinearIndex) -> Result<Value, DecoderError> {
        let weight = self.parameter(linear.weight);
        let bias = linear.bias.map(|bias| self.parameter(bias));
        Ok(self.tape.linear(x, &weight, bias.as_ref())?)
    }

    fn norm(&mut self, x: &Value, norm: &NormIndex) -> Result<Value, DecoderError> {
        let weight = self.parameter(norm.weight);
        let bias = norm.bias.map(|bias| self.parameter(bias));
        Ok(self.tape.layer_norm(x, &weight, bias.as_ref())?)
    }

    fn layer_dropout(&mut self) -> Option<Dropout> {
        let rate = self.decoder.layer_dropout;
        self.dropout.as_mut().and_then(|sites| sites.next(rate))
    }

    /// Embeddings `[B, F]` to prefix rows `[B·P, E]`.
    pub fn prefix(&mut self, embeds: &Tensor) -> Result<Value, DecoderError> {
        let (architecture, layout) = (&self.decoder.architecture, &self.decoder.layout);
        let x = self.tape.constant(normalize_rows(&embeds.contiguous()?)?);
        let mut x = self.linear(&x, &layout.mlp_first)?;
        if let Some(norm) = &layout.mlp_norm {
            x = self.norm(&x, norm)?;
        }
        if let (Some(hidden), Some(last)) = (architecture.mlp, &layout.mlp_last) {
            x = self.tape.activation(&x, hidden.activation, None)?;
            x = self.linear(&x, last)?;
        }
        let rows = embeds.dim(0)? * architecture.prefix_len;
        Ok(self.tape.reshape(&x, (rows, architecture.hidden_dim))?)
    }

    /// Transformer input `[T, E]`: prefix rows and token embeddings with their
    /// positions.
    pub fn input(&mut self, prefix: &Value, rows: &InputRows) -> Result<Value, DecoderError> {
        let layout = &self.decoder.layout;
        let (table, positions) = (
            self.parameter(layout.token_table),
            self.parameter(layout.positions),
        );
        let rate = self.decoder.input_dropout;
        let dropout = self.dropout.as_mut().and_then(|sites| sites.next(rate));
        Ok(self
            .tape
            .input_rows(prefix, &table, &positions, rows, dropout)?)
    }

    /// All layers over `[T, E]`. `attend` gets the layer number and `[T, 3E]`
    /// and returns `[T, E]`. Of the result only the rows `kept` are computed.
    pub fn layers(
        &mut self,
        mut x: Value,
        kept: Option<&[u32]>,
        mut attend: impl FnMut(&mut Self, usize, &Value) -> Result<Value, DecoderError>,
    ) -> Result<Value, DecoderError> {
        let decoder = self.decoder;
        let last = decoder.layout.layers.len() - 1;
        for (number, layer) in decoder.layout.layers.iter().enumerate() {
            let kept = kept.filter(|_| number == last);
            x = self.layer(x, number, layer, kept, &mut attend)?;
        }
        match &decoder.layout.final_norm {
            Some(norm) => self.norm(&x, norm),
            None => Ok(x),
        }
    }

    fn layer(
        &mut self,
        mut x: Value,
        number: usize,
        layer: &LayerIndex,
        kept: Option<&[u32]>,
        attend: &mut impl FnMut(&mut Self, usize, &Value) -> Result<Value, DecoderError>,
    ) -> Result<Value, DecoderError> {
        let architecture = &self.decoder.architecture;
        let pre_norm = architecture.norm_first;
        let scales = layer
            .scales
            .map(|(a, b)| (self.parameter(a), self.parameter(b)));
        let (scale1, scale2) = match &scales {
            Some((a, b)) => (Some(a), Some(b)),
            None => (None, None),
        };

        let normed = if pre_norm {
            self.norm(&x, &layer.norm1)?
        } else {
            x.clone()
        };
        let qkv = self.linear(&normed, &layer.in_proj)?; // [T, 3E]
        let mut branch = attend(self, number, &qkv)?; // [T, E]
        if let Some(kept) = kept {
            branch = self.tape.rows(&branch, kept)?;
            x = self.tape.rows(&x, kept)?;
        }
        let branch = self.linear(&branch, &layer.out_proj)?;
        let dropout = self.layer_dropout();
        x = self.tape.residual(&x, branch, scale1, dropout)?;
        if !pre_norm {
            x = self.norm(&x, &layer.norm1)?;
        }

        let normed = if pre_norm {
            self.norm(&x, &layer.norm2)?
        } else {
            x.clone()
        };
        let inner = self.linear(&normed, &layer.linear1)?; // [T, D]
        let dropout = self.layer_dropout();
        let inner = self
            .tape
            .activation(&inner, architecture.activation, dropout)?;
        let branch = self.linear(&inner, &layer.linear2)?;
        let dropout = self.layer_dropout();
        x = self.tape.residual(&x, branch, scale2, dropout)?;
        if pre_norm {
            Ok(x)
        } else {
            self.norm(&x, &layer.norm2)
        }
    }

    /// Final states `[N, E]` to logits `[N, V]`.
    pub fn logits(&mut self, x: &Value) -> Result<Value, DecoderError> {
        let vocab_size = self.decoder.vocab_size();
        let output = &self.decoder.layout.output;
        let weight = self.parameter(output.weight);
        let weight = self.tape.leading_rows(&weight, vocab_size)?;
        let bias = match output.bias {
            Some(bias) => {
                let bias = self.parameter(bias);
                Some(self.tape.leading_rows(&bias, vocab_size)?)
            }
            None => None,
        };
        Ok(self.tape.linear(x, &weight, bias.as_ref())?)
    }
}
