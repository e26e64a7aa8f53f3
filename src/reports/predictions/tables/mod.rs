//! The four tables of the original's action `format_preds` (`reports.md`
//! section 4).

mod gencfg_model;
mod model_max;
mod model_topk;
mod nouns;
mod scored;

use std::path::Path;
use std::str::FromStr;

use super::annotations::Annotations;
use super::compare::{CompareStyle, compare};
use super::error::{PredictionsError, Result};
use super::file::ModelPredictions;
use super::score::{Ambiguous, Findings, Rounding, tell_unknown_categories};
use super::select::{Places, read_files, select_files};
use crate::config::schema::{Config, PredsTable};
use crate::reports::printed::Printed;
use crate::reports::row_sort::RowSort;
use scored::{Scored, score_all};

/// How tables look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TableStyle {
    /// With what the original does not tell: unannotated predictions, the
    /// winning configuration; exact ties; mistakes are errors.
    #[default]
    Full,
    /// Letter by letter as the original prints them, wherever it does.
    Compat,
}

impl FromStr for TableStyle {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "full" => Ok(Self::Full),
            "compat" => Ok(Self::Compat),
            other => Err(format!("`{other}` is none of full, compat")),
        }
    }
}

impl TableStyle {
    /// How sums of points become digits.
    pub fn rounding(self) -> Rounding {
        match self {
            Self::Full => Rounding::Exact,
            Self::Compat => Rounding::Original,
        }
    }
}

/// What is to be shown.
#[derive(Clone, Debug)]
pub struct PredsRequest {
    /// Which table.
    pub table: PredsTable,
    /// Predictions considered.
    pub topk: usize,
    /// Whether rows are called as the model, not as the file.
    pub model_spec: bool,
    /// Sort column, `[+-][0]column`; may be empty.
    pub sort: String,
    /// Files and directories.
    pub load: Vec<String>,
    /// Annotation file; empty for none.
    pub annotations: String,
    /// What paths are relative to.
    pub places: Places,
    /// How it looks.
    pub style: TableStyle,
    /// What counts for nouns in several categories.
    pub ambiguous: Ambiguous,
    /// Compare paths and what follows from other keys, too.
    pub all_keys: bool,
    /// Name the nouns that each sample lacks.
    pub each_missing: bool,
    /// Show bounds, the score over annotated predictions, and the bootstrap
    /// interval of the top-1 score.
    pub bounds: bool,
}

impl PredsRequest {
    /// What a configuration asks for, as the original would show it.
    pub fn of(config: &Config, working_dir: &Path) -> Self {
        let (table, predictions) = (&config.tables.preds, &config.predictions);
        Self {
            table: table.r#type,
            topk: table.topk,
            model_spec: table.model_spec,
            sort: table.sort.clone(),
            load: predictions.load.clone(),
            annotations: predictions.annotations.clone(),
            places: Places {
                source: working_dir.to_owned(),
                image_dir: predictions.image_dir.clone(),
            },
            style: TableStyle::Compat,
            ambiguous: Ambiguous::First,
            all_keys: true,
            each_missing: true,
            bounds: false,
        }
    }
}

/// What was found out.
#[derive(Clone, Debug, Default)]
pub struct PredsReport {
    /// What the annotations lack.
    pub findings: Findings,
    /// The annotations.
    pub annotations: Annotations,
    /// The files.
    pub files: Vec<ModelPredictions>,
}

