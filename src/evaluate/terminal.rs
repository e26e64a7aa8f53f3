//! Tables and numbers as the original prints them (`eval-infer.md` sections 1,
//! 7 and 8).

use super::grid::grid;
use super::statistics::PredictionType;

/// Colours of the terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Colour {
    /// Best of a column, correct predictions.
    Green,
    /// Worst of a column, predictions that are no noun.
    Red,
    /// Nouns of the vocabulary.
    Yellow,
    /// Guide nouns and names of models.
    Magenta,
    /// Names of rows.
    Cyan,
}

impl Colour {
    /// The text in this colour.
    pub fn paint(self, text: &str) -> String {
        let code = match self {
            Self::Green => 92,
            Self::Red => 91,
            Self::Yellow => 33,
            Self::Magenta => 35,
            Self::Cyan => 36,
        };
        format!("\u{1b}[{code}m{text}\u{1b}[0m")
    }

    /// Colour of predictions of a type.
    pub fn of(kind: PredictionType) -> Self {
        match kind {
            PredictionType::Correct => Self::Green,
            PredictionType::Guide => Self::Magenta,
            PredictionType::Vocabulary => Self::Yellow,
            PredictionType::Other => Self::Red,
        }
    }
}

/// A number with `digits` significant digits as C's `%.*g` writes it: trailing
/// zeros removed, exponent form below 1e-4 and from `10^digits` on.
pub fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return if value.is_nan() {
            "nan".to_owned()
        } else if value > 0.0 {
            "inf".to_owned()
        } else {
            "-inf".to_owned()
        };
    }
    let digits = digits.max(1);
    let rounded = format!("{:.*e}", digits - 1, value);
    let (mantissa, exponent) = rounded.split_once('e').unwrap_or((&rounded, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let trimmed = |text: &str| {
        if text.contains('.') {
            text.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            text.to_owned()
        }
    };
    if exponent < -4 || exponent >= digits as i32 {
        let sign = if exponent < 0 { '-' } else { '+' };
        format!("{}e{sign}{:02}", trimmed(mantissa), exponent.abs())
    } else {
        let decimals = (digits as i32 - 1 - exponent).max(0) as usize;
        trimmed(&format!("{value:.decimals$}"))
    }
}

/// A share as a percentage of seven characters: three decimals, two if it
/// would be longer.
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    let mut text = format!("{value:.3}");
    if text.len() > 6 {
        text = format!("{value:.2}");
    }
    format!("{text:>6}%")
}

/// A table of texts that may have colours and several lines. Cells are left
/// aligned; lines of a head stand at the bottom.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TextTable {
    heads: Vec<String>,
    rows: Vec<Vec<String>>,
}

impl TextTable {
    /// A table with these heads.
    pub fn new<S: Into<String>>(heads: impl IntoIterator<Item = S>) -> Self {
        Self {
            heads: heads.into_iter().map(Into::into).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row; missing cells are empty.
    pub fn row<S: Into<String>>(&mut self, cells: impl IntoIterator<Item = S>) {
        self.rows.push(cells.into_iter().map(Into::into).collect());
    }

    /// The table as text, with a line break at the end.
    pub fn render(&self) -> String {
        let height = |head: &String| head.lines().count();
        let tallest = self.heads.iter().map(height).max().unwrap_or(1);
        let heads: Vec<String> = self
            .heads
            .iter()
            .map(|head| "\n".repeat(tallest.max(1) - height(head).max(1)) + head)
            .collect();
        let mut rows = self.rows.clone();
        for row in &mut rows {
            row.resize(heads.len(), String::new());
        }
        grid(&heads, &rows) + "\n"
    }
}

/// The table of single predictions of `eval_debug` and `infer_debug`: leading
/// cells, then predictions of one text, score and type each.
#[derive(Clone, Debug)]
pub struct PredictionTable {
    table: TextTable,
}

impl PredictionTable {
    /// Leading heads, `topk` columns of predictions, trailing heads.
    pub fn new(leading: &[&str], topk: usize, trailing: &[&str]) -> Self {
        let predictions = (1..=topk).map(|rank| format!("Prediction {rank}"));
        let heads = leading.iter().map(|&head| head.to_owned());
        let trailing = trailing.iter().map(|&head| head.to_owned());
        Self {
            table: TextTable::new(heads.chain(predictions).chain(trailing)),
        }
    }

    /// Adds a row of `topk` places for predictions.
    pub fn row<'a>(
        &mut self,
        leading: impl IntoIterator<Item = String>,
        topk: usize,
        predictions: impl IntoIterator<Item = (&'a str, f64, PredictionType)>,
        trailing: impl IntoIterator<Item = String>,
    ) {
        const LONGEST: usize = 22;
        let mut cells: Vec<String> = predictions
            .into_iter()
            .take(topk)
            .map(|(text, score, kind)| {
                let text: String = text.chars().take(LONGEST).collect();
                format!(
                    "{} = {}",
                    Colour::of(kind).paint(&text),
                    significant(score, 3)
                )
            })
            .collect();
        cells.resize(topk, String::new());
        self.table
            .row(leading.into_iter().chain(cells).chain(trailing));
    }

    /// The table as text.
    pub fn render(&self) -> String {
        self.table.render()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_significant_digits() {
        for (value, expected) in [
            (98.04, "98"),
            (99.16, "99.2"),
            (0.032_80, "0.0328"),
            (4.58e-5, "4.58e-05"),
            (5.284e-9, "5.28e-09"),
            (1234.0, "1.23e+03"),
            (999.6, "1e+03"),
            (100.0, "100"),
            (-0.000_1, "-0.0001"),
            (0.0, "0"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(significant(value, 3), expected);
        }
    }

    #[test]
    fn percentages_have_one_width() {
        assert_eq!(percent(0.875), "87.500%");
        assert_eq!(percent(1.0), "100.00%");
        assert_eq!(percent(0.0), " 0.000%");
    }

    #[test]
    fn colours_take_no_place() {
        let mut table = TextTable::new(["a", "two\nlines"]);
        table.row([Colour::Red.paint("x"), "y".to_owned()]);
        table.row(["long"]);
        let text = table
            .render()
            .replace("\u{1b}[91m", "")
            .replace("\u{1b}[0m", "");
        let expected = "+------+-------+\n|      | two   |\n| a    | lines |\n+------+-------+\n| x    | y     |\n| long |       |\n+------+-------+\n";
        assert_eq!(text, expected);
    }
}
