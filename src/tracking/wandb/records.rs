//! The records of `.wandb` files: protobuf messages, of which one table lists
//! the fields in use. A record is a JSON value with the names of its fields;
//! fields that the table does not know are kept under `#` and their number.

use prost::bytes::Buf;
use prost::encoding::{WireType, decode_varint, encode_key, encode_varint};
use serde_json::{Map, Value, json};

/// A field of a message.
#[derive(Debug)]
struct Field {
    number: u32,
    name: &'static str,
    kind: Kind,
    repeated: bool,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    /// A whole number, not negative.
    Number,
    /// A text; bytes that are none are shown in hexadecimal.
    Text,
    /// Bytes, shown in hexadecimal.
    Bytes,
    /// A message inside.
    Message(&'static [Field]),
}

const fn field(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        number,
        name,
        kind,
        repeated: false,
    }
}

const fn list(number: u32, name: &'static str, kind: Kind) -> Field {
    Field {
        number,
        name,
        kind,
        repeated: true,
    }
}

use Kind::{Bytes, Message, Number, Text};

const TIME: Kind = Message(&[field(1, "seconds", Number), field(2, "nanos", Number)]);

const ITEM: Kind = Message(&[
    field(1, "key", Text),
    list(2, "nested_key", Text),
    field(16, "value_json", Text),
]);

const UPDATE: Kind = Message(&[list(1, "update", ITEM), list(2, "remove", ITEM)]);

const TELEMETRY: Kind = Message(&[
    field(3, "feature(bytes)", Bytes),
    field(4, "python_version", Text),
    field(5, "cli_version", Text),
    field(12, "core_version", Text),
    field(13, "platform", Text),
]);

/// The fields of a record, and of the messages in it.
const RECORD: &[Field] = &[
    field(1, "num", Number),
    field(
        2,
        "history",
        Message(&[
            list(1, "item", ITEM),
            field(2, "step", Message(&[field(1, "num", Number)])),
        ]),
    ),
    field(3, "summary", UPDATE),
    field(5, "config", UPDATE),
    field(
        6,
        "files",
        Message(&[list(
            1,
            "files",
            Message(&[
                field(1, "path", Text),
                field(2, "policy", Number),
                field(3, "type", Number),
            ]),
        )]),
    ),
    field(
        7,
        "stats",
        Message(&[
            field(1, "stats_type", Number),
            field(2, "timestamp", TIME),
            list(3, "item", ITEM),
        ]),
    ),
    field(
        10,
        "alert",
        Message(&[
            field(1, "title", Text),
            field(2, "text", Text),
            field(3, "level", Text),
            field(4, "wait_duration", Number),
        ]),
    ),
    field(11, "telemetry", TELEMETRY),
    field(
        12,
        "metric",
        Message(&[
            field(1, "name", Text),
            field(2, "glob_name", Text),
            field(4, "step_metric", Text),
            field(5, "step_metric_index", Number),
            field(
                6,
                "options",
                Message(&[
                    field(1, "step_sync", Number),
                    field(2, "hidden", Number),
                    field(3, "defined", Number),
                ]),
            ),
            field(
                7,
                "summary",
                Message(&[
                    field(1, "min", Number),
                    field(2, "max", Number),
                    field(3, "mean", Number),
                    field(4, "best", Number),
                    field(5, "last", Number),
                    field(6, "none", Number),
                    field(7, "copy", Number),
                    field(8, "first", Number),
                ]),
            ),
            field(8, "goal", Number),
        ]),
    ),
    field(
        13,
        "output_raw",
        Message(&[
            field(1, "output_type", Number),
            field(2, "timestamp", TIME),
            field(3, "line", Text),
        ]),
    ),
    field(16, "control", Message(&[field(4, "mailbox_slot", Text)])),
    field(
        17,
        "run",
        Message(&[
            field(1, "run_id", Text),
            field(2, "entity", Text),
            field(3, "project", Text),
            field(4, "config", UPDATE),
            field(5, "summary", UPDATE),
            field(6, "run_group", Text),
            field(7, "job_type", Text),
            field(8, "display_name", Text),
            field(9, "notes", Text),
            list(10, "tags", Text),
            field(12, "sweep_id", Text),
            field(13, "host", Text),
            field(14, "starting_step", Number),
            field(16, "storage_id", Text),
            field(17, "start_time", TIME),
            field(18, "resumed", Number),
            field(19, "telemetry", TELEMETRY),
            field(20, "runtime", Number),
            field(
                21,
                "git",
                Message(&[field(1, "remote_url", Text), field(2, "commit", Text)]),
            ),
            field(24, "resume", Number),
        ]),
    ),
    field(
        18,
        "exit",
        Message(&[
            field(1, "exit_code", Number),
            field(2, "runtime", Number),
            field(3, "not_complete", Number),
        ]),
    ),
    field(
        21,
        "header",
        Message(&[field(
            1,
            "version_info",
            Message(&[field(1, "producer", Text), field(2, "min_consumer", Text)]),
        )]),
    ),
    field(22, "footer", Message(&[])),
    field(23, "preempting", Message(&[])),
    field(
        26,
        "environment",
        Message(&[
            field(1, "os", Text),
            field(2, "python", Text),
            field(3, "started_at", TIME),
            list(5, "args", Text),
            field(6, "program", Text),
            field(7, "code_path", Text),
            field(10, "email", Text),
            field(11, "root", Text),
            field(12, "host", Text),
            field(13, "username", Text),
            field(14, "executable", Text),
            field(16, "cpu_count", Number),
            field(17, "cpu_count_logical", Number),
            field(18, "gpu_type", Text),
            field(19, "gpu_count", Number),
            list(20, "disk(bytes)", Bytes),
            field(21, "memory", Message(&[field(1, "total", Number)])),
            field(22, "cpu(bytes)", Bytes),
            field(199, "writer_id", Text),
        ]),
    ),
    field(200, "_info", Message(&[field(1, "stream_id", Text)])),
];

