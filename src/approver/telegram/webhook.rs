//! The other way updates come: Telegram brings each by HTTP, and brings it again until we say that it was handled.
//!
//! Listens without TLS, behind whatever speaks it. Believes nobody who does not know the secret, and tells them nothing; reads no
//! more than an update is long. Never polls.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::{Request, State};
use axum::http::{Method, StatusCode, header};
use axum::middleware::map_response;
use subtle::ConstantTimeEq as _;
use teloxide::types::Update;

use super::api::Api;
use super::reception::Reception;
use super::{TelegramError, TelegramOptions, Webhook};
use crate::approver::AskError;
use crate::listener::{Bounded, part_with_the_refused};
use crate::model::Secret;
use crate::telemetry;

/// Longest update that is read, in octets. Those we ask for are a few thousand.
const LONGEST: usize = 256 * 1024;
/// The header that carries the secret (Bot API, setWebhook).
const SECRET_HEADER: &str = "x-telegram-bot-api-secret-token";
/// How long an update may take to come in.
const BODY_PATIENCE: Duration = Duration::from_secs(10);
/// Before another try to listen or to tell Telegram where.
const AGAIN: Duration = Duration::from_secs(5);
/// The longest wait between two tries to tell Telegram.
const LONGEST_WAIT: Duration = Duration::from_secs(300);

/// Whether Telegram could use it.
pub(super) fn check(webhook: &Webhook) -> Result<(), TelegramError> {
    let secret = std::str::from_utf8(webhook.secret.expose()).unwrap_or_default();
    let is_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if secret.len() < 16 || secret.len() > 256 || !secret.chars().all(is_word) {
        return Err(TelegramError::BadWebhook("the secret is 16 to 256 of letters, digits, - and _".to_owned()));
    }
    if webhook.url.scheme() != "https" {
        return Err(TelegramError::BadWebhook("Telegram brings updates to https addresses only".to_owned()));
    }
    Ok(())
}

/// Listens until nobody takes what comes.
pub(super) async fn run(api: &Api, reception: &Arc<Reception>, webhook: &Webhook, options: &TelegramOptions) {
    let listener = loop {
        match tokio::net::TcpListener::bind(webhook.listen).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::error!(listen = %webhook.listen, %error, "the webhook cannot be listened for; trying again");
                tokio::select! {
                    () = tokio::time::sleep(AGAIN) => (),
                    () = reception.incoming.closed() => return,
                }
            }
        }
    };
    let place = Arc::new(Here {
        path: webhook.url.path().to_owned(),
        secret: webhook.secret.clone(),
        reception: Arc::clone(reception),
    });
    let router = Router::new().fallback(take).layer(map_response(part_with_the_refused)).with_state(place);
    let serving = axum::serve(Bounded::new(listener), router).into_future();
    tracing::info!(listen = %webhook.listen, "waiting for Telegram to bring updates");
    tokio::select! {
        ended = serving => tracing::error!(?ended, "the webhook's listener has ended"),
        () = announce(api, webhook, options) => (),
        () = reception.incoming.closed() => (),
    }
}

/// Tells Telegram where we are, until it knows, and then nothing more.
async fn announce(api: &Api, webhook: &Webhook, options: &TelegramOptions) {
    let secret = std::str::from_utf8(webhook.secret.expose()).unwrap_or_default();
    let mut wait = options.backoff_first.max(Duration::from_millis(100));
    while let Err(error) = api.set_webhook(webhook.url.clone(), secret).await {
        let after = match &error {
            AskError::Later { after, .. } => wait.max(after.unwrap_or_default()),
            AskError::Undeliverable(_) => LONGEST_WAIT,
        };
        tracing::error!(%error, wait_s = after.as_secs_f32(), "Telegram was not told of the webhook; trying again");
        tokio::time::sleep(after).await;
        wait = (wait * 2).min(LONGEST_WAIT);
    }
    tracing::info!(url = %webhook.url, "Telegram brings updates to the webhook");
    std::future::pending::<()>().await;
}

struct Here {
    path: String,
    secret: Secret,
    reception: Arc<Reception>,
}

/// One request: an update is handled before it is acknowledged.
async fn take(State(here): State<Arc<Here>>, request: Request<Body>) -> StatusCode {
    let (head, body) = request.into_parts();
    let given = head.headers.get(SECRET_HEADER).map(|given| given.as_bytes()).unwrap_or_default();
    if !bool::from(given.ct_eq(here.secret.expose())) {
        telemetry::count("webhook.stranger");
        // The same for every path and method: a stranger learns nothing, not even that this is the place.
        return StatusCode::NOT_FOUND;
    }
    if head.uri.path() != here.path || head.method != Method::POST {
        return StatusCode::NOT_FOUND;
    }
    let is_json = head
        .headers
        .get(header::CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok())
        .is_some_and(|kind| kind.split(';').next().unwrap_or_default().trim() == "application/json");
    if !is_json {
        return StatusCode::UNSUPPORTED_MEDIA_TYPE;
    }
    let body = match tokio::time::timeout(BODY_PATIENCE, to_bytes(body, LONGEST)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return StatusCode::PAYLOAD_TOO_LARGE,
        Err(_) => return StatusCode::REQUEST_TIMEOUT,
    };
    let update: Update = match serde_json::from_slice(&body) {
        Ok(update) => update,
        Err(error) => {
            telemetry::count("webhook.nonsense");
            tracing::warn!(%error, "an update makes no sense");
            // It would come again for ever.
            return StatusCode::OK;
        }
    };
    // In a task of its own: a connection that breaks off must not break what was begun.
    let handled = tokio::spawn(async move { here.reception.handle(update).await }).await;
    match handled {
        Ok(true) => StatusCode::OK,
        Ok(false) => StatusCode::SERVICE_UNAVAILABLE,
        Err(error) => {
            tracing::error!(%error, "handling an update failed");
            StatusCode::OK
        }
    }
}
