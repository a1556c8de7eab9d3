//! The parameters of a call, however they were sent: query string, form, multipart or JSON.
//!
//! Knows no method. Types are checked as the Bot API does: a number may come as text, an object as JSON text.

use axum::body::Bytes;
use axum::http::{HeaderMap, header};
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::Refusal;

/// The parameters of one call.
#[derive(Debug, Clone, Default)]
pub(crate) struct Params(pub(crate) Map<String, Value>);

impl Params {
    pub(super) fn read(query: Option<&str>, headers: &HeaderMap, body: &Bytes) -> Result<Self, Refusal> {
        let mut all = Map::new();
        all.extend(form(query.unwrap_or_default().as_bytes()));
        let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        match kind.split(';').next().unwrap_or_default().trim() {
            "application/json" if !body.is_empty() => match serde_json::from_slice(body) {
                Ok(Value::Object(object)) => all.extend(object),
                _ => return Err(Refusal::bad("can't parse request JSON object")),
            },
            "application/x-www-form-urlencoded" => all.extend(form(body)),
            "multipart/form-data" => {
                let boundary = kind.split(';').find_map(|part| part.trim().strip_prefix("boundary="));
                let boundary = boundary.ok_or_else(|| Refusal::bad("boundary not found"))?.trim_matches('"');
                all.extend(multipart(boundary, &String::from_utf8_lossy(body)));
            }
            _ => {}
        }
        all.retain(|_, value| !value.is_null());
        Ok(Self(all))
    }

    /// Text; a number is taken as its digits.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>, Refusal> {
        match self.0.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text.clone())),
            Some(Value::Number(number)) => Ok(Some(number.to_string())),
            Some(_) => Err(Refusal::bad(format!("field \"{name}\" must be of type String"))),
        }
    }

    pub(super) fn integer(&self, name: &str) -> Result<Option<i64>, Refusal> {
        let number = match self.0.get(name) {
            None => return Ok(None),
            Some(Value::Number(number)) => number.as_i64(),
            Some(Value::String(text)) => text.trim().parse().ok(),
            Some(_) => None,
        };
        number.map(Some).ok_or_else(|| Refusal::bad(format!("field \"{name}\" must be a number")))
    }

    pub(super) fn flag(&self, name: &str) -> Result<bool, Refusal> {
        match self.0.get(name) {
            None => Ok(false),
            Some(Value::Bool(flag)) => Ok(*flag),
            Some(Value::String(text)) => Ok(matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "1")),
            Some(_) => Err(Refusal::bad(format!("field \"{name}\" must be of type Boolean"))),
        }
    }

    /// An object or list, as such or as JSON text.
    pub(super) fn json(&self, name: &str) -> Result<Option<Value>, Refusal> {
        match self.0.get(name) {
            Some(Value::String(text)) if text.is_empty() => Ok(None),
            Some(Value::String(text)) => serde_json::from_str(text)
                .map(Some)
                .map_err(|_| Refusal::bad(format!("can't parse {name} JSON object"))),
            other => Ok(other.cloned()),
        }
    }
}

fn form(octets: &[u8]) -> impl Iterator<Item = (String, Value)> {
    form_urlencoded::parse(octets).map(|(name, value)| (name.into_owned(), Value::String(value.into_owned())))
}

fn multipart(boundary: &str, body: &str) -> Vec<(String, Value)> {
    let boundary = format!("--{boundary}");
    body.split(&boundary)
        .filter_map(|part| {
            let (head, value) = part.split_once("\r\n\r\n")?;
            let name = head.split("name=\"").nth(1)?.split('"').next()?;
            Some((name.to_owned(), Value::String(value.strip_suffix("\r\n").unwrap_or(value).to_owned())))
        })
        .collect()
}
