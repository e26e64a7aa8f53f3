//! A pickle machine that builds values and can do nothing else: it knows the
//! operations of data files (protocols 2–5) and the names of
//! [`super::globals`]; calling any of these makes a map, a list or a view of a
//! storage. What a file wants beyond that is an error that names it.

use std::collections::HashMap;
use std::sync::Arc;

use safetensors::Dtype;

use super::error::Fault;
use super::globals::{Allow, Global};
use super::heap::{Heap, Item, Object};
use super::opcode::*;
use super::operands::Operands;
use super::value::Value;

/// Largest pickle; real ones have some hundred kilobytes.
const MAX_BYTES: usize = 64 << 20;
/// Largest pickle with arrays; CIFAR-100 has 160 MB.
const MAX_ARRAY_BYTES: usize = 512 << 20;
/// Most operations.
const MAX_OPERATIONS: usize = 4_000_000;
/// Highest protocol.
const MAX_PROTOCOL: u8 = 5;

/// A machine with one pickle to run.
pub(super) struct Machine<'a> {
    pub(super) input: Operands<'a>,
    allow: Allow,
    /// Bytes of a storage by its key, if there is one.
    pub(super) storage_bytes: &'a dyn Fn(&str) -> Option<u64>,
    pub(super) storages: HashMap<Arc<str>, Dtype>,
    pub(super) total_bytes: usize,
    pub(super) stack: Vec<Item>,
    marks: Vec<usize>,
    memo: HashMap<u32, Item>,
    pub(super) heap: Heap,
}

impl<'a> Machine<'a> {
    pub(super) fn new(
        pickle: &'a [u8],
        allow: Allow,
        storage_bytes: &'a dyn Fn(&str) -> Option<u64>,
    ) -> Result<Self, Fault> {
        // Pickles with arrays hold their elements too.
        let limit = match allow {
            Allow::NumpyArrays => MAX_ARRAY_BYTES,
            _ => MAX_BYTES,
        };
        if pickle.len() > limit {
            return Err(Fault::TooLarge {
                what: "bytes",
                limit,
            });
        }
        Ok(Self {
            input: Operands::new(pickle),
            allow,
            storage_bytes,
            storages: HashMap::new(),
            total_bytes: 0,
            stack: Vec::new(),
            marks: Vec::new(),
            memo: HashMap::new(),
            heap: Heap::default(),
        })
    }

    /// Runs to the end.
    pub(super) fn run(mut self) -> Result<Value, Fault> {
        for _ in 0..MAX_OPERATIONS {
            let at = self.input.at();
            let code = self.input.u8()?;
            if code == STOP {
                let result = self.pop()?;
                if !self.stack.is_empty() || !self.marks.is_empty() {
                    return Err(self.input.malformed("something is left over at its end"));
                }
                return self.heap.tree(&result, self.total_bytes);
            }
            self.operation(code, at)?;
        }
        Err(Fault::TooLarge {
            what: "operations",
            limit: MAX_OPERATIONS,
        })
    }

    fn operation(&mut self, code: u8, at: usize) -> Result<(), Fault> {
        match code {
            PROTO => {
                let protocol = self.input.u8()?;
                if !(2..=MAX_PROTOCOL).contains(&protocol) {
                    return Err(self
                        .input
                        .malformed(format!("protocol {protocol} is unknown")));
                }
            }
            FRAME => {
                self.input.u64()?;
            }
            NONE => self.stack.push(Item::None),
            NEWTRUE => self.stack.push(Item::Bool(true)),
            NEWFALSE => self.stack.push(Item::Bool(false)),
            BININT => {
                let number = self.input.i32()?;
                self.stack.push(Item::Int(number.into()));
            }
            BININT1 => {
                let number = self.input.u8()?;
                self.stack.push(Item::Int(number.into()));
            }
            BININT2 => {
                let number = self.input.u16()?;
                self.stack.push(Item::Int(number.into()));
            }
            LONG1 => {
                let number = self.input.long()?;
                self.stack.push(Item::Int(number));
            }
            BINFLOAT => {
                let number = self.input.f64()?;
                self.stack.push(Item::Float(number));
            }
            BINUNICODE | SHORT_BINUNICODE => {
                let length = self.length(code == SHORT_BINUNICODE)?;
                let text = self.input.text(length)?;
                self.stack.push(Item::Text(text.into()));
            }
            // Texts of Python 2: bytes unless they happen to be UTF-8.
            BINSTRING | SHORT_BINSTRING => {
                let length = self.length(code == SHORT_BINSTRING)?;
                let bytes = self.input.take(length)?;
                self.stack.push(match std::str::from_utf8(bytes) {
                    Ok(text) => Item::Text(text.into()),
                    Err(_) => Item::Bytes(bytes.into()),
                });
            }
            BINBYTES | SHORT_BINBYTES => {
                let length = self.length(code == SHORT_BINBYTES)?;
                let bytes = self.input.take(length)?;
                self.stack.push(Item::Bytes(bytes.into()));
            }
            MARK => self.marks.push(self.stack.len()),
            EMPTY_TUPLE => self.push_tuple(Vec::new()),
            TUPLE => {
                let items = self.since_mark()?;
                self.push_tuple(items);
            }
            TUPLE1 | TUPLE2 | TUPLE3 => {
                let items = self.pop_many(usize::from(code - TUPLE1) + 1)?;
                self.push_tuple(items);
            }
            EMPTY_LIST => {
                let list = self.heap.add(Object::List(Vec::new()));
                self.stack.push(list);
            }
            EMPTY_DICT => self.push_dict(false),
            APPEND => {
                let item = self.pop()?;
                self.append(vec![item])?;
            }
            APPENDS => {
                let items = self.since_mark()?;
                self.append(items)?;
            }
            SETITEM => {
                let items = self.pop_many(2)?;
                self.set_items(items)?;
            }
            SETITEMS => {
                let items = self.since_mark()?;
                self.set_items(items)?;
            }
            BINPUT => {
                let place = self.input.u8()?;
                self.put(place.into())?;
            }
            LONG_BINPUT => {
                let place = self.input.u32()?;
                self.put(place)?;
            }
            MEMOIZE => {
                let place = u32::try_from(self.memo.len());
                let place = place.map_err(|_| self.input.malformed("too much is remembered"))?;
                self.put(place)?;
            }
            BINGET => {
                let place = self.input.u8()?;
                self.get(place.into())?;
            }
            LONG_BINGET => {
                let place = self.input.u32()?;
                self.get(place)?;
            }
            GLOBAL => {
                let module = self.input.line()?;
                let name = self.input.line()?;
                let global = Global::find(module, name, self.allow)?;
                self.stack.push(Item::Global(global));
            }
            STACK_GLOBAL => match self.pop_many(2)?.as_slice() {
                [Item::Text(module), Item::Text(name)] => {
                    let global = Global::find(module, name, self.allow)?;
                    self.stack.push(Item::Global(global));
                }
                _ => return Err(self.input.malformed("a name that is not a text")),
            },
            REDUCE => self.call()?,
            NEWOBJ => self.new_object()?,
            BUILD => self.build()?,
            BINPERSID => {
                let id = self.pop()?;
                let storage = self.storage(&id)?;
                self.stack.push(Item::Storage(storage));
            }
            code => return Err(Fault::Operation { code, at }),
        }
        Ok(())
    }

