//! The portal (RFC 8908): a page for whoever is confined, which says what is going on, shows the number of number matching, and takes
//! codes ([docs/portal.md](../../docs/portal.md)).
//!
//! | file | what it is |
//! |---|---|
//! | `visit.rs` | whose request it is, and whether it came to us by our own name; pure |
//! | `page.rs` | what is shown, as HTML; pure |
//! | `language.rs` | Accept-Language; pure |
//! | `patience.rs` | how much one address may ask |
//! | `portal.css`, `portal.js` | as they are sent |
//!
//! Sends events, edits no state: it asks [`Sessions`] what to show, and hands codes to it. Never knows a user, a NAS, a session's id or
//! a store, never approves by itself, and keeps nothing about anybody for longer than a minute.

mod language;
mod page;
mod patience;
mod visit;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, DefaultBodyLimit, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::{Next, from_fn, map_response};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use axum::serve::IncomingStream;
use ipnet::IpNet;
use tokio::net::TcpListener;
use tokio::time::timeout;
use url::{Url, form_urlencoded};

use self::page::{Page, Said};
use self::patience::Visitors;
use self::visit::{Home, Visit};
use crate::listener::{Bounded, part_with_the_refused};
use crate::messages::Messages;
use crate::model::Language;
use crate::telemetry;

/// The longest request that is read.
const MOST: usize = 2048;
/// Connections of one address at a time: browsers open six.
const CONNECTIONS_EACH: usize = 12;
/// How long a connection may bring nothing worth an answer.
const CONNECTION_PATIENCE: Duration = Duration::from_secs(15);
/// How long a request may take, from its head to the answer.
const PATIENCE: Duration = Duration::from_secs(10);
/// Where the answer of RFC 8908 is.
const API: &str = "/captive-portal/api";
/// What a page of ours may do: nothing but what it came with.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; \
                      form-action 'self'; base-uri 'none'; frame-ancestors 'none'";

/// What the portal knows of sessions, and no more.
#[async_trait]
pub trait Sessions: Send + Sync {
    /// What there is to show to whoever has this address.
    async fn at(&self, address: IpAddr) -> Seen;

    /// A code that somebody typed at this address, on a page that was shown with that [`Shown::form`]. Whoever implements it sees
    /// to it that the session is still that one, and that codes cannot be guessed.
    async fn code(&self, address: IpAddr, form: &str, code: &str) -> Given;
}

/// What there is to show to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// The one session that has it.
    Session(Shown),
    /// No session has it.
    Nothing,
    /// Several have it, and nobody can say whose it is.
    Shared,
    /// Nobody can say at the moment.
    Away,
}

/// What is shown of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// How far it is.
    pub phase: Phase,
    /// How long it stays so: until the deadline, or until a permitted session is over.
    pub left: Option<Duration>,
    /// The number to choose on the phone, while it waits.
    pub number: Option<u8>,
    /// What a code is to be given with, while one would lift the session. Nothing but a word to the page.
    pub form: Option<String>,
}

/// How far a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// It waits for somebody's yes.
    Waits(WaitsFor),
    /// Confirmed; its NAS is being told.
    Confirmed,
    /// It is let through.
    Through,
    /// Somebody said no.
    Denied,
    /// Nobody confirmed in time.
    TimeUp,
    /// A newer login has taken its place.
    Replaced,
    /// It is being ended, for another reason.
    Ended,
}

/// Whose yes a session waits for, besides that of a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WaitsFor {
    /// The person's own device.
    Person,
    /// Somebody else must agree.
    Others,
    /// An operator.
    Operator,
    /// Nothing but a code.
    Code,
}

/// What a code came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// The session is approved.
    Approved,
    /// It counts; somebody else must agree too.
    Counted,
    /// Wrong, or used before.
    Wrong,
    /// The session was decided or over by then.
    TooLate,
    /// No session of that page waits for a code here.
    NothingWaits,
    /// Nobody can say at the moment.
    Away,
}

