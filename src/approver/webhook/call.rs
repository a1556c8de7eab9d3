//! One request out. It follows no redirect, goes through no proxy, reads a bounded answer in a bounded time, and believes only what is
//! signed.

use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, Response, StatusCode, redirect};
use url::{Host, Url};

use super::guard::{Guard, REFUSED};
use super::sign::{SIGNATURE, Signer, TIMESTAMP};
use super::words::{self, Said};
use super::{WebhookError, WebhookOptions};
use crate::approver::AskError;

/// The longest answer that is read.
const MOST: usize = 16 * 1024;
/// The longest wait that the other side may ask for.
const LONGEST_WAIT: u64 = 60;

/// Calls the other side.
pub(super) struct Caller {
    client: Client,
    url: Url,
    guard: Guard,
    signer: Signer,
}

impl Caller {
    pub(super) fn new(options: &WebhookOptions, signer: Signer) -> Result<Self, WebhookError> {
        let guard = Guard::new(&options.allow);
        let client = Client::builder()
            .dns_resolver(std::sync::Arc::new(guard.clone()))
            .redirect(redirect::Policy::none())
            .no_proxy()
            .referer(false)
            .timeout(options.timeout)
            .user_agent(concat!("radhold/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| WebhookError::Client(error.to_string()))?;
        Ok(Self { client, url: options.url.clone(), guard, signer })
    }

    /// Posts a body, and gives the answer when there is one in the response.
    pub(super) async fn post(&self, body: Vec<u8>) -> Result<Option<Said>, AskError> {
        // Addresses are not resolved, so that the resolver does not see them.
        let literal = match self.url.host() {
            Some(Host::Ipv4(address)) => Some(address.into()),
            Some(Host::Ipv6(address)) => Some(address.into()),
            _ => None,
        };
        if let Some(address) = literal.filter(|address| !self.guard.admits(*address)) {
            return Err(AskError::Undeliverable(format!("approver.webhook.url leads to {address}, {REFUSED}")));
        }
        let (timestamp, signature) = self.signer.sign(&body);
        let request = self
            .client
            .post(self.url.clone())
            .header(CONTENT_TYPE, "application/json")
            .header(TIMESTAMP, timestamp)
            .header(SIGNATURE, signature)
            .body(body);
        let response = request.send().await.map_err(|error| later(None, said(&error)))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(status, response.headers()));
        }
        let headers = response.headers().clone();
        let body = bounded(response).await?;
        let Some(answer) =
            words::read(&body).map_err(|error| AskError::Undeliverable(format!("its answer: {error}")))?
        else {
            return Ok(None);
        };
        let header = |name| headers.get(name).and_then(|value| value.to_str().ok());
        match self.signer.verify(header(TIMESTAMP), header(SIGNATURE), &body) {
            Ok(()) => Ok(Some(answer)),
            Err(error) => Err(AskError::Undeliverable(format!("the webhook's answer does not count: {error}"))),
        }
    }
}

async fn bounded(mut response: Response) -> Result<Vec<u8>, AskError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| later(None, said(&error)))? {
        if body.len() + chunk.len() > MOST {
            return Err(AskError::Undeliverable(format!("the webhook's answer is longer than {MOST} octets")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}

/// What a status says about another try. A redirect is not followed: it may lead anywhere.
fn refused(status: StatusCode, headers: &HeaderMap) -> AskError {
    let reason = format!("the webhook answered {status}");
    let again = status.is_server_error()
        || matches!(status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS);
    if !again {
        return AskError::Undeliverable(reason);
    }
    let after = headers.get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    later(after.map(|seconds: u64| Duration::from_secs(seconds.min(LONGEST_WAIT))), reason)
}

fn later(after: Option<Duration>, reason: String) -> AskError {
    AskError::Later { after, reason }
}

/// The error with what caused it, and without the address, which may hold a token of the other side's.
fn said(error: &reqwest::Error) -> String {
    let mut text = "the webhook cannot be reached".to_owned();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    if error.is_timeout() {
        text.push_str(" in time");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_pass_is_tried_again_and_nothing_else() {
        let refused = |status: u16, wait: Option<&str>| {
            let mut headers = HeaderMap::new();
            if let Some(wait) = wait {
                headers.insert(RETRY_AFTER, wait.parse().unwrap());
            }
            refused(StatusCode::from_u16(status).unwrap(), &headers)
        };
        let secs = |secs| Some(Duration::from_secs(secs));
        assert!(matches!(refused(503, None), AskError::Later { after: None, .. }));
        assert!(matches!(refused(429, Some("7")), AskError::Later { after, .. } if after == secs(7)));
        assert!(matches!(refused(429, Some("86400")), AskError::Later { after, .. } if after == secs(60)));
        for status in [301, 302, 307, 400, 401, 404, 410] {
            assert!(matches!(refused(status, None), AskError::Undeliverable(_)), "{status}");
        }
    }
}
