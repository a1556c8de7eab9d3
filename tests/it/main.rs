//! The integration tests, one binary.

mod postgres;
mod store;
