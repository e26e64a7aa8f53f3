//! Reverse-mode differentiation for the decoder's training step.
//!
//! candle's own backward pass allocates zeros for every intermediate value and
//! adds to them, which costs about a third of a training step on the CPU; here
//! gradients are moved, kernels add to what is already there, and memory is
//! used again from step to step.

use std::ops::Deref;
use std::sync::Arc;

use candle_core::{Result, Shape, Tensor};
use rayon::prelude::*;

use super::buffer::{Buffer, Pool};
use super::host::{HostSlice, host, tensor};
use super::math::kernel;

/// Elements of one parallel task.
const TASK: usize = 16_384;

/// Numbers and, while a tape records, the slot of their gradient.
#[derive(Clone, Debug)]
pub struct Value {
    numbers: Numbers,
    shape: Shape,
    pub(super) slot: Option<usize>,
}

#[derive(Clone, Debug)]
enum Numbers {
    Tensor(Tensor),
    Buffer(Arc<Buffer>),
}

/// The elements of a value in row-major order.
pub enum Values<'a> {
    /// Of a tensor.
    Tensor(HostSlice<'a>),
    /// Of a buffer.
    Buffer(&'a [f32]),
}

impl Deref for Values<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match self {
            Self::Tensor(values) => values,
            Self::Buffer(values) => values,
        }
    }
}

impl From<Tensor> for Value {
    fn from(tensor: Tensor) -> Self {
        Self {
            shape: tensor.shape().clone(),
            numbers: Numbers::Tensor(tensor),
            slot: None,
        }
    }
}

impl Value {
    /// The elements.
    ///
    /// # Errors
    /// A tensor that is not contiguous f32 on the CPU.
    pub fn values(&self) -> Result<Values<'_>> {
        Ok(match &self.numbers {
            Numbers::Tensor(tensor) => Values::Tensor(host(tensor)?),
            Numbers::Buffer(buffer) => Values::Buffer(buffer),
        })
    }

    /// The shape.
    pub fn shape(&self) -> &Shape {
        &self.shape
    }

    /// Rows and columns.
    ///
    /// # Errors
    /// Not a matrix.
    pub fn dims2(&self) -> Result<(usize, usize)> {
        self.shape.dims2()
    }

    /// As a tensor; copies if something else still holds the numbers.
    ///
    /// # Errors
    /// None on the CPU.
    pub fn into_tensor(self) -> Result<Tensor> {
        match self.numbers {
            Numbers::Tensor(tensor) => Ok(tensor),
            Numbers::Buffer(buffer) => {
                let values = match Arc::try_unwrap(buffer) {
                    Ok(buffer) => buffer.into_vec(),
                    Err(shared) => shared.to_vec(),
                };
                tensor(values, self.shape)
            }
        }
    }

    /// Takes the numbers out, leaving the slot; copies if something else still
    /// holds them.
    ///
    /// # Errors
    /// As [`Self::into_buffer`].
    pub fn take_numbers(&mut self, pool: &Pool) -> Result<Buffer> {
        let nothing = Self {
            numbers: Numbers::Buffer(Arc::new(pool.take(0))),
            shape: Shape::from(0),
            slot: self.slot,
        };
        std::mem::replace(self, nothing).into_buffer(pool)
    }

    /// As a buffer; copies if something else still holds the numbers.
    ///
    /// # Errors
    /// A tensor that is not contiguous f32 on the CPU.
    pub fn into_buffer(self, pool: &Pool) -> Result<Buffer> {
        match self.numbers {
            Numbers::Tensor(tensor) => Ok(pool.copy(&host(&tensor)?)),
            Numbers::Buffer(buffer) => {
                Ok(Arc::try_unwrap(buffer).unwrap_or_else(|shared| pool.copy(&shared)))
            }
        }
    }
}

type Backward = Box<dyn FnOnce(Buffer, &mut Gradients) -> Result<()> + Send>;

/// Operations done so far, in order.
#[derive(Default)]
pub struct Tape {
    recording: bool,
    slots: usize,
    steps: Vec<(usize, Backward)>,
    pub(super) pool: Pool,
}

/// Gradients while the tape runs backwards, and those of the parameters after.
#[derive(Debug, Default)]
pub struct Gradients {
    sums: Vec<Option<Buffer>>,
    pub(super) pool: Pool,
}

kernel! {
    fn add(sum: &mut [f32], values: &[f32]) {
        for (sum, &value) in sum.iter_mut().zip(values) {
            *sum += value;
        }
    }
}

impl Gradients {
    /// Adds `gradient` to slot `slot`.
    pub(super) fn add(&mut self, slot: usize, gradient: Buffer) {
        match &mut self.sums[slot] {
            Some(sum) => sum
                .par_chunks_mut(TASK)
                .zip(gradient.par_chunks(TASK))
                .for_each(|(sum, values)| add(sum, values)),
            empty => *empty = Some(gradient),
        }
    }

