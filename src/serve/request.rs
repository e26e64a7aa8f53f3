//! What requests to classify say: raw pictures, forms, JSON.

use std::collections::HashMap;

use axum::body::Body;
use axum::extract::{FromRequest as _, Multipart, Query, Request};
use axum::http::{StatusCode, header, request::Parts};
use base64::Engine as _;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::error::ApiError;
use super::guides::Chosen;
use crate::decoder::generate::GenerationConfig;
use crate::infer::SampleError;

/// Results of a request, at most.
const MAX_TOPK: usize = 100;
/// Longest text, in bytes.
const MAX_TEXT: usize = 10_000;
/// Numbers, texts and lists of a JSON body, at most: they take more memory than
/// the body itself.
const MAX_PARTS: usize = 1_000_000;
/// Fields of a form beside its inputs, at most.
const MAX_FIELDS: usize = 16;

/// A checked request.
pub(super) struct ClassifyRequest {
    pub options: Options,
    pub items: Vec<Item>,
    /// The body is one picture, so its fault is the request's.
    pub is_single: bool,
}

/// How to classify.
pub(super) struct Options {
    pub config: Option<GenerationConfig>,
    pub guide: Chosen,
    pub top: Option<usize>,
    pub min_prob: Option<f64>,
    pub tokens: bool,
    pub embedding: bool,
}

/// One input.
pub(super) struct Item {
    pub name: String,
    pub id: Option<Value>,
    pub input: Input,
}

pub(super) enum Input {
    Image(Vec<u8>),
    Text(String),
    Embedding(Vec<f32>),
    Wrong(SampleError),
}

/// Options as they are written: in the query, in fields of a form, in JSON.
#[derive(Debug, Default, Deserialize)]
struct Written {
    gencfg: Option<String>,
    top: Option<usize>,
    min_prob: Option<f64>,
    #[serde(default)]
    tokens: bool,
    #[serde(default)]
    embedding: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonRequest {
    #[serde(default)]
    images: Vec<JsonImage>,
    #[serde(default)]
    texts: Vec<String>,
    #[serde(default)]
    embeddings: Vec<Vec<f32>>,
    gencfg: Option<String>,
    guide: Option<Value>,
    top: Option<usize>,
    min_prob: Option<f64>,
    #[serde(default)]
    tokens: bool,
    #[serde(default)]
    embedding: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonImage {
    /// Base64, with or without `data:…;base64,` before it.
    data: String,
    id: Option<Value>,
    name: Option<String>,
}

impl ClassifyRequest {
    /// Reads a request whose body is here.
    pub(super) async fn parse(
        parts: Parts,
        bytes: axum::body::Bytes,
        max_inputs: usize,
    ) -> Result<Self, ApiError> {
        let kind = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|kind| kind.to_str().ok())
            .unwrap_or("application/octet-stream")
            .split(';')
            .next()
            .unwrap_or_default()
            .trim()
            .to_ascii_lowercase();
        let request = match kind.as_str() {
            "application/json" => tokio::task::spawn_blocking(move || Self::json(&bytes))
                .await
                .map_err(|_| ApiError::internal("reading the JSON failed"))??,
            "multipart/form-data" => Self::form(parts, bytes, max_inputs).await?,
            kind if kind.starts_with("image/") || kind == "application/octet-stream" => {
                Self::raw(&parts, bytes)?
            }
            kind => {
                return Err(ApiError::new(
                    StatusCode::UNSUPPORTED_MEDIA_TYPE,
                    "media_type",
                    format!(
                        "{kind:?} is none of image/…, application/octet-stream, \
                         multipart/form-data and application/json"
                    ),
                ));
            }
        };
        if request.items.is_empty() {
            return Err(ApiError::bad("there is nothing to classify in the request"));
        }
        if request.items.len() > max_inputs {
            return Err(ApiError::too_large(format!(
                "a request has at most {max_inputs} inputs, not {}",
                request.items.len()
            )));
        }
        Ok(request)
    }

    fn raw(parts: &Parts, bytes: axum::body::Bytes) -> Result<Self, ApiError> {
        let Query(fields) = Query::<HashMap<String, String>>::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::bad(error.to_string()))?;
        if bytes.is_empty() {
            return Err(ApiError::bad("the body is empty, it should be a picture"));
        }
        Ok(Self {
            options: options_of_fields(&fields)?,
            items: vec![Item {
                name: "image".to_owned(),
                id: None,
                input: Input::Image(bytes.into()),
            }],
            is_single: true,
        })
    }

