//! Objects of a running pickle machine, and the tree they become in the end.
//!
//! Pickles share objects and can build recursive ones, so the machine keeps
//! them apart and refers to them by number. The tree is made at the end, with
//! limits on its depth and size: a recursive object is an error, and a small
//! file cannot grow into a huge tree.

use std::collections::HashMap;
use std::sync::Arc;

use super::error::Fault;
use super::globals::Global;
use super::storage::{Storage, TensorInfo};
use super::value::{Dict, Module, Value};

/// Deepest nesting.
const MAX_DEPTH: usize = 64;
/// Most values in a tree.
const MAX_VALUES: usize = 4_000_000;
/// How many times the bytes of all storages the tensors may have together.
const MAX_SHARING: usize = 16;

/// Something on the machine's stack.
#[derive(Clone)]
pub(super) enum Item {
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(Arc<str>),
    Bytes(Arc<[u8]>),
    Global(Global),
    Storage(Storage),
    Tensor(Arc<TensorInfo>),
    Object(usize),
}

/// Something that other things refer to.
pub(super) enum Object {
    Tuple(Vec<Item>),
    List(Vec<Item>),
    Dict {
        ordered: bool,
        entries: Vec<(Item, Item)>,
    },
    Module {
        class: Arc<str>,
        state: Item,
    },
}

/// All objects of a machine.
#[derive(Default)]
pub(super) struct Heap {
    objects: Vec<Object>,
}

impl Heap {
    pub(super) fn add(&mut self, object: Object) -> Item {
        self.objects.push(object);
        Item::Object(self.objects.len() - 1)
    }

    pub(super) fn get(&self, item: &Item) -> Option<&Object> {
        match item {
            Item::Object(number) => self.objects.get(*number),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, item: &Item) -> Option<&mut Object> {
        match item {
            Item::Object(number) => self.objects.get_mut(*number),
            _ => None,
        }
    }

    /// Elements of a tuple.
    pub(super) fn tuple(&self, item: &Item) -> Option<&[Item]> {
        match self.get(item) {
            Some(Object::Tuple(items)) => Some(items),
            _ => None,
        }
    }

    /// The tree below `item`; `storage_bytes` is the size of all storages.
    pub(super) fn tree(&self, item: &Item, storage_bytes: usize) -> Result<Value, Fault> {
        let mut planter = Planter {
            heap: self,
            values: 0,
            tensor_bytes: 0,
            allowed_bytes: storage_bytes.saturating_mul(MAX_SHARING),
        };
        planter.value(item, 0)
    }
}

struct Planter<'a> {
    heap: &'a Heap,
    values: usize,
    tensor_bytes: usize,
    allowed_bytes: usize,
}

impl Planter<'_> {
    fn value(&mut self, item: &Item, depth: usize) -> Result<Value, Fault> {
        self.values += 1;
        if self.values > MAX_VALUES {
            return Err(Fault::TooLarge {
                what: "values",
                limit: MAX_VALUES,
            });
        }
        if depth > MAX_DEPTH {
            return Err(Fault::TooLarge {
                what: "levels (or contains itself)",
                limit: MAX_DEPTH,
            });
        }
        Ok(match item {
            Item::None => Value::None,
            Item::Bool(value) => Value::Bool(*value),
            Item::Int(number) => Value::Int(*number),
            Item::Float(number) => Value::Float(*number),
            Item::Text(text) => Value::Text(text.clone()),
            Item::Bytes(bytes) => Value::Bytes(bytes.clone()),
            Item::Global(Global::Dtype(dtype)) => Value::Dtype(*dtype),
            Item::Global(_) | Item::Storage(_) => {
                return Err(Fault::Content {
                    reason: "a class or a storage stands where a value should".to_owned(),
                });
            }
            Item::Tensor(tensor) => {
                let bytes = tensor.elements().saturating_mul(tensor.storage.width());
                self.tensor_bytes = self.tensor_bytes.saturating_add(bytes);
                if self.tensor_bytes > self.allowed_bytes {
                    return Err(Fault::TooLarge {
                        what: "times the size of its storages in tensors",
                        limit: MAX_SHARING,
                    });
                }
                Value::Tensor(tensor.clone())
            }
            Item::Object(number) => self.object(&self.heap.objects[*number], depth)?,
        })
    }

    fn object(&mut self, object: &Object, depth: usize) -> Result<Value, Fault> {
        Ok(match object {
            Object::Tuple(items) => Value::Tuple(self.values(items, depth)?),
            Object::List(items) => Value::List(self.values(items, depth)?),
            Object::Dict { ordered, entries } => Value::Dict(Dict {
                ordered: *ordered,
                entries: self.entries(entries, depth)?,
            }),
            Object::Module { class, state } => Value::Module(Box::new(Module {
                class: class.clone(),
                state: self.value(state, depth + 1)?,
            })),
        })
    }

    fn values(&mut self, items: &[Item], depth: usize) -> Result<Vec<Value>, Fault> {
        items
            .iter()
            .map(|item| self.value(item, depth + 1))
            .collect()
    }

    /// Entries of a dictionary; of several with one key the last value counts,
    /// in the place of the first.
    fn entries(
        &mut self,
        entries: &[(Item, Item)],
        depth: usize,
    ) -> Result<Vec<(Value, Value)>, Fault> {
        let mut unique: Vec<(Value, Value)> = Vec::with_capacity(entries.len());
        let mut places: HashMap<Key<'_>, usize> = HashMap::new();
        for (key, value) in entries {
            let value = self.value(value, depth + 1)?;
            match places.get(&Key::of(key)?) {
                Some(&place) => unique[place].1 = value,
                None => {
                    places.insert(Key::of(key)?, unique.len());
                    unique.push((self.value(key, depth + 1)?, value));
                }
            }
        }
        Ok(unique)
    }
}

/// What a dictionary can be asked for.
#[derive(PartialEq, Eq, Hash)]
enum Key<'a> {
    Bool(bool),
    Int(i64),
    Text(&'a str),
    Bytes(&'a [u8]),
}

impl<'a> Key<'a> {
    fn of(item: &'a Item) -> Result<Self, Fault> {
        match item {
            Item::Bool(value) => Ok(Self::Bool(*value)),
            Item::Int(number) => Ok(Self::Int(*number)),
            Item::Text(text) => Ok(Self::Text(text)),
            Item::Bytes(bytes) => Ok(Self::Bytes(bytes)),
            _ => Err(Fault::Content {
                reason: "a dictionary has a key that is neither text nor number".to_owned(),
            }),
        }
    }
}
