//! Writing PyTorch archives: protocol 2, members stored uncompressed and
//! aligned to 64 bytes, so that `torch.load` reads them in its weights-only
//! mode without further allowed classes.

use std::collections::{BTreeMap, HashMap};
use std::io::{Seek, Write};
use std::sync::Arc;

use safetensors::Dtype;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::archive::Archive;
use super::error::{Fault, PickleError};
use super::globals::{dtype_name, storage_class};
use super::opcode::*;
use super::storage::{Storage, TensorInfo};
use super::value::{Dict, Value};

/// Alignment of members in bytes.
const ALIGNMENT: u16 = 64;
/// Sizes from which members need the large form of zip headers.
const LARGE: u64 = u32::MAX as u64;
/// Digits of the identity of an archive.
const IDENTITY_DIGITS: usize = 40;

/// Collects storages, then writes a value that refers to them.
#[derive(Default)]
pub struct ArchiveWriter<'a> {
    storages: Vec<std::borrow::Cow<'a, [u8]>>,
}

impl<'a> ArchiveWriter<'a> {
    /// A writer without storages.
    pub fn new() -> Self {
        Self::default()
    }

    /// Takes the elements of a tensor, little-endian and row-major, as a
    /// storage of its own; returns the tensor for the value to be written.
    ///
    /// # Errors
    /// Another number of bytes than the shape needs.
    pub fn tensor(
        &mut self,
        dtype: Dtype,
        shape: &[usize],
        bytes: impl Into<std::borrow::Cow<'a, [u8]>>,
    ) -> Result<Value, Fault> {
        let bytes = bytes.into();
        let storage = Storage {
            key: self.storages.len().to_string().into(),
            dtype,
            elements: bytes.len() / (dtype.bitsize() / 8).max(1),
        };
        let info = TensorInfo::whole(storage, shape.to_vec())?;
        if info.elements() != info.storage.elements {
            return Err(Fault::Tensor {
                shape: shape.to_vec(),
                reason: format!("cannot be made of {} bytes", bytes.len()),
            });
        }
        self.storages.push(bytes);
        Ok(Value::Tensor(Arc::new(info)))
    }

    /// Takes over the storages of all tensors in a value of another archive;
    /// returns the value that refers to them here.
    ///
    /// # Errors
    /// A damaged storage.
    pub fn copy(&mut self, archive: &'a Archive, value: &Value) -> Result<Value, PickleError> {
        let mut places = HashMap::new();
        self.copied(archive, value, &mut places)
    }

    fn copied(
        &mut self,
        archive: &'a Archive,
        value: &Value,
        places: &mut HashMap<Arc<str>, Storage>,
    ) -> Result<Value, PickleError> {
        let mut all = |values: &[Value]| -> Result<Vec<Value>, PickleError> {
            let values = values.iter();
            values
                .map(|value| self.copied(archive, value, places))
                .collect()
        };
        Ok(match value {
            Value::List(items) => Value::List(all(items)?),
            Value::Tuple(items) => Value::Tuple(all(items)?),
            Value::Dict(dict) => {
                let (keys, values): (Vec<_>, Vec<_>) = dict.entries.iter().cloned().unzip();
                Value::Dict(Dict {
                    ordered: dict.ordered,
                    entries: keys.into_iter().zip(all(&values)?).collect(),
                })
            }
            Value::Tensor(info) => {
                let key = &info.storage.key;
                if !places.contains_key(key) {
                    let bytes = archive.member(&format!("data/{key}"))?;
                    let storage = Storage {
                        key: self.storages.len().to_string().into(),
                        ..info.storage.clone()
                    };
                    self.storages.push(bytes.into());
                    places.insert(key.clone(), storage);
                }
                let storage = places.get(key).unwrap_or(&info.storage).clone();
                Value::Tensor(Arc::new(TensorInfo {
                    storage,
                    ..(**info).clone()
                }))
            }
            plain => plain.clone(),
        })
    }

    /// Writes the archive; `root` is the name of its folder.
    ///
    /// # Errors
    /// The output cannot be written; a value that such files cannot hold.
    pub fn write<W: Write + Seek>(&self, root: &str, value: &Value, output: W) -> Result<W, Fault> {
        let mut pickler = Pickler::default();
        pickler.output.extend([PROTO, 2]);
        pickler.value(value)?;
        pickler.output.push(STOP);
        let pickle = pickler.output;
        let identity = identity(&pickle, &self.storages);

        let mut zip = ZipWriter::new(output);
        let mut add = |name: &str, bytes: &[u8]| -> Result<(), Fault> {
            let options = SimpleFileOptions::default()
                .compression_method(CompressionMethod::Stored)
                .last_modified_time(zip::DateTime::default())
                .large_file(bytes.len() as u64 >= LARGE)
                .with_alignment(ALIGNMENT);
            zip.start_file(format!("{root}/{name}"), options)
                .map_err(zip_fault)?;
            zip.write_all(bytes)?;
            Ok(())
        };
        add("data.pkl", &pickle)?;
        add("byteorder", b"little")?;
        let numbers = (0..self.storages.len()).map(|number| (number.to_string(), number));
        // Sorted as texts: 0, 1, 10, 11, 2.
        for (key, number) in numbers.collect::<BTreeMap<_, _>>() {
            add(&format!("data/{key}"), &self.storages[number])?;
        }
        add("version", b"3\n")?;
        add(".data/serialization_id", identity.as_bytes())?;
        zip.finish().map_err(zip_fault)
    }
}

