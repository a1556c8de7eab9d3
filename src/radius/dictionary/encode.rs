//! From a name and a text to the octets of an attribute. Hides nothing by itself: that needs a secret and an
//! authenticator, which the caller's closure knows.

use std::borrow::Cow;

use crate::radius::value::DataType;

use super::Dictionary;
use super::attribute::{Attribute, AttributePath, Encryption, VENDOR_SPECIFIC};
use super::text::{self, TextError};

/// The most octets a value has, RFC 2865 §5.
const VALUE_MAX: usize = 253;

/// The top bit of the flags of a long extended attribute (RFC 6929 §2.2) and of WiMAX' continuation octet: the value
/// goes on in the next attribute.
pub(super) const MORE: u8 = 0x80;

/// What hides a value, when it can.
type Hide<'a> = &'a mut dyn FnMut(Encryption, &[u8]) -> Option<Vec<u8>>;

/// A name and a text do not make an attribute.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// No such name.
    #[error("unknown attribute \"{name}\"{}", nearest.as_ref().map(|n| format!("; did you mean {n}?")).unwrap_or_default())]
    Unknown {
        /// What was written.
        name: String,
        /// The name that is spelled most like it.
        nearest: Option<String>,
    },
    /// A line that is not `Name = value`.
    #[error("\"{0}\" is not an attribute; write Name = value")]
    Line(String),
    /// An attribute that exists only inside a server.
    #[error("{0} never travels in a packet")]
    Virtual(String),
    /// A tag on an attribute without tags, or one above 31.
    #[error("{0} takes no tag {1}; tags are 0 to 31, on attributes of RFC 2868")]
    Tag(String, String),
    /// The value does not fit the type.
    #[error("{0}: {1}")]
    Text(String, #[source] TextError),
    /// RFC 2865 §5: an empty text or string is left out instead.
    #[error("{0}: an empty value must not be sent; leave the attribute out")]
    Empty(String),
    /// More octets than its frame holds.
    #[error("{0}: {1} octets do not fit into the attribute")]
    TooLong(String, usize),
    /// A number of an `Attr-…` name that its field cannot hold.
    #[error("{0} is not a number an attribute can have there")]
    Number(String),
    /// The attribute is hidden on the wire and nobody was there to hide it.
    #[error("{0} is hidden on the wire; it can only be written with the secret at hand")]
    Hidden(String),
}

impl Dictionary {
    /// The octets of the attribute `name` with the value `text`, header and Vendor-Specific wrapping included;
    /// several attributes end to end when the value is long and the attribute allows it.
    ///
    /// `name` is a dictionary's, with `:tag` behind it for attributes of RFC 2868, or `Attr-26.9.1`, whose value is
    /// `0x…`. `text` is what [`Dictionary::describe`] prints: `"quoted"` with escapes or bare text, numbers in
    /// decimal, hexadecimal or by `VALUE` name, addresses, prefixes, `0x…` for octets. Text from outside goes
    /// through [`super::quote`] first.
    ///
    /// Attributes that are hidden on the wire give [`EncodeError::Hidden`]: see [`Dictionary::encode_with`].
    pub fn encode(&self, name: &str, text: &str) -> Result<Vec<u8>, EncodeError> {
        self.encode_with(name, text, |_, _| None)
    }

    /// The same, where `hide` turns the value of a hidden attribute into what travels (behind the tag, if there is
    /// one), and returns `None` when it cannot.
    pub fn encode_with(
        &self,
        name: &str,
        text: &str,
        mut hide: impl FnMut(Encryption, &[u8]) -> Option<Vec<u8>>,
    ) -> Result<Vec<u8>, EncodeError> {
        let (bare, tag) = self.split_tag(name)?;
        let Some(attribute) = self.attribute(bare) else {
            let path = raw_path(bare).ok_or_else(|| self.unknown(bare))?;
            if tag.is_some() {
                return Err(EncodeError::Tag(bare.to_owned(), ":tag".to_owned()));
            }
            let octets = text::hex_octets(text).ok_or_else(|| {
                let text = text.to_owned();
                let expected = "octets in hexadecimal, such as 0x0102";
                EncodeError::Text(name.to_owned(), TextError::NotA { text, expected })
            })?;
            return self.wrap(name, &path, octets, false);
        };
        // RFC 2868 §3.1: the tag takes the first octet of an integer.
        let most = if attribute.flags.tagged { 0x00ff_ffff } else { u32::MAX.into() };
        let octets = text::to_octets(attribute, text, most).map_err(|e| EncodeError::Text(name.to_owned(), e))?;
        self.finish(name, attribute, tag, octets, &mut hide)
    }

