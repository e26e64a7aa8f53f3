//! Metrics as comma-separated values.

use std::collections::BTreeSet;
use std::io::{self, Write};

use super::super::metrics::Metrics;
use super::super::value::Value;

/// Writes a row per logged row: its number within the stage, its time (µs
/// since 1970), and one column per name; cells without a value are empty.
///
/// # Errors
/// An output error.
pub fn write_csv(metrics: &Metrics, out: &mut impl Write) -> io::Result<()> {
    let names: BTreeSet<&str> = metrics.names();
    write!(out, "row,time_us")?;
    for name in &names {
        write!(out, ",{}", field(name))?;
    }
    writeln!(out)?;
    for row in metrics.rows() {
        write!(out, "{},{}", row.position, row.time_us)?;
        for name in &names {
            let value = row.values.iter().find(|(other, _)| other == name);
            let cell = value.map(|(_, value)| cell(value)).unwrap_or_default();
            write!(out, ",{cell}")?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Text(text) => field(text),
        value => match value.to_json() {
            serde_json::Value::String(text) => text,
            json => field(&json.to_string()),
        },
    }
}

/// A text with quotes where CSV needs them (RFC 4180).
fn field(text: &str) -> String {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_with_different_names_share_a_table() {
        let mut text = Vec::new();
        write_csv(&super::super::tests::metrics(), &mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        let without_time: Vec<_> = text
            .lines()
            .map(|line| {
                let mut parts = line.splitn(3, ',');
                let row = parts.next().unwrap();
                format!("{row} {}", parts.nth(1).unwrap())
            })
            .collect();
        assert_eq!(
            without_time,
            [
                "row good,loss,note,step",
                "0 ,0.5,\"a, \"\"b\"\"\",",
                "1 ,NaN,,20",
                "2 ,,,30",
                "3 true,3,,",
            ]
        );
    }
}
