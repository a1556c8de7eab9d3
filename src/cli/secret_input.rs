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
    /// Read the password from standard input, up to its end; one newline at the end is cut.
    #[arg(long)]
    password_stdin: bool,
    /// Read the password from this file; one newline at the end is cut.
    #[arg(long, value_name = "FILE")]
    password_file: Option<PathBuf>,
}

/// Where a NAS's secret comes from; asked for on the terminal when nothing is said.
#[derive(Debug, Args)]
#[group(multiple = false)]
pub(super) struct SecretArgs {
    /// Read the secret from standard input, up to its end; one newline at the end is cut.
    #[arg(long)]
    secret_stdin: bool,
    /// Read the secret from this file; one newline at the end is cut.
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
    if octets.last() == Some(&b'\n') {
        octets.pop();
        if octets.last() == Some(&b'\r') {
            octets.pop();
        }
    }
    if octets.is_empty() {
        return Err(Failure::failed(format!("the {what} is empty")));
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