/// Loads, compares, scores and shows prediction files. `out` has what was said
/// before an error, too.
///
/// # Errors
/// Files that cannot be read, or nothing to show.
pub fn format_preds(request: &PredsRequest, out: &mut Printed) -> Result<PredsReport> {
    if request.topk == 0 {
        return Err(PredictionsError::TopkZero);
    }
    let sort = RowSort::parse(&request.sort)?;
    let selected = select_files(&request.load, &request.places)?;
    let files = read_files(&selected, out)?;
    out.info(format!("Loaded {} predictions JSONs", files.len()));
    if files.is_empty() && request.style == TableStyle::Full {
        return Err(PredictionsError::Nothing {
            what: "no prediction file was found; name some, or directories of them".to_owned(),
        });
    }
    let image_dir = request.places.image_dir();
    let path = request.places.annotations(&request.annotations);
    let annotations = load_annotations(&image_dir, path.as_deref(), out)?;
    let compared = CompareStyle {
        original: request.style == TableStyle::Compat,
        all_keys: request.all_keys || request.style == TableStyle::Compat,
    };
    compare(&files, compared, out);
    let mut report = PredsReport::default();
    let table = Table {
        request,
        sort: sort.as_ref(),
        files: &files,
        annotations: &annotations,
    };
    if request.table == PredsTable::NounsV1 {
        nouns::show(&table, out)?;
    } else {
        tell_unknown_categories(&annotations, out);
        let topk = match request.table {
            PredsTable::ModelMaxV1 => 1,
            _ => request.topk,
        };
        let (scored, findings) = score_all(&files, &annotations, request.ambiguous, topk)?;
        if request.ambiguous == Ambiguous::Error && !findings.conflicts().is_empty() {
            return Err(PredictionsError::Ambiguous(findings.conflicts()));
        }
        findings.tell(&annotations, request.each_missing, out);
        report.findings = findings;
        match request.table {
            PredsTable::ModelMaxV1 => model_max::show(&table, &scored, out)?,
            PredsTable::GencfgModelV1 => gencfg_model::show(&table, &scored, out)?,
            _ => model_topk::show(&table, &scored, out)?,
        }
    }
    report.annotations = annotations;
    report.files = files;
    Ok(report)
}

/// Reads annotations, or none, and says so.
///
/// # Errors
/// The file cannot be read.
pub fn load_annotations(
    image_dir: &Path,
    path: Option<&Path>,
    out: &mut Printed,
) -> Result<Annotations> {
    out.info(format!(
        "Loading sample annotations for: {}",
        image_dir.display()
    ));
    let Some(path) = path else {
        return Ok(Annotations::default());
    };
    let annotations = Annotations::read(path)?;
    out.info(format!(
        "Loaded {} class annotations in {} categories for {} infer images from: {}",
        annotations.nouns(),
        annotations.categories().len(),
        annotations.samples(),
        path.display()
    ));
    for (sample, noun) in annotations.unusual() {
        out.warn(format!(
            "Annotation {noun:?} of sample {sample} has superfluous blanks; it is compared without them"
        ));
    }
    Ok(annotations)
}

/// What a table is made of.
struct Table<'a> {
    request: &'a PredsRequest,
    sort: Option<&'a RowSort>,
    files: &'a [ModelPredictions],
    annotations: &'a Annotations,
}

impl Table<'_> {
    fn is_full(&self) -> bool {
        self.request.style == TableStyle::Full
    }

    fn rounding(&self) -> Rounding {
        self.request.style.rounding()
    }

    /// Name of the column of models.
    fn model_head(&self) -> String {
        if self.request.model_spec {
            "Model"
        } else {
            "JSON"
        }
        .to_owned()
    }

    /// Name of a model.
    fn model(&self, file: usize) -> String {
        let file = &self.files[file];
        if self.request.model_spec {
            file.model.clone()
        } else {
            file.file_name()
        }
    }

    /// Heads of the columns that tell how far the annotations go.
    fn extra_heads(&self) -> Vec<String> {
        let mut heads = Vec::new();
        if self.is_full() {
            heads.push("Unannotated".to_owned());
            if self.request.bounds {
                heads.extend(["Annotated%", "Bounds", "95% Interval"].map(str::to_owned));
            }
        }
        heads
    }

    /// Their cells.
    fn extra_cells(&self, scored: Option<&Scored>) -> Vec<String> {
        let heads = self.extra_heads();
        let Some(scored) = scored else {
            return vec!["-".to_owned(); heads.len()];
        };
        let mut cells = vec![scored.unannotated().to_string()];
        if self.request.bounds {
            cells.extend(scored.bounds_cells(self.rounding()));
        }
        cells.truncate(heads.len());
        cells
    }

    /// Sorts rows as is wished; rows beyond the sorted order stay as they are
    /// among themselves.
    fn sort(&self, heads: &[String], rows: &mut [Vec<String>], out: &mut Printed) -> Result<()> {
        let Some(sort) = self.sort else {
            return Ok(());
        };
        let column = match sort.find(heads) {
            Ok(column) => column,
            Err(error) if self.is_full() => return Err(error.into()),
            Err(_) => {
                out.warn(sort.original_warning());
                0
            }
        };
        sort.sort(rows, column);
        Ok(())
    }
}
