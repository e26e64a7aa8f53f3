//! Pickles that are whole files, with arrays of NumPy in them: the form in
//! which Python 2 left data sets.

use std::sync::Arc;

use super::calls::NUMPY_ARRAY;
use super::error::Fault;
use super::globals::Allow;
use super::machine::Machine;
use super::value::Value;

/// An array of bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ByteArray {
    /// Sizes of its dimensions.
    pub shape: Vec<usize>,
    /// Its elements, row-major.
    pub bytes: Arc<[u8]>,
}

/// What a pickle describes.
///
/// # Errors
/// Names that are not allowed; a damaged pickle.
pub fn plain_value(content: &[u8]) -> Result<Value, Fault> {
    Machine::new(content, Allow::NumpyArrays, &|_| None).and_then(Machine::run)
}

impl Value {
    /// The array of bytes that `what` must be.
    ///
    /// # Errors
    /// It is something else, of other elements or with other sizes.
    pub fn byte_array(&self, what: &str) -> Result<ByteArray, Fault> {
        let wrong = |reason: &str| Fault::Content {
            reason: format!("{what} {reason}"),
        };
        let state = match self {
            Self::Module(module) if &*module.class == NUMPY_ARRAY => &module.state,
            _ => return Err(wrong("is not an array")),
        };
        let Self::Tuple(state) = state else {
            return Err(wrong("is an array without content"));
        };
        let [_, shape, Self::Module(dtype), Self::Bool(false), content] = state.as_slice() else {
            return Err(wrong("is described in an unknown way"));
        };
        if !matches!(&dtype.state, Self::Text(name) if matches!(&**name, "u1" | "|u1")) {
            return Err(wrong("is not an array of bytes"));
        }
        let shape: Vec<usize> = shape
            .items(what)?
            .iter()
            .map(|size| usize::try_from(size.int(what)?).map_err(|_| wrong("has a negative size")))
            .collect::<Result<_, _>>()?;
        let bytes: Arc<[u8]> = match content {
            Self::Bytes(bytes) => bytes.clone(),
            Self::Text(text) => text.as_bytes().into(),
            _ => return Err(wrong("has no bytes")),
        };
        let elements = shape
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size));
        if elements != Some(bytes.len()) {
            return Err(wrong("has another number of elements than it says"));
        }
        Ok(ByteArray { shape, bytes })
    }
}
