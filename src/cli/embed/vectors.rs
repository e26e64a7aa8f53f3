//! `novic embed texts` and `novic embed images`.

use std::io::BufRead;
use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;

use super::super::print::print;
use super::super::{CliError, Exit};
use super::output::{Form, Vectors};
use super::{EmbedderArgs, tell};
use crate::images::{DecodeOptions, ImageInputs, decode_file, in_batches};

/// Embed texts into a file
///
///   novic embed texts openclip:novic/drawings fox 'a red fox' --out vectors.npy
///   novic embed texts SPEC --file texts.txt --out vectors.safetensors
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct TextsArgs {
    /// The embedder, TYPE:NAME
    #[arg(value_name = "SPEC")]
    spec: String,
    /// The texts
    #[arg(value_name = "TEXT")]
    texts: Vec<String>,
    /// A file with one text per line; - for standard input
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Where the vectors go; the ending tells the form
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Form of the file
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Texts embedded together
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    embedder: EmbedderArgs,
}

/// Embed pictures into a file
///
/// Takes files, folders and glob patterns. Pictures that cannot be read are
/// reported and left out (exit code 3); --strict fails instead.
///
///   novic embed images openclip:novic/drawings photos/ --out photos.safetensors
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub struct ImagesArgs {
    /// The embedder, TYPE:NAME
    #[arg(value_name = "SPEC")]
    spec: String,
    /// Pictures, folders, glob patterns
    #[arg(required = true, value_name = "PICTURE")]
    pictures: Vec<String>,
    /// Where the vectors go; the ending tells the form
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Form of the file
    #[arg(long, value_enum)]
    format: Option<Form>,
    /// Pictures embedded together
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..))]
    batch: u32,
    /// Descend into sub-folders
    #[arg(long)]
    recursive: bool,
    /// Turn pictures as their EXIF data says
    #[arg(long)]
    exif_rotate: bool,
    /// Fail at the first picture that cannot be read
    #[arg(long)]
    strict: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    embedder: EmbedderArgs,
}

pub(super) fn texts(args: &TextsArgs) -> Result<Exit, CliError> {
    let mut texts = args.texts.clone();
    if let Some(file) = &args.file {
        texts.extend(lines(file)?);
    }
    if texts.is_empty() {
        return Err(CliError::usage(
            "no texts: name some, or a file with --file",
        ));
    }
    let embedder = args.embedder.open(&args.spec)?;
    let mut vectors = Vectors::new(&args.out, args.format, embedder.dim())?;
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    for batch in texts.chunks(args.batch as usize) {
        let batch: Vec<&str> = batch.iter().map(String::as_str).collect();
        let rows = embedder
            .embed_texts(&batch)
            .map_err(|error| failed(&error))?;
        tell(&embedder);
        let rows = rows.flatten_all().and_then(|rows| rows.to_vec1::<f32>());
        vectors.add(&rows.map_err(|error| failed(&error))?, &batch)?;
    }
    let count = vectors.finish(&embedder)?;
    report(args.json, &args.out, count, embedder.dim(), 0)
}

pub(super) fn images(args: &ImagesArgs) -> Result<Exit, CliError> {
    let inputs = ImageInputs {
        recursive: args.recursive,
        allow_empty: false,
    };
    let files = inputs
        .expand(&args.pictures)
        .map_err(|error| CliError::from_error(Exit::Usage, &error))?;
    let embedder = args.embedder.open(&args.spec)?;
    let mut vectors = Vectors::new(&args.out, args.format, embedder.dim())?;
    let options = DecodeOptions {
        exif_rotate: args.exif_rotate,
        ..DecodeOptions::default()
    };
    let failed = |error: &dyn std::error::Error| CliError::from_error(Exit::Failed, error);
    let mut skipped = 0;
    in_batches(
        files.len(),
        args.batch as usize,
        |index| {
            let picture = decode_file(&files[index], &options);
            picture.map(|picture| embedder.preprocess().fit(&picture))
        },
        |range, pictures| {
            let mut names = Vec::new();
            let mut fitted = Vec::new();
            for (index, picture) in range.zip(pictures) {
                match picture {
                    Ok(picture) => {
                        fitted.push(picture);
                        names.push(files[index].display().to_string());
                    }
                    Err(error) if args.strict => return Err(failed(&error)),
                    Err(error) => {
                        skipped += 1;
                        eprintln!("skipped: {error}");
                    }
                }
            }
            let rows = embedder
                .embed_fitted(&fitted)
                .map_err(|error| failed(&error))?;
            tell(&embedder);
            let rows = rows.flatten_all().and_then(|rows| rows.to_vec1::<f32>());
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            vectors.add(&rows.map_err(|error| failed(&error))?, &names)
        },
    )?;
    let count = vectors.finish(&embedder)?;
    report(args.json, &args.out, count, embedder.dim(), skipped)
}

fn report(
    json: bool,
    out: &Path,
    count: usize,
    dim: usize,
    skipped: usize,
) -> Result<Exit, CliError> {
    let out = out.display();
    print(&if json {
        let report =
            json!({"file": out.to_string(), "rows": count, "dim": dim, "skipped": skipped});
        format!("{report:#}\n")
    } else {
        format!("{out}: {count} vectors of {dim} elements\n")
    })?;
    Ok(if skipped > 0 {
        Exit::SomeInputsFailed
    } else {
        Exit::Success
    })
}

/// Lines of a file or of standard input.
fn lines(file: &Path) -> Result<Vec<String>, CliError> {
    let failed = |error: std::io::Error| {
        CliError::usage(format!("failed to read {}: {error}", file.display()))
    };
    if file == Path::new("-") {
        return std::io::stdin()
            .lock()
            .lines()
            .collect::<Result<_, _>>()
            .map_err(failed);
    }
    let text = std::fs::read_to_string(file).map_err(failed)?;
    Ok(text.lines().map(str::to_owned).collect())
}
