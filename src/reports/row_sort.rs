//! Sorting of printed rows by a column: `[+|-][0]COLUMN` (`reports.md` section
//! 7).

use std::cmp::Ordering;
use std::sync::LazyLock;

use regex::Regex;
use thiserror::Error;

/// Why rows cannot be sorted.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SortError {
    /// No column is named.
    #[error("the sort column `{0}` names no column; write it as [+|-][0]COLUMN, such as -0Top-1")]
    Nothing(String),
    /// The column does not exist.
    #[error("there is no column `{column}` to sort by; columns are {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        column: String,
        /// What there is.
        known: Vec<String>,
    },
}

/// A column to sort by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowSort {
    column: String,
    descending: bool,
    by_number: bool,
}

impl RowSort {
    /// Reads `[+|-][0]COLUMN`; `None` for an empty text.
    ///
    /// # Errors
    /// A sign alone.
    pub fn parse(text: &str) -> Result<Option<Self>, SortError> {
        if text.is_empty() {
            return Ok(None);
        }
        let descending = text.starts_with('-');
        let rest = text.strip_prefix(['+', '-']).unwrap_or(text);
        if rest.is_empty() {
            return Err(SortError::Nothing(text.to_owned()));
        }
        let column = rest.strip_prefix('0');
        Ok(Some(Self {
            column: column.unwrap_or(rest).to_owned(),
            descending,
            by_number: column.is_some(),
        }))
    }

    /// Place of the column among the heads, whatever their case.
    ///
    /// # Errors
    /// There is no such column.
    pub fn find(&self, heads: &[String]) -> Result<usize, SortError> {
        let wanted = self.column.to_lowercase();
        let found = heads.iter().position(|head| head.to_lowercase() == wanted);
        found.ok_or_else(|| SortError::Unknown {
            column: self.column.clone(),
            known: heads.to_vec(),
        })
    }

    /// What the original says when there is no such column; it then sorts by
    /// the first.
    pub fn original_warning(&self) -> String {
        format!(
            "Failed to sort by missing case-insensitive column header: {}",
            self.column.to_lowercase()
        )
    }

    /// Sorts rows by the cells of a column; equal ones stay as they are.
    pub fn sort(&self, rows: &mut [Vec<String>], column: usize) {
        let cell = |row: &Vec<String>| row.get(column).cloned().unwrap_or_default();
        let directed = |ordering: Ordering| match self.descending {
            true => ordering.reverse(),
            false => ordering,
        };
        if self.by_number {
            rows.sort_by(|left, right| {
                match (first_number(&cell(left)), first_number(&cell(right))) {
                    (Some(left), Some(right)) => directed(left.total_cmp(&right)),
                    (left, right) => right.is_some().cmp(&left.is_some()),
                }
            });
        } else {
            rows.sort_by(|left, right| directed(cell(left).cmp(&cell(right))));
        }
    }
}

fn first_number(text: &str) -> Option<f64> {
    static NUMBER: LazyLock<Option<Regex>> =
        LazyLock::new(|| Regex::new(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?").ok());
    let found = NUMBER.as_ref()?.find(text)?;
    found.as_str().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sign_alone_and_unknown_columns_are_errors() {
        assert_eq!(RowSort::parse("").unwrap(), None);
        let error = RowSort::parse("-").unwrap_err().to_string();
        assert!(error.contains("names no column"), "{error}");
        let sort = RowSort::parse("-0nosuch").unwrap().unwrap();
        let heads = ["Model".to_owned(), "Top-1".to_owned()];
        let error = sort.find(&heads).unwrap_err().to_string();
        assert!(error.contains("columns are Model, Top-1"), "{error}");
    }
}
