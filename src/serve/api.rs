//! The JSON API.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use candle_core::{Device, Tensor};
use http_body_util::channel::Channel;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::task::JoinSet;

use super::ServeOptions;
use super::admission::{Admission, HeldBody, Places};
use super::batcher::{Batcher, How, Jobs, Ready};
use super::error::ApiError;
use super::guides::{Chosen, Given, Guides};
use super::metrics::Metrics;
use super::request::{ClassifyRequest, Input, Item, chosen, read_json};
use crate::infer::{Classified, Guide, NounList, NovicModel, RecordOptions, Timings, record};
use crate::web::json_response;

const OPENAPI: &str = include_str!("openapi.json");

/// A running server.
pub(super) struct Server {
    model: NovicModel,
    name: String,
    guides: Guides,
    jobs: Jobs,
    admission: Admission,
    metrics: Arc<Metrics>,
    timeout: Duration,
    max_inputs: usize,
    ready: Arc<std::sync::OnceLock<Result<(), String>>>,
}

type Answered = Result<Response, ApiError>;

impl Server {
    /// Starts the batches and loads the weights beside them.
    pub(super) fn start(model: NovicModel, options: &ServeOptions) -> (Arc<Self>, Batcher) {
        let metrics = Arc::new(Metrics::new());
        let (jobs, batcher) = Batcher::start(
            model.clone(),
            options.queue.max(options.max_inputs),
            options.max_batch,
            options.max_wait,
            metrics.clone(),
        );
        let ready = Arc::new(std::sync::OnceLock::new());
        let (warmed, warming) = (ready.clone(), model.clone());
        std::thread::spawn(move || {
            let outcome = warming.warm_up().map_err(|error| error.to_string());
            // Only this thread sets it.
            let _ = warmed.set(outcome);
        });
        let server = Self {
            name: model.decoder().tail(),
            guides: Guides::new(model.decoder().clone(), model.guide().clone()),
            jobs,
            admission: Admission::new(options, metrics.clone()),
            metrics,
            timeout: options.timeout,
            max_inputs: options.max_inputs,
            ready,
            model,
        };
        (Arc::new(server), batcher)
    }

    async fn guide(self: &Arc<Self>, chosen: Chosen) -> Result<Given, ApiError> {
        if !matches!(chosen, Chosen::Nouns(_)) {
            return self.guides.get(&chosen);
        }
        let server = self.clone();
        tokio::task::spawn_blocking(move || server.guides.get(&chosen))
            .await
            .map_err(|_| ApiError::internal("reading the guide list failed"))?
    }

    async fn classify(self: &Arc<Self>, request: Request) -> Answered {
        let (parts, body) = request.into_parts();
        let body: HeldBody = self.admission.read(&parts.headers, body).await?;
        let streams = parts
            .headers
            .get(header::ACCEPT)
            .and_then(|accept| accept.to_str().ok())
            .is_some_and(|accept| accept.contains("application/x-ndjson"));
        let request = ClassifyRequest::parse(parts, body.bytes.clone(), self.max_inputs).await?;
        let places = self.admission.places(request.items.len())?;
        let options = request.options;
        let given = self.guide(options.guide).await?;
        let config = options.config.unwrap_or(*self.model.generation());
        let how = How {
            guide: given.guide,
            config,
            with_tokens: options.tokens,
        };
        let records = RecordOptions {
            model: self.name.clone(),
            top: options.top,
            min_prob: options.min_prob,
            without_times: false,
        };
        let shown = Shown {
            records,
            with_embedding: options.embedding,
            guide_warnings: given.warnings,
        };
        let count = request.items.len();
        let mut tasks = JoinSet::new();
        for (index, item) in request.items.into_iter().enumerate() {
            let (server, how) = (self.clone(), how.clone());
            tasks.spawn(async move { server.item(index, item, how).await });
        }
        let results = Results {
            tasks,
            waiting: (0..count).map(|_| None).collect(),
            next: 0,
            _places: places,
            _body: body,
        };
        if streams {
            return Ok(stream(results, shown, self.timeout));
        }
        let all = results.all().await?;
        if let (true, Some(Err(error))) = (request.is_single, all.first().map(|one| &one.outcome)) {
            let status = match error.kind {
                "image_size" => StatusCode::PAYLOAD_TOO_LARGE,
                _ => StatusCode::UNPROCESSABLE_ENTITY,
            };
            return Err(ApiError::new(status, error.kind, error.message.clone()));
        }
        let status = if all.iter().all(|one| one.outcome.is_err()) {
            StatusCode::UNPROCESSABLE_ENTITY
        } else {
            StatusCode::OK
        };
        let list: Vec<Value> = all.iter().map(|one| shown.record(one)).collect();
        Ok(json_response(status, &list.into()))
    }