fn zip_fault(error: zip::result::ZipError) -> Fault {
    match error {
        zip::result::ZipError::Io(error) => Fault::Io(error),
        other => Fault::Container {
            reason: other.to_string(),
        },
    }
}

/// Decimal digits that depend on the content.
fn identity(pickle: &[u8], storages: &[std::borrow::Cow<'_, [u8]>]) -> String {
    let mut hasher = blake3::Hasher::new();
    hasher.update(pickle);
    for storage in storages {
        hasher.update(storage);
    }
    let mut digits = hasher.finalize_xof();
    let mut bytes = [0; IDENTITY_DIGITS];
    digits.fill(&mut bytes);
    bytes
        .iter()
        .map(|byte| char::from(b'0' + byte % 10))
        .collect()
}

/// Writes values as pickle operations of protocol 2.
#[derive(Default)]
struct Pickler {
    output: Vec<u8>,
    globals: HashMap<(&'static str, &'static str), u8>,
}

impl Pickler {
    fn value(&mut self, value: &Value) -> Result<(), Fault> {
        match value {
            Value::None => self.output.push(NONE),
            Value::Bool(true) => self.output.push(NEWTRUE),
            Value::Bool(false) => self.output.push(NEWFALSE),
            Value::Int(number) => self.int(*number),
            Value::Float(number) => {
                self.output.push(BINFLOAT);
                self.output.extend(number.to_be_bytes());
            }
            Value::Text(text) => self.text(text)?,
            Value::Tuple(items) => self.tuple(items, Self::value)?,
            Value::List(items) => {
                self.output.push(EMPTY_LIST);
                if !items.is_empty() {
                    self.output.push(MARK);
                    items.iter().try_for_each(|item| self.value(item))?;
                    self.output.push(APPENDS);
                }
            }
            Value::Dict(dict) => {
                if dict.ordered {
                    self.ordered_dict();
                } else {
                    self.output.push(EMPTY_DICT);
                }
                if !dict.entries.is_empty() {
                    self.output.push(MARK);
                    for (key, value) in &dict.entries {
                        self.value(key)?;
                        self.value(value)?;
                    }
                    self.output.push(SETITEMS);
                }
            }
            Value::Dtype(dtype) => {
                let name = dtype_name(*dtype).ok_or_else(|| unwritable("this tensor type"))?;
                self.global("torch", name);
            }
            Value::Tensor(info) => self.tensor(info)?,
            Value::Bytes(_) | Value::Module(_) => return Err(unwritable(value.kind())),
        }
        Ok(())
    }

    fn int(&mut self, number: i64) {
        if let Ok(byte) = u8::try_from(number) {
            self.output.extend([BININT1, byte]);
        } else if let Ok(short) = u16::try_from(number) {
            self.output.push(BININT2);
            self.output.extend(short.to_le_bytes());
        } else if let Ok(int) = i32::try_from(number) {
            self.output.push(BININT);
            self.output.extend(int.to_le_bytes());
        } else {
            self.output.extend([LONG1, 8]);
            self.output.extend(number.to_le_bytes());
        }
    }

    fn text(&mut self, text: &str) -> Result<(), Fault> {
        let length = u32::try_from(text.len()).map_err(|_| unwritable("a text of 4 GiB"))?;
        self.output.push(BINUNICODE);
        self.output.extend(length.to_le_bytes());
        self.output.extend(text.as_bytes());
        Ok(())
    }

    fn tuple<T>(
        &mut self,
        items: &[T],
        write: impl Fn(&mut Self, &T) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        if items.len() > 3 {
            self.output.push(MARK);
        }
        items.iter().try_for_each(|item| write(self, item))?;
        self.output.push(match items.len() {
            0 => EMPTY_TUPLE,
            1 => TUPLE1,
            2 => TUPLE2,
            3 => TUPLE3,
            _ => TUPLE,
        });
        Ok(())
    }

    /// A name; written once, then remembered.
    fn global(&mut self, module: &'static str, name: &'static str) {
        if let Some(&place) = self.globals.get(&(module, name)) {
            self.output.extend([BINGET, place]);
            return;
        }
        self.output.push(GLOBAL);
        self.output.extend(format!("{module}\n{name}\n").as_bytes());
        if let Ok(place) = u8::try_from(self.globals.len()) {
            self.globals.insert((module, name), place);
            self.output.extend([BINPUT, place]);
        }
    }

    fn ordered_dict(&mut self) {
        self.global("collections", "OrderedDict");
        self.output.extend([EMPTY_TUPLE, REDUCE]);
    }

    fn tensor(&mut self, info: &TensorInfo) -> Result<(), Fault> {
        let class = storage_class(info.storage.dtype);
        let class = class.ok_or_else(|| unwritable("a tensor of this type"))?;
        let size = |size: &usize| i64::try_from(*size).map_err(|_| unwritable("such a size"));
        self.global("torch._utils", "_rebuild_tensor_v2");
        self.output.extend([MARK, MARK]);
        self.text("storage")?;
        self.global("torch", class);
        self.text(&info.storage.key)?;
        self.text("cpu")?;
        self.int(size(&info.storage.elements)?);
        self.output.extend([TUPLE, BINPERSID]);
        self.int(size(&info.offset)?);
        for sizes in [&info.shape, &info.strides] {
            self.tuple(sizes, |pickler, one| {
                pickler.int(size(one)?);
                Ok(())
            })?;
        }
        self.output.push(NEWFALSE);
        self.ordered_dict();
        self.output.extend([TUPLE, REDUCE]);
        Ok(())
    }
}

fn unwritable(what: &str) -> Fault {
    Fault::Content {
        reason: format!("{what} cannot be written to a PyTorch file"),
    }
}