    fn length(&mut self, short: bool) -> Result<usize, Fault> {
        if short {
            Ok(self.input.u8()?.into())
        } else {
            Ok(self.input.u32()? as usize)
        }
    }

    /// Where the part of the stack begins that operations may take from.
    fn floor(&self) -> usize {
        self.marks.last().copied().unwrap_or(0)
    }

    pub(super) fn pop(&mut self) -> Result<Item, Fault> {
        if self.stack.len() > self.floor()
            && let Some(item) = self.stack.pop()
        {
            return Ok(item);
        }
        Err(self.input.malformed("it takes more than there is"))
    }

    pub(super) fn pop_many(&mut self, count: usize) -> Result<Vec<Item>, Fault> {
        match self.stack.len().checked_sub(count) {
            Some(from) if from >= self.floor() => Ok(self.stack.split_off(from)),
            _ => Err(self.input.malformed("it takes more than there is")),
        }
    }

    fn since_mark(&mut self) -> Result<Vec<Item>, Fault> {
        let mark = self.marks.pop();
        let mark = mark.ok_or_else(|| self.input.malformed("a mark is missing"))?;
        Ok(self.stack.split_off(mark))
    }

    fn push_tuple(&mut self, items: Vec<Item>) {
        let tuple = self.heap.add(Object::Tuple(items));
        self.stack.push(tuple);
    }

    pub(super) fn push_dict(&mut self, ordered: bool) {
        let entries = Vec::new();
        let dict = self.heap.add(Object::Dict { ordered, entries });
        self.stack.push(dict);
    }

    /// The object on top of the stack, which stays there.
    pub(super) fn top_object(&mut self) -> Option<&mut Object> {
        let floor = self.floor();
        let top = self.stack.get(floor..)?.last()?;
        self.heap.get_mut(top)
    }

    fn append(&mut self, items: Vec<Item>) -> Result<(), Fault> {
        match self.top_object() {
            Some(Object::List(list)) => {
                list.extend(items);
                Ok(())
            }
            _ => Err(self.input.malformed("it appends to something but a list")),
        }
    }

    fn set_items(&mut self, items: Vec<Item>) -> Result<(), Fault> {
        if !items.len().is_multiple_of(2) {
            return Err(self.input.malformed("a key without a value"));
        }
        let mut items = items.into_iter();
        match self.top_object() {
            Some(Object::Dict { entries, .. }) => {
                while let (Some(key), Some(value)) = (items.next(), items.next()) {
                    entries.push((key, value));
                }
                Ok(())
            }
            _ => Err(self
                .input
                .malformed("it sets entries of something but a dictionary")),
        }
    }

    fn put(&mut self, place: u32) -> Result<(), Fault> {
        let floor = self.floor();
        let top = self.stack.get(floor..).and_then(|part| part.last());
        let top = top.ok_or_else(|| self.input.malformed("nothing to remember"))?;
        self.memo.insert(place, top.clone());
        Ok(())
    }

    fn get(&mut self, place: u32) -> Result<(), Fault> {
        let item = self.memo.get(&place).cloned();
        let item = item.ok_or_else(|| {
            self.input
                .malformed(format!("it remembers number {place}, which was never kept"))
        })?;
        self.stack.push(item);
        Ok(())
    }
}
