//! The metrics of a stage in formats of other programs.

mod csv;
mod parquet;
mod tensorboard;

use std::io::{self, Write};

pub use csv::write_csv;
pub use parquet::write_parquet;
pub use tensorboard::write_tensorboard;

use super::metrics::Metrics;

/// A format of other programs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ExportFormat {
    /// Comma-separated values (RFC 4180).
    Csv,
    /// Apache Parquet, compressed with zstd.
    Parquet,
    /// Event files of TensorBoard.
    TensorBoard,
}

/// Writes the metrics of a stage. In TensorBoard, `step` is the column that
/// counts steps; without it, rows are counted.
///
/// # Errors
/// An output error.
pub fn write_metrics(
    metrics: &Metrics,
    format: ExportFormat,
    step: Option<&str>,
    out: &mut (impl Write + Send),
) -> io::Result<()> {
    match format {
        ExportFormat::Csv => write_csv(metrics, out),
        ExportFormat::Parquet => write_parquet(metrics, out),
        ExportFormat::TensorBoard => write_tensorboard(metrics, step, out),
    }
}

#[cfg(test)]
mod tests {
    use super::super::{RunEnd, RunRecorder, RunStart, Value, find_run, read_record};
    use super::*;
    use crate::store::Project;

    /// Rows with different names and all kinds of values.
    pub(super) fn metrics() -> Metrics {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        let run = RunRecorder::start(&project, RunStart::default()).unwrap();
        let log = run.stage("train");
        log.row(&[("loss", 0.5.into()), ("note", "a, \"b\"".into())]);
        log.row(&[("loss", f64::NAN.into()), ("step", 20u64.into())]);
        log.row(&[("loss", Value::Null), ("step", 30u64.into())]);
        log.row(&[("loss", 3u64.into()), ("good", true.into())]);
        run.finish(RunEnd {
            exit_code: 0,
            reason: String::new(),
        })
        .unwrap();
        let (_, dir) = find_run(&project, "latest").unwrap();
        read_record(&dir).unwrap().metrics.remove("train").unwrap()
    }
}
