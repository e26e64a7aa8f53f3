//! Text form of prediction and annotation files (`eval-infer.md` section
//! 8.1): objects indented by two blanks, every list with all that is in it on
//! one line, ASCII only, no line break at the end.

use serde_json::Value;

use crate::cache::json_scalar::{write_number, write_string};

/// Text of a value.
pub fn json_text(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, Some(0), &mut out);
    out
}

/// Text of a value on one line, in the same style.
pub fn json_line(value: &Value) -> String {
    let mut out = String::new();
    write_value(value, None, &mut out);
    out
}

/// `depth` is the nesting of indented objects, `None` inside a list.
fn write_value(value: &Value, depth: Option<usize>, out: &mut String) {
    match value {
        Value::Null => out.push_str("null"),
        Value::Bool(value) => out.push_str(if *value { "true" } else { "false" }),
        Value::Number(number) => write_number(number, out),
        Value::String(text) => write_string(text, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push_str(", ");
                }
                write_value(item, None, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let inner = depth.map(|depth| depth + 1);
            out.push('{');
            for (index, (key, value)) in map.iter().enumerate() {
                match inner {
                    Some(inner) => {
                        out.push_str(if index > 0 { ",\n" } else { "\n" });
                        indent(inner, out);
                    }
                    None if index > 0 => out.push_str(", "),
                    None => {}
                }
                write_string(key, out);
                out.push_str(": ");
                write_value(value, inner, out);
            }
            if let (Some(depth), false) = (depth, map.is_empty()) {
                out.push('\n');
                indent(depth, out);
            }
            out.push('}');
        }
    }
}

fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}
