//! The list of names a pickle may mention, and what each stands for. Nothing
//! on it can do anything: they build tensors and maps.

use std::sync::Arc;

use safetensors::Dtype;

use super::error::Fault;

/// Which names are allowed beside tensors and plain values.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Allow {
    /// None.
    #[default]
    Tensors,
    /// Classes of script archives (`__torch__.…`), as maps of attributes.
    ScriptModules,
    /// Arrays of NumPy, as modules whose state is what they were saved with.
    NumpyArrays,
}

/// What a name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`.
    OrderedDict,
    /// `torch._utils._rebuild_tensor_v2`.
    RebuildTensor,
    /// `torch._utils._rebuild_parameter`.
    RebuildParameter,
    /// A storage class such as `torch.FloatStorage`.
    Storage(Dtype),
    /// A tensor type such as `torch.int64`.
    Dtype(Dtype),
    /// `torch.jit._pickle.build_intlist` and its like: the list it is given.
    TypedList,
    /// `torch.jit._pickle.restore_type_tag`: the value it is given.
    TypeTag,
    /// A class of a script archive.
    Script(Arc<str>),
    /// `numpy.core.multiarray._reconstruct`: an array without content.
    NumpyArray,
    /// `numpy.ndarray`, the class it makes.
    NumpyArrayClass,
    /// `numpy.dtype`.
    NumpyDtype,
}

const STORAGES: &[(&str, Dtype)] = &[
    ("DoubleStorage", Dtype::F64),
    ("FloatStorage", Dtype::F32),
    ("HalfStorage", Dtype::F16),
    ("BFloat16Storage", Dtype::BF16),
    ("LongStorage", Dtype::I64),
    ("IntStorage", Dtype::I32),
    ("ShortStorage", Dtype::I16),
    ("CharStorage", Dtype::I8),
    ("ByteStorage", Dtype::U8),
    ("BoolStorage", Dtype::BOOL),
];

const DTYPES: &[(&str, Dtype)] = &[
    ("float64", Dtype::F64),
    ("float32", Dtype::F32),
    ("float16", Dtype::F16),
    ("bfloat16", Dtype::BF16),
    ("int64", Dtype::I64),
    ("int32", Dtype::I32),
    ("int16", Dtype::I16),
    ("int8", Dtype::I8),
    ("uint8", Dtype::U8),
    ("bool", Dtype::BOOL),
];

fn find(table: &[(&str, Dtype)], name: &str) -> Option<Dtype> {
    let found = table.iter().find(|(known, _)| *known == name);
    found.map(|(_, dtype)| *dtype)
}

fn name_of(table: &'static [(&str, Dtype)], dtype: Dtype) -> Option<&'static str> {
    let found = table.iter().find(|(_, known)| *known == dtype);
    found.map(|(name, _)| *name)
}

/// Class of storages of a type.
pub(super) fn storage_class(dtype: Dtype) -> Option<&'static str> {
    name_of(STORAGES, dtype)
}

/// Name of a type in the module `torch`.
pub(super) fn dtype_name(dtype: Dtype) -> Option<&'static str> {
    name_of(DTYPES, dtype)
}

impl Global {
    /// What `module.name` stands for.
    ///
    /// # Errors
    /// [`Fault::Forbidden`] for everything that is not on the list.
    pub(super) fn find(module: &str, name: &str, allow: Allow) -> Result<Self, Fault> {
        let known = match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            ("torch", name) => find(STORAGES, name)
                .map(Self::Storage)
                .or_else(|| find(DTYPES, name).map(Self::Dtype)),
            ("torch.jit._pickle", name) if allow == Allow::ScriptModules => match name {
                "build_intlist" | "build_doublelist" | "build_boollist" | "build_tensorlist" => {
                    Some(Self::TypedList)
                }
                "restore_type_tag" => Some(Self::TypeTag),
                _ => None,
            },
            ("numpy.core.multiarray" | "numpy._core.multiarray", "_reconstruct")
                if allow == Allow::NumpyArrays =>
            {
                Some(Self::NumpyArray)
            }
            ("numpy", "ndarray") if allow == Allow::NumpyArrays => Some(Self::NumpyArrayClass),
            ("numpy", "dtype") if allow == Allow::NumpyArrays => Some(Self::NumpyDtype),
            _ if allow == Allow::ScriptModules
                && (module == "__torch__" || module.starts_with("__torch__.")) =>
            {
                Some(Self::Script(format!("{module}.{name}").into()))
            }
            _ => None,
        };
        known.ok_or_else(|| Fault::Forbidden {
            module: module.to_owned(),
            name: name.to_owned(),
        })
    }
}
