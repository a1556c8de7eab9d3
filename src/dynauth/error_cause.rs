//! Error-Cause (RFC 5176 §3.5) and what it asks us to do.

use std::fmt;

/// The value of an Error-Cause attribute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCause(pub u32);

/// What a NAK asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Remedy {
    /// The session is not on the NAS any more: close it.
    SessionGone,
    /// The NAS could not tell which session is meant: send again with all we know.
    AddIdentifiers,
    /// The attributes are wrong for this NAS: the dialect wants mending, and repeating does not help.
    FixDialect,
    /// This NAS does not answer for that session, or will not do such a thing: repeating does not help.
    NotRetriable,
    /// Passing trouble, or no reason given: try again later.
    Retry,
}

impl ErrorCause {
    /// What this cause, or its absence, asks for.
    pub const fn remedy(cause: Option<u32>) -> Remedy {
        match cause {
            // RFC 5176 §3.5: 503 Session Context Not Found.
            Some(503) => Remedy::SessionGone,
            // 508 Multiple Session Selection Unsupported: the identifiers matched several.
            Some(508) => Remedy::AddIdentifiers,
            // 401 Unsupported Attribute, 402 Missing Attribute, 404 Invalid Request, 407 Invalid Attribute Value.
            Some(401 | 402 | 404 | 407) => Remedy::FixDialect,
            // 403 NAS Identification Mismatch, 405 Unsupported Service, 406 Unsupported Extension,
            // 501 Administratively Prohibited, 502 Request Not Routable, 505 Other Proxy Processing Error,
            // 506 Resources Unavailable.
            Some(403 | 405 | 406 | 501 | 502 | 505 | 506) => Remedy::NotRetriable,
            _ => Remedy::Retry,
        }
    }
}

impl fmt::Display for ErrorCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.0 {
            201 => "Residual Session Context Removed",
            202 => "Invalid EAP Packet",
            401 => "Unsupported Attribute",
            402 => "Missing Attribute",
            403 => "NAS Identification Mismatch",
            404 => "Invalid Request",
            405 => "Unsupported Service",
            406 => "Unsupported Extension",
            407 => "Invalid Attribute Value",
            501 => "Administratively Prohibited",
            502 => "Request Not Routable",
            503 => "Session Context Not Found",
            504 => "Session Context Not Removable",
            505 => "Other Proxy Processing Error",
            506 => "Resources Unavailable",
            507 => "Request Initiated",
            508 => "Multiple Session Selection Unsupported",
            _ => return write!(f, "{}", self.0),
        };
        write!(f, "{} {name}", self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_cause_has_its_remedy() {
        for (cause, remedy) in [
            (Some(503), Remedy::SessionGone),
            (Some(508), Remedy::AddIdentifiers),
            (Some(401), Remedy::FixDialect),
            (Some(407), Remedy::FixDialect),
            (Some(403), Remedy::NotRetriable),
            (Some(506), Remedy::NotRetriable),
            (Some(504), Remedy::Retry),
            (None, Remedy::Retry),
        ] {
            assert_eq!(ErrorCause::remedy(cause), remedy, "{cause:?}");
        }
        assert_eq!(ErrorCause(503).to_string(), "503 Session Context Not Found");
    }
}
