//! The integration tests, one binary.

mod bot_api;
mod telegram;
