//! State dictionaries under the original's names (`decoder.md` section 3).

use std::collections::HashMap;

use candle_core::{DType, Device, Tensor};

use crate::ops::tape::{host, tensor};

use super::architecture::Architecture;
use super::error::DecoderError;
use super::model::Decoder;
use super::parameters::{ParameterLayout, StateEntry};

impl Decoder {
    /// All entries in the order of the original, shared tensors under both
    /// names, the attention mask included. Tensors share memory with the model.
    ///
    /// # Errors
    /// Rows beyond the vocabulary that are not zero.
    pub fn state_dict(&self) -> Result<Vec<(String, Tensor)>, DecoderError> {
        self.check_unused_rows()?;
        self.layout()
            .state
            .iter()
            .map(|(name, entry)| {
                let tensor = match *entry {
                    StateEntry::CausalityMask => self.causality_mask()?,
                    StateEntry::Parameter(index) => self.parameters()[index].as_detached_tensor(),
                };
                Ok((name.clone(), tensor))
            })
            .collect()
    }

    /// Replaces all parameters. Nothing is changed unless everything fits.
    ///
    /// # Errors
    /// Missing and unknown names, other shapes or types, shared tensors that
    /// differ, non-zero rows beyond the vocabulary.
    pub fn load_state_dict(&self, state: &HashMap<String, Tensor>) -> Result<(), DecoderError> {
        let loaded = parameters_of(self.architecture(), self.layout(), state)?;
        for (var, values) in self.parameters().iter().zip(loaded) {
            var.set(&values.to_device(var.device())?)?;
        }
        Ok(())
    }

    /// The additive mask of the original: 0 where a position may attend, −∞
    /// elsewhere, `[Smax, Smax]`.
    fn causality_mask(&self) -> Result<Tensor, DecoderError> {
        let architecture = self.architecture();
        let size = architecture.max_sequence();
        let values = (0..size * size)
            .map(|i| {
                if architecture.attends(i / size, i % size) {
                    0.0
                } else {
                    f32::NEG_INFINITY
                }
            })
            .collect();
        Ok(tensor(values, (size, size))?)
    }

    fn check_unused_rows(&self) -> Result<(), DecoderError> {
        for (spec, var) in self.layout().parameters.iter().zip(self.parameters()) {
            let used = spec.used_elements();
            check_rows(self.architecture(), &spec.name, var.as_tensor(), used)?;
        }
        Ok(())
    }
}

/// The parameters of a state dictionary in registration order, on the CPU.
///
/// # Errors
/// Those of [`Decoder::load_state_dict`].
pub(super) fn parameters_of(
    architecture: &Architecture,
    layout: &ParameterLayout,
    state: &HashMap<String, Tensor>,
) -> Result<Vec<Tensor>, DecoderError> {
    let known = |name: &String| layout.state.iter().any(|(known, _)| known == name);
    let mut unknown: Vec<&String> = state.keys().filter(|&name| !known(name)).collect();
    unknown.sort();
    if let Some(name) = unknown.first() {
        return Err(DecoderError::UnexpectedWeight {
            name: (*name).clone(),
        });
    }
    let mut loaded: Vec<Option<(&str, Tensor)>> = vec![None; layout.parameters.len()];
    for (name, entry) in &layout.state {
        let found = state
            .get(name)
            .ok_or_else(|| DecoderError::MissingWeight { name: name.clone() })?;
        let shape = match *entry {
            StateEntry::CausalityMask => vec![architecture.max_sequence(); 2],
            StateEntry::Parameter(index) => layout.parameters[index].shape.clone(),
        };
        if found.dims() != shape || found.dtype() != DType::F32 {
            return Err(DecoderError::WeightShape {
                name: name.clone(),
                expected: format!("f32 {shape:?}"),
                found: format!("{} {:?}", found.dtype().as_str(), found.dims()),
            });
        }
        let StateEntry::Parameter(index) = *entry else {
            continue;
        };
        let found = found.to_device(&Device::Cpu)?.contiguous()?;
        match &loaded[index] {
            None => loaded[index] = Some((name, found)),
            Some((_, present)) if same(present, &found)? => {}
            Some((other, _)) => {
                return Err(DecoderError::SharedWeights {
                    name: (*other).to_owned(),
                    other: name.clone(),
                });
            }
        }
    }
    let loaded = layout.parameters.iter().zip(loaded);
    loaded
        .map(|(spec, entry)| {
            // Every parameter has an entry in the layout's state dictionary.
            let (name, values) = entry.ok_or_else(|| DecoderError::MissingWeight {
                name: spec.name.clone(),
            })?;
            check_rows(architecture, name, &values, spec.used_elements())?;
            Ok(values)
        })
        .collect()
}

fn check_rows(
    architecture: &Architecture,
    name: &str,
    values: &Tensor,
    used: usize,
) -> Result<(), DecoderError> {
    let values = values.to_device(&Device::Cpu)?;
    if host(&values)?[used..].iter().all(|&value| value == 0.0) {
        return Ok(());
    }
    Err(DecoderError::UnusedRows {
        name: name.to_owned(),
        vocab_size: architecture.dimensions.vocab_size,
    })
}

fn same(a: &Tensor, b: &Tensor) -> Result<bool, DecoderError> {
    let (a, b) = (host(a)?, host(b)?);
    Ok(a.iter()
        .zip(b.iter())
        .all(|(a, b)| a.to_bits() == b.to_bits()))
}
