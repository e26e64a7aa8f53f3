//! News for open pages: progress, changes from outside, files that could not be
//! written, the end.

use std::convert::Infallible;

use axum::body::{Body, Bytes};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use http_body_util::channel::Channel;
use serde_json::Value;
use tokio::sync::broadcast::{Receiver, Sender, channel, error::RecvError};

/// News that wait for a slow page.
const WAITING: usize = 64;

/// Tells open pages what happens.
#[derive(Clone, Debug)]
pub(super) struct Events(Sender<String>);

impl Events {
    pub(super) fn new() -> Self {
        Self(channel(WAITING).0)
    }

    /// Tells of something; nobody needs to listen.
    pub(super) fn tell(&self, what: &str, data: &Value) {
        let _ = self.0.send(format!("event: {what}\ndata: {data}\n\n"));
    }

    /// An answer that goes on for as long as the page listens.
    pub(super) fn answer(&self) -> Response {
        let (mut sender, body) = Channel::<Bytes, Infallible>::new(4);
        let mut news: Receiver<String> = self.0.subscribe();
        tokio::spawn(async move {
            // So that the page knows at once that somebody is there.
            let mut text = ": open\n\n".to_owned();
            while sender.send_data(Bytes::from(text)).await.is_ok() {
                text = match news.recv().await {
                    Ok(text) => {
                        let is_end = text.starts_with("event: end\n");
                        if is_end {
                            let _ = sender.send_data(Bytes::from(text)).await;
                            return;
                        }
                        text
                    }
                    // The page asks for everything again.
                    Err(RecvError::Lagged(_)) => "event: changed\ndata: {}\n\n".to_owned(),
                    Err(RecvError::Closed) => return,
                };
            }
        });
        let kind = [(header::CONTENT_TYPE, "text/event-stream")];
        (kind, Body::new(body)).into_response()
    }
}
