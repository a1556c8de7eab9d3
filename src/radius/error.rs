//! What can be wrong with a packet: each error names the broken rule, its RFC section and whose fault it is.
//!
//! Knows nothing of logs, counters or answers; `reason()` gives a short stable label others may count by.

use thiserror::Error;

/// Who has to change for this error to go away.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// The sender's octets break a rule that needs no secret to check.
    Malformed,
    /// The octets are well formed but not proven: a wrong secret on either side, or a forger.
    Unproven,
    /// We asked for something the wire cannot carry.
    Ours,
}

/// Octets that are no RADIUS packet. Such a datagram is silently discarded (RFC 2865 §3).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ParseError {
    /// The datagram cannot hold a header.
    #[error("datagram of {octets} octets is shorter than the 20-octet header (RFC 2865 §3)")]
    HeaderTruncated {
        /// Octets received.
        octets: usize,
    },
    /// The Length field is below 20.
    #[error("Length {length} is below the minimum of 20 (RFC 2865 §3)")]
    LengthBelowMinimum {
        /// The Length field.
        length: u16,
    },
    /// The Length field is above 4096.
    #[error("Length {length} is above the maximum of 4096 (RFC 2865 §3)")]
    LengthAboveMaximum {
        /// The Length field.
        length: u16,
    },
    /// The datagram ends before its Length.
    #[error("datagram of {octets} octets is shorter than its Length {length} (RFC 2865 §3)")]
    Truncated {
        /// The Length field.
        length: u16,
        /// Octets received.
        octets: usize,
    },
    /// One octet is left where an attribute's Type and Length should be.
    #[error("one octet left at offset {offset}, an attribute needs two (RFC 2865 §5)")]
    AttributeHeaderTruncated {
        /// Where the octet stands in the packet.
        offset: usize,
    },
    /// An attribute's Length does not even count itself.
    #[error("attribute {kind} at offset {offset} has Length {length}, below 2 (RFC 2865 §5)")]
    AttributeLengthBelowMinimum {
        /// Where the attribute starts in the packet.
        offset: usize,
        /// Its Type.
        kind: u8,
        /// Its Length: 0 or 1.
        length: u8,
    },
    /// An attribute runs past the end of the packet.
    #[error("attribute {kind} at offset {offset} has Length {length} with {remaining} octets left (RFC 2865 §5)")]
    AttributeOverrun {
        /// Where the attribute starts in the packet.
        offset: usize,
        /// Its Type.
        kind: u8,
        /// Its Length.
        length: u8,
        /// Octets from its start to the packet's end.
        remaining: usize,
    },
}

impl ParseError {
    /// A short stable label, usable as a counter's key.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::HeaderTruncated { .. } => "header-truncated",
            Self::LengthBelowMinimum { .. } => "length-below-minimum",
            Self::LengthAboveMaximum { .. } => "length-above-maximum",
            Self::Truncated { .. } => "truncated",
            Self::AttributeHeaderTruncated { .. } => "attribute-header-truncated",
            Self::AttributeLengthBelowMinimum { .. } => "attribute-length-below-minimum",
            Self::AttributeOverrun { .. } => "attribute-overrun",
        }
    }

    /// Always [`Fault::Malformed`].
    pub const fn fault(&self) -> Fault {
        Fault::Malformed
    }
}

/// A packet we were asked to build but must not send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// A value does not fit the one-octet Length of its attribute.
    #[error("attribute {kind} would hold {octets} octets, {limit} fit (RFC 2865 §5)")]
    AttributeTooLong {
        /// The attribute's Type.
        kind: u8,
        /// Octets of the value.
        octets: usize,
        /// Octets that fit.
        limit: usize,
    },
    /// The packet would exceed 4096 octets.
    #[error("packet would have {octets} octets, 4096 are allowed (RFC 2865 §3)")]
    PacketTooLong {
        /// Octets the packet would have.
        octets: usize,
    },
    /// Octets given as encoded attributes are none.
    #[error("these octets are no whole attributes (RFC 2865 §5)")]
    NotAttributes,
    /// Message-Authenticator is written by signing and by nothing else.
    #[error("Message-Authenticator is written by signing (RFC 3579 §3.2)")]
    MessageAuthenticatorIsSigned,
    /// Signed as the wrong thing: a reply as a request, or the other way round.
    #[error("code {code} cannot be signed as a {wanted} (RFC 2865 §3)")]
    WrongDirection {
        /// The packet's code.
        code: u8,
        /// `request` or `reply`.
        wanted: &'static str,
    },
    /// An attribute number that is not of the family asked for.
    #[error("attribute {kind} is not of the {family} space (RFC 6929 §2)")]
    WrongSpace {
        /// The attribute's Type.
        kind: u8,
        /// `extended` or `long-extended`.
        family: &'static str,
    },
}

