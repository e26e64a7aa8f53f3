//! Dynamic batching: what is ready is embedded together; what has the same
//! guide list and configuration is decoded together.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use candle_core::{DType, Device, Tensor};
use tokio::sync::oneshot;

use super::error::ApiError;
use super::metrics::Metrics;
use crate::decoder::generate::GenerationConfig;
use crate::infer::{Guide, Label, NovicModel, PreparedImage, SampleError};

/// What can be embedded, or is so already.
#[derive(Debug)]
pub(super) enum Ready {
    Image(PreparedImage),
    Text(String),
    Embedding(Vec<f32>),
}

/// How an input is decoded.
#[derive(Clone)]
pub(super) struct How {
    pub guide: Arc<Guide>,
    pub config: GenerationConfig,
    pub with_tokens: bool,
}

/// What came of an input.
pub(super) struct Answer {
    pub outcome: Result<Vec<Label>, SampleError>,
    /// Its embedding, if there is one.
    pub embedding: Vec<f32>,
    /// Milliseconds of the batch: embedding, generating.
    pub embed: f64,
    pub generate: f64,
}

struct Job {
    ready: Ready,
    how: How,
    answer: oneshot::Sender<Result<Answer, ApiError>>,
}

/// Where jobs are sent.
#[derive(Clone)]
pub(super) struct Jobs(SyncSender<Job>);

/// The thread that works on batches.
pub(super) struct Batcher {
    thread: JoinHandle<()>,
    stopped: Arc<AtomicBool>,
}

impl Jobs {
    /// Sends an input; its answer comes later.
    pub(super) fn send(
        &self,
        ready: Ready,
        how: How,
    ) -> Result<oneshot::Receiver<Result<Answer, ApiError>>, ApiError> {
        let (answer, receiver) = oneshot::channel();
        let job = Job { ready, how, answer };
        match self.0.try_send(job) {
            Ok(()) => Ok(receiver),
            Err(TrySendError::Full(_)) => Err(ApiError::busy("the queue is full")),
            Err(TrySendError::Disconnected(_)) => Err(ApiError::busy("the server is stopping")),
        }
    }
}

impl Batcher {
    /// Starts the thread.
    pub(super) fn start(
        model: NovicModel,
        queue: usize,
        max_batch: usize,
        max_wait: Duration,
        metrics: Arc<Metrics>,
    ) -> (Jobs, Self) {
        let (sender, receiver) = sync_channel(queue.max(1));
        let stopped = Arc::new(AtomicBool::new(false));
        let flag = stopped.clone();
        let thread = std::thread::spawn(move || {
            while let Some(batch) = collect(&receiver, max_batch.max(1), max_wait, &flag) {
                // What one input does to the model must not end the others.
                let work = || work(&model, batch, &metrics);
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    metrics.error("panic");
                }
            }
        });
        (Jobs(sender), Self { thread, stopped })
    }

    /// Ends the thread when nothing waits any more.
    pub(super) fn stop(self) {
        self.stopped.store(true, Ordering::SeqCst);
        // A panic of the thread was told of when it happened.
        let _ = self.thread.join();
    }
}

/// The next batch; none when the server stops.
fn collect(
    jobs: &Receiver<Job>,
    max_batch: usize,
    max_wait: Duration,
    stopped: &AtomicBool,
) -> Option<Vec<Job>> {
    let first = loop {
        match jobs.recv_timeout(Duration::from_millis(100)) {
            Ok(job) => break job,
            Err(RecvTimeoutError::Timeout) if stopped.load(Ordering::SeqCst) => return None,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return None,
        }
    };
    let mut batch = vec![first];
    let end = Instant::now() + max_wait;
    while batch.len() < max_batch {
        match jobs.recv_timeout(end.saturating_duration_since(Instant::now())) {
            Ok(job) => batch.push(job),
            Err(_) => break,
        }
    }
    Some(batch)
}

type Waiting = (How, oneshot::Sender<Result<Answer, ApiError>>);

