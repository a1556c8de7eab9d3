//! Answers that come later: `POST /answer`, signed by the other side.
//!
//! What is not signed, not fresh, or not to a question of ours gets an answer that says only that; and a counter. Never reads more
//! than a little of a stranger's request.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::map_response;
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, mpsc};
use tokio::time::timeout;

use super::Desk;
use super::sign::{SIGNATURE, Signer, TIMESTAMP, WINDOW};
use super::words;
use crate::approver::Incoming;
use crate::listener::{Bounded, part_with_the_refused};
use crate::model::Timestamp;
use crate::session::Told;
use crate::telemetry;

/// The longest request that is read.
const MOST: usize = 16 * 1024;
/// How long a request may take to come in, and an answer to be kept.
const PATIENCE: Duration = Duration::from_secs(8);
/// Requests in hand at once.
const AT_ONCE: usize = 64;
/// Answers remembered for as long as they could come again.
const REMEMBERED: usize = 100_000;

struct Door {
    signer: Signer,
    desk: Desk,
    places: Semaphore,
    used: Mutex<Used>,
}

/// Signatures that have done their work.
#[derive(Default)]
struct Used {
    /// The oldest first.
    by_age: VecDeque<(Timestamp, Arc<str>)>,
    all: HashSet<Arc<str>>,
}

/// Works until nobody takes answers any more.
pub(super) async fn run(listener: TcpListener, signer: Signer, desk: Desk, answers: mpsc::Sender<Incoming>) {
    let door = Arc::new(Door { signer, desk, places: Semaphore::new(AT_ONCE), used: Mutex::default() });
    let routes = Router::new()
        .route("/answer", post(answer))
        .fallback(|| async { StatusCode::NOT_FOUND })
        .layer(DefaultBodyLimit::max(MOST))
        .layer(map_response(part_with_the_refused))
        .with_state(door);
    tokio::select! {
        served = axum::serve(Bounded::new(listener), routes) => {
            if let Err(error) = served {
                tracing::error!(%error, "answers to the webhook cannot be taken in any more");
            }
        }
        () = answers.closed() => (),
    }
}

async fn answer(State(door): State<Arc<Door>>, headers: HeaderMap, body: Bytes) -> Response {
    let Ok(_place) = door.places.try_acquire() else {
        telemetry::count("webhook.busy");
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    match door.take(&headers, &body).await {
        Ok(told) => {
            let status = match told {
                Told::Done | Told::Counted { .. } | Told::Noted => StatusCode::OK,
                _ => StatusCode::CONFLICT,
            };
            (status, axum::Json(serde_json::json!({ "told": words::told(told) }))).into_response()
        }
        Err((status, label, reason)) => {
            telemetry::count(label);
            tracing::warn!(reason, "an answer to the webhook was refused");
            (status, axum::Json(serde_json::json!({ "error": reason }))).into_response()
        }
    }
}

type Refused = (StatusCode, &'static str, String);

impl Door {
    async fn take(&self, headers: &HeaderMap, body: &[u8]) -> Result<Told, Refused> {
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        let signature = header(SIGNATURE);
        self.signer
            .verify(header(TIMESTAMP), signature, body)
            .map_err(|error| (StatusCode::UNAUTHORIZED, "webhook.not-signed", error.to_string()))?;
        let malformed = |reason: String| (StatusCode::BAD_REQUEST, "webhook.malformed", reason);
        let said =
            words::read(body).map_err(malformed)?.ok_or_else(|| malformed("there is no answer in it".to_owned()))?;
        let foreign = || (StatusCode::NOT_FOUND, "webhook.foreign", "no such question was asked".to_owned());
        let press = self.desk.press(&said).ok_or_else(foreign)?;
        let once = signature.unwrap_or_default().to_ascii_lowercase();
        if !self.use_up(&once) {
            return Err((StatusCode::CONFLICT, "webhook.repeated", "this very answer was given before".to_owned()));
        }
        let carried = async { self.desk.carry(press).await?.await.ok() };
        let told = timeout(PATIENCE, carried).await.ok().flatten();
        told.ok_or_else(|| {
            // It was not kept, so that it may be given again.
            self.give_back(&once);
            (StatusCode::SERVICE_UNAVAILABLE, "webhook.not-kept", "not recorded; send it again".to_owned())
        })
    }

    /// An answer counts once here; on all nodes together the session sees to that.
    fn use_up(&self, signature: &str) -> bool {
        let now = self.signer.now();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        // A time from the future may be as far ahead as one from the past is behind.
        let keep = Duration::from_secs(2 * WINDOW.unsigned_abs());
        while used.by_age.front().is_some_and(|(at, _)| now.since(*at) > keep) || used.by_age.len() >= REMEMBERED {
            if let Some((_, oldest)) = used.by_age.pop_front() {
                used.all.remove(&oldest);
            }
        }
        let signature: Arc<str> = signature.into();
        let is_new = used.all.insert(Arc::clone(&signature));
        if is_new {
            used.by_age.push_back((now, signature));
        }
        is_new
    }

    fn give_back(&self, signature: &str) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        used.all.remove(signature);
        used.by_age.retain(|(_, other)| **other != *signature);
    }
}
