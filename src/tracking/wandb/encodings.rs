//! How values look on the way to the service: configuration, summary, tables,
//! pictures, console lines.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Map, Value, json};
use sha2::{Digest, Sha256};

/// Longest console line, in characters.
const CONSOLE_LINE: usize = 4096;

/// The internal key of a configuration.
const INTERNAL: &str = "_wandb";

/// A configuration in the form of the service, over what the service has, with
/// the definitions of metrics if there are any.
pub fn config(
    values: &Map<String, Value>,
    existing: &Map<String, Value>,
    metrics: Vec<Value>,
) -> Map<String, Value> {
    let mut config = existing.clone();
    for (key, value) in values {
        config.insert(key.clone(), json!({ "value": value }));
    }
    let internal = config
        .entry(INTERNAL)
        .or_insert_with(|| json!({ "value": {} }));
    if !metrics.is_empty() {
        internal["value"]["m"] = Value::from(metrics);
    }
    config
}

/// The values of a configuration in the form of the service.
pub fn config_values(config: &Map<String, Value>) -> Map<String, Value> {
    let internal = |key: &str| key == INTERNAL || key == "wandb_version";
    config
        .iter()
        .filter(|(key, _)| !internal(key))
        .map(|(key, entry)| (key.clone(), entry.get("value").unwrap_or(entry).clone()))
        .collect()
}

/// Takes values into a summary: of objects key by key, unless they are media.
pub fn merge(summary: &mut Map<String, Value>, key: &str, value: &Value) {
    match (summary.get_mut(key), value) {
        (Some(Value::Object(old)), Value::Object(new))
            if !old.contains_key("_type") && !new.contains_key("_type") =>
        {
            for (key, value) in new {
                merge(old, key, value);
            }
        }
        _ => {
            summary.insert(key.to_owned(), value.clone());
        }
    }
}

/// A file that a row refers to.
#[derive(Clone, Debug, PartialEq)]
pub struct Media {
    /// Name, with `/`.
    pub path: String,
    /// Content.
    pub content: Vec<u8>,
    /// What stands in the row.
    pub value: Value,
}

/// The file of a value that is a table (`columns` and `data`) or a picture
/// (`_type` `image`, `png` in base 64, `width`, `height`, `caption`); none of
/// all other values.
pub fn media(key: &str, step: i64, value: &Value) -> Option<Media> {
    let object = value.as_object()?;
    if object.len() == 2
        && let (Some(Value::Array(columns)), Some(Value::Array(data))) =
            (object.get("columns"), object.get("data"))
    {
        return Some(table(key, step, value, (columns.len(), data.len())));
    }
    if object.get("_type")?.as_str()? == "image" {
        let content = STANDARD.decode(object.get("png")?.as_str()?).ok()?;
        return Some(image(key, step, content, object));
    }
    None
}

fn table(key: &str, step: i64, value: &Value, (ncols, nrows): (usize, usize)) -> Media {
    let content = value.to_string().into_bytes();
    let (path, sha256) = media_path("table", key, step, &content, "table.json");
    Media {
        value: json!({
            "_type": "table-file",
            "path": path,
            "sha256": sha256,
            "size": content.len(),
            "ncols": ncols,
            "nrows": nrows,
            "log_mode": "IMMUTABLE",
        }),
        path,
        content,
    }
}

fn image(key: &str, step: i64, content: Vec<u8>, about: &Map<String, Value>) -> Media {
    let (path, sha256) = media_path("images", key, step, &content, "png");
    let mut value = json!({
        "_type": "image-file",
        "path": path,
        "sha256": sha256,
        "size": content.len(),
        "format": "png",
    });
    for name in ["width", "height", "caption"] {
        if let Some(about) = about.get(name) {
            value[name] = about.clone();
        }
    }
    Media {
        path,
        content,
        value,
    }
}

/// `media/<kind>/<key>_<step>_<hash>.<end>`, and the whole hash.
fn media_path(kind: &str, key: &str, step: i64, content: &[u8], end: &str) -> (String, String) {
    let hash = Sha256::digest(content);
    let hash: String = hash.iter().map(|byte| format!("{byte:02x}")).collect();
    let key: Vec<&str> = key
        .split('/')
        .filter(|part| !matches!(*part, "" | "." | ".."))
        .collect();
    let path = format!(
        "media/{kind}/{}_{step}_{}.{end}",
        key.join("/"),
        &hash[..20]
    );
    (path, hash)
}

/// The lines of a printed text as they stay on a screen: of each, what follows
/// its last carriage return.
pub fn console_lines(text: &str) -> impl Iterator<Item = &str> {
    text.split('\n').map(|line| {
        let line = line.trim_end_matches('\r');
        line.rsplit('\r').next().unwrap_or(line)
    })
}

/// A console line as the service takes it; time in µs since 1970.
pub fn console_line(time_us: u64, is_error: bool, text: &str) -> String {
    let time = jiff::Timestamp::from_microsecond(time_us as i64).unwrap_or_default();
    let time = time.strftime("%Y-%m-%dT%H:%M:%S%.6f");
    let error = if is_error { "ERROR " } else { "" };
    format!("{error}{time} {}", cut(text))
}