/// How the portal is set up.
#[derive(Debug, Clone)]
pub struct PortalOptions {
    /// Its address for browsers; `None` is the address that was listened on.
    pub url: Option<Url>,
    /// Whose X-Forwarded-For is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// All words.
    pub messages: Arc<Messages>,
    /// The language of who asks for none that there is.
    pub language: Language,
}

/// The portal.
pub struct Portal {
    home: Home,
    messages: Arc<Messages>,
    language: Language,
    sessions: Arc<dyn Sessions>,
    visitors: Visitors,
}

/// The two ends of a connection.
#[derive(Debug, Clone, Copy)]
struct Ends {
    peer: SocketAddr,
    local: Option<SocketAddr>,
}

impl Connected<IncomingStream<'_, Bounded>> for Ends {
    fn connect_info(stream: IncomingStream<'_, Bounded>) -> Self {
        Self { peer: *stream.remote_addr(), local: stream.io().local_addr() }
    }
}

impl Portal {
    /// A portal that shows what `sessions` says.
    pub fn new(options: PortalOptions, sessions: Arc<dyn Sessions>) -> Self {
        let PortalOptions { url, trusted_proxies, messages, language } = options;
        let home = Home { url, proxies: trusted_proxies };
        Self { home, messages, language, sessions, visitors: Visitors::default() }
    }

    /// Answers on a listener, for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) {
        let proxies = self.home.proxies.clone();
        let strangers = move |address: IpAddr| !proxies.iter().any(|proxy| proxy.contains(&address));
        let bounded =
            Bounded::new(listener).with_patience(CONNECTION_PATIENCE).with_most_of_one(CONNECTIONS_EACH, strangers);
        let routes = Router::new()
            .route("/", get(show).post(take))
            .route("/state", get(state))
            .route(API, get(api))
            .route("/portal.css", get(|| async { file("text/css; charset=utf-8", include_str!("portal.css")) }))
            .route("/portal.js", get(|| async { file("text/javascript; charset=utf-8", include_str!("portal.js")) }))
            .route("/favicon.ico", get(|| async { StatusCode::NOT_FOUND }))
            .fallback(home)
            .layer(axum::middleware::from_fn_with_state(Arc::clone(&self), at_home))
            .layer(DefaultBodyLimit::max(MOST))
            .layer(from_fn(in_time))
            .layer(map_response(guarded))
            .layer(map_response(part_with_the_refused))
            .with_state(self);
        if let Err(error) = axum::serve(bounded, routes.into_make_service_with_connect_info::<Ends>()).await {
            tracing::error!(%error, "the portal cannot be listened for any more");
        }
    }

    fn page(&self, headers: &HeaderMap, seen: &Seen, said: Option<Said>) -> String {
        let spoken = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let spoken = language::wanted(spoken).into_iter().find(|language| self.messages.speaks(language));
        let language = spoken.as_ref().unwrap_or(&self.language);
        Page { messages: &self.messages, language, seen, said }.html()
    }

    async fn seen(&self, address: IpAddr) -> Seen {
        self.visitors.see(address, || self.sessions.at(address)).await
    }
}

impl std::fmt::Debug for Portal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Portal").field("home", &self.home).finish_non_exhaustive()
    }
}

/// Only what came to us by our own name goes on; all else is sent home. Else a page of any other name, loaded before the
/// sandbox turned that name into ours, could read what is shown here and post codes.
async fn at_home(
    State(portal): State<Arc<Portal>>,
    ConnectInfo(ends): ConnectInfo<Ends>,
    mut request: Request,
    next: Next,
) -> Response {
    let visit = portal.home.visit(ends.peer.ip(), ends.local, request.uri(), request.headers());
    if !visit.own {
        telemetry::count("portal.sent-home");
        return match *request.method() {
            Method::GET | Method::HEAD => found(&visit.home),
            _ => StatusCode::FORBIDDEN.into_response(),
        };
    }
    if *request.method() == Method::POST && !visit.may_post(request.headers()) {
        telemetry::count("portal.foreign-post");
        return StatusCode::FORBIDDEN.into_response();
    }
    request.extensions_mut().insert(visit);
    next.run(request).await
}

