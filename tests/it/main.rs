//! The integration tests, one binary.

mod bot_api;
mod cli;
mod client;
mod config;
mod dictionary;
mod dynauth;
mod house;
mod postgres;
mod store;
mod telegram;
