//! Copying what was drawn, with a manifest that says how.

use std::fs::{self, File};
use std::path::Path;

use serde_json::{Value, json};

use super::error::CollectError;
use super::sample::{SampleRequest, Sampled};
use crate::net::sha256;
use crate::store::write_file;

/// The file that says what was drawn, and how.
pub const MANIFEST: &str = "manifest.json";

/// How pictures are copied.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CopyOptions {
    /// Make hard links in place of copies.
    pub link: bool,
}

impl Sampled {
    /// Copies the pictures with their bytes and times into the new folder
    /// `out`, which appears when all of them are there. Returns the manifest.
    ///
    /// # Errors
    /// A folder that is not empty, files that cannot be copied.
    pub fn copy_to(
        &self,
        request: &SampleRequest,
        embedder: Option<&str>,
        out: &Path,
        options: CopyOptions,
    ) -> Result<Value, CollectError> {
        if fs::read_dir(out).is_ok_and(|mut entries| entries.next().is_some()) {
            return Err(CollectError::NotEmpty {
                path: out.to_owned(),
            });
        }
        let parent = match out.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        fs::create_dir_all(parent).map_err(CollectError::file("make", parent))?;
        let unfinished = tempfile::Builder::new()
            .prefix(".")
            .suffix(".new")
            .permissions(folder_permissions())
            .tempdir_in(parent)
            .map_err(CollectError::file("make a folder in", parent))?;
        let mut images = Vec::with_capacity(self.drawn.len());
        for (rank, drawn) in self.drawn.iter().enumerate() {
            let from = request.input.join(&drawn.name);
            let to = unfinished.path().join(&drawn.name);
            if let Some(folder) = to.parent() {
                fs::create_dir_all(folder).map_err(CollectError::file("make", folder))?;
            }
            copy(&from, &to, options)?;
            images.push(json!({
                "rank": rank + 1,
                "name": drawn.name.to_string_lossy(),
                "weight": drawn.weight,
                "sha256": sha256(&to).map_err(CollectError::file("read", &to))?,
            }));
        }
        let manifest = self.manifest(request, embedder, images);
        let text = format!("{manifest:#}\n");
        write_file(&unfinished.path().join(MANIFEST), text.as_bytes()).map_err(|error| {
            CollectError::File {
                what: "write the manifest of",
                path: out.to_owned(),
                source: std::io::Error::other(error),
            }
        })?;
        let finished = unfinished.keep();
        // An empty folder may be there; it is replaced.
        fs::rename(&finished, out).map_err(|source| {
            let _ = fs::remove_dir_all(&finished);
            CollectError::file("make", out)(source)
        })?;
        Ok(manifest)
    }

    /// What was drawn, and how.
    pub fn manifest(
        &self,
        request: &SampleRequest,
        embedder: Option<&str>,
        images: Vec<Value>,
    ) -> Value {
        let pulls: Vec<Value> = request
            .pulls
            .iter()
            .map(|pull| json!({"noun": pull.noun, "factor": pull.factor, "mean": pull.mean}))
            .collect();
        let named = |pairs: &[(std::path::PathBuf, String)]| -> Vec<Value> {
            let pair = |(name, reason): &(std::path::PathBuf, String)| json!({"name": name.to_string_lossy(), "reason": reason});
            pairs.iter().map(pair).collect()
        };
        let repeated: Vec<Value> = self
            .repeated
            .iter()
            .map(|(name, of)| json!({"name": name.to_string_lossy(), "of": of.to_string_lossy()}))
            .collect();
        json!({
            "version": 1,
            "seed": request.seed,
            "count": request.count,
            "input": request.input.to_string_lossy(),
            "recursive": request.recursive,
            "per_folder": request.per_folder,
            "dedupe": request.dedupe,
            "toward": pulls,
            "embedder": embedder,
            "candidates": self.weights.len(),
            "weights": self.distribution(),
            "unreadable": named(&self.unreadable),
            "repeated": repeated,
            "images": images,
        })
    }

    /// How unequal the chances were: quantiles of the weights, and the number
    /// of equally likely candidates that vary as much.
    pub fn distribution(&self) -> Value {
        let mut sorted = self.weights.clone();
        sorted.sort_by(f64::total_cmp);
        let at = |share: f64| sorted[((sorted.len() - 1) as f64 * share).round() as usize];
        let sum: f64 = sorted.iter().sum();
        let squares: f64 = sorted.iter().map(|weight| weight * weight).sum();
        if sorted.is_empty() {
            return Value::Null;
        }
        json!({
            "least": at(0.0), "lower_quartile": at(0.25), "median": at(0.5),
            "upper_quartile": at(0.75), "most": at(1.0),
            "effective_candidates": sum * sum / squares,
        })
    }
}

fn folder_permissions() -> fs::Permissions {
    use std::os::unix::fs::PermissionsExt as _;
    // As any program makes folders: what the user's umask leaves of it.
    fs::Permissions::from_mode(0o777)
}

fn copy(from: &Path, to: &Path, options: CopyOptions) -> Result<(), CollectError> {
    if options.link {
        return fs::hard_link(from, to).map_err(CollectError::file("link", from));
    }
    fs::copy(from, to).map_err(CollectError::file("copy", from))?;
    let times = fs::metadata(from)
        .and_then(|metadata| Ok(fs::FileTimes::new().set_modified(metadata.modified()?)));
    times
        .and_then(|times| {
            // Copies of files that nobody may write have times too.
            File::open(to)?.set_times(times)
        })
        .map_err(CollectError::file("set the time of", to))
}
