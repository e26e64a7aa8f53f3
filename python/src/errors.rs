//! The exceptions, and which error of the library becomes which.

use std::error::Error;

use novic::cache::CacheError;
use novic::embedders::EmbedderError;
use novic::infer::{InferError, SampleError};
use novic::tracking::TrackingError;
use pyo3::create_exception;
use pyo3::exceptions::PyException;
use pyo3::prelude::*;

create_exception!(
    novic,
    NovicError,
    PyException,
    "Base of all errors of novic; its text says what to do next."
);
create_exception!(
    novic,
    CheckpointError,
    NovicError,
    "A checkpoint that is not there, cannot be read, or is of another embedder."
);
create_exception!(
    novic,
    EmbedderError_,
    NovicError,
    "An embedder whose files are missing or wrong."
);
create_exception!(
    novic,
    InputError,
    NovicError,
    "An input that cannot be classified: a picture, an embedding, a text."
);
create_exception!(
    novic,
    OptionError,
    NovicError,
    "An option without meaning: a generation configuration, a guide list."
);
create_exception!(
    novic,
    CacheError_,
    NovicError,
    "An embedding cache that cannot be read."
);
create_exception!(
    novic,
    RecordError,
    NovicError,
    "A run that is not there, or a record that cannot be read."
);
create_exception!(
    novic,
    ExperimentError,
    NovicError,
    "An experiment file that is wrong, or whose results cannot be shown."
);

/// Adds the exceptions to the module.
pub fn add(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    for (name, exception) in [
        ("NovicError", py.get_type::<NovicError>()),
        ("CheckpointError", py.get_type::<CheckpointError>()),
        ("EmbedderError", py.get_type::<EmbedderError_>()),
        ("InputError", py.get_type::<InputError>()),
        ("OptionError", py.get_type::<OptionError>()),
        ("CacheError", py.get_type::<CacheError_>()),
        ("RecordError", py.get_type::<RecordError>()),
        ("ExperimentError", py.get_type::<ExperimentError>()),
    ] {
        exception.setattr("__name__", name)?;
        exception.setattr("__qualname__", name)?;
        module.add(name, exception)?;
    }
    Ok(())
}

/// The message of an error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut message = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !message.contains(&text) {
            message.push_str(": ");
            message.push_str(&text);
        }
        source = cause.source();
    }
    message
}

/// An error of the model object.
pub fn infer(error: InferError) -> PyErr {
    let message = chain(&error);
    match error {
        InferError::NoCheckpoint { .. }
        | InferError::Header { .. }
        | InferError::OtherEmbedder { .. }
        | InferError::Store(_) => CheckpointError::new_err(message),
        InferError::Embedder(_) => EmbedderError_::new_err(message),
        InferError::Dimension { .. } | InferError::BadEmbedding { .. } => {
            InputError::new_err(message)
        }
        InferError::GuideList { .. } => OptionError::new_err(message),
        InferError::Decoder(_) => NovicError::new_err(message),
    }
}

/// The same while options are taken.
pub fn option(error: InferError) -> PyErr {
    match error {
        InferError::Decoder(_) => OptionError::new_err(chain(&error)),
        other => infer(other),
    }
}

/// An error of an embedder.
pub fn embedder(error: &EmbedderError) -> PyErr {
    EmbedderError_::new_err(chain(error))
}

/// An input that was not classified.
pub fn sample(name: &str, error: &SampleError) -> PyErr {
    let message = error.to_string();
    InputError::new_err(if message.contains(name) {
        message
    } else {
        format!("{name}: {message}")
    })
}

/// An error of a cache.
pub fn cache(error: &CacheError) -> PyErr {
    CacheError_::new_err(chain(error))
}

/// An error of a record.
pub fn record(error: &TrackingError) -> PyErr {
    RecordError::new_err(chain(error))
}

/// An error of an experiment.
pub fn experiment(error: &dyn Error) -> PyErr {
    ExperimentError::new_err(chain(error))
}
