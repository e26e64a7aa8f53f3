//! JSON as Python's `json.dumps(…, indent=2, sort_keys=True)` writes it: the
//! text of configuration objects enters cache hashes.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Value;
use serde_json::ser::{Formatter, PrettyFormatter, Serializer};

/// The text without a final line break.
pub fn sorted_and_indented(value: &Value) -> String {
    let mut sorted = value.clone();
    sorted.sort_all_objects();
    let mut out = Vec::new();
    let mut serializer = Serializer::with_formatter(&mut out, Python(PrettyFormatter::new()));
    match sorted.serialize(&mut serializer) {
        Ok(()) => String::from_utf8(out).unwrap_or_default(),
        // Writing to memory and values of JSON itself do not fail.
        Err(_) => String::new(),
    }
}

struct Python<'a>(PrettyFormatter<'a>);

impl Formatter for Python<'_> {
    fn write_f64<W: ?Sized + Write>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        writer.write_all(float(value).as_bytes())
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        let mut units = [0; 2];
        for c in fragment.chars() {
            if c.is_ascii() {
                writer.write_all(&[c as u8])?;
            } else {
                for unit in c.encode_utf16(&mut units) {
                    write!(writer, "\\u{unit:04x}")?;
                }
            }
        }
        Ok(())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_array(writer)
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array(writer)
    }

    fn begin_array_value<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_array_value(writer, first)
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_array_value(writer)
    }

    fn begin_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object(writer)
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object(writer)
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.0.begin_object_key(writer, first)
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.begin_object_value(writer)
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.0.end_object_value(writer)
    }
}

/// A float as Python's `repr` writes it: exponents below -4 and from 16.
fn float(value: f64) -> String {
    let plain = format!("{value:?}");
    let scientific = format!("{value:e}");
    let Some((digits, exponent)) = scientific.split_once('e') else {
        return plain;
    };
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if value == 0.0 || (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        return if plain.contains('.') {
            plain
        } else {
            format!("{plain}.0")
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn floats_are_written_as_in_python() {
        for (value, text) in [
            (0.0, "0.0"),
            (1.0, "1.0"),
            (2.6592, "2.6592"),
            (1e-5, "1e-05"),
            (0.0001, "0.0001"),
            (1.5e-12, "1.5e-12"),
            (1e16, "1e+16"),
            (123456789012345.0, "123456789012345.0"),
        ] {
            assert_eq!(float(value), text);
        }
    }

    #[test]
    fn keys_are_sorted_and_text_is_ascii() {
        let value = json!({"b": [1, 2], "a": {"é": "ö\n"}, "c": []});
        assert_eq!(
            sorted_and_indented(&value),
            "{\n  \"a\": {\n    \"\\u00e9\": \"\\u00f6\\n\"\n  },\n  \"b\": [\n    1,\n    2\n  ],\n  \"c\": []\n}"
        );
    }
}