/// The beginning of a console line that the service takes.
pub fn cut(text: &str) -> &str {
    match text.char_indices().nth(CONSOLE_LINE) {
        Some((end, _)) => &text[..end],
        None => text,
    }
}

/// A text without the codes that colour it and move the cursor.
pub fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\u{1b}') {
        plain.push_str(&rest[..at]);
        rest = &rest[at + 1..];
        if let Some(code) = rest.strip_prefix('[') {
            let end = code.find(|c: char| ('@'..='~').contains(&c));
            rest = end.map_or("", |end| &code[end + 1..]);
        }
    }
    plain.push_str(rest);
    plain
}

/// `config.yaml`: every key with its value; the values are JSON, which YAML
/// contains.
pub fn config_yaml(config: &Map<String, Value>) -> String {
    config
        .iter()
        .map(|(key, entry)| {
            let value = entry.get("value").unwrap_or(entry);
            format!("{}:\n    value: {value}\n", yaml_key(key))
        })
        .collect()
}

fn yaml_key(key: &str) -> String {
    let simple = key.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && key
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b"_-./".contains(&b))
        && !matches!(
            key.to_lowercase().as_str(),
            "true" | "false" | "null" | "yes" | "no" | "on" | "off" | "y" | "n"
        );
    if simple {
        key.to_owned()
    } else {
        Value::from(key).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn configurations_are_laid_over_each_other() {
        let old =
            map(json!({"lr": {"value": 1}, "_wandb": {"value": {"m": []}}, "a": {"value": 2}}));
        let new = config(&map(json!({"lr": 3, "none": null})), &old, Vec::new());
        assert_eq!(
            Value::from(new.clone()),
            json!({"lr": {"value": 3}, "_wandb": {"value": {"m": []}}, "a": {"value": 2}, "none": {"value": null}})
        );
        assert_eq!(
            Value::from(config_values(&new)),
            json!({"lr": 3, "a": 2, "none": null})
        );
        let defined = config(&Map::new(), &old, vec![json!({"1": "loss"})]);
        assert_eq!(defined["_wandb"], json!({"value": {"m": [{"1": "loss"}]}}));
        assert_eq!(
            config_yaml(&map(
                json!({"a.b": {"value": [1, "x"]}, "no": {"value": null}})
            )),
            "a.b:\n    value: [1,\"x\"]\n\"no\":\n    value: null\n"
        );
    }

    #[test]
    fn summaries_are_merged_but_media_are_whole() {
        let mut summary = map(json!({"a": {"b": 1, "c": 2}, "t": {"_type": "x", "old": 1}}));
        merge(&mut summary, "a", &json!({"c": 3, "d": {"e": 4}}));
        merge(&mut summary, "t", &json!({"_type": "x", "new": 1}));
        merge(&mut summary, "z", &json!(null));
        assert_eq!(
            Value::from(summary),
            json!({"a": {"b": 1, "c": 3, "d": {"e": 4}}, "t": {"_type": "x", "new": 1}, "z": null})
        );
    }

    #[test]
    fn tables_and_pictures_become_files() {
        let table = json!({"columns": ["a", "b"], "data": [[1, null]]});
        let media_of = |value: &Value| media("tab/../x", 3, value);
        let found = media_of(&table).unwrap();
        assert_eq!(found.content, table.to_string().into_bytes());
        assert!(
            found.path.starts_with("media/table/tab/x_3_"),
            "{}",
            found.path
        );
        assert!(found.path.ends_with(".table.json"));
        assert_eq!(
            (&found.value["ncols"], &found.value["nrows"]),
            (&json!(2), &json!(1))
        );
        let image = json!({"_type": "image", "png": "AAEC", "width": 4, "caption": "red"});
        let found = media_of(&image).unwrap();
        assert_eq!(found.content, [0, 1, 2]);
        assert_eq!(found.value["caption"], "red");
        let histogram = json!({"_type": "histogram", "bins": [0, 1], "values": [2]});
        assert_eq!(media_of(&histogram), None);
        assert_eq!(media_of(&json!(1)), None);
    }

    #[test]
    fn console_lines_are_what_stays_on_the_screen() {
        let lines: Vec<&str> = console_lines("1 %\r2 %\r\nnext\n\nend\r\r").collect();
        assert_eq!(lines, ["2 %", "next", "", "end"]);
        assert_eq!(
            console_line(1_795_473_421_940_863, true, "\u{1b}[31mred"),
            "ERROR 2026-11-23T22:37:01.940863 \u{1b}[31mred"
        );
        assert_eq!(plain("\u{1b}[1;31mred\u{1b}[0m, \u{1b}plain"), "red, plain");
        let long = "ü".repeat(5000);
        assert_eq!(cut(&long).chars().count(), 4096);
    }
}
