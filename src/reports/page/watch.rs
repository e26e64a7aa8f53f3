//! `novic book --watch`: the page of an experiment, served on this machine and
//! made anew while stages run.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha2::{Digest, Sha256};
use tokio::net::TcpListener;

use crate::reports::render::SORT_SCRIPT;
use crate::web::{ConnectionLimits, Guard, guarded, serve};

/// A page is made anew when it is asked for and older than this.
const FRESH: Duration = Duration::from_secs(1);

/// Asks for the version of the page and loads it again when it is another.
const SCRIPT: &str = "\
let seen = null;
async function look() {
  try {
    const answer = await fetch('/version');
    const version = await answer.text();
    if (answer.ok && seen !== null && version !== seen) location.reload();
    if (answer.ok) seen = version;
  } catch (error) { /* the server has ended; the page stays */ }
  setTimeout(look, 1500);
}
look();
";

/// What the page may load: itself, the script above, and the one that sorts
/// its tables.
fn policy() -> String {
    let hash = STANDARD.encode(Sha256::digest(SORT_SCRIPT));
    format!(
        "default-src 'none'; style-src 'unsafe-inline'; script-src 'self' 'sha256-{hash}'; \
         img-src data:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'"
    )
}

/// Makes the page, or says why it cannot be made.
pub type Make = dyn Fn() -> Result<String, String> + Send + Sync;

struct Page {
    make: Box<Make>,
    last: Mutex<Option<(Instant, Made)>>,
}

#[derive(Clone)]
struct Made {
    html: Arc<str>,
    version: Arc<str>,
}

impl Page {
    /// The page as it is now, or a moment ago.
    fn now(&self) -> Result<Made, String> {
        let mut last = self
            .last
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((made, page)) = last.as_ref()
            && made.elapsed() < FRESH
        {
            return Ok(page.clone());
        }
        let html = (self.make)()?;
        let version = blake3::hash(html.as_bytes()).to_hex().to_string();
        let script = "<script src=\"/watch.js\" defer></script></head>";
        let made = Made {
            html: html.replacen("</head>", script, 1).into(),
            version: version.into(),
        };
        *last = Some((Instant::now(), made.clone()));
        Ok(made)
    }
}

/// Serves the page until `stop`; `listening` is told the address.
///
/// # Errors
/// The address is taken, or the listener breaks.
pub fn watch(
    address: SocketAddr,
    make: Box<Make>,
    listening: impl FnOnce(SocketAddr) + Send,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("novic-book")
        .build()?;
    runtime.block_on(async {
        let listener = TcpListener::bind(address).await?;
        let address = listener.local_addr()?;
        let page = Arc::new(Page {
            make,
            last: Mutex::new(None),
        });
        let router = Router::new()
            .route("/", get(show))
            .route("/version", get(version))
            .route("/watch.js", get(script))
            .with_state(page);
        let guard = Guard {
            local_names_only: address.ip().is_loopback(),
            ..Guard::default()
        };
        listening(address);
        let limits = ConnectionLimits {
            connections: 32,
            drain: Duration::from_secs(2),
            ..ConnectionLimits::default()
        };
        serve(listener, guarded(router, guard), limits, stop).await
    })
}

/// Makes the page beside the threads that answer.
async fn made(page: Arc<Page>) -> Result<Made, Response> {
    let failed = |reason: String| (StatusCode::INTERNAL_SERVER_ERROR, reason).into_response();
    match tokio::task::spawn_blocking(move || page.now()).await {
        Ok(made) => made.map_err(failed),
        Err(error) => Err(failed(error.to_string())),
    }
}

async fn show(State(page): State<Arc<Page>>) -> Response {
    match made(page).await {
        Ok(made) => {
            let policy = [(header::CONTENT_SECURITY_POLICY, policy())];
            (policy, Html(made.html.to_string())).into_response()
        }
        Err(response) => response,
    }
}

async fn version(State(page): State<Arc<Page>>) -> Response {
    match made(page).await {
        Ok(made) => made.version.to_string().into_response(),
        Err(response) => response,
    }
}

async fn script() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript")], SCRIPT)
}
