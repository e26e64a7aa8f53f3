//! What a table or plot reads, told before anything is read: stages of its
//! experiment, files, the store, projects at a service.

use std::path::PathBuf;

use super::condition::Condition;
use super::field::Field;
use super::plot::PlotSpec;
use super::prediction_source::annotation_patterns;
use super::record::Record;
use super::remote;
use super::sources::{Loader, SourceError};
use super::spec::{SourceKind, SourceSpec, TableSpec};
use super::specificity::EMBEDDED;

/// What a table or plot reads.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    /// Conditions on the stages of the experiment; a stage whose rows can
    /// satisfy none of them is not read.
    stages: Vec<Condition>,
    /// Whether it reads what all experiments left in the store.
    pub store: bool,
    /// Projects at Weights & Biases.
    pub projects: Vec<String>,
    /// Files.
    pub files: Vec<PathBuf>,
    /// A folder of pictures.
    pub pictures: Option<PathBuf>,
}

impl Reads {
    /// What a table reads.
    ///
    /// # Errors
    /// A file that it names is not there.
    pub fn of_table(table: &TableSpec, loader: &Loader<'_>) -> Result<Self, SourceError> {
        let mut reads = Self::default();
        for source in &table.sources {
            reads.add(source, &table.condition, loader)?;
        }
        let published = table.published.as_ref();
        let published = published.and_then(|published| published.file.as_ref());
        reads.files.extend(published.map(PathBuf::from));
        Ok(reads)
    }

    /// What a plot reads.
    ///
    /// # Errors
    /// A file that it names is not there.
    pub fn of_plot(plot: &PlotSpec, loader: &Loader<'_>) -> Result<Self, SourceError> {
        let mut reads = Self::default();
        for source in &plot.sources {
            reads.add(source, &plot.condition, loader)?;
        }
        if let Some(images) = &plot.images {
            let places = [loader.project.working_dir(), loader.dir];
            let found = places.map(|dir| dir.join(images));
            reads.pictures = found.into_iter().find(|path| path.is_dir());
        }
        Ok(reads)
    }

    /// Whether it reads a stage, whose rows have these fields and others.
    pub fn has_stage(&self, certain: &Record) -> bool {
        self.stages
            .iter()
            .any(|condition| condition.can_hold(certain))
    }

    fn add(
        &mut self,
        source: &SourceSpec,
        condition: &Condition,
        loader: &Loader<'_>,
    ) -> Result<(), SourceError> {
        let condition = source.condition.clone().and(condition);
        if source.is_of_stages() {
            let logged = source.kind == SourceKind::Metrics;
            let trainings = Condition::equals(&Field::new("run.action"), Some(&"train".into()));
            self.stages.push(match logged {
                true => condition.and(&trainings),
                false => condition,
            });
            return Ok(());
        }
        let options = &source.predictions;
        for from in source.from.iter().chain(&options.files) {
            match from.strip_prefix(remote::PREFIX) {
                Some(project) => self.projects.push(project.to_owned()),
                None if from == "local" => self.store = true,
                None => self.files.extend(loader.prediction_files(from)?),
            }
        }
        let lists = options.lists.iter().map(|(_, path)| path.clone());
        for path in annotation_patterns(source).chain(lists) {
            // What is not there is left out, as when it is read.
            self.files.extend(loader.files(&path).unwrap_or_default());
        }
        if let Some(path) = options
            .specificity
            .as_ref()
            .filter(|path| *path != EMBEDDED)
        {
            self.files.extend(loader.files(path)?);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Source, SourceKind as Written, parse_toml};
    use crate::reports::spec::Parameters;
    use crate::reports::spec::reading::{Problems, entries};
    use crate::store::Project;

    fn reads(dir: &Path, text: &str) -> Result<Reads, SourceError> {
        let source = Source::new(Written::File("r.toml".into()), text);
        let fields = parse_toml(&source).unwrap();
        let problems = Problems::default();
        let all = entries(&source, &fields);
        let place = all[0].location.clone();
        let given = Parameters::new();
        let table = TableSpec::read("t", &place, &all, &given, &problems);
        assert!(problems.borrow().is_empty(), "{:?}", problems.borrow());
        let project = Project::locate(dir, None, None);
        Reads::of_table(&table.unwrap(), &Loader::new(&project, dir))
    }

    const REST: &str =
        "rows = { by = [\"dataset\"] }\ncol = [{ label = \"a\", value = \"top1\" }]\n";

    #[test]
    fn stages_whose_rows_no_condition_admits_are_not_read() {
        let dir = tempfile::tempdir().unwrap();
        let of = |text: &str| reads(dir.path(), &format!("{text}\n{REST}")).unwrap();
        let stage = |name: &str, kind: &str| {
            let record = Record::new().with("stage", name);
            record.with("run.action", kind)
        };
        let narrow =
            of("where = { \"run.action\" = { in = [\"eval\", \"infer\"] }, top1 = { gt = 1 } }");
        assert!(narrow.has_stage(&stage("first", "eval")));
        assert!(!narrow.has_stage(&stage("first", "train")));
        let either =
            of("where = { any = [{ stage = \"a\" }, { not = { \"run.action\" = \"train\" } }] }");
        assert!(either.has_stage(&stage("a", "train")));
        assert!(either.has_stage(&stage("b", "eval")));
        assert!(!either.has_stage(&stage("b", "train")));
        let unknown = of("where = { not = { seed = 1 } }");
        assert!(unknown.has_stage(&stage("b", "train")));
        let logged = of("source = { kind = \"metrics\", from = [] }");
        assert!(logged.has_stage(&stage("b", "train")));
        assert!(!logged.has_stage(&stage("b", "eval")));
    }

    #[test]
    fn files_store_and_projects_are_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("a.csv"), "dataset,top1\n").unwrap();
        let of = |from: &str| {
            let text = format!("source = {{ kind = \"runs\", from = [{from}] }}\n{REST}");
            reads(dir.path(), &text)
        };
        let all = of("\"local\", \"a.csv\", \"wandb:me/mine\"").unwrap();
        assert!(all.store && !all.has_stage(&Record::new()));
        assert_eq!(all.files, [dir.path().join("a.csv")]);
        assert_eq!(all.projects, ["me/mine"]);
        let error = of("\"b.csv\"").unwrap_err().to_string();
        assert!(error.contains("there is no file b.csv"), "{error}");
    }
}
