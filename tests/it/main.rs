//! The integration tests, one binary.

mod cli;
mod bot_api;
mod config;
mod dictionary;
mod dynauth;
mod house;
mod postgres;
mod store;
mod telegram;
mod postgres;
mod store;
