//! The HTTP interface of a session (`annotation.md` 3.5), for the page and for
//! other front ends.

use std::sync::{Arc, Mutex, MutexGuard};

use axum::body::Bytes;
use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::super::category::Category;
use super::desk::{Desk, Place, Problems, Step};
use super::error::HumanError;
use super::events::Events;
use super::filter::{Filter, Status, counts};
use super::keys::{Command, KEYS, category_label};
use super::page::Page;
use super::picture;
use super::server::{ServerOptions, set_of};
use super::session::{Moved, Session};
use crate::web::{json_response, same_secret};

/// A served session.
pub(super) struct Server {
    session: Arc<Mutex<Session>>,
    problems: Mutex<Problems>,
    options: ServerOptions,
    cookie: String,
    page: Page,
    pub(super) events: Events,
    pub(super) end: Notify,
}

impl Server {
    pub(super) fn new(
        session: Arc<Mutex<Session>>,
        options: ServerOptions,
        cookie: String,
    ) -> Self {
        Self {
            session,
            problems: Mutex::default(),
            options,
            cookie,
            page: Page::new(),
            events: Events::new(),
            end: Notify::new(),
        }
    }

    pub(super) fn session(&self) -> MutexGuard<'_, Session> {
        self.session
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn problems(&self) -> MutexGuard<'_, Problems> {
        self.problems
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    /// Writes the files, and tells pages what they cannot know.
    pub(super) fn save(&self) {
        let mut session = self.session();
        let had_unsaved = session.has_unsaved();
        let (written, changed) = session.save();
        let errors: Vec<String> = session
            .save_errors()
            .map(|(_, why)| why.to_owned())
            .collect();
        drop(session);
        if changed {
            self.events.tell("changed", &json!({}));
        }
        if !written.is_empty() {
            self.events.tell("written", &json!({}));
        }
        if had_unsaved && !errors.is_empty() {
            self.events
                .tell("save_error", &json!({ "message": errors.join("; ") }));
        }
    }

    fn tell_progress(&self, session: &Session) {
        let whole = session.whole_progress();
        let data = json!({
            "revision": session.revision(),
            "done": whole.pairs_done,
            "total": whole.pairs,
        });
        self.events.tell("progress", &data);
    }
}

/// A refusal: status, a word for programs, a sentence for people.
pub(super) struct Refusal(StatusCode, &'static str, String);

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let error = json!({"error": {"code": self.1, "message": self.2}});
        json_response(self.0, &error)
    }
}

impl From<HumanError> for Refusal {
    fn from(error: HumanError) -> Self {
        let (status, code) = match &error {
            HumanError::Unknown { .. } => (StatusCode::NOT_FOUND, "unknown"),
            HumanError::Nothing(_) => (StatusCode::CONFLICT, "nothing"),
            HumanError::ReadOnly => (StatusCode::FORBIDDEN, "read_only"),
            _ => (StatusCode::INTERNAL_SERVER_ERROR, "not_saved"),
        };
        Self(status, code, error.to_string())
    }
}

type Answer = Result<Response, Refusal>;

fn bad(message: impl Into<String>) -> Refusal {
    Refusal(StatusCode::BAD_REQUEST, "request", message.into())
}

fn ok(value: &Value) -> Answer {
    Ok(json_response(StatusCode::OK, value))
}

/// A request that cannot be read: too large, or of another form.
fn unreadable(status: StatusCode, message: String) -> Refusal {
    let code = match status {
        StatusCode::PAYLOAD_TOO_LARGE => "too_large",
        _ => "request",
    };
    Refusal(status, code, message)
}

/// The body of a request in JSON; an empty one counts as `{}`.
pub(super) struct Sent<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Sent<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, Refusal> {
        let bytes = Bytes::from_request(request, state)
            .await
            .map_err(|error| unreadable(error.status(), error.body_text()))?;
        let text: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        let value = serde_json::from_slice(text).map_err(|error| bad(error.to_string()))?;
        Ok(Self(value))
    }
}

/// What stands behind the question mark of an address.
pub(super) struct Asked<T>(T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Refusal> {
        let Query(value) = Query::from_request_parts(parts, state)
            .await
            .map_err(|error| unreadable(error.status(), error.body_text()))?;
        Ok(Self(value))
    }
}

