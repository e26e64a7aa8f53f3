//! Finding the project directory `.novic/`.

use std::fs;
use std::path::{Path, PathBuf};

use super::durable::write_file;
use super::error::StoreError;
use super::lease::LockSupport;
use super::shelf::Store;

/// Where a project keeps its store, its run records and its hints.
///
/// Finding it touches nothing: the directory is made by [`Project::create`]
/// when something is first written.
#[derive(Clone, Debug)]
pub struct Project {
    home: PathBuf,
    working_dir: PathBuf,
    locks: LockSupport,
}

impl Project {
    /// The project of the current working directory and environment.
    ///
    /// `configured` is the experiment's `store.dir`.
    pub fn find(configured: Option<&Path>) -> Result<Project, StoreError> {
        let here = Path::new(".");
        let working_dir = std::env::current_dir()
            .map_err(StoreError::io("find the working directory of", here))?;
        let environment = std::env::var_os("NOVIC_HOME")
            .filter(|value| !value.is_empty())
            .map(PathBuf::from);
        Ok(Project::locate(
            &working_dir,
            environment.as_deref(),
            configured,
        ))
    }

    /// The project of `working_dir`: `NOVIC_HOME`, else `store.dir`, else
    /// `.novic` in the nearest parent that has one, else `.novic` here.
    pub fn locate(
        working_dir: &Path,
        environment: Option<&Path>,
        configured: Option<&Path>,
    ) -> Project {
        let home = match environment.or(configured) {
            Some(given) => working_dir.join(given),
            None => working_dir
                .ancestors()
                .map(|dir| dir.join(".novic"))
                .find(|dir| dir.is_dir())
                .unwrap_or_else(|| working_dir.join(".novic")),
        };
        Project {
            home,
            working_dir: working_dir.to_path_buf(),
            locks: LockSupport::default(),
        }
    }

    /// The same project with another way to hold leases.
    pub fn with_locks(self, locks: LockSupport) -> Project {
        Project { locks, ..self }
    }

    /// How leases are held.
    pub fn locks(&self) -> LockSupport {
        self.locks
    }

    /// The store.
    pub fn store(&self) -> Store {
        Store::new(self.store_dir()).with_locks(self.locks)
    }

    /// The project directory itself; it may not exist yet.
    pub fn home(&self) -> &Path {
        &self.home
    }

    /// The directory that relative paths of the configuration refer to.
    pub fn working_dir(&self) -> &Path {
        &self.working_dir
    }

    /// Outputs of stages: `.novic/store`.
    pub fn store_dir(&self) -> PathBuf {
        self.home.join("store")
    }

    /// Run records: `.novic/runs`.
    pub fn runs_dir(&self) -> PathBuf {
        self.home.join("runs")
    }

    /// Hints that may be deleted at any time: `.novic/cache`.
    pub fn cache_dir(&self) -> PathBuf {
        self.home.join("cache")
    }

    /// What people take away from runs: `outputs` in the working directory.
    pub fn outputs_dir(&self) -> PathBuf {
        self.working_dir.join("outputs")
    }

    /// Makes the project directory where it does not exist yet.
    pub fn create(&self) -> Result<(), StoreError> {
        for dir in [self.store_dir(), self.runs_dir()] {
            fs::create_dir_all(&dir).map_err(StoreError::io("make", &dir))?;
        }
        self.create_cache()
    }

    /// Makes only the directory of what can be made again where it does not exist
    /// yet.
    pub fn create_cache(&self) -> Result<(), StoreError> {
        let dir = self.cache_dir();
        fs::create_dir_all(&dir).map_err(StoreError::io("make", &dir))?;
        let ignore = self.home.join(".gitignore");
        if !ignore.exists() {
            write_file(&ignore, b"*\n")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_parent_counts() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("a/b/c");
        fs::create_dir_all(&deep).unwrap();
        assert_eq!(
            Project::locate(&deep, None, None).home(),
            deep.join(".novic")
        );
        assert!(!deep.join(".novic").exists(), "finding writes nothing");
        fs::create_dir_all(dir.path().join("a/.novic")).unwrap();
        assert_eq!(
            Project::locate(&deep, None, None).home(),
            dir.path().join("a/.novic")
        );
    }

    #[test]
    fn environment_comes_before_configuration_before_search() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join(".novic")).unwrap();
        let locate = |environment: Option<&str>, configured: Option<&str>| {
            Project::locate(
                dir.path(),
                environment.map(Path::new),
                configured.map(Path::new),
            )
            .home()
            .to_path_buf()
        };
        assert_eq!(locate(Some("/big"), Some("near")), Path::new("/big"));
        assert_eq!(locate(None, Some("near")), dir.path().join("near"));
        assert_eq!(locate(None, None), dir.path().join(".novic"));
    }

    #[test]
    fn creating_hides_it_from_git() {
        let dir = tempfile::tempdir().unwrap();
        let project = Project::locate(dir.path(), None, None);
        project.create().unwrap();
        project.create().unwrap();
        assert_eq!(
            fs::read_to_string(project.home().join(".gitignore")).unwrap(),
            "*\n"
        );
    }
}
