//! What can be wrong with a dictionary file, and what the operator does about it.

use std::fmt;

/// A dictionary could not be read: where, why, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DictionaryError {
    /// The file as it was named to the loader.
    pub file: String,
    /// The line, counted from 1; 0 when the file as a whole is at fault.
    pub line: u32,
    /// The broken rule.
    pub problem: Box<Problem>,
}

impl fmt::Display for DictionaryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file, self.problem),
            line => write!(f, "{}:{line}: {}", self.file, self.problem),
        }
    }
}

impl std::error::Error for DictionaryError {}

/// The rule a line broke. Each text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    /// The file could not be had.
    #[error("cannot read the file: {0}; check its name and permissions")]
    Unreadable(String),
    /// A file includes itself, perhaps through others.
    #[error("\"{0}\" includes itself; remove this $INCLUDE")]
    IncludeLoop(String),
    /// Files include files too deeply.
    #[error("files include each other more than {0} levels deep; flatten them")]
    IncludeDepth(usize),
    /// There is nothing that could follow an `$INCLUDE`.
    #[error("$INCLUDE has no place in a single text; put the definitions here or load from files")]
    IncludeInText,
    /// A keyword nobody knows.
    #[error(
        "unknown keyword \"{0}\"; expected ATTRIBUTE, VALUE, VENDOR, BEGIN-VENDOR, $INCLUDE or another of the format"
    )]
    Keyword(String),
    /// Too few or too many words.
    #[error("wrong number of words; write: {0}")]
    Usage(&'static str),
    /// Not a number.
    #[error("\"{0}\" is not a number this field can hold; write decimal or 0x hexadecimal{1}")]
    Number(String, String),
    /// Not an attribute number.
    #[error("\"{0}\" is not an attribute number; write a number or dotted numbers, such as 27 or 241.5.1")]
    Oid(String),
    /// Not a type.
    #[error("unknown type \"{0}\"; types are string, octets, integer, ipaddr, date, ipv6addr, ipv6prefix, tlv, …")]
    Type(String),
    /// Not a flag.
    #[error("unknown flag \"{0}\"; flags are encrypt=1..3, has_tag, array, concat, virtual, secret")]
    Flag(String),
    /// Flags that exclude each other or the type.
    #[error("{0}; remove one of them")]
    FlagClash(&'static str),
    /// Not a vendor format.
    #[error("\"{0}\" is not a vendor format; write format=t,l or format=t,l,c with t 1, 2 or 4 and l 0, 1 or 2")]
    Format(String),
    /// A vendor nobody defined.
    #[error("vendor \"{0}\" is not defined; put a VENDOR line before this one")]
    UnknownVendor(String),
    /// An attribute nobody defined.
    #[error("attribute \"{0}\" is not defined; define it with ATTRIBUTE, or correct the name")]
    UnknownAttribute(String),
    /// An attribute that cannot hold others.
    #[error("\"{0}\" cannot hold attributes; only tlv, vsa, extended, long-extended and evs can")]
    NotAContainer(String),
    /// The number of the parent is not defined.
    #[error("nothing is defined at {0}, which would hold this attribute; define it first, as tlv")]
    NoParent(String),
    /// A name used for two numbers.
    #[error("{what} \"{name}\" already means {earlier} at {place}, here {later}; rename one of them")]
    Contradiction {
        /// "attribute", "vendor", "value", …
        what: &'static str,
        /// The name.
        name: String,
        /// What it meant before.
        earlier: String,
        /// File and line of that.
        place: String,
        /// What it means here.
        later: String,
    },
    /// `VALUE` on a type without names.
    #[error(
        "attribute \"{0}\" is not of an integer type, so it has no VALUE names; correct its type or remove this line"
    )]
    NotEnumerable(String),
    /// An END without its BEGIN.
    #[error("{0} closes nothing that is open here; expected {1}")]
    Unbalanced(String, String),
    /// A line with NUL or other octets text files do not have.
    #[error("the line holds control characters; is this a text file?")]
    NotText,
}
