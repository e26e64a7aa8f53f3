//! What is to be classified, in the order of the command line.

use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};

use base64::Engine as _;
use candle_core::{DType, Device};
use serde::Deserialize;
use serde_json::Value;

use super::InferArgs;
use super::cache_rows::CacheRows;
use crate::cache::CacheFile;
use crate::cli::{CliError, Exit};
use crate::images::{ImageInputs, ImageLimits};
use crate::infer::{Content, Sample, SampleError};

/// Longest line of `--stdin-jsonl`, in bytes; a picture of the largest size in
/// base64 fits.
const MAX_LINE: u64 = 384 << 20;

/// A stream of inputs.
pub(super) struct Inputs {
    /// The inputs.
    pub samples: Box<dyn Iterator<Item = Sample> + Send>,
    /// How many there are, if that is known.
    pub count: Option<usize>,
    /// They come one by one and want their answers at once.
    pub eager: bool,
    /// Some come from standard input.
    pub reads_standard_input: bool,
}

impl Inputs {
    /// All inputs of a command line. Names are expanded and looked up now, so
    /// that typing errors are told of before anything is loaded.
    pub(super) fn of(args: &InferArgs, input: Box<dyn BufRead + Send>) -> Result<Self, CliError> {
        let uses = [
            args.stdin_jsonl,
            args.paths_from.as_deref() == Some(Path::new("-")),
            args.texts_from.as_deref() == Some(Path::new("-")),
            args.pictures.iter().any(|name| name == "-"),
        ];
        let reads_standard_input = uses.contains(&true);
        if uses.iter().filter(|&&used| used).count() > 1 {
            return Err(CliError::usage(
                "standard input can be read once: give `-` or --stdin-jsonl once",
            ));
        }
        let mut input = Some(input);
        let mut samples = Vec::new();
        let names: Vec<String> = args.pictures.iter().chain(&args.images).cloned().collect();
        let (files, missing) = expand(args, &names, &mut input)?;
        if !names.is_empty() && missing == files.len() && missing > 0 {
            let first = names.first().map_or("", String::as_str);
            return Err(CliError::usage(format!(
                "nothing is at {first}: check the name, or --image-dir"
            )));
        }
        samples.extend(files);
        let lazy = match &args.paths_from {
            Some(path) => {
                let from = reader(path, &mut input)?;
                let dir = args.image_dir.clone();
                Some(Box::new(listed(from).map(move |name| match name {
                    Ok(name) => in_dir(&name, dir.as_deref()),
                    Err(error) => failed("--paths-from", &error),
                }))
                    as Box<dyn Iterator<Item = Sample> + Send>)
            }
            None => None,
        };
        let mut behind: Vec<Sample> = args.texts.iter().map(|text| Sample::text(text)).collect();
        if let Some(path) = &args.texts_from {
            for line in reader(path, &mut input)?.lines() {
                let line = line.map_err(|error| CliError::failed(format!("texts: {error}")))?;
                if !line.trim().is_empty() {
                    behind.push(Sample::text(line.trim()));
                }
            }
        }
        let mut rows = None;
        if let Some(name) = &args.embeddings {
            if CacheFile::is_one(name) {
                rows = Some(CacheRows::open(Path::new(name))?);
            } else {
                behind.extend(embeddings(name)?);
            }
        }
        let known = samples.len() + behind.len() + rows.as_ref().map_or(0, CacheRows::len);
        let behind = behind.into_iter().chain(rows.into_iter().flatten());
        if args.stdin_jsonl {
            let Some(input) = input.take() else {
                return Err(CliError::usage("standard input can be read once"));
            };
            return Ok(Self {
                samples: Box::new(samples.into_iter().chain(behind).chain(json_lines(input))),
                count: None,
                eager: true,
                reads_standard_input,
            });
        }
        match lazy {
            Some(lazy) => Ok(Self {
                samples: Box::new(samples.into_iter().chain(lazy).chain(behind)),
                count: None,
                eager: true,
                reads_standard_input,
            }),
            None if known == 0 && !args.allow_empty => Err(CliError::usage(
                "nothing to classify: name a picture, a folder or a pattern, or see `novic infer \
                 --help` for other inputs",
            )),
            None => Ok(Self {
                count: Some(known),
                samples: Box::new(samples.into_iter().chain(behind)),
                eager: false,
                reads_standard_input,
            }),
        }
    }
}