    async fn item(
        self: Arc<Self>,
        index: usize,
        item: Item,
        how: How,
    ) -> Result<Classified, ApiError> {
        let start = Instant::now();
        let Item { name, id, input } = item;
        let generation = how.config;
        let done = |outcome, embedding: Option<Vec<f32>>, timings| Classified {
            index,
            batch: 0,
            name: name.clone(),
            tag: id.clone(),
            generation,
            outcome,
            embedding,
            timings,
        };
        let ready = match input {
            Input::Wrong(error) => Err(error),
            Input::Text(text) => {
                self.metrics.input("text");
                Ok(Ready::Text(text))
            }
            Input::Embedding(embedding) => {
                self.metrics.input("embedding");
                Ok(Ready::Embedding(embedding))
            }
            Input::Image(bytes) => {
                self.metrics.input("image");
                let embedder = self.model.embedder().clone();
                self.admission
                    .decode(bytes, name.clone(), embedder)
                    .await?
                    .map(Ready::Image)
            }
        };
        let mut timings = Timings {
            decode: start.elapsed().as_secs_f64() * 1e3,
            ..Timings::default()
        };
        let ready = match ready {
            Ok(ready) => ready,
            Err(error) => {
                self.metrics.error(error.kind);
                return Ok(done(Err(error), None, timings));
            }
        };
        let answer = self.jobs.send(ready, how)?.await;
        let answer = answer.map_err(|_| ApiError::internal("the batch failed"))??;
        if let Err(error) = &answer.outcome {
            self.metrics.error(error.kind);
        }
        timings.embed = answer.embed;
        timings.generate = answer.generate;
        Ok(done(answer.outcome, Some(answer.embedding), timings))
    }

    fn alternatives(&self, request: &Alternatives, guide: &Guide) -> Result<Value, ApiError> {
        let fault = self.model.decoder().check_embedding(&request.embedding);
        fault.map_err(|fault| ApiError::bad(format!("embedding: {fault}")))?;
        let shape = (1, request.embedding.len());
        let embed = Tensor::from_slice(&request.embedding, shape, &Device::Cpu)
            .map_err(|error| ApiError::internal(error.to_string()))?;
        let guide = request.guided.then_some(guide);
        let places = self
            .model
            .decoder()
            .alternatives(&embed, &request.tokens, request.count.clamp(1, 50), guide)
            .map_err(|error| match &error {
                crate::infer::InferError::Decoder(inner) if inner.is_usage() => {
                    ApiError::bad(error.to_string())
                }
                _ => ApiError::internal(error.to_string()),
            })?;
        let places: Vec<Vec<Value>> = places
            .into_iter()
            .map(|tokens| {
                let token = |token: crate::infer::LabelToken| {
                    json!({ "text": token.text, "id": token.id, "prob": token.log_prob.exp() })
                };
                tokens.into_iter().map(token).collect()
            })
            .collect();
        Ok(json!({ "places": places }))
    }
}

/// Results of a request as they come, in the order of its inputs.
struct Results {
    tasks: JoinSet<Result<Classified, ApiError>>,
    waiting: Vec<Option<Classified>>,
    next: usize,
    _places: Places,
    _body: HeldBody,
}

