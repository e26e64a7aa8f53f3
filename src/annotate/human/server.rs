//! The server of a session: binds, saves once a second, ends cleanly.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::routing::{get, post};
use tokio::net::TcpListener;

use super::api::{self, Server};
use super::lookups::Lookups;
use super::session::Session;
use super::set::ImageSet;
use crate::web::{ConnectionLimits, Guard, guarded, serve};

/// Bytes of a request.
const BODY_LIMIT: usize = 64 << 10;
/// How often files are written.
const SAVE_EVERY: Duration = Duration::from_secs(1);

/// How a session is served.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Where it listens.
    pub address: SocketAddr,
    /// What the page must know; none: everybody on the machine may judge.
    pub token: Option<String>,
    /// Labelled pairs are shown from the begin.
    pub review: bool,
    /// Where nouns are looked up.
    pub lookups: Lookups,
}

/// Serves a session until `stop` is there or somebody ends it on the page.
/// Returns the session, with everything in its files. `listening` is told the
/// address of the page.
///
/// # Errors
/// An address that cannot be listened to.
pub fn serve_session(
    session: Session,
    options: &ServerOptions,
    listening: impl FnOnce(String) + Send,
    stop: impl Future<Output = ()> + Send,
) -> io::Result<Arc<std::sync::Mutex<Session>>> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .thread_name("novic-annotate")
        .build()?;
    let session = Arc::new(std::sync::Mutex::new(session));
    runtime.block_on(async {
        let listener = TcpListener::bind(options.address).await?;
        let address = listener.local_addr()?;
        let cookie = format!("novic-{}", address.port());
        let server = Arc::new(Server::new(
            session.clone(),
            options.clone(),
            cookie.clone(),
        ));
        let query = match &options.token {
            Some(token) => format!("?token={token}"),
            None => String::new(),
        };
        listening(format!("http://{address}/{query}"));
        let saver = tokio::spawn(save_regularly(server.clone()));
        let guard = Guard {
            token: options.token.clone(),
            cookie: Some(cookie),
            local_names_only: address.ip().is_loopback(),
            // It has no data, and looks at the token itself.
            open: vec!["/"],
            error_field: "code",
        };
        let limits = ConnectionLimits {
            drain: Duration::from_secs(2),
            ..ConnectionLimits::default()
        };
        let ended = server.clone();
        let end = async move {
            tokio::select! {
                () = stop => {}
                () = ended.end.notified() => {}
            }
            // Pages that listen would keep the server waiting.
            ended.events.tell("end", &serde_json::json!({}));
        };
        let served = serve(
            listener,
            guarded(router(server.clone()), guard),
            limits,
            end,
        )
        .await;
        saver.abort();
        server.session().save();
        served
    })?;
    Ok(session)
}

async fn save_regularly(server: Arc<Server>) {
    let mut clock = tokio::time::interval(SAVE_EVERY);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        clock.tick().await;
        let server = server.clone();
        // Files may be slow.
        let _ = tokio::task::spawn_blocking(move || server.save()).await;
    }
}

fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route("/", get(api::page))
        .route("/api/session", get(api::session))
        .route("/api/items", get(api::items))
        .route("/api/filters", post(api::filters))
        .route("/api/compare", get(api::compared))
        .route("/api/image/{set}/{*name}", get(api::image))
        .route("/api/label", post(api::label))
        .route("/api/undo", post(api::undo))
        .route("/api/redo", post(api::redo))
        .route("/api/step", post(api::step))
        .route("/api/take", post(api::take))
        .route("/api/save", post(api::save))
        .route("/api/end", post(api::end))
        .route("/api/events", get(api::events))
        .fallback(api::nothing_here)
        .method_not_allowed_fallback(api::wrong_method)
        .layer(DefaultBodyLimit::max(BODY_LIMIT))
        .with_state(server)
}

/// The place of a set by its name or number.
pub(super) fn set_of(session: &Session, name: &str) -> Option<usize> {
    let by_name = session.sets().position(|set: &ImageSet| set.name == name);
    by_name.or_else(|| {
        name.parse()
            .ok()
            .filter(|place| *place < session.sets().len())
    })
}