/// Pictures of names, and how many of them are not there.
fn expand(
    args: &InferArgs,
    names: &[String],
    input: &mut Option<Box<dyn BufRead + Send>>,
) -> Result<(Vec<Sample>, usize), CliError> {
    let expansion = ImageInputs {
        recursive: args.recursive,
        allow_empty: args.allow_empty,
    };
    let dir = args.image_dir.as_deref();
    let (mut samples, mut missing) = (Vec::new(), 0);
    for name in names {
        if name == "-" {
            let Some(mut input) = input.take() else {
                return Err(CliError::usage("standard input can be read once"));
            };
            let limit = ImageLimits::default().max_bytes;
            let mut bytes = Vec::new();
            (&mut input)
                .take(limit + 1)
                .read_to_end(&mut bytes)
                .map_err(|error| CliError::failed(format!("standard input: {error}")))?;
            samples.push(Sample {
                name: "-".to_owned(),
                content: Content::Bytes(bytes),
                tag: None,
            });
            continue;
        }
        let path = dir.map_or_else(|| PathBuf::from(name), |dir| dir.join(name));
        let is_pattern = name.contains(['*', '?', '[']) && !path.exists();
        if !is_pattern && !path.is_dir() {
            missing += usize::from(!path.exists());
            samples.push(in_dir(name, dir));
            continue;
        }
        let found = expansion
            .expand(&[path.display().to_string()])
            .map_err(|error| CliError::from_error(Exit::Usage, &error))?;
        samples.extend(found.into_iter().map(|path| {
            let shown = match dir {
                Some(dir) if !Path::new(name).is_absolute() => {
                    path.strip_prefix(dir).unwrap_or(&path)
                }
                _ => &path,
            };
            Sample {
                name: shown.display().to_string(),
                content: Content::File(path.clone()),
                tag: None,
            }
        }));
    }
    Ok((samples, missing))
}

fn in_dir(name: &str, dir: Option<&Path>) -> Sample {
    Sample {
        name: name.to_owned(),
        content: Content::File(dir.map_or_else(|| PathBuf::from(name), |dir| dir.join(name))),
        tag: None,
    }
}

fn failed(name: &str, error: &str) -> Sample {
    Sample {
        name: name.to_owned(),
        content: Content::Failed(SampleError::input(error)),
        tag: None,
    }
}

fn reader(
    path: &Path,
    input: &mut Option<Box<dyn BufRead + Send>>,
) -> Result<Box<dyn BufRead + Send>, CliError> {
    if path == Path::new("-") {
        return input
            .take()
            .ok_or_else(|| CliError::usage("standard input can be read once"));
    }
    let file = std::fs::File::open(path)
        .map_err(|error| CliError::usage(format!("{}: {error}", path.display())))?;
    Ok(Box::new(std::io::BufReader::new(file)))
}

/// Names separated by NUL if there is one before the first line break, else by
/// line breaks.
fn listed(mut from: Box<dyn BufRead + Send>) -> impl Iterator<Item = Result<String, String>> {
    let mut separator = None;
    let mut pending = Vec::new();
    std::iter::from_fn(move || {
        loop {
            let separator = *separator.get_or_insert_with(|| {
                let start = from.fill_buf().unwrap_or_default();
                let end = start.iter().find(|&&byte| byte == 0 || byte == b'\n');
                end.copied().unwrap_or(b'\n')
            });
            pending.clear();
            match from.read_until(separator, &mut pending) {
                Err(error) => return Some(Err(error.to_string())),
                Ok(0) => return None,
                Ok(_) => {}
            }
            if pending.last() == Some(&separator) {
                pending.pop();
            }
            if separator == b'\n' && pending.last() == Some(&b'\r') {
                pending.pop();
            }
            if pending.is_empty() {
                continue;
            }
            return Some(
                String::from_utf8(pending.clone()).map_err(|_| "a name is no UTF-8".to_owned()),
            );
        }
    })
}

/// Rows of a tensor of a safetensors file.
fn embeddings(name: &str) -> Result<Vec<Sample>, CliError> {
    let usage = |reason: String| CliError::usage(format!("--embeddings {name}: {reason}"));
    let (path, wanted) = match name.rsplit_once(':') {
        Some((path, tensor)) if !Path::new(name).exists() => (path, Some(tensor)),
        _ => (name, None),
    };
    let bytes = std::fs::read(path).map_err(|error| usage(error.to_string()))?;
    let tensors = candle_core::safetensors::load_buffer(&bytes, &Device::Cpu)
        .map_err(|error| usage(error.to_string()))?;
    let mut names: Vec<&String> = tensors.keys().collect();
    names.sort();
    let tensor = match (wanted, &names[..]) {
        (Some(wanted), _) => tensors.get(wanted),
        (None, [only]) => tensors.get(*only),
        _ => None,
    };
    let tensor = tensor.ok_or_else(|| {
        let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
        usage(format!(
            "name one of its tensors behind a colon: {}",
            names.join(", ")
        ))
    })?;
    let rows = tensor
        .to_dtype(DType::F32)
        .and_then(|tensor| tensor.to_vec2::<f32>())
        .map_err(|error| usage(format!("it is no matrix: {error}")))?;
    Ok((0..)
        .zip(rows)
        .map(|(row, embedding): (usize, Vec<f32>)| Sample {
            name: format!("{name}[{row}]"),
            content: Content::Embedding(embedding),
            tag: None,
        })
        .collect())
}

