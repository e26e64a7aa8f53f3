//! Stopping a decoding that is under way.

use std::fmt;
use std::sync::Arc;

use crate::decoder::error::DecoderError;

/// Asked between the steps of a decoding whether it shall stop; never unless
/// somebody says when.
#[derive(Clone, Default)]
pub struct Stop(Option<Arc<dyn Fn() -> bool + Send + Sync>>);

impl Stop {
    /// Stops as soon as `asked` is true.
    pub fn when(asked: impl Fn() -> bool + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(asked)))
    }

    /// Fails if it is to stop.
    pub(super) fn check(&self) -> Result<(), DecoderError> {
        match &self.0 {
            Some(asked) if asked() => Err(DecoderError::Interrupted),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Stop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Stop").field(&self.0.is_some()).finish()
    }
}
