//! HTML: the bare element, and a page of its own that needs no other file.

use super::{Origin, footnotes, fraction};
use crate::reports::evaluate::{Cell, EvaluatedTable, Mark, Row};

/// How tables look, in pages that are not the notebook.
pub const HTML_STYLE: &str = "\
:root{color-scheme:light dark;--line:#c8ccd2;--good:#18794e;--guide:#8e4ec6;--vocab:#9a6700;\
--bad:#cd2b31}\
@media(prefers-color-scheme:dark){:root{--line:#4a5058;--good:#4cc38a;--guide:#bf7af0;\
--vocab:#e2b341;--bad:#ff6369}}\
body{font:16px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem}\
.scroll{overflow-x:auto}\
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:1rem 0}\
caption{text-align:left;max-width:calc(100vw - 2rem);font-weight:600;padding-bottom:.4rem}\
th,td{padding:.3rem .7rem;text-align:right;white-space:nowrap}\
th:first-child{text-align:left;font-weight:400}\
thead th,thead th:first-child{font-weight:600;border-bottom:1px solid;border-top:2px solid}\
tbody{border-bottom:1px solid var(--line)}tbody:last-of-type{border-bottom:2px solid}\
tbody th[colspan]{font-style:italic}\
.note{font-size:.9rem;opacity:.8}\
[data-color=correct],[data-color=correct_primary],[data-color=green],[data-color=P]{color:var(--good)}\
[data-color=guide]{color:var(--guide)}\
[data-color=vocab],[data-color=orange],[data-color=yellow]{color:var(--vocab)}\
[data-color=other],[data-color=incorrect],[data-color=red],[data-color=I]{color:var(--bad)}\
@media print{body{max-width:none;margin:0}}";

/// Makes headers of tables sort their rows, where scripts run.
pub const SORT_SCRIPT: &str = include_str!("sort.js");

/// How such headers look.
pub const SORT_STYLE: &str = "\
th button{all:unset;cursor:pointer}\
th button:focus-visible{outline:2px solid currentColor;outline-offset:2px}\
th button::after{content:\"\\2195\";opacity:.35;position:absolute;margin-left:.15em;font-size:.75em}\
th[aria-sort=descending] button::after{content:\"\\2193\";opacity:1}\
th[aria-sort=ascending] button::after{content:\"\\2191\";opacity:1}\
@media print{th button::after{content:none}}";

/// The table as an HTML element.
pub fn html(table: &EvaluatedTable) -> String {
    element(table, false)
}

/// The same, where cells have their colours and tell the runs they come from
/// when pointed at.
pub fn html_with_runs(table: &EvaluatedTable) -> String {
    element(table, true)
}

/// A page with tables and the text before them, which is HTML already.
pub fn html_page(title: &str, text: &str, tables: &[EvaluatedTable], origin: &Origin) -> String {
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>{}</title>\n<style>{HTML_STYLE}{SORT_STYLE}</style>\n</head>\n<body>\n",
        escaped(title)
    );
    if !text.is_empty() {
        out.push_str(text);
    }
    for table in tables {
        out.push_str("<div class=\"scroll\">\n");
        out.push_str(&html_with_runs(table));
        out.push_str("</div>\n");
    }
    let partial: Vec<String> = tables
        .iter()
        .flat_map(|table| &table.notes)
        .filter(|note| note.mark.is_empty())
        .map(|note| format!("<li>{}</li>\n", escaped(&note.text)))
        .collect();
    if !partial.is_empty() {
        out.push_str(&format!(
            "<p class=\"note\">Incomplete cells:</p>\n<ul class=\"note\">\n{}</ul>\n",
            partial.concat()
        ));
    }
    out.push_str(&format!(
        "<script>\n{SORT_SCRIPT}</script>\n</body>\n</html>\n<!-- {} -->\n",
        comment(&origin.line())
    ));
    out
}

/// A text inside a comment, which it must not end.
fn comment(text: &str) -> String {
    text.replace("--", "- -").replace('>', "&gt;")
}

fn element(table: &EvaluatedTable, with_runs: bool) -> String {
    let mut out = String::from("<table>\n");
    if let Some(title) = &table.title {
        out.push_str(&format!("<caption>{}</caption>\n", escaped(title)));
    }
    out.push_str("<thead>\n<tr><th>");
    out.push_str(&escaped(&table.corner));
    out.push_str("</th>");
    for column in &table.columns {
        out.push_str(&format!("<th>{}</th>", escaped(&column.label)));
    }
    out.push_str("</tr>\n</thead>\n");
    for group in &table.groups {
        out.push_str("<tbody>\n");
        if let Some(title) = &group.title {
            out.push_str(&format!(
                "<tr><th colspan=\"{}\">{}</th></tr>\n",
                table.columns.len() + 1,
                escaped(title)
            ));
        }
        for row in &group.rows {
            out.push_str(&format!("<tr><th>{}</th>", label(row)));
            for (own, column) in row.cells.iter().zip(&table.columns) {
                let reference = row.reference || column.reference;
                let attributes = if with_runs {
                    attributes(own)
                } else {
                    String::new()
                };
                out.push_str(&format!("<td{attributes}>{}</td>", cell(own, reference)));
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody>\n");
    }
    out.push_str("</table>\n");
    if let Some(caption) = &table.caption {
        out.push_str(&format!("<p class=\"note\">{}</p>\n", escaped(caption)));
    }
    for note in footnotes(table) {
        out.push_str(&format!(
            "<p class=\"note\">{} {}</p>\n",
            escaped(&note.mark),
            escaped(&note.text)
        ));
    }
    out
}

/// Runs that are named when a cell is pointed at; of more, their number.
const RUNS: usize = 12;

fn attributes(cell: &Cell) -> String {
    let mut out = String::new();
    if !cell.records.is_empty() {
        let more = cell.records.len().saturating_sub(RUNS);
        let mut title = cell.records[..cell.records.len() - more].join(", ");
        if more > 0 {
            title.push_str(&format!(" and {more} more"));
        }
        out.push_str(&format!(" title=\"{}\"", escaped(&title)));
    }
    if let Some(color) = &cell.color {
        out.push_str(&format!(" data-color=\"{}\"", escaped(color)));
    }
    out
}

fn label(row: &Row) -> String {
    let star = if row.baseline { "*" } else { "" };
    let indent = "&nbsp;&nbsp;".repeat(row.indent);
    format!("{indent}{}{star}", escaped(&row.label))
}

fn cell(cell: &Cell, reference: bool) -> String {
    let text = escaped(&cell.text);
    let mut out = match cell.mark {
        Some(Mark::Best) => format!("<b>{text}</b>"),
        Some(Mark::Second) => format!("<u>{text}</u>"),
        None => text,
    };
    for mark in &cell.footnotes {
        out.push_str(&format!("<sup>{}</sup>", escaped(mark)));
    }
    if let Some(fraction) = fraction(cell) {
        out.push_str(&format!(" <sup>{fraction}</sup>"));
    }
    if reference && !out.is_empty() {
        format!("<i>{out}</i>")
    } else {
        out
    }
}

pub(super) fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' => out.push_str("<br>"),
            other => out.push(other),
        }
    }
    out
}
