//! What "calling" the names of a pickle comes to: maps, lists, and views of
//! storages.

use std::sync::Arc;

use super::error::Fault;
use super::globals::Global;
use super::heap::{Item, Object};
use super::machine::Machine;
use super::storage::{Storage, TensorInfo};

/// Class of arrays of NumPy.
pub(super) const NUMPY_ARRAY: &str = "numpy.ndarray";
/// Class of their element types.
const NUMPY_DTYPE: &str = "numpy.dtype";

impl Machine<'_> {
    /// "Calls" a global: builds what its result would be.
    pub(super) fn call(&mut self) -> Result<(), Fault> {
        let arguments = self.pop()?;
        let callee = self.pop()?;
        let Some(arguments) = self.heap.tuple(&arguments) else {
            return Err(self.input.malformed("arguments that are not a tuple"));
        };
        let result = match (callee, arguments) {
            (Item::Global(Global::OrderedDict), []) => {
                self.push_dict(true);
                return Ok(());
            }
            (Item::Global(Global::RebuildTensor), arguments) => {
                Item::Tensor(Arc::new(self.tensor(arguments)?))
            }
            (
                Item::Global(Global::RebuildParameter),
                [tensor @ Item::Tensor(_), Item::Bool(_), hooks],
            ) if self.is_empty_dict(hooks) => tensor.clone(),
            (Item::Global(Global::TypedList), [list @ Item::Object(_)])
                if matches!(self.heap.get(list), Some(Object::List(_))) =>
            {
                list.clone()
            }
            (Item::Global(Global::TypeTag), [value, Item::Text(_)]) => value.clone(),
            (Item::Global(Global::NumpyArray), [Item::Global(Global::NumpyArrayClass), _, _]) => {
                self.heap.add(Object::Module {
                    class: NUMPY_ARRAY.into(),
                    state: Item::None,
                })
            }
            (Item::Global(Global::NumpyDtype), [name @ Item::Text(_), ..]) => {
                let state = name.clone();
                self.heap.add(Object::Module {
                    class: NUMPY_DTYPE.into(),
                    state,
                })
            }
            _ => {
                return Err(self
                    .input
                    .malformed("something is called that cannot be, or with other arguments"));
            }
        };
        self.stack.push(result);
        Ok(())
    }

    pub(super) fn new_object(&mut self) -> Result<(), Fault> {
        let parts = self.pop_many(2)?;
        match parts.as_slice() {
            [Item::Global(Global::Script(class)), arguments]
                if self.heap.tuple(arguments).is_some_and(<[Item]>::is_empty) =>
            {
                let module = self.heap.add(Object::Module {
                    class: class.clone(),
                    state: Item::None,
                });
                self.stack.push(module);
                Ok(())
            }
            _ => Err(self.input.malformed("an object is made of no known class")),
        }
    }

    /// Gives a module its attributes. Attributes of an ordered dictionary (the
    /// versions of modules in state dictionaries) are left out.
    pub(super) fn build(&mut self) -> Result<(), Fault> {
        let state = self.pop()?;
        let is_dict = matches!(self.heap.get(&state), Some(Object::Dict { .. }));
        match self.top_object() {
            // Its name says all that data files need.
            Some(Object::Module { class, .. }) if &**class == NUMPY_DTYPE => {}
            Some(Object::Module { state: own, .. }) => *own = state,
            Some(Object::Dict { ordered: true, .. }) if is_dict => {}
            _ => return Err(self.input.malformed("something is built that cannot be")),
        }
        Ok(())
    }

    /// The storage with a persistent id: (`storage`, class, key, device,
    /// elements). Its member must be here and as long as it says.
    pub(super) fn storage(&mut self, id: &Item) -> Result<Storage, Fault> {
        let Some(
            [
                Item::Text(what),
                Item::Global(Global::Storage(dtype)),
                Item::Text(key),
                Item::Text(_),
                Item::Int(elements),
            ],
        ) = self.heap.tuple(id)
        else {
            return Err(self.input.malformed("a reference that is not to a storage"));
        };
        if &**what != "storage" {
            return Err(self.input.malformed("a reference that is not to a storage"));
        }
        let member = |reason: String| Fault::Member {
            name: format!("data/{key}"),
            reason,
        };
        let bytes = (self.storage_bytes)(key);
        let bytes = bytes.ok_or_else(|| member("is missing".to_owned()))?;
        let width = (dtype.bitsize() / 8) as u64;
        let wanted = u64::try_from(*elements)
            .ok()
            .and_then(|elements| elements.checked_mul(width));
        if wanted != Some(bytes) {
            return Err(member(format!(
                "has {bytes} bytes, but {elements} elements of {width} bytes are wanted"
            )));
        }
        let storage = Storage {
            key: key.clone(),
            dtype: *dtype,
            elements: (bytes / width) as usize,
        };
        match self.storages.insert(key.clone(), *dtype) {
            None => self.total_bytes = self.total_bytes.saturating_add(bytes as usize),
            Some(earlier) if earlier == storage.dtype => {}
            Some(_) => return Err(member("is used with two types".to_owned())),
        }
        Ok(storage)
    }

    /// Arguments: storage, offset, sizes, strides, requires_grad, no hooks, and
    /// in newer files no metadata.
    fn tensor(&self, arguments: &[Item]) -> Result<TensorInfo, Fault> {
        let wrong = || {
            self.input
                .malformed("a tensor is described in an unknown way")
        };
        let (arguments, rest) = arguments.split_at_checked(6).ok_or_else(wrong)?;
        let metadata_free = match rest {
            [] | [Item::None] => true,
            [metadata] => self.is_empty_dict(metadata),
            _ => false,
        };
        let [
            Item::Storage(storage),
            Item::Int(offset),
            sizes,
            strides,
            Item::Bool(_),
            hooks,
        ] = arguments
        else {
            return Err(wrong());
        };
        if !metadata_free || !self.is_empty_dict(hooks) {
            return Err(wrong());
        }
        let offset = usize::try_from(*offset).map_err(|_| wrong())?;
        let sizes = self.sizes(sizes).ok_or_else(wrong)?;
        let strides = self.sizes(strides).ok_or_else(wrong)?;
        TensorInfo::new(storage.clone(), offset, sizes, strides)
    }

    fn is_empty_dict(&self, item: &Item) -> bool {
        matches!(self.heap.get(item), Some(Object::Dict { entries, .. }) if entries.is_empty())
    }

    fn sizes(&self, item: &Item) -> Option<Vec<usize>> {
        let size = |item: &Item| match item {
            Item::Int(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        self.heap.tuple(item)?.iter().map(size).collect()
    }
}
