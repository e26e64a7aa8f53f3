//! The transaction log: framing and records, byte by byte.

use std::fs;

use novic::tracking::wandb::{framing, records};
use serde_json::Value;
use sha2::{Digest, Sha256};

use super::{AREA, files};
use crate::golden;

fn log_of(records: &[Vec<u8>]) -> Vec<u8> {
    let mut writer = framing::LogWriter::new(Vec::new()).expect("a log in memory");
    for record in records {
        writer.append(record).expect("it takes a record");
    }
    writer.into_inner()
}

fn hash(bytes: &[u8]) -> String {
    let hash = Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn framing_is_exact() {
    let cases = golden::json(AREA, "framing.json");
    for case in cases.as_array().expect("a list") {
        let name = &case["case"];
        // Byte i of record k is (7 i + k) mod 251.
        let sizes = case["record_sizes"].as_array().expect("sizes");
        let written: Vec<Vec<u8>> = sizes
            .iter()
            .enumerate()
            .map(|(k, size)| {
                let size = size.as_u64().expect("a size") as usize;
                (0..size).map(|i| ((7 * i + k) % 251) as u8).collect()
            })
            .collect();
        let log = log_of(&written);
        assert_eq!(case["file_size"], log.len(), "{name}");
        assert_eq!(case["file_sha256"], hash(&log), "{name}");
        let chunks: Vec<Value> = framing::chunks(&log)
            .map(|chunk| {
                let chunk = chunk.expect("a whole chunk");
                serde_json::json!([
                    chunk.offset,
                    chunk.kind,
                    chunk.data.len(),
                    format!("{:08x}", chunk.checksum)
                ])
            })
            .collect();
        assert_eq!(
            case["frames_offset_type_length_crc32"],
            Value::Array(chunks),
            "{name}"
        );
        assert_eq!(framing::records(&log), (written, None), "{name}");
    }
}

/// The logs with their decoded records.
fn logs() -> Vec<(String, Vec<u8>, Vec<Value>)> {
    files(".wandb")
        .into_iter()
        .map(|path| {
            let decoded = fs::read_to_string(format!("{}.jsonl", path.display()));
            let decoded = decoded.expect("the decoded records");
            let decoded = decoded
                .lines()
                .map(|line| serde_json::from_str(line).expect("JSON"))
                .collect();
            let bytes = fs::read(&path).expect("a log");
            (path.display().to_string(), bytes, decoded)
        })
        .collect()
}

#[test]
fn records_are_decoded() {
    for (name, bytes, expected) in logs() {
        let (found, fault) = framing::records(&bytes);
        assert_eq!(fault, None, "{name}");
        assert_eq!(found.len(), expected.len(), "{name}");
        for (number, (found, expected)) in found.iter().zip(&expected).enumerate() {
            let found = records::decode(found).expect("a record");
            assert_eq!(found, *expected, "{name}: record {}", number + 1);
        }
    }
}

/// Logs that were written without the official program are the target of ours.
#[test]
fn generated_logs_are_written_byte_by_byte() {
    let is_generated = |records: &[Value]| !records.iter().any(|r| r.get("_info").is_some());
    let generated: Vec<_> = logs()
        .into_iter()
        .filter(|(_, _, records)| is_generated(records))
        .collect();
    assert!(!generated.is_empty(), "no generated log");
    for (name, bytes, expected) in generated {
        let encoded: Vec<Vec<u8>> = expected.iter().map(records::encode).collect();
        assert!(log_of(&encoded) == bytes, "{name}");
    }
}