type Extension<T> = axum::Extension<T>;

async fn show(
    State(portal): State<Arc<Portal>>,
    axum::Extension(visit): Extension<Visit>,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    let said = uri.query().and_then(|query| query.strip_prefix("said=")).and_then(Said::read);
    let seen = portal.seen(visit.address).await;
    html(StatusCode::OK, portal.page(&headers, &seen, said))
}

async fn state(State(portal): State<Arc<Portal>>, axum::Extension(visit): Extension<Visit>) -> Response {
    axum::Json(page::state(&portal.seen(visit.address).await)).into_response()
}

async fn take(
    State(portal): State<Arc<Portal>>,
    axum::Extension(visit): Extension<Visit>,
    headers: HeaderMap,
    body: Bytes,
) -> Response {
    if !portal.visitors.may_post(visit.address) {
        telemetry::count("portal.too-often");
        let seen = portal.seen(visit.address).await;
        return html(StatusCode::TOO_MANY_REQUESTS, portal.page(&headers, &seen, Some(Said::TooOften)));
    }
    let field = |name: &str| {
        form_urlencoded::parse(&body)
            .find(|(key, _)| key == name)
            .map(|(_, value)| value.into_owned())
            .unwrap_or_default()
    };
    let given = portal.sessions.code(visit.address, &field("form"), field("code").trim()).await;
    // What is shown next is what has become of it.
    portal.visitors.forget(visit.address);
    let said = match given {
        Given::Approved | Given::NothingWaits => None,
        Given::Counted => Some(Said::Counted),
        Given::Wrong => Some(Said::Wrong),
        Given::TooLate => Some(Said::TooLate),
        Given::Away => Some(Said::Away),
    };
    telemetry::count(match given {
        Given::Approved | Given::Counted => "portal.code-right",
        Given::Away => "portal.code-away",
        Given::Wrong | Given::TooLate | Given::NothingWaits => "portal.code-refused",
    });
    // Back to the page, so that loading it again sends no code again.
    let to = said.map_or_else(|| "/".to_owned(), |said| format!("/?said={}", said.as_str()));
    Redirect::to(&to).into_response()
}

/// RFC 8908 §5.
async fn api(State(portal): State<Arc<Portal>>, axum::Extension(visit): Extension<Visit>) -> Response {
    let seen = portal.seen(visit.address).await;
    let answer = page::captive(&seen, &visit.home).to_string();
    ([(header::CONTENT_TYPE, "application/captive+json")], answer).into_response()
}

/// Whatever else is asked for: what a system looks for to find out whether it is captive, mostly.
async fn home(axum::Extension(visit): Extension<Visit>, method: Method) -> Response {
    match method {
        Method::GET | Method::HEAD => found(&visit.home),
        _ => StatusCode::METHOD_NOT_ALLOWED.into_response(),
    }
}

fn found(home: &Url) -> Response {
    (StatusCode::FOUND, [(header::LOCATION, home.as_str())]).into_response()
}

fn html(status: StatusCode, page: String) -> Response {
    (status, [(header::CONTENT_TYPE, "text/html; charset=utf-8")], page).into_response()
}

fn file(kind: &'static str, text: &'static str) -> Response {
    ([(header::CONTENT_TYPE, kind)], text).into_response()
}

async fn in_time(request: Request, next: Next) -> Response {
    let answered = timeout(PATIENCE, next.run(request)).await;
    answered.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}

/// Every answer: for nobody's cache, and in nobody's frame.
async fn guarded(mut response: Response) -> Response {
    const HEADERS: [(HeaderName, &str); 6] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // Not no-referrer: with that a browser says "null" for the Origin of a form.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}