impl Results {
    async fn next(&mut self) -> Option<Result<Classified, ApiError>> {
        loop {
            let place = self.waiting.get_mut(self.next)?;
            if let Some(ready) = place.take() {
                self.next += 1;
                return Some(Ok(ready));
            }
            match self.tasks.join_next().await? {
                Ok(Ok(classified)) => {
                    let index = classified.index;
                    self.waiting[index] = Some(classified);
                }
                Ok(Err(error)) => return Some(Err(error)),
                Err(_) => return Some(Err(ApiError::internal("classifying failed"))),
            }
        }
    }

    async fn all(mut self) -> Result<Vec<Classified>, ApiError> {
        let mut all = Vec::with_capacity(self.waiting.len());
        while let Some(one) = self.next().await {
            all.push(one?);
        }
        Ok(all)
    }
}

/// What records of a request hold.
struct Shown {
    records: RecordOptions,
    with_embedding: bool,
    /// Of a guide list that the request gives.
    guide_warnings: Arc<[String]>,
}

impl Shown {
    fn record(&self, one: &Classified) -> Value {
        let mut value = record(one, &self.records);
        if let Some(object) = value.as_object_mut() {
            if let (true, Some(embedding)) = (self.with_embedding, &one.embedding) {
                object.insert("embedding".to_owned(), json!(embedding));
            }
            if !self.guide_warnings.is_empty() {
                object.insert("guide_warnings".to_owned(), json!(*self.guide_warnings));
            }
        }
        value
    }
}

/// A line per result, sent when it is there.
fn stream(mut results: Results, shown: Shown, timeout: Duration) -> Response {
    let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
    tokio::spawn(async move {
        let send = async {
            while let Some(one) = results.next().await {
                let value = match one {
                    Ok(one) => shown.record(&one),
                    Err(error) => {
                        json!({ "error": { "kind": error.kind, "message": error.message } })
                    }
                };
                // Nobody reads any more: what is left is not needed.
                if sender
                    .send_data(Bytes::from(format!("{value}\n")))
                    .await
                    .is_err()
                {
                    break;
                }
            }
        };
        // What is late is cut off; whole lines are results.
        let _ = tokio::time::timeout(timeout, send).await;
    });
    let kind = [(header::CONTENT_TYPE, "application/x-ndjson")];
    (kind, Body::new(body)).into_response()
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Alternatives {
    embedding: Vec<f32>,
    tokens: Vec<u32>,
    #[serde(default = "five")]
    count: usize,
    #[serde(default = "yes")]
    guided: bool,
    guide: Option<Value>,
}

fn five() -> usize {
    5
}

fn yes() -> bool {
    true
}

impl Server {
    /// Ends a request: in time, counted.
    async fn finish(&self, path: &'static str, work: impl Future<Output = Answered>) -> Response {
        let start = Instant::now();
        let outcome = match tokio::time::timeout(self.timeout, work).await {
            Ok(outcome) => outcome,
            Err(_) => Err(ApiError::busy(format!(
                "the request took longer than {} s",
                self.timeout.as_secs()
            ))),
        };
        let response = match outcome {
            Ok(response) => response,
            Err(error) => {
                self.metrics.error(error.kind);
                error.into_response()
            }
        };
        self.metrics.request(path, response.status().as_u16());
        if path == "/v1/classify" {
            self.metrics
                .request_seconds
                .observe(start.elapsed().as_secs_f64());
        }
        response
    }
}

pub(super) async fn classify(State(server): State<Arc<Server>>, request: Request) -> Response {
    server
        .finish("/v1/classify", server.classify(request))
        .await
}

pub(super) async fn alternatives(State(server): State<Arc<Server>>, request: Request) -> Response {
    let work = async {
        let (parts, body) = request.into_parts();
        let body = server.admission.read(&parts.headers, body).await?;
        let request: Alternatives = read_json(&body.bytes)?;
        let _places = server.admission.places(1)?;
        let guide = server.guide(chosen(request.guide.clone())?).await?.guide;
        let own = server.clone();
        let value = tokio::task::spawn_blocking(move || own.alternatives(&request, &guide))
            .await
            .map_err(|_| ApiError::internal("decoding failed"))??;
        Ok(json_response(StatusCode::OK, &value))
    };
    server.finish("/v1/alternatives", work).await
}

pub(super) async fn put_guide(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
    request: Request,
) -> Response {
    let work = async {
        let (parts, body) = request.into_parts();
        let body = server.admission.read(&parts.headers, body).await?;
        let is_json = is_json(&parts.headers);
        let own = server.clone();
        let given = tokio::task::spawn_blocking(move || {
            let nouns: Vec<String> = if is_json {
                read_json(&body.bytes)?
            } else {
                let text = std::str::from_utf8(&body.bytes)
                    .map_err(|_| ApiError::bad("the list is no UTF-8"))?;
                let list = NounList::parse(text);
                [list.nouns, list.repeated].concat()
            };
            own.guides.put(&name, &nouns)
        })
        .await
        .map_err(|_| ApiError::internal("reading the guide list failed"))??;
        let answer = json!({
            "nouns": given.guide.nouns().len(),
            "usable": given.guide.trie().distinct(),
            "warnings": *given.warnings,
        });
        Ok(json_response(StatusCode::OK, &answer))
    };
    server.finish("/v1/guides/{name}", work).await
}

fn is_json(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.starts_with("application/json"))
}

