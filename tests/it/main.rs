//! The integration tests, one binary.

mod accounting;
mod agent;
mod bot_api;
mod chance;
mod cli;
mod client;
mod config;
mod corpus;
mod crash;
mod das;
mod demo;
mod dictionary;
mod doctor;
mod dynauth;
mod front;
mod hold;
mod house;
mod import;
mod lab;
mod postgres;
mod radhold;
mod reporting;
mod store;
mod telegram;
mod telegram_hold;
mod wire;
