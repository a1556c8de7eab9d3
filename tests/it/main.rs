//! The integration tests, one binary.

mod bot_api;
mod config;
mod dictionary;
mod postgres;
mod store;
mod telegram;
mod house;
mod dynauth;