impl EncodeError {
    /// A short stable label, usable as a counter's key.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::AttributeTooLong { .. } => "attribute-too-long",
            Self::PacketTooLong { .. } => "packet-too-long",
            Self::NotAttributes => "not-attributes",
            Self::MessageAuthenticatorIsSigned => "message-authenticator-is-signed",
            Self::WrongDirection { .. } => "wrong-direction",
            Self::WrongSpace { .. } => "wrong-space",
        }
    }

    /// Always [`Fault::Ours`].
    pub const fn fault(&self) -> Fault {
        Fault::Ours
    }
}

/// Why a Message-Authenticator proves nothing (RFC 3579 §3.2). Only [`Absent`](Self::Absent) is a matter of policy;
/// the others mean: silently discard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum MessageAuthenticatorError {
    /// There is none.
    #[error("no Message-Authenticator (RFC 3579 §3.2)")]
    Absent,
    /// There is more than one.
    #[error("more than one Message-Authenticator (RFC 3579 §3.3)")]
    Repeated,
    /// Its value is not of 16 octets.
    #[error("Message-Authenticator of {octets} octets instead of 16 (RFC 3579 §3.2)")]
    WrongLength {
        /// Octets of the value.
        octets: usize,
    },
    /// It was not made with this secret over these octets.
    #[error("Message-Authenticator does not match the packet and the secret (RFC 3579 §3.2)")]
    Mismatch,
}

impl MessageAuthenticatorError {
    /// A short stable label, usable as a counter's key.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Absent => "message-authenticator-absent",
            Self::Repeated => "message-authenticator-repeated",
            Self::WrongLength { .. } => "message-authenticator-length",
            Self::Mismatch => "message-authenticator-mismatch",
        }
    }

    /// The sender's, or a secret that differs.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::Repeated | Self::WrongLength { .. } => Fault::Malformed,
            Self::Absent | Self::Mismatch => Fault::Unproven,
        }
    }
}

/// Why the Authenticator field of a packet proves nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum AuthenticatorError {
    /// The Request Authenticator was not made with this secret over these octets.
    #[error("Request Authenticator does not match the packet and the secret (RFC 2866 §3, RFC 5176 §2.3)")]
    RequestMismatch,
    /// The Response Authenticator was not made with this secret for that request.
    #[error("Response Authenticator does not match the packet, the request and the secret (RFC 2865 §3)")]
    ResponseMismatch,
    /// A code whose Authenticator is not a checksum of a request.
    #[error("the Authenticator of code {code} is not a Request Authenticator that can be checked (RFC 2865 §3)")]
    NotChecked {
        /// The packet's code.
        code: u8,
    },
    /// The reply has a Message-Authenticator that proves nothing.
    #[error(transparent)]
    MessageAuthenticator(#[from] MessageAuthenticatorError),
}

impl AuthenticatorError {
    /// A short stable label, usable as a counter's key.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::RequestMismatch => "request-authenticator-mismatch",
            Self::ResponseMismatch => "response-authenticator-mismatch",
            Self::NotChecked { .. } => "authenticator-not-checked",
            Self::MessageAuthenticator(error) => error.reason(),
        }
    }

    /// The sender's, ours, or a secret that differs.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::RequestMismatch | Self::ResponseMismatch => Fault::Unproven,
            Self::NotChecked { .. } => Fault::Ours,
            Self::MessageAuthenticator(error) => error.fault(),
        }
    }
}

