//! The page: static files of this server, and nothing from elsewhere.

use axum::extract::Path;
use axum::http::{StatusCode, header};
use axum::response::{Html, IntoResponse, Response};

const EXAMPLES: [(&str, &[u8]); 8] = [
    (
        "butterfly.png",
        include_bytes!("../../extras/demo/butterfly.png"),
    ),
    ("cactus.png", include_bytes!("../../extras/demo/cactus.png")),
    ("fox.png", include_bytes!("../../extras/demo/fox.png")),
    ("guitar.png", include_bytes!("../../extras/demo/guitar.png")),
    ("key.png", include_bytes!("../../extras/demo/key.png")),
    (
        "octopus.png",
        include_bytes!("../../extras/demo/octopus.png"),
    ),
    (
        "penguin.png",
        include_bytes!("../../extras/demo/penguin.png"),
    ),
    (
        "sailboat.png",
        include_bytes!("../../extras/demo/sailboat.png"),
    ),
];

pub(super) async fn page() -> Html<&'static str> {
    Html(include_str!("page.html"))
}

pub(super) async fn script() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/javascript; charset=utf-8")];
    (kind, include_str!("page.js")).into_response()
}

pub(super) async fn style() -> Response {
    let kind = [(header::CONTENT_TYPE, "text/css; charset=utf-8")];
    (kind, include_str!("page.css")).into_response()
}

pub(super) async fn example(Path(name): Path<String>) -> Response {
    match EXAMPLES.iter().find(|(known, _)| *known == name) {
        Some((_, bytes)) => ([(header::CONTENT_TYPE, "image/png")], *bytes).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}
