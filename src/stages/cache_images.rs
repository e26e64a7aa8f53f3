//! `cache_images`: picture files → image embeddings → an embedding cache
//! without targets.

use std::path::{Path, PathBuf};

use serde_json::json;

use super::inputs;
use super::keys::{EMBEDDER, WRITTEN_CACHE, keys};
use super::picture_cache::{PictureCache, PictureName};
use crate::cache::{FileFlags, FilePlan, RowOrder};
use crate::images::{DecodeOptions, cache_pictures, decode_file};
use crate::runner::{Resource, ResourceQuery, StageContext, StageError, StageKind, StageOutput};
use crate::store::Project;

/// The stage kind.
#[derive(Debug)]
pub(super) struct CacheImages;

impl StageKind for CacheImages {
    fn name(&self) -> &'static str {
        "cache_images"
    }

    fn code_version(&self) -> u32 {
        1
    }

    fn reads(&self) -> &'static [&'static str] {
        keys![EMBEDDER, WRITTEN_CACHE, &["images.paths"]]
    }

    fn draws_random(&self) -> bool {
        true
    }

    fn resources(&self, query: &ResourceQuery<'_>) -> Result<Vec<Resource>, StageError> {
        let paths = &query.config.images.paths;
        if paths.is_empty() {
            return Err(StageError::failed(
                "no pictures are named: set images.paths to files and folders",
            ));
        }
        let mut resources = vec![inputs::embedder(query)?];
        for path in paths {
            resources.push(inputs::file(query, "pictures", path)?);
        }
        Ok(resources)
    }

    fn run(&self, context: &StageContext<'_>) -> Result<StageOutput, StageError> {
        let files = pictures(context.project(), &context.config().images.paths)?;
        let embedder = inputs::open_embedder(context)?;
        let signature = inputs::signature(&embedder);
        let options = DecodeOptions::default();
        let cache = PictureCache {
            len: files.len(),
            decode: &|index| Ok(decode_file(&files[index], &options)?),
            name: &|index| PictureName {
                picture: files[index].display().to_string(),
                class: None,
            },
            targets: None,
            plan: &|rows| {
                let flags = FileFlags::default();
                FilePlan::new(rows, &signature, None, flags, RowOrder::AsWritten)
            },
        };
        let written = cache.write(context, &embedder)?;
        Ok(written.output(json!({
            "summary": format!("{} pictures", files.len()),
            "samples": files.len(),
        })))
    }
}

/// The files of all paths.
fn pictures(project: &Project, paths: &[String]) -> Result<Vec<PathBuf>, StageError> {
    let paths: Vec<PathBuf> = paths
        .iter()
        .map(|path| inputs::path(project, path))
        .collect();
    let paths: Vec<&Path> = paths.iter().map(PathBuf::as_path).collect();
    Ok(cache_pictures(&paths)?)
}
