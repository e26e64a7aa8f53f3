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

use Kind::{Bytes, Message, Number, Text};

/// A message: lines of `Kind: number name, …;`, by growing numbers. A kind is
/// `Number`, `Text`, `Bytes`, another message, or a message in braces; in
/// brackets it is repeated.
macro_rules! message {
    ($($kind:tt: $($number:literal $name:literal),+;)*) => {
        &[$($( message!(@field $kind $number $name) ),+),*]
    };
    (@field [$kind:tt] $number:literal $name:literal) => {
        Field { number: $number, name: $name, kind: message!(@kind $kind), repeated: true }
    };
    (@field $kind:tt $number:literal $name:literal) => {
        Field { number: $number, name: $name, kind: message!(@kind $kind), repeated: false }
    };
    (@kind { $($inside:tt)* }) => { Message(message!($($inside)*)) };
    (@kind $kind:ident) => { $kind };
}

const TIME: Kind = Message(message! { Number: 1 "seconds", 2 "nanos"; });

const ITEM: Kind = Message(message! {
    Text: 1 "key";
    [Text]: 2 "nested_key";
    Text: 16 "value_json";
});

const UPDATE: Kind = Message(message! { [ITEM]: 1 "update", 2 "remove"; });

const TELEMETRY: Kind = Message(message! {
    Bytes: 3 "feature(bytes)";
    Text: 4 "python_version", 5 "cli_version", 12 "core_version", 13 "platform";
});

const HISTORY: Kind = Message(message! {
    [ITEM]: 1 "item";
    { Number: 1 "num"; }: 2 "step";
});

const STATS: Kind = Message(message! {
    Number: 1 "stats_type";
    TIME: 2 "timestamp";
    [ITEM]: 3 "item";
});

const METRIC: Kind = Message(message! {
    Text: 1 "name", 2 "glob_name", 4 "step_metric";
    Number: 5 "step_metric_index";
    { Number: 1 "step_sync", 2 "hidden", 3 "defined"; }: 6 "options";
    { Number: 1 "min", 2 "max", 3 "mean", 4 "best", 5 "last", 6 "none", 7 "copy", 8 "first"; }:
        7 "summary";
    Number: 8 "goal";
});

const RUN: Kind = Message(message! {
    Text: 1 "run_id", 2 "entity", 3 "project";
    UPDATE: 4 "config", 5 "summary";
    Text: 6 "run_group", 7 "job_type", 8 "display_name", 9 "notes";
    [Text]: 10 "tags";
    Text: 12 "sweep_id", 13 "host";
    Number: 14 "starting_step";
    Text: 16 "storage_id";
    TIME: 17 "start_time";
    Number: 18 "resumed";
    TELEMETRY: 19 "telemetry";
    Number: 20 "runtime";
    { Text: 1 "remote_url", 2 "commit"; }: 21 "git";
    Number: 24 "resume";
});

const ENVIRONMENT: Kind = Message(message! {
    Text: 1 "os", 2 "python";
    TIME: 3 "started_at";
    [Text]: 5 "args";
    Text: 6 "program", 7 "code_path", 10 "email", 11 "root", 12 "host", 13 "username",
        14 "executable";
    Number: 16 "cpu_count", 17 "cpu_count_logical";
    Text: 18 "gpu_type";
    Number: 19 "gpu_count";
    [Bytes]: 20 "disk(bytes)";
    { Number: 1 "total"; }: 21 "memory";
    Bytes: 22 "cpu(bytes)";
    Text: 199 "writer_id";
});

/// The fields of a record.
const RECORD: &[Field] = message! {
    Number: 1 "num";
    HISTORY: 2 "history";
    UPDATE: 3 "summary", 5 "config";
    { [{ Text: 1 "path"; Number: 2 "policy", 3 "type"; }]: 1 "files"; }: 6 "files";
    STATS: 7 "stats";
    { Text: 1 "title", 2 "text", 3 "level"; Number: 4 "wait_duration"; }: 10 "alert";
    TELEMETRY: 11 "telemetry";
    METRIC: 12 "metric";
    { Number: 1 "output_type"; TIME: 2 "timestamp"; Text: 3 "line"; }: 13 "output_raw";
    { Text: 4 "mailbox_slot"; }: 16 "control";
    RUN: 17 "run";
    { Number: 1 "exit_code", 2 "runtime", 3 "not_complete"; }: 18 "exit";
    { { Text: 1 "producer", 2 "min_consumer"; }: 1 "version_info"; }: 21 "header";
    {}: 22 "footer", 23 "preempting";
    ENVIRONMENT: 26 "environment";
    { Text: 1 "stream_id"; }: 200 "_info";
};

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
    fn fields_are_written_by_their_numbers() {
        fn check(fields: &[Field]) {
            assert!(fields.is_sorted_by_key(|field| field.number), "{fields:?}");
            for field in fields {
                if let Message(inside) = field.kind {
                    check(inside);
                }
            }
        }
        check(RECORD);
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
