//! The integration tests, one binary.
mod dictionary;
mod dynauth;
