//! The original's files, damaged: whatever a changed pickle says, it is read
//! or refused.

use std::io::{Cursor, Write};
use std::path::Path;

use novic::pickle::{Allow, Archive, TensorInfo, Value};
use novic::train::exchange;
use proptest::prelude::*;
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::files;
use super::scan;

fn tensors(value: &Value) -> Vec<&TensorInfo> {
    match value {
        Value::Tensor(info) => vec![&**info],
        Value::Dict(dict) => dict
            .entries
            .iter()
            .flat_map(|entry| tensors(&entry.1))
            .collect(),
        Value::List(items) | Value::Tuple(items) => items.iter().flat_map(tensors).collect(),
        _ => Vec::new(),
    }
}

/// The archive of these bytes with another pickle and right checksums.
fn with_pickle(bytes: &[u8], change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut change = Some(change);
    for member in scan::members(bytes) {
        let mut content = bytes[member.start..member.start + member.size].to_vec();
        if member.name.ends_with("/data.pkl")
            && let Some(change) = change.take()
        {
            change(&mut content);
        }
        zip.start_file(member.name, options).unwrap();
        zip.write_all(&content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

#[test]
fn a_hostile_pickle_is_refused_by_name() {
    let stored = files::all().swap_remove(0);
    let bytes = std::fs::read(&stored.path).unwrap();
    let hostile = with_pickle(&bytes, |pickle| {
        let name = b"torch._utils\n_rebuild_tensor_v2";
        let at = pickle.windows(name.len()).position(|part| part == name);
        let at = at.expect("tensors");
        pickle.splice(at..at + name.len(), *b"posix\nsystem");
    });
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("hostile.train");
    std::fs::write(&path, hostile).unwrap();
    for error in [
        exchange::load(&path).unwrap_err().to_string(),
        exchange::load_header(&path).unwrap_err().to_string(),
        exchange::verify(&path).unwrap_err().to_string(),
    ] {
        assert!(error.contains("posix.system"), "{error}");
        assert!(error.contains("hostile.train"), "{error}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn changed_pickles_never_panic(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in prop::option::of(any::<prop::sample::Index>()),
    ) {
        static BYTES: std::sync::LazyLock<Vec<u8>> = std::sync::LazyLock::new(|| {
            std::fs::read(&files::all().swap_remove(0).path).unwrap()
        });
        let bytes = with_pickle(&BYTES, |pickle| {
            for (place, byte) in &changes {
                let at = place.index(pickle.len());
                pickle[at] = *byte;
            }
            if let Some(cut) = cut {
                pickle.truncate(cut.index(pickle.len()));
            }
        });
        let archive = Archive::from_bytes(Path::new("x.train"), bytes).unwrap();
        if let Ok(value) = archive.value(Allow::Tensors) {
            // What can be read describes tensors that can be read.
            for info in tensors(&value) {
                let data = archive.tensor(info).unwrap();
                prop_assert_eq!(data.bytes.len(), info.elements() * info.storage.width());
            }
        }
    }
}
