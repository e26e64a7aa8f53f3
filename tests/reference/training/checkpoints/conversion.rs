//! Conversion forth and back: nothing is lost, and what is written is built as
//! the original builds it.

use std::path::Path;

use novic::pickle::{Allow, Archive, Value};
use novic::train::exchange::{self, Form};

use super::files::{self, assert_same};
use super::scan;
use super::values::assert_same_value;

/// Entry of the product; the original ignores it.
const OWN_ENTRY: &str = "novic";

#[test]
fn conversions_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    for stored in files::all() {
        let what = stored.path.display().to_string();
        let native = folder.path().join("native.safetensors");
        exchange::save(&native, &stored.checkpoint, Form::Native).unwrap();
        assert_eq!(Form::of_file(&native).unwrap(), Form::Native);
        let converted = exchange::load(&native).unwrap();
        assert_same(&converted, &stored.checkpoint, &what);

        let back = folder.path().join("back.train");
        exchange::save(&back, &converted, Form::Original).unwrap();
        assert_same(&exchange::load(&back).unwrap(), &stored.checkpoint, &what);
        assert_entries(&back, &stored.path, &what);
        assert_built_as_the_original(&back);
    }
}

/// All entries of the original's file are in ours, in its order and with its
/// types.
fn assert_entries(own: &Path, original: &Path, what: &str) {
    let (own, original) = (
        Archive::open(own).unwrap(),
        Archive::open(original).unwrap(),
    );
    let entries = |archive: &Archive| match archive.value(Allow::Tensors).unwrap() {
        Value::Dict(dict) => dict.entries,
        other => panic!("{other:?}"),
    };
    let mut ours = entries(&own);
    assert_eq!(ours.pop().unwrap().0, Value::from(OWN_ENTRY), "{what}");
    let theirs = entries(&original);
    assert_eq!(ours.len(), theirs.len(), "{what}");
    for ((name, ours), (wanted, theirs)) in ours.iter().zip(&theirs) {
        assert_eq!(name, wanted, "{what}");
        let name = name.text("name").unwrap();
        assert_same_value(
            (&own, ours),
            (&original, theirs),
            &format!("{what}: {name}"),
        );
    }
}

/// Members, alignment, operations and names (`training.md` 3.2).
fn assert_built_as_the_original(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let root = path.file_stem().unwrap().to_str().unwrap();
    let members = scan::members(&bytes);
    let names: Vec<&str> = members
        .iter()
        .map(|member| member.name.strip_prefix(root).expect("root folder"))
        .collect();
    let storages = members.len() - 4;
    let mut keys: Vec<String> = (0..storages).map(|key| format!("/data/{key}")).collect();
    keys.sort();
    let mut expected = vec!["/data.pkl", "/byteorder"];
    expected.extend(keys.iter().map(String::as_str));
    expected.extend(["/version", "/.data/serialization_id"]);
    assert_eq!(names, expected);
    for member in &members {
        assert_eq!(
            (member.method, member.start % 64),
            (0, 0),
            "{}",
            member.name
        );
    }
    let pickle = &members[0];
    let found = scan::pickle(&bytes[pickle.start..pickle.start + pickle.size]);
    let allowed = [
        "collections.OrderedDict",
        "torch._utils._rebuild_tensor_v2",
        "torch.FloatStorage",
        "torch.LongStorage",
        "torch.IntStorage",
        "torch.int64",
        "torch.int32",
        "torch.bool",
    ];
    for global in &found.globals {
        assert!(allowed.contains(&global.as_str()), "{global}");
    }
}
