//! What is let in: how many inputs, how many bytes at a time, and pictures
//! within their limits.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::{BodyExt as _, Limited};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::ServeOptions;
use super::error::ApiError;
use super::metrics::Metrics;
use crate::images::{DecodeOptions, decode_bytes};
use crate::infer::{EmbeddingModel, PreparedImage, SampleError};

/// Counts what is under way.
pub(super) struct Admission {
    queue: usize,
    waiting: Arc<AtomicUsize>,
    max_body: usize,
    /// In units of `UNIT` bytes.
    bytes: Arc<Semaphore>,
    units: u32,
    decoders: Arc<Semaphore>,
    decode: DecodeOptions,
    metrics: Arc<Metrics>,
}

const UNIT: usize = 1 << 10;

/// Inputs that count as under way until this is dropped.
pub(super) struct Places {
    count: usize,
    waiting: Arc<AtomicUsize>,
    metrics: Arc<Metrics>,
}

/// A body with the right to hold its bytes.
pub(super) struct HeldBody {
    pub bytes: axum::body::Bytes,
    _permit: OwnedSemaphorePermit,
}

impl Drop for Places {
    fn drop(&mut self) {
        let before = self.waiting.fetch_sub(self.count, Ordering::SeqCst);
        self.metrics.queue.set((before - self.count) as i64);
    }
}

impl Admission {
    pub(super) fn new(options: &ServeOptions, metrics: Arc<Metrics>) -> Self {
        let units = options.max_bytes_in_flight.max(options.max_body) / UNIT + 1;
        let units = u32::try_from(units).unwrap_or(u32::MAX);
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Self {
            queue: options.queue.max(1),
            waiting: Arc::new(AtomicUsize::new(0)),
            max_body: options.max_body,
            bytes: Arc::new(Semaphore::new(units as usize)),
            units,
            decoders: Arc::new(Semaphore::new(cores)),
            decode: DecodeOptions {
                limits: options.images,
                exif_rotate: false,
                on_white: false,
            },
            metrics,
        }
    }

    /// Places for the inputs of a request.
    pub(super) fn places(&self, count: usize) -> Result<Places, ApiError> {
        let queue = self.queue;
        let taken = self
            .waiting
            .fetch_update(Ordering::SeqCst, Ordering::SeqCst, |waiting| {
                // A request that is alone may be larger than the queue.
                (waiting == 0 || waiting + count <= queue).then_some(waiting + count)
            });
        match taken {
            Ok(before) => {
                self.metrics.queue.set((before + count) as i64);
                Ok(Places {
                    count,
                    waiting: self.waiting.clone(),
                    metrics: self.metrics.clone(),
                })
            }
            Err(waiting) => Err(ApiError::busy(format!(
                "{waiting} inputs wait already, at most {queue} may: try again later"
            ))),
        }
    }

    /// Reads the body of a request.
    pub(super) async fn read(&self, headers: &HeaderMap, body: Body) -> Result<HeldBody, ApiError> {
        let limit = self.max_body;
        let too_large = || ApiError::too_large(format!("a request has at most {limit} bytes"));
        let length = headers
            .get(header::CONTENT_LENGTH)
            .and_then(|length| length.to_str().ok()?.parse::<usize>().ok());
        if length.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        // A body of unknown length may become as long as is allowed.
        let units = length.unwrap_or(limit) / UNIT + 1;
        let units = u32::try_from(units).unwrap_or(u32::MAX).min(self.units);
        let permit = self.bytes.clone().acquire_many_owned(units).await;
        let permit = permit.map_err(|_| ApiError::busy("the server is stopping"))?;
        let bytes = match Limited::new(body, limit).collect().await {
            Ok(collected) => collected.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => {
                return Err(too_large());
            }
            Err(error) => {
                return Err(ApiError::bad(format!("the body cannot be read: {error}")));
            }
        };
        Ok(HeldBody {
            bytes,
            _permit: permit,
        })
    }

    /// Decodes and prepares a picture on a thread of its own, as many at a
    /// time as there are cores.
    pub(super) async fn decode(
        &self,
        bytes: Vec<u8>,
        name: String,
        embedder: Arc<dyn EmbeddingModel>,
    ) -> Result<Result<PreparedImage, SampleError>, ApiError> {
        let permit = self.decoders.clone().acquire_owned().await;
        let permit = permit.map_err(|_| ApiError::busy("the server is stopping"))?;
        let (options, metrics) = (self.decode, self.metrics.clone());
        let work = tokio::task::spawn_blocking(move || {
            let start = std::time::Instant::now();
            let picture = decode_bytes(&bytes, Path::new(&name), &options);
            let prepared = picture.map(|picture| embedder.prepare(picture));
            metrics.stage("decode", start.elapsed().as_secs_f64());
            drop(permit);
            prepared.map_err(SampleError::from)
        });
        work.await
            .map_err(|_| ApiError::internal("decoding the picture failed"))
    }
}