fn set_place(session: &Session, set: &Value) -> Result<usize, Refusal> {
    let name = match set {
        Value::String(name) => name.clone(),
        Value::Number(number) => number.to_string(),
        _ => return Err(bad("set: give the name or the number of a set")),
    };
    set_of(session, &name).ok_or_else(|| HumanError::Unknown { what: "set", name }.into())
}

#[derive(Deserialize)]
pub(super) struct Arrival {
    token: Option<String>,
}

/// `GET /`: the page. Whoever comes with the token gets it as a cookie.
pub(super) async fn page(
    State(server): State<Arc<Server>>,
    Asked(arrival): Asked<Arrival>,
) -> Response {
    let mut headers = HeaderMap::new();
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    headers.insert(header::CONTENT_TYPE, html);
    if let Ok(policy) = HeaderValue::from_str(&server.page.security_policy) {
        headers.insert(header::CONTENT_SECURITY_POLICY, policy);
    }
    if let (Some(token), Some(given)) = (&server.options.token, &arrival.token)
        && same_secret(token, given)
        && let Ok(cookie) = HeaderValue::from_str(&format!(
            "{}={token}; HttpOnly; SameSite=Strict; Path=/",
            server.cookie
        ))
    {
        headers.insert(header::SET_COOKIE, cookie);
    }
    (headers, server.page.html.clone()).into_response()
}

/// `GET /api/session`: sets, categories, keys, progress.
pub(super) async fn session(State(server): State<Arc<Server>>) -> Answer {
    let session = server.session();
    let problems = server.problems();
    let whole = session.whole_progress();
    let (undo, redo) = session.can_undo_redo();
    let sets: Vec<Value> = session
        .sets()
        .enumerate()
        .map(|(place, set)| {
            let progress = session.progress(place);
            let of_set: Vec<Value> = problems
                .iter()
                .filter(|((of, _), _)| *of == place)
                .filter_map(|((_, image), why)| Some(json!({"image": image, "why": why.as_ref()?})))
                .collect();
            json!({
                "name": set.name,
                "images": progress.images,
                "images_done": progress.images_done,
                "pairs": progress.pairs,
                "pairs_done": progress.pairs_done,
                "problems": of_set,
                "compare": session.others(place).iter().map(|other| &other.name).collect::<Vec<_>>(),
            })
        })
        .collect();
    let categories: Vec<Value> = Category::ALL
        .iter()
        .map(|category| {
            let key = KEYS
                .iter()
                .find(|(_, command)| *command == Command::Label(*category));
            json!({
                "id": category.name(),
                "label": category_label(*category),
                "key": key.map(|(key, _)| key),
                "points": category.points(),
            })
        })
        .collect();
    let keys: Vec<Value> = KEYS
        .iter()
        .map(|(key, command)| json!([key, command.name()]))
        .collect();
    let commands: serde_json::Map<String, Value> = Command::ALL
        .iter()
        .map(|command| (command.name().to_owned(), command.description().into()))
        .collect();
    ok(&json!({
        "version": 1,
        "sets": sets,
        "categories": categories,
        "keys": keys,
        "commands": commands,
        "lookups": {
            "definition": server.options.lookups.definition,
            "images": server.options.lookups.images,
            "wordnet": server.options.lookups.wordnet,
        },
        "total": whole.pairs,
        "done": whole.pairs_done,
        "can_undo": undo,
        "can_redo": redo,
        "read_only": session.options().read_only,
        "blind": session.options().blind,
        "review": server.options.review,
        "annotator": session.options().annotator,
    }))
}

#[derive(Deserialize)]
pub(super) struct ItemsQuery {
    set: Option<String>,
    status: Option<Status>,
    #[serde(default)]
    offset: usize,
    limit: Option<usize>,
}

