//! LaTeX tables that need the package `booktabs` only.

use super::{footnotes, fraction};
use crate::reports::evaluate::{Cell, EvaluatedTable, Mark, Row};

/// The table as a `tabular` without a float.
pub fn latex(table: &EvaluatedTable) -> String {
    let columns = table.columns.len();
    let mut out = format!(
        "\\begin{{tabular}}{{l{}}}\n\\toprule\n",
        "r".repeat(columns)
    );
    let header = table.columns.iter().map(|column| escaped(&column.label));
    line(
        &mut out,
        std::iter::once(escaped(&table.corner)).chain(header),
    );
    for group in &table.groups {
        out.push_str("\\midrule\n");
        if let Some(title) = &group.title {
            out.push_str(&format!(
                "\\multicolumn{{{}}}{{l}}{{\\textit{{{}}}}} \\\\\n",
                columns + 1,
                escaped(title)
            ));
        }
        for row in &group.rows {
            let cells = row.cells.iter().zip(&table.columns);
            let cells = cells.map(|(own, column)| cell(own, row.reference || column.reference));
            line(&mut out, std::iter::once(label(row)).chain(cells));
        }
    }
    out.push_str("\\bottomrule\n\\end{tabular}\n");
    let notes = footnotes(table).map(|note| format!("{} {}", note.mark, note.text));
    for text in table.caption.iter().cloned().chain(notes) {
        out.push_str(&format!(
            "\n\\smallskip{{\\footnotesize {}\\par}}\n",
            escaped(&text)
        ));
    }
    out
}

fn line(out: &mut String, cells: impl Iterator<Item = String>) {
    let cells: Vec<String> = cells.collect();
    out.push_str(&cells.join(" & "));
    out.push_str(" \\\\\n");
}

fn label(row: &Row) -> String {
    let star = if row.baseline { "*" } else { "" };
    let indent = match row.indent {
        0 => String::new(),
        steps => format!("\\hspace{{{steps}em}}"),
    };
    format!("{indent}{}{star}", escaped(&row.label))
}

fn cell(cell: &Cell, reference: bool) -> String {
    let text = escaped(&cell.text);
    let mut out = match cell.mark {
        Some(Mark::Best) => format!("\\textbf{{{text}}}"),
        Some(Mark::Second) => format!("\\underline{{{text}}}"),
        None => text,
    };
    for mark in &cell.footnotes {
        out.push_str(&format!("\\textsuperscript{{{}}}", escaped(mark)));
    }
    if let Some(fraction) = fraction(cell) {
        out.push_str(&format!("\\,{{\\scriptsize({fraction})}}"));
    }
    if reference && !out.is_empty() {
        format!("\\textit{{{out}}}")
    } else {
        out
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '\\' => out.push_str("\\textbackslash{}"),
            '&' | '%' | '$' | '#' | '_' | '{' | '}' => {
                out.push('\\');
                out.push(symbol);
            }
            '~' => out.push_str("\\textasciitilde{}"),
            '^' => out.push_str("\\textasciicircum{}"),
            '±' => out.push_str("$\\pm$"),
            '→' => out.push_str("$\\rightarrow$"),
            '×' => out.push_str("$\\times$"),
            '–' => out.push_str("--"),
            '†' => out.push_str("$\\dagger$"),
            'Δ' => out.push_str("$\\Delta$"),
            '✓' => out.push_str("\\textsurd{}"),
            '✗' => out.push_str("$\\times$"),
            '\u{2009}' => out.push_str("\\,"),
            '\n' => out.push(' '),
            other => out.push(other),
        }
    }
    out
}