fn work(model: &NovicModel, batch: Vec<Job>, metrics: &Metrics) {
    // Whoever does not wait any more needs no answer.
    let batch: Vec<Job> = batch
        .into_iter()
        .filter(|job| !job.answer.is_closed())
        .collect();
    if batch.is_empty() {
        return;
    }
    metrics.batch_size.observe(batch.len() as f64);
    let start = Instant::now();
    let (mut embeddings, mut waiting): (Vec<Vec<f32>>, Vec<Waiting>) = (Vec::new(), Vec::new());
    let (mut images, mut texts) = (Vec::new(), Vec::new());
    let (mut image_places, mut text_places) = (Vec::new(), Vec::new());
    for job in batch {
        match job.ready {
            Ready::Image(image) => {
                images.push(image);
                image_places.push(embeddings.len());
                embeddings.push(Vec::new());
            }
            Ready::Text(text) => {
                texts.push(text);
                text_places.push(embeddings.len());
                embeddings.push(Vec::new());
            }
            Ready::Embedding(embedding) => embeddings.push(embedding),
        }
        waiting.push((job.how, job.answer));
    }
    let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
    let embedder = model.embedder();
    let made = [
        (!images.is_empty()).then(|| (embedder.embed_prepared(images), image_places)),
        (!texts.is_empty()).then(|| (embedder.embed_texts(&texts), text_places)),
    ];
    for (made, places) in made.into_iter().flatten() {
        let rows = made.map_err(|error| error.to_string()).and_then(|made| {
            made.to_dtype(DType::F32)
                .and_then(|made| made.to_vec2::<f32>())
                .map_err(|error| error.to_string())
        });
        match rows {
            Ok(rows) => {
                for (place, row) in places.into_iter().zip(rows) {
                    embeddings[place] = row;
                }
            }
            Err(message) => {
                for (_, answer) in waiting {
                    let _ = answer.send(Err(ApiError::internal(message.clone())));
                }
                return;
            }
        }
    }
    for warning in embedder.take_warnings() {
        eprintln!("warning: {warning}");
    }
    let embed_seconds = start.elapsed().as_secs_f64();
    metrics.stage("embed", embed_seconds);

    let mut groups: HashMap<(usize, String, bool), Vec<usize>> = HashMap::new();
    for (place, (how, _)) in waiting.iter().enumerate() {
        let guide = Arc::as_ptr(&how.guide) as usize;
        let key = (guide, how.config.to_string(), how.with_tokens);
        groups.entry(key).or_default().push(place);
    }
    let mut waiting: Vec<Option<Waiting>> = waiting.into_iter().map(Some).collect();
    for places in groups.into_values() {
        let start = Instant::now();
        let mut good = Vec::with_capacity(places.len());
        for place in places {
            match model.decoder().check_embedding(&embeddings[place]) {
                Ok(()) => good.push(place),
                Err(fault) => {
                    if let Some((_, answer)) = waiting[place].take() {
                        let _ = answer.send(Ok(Answer {
                            outcome: Err(fault.into()),
                            embedding: Vec::new(),
                            embed: embed_seconds * 1e3,
                            generate: 0.0,
                        }));
                    }
                }
            }
        }
        let Some((how, _)) = good.first().and_then(|&place| waiting[place].as_ref()) else {
            continue;
        };
        let values: Vec<f32> = good
            .iter()
            .flat_map(|&place| embeddings[place].iter().copied())
            .collect();
        let labels = decode(model, how, values, good.len());
        let generate_seconds = start.elapsed().as_secs_f64();
        metrics.stage("generate", generate_seconds);
        match labels {
            Ok(labels) => {
                for (place, labels) in good.into_iter().zip(labels) {
                    if let Some((_, answer)) = waiting[place].take() {
                        let _ = answer.send(Ok(Answer {
                            outcome: Ok(labels),
                            embedding: std::mem::take(&mut embeddings[place]),
                            embed: embed_seconds * 1e3,
                            generate: generate_seconds * 1e3,
                        }));
                    }
                }
            }
            Err(message) => {
                for place in good {
                    if let Some((_, answer)) = waiting[place].take() {
                        let _ = answer.send(Err(ApiError::internal(message.clone())));
                    }
                }
            }
        }
    }
}

fn decode(
    model: &NovicModel,
    how: &How,
    values: Vec<f32>,
    rows: usize,
) -> Result<Vec<Vec<Label>>, String> {
    let embeds = Tensor::from_vec(values, (rows, model.decoder().dim()), &Device::Cpu)
        .map_err(|error| error.to_string())?;
    let task = model
        .decoder()
        .task(how.config, &how.guide)
        .map_err(|error| error.to_string())?;
    task.with_tokens(how.with_tokens)
        .labels(&embeds)
        .map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::embedders::EmbedderError;
    use crate::embedders::tokenizer::TextTokenizer;
    use crate::infer::{CheckpointSource, EmbeddingModel};
    use image::RgbImage;

    /// An embedder that one text breaks.
    struct Fragile(Arc<dyn EmbeddingModel>);

    impl EmbeddingModel for Fragile {
        fn dim(&self) -> usize {
            self.0.dim()
        }

        fn tokenizer(&self) -> Arc<dyn TextTokenizer> {
            self.0.tokenizer()
        }

        fn embed_images(&self, images: &[RgbImage]) -> Result<Tensor, EmbedderError> {
            self.0.embed_images(images)
        }

        fn embed_texts(&self, texts: &[&str]) -> Result<Tensor, EmbedderError> {
            assert!(!texts.contains(&"break"), "broken");
            self.0.embed_texts(texts)
        }
    }

    #[test]
    fn a_batch_that_panics_does_not_end_the_server() {
        let whole = NovicModel::load(&CheckpointSource::Embedded).unwrap();
        let embedder: Arc<dyn EmbeddingModel> = Arc::new(Fragile(whole.embedder().clone()));
        let model = NovicModel::new(embedder, whole.decoder().clone()).unwrap();
        let how = How {
            guide: model.guide().clone(),
            config: *model.generation(),
            with_tokens: false,
        };
        let metrics = Arc::new(Metrics::new());
        let wait = Duration::from_millis(1);
        let (jobs, batcher) = Batcher::start(model, 4, 4, wait, metrics.clone());
        let ask = |text: &str| {
            let sent = jobs.send(Ready::Text(text.to_owned()), how.clone());
            sent.unwrap().blocking_recv()
        };
        assert!(ask("break").is_err());
        let answer = ask("a picture of a fox").unwrap().unwrap();
        assert!(!answer.outcome.unwrap().is_empty());
        // The next batch begins when the broken one is counted.
        assert!(
            metrics
                .text()
                .contains("novic_errors_total{kind=\"panic\"} 1")
        );
        batcher.stop();
    }
}