/// `GET /api/items`: pairs in working order.
pub(super) async fn items(
    State(server): State<Arc<Server>>,
    Asked(query): Asked<ItemsQuery>,
) -> Answer {
    let session = server.session();
    let set = match &query.set {
        Some(name) => Some(set_place(&session, &Value::String(name.clone()))?),
        None => None,
    };
    let filter = Filter {
        set,
        status: query.status.unwrap_or(Status::All),
        ..Filter::default()
    };
    let (mut items, mut total) = (Vec::new(), 0);
    for (place, set) in session.sets().enumerate() {
        for item in &set.items {
            let wanted: Vec<_> = item
                .pairs
                .iter()
                .filter(|pair| filter.matches(&session, place, &item.image, pair))
                .collect();
            if wanted.is_empty() {
                continue;
            }
            total += 1;
            if total <= query.offset || items.len() >= query.limit.unwrap_or(100) {
                continue;
            }
            let nouns: Vec<Value> = wanted
                .iter()
                .map(|pair| {
                    let category = session.category_of(place, &item.image, &pair.noun);
                    json!({"noun": pair.noun, "category": category, "models": pair.models})
                })
                .collect();
            items.push(json!({"set": set.name, "image": item.image, "nouns": nouns}));
        }
    }
    ok(&json!({"items": items, "total": total}))
}

/// `POST /api/filters`: how many pairs every choice would show.
pub(super) async fn filters(
    State(server): State<Arc<Server>>,
    Sent(filter): Sent<Filter>,
) -> Answer {
    ok(&counts(&server.session(), &filter))
}

#[derive(Deserialize)]
pub(super) struct SetQuery {
    set: Option<String>,
}

/// `GET /api/compare`: agreement with the other files of a set.
pub(super) async fn compared(
    State(server): State<Arc<Server>>,
    Asked(query): Asked<SetQuery>,
) -> Answer {
    let session = server.session();
    let name = query.set.unwrap_or_else(|| "0".to_owned());
    let place = set_place(&session, &Value::String(name))?;
    let others = session.others(place).iter();
    let files: Vec<Value> = session.shown(place).map_or_else(Vec::new, |file| {
        others.map(|other| other.compared(file)).collect()
    });
    ok(&json!({ "files": files }))
}

#[derive(Deserialize)]
pub(super) struct ImageQuery {
    max: Option<u32>,
}

