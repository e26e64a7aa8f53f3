//! Files that are not what they claim to be: each is an error that says why,
//! none makes the reader execute, allocate much or panic.

use std::io::{Cursor, Write};
use std::path::Path;

use proptest::prelude::*;
use safetensors::Dtype;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::{Allow, Archive, ArchiveWriter, Dict, Value};

/// A small valid archive with two tensors.
fn valid() -> Vec<u8> {
    let mut writer = ArchiveWriter::new();
    let floats: Vec<u8> = [1.0f32, -2.5, 3.0, 0.0, 5.0, 6.0]
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let matrix = writer.tensor(Dtype::F32, &[2, 3], floats).unwrap();
    let scalar = writer
        .tensor(Dtype::I64, &[], 7i64.to_le_bytes().to_vec())
        .unwrap();
    let mut weights = Dict::of([("a.weight", matrix), ("a.count", scalar)]);
    weights.ordered = true;
    let value = Value::Dict(Dict::of([
        ("weights", Value::Dict(weights)),
        ("nothing", Value::None),
        ("many", Value::Int(i64::MAX - 1)),
        ("minus", Value::Int(-70_000)),
        ("half", Value::Float(0.5)),
        ("infinite", Value::Float(f64::INFINITY)),
        ("yes", Value::Bool(true)),
        ("type", Value::Dtype(Dtype::BOOL)),
        ("empty", Value::List(Vec::new())),
        (
            "pair",
            Value::Tuple(vec![Value::from("jalapeño"), Value::Int(300)]),
        ),
        (
            "list",
            Value::List(vec![Value::Int(0), Value::Tuple(vec![])]),
        ),
    ]));
    let output = writer.write("root", &value, Cursor::new(Vec::new()));
    output.unwrap().into_inner()
}

