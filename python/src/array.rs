//! Memory of the library that NumPy looks at where it lies.

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

/// Values in row order.
enum Values {
    F32(Vec<f32>),
    F64(Vec<f64>),
    /// Bits of bfloat16 or float16 values.
    U16(Vec<u16>),
    I8(Vec<i8>),
    U8(Vec<u8>),
    U32(Vec<u32>),
    U64(Vec<u64>),
}

/// An array that speaks NumPy's array interface: `numpy.asarray` takes it
/// without a copy and keeps it alive. It is never written to.
#[pyclass(frozen, module = "novic._novic")]
pub struct Array {
    values: Values,
    kind: &'static str,
    shape: Vec<usize>,
}

macro_rules! of_vec {
    ($($name:ident: $type:ty => $variant:ident, $kind:literal;)+) => {
        impl Array {
            $(
                /// Takes over a vector; `shape` must have as many values.
                pub fn $name(values: Vec<$type>, shape: Vec<usize>) -> Self {
                    debug_assert_eq!(values.len(), shape.iter().product::<usize>());
                    Self { values: Values::$variant(values), kind: $kind, shape }
                }
            )+
        }
    };
}

of_vec! {
    f32: f32 => F32, "<f4";
    f64: f64 => F64, "<f8";
    f16_bits: u16 => U16, "<f2";
    bits: u16 => U16, "<u2";
    i8: i8 => I8, "|i1";
    booleans: u8 => U8, "|b1";
    u32: u32 => U32, "<u4";
    u64: u64 => U64, "<u8";
}

#[pymethods]
impl Array {
    #[getter]
    fn __array_interface__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let address = match &self.values {
            Values::F32(values) => values.as_ptr() as usize,
            Values::F64(values) => values.as_ptr() as usize,
            Values::U16(values) => values.as_ptr() as usize,
            Values::I8(values) => values.as_ptr() as usize,
            Values::U8(values) => values.as_ptr() as usize,
            Values::U32(values) => values.as_ptr() as usize,
            Values::U64(values) => values.as_ptr() as usize,
        };
        let interface = PyDict::new(py);
        interface.set_item("shape", PyTuple::new(py, &self.shape)?)?;
        interface.set_item("typestr", self.kind)?;
        interface.set_item("data", (address, true))?;
        interface.set_item("version", 3)?;
        Ok(interface)
    }
}