/// `GET /api/image/{set}/{name}`: a picture that a set lists.
pub(super) async fn image(
    State(server): State<Arc<Server>>,
    path: Result<Path<(String, String)>, PathRejection>,
    Asked(query): Asked<ImageQuery>,
) -> Answer {
    let Path((set, name)) = path.map_err(|error| unreadable(error.status(), error.body_text()))?;
    let path = {
        let session = server.session();
        let place = set_place(&session, &Value::String(set))?;
        let unknown = || {
            let name = name.clone();
            Refusal::from(HumanError::Unknown {
                what: "image",
                name,
            })
        };
        let set = session.set(place).ok_or_else(unknown)?;
        set.place(&name).ok_or_else(unknown)?;
        set.path_of(&name)
            .map_err(|why| Refusal(StatusCode::NOT_FOUND, "unreadable", why))?
    };
    let loaded = tokio::task::spawn_blocking(move || picture::load(&path, query.max)).await;
    let (kind, bytes) = loaded
        .unwrap_or_else(|error| Err(error.to_string()))
        .map_err(|why| Refusal(StatusCode::UNPROCESSABLE_ENTITY, "unreadable", why))?;
    let headers = [
        (header::CONTENT_TYPE, kind),
        // What was fetched early is not fetched again.
        (header::CACHE_CONTROL, "private, max-age=600"),
    ];
    Ok((headers, bytes).into_response())
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct LabelBody {
    set: Value,
    image: String,
    noun: String,
    category: Option<String>,
    #[serde(default)]
    extra: bool,
}

/// `POST /api/label`: puts a pair into a category, or opens it.
pub(super) async fn label(
    State(server): State<Arc<Server>>,
    Sent(request): Sent<LabelBody>,
) -> Answer {
    let category = match &request.category {
        Some(name) => Some(Category::of_name(name).ok_or_else(|| {
            let known = Category::ALL.map(Category::name).join(", ");
            bad(format!("category {name:?} is none of {known}"))
        })?),
        None => None,
    };
    let mut session = server.session();
    let set = set_place(&session, &request.set)?;
    let previous = session.label(set, &request.image, &request.noun, category, request.extra)?;
    server.tell_progress(&session);
    let whole = session.whole_progress();
    ok(&json!({
        "revision": session.revision(),
        "previous": previous,
        "done": whole.pairs_done,
        "total": whole.pairs,
    }))
}

/// `POST /api/undo`.
pub(super) async fn undo(State(server): State<Arc<Server>>) -> Answer {
    moved(&server, Session::undo)
}

/// `POST /api/redo`.
pub(super) async fn redo(State(server): State<Arc<Server>>) -> Answer {
    moved(&server, Session::redo)
}

fn moved(server: &Server, go: impl FnOnce(&mut Session) -> Result<Moved, HumanError>) -> Answer {
    let mut session = server.session();
    let moved = go(&mut session)?;
    server.tell_progress(&session);
    ok(&json!({
        "revision": session.revision(),
        "set": session.set(moved.set).map(|set| &set.name),
        "image": moved.image,
        "noun": moved.noun,
        "category": moved.category,
        "previous": moved.previous,
    }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct StepBody {
    /// Nothing: only look.
    command: Option<String>,
    at: Option<Place>,
    #[serde(default)]
    filter: Filter,
    /// Go to the first pair.
    #[serde(default)]
    first: bool,
}

/// `POST /api/step`: a command at a place, and what is shown then.
pub(super) async fn step(
    State(server): State<Arc<Server>>,
    Sent(request): Sent<StepBody>,
) -> Answer {
    let worked = server.clone();
    // Pictures are looked at on the way.
    let done = tokio::task::spawn_blocking(move || do_step(&worked, request)).await;
    done.unwrap_or_else(|error| {
        let message = error.to_string();
        Err(Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal",
            message,
        ))
    })
}

fn do_step(server: &Server, request: StepBody) -> Answer {
    let mut session = server.session();
    let mut problems = server.problems();
    let mut desk = match request.first {
        true => Desk::at_first(request.filter, &session, &mut problems),
        false => Desk {
            at: request.at,
            filter: request.filter,
        },
    };
    let mut did = Value::Null;
    if let Some(name) = &request.command {
        let command =
            Command::of_name(name).ok_or_else(|| bad(format!("there is no command {name:?}")))?;
        let step = desk.step(&mut session, &mut problems, command)?;
        if let Step::Labelled {
            place,
            category,
            previous,
        } = &step
        {
            server.tell_progress(&session);
            did = json!({"place": place, "category": category, "previous": previous});
        }
    }
    let mut view = desk.view(&session, &mut problems).0;
    view["did"] = did;
    ok(&view)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TakeBody {
    set: Value,
    file: usize,
}

/// `POST /api/take`: labels of pairs that only another file has.
pub(super) async fn take(
    State(server): State<Arc<Server>>,
    Sent(request): Sent<TakeBody>,
) -> Answer {
    let mut session = server.session();
    let set = set_place(&session, &request.set)?;
    let taken = session.take_over(set, request.file)?;
    server.tell_progress(&session);
    ok(&json!({ "taken": taken }))
}

/// `POST /api/save`: writes the files now.
pub(super) async fn save(State(server): State<Arc<Server>>) -> Answer {
    let mut session = server.session();
    if session.options().read_only {
        return Err(HumanError::ReadOnly.into());
    }
    let (written, _) = session.save();
    let errors: Vec<&str> = session.save_errors().map(|(_, why)| why).collect();
    if !errors.is_empty() {
        let message = errors.join("; ");
        return Err(Refusal(
            StatusCode::INTERNAL_SERVER_ERROR,
            "not_saved",
            message,
        ));
    }
    ok(&json!({ "files": written }))
}

/// `POST /api/end`: writes everything and ends the server.
pub(super) async fn end(State(server): State<Arc<Server>>) -> Answer {
    server.session().save();
    server.end.notify_one();
    ok(&json!({}))
}

/// `GET /api/events`: news, as server-sent events.
pub(super) async fn events(State(server): State<Arc<Server>>) -> Response {
    server.events.answer()
}

pub(super) async fn nothing_here() -> Refusal {
    Refusal(
        StatusCode::NOT_FOUND,
        "unknown",
        "there is nothing here".to_owned(),
    )
}

pub(super) async fn wrong_method() -> Refusal {
    let message = "this address takes another method".to_owned();
    Refusal(StatusCode::METHOD_NOT_ALLOWED, "method", message)
}
