//! How passwords and secrets come in: from standard input, a file, or the terminal without echo. Never as an argument.

use std::fs;
use std::io::{self, Read as _};
use std::path::PathBuf;

use clap::Args;
use zeroize::Zeroizing;

use super::failure::Failure;

/// Where a user's password comes from; asked for on the terminal when nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct PasswordArgs {
    /// Read the password from standard input: one line, with or without a newline at its end.
    #[arg(long)]
    password_stdin: bool,
    /// Read the password from this file: one line, with or without a newline at its end.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Where a NAS's secret comes from; asked for on the terminal when nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct SecretArgs {
    /// Read the secret from standard input: one line, or octets that are no text; one newline at the end is cut.
    #[arg(long)]
    secret_stdin: bool,
    /// Read the secret from this file: one line, or octets that are no text; one newline at the end is cut.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Make a secret and print it, once.
    #[arg(long)]
    pub(super) generate_secret: bool,
}

impl PasswordArgs {
    /// Whether anything was said.
    pub(super) fn is_given(&self) -> bool {
        self.password_stdin || self.password_file.is_some()
    }

    /// The password.
    pub(super) fn read(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        read("password", self.password_stdin, self.password_file.as_ref())
    }
}

impl SecretArgs {
    /// The secret.
    pub(super) fn read(&self) -> Result<Zeroizing<Vec<u8>>, Failure> {
        read("secret", self.secret_stdin, self.secret_file.as_ref())
    }
}

fn read(what: &str, stdin: bool, file: Option<&PathBuf>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut octets = Zeroizing::new(Vec::new());
    if stdin {
        io::stdin().read_to_end(&mut octets)?;
    } else if let Some(path) = file {
        *octets = fs::read(path).map_err(|error| Failure::failed(format!("{}: {error}", path.display())))?;
    } else {
        return prompt(what);
    }
    without_newline(what, octets).map_err(Failure::failed)
}

/// What was read without one newline at the end; or what is wrong with it, when it is empty or several lines. That is what `pass show` gives of an
/// entry with notes: nobody could type it where it is asked for.
pub(super) fn without_newline(what: &str, mut octets: Zeroizing<Vec<u8>>) -> Result<Zeroizing<Vec<u8>>, String> {
    if octets.last() == Some(&b'\n') {
        octets.pop();
        if octets.last() == Some(&b'\r') {
            octets.pop();
        }
    }
    if octets.is_empty() {
        return Err(format!("the {what} is empty"));
    }
    // A secret may be octets drawn at random, which are no text.
    let is_text = what != "secret" || std::str::from_utf8(&octets).is_ok();
    if is_text && octets.contains(&b'\n') {
        return Err(format!(
            "the {what} was given as several lines, or with empty ones behind it; give one, as `head -n 1` does"
        ));
    }
    Ok(octets)
}

fn prompt(what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let ask = |prompt: String| {
        rpassword::prompt_password(prompt).map(Zeroizing::new).map_err(|error| {
            Failure::failed(format!(
                "no terminal to ask for the {what} on ({error}); use --{what}-stdin or --{what}-file"
            ))
        })
    };
    let (first, second) = (ask(format!("New {what}: "))?, ask(format!("Once more the {what}: "))?);
    if first != second {
        return Err(Failure::failed(format!("the two {what}s differ; nothing was changed")));
    }
    if first.is_empty() {
        return Err(Failure::failed(format!("the {what} is empty")));
    }
    Ok(Zeroizing::new(first.as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_one_line() {
        let read = |octets: &[u8]| without_newline("password", Zeroizing::new(octets.to_vec()));
        for (given, wanted) in [
            ("pass word", "pass word"),
            ("täglich\n", "täglich"),
            ("pass\r\n", "pass"),
            ("\t\n", "\t"),
            (" a ", " a "),
            ("a\r", "a\r"),
        ] {
            assert_eq!(read(given.as_bytes()).unwrap()[..], *wanted.as_bytes(), "{given:?}");
        }
        for given in ["", "\n", "\r\n"] {
            assert_eq!(read(given.as_bytes()).unwrap_err(), "the password is empty");
        }
        for given in ["pass\nuser: alice", "pass\nuser: alice\n", "pass\n\n", "\npass", "pass\r\nuser: alice"] {
            assert!(read(given.as_bytes()).unwrap_err().contains("several lines"), "{given:?}");
        }
        let octets = b"\xff\n\xfe\r\x00";
        assert!(read(octets).is_err());
        assert!(without_newline("secret", Zeroizing::new(b"a\n\n".to_vec())).is_err());
        assert_eq!(without_newline("secret", Zeroizing::new(octets.to_vec())).unwrap()[..], octets[..]);
    }
}
