//! The integration tests, one binary.

mod cli;
mod config;
mod dictionary;
