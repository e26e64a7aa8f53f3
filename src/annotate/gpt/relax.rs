//! Marks that do not change what an answer says: emphasis, quotes, fences,
//! tables.

use std::sync::LazyLock;

use regex::Regex;

static TABLE_ROW: LazyLock<Option<Regex>> = LazyLock::new(|| {
    Regex::new(r"^\|\s*([1-9][0-9]*)[.):]?\s*\|\s*(.*?)\s*\|\s*([^|]*?)\s*\|?$").ok()
});
static NUMBERED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"^[*_]*([1-9][0-9]*)[*_]*([.):])[*_]*\s*(.*)$").ok());
static END: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new(r"[*_]*((?i-u:in)?(?i-u:correct))[*_.!]*$").ok());
static QUOTED: LazyLock<Option<Regex>> =
    LazyLock::new(|| Regex::new("^([*_]*)[\"“”]([^\"“”]+)[\"“”]([*_]*\\W)").ok());

/// The text with plain numbered lines.
pub(super) fn relaxed(text: &str) -> String {
    let lines = text
        .split('\n')
        .filter(|line| !line.trim_start().starts_with("```"));
    lines.map(line).collect::<Vec<_>>().join("\n")
}

fn line(line: &str) -> String {
    let trimmed = line.trim();
    if let Some(row) = TABLE_ROW.as_ref().and_then(|row| row.captures(trimmed)) {
        return format!("{}) {} - {}", &row[1], unquoted(&row[2]), end(&row[3]));
    }
    let Some(found) = NUMBERED
        .as_ref()
        .and_then(|numbered| numbered.captures(trimmed))
    else {
        return line.to_owned();
    };
    let mark = match &found[2] {
        ":" => ")",
        mark => mark,
    };
    format!("{}{mark} {}", &found[1], end(&unquoted(&found[3])))
}

/// A verdict without what stands around it.
fn end(content: &str) -> String {
    match END.as_ref() {
        Some(end) => end.replace(content.trim_end(), "$1").into_owned(),
        None => content.to_owned(),
    }
}

/// A noun in double quotes without them.
fn unquoted(content: &str) -> String {
    // A quote at the very end has nothing behind it.
    let padded = format!("{content} ");
    match QUOTED.as_ref() {
        Some(quoted) => quoted.replace(&padded, "$1$2$3").trim_end().to_owned(),
        None => content.to_owned(),
    }
}