/// An archive with this pickle and further members.
fn archive(pickle: &[u8], members: &[(&str, &[u8])]) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let all = [("root/data.pkl", pickle)].into_iter();
    for (name, bytes) in all.chain(members.iter().copied()) {
        zip.start_file(name, options).unwrap();
        zip.write_all(bytes).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

fn open(bytes: Vec<u8>, allow: Allow) -> Result<Value, String> {
    let archive = Archive::from_bytes(Path::new("x.train"), bytes);
    let archive = archive.map_err(|error| error.to_string())?;
    archive.value(allow).map_err(|error| error.to_string())
}

fn refused(pickle: &[u8]) -> String {
    let storage: &[(&str, &[u8])] = &[("root/data/0", &[0; 24])];
    open(archive(pickle, storage), Allow::Tensors).expect_err("it must be refused")
}

/// Pickle of a tensor with these raw arguments around a storage of six f32.
fn tensor(key: &str, elements: u8, arguments: &[u8]) -> Vec<u8> {
    let mut pickle = b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n((X\x07\0\0\0storage".to_vec();
    pickle.extend(b"ctorch\nFloatStorage\nX");
    pickle.extend((key.len() as u32).to_le_bytes());
    pickle.extend(key.as_bytes());
    pickle.extend(b"X\x03\0\0\0cpuK");
    pickle.push(elements);
    pickle.extend(b"tQ");
    pickle.extend(arguments);
    pickle.extend(b"\x89ccollections\nOrderedDict\n)RtR.");
    pickle
}

#[test]
fn what_is_written_is_read() {
    let archive = Archive::from_bytes(Path::new("x"), valid()).unwrap();
    assert_eq!(archive.root(), "root");
    archive.verify().unwrap();
    let value = archive.value(Allow::Tensors).unwrap();
    let dict = value.dict("it").unwrap();
    assert_eq!(dict.get("many"), Some(&Value::Int(i64::MAX - 1)));
    assert_eq!(dict.get("minus"), Some(&Value::Int(-70_000)));
    assert_eq!(dict.get("infinite"), Some(&Value::Float(f64::INFINITY)));
    assert_eq!(dict.get("type"), Some(&Value::Dtype(Dtype::BOOL)));
    let pair = dict.get("pair").unwrap().items("pair").unwrap();
    assert_eq!(pair[0].text("noun").unwrap(), "jalapeño");
    let weights = dict.get("weights").unwrap().dict("weights").unwrap();
    assert!(weights.ordered);
    let matrix = weights.get("a.weight").unwrap().tensor("matrix").unwrap();
    let data = archive.tensor(matrix).unwrap();
    assert_eq!((data.dtype, data.shape), (Dtype::F32, vec![2, 3]));
    assert_eq!(data.bytes[4..8], (-2.5f32).to_le_bytes());
    let scalar = weights.get("a.count").unwrap().tensor("scalar").unwrap();
    assert_eq!(archive.tensor(scalar).unwrap().bytes, 7i64.to_le_bytes());

    let names: Vec<&str> = archive.members().map(|(name, _)| name).collect();
    for name in ["data.pkl", "byteorder", "data/0", "data/1", "version"] {
        assert!(names.contains(&name), "{name}");
    }
    assert_eq!(archive.member("version").unwrap(), b"3\n");
    let id = archive.member(".data/serialization_id").unwrap();
    assert!(id.len() == 40 && id.iter().all(u8::is_ascii_digit));
}

#[test]
fn members_are_aligned() {
    let bytes = valid();
    let start = bytes.as_ptr() as usize;
    let archive = Archive::from_bytes(Path::new("x"), bytes).unwrap();
    for (name, _) in archive.members() {
        let member = archive.member(name).unwrap();
        assert_eq!((member.as_ptr() as usize - start) % 64, 0, "{name}");
    }
}

#[test]
fn calls_are_refused_by_name() {
    for (pickle, name) in [
        (
            &b"\x80\x02cos\nsystem\nX\x02\0\0\0ls\x85R."[..],
            "os.system",
        ),
        (
            b"\x80\x02cbuiltins\neval\nX\x01\0\0\0\x31\x85R.",
            "builtins.eval",
        ),
        (b"\x80\x02ctorch\nload\n)R.", "torch.load"),
        (b"\x80\x02c__torch__.a\nB\n)\x81.", "__torch__.a.B"),
        (
            b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02ls\x85R.",
            "posix.system",
        ),
    ] {
        let error = refused(pickle);
        assert!(error.contains(name) && error.contains("x.train"), "{error}");
        assert!(error.contains("nothing was executed"), "{error}");
    }
}

#[test]
fn nonsense_is_refused() {
    let cases: &[(&[u8], &str)] = &[
        (b"", "ends too early"),
        (b"\x80\x02N", "ends too early"),
        (b"\x80\x01N.", "protocol 1"),
        (b"\x80\x02.", "takes more"),
        (b"\x80\x02NN.", "left over"),
        (b"\x80\x02(N.", "left over"),
        (b"\x80\x02h\x05.", "number 5"),
        (b"\x80\x02j\xff\xff\xff\xff.", "never kept"),
        (b"\x80\x02X\xff\xff\xff\xffabc.", "ends too early"),
        (b"\x80\x02X\x01\0\0\0\xff.", "UTF-8"),
        (b"\x80\x02\x8a\xff.", "ends too early"),
        (
            b"\x80\x02\x8a\x09\x01\x01\x01\x01\x01\x01\x01\x01\x01.",
            "64 bits",
        ),
        (b"\x80\x02a.", "takes more"),
        (b"\x80\x02NNa.", "but a list"),
        (b"\x80\x02}N(NNu.", "but a dictionary"),
        (b"\x80\x02}(Nu.", "without a value"),
        (b"\x80\x02]NNs.", "but a dictionary"),
        (b"\x80\x02t.", "mark is missing"),
        (b"\x80\x02(\x85.", "takes more"),
        (b"\x80\x02q\0.", "nothing to remember"),
        (
            b"\x80\x02ccollections\nOrderedDict\nN\x85R.",
            "other arguments",
        ),
        (
            b"\x80\x02ccollections\nOrderedDict\n.",
            "where a value should",
        ),
        (b"\x80\x02N)R.", "called that cannot"),
        (b"\x80\x02]}b.", "built that cannot"),
        (b"\x80\x02NQ.", "not to a storage"),
        (b"\x80\x02}NNs.", "neither text nor number"),
        (b"\x80\x02i.", "0x69"),
        (b"\x80\x02ctorch", "name without end"),
        (
            b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\n)R.",
            "unknown way",
        ),
    ];
    for (pickle, reason) in cases {
        let error = refused(pickle);
        assert!(error.contains(reason), "{pickle:02x?}: {error}");
    }
}

#[test]
fn tensors_outside_their_storages_are_refused() {
    let good = tensor("0", 6, b"K\0K\x02K\x03\x86K\x03K\x01\x86");
    let storage: &[(&str, &[u8])] = &[("root/data/0", &[0; 24])];
    open(archive(&good, storage), Allow::Tensors).unwrap();
    for (pickle, reason) in [
        (tensor("1", 6, b"K\0K\x06\x85K\x01\x85"), "data/1"),
        (tensor("../0", 6, b"K\0K\x06\x85K\x01\x85"), "missing"),
        (tensor("0", 7, b"K\0K\x06\x85K\x01\x85"), "24 bytes"),
        (tensor("0", 5, b"K\0K\x05\x85K\x01\x85"), "24 bytes"),
        (tensor("0", 6, b"K\x01K\x06\x85K\x01\x85"), "beyond"),
        (tensor("0", 6, b"K\0K\x07\x85K\0\x85"), "more elements"),
        (tensor("0", 6, b"K\0K\x02\x85K\x06\x85"), "beyond"),
        (tensor("0", 6, b"K\0K\x02\x85)"), "strides"),
        (
            tensor("0", 6, b"J\xff\xff\xff\xffK\x02\x85K\x01\x85"),
            "unknown way",
        ),
        (
            tensor("0", 6, b"K\0J\xff\xff\xff\xff\x85K\x01\x85"),
            "unknown way",
        ),
        (tensor("0", 6, b"K\0N\x85K\x01\x85"), "unknown way"),
    ] {
        let error = refused(&pickle);
        assert!(error.contains(reason), "{error}");
    }
}

#[test]
fn recursion_and_growth_are_bounded() {
    // A list that contains itself.
    let error = refused(b"\x80\x02]q\0h\0a.");
    assert!(error.contains("contains itself"), "{error}");
    // Forty times a pair of the pair before: 2^40 values.
    let mut pickle = b"\x80\x02)q\0".to_vec();
    pickle.extend(b"h\0\x86q\0".repeat(40));
    pickle.push(b'.');
    let error = refused(&pickle);
    assert!(error.contains("4000000 values"), "{error}");
    // Deep nesting.
    let mut pickle = b"\x80\x02)".to_vec();
    pickle.extend(b"\x85".repeat(100_000));
    pickle.push(b'.');
    let error = refused(&pickle);
    assert!(error.contains("64 levels"), "{error}");
    // One storage a thousand times.
    let mut pickle = tensor("0", 6, b"K\0K\x02K\x03\x86K\x03K\x01\x86");
    pickle.pop();
    pickle.extend(b"q\0(");
    pickle.extend(b"h\0".repeat(1000));
    pickle.extend(b"t\x86.");
    let error = refused(&pickle);
    assert!(error.contains("size of its storages"), "{error}");
}

#[test]
fn odd_archives_are_refused() {
    let plain: &[u8] = b"\x80\x02N.";
    open(archive(plain, &[]), Allow::Tensors).unwrap();
    for (name, reason) in [
        ("other/data/0", "folder"),
        ("root/../../etc/passwd", "folder"),
        ("/etc/passwd", "folder"),
        ("loose", "folder"),
        ("root/a\\b", "folder"),
        ("root//x", "folder"),
    ] {
        let error = open(archive(plain, &[(name, b"x")]), Allow::Tensors).unwrap_err();
        assert!(error.contains(reason), "{name}: {error}");
    }
    // Two members with one name.
    let mut bytes = archive(plain, &[("root/data/0", b"a"), ("root/data/1", b"b")]);
    let name = b"root/data/1";
    let places: Vec<usize> = (0..bytes.len() - name.len())
        .filter(|&at| bytes[at..].starts_with(name))
        .collect();
    for at in places {
        bytes[at + name.len() - 1] = b'0';
    }
    let error = open(bytes, Allow::Tensors).unwrap_err();
    assert!(error.contains("one name"), "{error}");
    // Other bytes than those the checksum is of.
    let mut bytes = valid();
    let at = bytes
        .windows(4)
        .position(|window| window == (-2.5f32).to_le_bytes())
        .unwrap();
    bytes[at] ^= 1;
    let archive = Archive::from_bytes(Path::new("x"), bytes).unwrap();
    let error = archive.verify().unwrap_err().to_string();
    assert!(error.contains("checksum"), "{error}");
    // Another byte order.
    let order: &[(&str, &[u8])] = &[("root/byteorder", b"big")];
    let error = open(self::archive(plain, order), Allow::Tensors).unwrap_err();
    assert!(error.contains("little-endian"), "{error}");
    let error = open(b"\x80\x02N.".to_vec(), Allow::Tensors).unwrap_err();
    assert!(error.contains("PyTorch 1.6"), "{error}");
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = valid();
    for length in 0..bytes.len() {
        let outcome = open(bytes[..length].to_vec(), Allow::Tensors);
        assert!(outcome.is_err(), "{length} of {} bytes", bytes.len());
    }
}

#[test]
fn script_archives_are_maps_of_attributes() {
    let pickle = b"\x80\x02c__torch__.clip\nModel\n)\x81}(X\x05\0\0\0width\
        ctorch.jit._pickle\nbuild_intlist\n](K\x01K\x02e\x85RX\x04\0\0\0part\
        c__torch__\nPart\n)\x81}bub.";
    let value = open(archive(pickle, &[]), Allow::ScriptModules).unwrap();
    let Value::Module(module) = value else {
        panic!("{value:?}");
    };
    assert_eq!(&*module.class, "__torch__.clip.Model");
    let state = module.state.dict("state").unwrap();
    let width = state.get("width").unwrap().items("width").unwrap();
    assert_eq!(width, [Value::Int(1), Value::Int(2)]);
    assert!(matches!(state.get("part"), Some(Value::Module(_))));
}

#[test]
fn the_last_value_of_a_repeated_key_counts() {
    let pickle = b"\x80\x02}(X\x01\0\0\0aK\x01X\x01\0\0\0bK\x02X\x01\0\0\0aK\x03u.";
    let value = open(archive(pickle, &[]), Allow::Tensors);
    let expected = Dict::of([("a", Value::Int(3)), ("b", Value::Int(2))]);
    assert_eq!(value.unwrap(), Value::Dict(expected));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// Damaged files are read or refused, and what is read can be used.
    #[test]
    fn damaged_files_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
    ) {
        let mut bytes = valid();
        for (place, byte) in changes {
            let at = place.index(bytes.len());
            bytes[at] = byte;
        }
        if let Ok(archive) = Archive::from_bytes(Path::new("x"), bytes)
            && let Ok(value) = archive.value(Allow::ScriptModules)
        {
            read_all(&archive, &value);
        }
    }

    /// Any sequence of known operations is run or refused.
    #[test]
    fn random_pickles_never_panic(operations in prop::collection::vec(operation(), 0..60)) {
        let mut pickle = b"\x80\x02".to_vec();
        pickle.extend(operations.concat());
        pickle.push(b'.');
        let _ = open(archive(&pickle, &[("root/data/0", &[0; 24])]), Allow::ScriptModules);
    }
}

fn read_all(archive: &Archive, value: &Value) {
    match value {
        Value::Tensor(info) => {
            if let Ok(data) = archive.tensor(info) {
                assert_eq!(data.bytes.len(), info.elements() * info.storage.width());
            }
        }
        Value::Dict(dict) => {
            for (_, value) in &dict.entries {
                read_all(archive, value);
            }
        }
        Value::List(items) | Value::Tuple(items) => {
            for item in items {
                read_all(archive, item);
            }
        }
        _ => {}
    }
}

fn operation() -> impl Strategy<Value = Vec<u8>> {
    let fixed: Vec<Vec<u8>> = [
        &b"N"[..],
        b"\x88",
        b"K\x06",
        b"K\0",
        b"(",
        b")",
        b"]",
        b"}",
        b"t",
        b"\x85",
        b"\x86",
        b"\x87",
        b"a",
        b"e",
        b"s",
        b"u",
        b"q\0",
        b"h\0",
        b"q\x01",
        b"h\x01",
        b"\x94",
        b"R",
        b"b",
        b"\x81",
        b"Q",
        b"\x93",
        b"X\x01\0\0\0a",
        b"X\x07\0\0\0storage",
        b"X\x01\0\0\0\x30",
        b"ccollections\nOrderedDict\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"ctorch\nFloatStorage\n",
        b"c__torch__\nA\n",
        b"ctorch.jit._pickle\nrestore_type_tag\n",
    ]
    .into_iter()
    .map(<[u8]>::to_vec)
    .collect();
    prop_oneof![
        9 => prop::sample::select(fixed),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ]
}
