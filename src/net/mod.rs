//! UDP out: the Dynamic Authorization Client. Never knows a session or a user.

pub mod dynamic_authorization;
