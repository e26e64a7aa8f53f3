//! The grid of characters in which the original prints its tables
//! (`reports.md` section 7).

use unicode_width::UnicodeWidthStr;

/// A table with borders of `+`, `-` and `|`, without a line break at the end.
/// Cells are left-aligned, keep their blanks, and may have several lines, which
/// begin at the top; colour codes take no place, wide characters two. Heads
/// beyond the widest row are left out where there are rows; heads that are
/// lacking are empty and stand on the left.
pub fn grid(heads: &[String], rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(heads.len());
    let lacking = columns.saturating_sub(heads.len());
    let heads: Vec<&str> = std::iter::repeat_n("", lacking)
        .chain(heads.iter().map(String::as_str))
        .take(columns)
        .collect();
    let mut widths = vec![0; columns];
    let mut widen = |column: usize, cell: &str| {
        let widest = cell.split('\n').map(shown_width).max().unwrap_or(0);
        widths[column] = widest.max(widths[column]);
    };
    for (column, head) in heads.iter().enumerate() {
        widen(column, head);
    }
    for row in rows {
        for (column, cell) in row.iter().enumerate() {
            widen(column, cell);
        }
    }
    let mut rule = String::new();
    for width in &widths {
        rule.push('+');
        rule.extend(std::iter::repeat_n('-', width + 2));
    }
    rule.push('+');
    let mut out = format!("{rule}\n");
    write_row(&heads, &widths, &mut out);
    out.push_str(&rule);
    out.push('\n');
    for row in rows {
        let cells: Vec<&str> = row.iter().map(String::as_str).collect();
        write_row(&cells, &widths, &mut out);
    }
    out.push_str(&rule);
    out
}

fn write_row(cells: &[&str], widths: &[usize], out: &mut String) {
    let lines: Vec<Vec<&str>> = cells
        .iter()
        .map(|cell| cell.split('\n').collect())
        .collect();
    let height = lines.iter().map(Vec::len).max().unwrap_or(1);
    for line in 0..height {
        for (column, width) in widths.iter().enumerate() {
            let text = lines.get(column).and_then(|lines| lines.get(line));
            let text = text.copied().unwrap_or_default();
            out.push_str("| ");
            out.push_str(text);
            let blanks = width - shown_width(text) + 1;
            out.extend(std::iter::repeat_n(' ', blanks));
        }
        out.push_str("|\n");
    }
}

/// Places that a line takes on a terminal: none for colour codes and combining
/// marks, two for wide characters.
pub fn shown_width(text: &str) -> usize {
    let Some(_) = text.find('\u{1b}') else {
        return text.width();
    };
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("\u{1b}[") {
        plain.push_str(&rest[..at]);
        let code = &rest[at + 2..];
        let end = code.find(|c: char| ('\u{40}'..='\u{7e}').contains(&c));
        rest = end.map_or("", |end| &code[end + 1..]);
    }
    plain.push_str(rest);
    plain.width()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(cells: &[&str]) -> Vec<String> {
        cells.iter().map(|&cell| cell.to_owned()).collect()
    }

    #[test]
    fn heads_and_rows_of_unequal_length() {
        let text = grid(
            &texts(&["A", "B", "C"]),
            &[texts(&["1"]), texts(&["2", "日"])],
        );
        let expected = "+---+----+\n| A | B  |\n+---+----+\n| 1 |    |\n| 2 | 日 |\n+---+----+";
        assert_eq!(text, expected);
        let text = grid(&texts(&["A"]), &[texts(&["1", "\u{1b}[91mx\u{1b}[0m"])]);
        let expected = "+---+---+\n|   | A |\n+---+---+\n| 1 | \u{1b}[91mx\u{1b}[0m |\n+---+---+";
        assert_eq!(text, expected);
    }

    #[test]
    fn what_takes_no_place() {
        assert_eq!(shown_width("\u{1b}[38;5;39mab\u{1b}[0m"), 2);
        assert_eq!(shown_width("e\u{301}✓"), 2);
        assert_eq!(shown_width("\u{1b}[38"), 0);
    }
}