    /// The octets of an attribute from a line `Name = value`, as `radclient` takes them. `:=` and `+=` mean `=`.
    pub fn encode_line(&self, line: &str) -> Result<Vec<u8>, EncodeError> {
        let (name, text) = split_line(line).ok_or_else(|| EncodeError::Line(line.to_owned()))?;
        self.encode(name, text)
    }

    /// The octets of an attribute from the octets of its value, as [`Dictionary::encode`] frames them. Nothing is
    /// hidden here: for a hidden attribute, `value` is what travels.
    pub fn encode_octets(&self, attribute: &Attribute, tag: Option<u8>, value: &[u8]) -> Result<Vec<u8>, EncodeError> {
        self.finish(&attribute.name, attribute, tag, value.to_vec(), &mut |_, octets| Some(octets.to_vec()))
    }

    fn finish(
        &self,
        name: &str,
        attribute: &Attribute,
        tag: Option<u8>,
        mut octets: Vec<u8>,
        hide: Hide<'_>,
    ) -> Result<Vec<u8>, EncodeError> {
        if !attribute.travels() {
            return Err(EncodeError::Virtual(name.to_owned()));
        }
        if octets.is_empty() && attribute.path.numbers().len() == 1 {
            return Err(EncodeError::Empty(name.to_owned()));
        }
        if let Some(encryption) = attribute.flags.encryption {
            octets = hide(encryption, &octets).ok_or_else(|| EncodeError::Hidden(name.to_owned()))?;
        }
        match (attribute.flags.tagged, tag) {
            (false, None) => {}
            (false, Some(tag)) => return Err(EncodeError::Tag(name.to_owned(), tag.to_string())),
            (true, tag) => put_tag(attribute, tag, &mut octets),
        }
        self.wrap(name, &attribute.path, octets, attribute.flags.concat)
    }

    /// Puts the headers around a value, from the innermost TLV outwards.
    fn wrap(&self, name: &str, path: &AttributePath, mut value: Vec<u8>, concat: bool) -> Result<Vec<u8>, EncodeError> {
        let wrong = || EncodeError::Number(name.to_owned());
        let long = |octets: usize| EncodeError::TooLong(name.to_owned(), octets);
        let numbers = path.numbers();
        let kind = path.kind().ok_or_else(wrong)?;
        let headers = match numbers {
            [VENDOR_SPECIFIC, ..] => 3,
            [241..=246, VENDOR_SPECIFIC, ..] => 4,
            [241..=246, ..] => 2,
            _ => 1,
        };
        for tlv in numbers.iter().skip(headers).rev() {
            let length = u8::try_from(value.len() + 2).map_err(|_| long(value.len()))?;
            value.splice(..0, [u8::try_from(*tlv).map_err(|_| wrong())?, length]);
        }
        // What every piece of a long value begins with, and where in it a "more" bit goes.
        let mut header = Vec::new();
        let mut more_at = None;
        match *numbers {
            [VENDOR_SPECIFIC, vendor] => header.extend(vendor.to_be_bytes()),
            [VENDOR_SPECIFIC, vendor, vendor_type, ..] => {
                header.extend(vendor.to_be_bytes());
                let format = self.format_of(vendor);
                if vendor_type > format.largest_type() {
                    return Err(wrong());
                }
                header.extend(&vendor_type.to_be_bytes()[4 - usize::from(format.type_octets)..]);
                header.resize(4 + format.header(), 0);
                if format.continuation {
                    more_at = Some(header.len() - 1);
                }
            }
            [241..=244, number, ..] => header.push(u8::try_from(number).map_err(|_| wrong())?),
            [245..=246, number, ..] => {
                header.extend([u8::try_from(number).map_err(|_| wrong())?, 0]);
                more_at = Some(1);
            }
            _ => {}
        }
        // RFC 6929 §2.4: vendor and type are the beginning of the value, so only the first piece has them.
        if let [241..=246, VENDOR_SPECIFIC, vendor, rest @ ..] = numbers {
            let mut front = vendor.to_be_bytes().to_vec();
            if let Some(vendor_type) = rest.first() {
                front.push(u8::try_from(*vendor_type).map_err(|_| wrong())?);
            }
            value.splice(..0, front);
        }
        let room = VALUE_MAX - header.len();
        if value.len() > room && more_at.is_none() && !(concat && headers == 1) {
            return Err(long(value.len()));
        }
        let mut out = Vec::with_capacity(value.len() + 2 + header.len());
        let mut rest = value.as_slice();
        loop {
            let (piece, after) = rest.split_at(rest.len().min(room));
            if let Some(at) = more_at {
                header[at] = if after.is_empty() { 0 } else { MORE };
            }
            if let [VENDOR_SPECIFIC, vendor, _, ..] = *numbers {
                let format = self.format_of(vendor);
                let length = (format.header() + piece.len()) as u16;
                let at = 4 + usize::from(format.type_octets);
                match format.length_octets {
                    1 => header[at] = length as u8,
                    2 => header[at..at + 2].copy_from_slice(&length.to_be_bytes()),
                    _ => {}
                }
            }
            out.extend([kind, (2 + header.len() + piece.len()) as u8]);
            out.extend(&header);
            out.extend(piece);
            rest = after;
            if rest.is_empty() {
                return Ok(out);
            }
        }
    }