/// Why bytes are no record.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these bytes are no record: {0}")]
pub struct NoRecord(String);

/// Encodes a record. Values that do not fit their field are left out.
pub fn encode(record: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    encode_message(RECORD, record, &mut out);
    out
}

fn encode_message(fields: &[Field], message: &Value, out: &mut Vec<u8>) {
    for field in fields {
        let values = match message.get(field.name) {
            None => continue,
            Some(Value::Array(values)) if field.repeated => values.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        for value in values {
            encode_value(field, value, out);
        }
    }
}

fn encode_value(field: &Field, value: &Value, out: &mut Vec<u8>) {
    let mut bytes = |bytes: &[u8]| {
        encode_key(field.number, WireType::LengthDelimited, out);
        encode_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    };
    match (field.kind, value) {
        (Number, Value::Bool(value)) => {
            encode_key(field.number, WireType::Varint, out);
            encode_varint(u64::from(*value), out);
        }
        (Number, value) => {
            if let Some(value) = value.as_u64() {
                encode_key(field.number, WireType::Varint, out);
                encode_varint(value, out);
            }
        }
        (Text, Value::String(text)) => bytes(text.as_bytes()),
        (Bytes, Value::String(text)) => bytes(&from_hex(text)),
        (Message(fields), message) => {
            let mut inside = Vec::new();
            encode_message(fields, message, &mut inside);
            bytes(&inside);
        }
        _ => {}
    }
}

/// Decodes a record. The log's checksums tell of damage; here as much is shown
/// as can be: a field that is longer than its message ends with it, and wire
/// types that nobody uses are taken for lengths.
///
/// # Errors
/// A field has no value.
pub fn decode(bytes: &[u8]) -> Result<Value, NoRecord> {
    decode_message(RECORD, bytes)
}

const VARINT: u64 = WireType::Varint as u64;
const EIGHT_BYTES: u64 = WireType::SixtyFourBit as u64;
const FOUR_BYTES: u64 = WireType::ThirtyTwoBit as u64;

fn decode_message(fields: &[Field], mut bytes: &[u8]) -> Result<Value, NoRecord> {
    let wrong = |error: prost::DecodeError| NoRecord(error.to_string());
    let short = || NoRecord("it is too short".to_owned());
    let mut message = Map::new();
    while !bytes.is_empty() {
        let key = decode_varint(&mut bytes).map_err(wrong)?;
        let number = key >> 3;
        let field = fields
            .iter()
            .find(|field| u64::from(field.number) == number);
        let value = match key & 7 {
            VARINT => json!(decode_varint(&mut bytes).map_err(wrong)?),
            EIGHT_BYTES => json!(bytes.try_get_f64_le().map_err(|_| short())?),
            FOUR_BYTES => json!(bytes.try_get_f32_le().map_err(|_| short())?),
            _ => {
                let length = decode_varint(&mut bytes).map_err(wrong)?;
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let (data, behind) = bytes.split_at(length.min(bytes.len()));
                bytes = behind;
                match field.map(|field| field.kind) {
                    Some(Message(inside)) => decode_message(inside, data)?,
                    Some(Text | Number) => match std::str::from_utf8(data) {
                        Ok(text) => json!(text),
                        Err(_) => json!(to_hex(data)),
                    },
                    Some(Bytes) | None => json!(to_hex(data)),
                }
            }
        };
        match field {
            Some(field) if field.repeated => {
                let values = message.entry(field.name).or_insert_with(|| json!([]));
                if let Value::Array(values) = values {
                    values.push(value);
                }
            }
            Some(field) => {
                message.insert(field.name.to_owned(), value);
            }
            None => {
                message.insert(format!("#{number}"), value);
            }
        }
    }
    Ok(Value::Object(message))
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Vec<u8> {
    let digit = |byte: u8| char::from(byte).to_digit(16).unwrap_or(0) as u8;
    let pairs = text.as_bytes().chunks_exact(2);
    pairs
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn records_come_back() {
        let record = json!({
            "num": 3,
            "history": {"item": [{"key": "loss", "value_json": "1.5"}], "step": {}},
            "_info": {"stream_id": "x"},
        });
        let bytes = encode(&record);
        assert_eq!(decode(&bytes).unwrap(), record);
        assert!(decode(&[0x08]).is_err());
        // What is cut is shown as far as it goes.
        let cut = decode(&bytes[..bytes.len() - 1]).unwrap();
        assert_eq!(cut["_info"]["stream_id"], "");
    }

    #[test]
    fn what_the_table_does_not_know_is_kept() {
        let bytes = [0x08, 1, 0xC2, 0x3E, 2, 0xFF, 0x00];
        assert_eq!(decode(&bytes).unwrap(), json!({"num": 1, "#1000": "ff00"}));
    }

    proptest! {
        #[test]
        fn no_bytes_break_the_reader(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = decode(&bytes);
        }
    }
}