/// Why the octets of an attribute are no value of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum ValueError {
    /// A type of fixed size has another size.
    #[error("{data_type} needs {expected} octets, not {octets} ({rule})")]
    WrongLength {
        /// The type's name in RFC 8044.
        data_type: &'static str,
        /// The sizes allowed, in words.
        expected: &'static str,
        /// Octets of the value.
        octets: usize,
        /// The RFC section.
        rule: &'static str,
    },
    /// `text` that is not UTF-8.
    #[error("text is not UTF-8 (RFC 8044 §3.4)")]
    NotUtf8,
    /// A prefix length beyond the address.
    #[error("prefix length {length} is beyond {limit} (RFC 8044 §3.10, §3.11)")]
    PrefixLength {
        /// The length on the wire.
        length: u8,
        /// Bits of the address.
        limit: u8,
    },
    /// Bits outside the prefix are not zero.
    #[error("bits beyond the prefix length {length} are not zero (RFC 8044 §3.10, §3.11)")]
    PrefixBits {
        /// The length on the wire.
        length: u8,
    },
    /// A TLV, or a sub-attribute of a vendor, whose Length does not fit where it stands.
    #[error("nested attribute at offset {offset} has a Length that does not fit (RFC 6929 §2.3, RFC 2865 §5.26)")]
    NestedLength {
        /// Where it starts in the enclosing value.
        offset: usize,
    },
    /// TLVs nested deeper than we follow.
    #[error("TLVs nested deeper than {limit} (RFC 6929 §2.3)")]
    TooDeep {
        /// The depth we follow.
        limit: usize,
    },
    /// An extended attribute without its Extended-Type, or a long one without its flags.
    #[error("extended attribute of {octets} octets has no room for its header (RFC 6929 §2.1, §2.2)")]
    ExtendedTruncated {
        /// Octets of the value.
        octets: usize,
    },
    /// A fragment says more follows, and the next attribute is not that.
    #[error("fragment of {kind}.{extended_type} is not followed by the next (RFC 6929 §2.2)")]
    FragmentMissing {
        /// The attribute's Type.
        kind: u8,
        /// Its Extended-Type.
        extended_type: u8,
    },
    /// More octets than an attribute can carry.
    #[error("value of {octets} octets, {limit} fit ({rule})")]
    TooLong {
        /// Octets of the value.
        octets: usize,
        /// Octets that fit.
        limit: usize,
        /// The RFC section.
        rule: &'static str,
    },
}

impl ValueError {
    /// A short stable label, usable as a counter's key.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::WrongLength { .. } => "value-length",
            Self::NotUtf8 => "value-not-utf8",
            Self::PrefixLength { .. } => "prefix-length",
            Self::PrefixBits { .. } => "prefix-bits",
            Self::NestedLength { .. } => "nested-length",
            Self::TooDeep { .. } => "nested-too-deep",
            Self::ExtendedTruncated { .. } => "extended-truncated",
            Self::FragmentMissing { .. } => "fragment-missing",
            Self::TooLong { .. } => "value-too-long",
        }
    }

    /// The sender's, except for a value too long to be sent, which is ours.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::TooLong { .. } => Fault::Ours,
            _ => Fault::Malformed,
        }
    }
}

/// Why a value cannot be hidden or revealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum HidingError {
    /// A plain value longer than the hiding can carry.
    #[error("{octets} octets to hide, {limit} fit ({rule})")]
    PlainTooLong {
        /// Octets of the plain value.
        octets: usize,
        /// Octets that fit.
        limit: usize,
        /// The RFC section.
        rule: &'static str,
    },
    /// Hidden octets of a length no hiding makes.
    #[error("hidden value of {octets} octets is not of the length its rule asks ({rule})")]
    HiddenLength {
        /// Octets of the hidden value.
        octets: usize,
        /// The RFC section.
        rule: &'static str,
    },
    /// What came out makes no sense: most likely the secret differs.
    #[error("revealed length {length} does not fit in {octets} octets: does the secret match? ({rule})")]
    RevealedLength {
        /// The length octet revealed.
        length: u8,
        /// Octets revealed behind it.
        octets: usize,
        /// The RFC section.
        rule: &'static str,
    },
}

impl HidingError {
    /// A short stable label, usable as a counter's key.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::PlainTooLong { .. } => "hiding-plain-too-long",
            Self::HiddenLength { .. } => "hiding-length",
            Self::RevealedLength { .. } => "hiding-revealed-length",
        }
    }

    /// Ours when hiding, the sender's or the secret's when revealing.
    pub const fn fault(&self) -> Fault {
        match self {
            Self::PlainTooLong { .. } => Fault::Ours,
            Self::HiddenLength { .. } => Fault::Malformed,
            Self::RevealedLength { .. } => Fault::Unproven,
        }
    }
}