    /// `Tunnel-Type:1` into name and tag.
    fn split_tag<'a>(&self, name: &'a str) -> Result<(&'a str, Option<u8>), EncodeError> {
        match name.rsplit_once(':') {
            Some((bare, tag)) => match tag.parse() {
                Ok(number) if number <= 0x1f => Ok((bare, Some(number))),
                _ => Err(EncodeError::Tag(bare.to_owned(), tag.to_owned())),
            },
            None => Ok((name, None)),
        }
    }

    fn unknown(&self, name: &str) -> EncodeError {
        let lower = name.to_ascii_lowercase();
        let nearest = self
            .attributes()
            .map(|a| (strsim::jaro_winkler(&lower, &a.name.to_ascii_lowercase()), &a.name))
            .filter(|(likeness, _)| *likeness > 0.85)
            .max_by(|a, b| a.0.total_cmp(&b.0))
            .map(|(_, name)| name.to_string());
        EncodeError::Unknown { name: name.to_owned(), nearest }
    }
}

/// `Name = value` into name and value.
fn split_line(line: &str) -> Option<(&str, &str)> {
    let (name, text) = line.split_once('=')?;
    let name = name.trim_end_matches([':', '+']).trim();
    let text = text.trim();
    (!name.is_empty() && !text.is_empty()).then_some((name, text))
}

/// The path behind `Attr-`.
fn raw_path(name: &str) -> Option<AttributePath> {
    let (prefix, numbers) = name.split_at_checked(5)?;
    prefix.eq_ignore_ascii_case("attr-").then(|| numbers.parse().ok())?
}

/// RFC 2868 §3.1: in an integer the tag replaces the first octet, elsewhere it stands in front. Without a tag, text
/// gets the octet only where its own first octet would be read as one; what is hidden always has it (§3.5).
fn put_tag(attribute: &Attribute, tag: Option<u8>, octets: &mut Vec<u8>) {
    match attribute.data_type {
        DataType::Integer if attribute.flags.encryption.is_none() && octets.len() == 4 => {
            octets[0] = tag.unwrap_or(0);
        }
        _ if tag.is_none() && attribute.flags.encryption.is_none() && octets.first().is_some_and(|o| *o > 0x1f) => {}
        _ => octets.insert(0, tag.unwrap_or(0)),
    }
}

/// The tag of a value as it travelled, and the value without it.
pub(super) fn take_tag<'a>(attribute: &Attribute, octets: &'a [u8]) -> (Option<u8>, Cow<'a, [u8]>) {
    // RFC 2868 §3.1: a Tag above 0x1F is none, and in an integer it is to be ignored.
    let shown = |tag: u8| (1..=0x1f).contains(&tag).then_some(tag);
    match (attribute.data_type, octets) {
        (DataType::Integer, &[tag, a, b, c]) if attribute.flags.encryption.is_none() => {
            (shown(tag), Cow::Owned(vec![0, a, b, c]))
        }
        (_, &[tag, ref value @ ..]) if tag <= 0x1f => (shown(tag), Cow::Borrowed(value)),
        _ => (None, Cow::Borrowed(octets)),
    }
}
