//! The integration tests, one binary.

mod bot_api;
mod cli;
mod config;
mod demo;
mod dictionary;
mod dynauth;
mod house;
mod postgres;
mod store;
mod telegram;