pub(super) async fn get_guide(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
) -> Response {
    let work = async {
        let guide = server.guides.find(&name)?;
        Ok(json_response(StatusCode::OK, &json!(guide.nouns())))
    };
    server.finish("/v1/guides/{name}", work).await
}

pub(super) async fn delete_guide(
    State(server): State<Arc<Server>>,
    Path(name): Path<String>,
) -> Response {
    let work = async {
        server.guides.find(&name)?;
        server.guides.delete(&name);
        Ok(StatusCode::NO_CONTENT.into_response())
    };
    server.finish("/v1/guides/{name}", work).await
}

pub(super) async fn list_guides(State(server): State<Arc<Server>>) -> Response {
    let lists = server.guides.list().into_iter();
    let lists: Vec<Value> = lists
        .map(|(name, nouns)| json!({ "name": name, "nouns": nouns }))
        .collect();
    json_response(StatusCode::OK, &lists.into())
}

pub(super) async fn models(State(server): State<Arc<Server>>) -> Response {
    let decoder = server.model.decoder();
    let models = json!([{
        "name": server.name,
        "embedder": decoder.trained().embedder_spec,
        "embed_dim": decoder.dim(),
        "vocabulary": decoder.vocabulary().nouns().len(),
        "guide": server.model.guide().nouns().len(),
        "gencfg": server.model.generation().to_string(),
    }]);
    json_response(StatusCode::OK, &models)
}

pub(super) async fn health() -> &'static str {
    "ok\n"
}

pub(super) async fn ready(State(server): State<Arc<Server>>) -> Response {
    match server.ready.get() {
        Some(Ok(())) => "ready\n".into_response(),
        Some(Err(message)) => ApiError::internal(message.clone()).into_response(),
        None => ApiError::busy("the weights are being loaded").into_response(),
    }
}

pub(super) async fn metrics(State(server): State<Arc<Server>>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], server.metrics.text()).into_response()
}

pub(super) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, "application/json")], OPENAPI).into_response()
}

pub(super) async fn nothing_here() -> ApiError {
    ApiError::new(
        StatusCode::NOT_FOUND,
        "not_found",
        "nothing is here; /openapi.json tells what is",
    )
}

pub(super) async fn wrong_method() -> ApiError {
    ApiError::new(
        StatusCode::METHOD_NOT_ALLOWED,
        "method",
        "this path has other methods; /openapi.json tells which",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_description_names_every_path() {
        let description: Value = serde_json::from_str(OPENAPI).unwrap();
        let source = include_str!("mod.rs");
        let mut found = 0;
        for line in source.lines() {
            let Some((_, rest)) = line.split_once("\"/") else {
                continue;
            };
            let path = format!("/{}", rest.split('"').next().unwrap());
            let is_page =
                ["/", "/page.js", "/page.css", "/examples/{name}"].contains(&path.as_str());
            if !is_page {
                assert!(description["paths"][&path].is_object(), "{path}");
                found += 1;
            }
        }
        assert!(found >= 9);
    }
}
