//! Storages and the tensors that are views of them.

use std::sync::Arc;

use safetensors::Dtype;

use super::error::Fault;

/// A storage of an archive: a one-dimensional array, one member of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Storage {
    /// Name of the member below `data/`.
    pub key: Arc<str>,
    /// Element type.
    pub dtype: Dtype,
    /// Number of elements.
    pub elements: usize,
}

impl Storage {
    /// Bytes of one element.
    pub fn width(&self) -> usize {
        self.dtype.bitsize() / 8
    }
}

/// A tensor: a view of a storage. Always inside it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorInfo {
    /// Where its elements lie.
    pub storage: Storage,
    /// First element.
    pub offset: usize,
    /// Sizes of its dimensions.
    pub shape: Vec<usize>,
    /// Elements between neighbours of each dimension.
    pub strides: Vec<usize>,
}

impl TensorInfo {
    /// A view; checked against the storage.
    ///
    /// # Errors
    /// Elements outside the storage; more elements than the storage has (which
    /// repeated ones would allow); as many strides as dimensions are needed.
    pub fn new(
        storage: Storage,
        offset: usize,
        shape: Vec<usize>,
        strides: Vec<usize>,
    ) -> Result<Self, Fault> {
        let wrong = |reason: &str| Fault::Tensor {
            shape: shape.clone(),
            reason: reason.to_owned(),
        };
        if shape.len() != strides.len() {
            return Err(wrong("has another number of strides"));
        }
        let elements = shape
            .iter()
            .try_fold(1usize, |product, &size| product.checked_mul(size));
        let elements = elements.ok_or_else(|| wrong("is larger than memory"))?;
        if elements > storage.elements {
            return Err(wrong("has more elements than its storage"));
        }
        let last = shape
            .iter()
            .zip(&strides)
            .try_fold(offset, |last, (&size, &stride)| {
                last.checked_add(size.saturating_sub(1).checked_mul(stride)?)
            });
        if elements > 0 && last.is_none_or(|last| last >= storage.elements) {
            return Err(wrong("reaches beyond its storage"));
        }
        Ok(Self {
            storage,
            offset,
            shape,
            strides,
        })
    }

    /// The whole of a storage, row-major.
    ///
    /// # Errors
    /// A shape with another number of elements.
    pub fn whole(storage: Storage, shape: Vec<usize>) -> Result<Self, Fault> {
        let strides = row_major(&shape);
        Self::new(storage, 0, shape, strides)
    }

    /// Number of elements.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }

    /// Its elements, row-major, out of the bytes of its storage.
    pub(super) fn gather(&self, storage: &[u8]) -> Vec<u8> {
        let width = self.storage.width();
        let elements = self.elements();
        if elements == 0 {
            return Vec::new();
        }
        if self.strides == row_major(&self.shape) {
            let start = self.offset * width;
            return storage[start..start + elements * width].to_vec();
        }
        let mut bytes = Vec::with_capacity(elements * width);
        let mut index = vec![0; self.shape.len()];
        let mut place = self.offset;
        loop {
            bytes.extend_from_slice(&storage[place * width..(place + 1) * width]);
            let mut dimension = self.shape.len();
            loop {
                if dimension == 0 {
                    return bytes;
                }
                dimension -= 1;
                index[dimension] += 1;
                place += self.strides[dimension];
                if index[dimension] < self.shape[dimension] {
                    break;
                }
                place -= self.strides[dimension] * self.shape[dimension];
                index[dimension] = 0;
            }
        }
    }
}

fn row_major(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1usize; shape.len()];
    for dimension in (1..shape.len()).rev() {
        strides[dimension - 1] = strides[dimension].saturating_mul(shape[dimension].max(1));
    }
    strides
}

/// The elements of a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorData {
    /// Element type.
    pub dtype: Dtype,
    /// Sizes of its dimensions.
    pub shape: Vec<usize>,
    /// Little-endian elements, row-major.
    pub bytes: Vec<u8>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn storage(elements: usize) -> Storage {
        Storage {
            key: "0".into(),
            dtype: Dtype::U8,
            elements,
        }
    }

    fn gathered(offset: usize, shape: &[usize], strides: &[usize]) -> Vec<u8> {
        let bytes: Vec<u8> = (0..12).collect();
        TensorInfo::new(storage(12), offset, shape.to_vec(), strides.to_vec())
            .unwrap()
            .gather(&bytes)
    }

    #[test]
    fn views_are_gathered_row_major() {
        assert_eq!(gathered(2, &[2, 3], &[3, 1]), [2, 3, 4, 5, 6, 7]);
        assert_eq!(gathered(0, &[3, 2], &[1, 3]), [0, 3, 1, 4, 2, 5]);
        assert_eq!(
            gathered(1, &[2, 2, 2], &[5, 2, 1]),
            [1, 2, 3, 4, 6, 7, 8, 9]
        );
        assert_eq!(gathered(5, &[], &[]), [5]);
        assert!(gathered(12, &[0, 4], &[4, 1]).is_empty());
        assert_eq!(gathered(3, &[2], &[0]), [3, 3]);
    }

    #[test]
    fn views_beyond_the_storage_are_refused() {
        for (offset, shape, strides) in [
            (12, vec![1], vec![1]),
            (0, vec![13], vec![1]),
            (7, vec![2, 3], vec![3, 1]),
            (0, vec![2], vec![12]),
            (0, vec![1 << 40], vec![0]),
            (0, vec![usize::MAX, 2], vec![1, 1]),
            (0, vec![2], vec![usize::MAX]),
            (usize::MAX, vec![2], vec![1]),
            (0, vec![2], vec![]),
        ] {
            let refused = TensorInfo::new(storage(12), offset, shape.clone(), strides);
            assert!(refused.is_err(), "{offset} {shape:?}");
        }
    }
}
