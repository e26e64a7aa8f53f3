//! Reverse-mode differentiation for the decoder's training step.
//!
//! candle's own backward pass allocates zeros for every intermediate value and
//! adds to them, which costs about a third of a training step on the CPU; here
//! gradients are moved, and kernels add to what is already there.

use candle_core::{Result, Tensor};

/// A tensor and, while a tape records, the slot of its gradient.
#[derive(Clone, Debug)]
pub struct Value {
    /// The numbers.
    pub tensor: Tensor,
    pub(super) slot: Option<usize>,
}

type Backward = Box<dyn FnOnce(Tensor, &mut Gradients) -> Result<()> + Send>;

/// Operations done so far, in order.
#[derive(Default)]
pub struct Tape {
    recording: bool,
    slots: usize,
    steps: Vec<(usize, Backward)>,
}

/// Gradients while the tape runs backwards, and those of the parameters after.
#[derive(Debug, Default)]
pub struct Gradients(Vec<Option<Tensor>>);

impl Gradients {
    /// Adds `gradient` to slot `slot`.
    pub(super) fn add(&mut self, slot: usize, gradient: Tensor) -> Result<()> {
        let sum = match self.0[slot].take() {
            Some(present) => (present + gradient)?,
            None => gradient,
        };
        self.0[slot] = Some(sum);
        Ok(())
    }

    /// Takes what was added to `slot` so far, for a kernel that adds to it.
    pub(super) fn take(&mut self, slot: usize) -> Option<Tensor> {
        self.0[slot].take()
    }

    /// Gradient of parameter `index`, absent if the result does not depend on it.
    pub fn get(&self, index: usize) -> Option<&Tensor> {
        self.0.get(index)?.as_ref()
    }

    /// All gradients in parameter order.
    pub fn into_vec(self) -> Vec<Option<Tensor>> {
        self.0
    }
}

impl Tape {
    /// A tape for a model of `parameters` parameters, whose gradients take the
    /// first slots.
    pub fn recording(parameters: usize) -> Self {
        Self {
            recording: true,
            slots: parameters,
            steps: Vec::new(),
        }
    }

    /// A tape that records nothing, for evaluation.
    pub fn off() -> Self {
        Self::default()
    }

    /// A value without gradient.
    pub fn constant(&self, tensor: Tensor) -> Value {
        Value { tensor, slot: None }
    }

    /// Parameter number `index`.
    pub fn parameter(&self, index: usize, tensor: Tensor) -> Value {
        Value {
            tensor,
            slot: self.recording.then_some(index),
        }
    }

    /// Records `tensor` as computed from `inputs`. `backward` gets the gradient
    /// of the result and adds those of the inputs.
    pub(super) fn push(
        &mut self,
        tensor: Tensor,
        inputs: &[&Value],
        backward: impl FnOnce(Tensor, &mut Gradients) -> Result<()> + Send + 'static,
    ) -> Value {
        if !self.recording || inputs.iter().all(|input| input.slot.is_none()) {
            return Value { tensor, slot: None };
        }
        let slot = self.slots;
        self.slots += 1;
        self.steps.push((slot, Box::new(backward)));
        Value {
            tensor,
            slot: Some(slot),
        }
    }

    /// Runs backwards from `output`, whose gradient is `gradient`, and returns
    /// the gradients of the `parameters` parameters.
    pub fn backward(
        self,
        output: &Value,
        gradient: Tensor,
        parameters: usize,
    ) -> Result<Gradients> {
        let mut gradients = Gradients(vec![None; self.slots.max(parameters)]);
        if let Some(slot) = output.slot {
            gradients.add(slot, gradient)?;
        }
        for (slot, backward) in self.steps.into_iter().rev() {
            if let Some(gradient) = gradients.take(slot) {
                backward(gradient, &mut gradients)?;
            }
        }
        gradients.0.truncate(parameters);
        Ok(gradients)
    }
}
