//! Who may ask: people with the token, and pages of this server only.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use serde_json::json;

use super::json_response;

/// Rules for requests.
#[derive(Clone, Debug)]
pub struct Guard {
    /// What `Authorization: Bearer …` must say; none: anybody may ask.
    pub token: Option<String>,
    /// Name of a cookie that may say it in its place.
    pub cookie: Option<String>,
    /// The server is for this machine alone, so the name that it is asked by
    /// must be one of this machine: another site cannot ask by way of a
    /// browser here.
    pub local_names_only: bool,
    /// Paths that need no token.
    pub open: Vec<&'static str>,
    /// The field of errors in which this server has the word for programs.
    pub error_field: &'static str,
}

impl Default for Guard {
    fn default() -> Self {
        Self {
            token: None,
            cookie: None,
            local_names_only: false,
            open: Vec::new(),
            error_field: "kind",
        }
    }
}

/// Adds the rules and the headers of safe answers to a server.
pub fn guarded(router: Router, guard: Guard) -> Router {
    router.layer(from_fn_with_state(Arc::new(guard), check))
}

const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; \
         media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::CACHE_CONTROL, "no-store"),
];

async fn check(State(guard): State<Arc<Guard>>, request: Request, next: Next) -> Response {
    let refused = guard.refusal(request.method(), request.uri().path(), request.headers());
    let mut response = match refused {
        Some((status, message)) => {
            let body = json!({ "error": { guard.error_field: "forbidden", "message": message } });
            let mut response = json_response(status, &body);
            if status == StatusCode::UNAUTHORIZED {
                let scheme = HeaderValue::from_static("Bearer");
                response
                    .headers_mut()
                    .insert(header::WWW_AUTHENTICATE, scheme);
            }
            response
        }
        None => next.run(request).await,
    };
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    }
    response
}

impl Guard {
    fn refusal(
        &self,
        method: &Method,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<(StatusCode, String)> {
        let text = |name: HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let host = text(header::HOST).unwrap_or_default();
        if self.local_names_only && !is_local(host) {
            let message = format!(
                "this server is for its own machine only, {host:?} is not one of its names: \
                 ask 127.0.0.1 or localhost"
            );
            return Some((StatusCode::FORBIDDEN, message));
        }
        let is_safe = method == Method::GET || method == Method::HEAD;
        if let Some(origin) = text(header::ORIGIN).filter(|_| !is_safe) {
            let own = origin.split_once("://").map(|(_, own)| own);
            if own != Some(host) {
                let message = format!("pages of {origin} may not use this server");
                return Some((StatusCode::FORBIDDEN, message));
            }
        }
        let token = self.token.as_deref()?;
        if self.open.contains(&path) {
            return None;
        }
        let given = text(header::AUTHORIZATION).and_then(|value| value.strip_prefix("Bearer "));
        let matches = given.is_some_and(|given| same_secret(given.trim(), token))
            || self
                .cookie_of(headers)
                .is_some_and(|given| same_secret(given, token));
        (!matches).then(|| {
            let message = "this server needs its token: send `Authorization: Bearer TOKEN`";
            (StatusCode::UNAUTHORIZED, message.to_owned())
        })
    }
}

impl Guard {
    /// What the cookie says.
    fn cookie_of<'a>(&self, headers: &'a HeaderMap) -> Option<&'a str> {
        let wanted = self.cookie.as_deref()?;
        let cookies = headers.get_all(header::COOKIE).iter();
        cookies
            .filter_map(|value| value.to_str().ok())
            .flat_map(|value| value.split(';'))
            .filter_map(|pair| pair.trim().split_once('='))
            .find_map(|(name, value)| (name == wanted).then_some(value))
    }
}

/// Whether a `Host` header names this machine.
fn is_local(host: &str) -> bool {
    let name = match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

/// Compares without telling by the time where the first difference is.
pub fn same_secret(a: &str, b: &str) -> bool {
    let (a, b) = (a.as_bytes(), b.as_bytes());
    a.len() == b.len() && a.iter().zip(b).fold(0, |sum, (a, b)| sum | (a ^ b)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| {
                let name: HeaderName = name.parse().unwrap();
                (name, HeaderValue::from_str(value).unwrap())
            })
            .collect()
    }

    #[test]
    fn other_sites_and_strangers_are_refused() {
        let guard = Guard {
            token: Some("secret".to_owned()),
            cookie: Some("novic-1".to_owned()),
            local_names_only: true,
            open: vec!["/healthz"],
            ..Guard::default()
        };
        let status = |method: Method, path: &str, pairs: &[(&str, &str)]| {
            guard
                .refusal(&method, path, &headers(pairs))
                .map(|(status, _)| status.as_u16())
        };
        let host = ("host", "127.0.0.1:8400");
        let token = ("authorization", "Bearer secret");
        assert_eq!(status(Method::GET, "/v1/models", &[host, token]), None);
        assert_eq!(
            status(Method::GET, "/healthz", &[("host", "[::1]:8400")]),
            None
        );
        assert_eq!(status(Method::GET, "/v1/models", &[host]), Some(401));
        let wrong = ("authorization", "Bearer secreT");
        assert_eq!(status(Method::GET, "/v1/models", &[host, wrong]), Some(401));
        for (cookie, expected) in [
            ("a=b; novic-1=secret", None),
            ("novic-1=wrong", Some(401)),
            ("novic-2=secret", Some(401)),
        ] {
            let cookie = ("cookie", cookie);
            assert_eq!(status(Method::GET, "/v1/models", &[host, cookie]), expected);
        }
        let evil = ("host", "evil.example");
        assert_eq!(status(Method::GET, "/healthz", &[evil]), Some(403));
        let origin = ("origin", "http://evil.example");
        assert_eq!(
            status(Method::POST, "/v1/classify", &[host, token, origin]),
            Some(403)
        );
        let own = ("origin", "http://127.0.0.1:8400");
        assert_eq!(
            status(Method::POST, "/v1/classify", &[host, token, own]),
            None
        );
    }
}
