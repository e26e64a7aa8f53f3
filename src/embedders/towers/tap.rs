//! Looking at what happens inside a tower: the states after its parts, for
//! comparisons with other implementations.

use std::cell::RefCell;

use candle_core::Tensor;

thread_local! {
    static TAPS: RefCell<Option<Vec<Tap>>> = const { RefCell::new(None) };
}

/// The output of a part of a tower.
#[derive(Clone, Debug)]
pub struct Tap {
    /// Name of the part, as in checkpoints of open_clip (without `text.`).
    pub name: String,
    /// Its states, one row per token or channels last.
    pub states: Tensor,
}

/// Calls `forward` and returns what its parts made, too.
pub fn recorded<T>(forward: impl FnOnce() -> T) -> (T, Vec<Tap>) {
    let before = TAPS.replace(Some(Vec::new()));
    let result = forward();
    let taps = TAPS.replace(before);
    (result, taps.unwrap_or_default())
}

/// Shows the states after a part to who wants to see them.
pub(super) fn tap(name: impl FnOnce() -> String, states: &Tensor) {
    TAPS.with_borrow_mut(|taps| {
        if let Some(taps) = taps {
            taps.push(Tap {
                name: name(),
                states: states.clone(),
            });
        }
    });
}
