//! Passwords as FreeRADIUS's tables hold them, in the forms we can check. Compares none.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

use super::plan::unquoted;

/// A password we can represent. Prints nothing.
pub(super) enum Form {
    /// The password itself.
    Clear(Zeroizing<String>),
    /// MD4 of it in UTF-16LE.
    Nt(Zeroizing<[u8; 16]>),
}

impl fmt::Debug for Form {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clear(_) => "Clear(…)",
            Self::Nt(_) => "Nt(…)",
        })
    }
}

const ONE_WAY: &str = "a one-way hash of a kind radhold does not check; the user needs a new password";

/// Whether an attribute (lower case) holds a password in some form. User-Password is not one: FreeRADIUS 3 ignores it there.
pub(super) fn is_one(attribute: &str) -> bool {
    attribute.ends_with("-password") && attribute != "user-password" || attribute == "password-with-header"
}

/// What we make of it, or why we cannot.
pub(super) fn form(attribute: &str, value: &str) -> Result<Form, &'static str> {
    let value = unquoted(value);
    match attribute.to_ascii_lowercase().as_str() {
        "cleartext-password" => clear(value),
        "nt-password" => nt(value),
        "password-with-header" => match value.strip_prefix('{').and_then(|rest| rest.split_once('}')) {
            Some((header, rest)) => match header.to_ascii_lowercase().as_str() {
                "clear" | "cleartext" => clear(rest),
                "nt" | "nthash" | "x-nthash" => nt(rest),
                _ => Err(ONE_WAY),
            },
            None => Err("it has no header that says what it is"),
        },
        _ => Err(ONE_WAY),
    }
}

fn clear(value: &str) -> Result<Form, &'static str> {
    if value.is_empty() {
        return Err("an empty password would let everybody in who knows the name");
    }
    Ok(Form::Clear(Zeroizing::new(value.to_owned())))
}

/// 16 octets in hexadecimal, with 0x or without, or in base64.
fn nt(value: &str) -> Result<Form, &'static str> {
    let digits = value.strip_prefix("0x").unwrap_or(value);
    let octets = hex::decode(digits).or_else(|_| STANDARD.decode(value)).map(Zeroizing::new);
    let octets = octets.ok().and_then(|octets| <[u8; 16]>::try_from(octets.as_slice()).ok());
    octets.map(|octets| Form::Nt(Zeroizing::new(octets))).ok_or("not an NT hash: 16 octets in hexadecimal or base64")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_told_apart() {
        let is_clear = |attribute, value| matches!(form(attribute, value), Ok(Form::Clear(text)) if *text == "pw");
        let is_nt = |attribute, value| matches!(form(attribute, value), Ok(Form::Nt(hash)) if hash[0] == 0x0c);
        assert!(is_clear("Cleartext-Password", "pw") && is_clear("cleartext-password", "\"pw\""));
        assert!(is_clear("Password-With-Header", "{clear}pw"));
        for value in
            ["0cb6948805f797bf2a82807973b89537", "0x0CB6948805F797BF2A82807973B89537", "DLaUiAX3l78qgoB5c7iVNw=="]
        {
            assert!(is_nt("NT-Password", value), "{value}");
        }
        assert!(is_nt("Password-With-Header", "{NT}0cb6948805f797bf2a82807973b89537"));
        for (attribute, value) in [
            ("Crypt-Password", "x"),
            ("SSHA2-512-Password", "x"),
            ("Password-With-Header", "{ssha}x"),
            ("Password-With-Header", "pw"),
            ("NT-Password", "0cb6"),
            ("Cleartext-Password", ""),
        ] {
            assert!(form(attribute, value).is_err(), "{attribute}");
        }
        assert!(is_one("ssha-password") && !is_one("user-password") && !is_one("calling-station-id"));
    }
}