    async fn form(
        parts: Parts,
        bytes: axum::body::Bytes,
        max_inputs: usize,
    ) -> Result<Self, ApiError> {
        let Query(mut fields) = Query::<HashMap<String, String>>::try_from_uri(&parts.uri)
            .map_err(|error| ApiError::bad(error.to_string()))?;
        let request = Request::from_parts(parts, Body::from(bytes));
        let wrong = |error: &dyn std::fmt::Display| ApiError::bad(format!("the form: {error}"));
        let mut form = Multipart::from_request(request, &())
            .await
            .map_err(|error| wrong(&error))?;
        let mut items = Vec::new();
        let mut count = 0;
        while let Some(field) = form.next_field().await.map_err(|error| wrong(&error))? {
            count += 1;
            if count > max_inputs + MAX_FIELDS {
                return Err(ApiError::too_large(format!(
                    "a form has at most {max_inputs} inputs and {MAX_FIELDS} other fields"
                )));
            }
            let name = field.name().unwrap_or_default().to_owned();
            let is_file = field.file_name().is_some()
                || field
                    .content_type()
                    .is_some_and(|kind| kind.starts_with("image/"));
            if is_file {
                let name = field.file_name().filter(|name| !name.is_empty());
                let name = name.map_or_else(|| format!("image {}", items.len()), str::to_owned);
                let bytes = field.bytes().await.map_err(|error| wrong(&error))?;
                items.push(Item {
                    name,
                    id: None,
                    input: Input::Image(bytes.into()),
                });
            } else {
                let text = field.text().await.map_err(|error| wrong(&error))?;
                if name == "text" {
                    items.push(text_item(text));
                } else {
                    fields.insert(name, text);
                }
            }
        }
        Ok(Self {
            options: options_of_fields(&fields)?,
            items,
            is_single: false,
        })
    }

    fn json(bytes: &[u8]) -> Result<Self, ApiError> {
        let request: JsonRequest = read_json(bytes)?;
        let guide = chosen(request.guide)?;
        let written = Written {
            gencfg: request.gencfg,
            top: request.top,
            min_prob: request.min_prob,
            tokens: request.tokens,
            embedding: request.embedding,
        };
        let mut items = Vec::new();
        for image in request.images {
            let name = image
                .name
                .unwrap_or_else(|| format!("image {}", items.len()));
            let data = image
                .data
                .rsplit_once(";base64,")
                .map_or(image.data.as_str(), |(_, data)| data);
            let input = match base64::engine::general_purpose::STANDARD.decode(data.trim()) {
                Ok(bytes) => Input::Image(bytes),
                Err(error) => {
                    Input::Wrong(SampleError::input(format!("data is no base64: {error}")))
                }
            };
            items.push(Item {
                name,
                id: image.id,
                input,
            });
        }
        items.extend(request.texts.into_iter().map(text_item));
        for embedding in request.embeddings {
            items.push(Item {
                name: format!("embedding {}", items.len()),
                id: None,
                input: Input::Embedding(embedding),
            });
        }
        Ok(Self {
            options: options(written, guide)?,
            items,
            is_single: false,
        })
    }
}

/// Reads a JSON body.
///
/// # Errors
/// One that is none, has other fields, or so many parts that it would take
/// much more memory than its bytes.
pub(super) fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, ApiError> {
    let (mut parts, mut in_text, mut is_escaped) = (0usize, false, false);
    for byte in bytes {
        match byte {
            _ if is_escaped => is_escaped = false,
            b'\\' if in_text => is_escaped = true,
            b'"' => in_text = !in_text,
            b',' | b'[' | b'{' if !in_text => parts += 1,
            _ => {}
        }
    }
    if parts > MAX_PARTS {
        return Err(ApiError::too_large(format!(
            "the JSON has {parts} parts, at most {MAX_PARTS} are read"
        )));
    }
    serde_json::from_slice(bytes).map_err(|error| ApiError::bad(format!("the JSON: {error}")))
}

