//! The integration tests, one binary.

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
mod lab;
mod load;
mod postgres;
mod radhold;
mod store;
mod telegram;
mod telegram_hold;
mod wire;
