//! Names and numbers that tell things apart.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A session of ours: drawn by the shell when an Access-Accept is offered, and carried by the NAS in Class.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub Uuid);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SessionId {
    type Err = uuid::Error;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Uuid::parse_str(text).map(Self)
    }
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// The name, as given.
            pub fn new(name: impl Into<String>) -> Self {
                Self(name.into())
            }

            /// The name as text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl From<&str> for $name {
            fn from(name: &str) -> Self {
                Self(name.to_owned())
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    };
}

name! {
    /// A User-Name, exactly as the NAS sends it.
    UserName
}
name! {
    /// Our own name for a NAS (not its NAS-Identifier, which the NAS chooses).
    NasName
}
name! {
    /// The name of one radhold process among those that share a store.
    NodeName
}

/// A channel that can ask the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ApproverKind {
    /// Two buttons in a Telegram chat.
    Telegram,
    /// `radhold session approve|deny`, by somebody with access to the store.
    Operator,
    /// A code of the person's authenticator (RFC 6238), or one of their recovery codes.
    Totp,
    /// The operator's emergency code. Nobody is asked by it: it names who decided.
    Emergency,
}

impl ApproverKind {
    /// The name in configuration, tables and logs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Telegram => "telegram",
            Self::Operator => "operator",
            Self::Totp => "totp",
            Self::Emergency => "emergency",
        }
    }
}

impl fmt::Display for ApproverKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for ApproverKind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "telegram" => Ok(Self::Telegram),
            "operator" => Ok(Self::Operator),
            "totp" => Ok(Self::Totp),
            other => Err(format!("no approver is called {other:?}; there are telegram, operator and totp")),
        }
    }
}
