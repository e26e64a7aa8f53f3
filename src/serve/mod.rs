//! A model as an HTTP server: a JSON API with dynamic batching, and a page for
//! people.
//!
//! [`run`] serves a model until it is told to stop. Requests are read and
//! checked by `api`, pictures decoded by `admission`, and everything that is
//! ready goes to `batcher`, which embeds and decodes it in batches. Knows
//! nothing of experiments.

mod admission;
mod api;
mod batcher;
mod error;
mod guides;
mod metrics;
mod page;
mod request;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post, put};
use tokio::net::TcpListener;

use self::api::Server;
use crate::images::ImageLimits;
use crate::infer::NovicModel;
use crate::web::{ConnectionLimits, Guard, guarded, serve};

/// What a server may use.
#[derive(Clone, Debug)]
pub struct ServeOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// What requests must show, if anything.
    pub token: Option<String>,
    /// Inputs that are worked on or wait, at most; more are refused (503).
    pub queue: usize,
    /// Inputs of one request, at most.
    pub max_inputs: usize,
    /// Bytes of a request, at most.
    pub max_body: usize,
    /// Bytes of all requests that are being read, at most.
    pub max_bytes_in_flight: usize,
    /// Limits on each picture.
    pub images: ImageLimits,
    /// Time for a request.
    pub timeout: Duration,
    /// Inputs that are embedded together, at most.
    pub max_batch: usize,
    /// How long a batch waits for further inputs.
    pub max_wait: Duration,
    /// Connections at a time.
    pub connections: usize,
}

impl Default for ServeOptions {
    fn default() -> Self {
        Self {
            address: SocketAddr::from(([127, 0, 0, 1], 8400)),
            token: None,
            queue: 256,
            max_inputs: 64,
            max_body: 32 << 20,
            max_bytes_in_flight: 256 << 20,
            images: ImageLimits {
                max_bytes: 32 << 20,
                max_pixels: 50_000_000,
            },
            timeout: Duration::from_secs(60),
            max_batch: 32,
            max_wait: Duration::from_millis(2),
            connections: 256,
        }
    }
}

/// Serves a model until `stop` is there; what has begun by then is finished.
/// `listening` is told the address, which has a port even if 0 was asked for.
///
/// # Errors
/// An address that cannot be listened to.
pub fn run(
    model: NovicModel,
    options: &ServeOptions,
    listening: impl FnOnce(SocketAddr) + Send,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("novic-serve")
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let (server, batcher) = Server::start(model, options);
        listening(address);
        let limits = ConnectionLimits {
            connections: options.connections,
            drain: options.timeout,
            ..ConnectionLimits::default()
        };
        let guard = Guard {
            token: options.token.clone(),
            cookie: None,
            local_names_only: address.ip().is_loopback(),
            // The page asks for the token itself.
            open: vec!["/healthz", "/readyz", "/", "/page.js", "/page.css"],
            ..Guard::default()
        };
        serve(listener, guarded(router(server), guard), limits, stop).await?;
        // The last request has its answer: nothing is left to be batched.
        batcher.stop();
        Ok(())
    })
}

fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/", get(page::page))
        .route("/page.js", get(page::script))
        .route("/page.css", get(page::style))
        .route("/examples/{name}", get(page::example))
        .route("/healthz", get(api::health))
        .route("/readyz", get(api::ready))
        .route("/metrics", get(api::metrics))
        .route("/openapi.json", get(api::openapi))
        .route("/v1/models", get(api::models))
        .route("/v1/classify", post(api::classify))
        .route("/v1/alternatives", post(api::alternatives))
        .route("/v1/guides", get(api::list_guides))
        .route(
            "/v1/guides/{name}",
            put(api::put_guide)
                .get(api::get_guide)
                .delete(api::delete_guide),
        )
        .fallback(api::nothing_here)
        .method_not_allowed_fallback(api::wrong_method)
        // Bodies have a limit of their own.
        .layer(DefaultBodyLimit::disable())
        .with_state(server)
}
