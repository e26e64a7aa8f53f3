//! Counters for Prometheus.

use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

type Labels<const N: usize> = [(&'static str, String); N];

/// All counters of a server.
pub(super) struct Metrics {
    registry: Registry,
    requests: Family<Labels<2>, Counter>,
    /// Inputs by kind: `image`, `text`, `embedding`.
    pub inputs: Family<Labels<1>, Counter>,
    errors: Family<Labels<1>, Counter>,
    /// Inputs that are worked on or wait.
    pub queue: Gauge,
    /// Inputs of each batch.
    pub batch_size: Histogram,
    stages: Family<Labels<1>, Histogram, fn() -> Histogram>,
    /// Seconds of whole requests.
    pub request_seconds: Histogram,
}

fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 2.0, 16))
}

impl Metrics {
    pub(super) fn new() -> Self {
        let mut registry = Registry::with_prefix("novic");
        let requests = Family::default();
        registry.register("requests", "Requests by path and status", requests.clone());
        let inputs = Family::default();
        registry.register("inputs", "Inputs by kind", inputs.clone());
        let errors = Family::default();
        registry.register(
            "errors",
            "Inputs and requests without result, by kind",
            errors.clone(),
        );
        let queue = Gauge::default();
        registry.register(
            "queue_inputs",
            "Inputs that are worked on or wait",
            queue.clone(),
        );
        let batch_size = Histogram::new(exponential_buckets(1.0, 2.0, 8));
        registry.register(
            "batch_inputs",
            "Inputs embedded together",
            batch_size.clone(),
        );
        let stages = Family::new_with_constructor(seconds as fn() -> Histogram);
        registry.register_with_unit(
            "stage",
            "Time of a stage: decode (a picture), embed, generate (a batch)",
            Unit::Seconds,
            stages.clone(),
        );
        let request_seconds = seconds();
        registry.register_with_unit(
            "request",
            "Time of requests to classify",
            Unit::Seconds,
            request_seconds.clone(),
        );
        Self {
            registry,
            requests,
            inputs,
            errors,
            queue,
            batch_size,
            stages,
            request_seconds,
        }
    }

    /// Counts a request.
    pub(super) fn request(&self, path: &'static str, status: u16) {
        let labels = [("path", path.to_owned()), ("status", status.to_string())];
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts an input.
    pub(super) fn input(&self, kind: &'static str) {
        self.inputs
            .get_or_create(&[("kind", kind.to_owned())])
            .inc();
    }

    /// Counts an input or a request that has no result.
    pub(super) fn error(&self, kind: &'static str) {
        self.errors
            .get_or_create(&[("kind", kind.to_owned())])
            .inc();
    }

    /// Notes the time of a stage.
    pub(super) fn stage(&self, stage: &'static str, seconds: f64) {
        let labels = [("stage", stage.to_owned())];
        self.stages.get_or_create(&labels).observe(seconds);
    }

    /// All counters as text.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string does not fail.
        let _ = encode(&mut text, &self.registry);
        text
    }
}