fn text_item(text: String) -> Item {
    if text.len() > MAX_TEXT {
        let reason = format!(
            "the text has {} bytes, at most {MAX_TEXT} are read",
            text.len()
        );
        return Item {
            name: "text".to_owned(),
            id: None,
            input: Input::Wrong(SampleError::input(reason)),
        };
    }
    Item {
        name: format!("\"{text}\""),
        id: None,
        input: Input::Text(text),
    }
}

/// The list that a request names or gives.
pub(super) fn chosen(guide: Option<Value>) -> Result<Chosen, ApiError> {
    match guide {
        None | Some(Value::Null) => Ok(Chosen::Default),
        Some(Value::String(name)) if name.is_empty() => Ok(Chosen::Default),
        Some(Value::String(name)) => Ok(Chosen::Named(name)),
        Some(list) => serde_json::from_value(list)
            .map(Chosen::Nouns)
            .map_err(|_| ApiError::bad("guide is neither a name nor a list of nouns")),
    }
}

fn options_of_fields(fields: &HashMap<String, String>) -> Result<Options, ApiError> {
    let mut written = Written::default();
    let mut guide = Chosen::Default;
    for (name, value) in fields {
        let wrong = || ApiError::bad(format!("{name} = {value:?} has no meaning"));
        let flag = || match value.as_str() {
            "" | "1" | "true" => Ok(true),
            "0" | "false" => Ok(false),
            _ => Err(wrong()),
        };
        match name.as_str() {
            "gencfg" if value.is_empty() => {}
            "gencfg" => written.gencfg = Some(value.clone()),
            "top" => written.top = Some(value.parse().map_err(|_| wrong())?),
            "min_prob" => written.min_prob = Some(value.parse().map_err(|_| wrong())?),
            "tokens" => written.tokens = flag()?,
            "embedding" => written.embedding = flag()?,
            "guide" if value.is_empty() => {}
            "guide" if value.contains('\n') => {
                guide = Chosen::Nouns(value.lines().map(str::to_owned).collect());
            }
            "guide" => guide = Chosen::Named(value.clone()),
            _ => {
                return Err(ApiError::bad(format!(
                    "{name:?} is none of gencfg, guide, top, min_prob, tokens and embedding"
                )));
            }
        }
    }
    options(written, guide)
}

fn options(written: Written, guide: Chosen) -> Result<Options, ApiError> {
    let config = match &written.gencfg {
        None => None,
        Some(name) => {
            let config: GenerationConfig = name
                .parse()
                .map_err(|error: crate::decoder::DecoderError| ApiError::bad(error.to_string()))?;
            config
                .check(true, true)
                .map_err(|error| ApiError::bad(error.to_string()))?;
            if config.topk > MAX_TOPK {
                return Err(ApiError::bad(format!(
                    "k{} is more than the {MAX_TOPK} results that are allowed",
                    config.topk
                )));
            }
            Some(config)
        }
    };
    if written.top == Some(0) {
        return Err(ApiError::bad("top is at least 1"));
    }
    if written
        .min_prob
        .is_some_and(|least| !(0.0..=1.0).contains(&least))
    {
        return Err(ApiError::bad("min_prob is a number from 0 to 1"));
    }
    Ok(Options {
        config,
        guide,
        top: written.top,
        min_prob: written.min_prob,
        tokens: written.tokens,
        embedding: written.embedding,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bodies_that_unfold_to_much_more_than_their_bytes_are_refused() {
        let read = |text: &str| read_json::<Value>(text.as_bytes());
        assert_eq!(read(r#"{"a": [1, "\",[{"]}"#).unwrap()["a"][1], "\",[{");
        // Commas within texts are no parts.
        let text = format!("[\"{}\"]", ",[\\\"".repeat(MAX_PARTS));
        assert!(read(&text).is_ok());
        let parts = format!("[{}0]", "0,".repeat(MAX_PARTS));
        assert_eq!(read(&parts).unwrap_err().status, 413);
        assert_eq!(read("{").unwrap_err().status, 400);
    }
}
