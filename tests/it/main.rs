//! The integration tests, one binary.
mod dictionary;
