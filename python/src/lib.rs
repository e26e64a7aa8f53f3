//! The native part of the Python module `novic`.
//!
//! Only what Python cannot do itself lives here: calling the library without
//! holding the interpreter, and handing over memory without copying it. What
//! users see is in `novic/`.

mod array;
mod cache;
mod command;
mod errors;
mod model;
mod records;
mod tables;

use pyo3::prelude::*;

/// Native part of `novic`; use the module `novic` itself.
#[pymodule]
mod _novic {
    #[pymodule_export]
    use super::array::Array;
    #[pymodule_export]
    use super::cache::Cache;
    #[pymodule_export]
    use super::command::run_command;
    #[pymodule_export]
    use super::model::{Model, decode_image, device_warning};
    #[pymodule_export]
    use super::records::{Metrics, Record, list_runs, open_record, read_metrics};
    #[pymodule_export]
    use super::tables::tables;

    use super::errors;
    use pyo3::prelude::*;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        errors::add(module)
    }
}
