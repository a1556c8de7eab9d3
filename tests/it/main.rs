//! The integration tests, one binary.

mod config;
mod dictionary;
mod postgres;
mod store;
mod bot_api;
mod telegram;