    /// Takes what was added to `slot` so far, for a kernel that adds to it and
    /// puts it back with [`Self::add`].
    pub(super) fn take(&mut self, slot: usize) -> Option<Buffer> {
        self.sums[slot].take()
    }

    /// As [`Self::take`], or `len` zeros.
    pub(super) fn take_or_zeros(&mut self, slot: usize, len: usize) -> Buffer {
        self.take(slot).unwrap_or_else(|| self.pool.zeros(len))
    }

    /// All gradients in parameter order, absent if the result does not depend
    /// on the parameter.
    pub fn into_vec(self) -> Vec<Option<Buffer>> {
        self.sums
    }
}

impl Tape {
    /// A tape for a model of `parameters` parameters, whose gradients take the
    /// first slots. Memory comes from `pool`.
    pub fn recording(parameters: usize, pool: Pool) -> Self {
        Self {
            recording: true,
            slots: parameters,
            steps: Vec::new(),
            pool,
        }
    }

    /// A tape that records nothing, for evaluation.
    pub fn off(pool: Pool) -> Self {
        Self {
            pool,
            ..Self::default()
        }
    }

    /// A value without gradient.
    pub fn constant(&self, tensor: Tensor) -> Value {
        tensor.into()
    }

    /// Parameter number `index`.
    pub fn parameter(&self, index: usize, tensor: Tensor) -> Value {
        Value {
            slot: self.recording.then_some(index),
            ..tensor.into()
        }
    }

    /// Records `result` as computed from what has the slots `inputs`. `backward` gets the gradient
    /// of the result and adds those of the inputs.
    pub(super) fn push(
        &mut self,
        result: Buffer,
        shape: impl Into<Shape>,
        inputs: &[Option<usize>],
        backward: impl FnOnce(Buffer, &mut Gradients) -> Result<()> + Send + 'static,
    ) -> Value {
        let value = Value {
            numbers: Numbers::Buffer(Arc::new(result)),
            shape: shape.into(),
            slot: None,
        };
        self.record(value, inputs, backward)
    }

    /// As [`Self::push`], for a result that exists already.
    fn record(
        &mut self,
        mut value: Value,
        inputs: &[Option<usize>],
        backward: impl FnOnce(Buffer, &mut Gradients) -> Result<()> + Send + 'static,
    ) -> Value {
        value.slot = None;
        if self.recording && inputs.iter().any(Option::is_some) {
            value.slot = Some(self.slots);
            self.steps.push((self.slots, Box::new(backward)));
            self.slots += 1;
        }
        value
    }

    /// First `count` rows of a parameter; the others get gradient zero.
    pub fn leading_rows(&mut self, x: &Value, count: usize) -> Result<Value> {
        let Numbers::Tensor(tensor) = &x.numbers else {
            candle_core::bail!("leading rows are those of a parameter");
        };
        if tensor.dim(0)? == count {
            return Ok(x.clone());
        }
        let y = Value::from(tensor.narrow(0, 0, count)?);
        let (slot, len) = (x.slot, x.shape.elem_count());
        Ok(self.record(y, &[slot], move |gradient, gradients| {
            if let Some(slot) = slot {
                let mut dx = gradients.take_or_zeros(slot, len);
                add(&mut dx[..gradient.len()], &gradient);
                gradients.add(slot, dx);
            }
            Ok(())
        }))
    }

    /// The same elements in another shape.
    pub fn reshape(&mut self, x: &Value, shape: impl Into<Shape>) -> Result<Value> {
        let shape = shape.into();
        if shape.elem_count() != x.shape.elem_count() {
            candle_core::bail!("{:?} does not become {shape:?}", x.shape);
        }
        let y = Value { shape, ..x.clone() };
        let slot = x.slot;
        Ok(self.record(y, &[slot], move |gradient, gradients| {
            if let Some(slot) = slot {
                gradients.add(slot, gradient);
            }
            Ok(())
        }))
    }

    /// Runs backwards from `output`, whose gradient is `gradient`, and returns
    /// the gradients of the `parameters` parameters.
    pub fn backward(
        self,
        output: &Value,
        gradient: Buffer,
        parameters: usize,
    ) -> Result<Gradients> {
        let mut sums = Vec::new();
        sums.resize_with(self.slots.max(parameters), || None);
        let mut gradients = Gradients {
            sums,
            pool: self.pool,
        };
        if let Some(slot) = output.slot {
            gradients.add(slot, gradient);
        }
        for (slot, backward) in self.steps.into_iter().rev() {
            if let Some(gradient) = gradients.take(slot) {
                backward(gradient, &mut gradients)?;
            }
        }
        gradients.sums.truncate(parameters);
        Ok(gradients)
    }
}
