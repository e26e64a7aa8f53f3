//! Which way an operation is computed: by a fused kernel of the CPU, or
//! composed of tensor operations, which any device has.

use std::cell::Cell;

use candle_core::{DType, Device, Tensor};

thread_local! {
    static COMPOSED: Cell<bool> = const { Cell::new(false) };
}

/// Whether the fused CPU kernels are to take this tensor.
pub(super) fn on_cpu(x: &Tensor) -> bool {
    matches!(x.device(), Device::Cpu) && x.dtype() == DType::F32 && !COMPOSED.get()
}

/// Calls `f` with composed operations on the CPU too, so that what other
/// devices compute can be compared with the fused kernels.
pub fn composed<T>(f: impl FnOnce() -> T) -> T {
    let before = COMPOSED.replace(true);
    let result = f();
    COMPOSED.set(before);
    result
}