/// A line of `--stdin-jsonl`: one of the first four.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    path: Option<String>,
    image: Option<String>,
    text: Option<String>,
    embedding: Option<Vec<f32>>,
    id: Option<Value>,
}

fn json_lines(mut input: Box<dyn BufRead + Send>) -> impl Iterator<Item = Sample> {
    let mut number = 0u64;
    let mut ended = false;
    std::iter::from_fn(move || {
        while !ended {
            let mut line = Vec::new();
            number += 1;
            match (&mut input).take(MAX_LINE + 1).read_until(b'\n', &mut line) {
                Ok(0) => return None,
                Ok(_) => {}
                Err(error) => {
                    ended = true;
                    return Some(failed(&format!("line {number}"), &error.to_string()));
                }
            }
            if line.len() as u64 > MAX_LINE {
                ended = true;
                let reason = format!("it is longer than {MAX_LINE} bytes");
                return Some(failed(&format!("line {number}"), &reason));
            }
            if !line.trim_ascii().is_empty() {
                return Some(json_line(&line, number));
            }
        }
        None
    })
}

fn json_line(line: &[u8], number: u64) -> Sample {
    let name = format!("line {number}");
    let parsed: Line = match serde_json::from_slice(line) {
        Ok(parsed) => parsed,
        Err(error) => {
            // The id may be there all the same.
            let id = serde_json::from_slice::<Value>(line).ok();
            let mut sample = failed(&name, &format!("no such line is known: {error}"));
            sample.tag = id.and_then(|value| value.get("id").cloned());
            return sample;
        }
    };
    let (name, content) = match parsed {
        Line {
            path: Some(path),
            image: None,
            text: None,
            embedding: None,
            ..
        } => (path.clone(), Content::File(PathBuf::from(path))),
        Line {
            path: None,
            image: Some(image),
            text: None,
            embedding: None,
            ..
        } => {
            let image = image
                .rsplit_once(";base64,")
                .map_or(image.as_str(), |(_, data)| data);
            match base64::engine::general_purpose::STANDARD.decode(image.trim()) {
                Ok(bytes) => (name, Content::Bytes(bytes)),
                Err(error) => (
                    name,
                    Content::Failed(SampleError::input(format!("image is no base64: {error}"))),
                ),
            }
        }
        Line {
            path: None,
            image: None,
            text: Some(text),
            embedding: None,
            ..
        } => (format!("\"{text}\""), Content::Text(text)),
        Line {
            path: None,
            image: None,
            text: None,
            embedding: Some(embedding),
            ..
        } => (name, Content::Embedding(embedding)),
        _ => (
            name,
            Content::Failed(SampleError::input(
                "give one of path, image, text and embedding",
            )),
        ),
    };
    Sample {
        name,
        content,
        tag: parsed.id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &'static [u8]) -> Vec<Result<String, String>> {
        listed(Box::new(text)).collect()
    }

    #[test]
    fn names_are_separated_by_lines_or_nul() {
        assert_eq!(
            names(b"a\r\n\nb c\n"),
            [Ok("a".to_owned()), Ok("b c".to_owned())]
        );
        assert_eq!(
            names(b"a\0b\nc\0"),
            [Ok("a".to_owned()), Ok("b\nc".to_owned())]
        );
        assert!(names(b"\xff\n")[0].is_err());
        assert!(names(b"").is_empty());
    }

    #[test]
    fn json_lines_are_one_input_each() {
        let text = br#"{"path": "a.png", "id": 7}

{"image": "data:image/png;base64,aGk="}
{"text": "a fox", "id": {"x": 1}}
{"embedding": [1, 2]}
{"path": "a", "text": "b", "id": 9}
{"file": "a", "id": 8}
no json
"#;
        let samples: Vec<Sample> = json_lines(Box::new(&text[..])).collect();
        assert!(matches!(&samples[0].content, Content::File(path) if path == Path::new("a.png")));
        assert_eq!(samples[0].tag, Some(7.into()));
        assert!(matches!(&samples[1].content, Content::Bytes(bytes) if bytes == b"hi"));
        assert!(matches!(&samples[2].content, Content::Text(text) if text == "a fox"));
        assert!(matches!(&samples[3].content, Content::Embedding(e) if e == &[1.0, 2.0]));
        for (sample, id) in samples[4..].iter().zip([Some(9), Some(8), None]) {
            assert!(
                matches!(sample.content, Content::Failed(_)),
                "{}",
                sample.name
            );
            assert_eq!(sample.tag, id.map(Value::from));
        }
        assert_eq!(samples[6].name, "line 8");
        assert_eq!(samples.len(), 7);
    }
}
