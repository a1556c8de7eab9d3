//! `radhold client`: sends packets as a NAS would, and judges what comes back.
//!
//! Needs no server of ours and no store; the configuration is read for its dictionaries alone.

mod lines;
mod load;
mod print;
mod report;
mod request;
mod send;

use std::fs;
use std::io::{self, IsTerminal as _, Read as _};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::{Args, Subcommand};
use zeroize::Zeroizing;

use crate::app;
use crate::config::{Config, Flags, Surroundings};
use crate::dynauth::Timers;
use crate::model::Secret;
use crate::net::client::Demand;
use crate::radius::Code;
use crate::radius::dictionary::{Dictionary, quote};

use super::failure::{Exit, Failure};
use super::secret_input::without_newline;
use lines::Line;
use print::Printer;
use request::{Login, LoginMethod, Recipe};

/// The environment variable that may hold the secret.
const SECRET_VARIABLE: &str = "RADHOLD_SECRET";

/// The longest wait between two transmissions (MRT of RFC 5080 §2.2.1), unless `--timeout` is longer.
const LONGEST_WAIT: Duration = Duration::from_secs(16);

/// What is true for all of them, at the end of every help.
macro_rules! manual {
    ($examples:literal) => {
        concat!(
            "Examples:\n",
            $examples,
            r#"

The secret comes from --secret-file, --secret-stdin, the environment variable RADHOLD_SECRET, or the terminal. radclient takes
it as an argument; we do not, because every process on the host can read the arguments of the others.

Attributes are written Name = value, as the dictionaries name them: one a line, or several with commas between. They come from
--attribute, from --file, or from standard input when nothing else says what to send; a blank line begins the next packet.
Values with commas go in "quotation marks"; octets are 0x0102; attributes without a name are Attr-26.9.1 = 0x0102. Passwords
are refused in --attribute for the same reason as the secret. Some attributes are more than their octets:
  User-Password = TEXT       hidden with the secret (PAP), as are all attributes the dictionary marks so
  CHAP-Password = TEXT       becomes the response to a challenge
  MS-CHAP-Password = TEXT    becomes the response of MS-CHAPv1
  MS-CHAP2-Password = TEXT   becomes the response of MS-CHAPv2; the server's MS-CHAP2-Success is verified
  Message-Authenticator = X  has the request signed, whatever X is

Exit codes: 0 accepted (Accept, ACK, Response), 1 refused (Reject, Challenge, NAK, Protocol-Error), 2 wrong usage and nothing
sent, 3 no answer, 4 an answer that could not be verified. Of several packets, the worst counts, 4 before 3 before 1."#
        )
    };
}

/// Send RADIUS packets as a NAS would, and show what comes back.
#[derive(Debug, Subcommand)]
pub(super) enum ClientCommand {
    /// Send an Access-Request: does the server accept this login?
    ///
    /// The answer must carry a Message-Authenticator, or it is ignored as forged (CVE-2024-3596); see --accept-unsigned.
    #[command(after_long_help = manual!(
        r#"  radhold client auth 127.0.0.1 --secret-file secret --user alice
  radhold client auth vpn.example.org:1645 --secret-file secret --user alice --password-file pw --method mschapv2
  echo 'User-Name = alice, User-Password = "x y"' | RADHOLD_SECRET=testing123 radhold client auth 127.0.0.1
  radhold client auth 127.0.0.1 --secret-file secret --file logins.txt --count 100 --parallel 8"#
    ))]
    Auth(AuthArgs),
    /// Send an Accounting-Request: is this record taken?
    #[command(after_long_help = manual!(
        r#"  radhold client acct 127.0.0.1 --secret-file secret --attribute 'User-Name = alice' \
    --attribute 'Acct-Status-Type = Start, Acct-Session-Id = 4D2, NAS-Port = 7'
  radhold client acct [2001:db8::1]:1646 --secret-file secret --file session.txt"#
    ))]
    Acct(PacketArgs),
    /// Send a Status-Server: is the server there, and is the secret right?
    ///
    /// Needs no attributes and reads none from standard input. For the accounting port, name it.
    #[command(after_long_help = manual!(
        r#"  radhold client status 127.0.0.1 --secret-file secret
  radhold client status 127.0.0.1:1813 --secret-file secret --timeout 1 --retries 0 --json"#
    ))]
    Status(PacketArgs),
    /// Send a CoA-Request to a NAS: change a session.
    #[command(after_long_help = manual!(
        r#"  radhold client coa nas.example.org --secret-file secret --attribute 'Acct-Session-Id = 4D2, Filter-Id = permit'
  radhold client coa nas.example.org:1700 --secret-file secret --file change.txt --no-message-authenticator"#
    ))]
    Coa(PacketArgs),
    /// Send a Disconnect-Request to a NAS: end a session.
    #[command(after_long_help = manual!(
        r#"  radhold client disconnect nas.example.org --secret-file secret --attribute 'Acct-Session-Id = 4D2'"#
    ))]
    Disconnect(PacketArgs),
    /// Send many requests and measure: rate and latencies, every answer checked.
    ///
    /// Simulates a NAS with many sessions on many source ports. Counts what was acknowledged, so that it can be looked for in
    /// the store afterwards.
    #[command(after_long_help = r#"Examples:
  radhold client load 127.0.0.1 --secret-file secret --in-flight 256 --duration 30
  radhold client load 127.0.0.1 --secret-file secret --rate 5000 --what sessions --user alice --password-file pw
  radhold client load 127.0.0.1 --secret-file secret --what status --json

The secret comes from --secret-file, --secret-stdin, the environment variable RADHOLD_SECRET, or the terminal.

Exit codes: 0 everything was answered, 1 Access-Rejects were among the answers, 2 wrong usage and nothing sent, 3 some requests
were never answered, 4 nothing was answered that could be verified."#)]
    Load(load::LoadArgs),
}

#[derive(Debug, Args)]
pub(super) struct AuthArgs {
    /// Add this User-Name, and a password: from --password-file, --password-stdin, or the terminal.
    #[arg(long, value_name = "NAME", help_heading = "Login")]
    user: Option<String>,
    /// Read the password from this file: one line.
    #[arg(long, value_name = "FILE", requires = "user", help_heading = "Login")]
    password_file: Option<PathBuf>,
    /// Read the password from standard input: one line.
    #[arg(long, requires = "user", conflicts_with_all = ["password_file", "secret_stdin"], help_heading = "Login")]
    password_stdin: bool,
    /// How the password is proven.
    #[arg(long, default_value = "pap", requires = "user", help_heading = "Login")]
    method: LoginMethod,
    /// Take an answer without Message-Authenticator, too, from a server too old to send one.
    #[arg(long)]
    accept_unsigned: bool,
    #[command(flatten)]
    packet: PacketArgs,
}

#[derive(Debug, Args)]
pub(super) struct PacketArgs {
    /// Name or address, and the port if it is not 1812 (auth, status), 1813 (acct) or 3799 (coa, disconnect).
    #[arg(value_name = "SERVER[:PORT]")]
    server: String,
    #[command(flatten)]
    keys: Keys,
    /// Add attributes to every packet; may be repeated. Not for passwords.
    #[arg(long = "attribute", short, value_name = "NAME = VALUE")]
    attributes: Vec<String>,
    /// Read packets from this file; - is standard input.
    #[arg(long, short, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Send without Message-Authenticator, as many a NAS does.
    #[arg(long)]
    no_message_authenticator: bool,
    /// Send from this address, and port if it is given.
    #[arg(long, value_name = "ADDRESS[:PORT]", value_parser = source)]
    source: Option<SocketAddr>,
    /// Send all packets so many times, each time as a new request, and print a summary.
    #[arg(long, short, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    count: u32,
    /// Have so many requests on their way at once, each from a port of its own.
    #[arg(long, short, default_value_t = 1, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=256))]
    parallel: u32,
    /// Wait so many seconds before the request is sent again; each further wait is twice as long (RFC 5080 §2.2.1).
    #[arg(long, short, default_value = "2", value_name = "SECONDS", value_parser = seconds)]
    timeout: Duration,
    /// Send the request again so many times.
    #[arg(long, short, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u32).range(0..=100))]
    retries: u32,
    /// Print JSON: the packets and a summary.
    #[arg(long)]
    json: bool,
    /// Print every packet, also with --count.
    #[arg(long, short = 'x')]
    show: bool,
}

/// Where the secret comes from.
#[derive(Debug, Args)]
pub(super) struct Keys {
    /// Read the secret from this file: one line, or octets that are no text.
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,
    /// Read the secret from standard input: one line, or octets that are no text.
    #[arg(long, conflicts_with = "secret_file")]
    secret_stdin: bool,
}

/// Does what was asked. Reports go to standard output.
///
/// # Errors
/// When nothing was sent.
pub(super) async fn run(command: ClientCommand, flags: &Flags) -> Result<ExitCode, Failure> {
    let sent = match (command, dictionary(flags)) {
        (ClientCommand::Load(args), _) => load::run(args).await,
        (command, Ok(dictionary)) => send_all(command, dictionary).await,
        (_, Err(failure)) => Err(failure),
    };
    // 1 is for refusals.
    sent.map_err(|failure| Failure::new(Exit::Usage, failure.message))
}

/// The dictionaries of the configuration, for which the variable with the secret is no setting.
fn dictionary(flags: &Flags) -> Result<Dictionary, Failure> {
    let mut surroundings = Surroundings::of_this_process();
    surroundings.variables.remove(SECRET_VARIABLE);
    let config = Config::load_in(flags, &surroundings)?.config;
    Ok(app::dictionary(config.dictionary.as_deref())?)
}

async fn send_all(command: ClientCommand, dictionary: Dictionary) -> Result<ExitCode, Failure> {
    let (code, port) = match &command {
        ClientCommand::Auth(_) => (Code::AccessRequest, 1812),
        ClientCommand::Acct(_) => (Code::AccountingRequest, 1813),
        ClientCommand::Status(_) => (Code::StatusServer, 1812),
        ClientCommand::Coa(_) => (Code::CoaRequest, 3799),
        ClientCommand::Disconnect(_) => (Code::DisconnectRequest, 3799),
        ClientCommand::Load(_) => unreachable!("has a way of its own"),
    };
    let accept_unsigned = matches!(&command, ClientCommand::Auth(args) if args.accept_unsigned);
    let (login, args) = match command {
        ClientCommand::Auth(args) => (args.login()?, args.packet),
        ClientCommand::Acct(args)
        | ClientCommand::Status(args)
        | ClientCommand::Coa(args)
        | ClientCommand::Disconnect(args) => (None, args),
        ClientCommand::Load(_) => unreachable!("has a way of its own"),
    };
    let recipes = args.recipes(code, login, &dictionary)?;
    let secret = args.keys.secret()?;
    let server = resolve(&args.server, port).await?;
    for recipe in &recipes {
        // What is wrong with any packet is said before the first is sent.
        recipe.build(&dictionary, secret.expose(), 0, &send::draw()).map_err(Failure::usage)?;
    }
    let total = recipes.len() * args.count as usize;
    let job = send::Job {
        server,
        source: args.source,
        secret,
        demand: Demand { timers: args.timers(), message_authenticator: !accept_unsigned },
        dictionary,
        recipes,
        total,
    };
    let began = Instant::now();
    let mut reports = send::start(job, args.parallel as usize).await.map_err(|error| match args.source {
        Some(source) => Failure::usage(format!("cannot send from {source} to {server}: {error}")),
        None => Failure::usage(format!("cannot send to {server}: {error}")),
    })?;
    let mut printer = Printer::new(args.json, args.show || args.count == 1, total);
    while let Some(report) = reports.recv().await {
        printer.take(report.map_err(Failure::usage)?)?;
    }
    printer.finish(began.elapsed())
}

// -- what to send

impl AuthArgs {
    fn login(&self) -> Result<Option<(String, Login)>, Failure> {
        let Some(user) = &self.user else { return Ok(None) };
        let password = match &self.password_file {
            Some(path) => from_file("password", path)?,
            None if self.password_stdin => from_stdin("password")?,
            None => from_terminal("password", "--password-file or --password-stdin")?,
        };
        Ok(Some((user.clone(), Login { method: self.method, password })))
    }
}

impl PacketArgs {
    fn recipes(
        &self,
        code: Code,
        login: Option<(String, Login)>,
        dictionary: &Dictionary,
    ) -> Result<Vec<Recipe>, Failure> {
        let mut common = vec![];
        for text in &self.attributes {
            for line in lines::lines(text).map_err(|error| Failure::usage(format!("--attribute: {error}")))? {
                if request::is_secret(dictionary, &line) {
                    let advice = "arguments are for everybody to see; write it in a file, or on standard input";
                    return Err(Failure::usage(format!("--attribute {}: {advice}", line.name)));
                }
                common.push(line);
            }
        }
        let mut packets = self.packets(common.is_empty() && login.is_none() && code != Code::StatusServer)?;
        let (user, mut login) = login.unzip();
        if login.is_some() && packets.len() > 1 {
            return Err(Failure::usage("--user is for one packet; write User-Name and password into the file"));
        }
        if packets.is_empty() {
            packets.push(vec![]);
        }
        let name = user.map(|user| Line { name: "User-Name".to_owned(), text: quote(&user) });
        let recipe = |lines: Vec<Line>| Recipe {
            code,
            lines: name.iter().cloned().chain(lines).chain(common.iter().cloned()).collect(),
            login: login.take(),
            message_authenticator: self.no_message_authenticator.then_some(false),
        };
        Ok(packets.into_iter().map(recipe).collect())
    }

    /// The packets of the file, or of standard input if nothing else says what to send.
    fn packets(&self, needed: bool) -> Result<Vec<Vec<Line>>, Failure> {
        let stdin = match &self.file {
            Some(path) if path != Path::new("-") => {
                let text = fs::read_to_string(path).map_err(|error| unreadable(path, &error))?;
                return lines::packets(&path.display().to_string(), &text).map_err(Failure::usage).and_then(some);
            }
            Some(_) => true,
            None => needed,
        };
        if !stdin {
            return Ok(vec![]);
        }
        if self.keys.secret_stdin {
            return Err(Failure::usage("no attributes: standard input is for the secret; use --attribute or --file"));
        }
        if io::stdin().is_terminal() {
            eprintln!("Attributes, one a line (Name = value); end with Ctrl-D:");
        }
        let mut text = Zeroizing::new(String::new());
        io::stdin().read_to_string(&mut text)?;
        lines::packets("standard input", &text).map_err(Failure::usage).and_then(some)
    }

    fn timers(&self) -> Timers {
        Timers {
            irt: self.timeout,
            mrc: self.retries + 1,
            mrt: LONGEST_WAIT.max(self.timeout),
            // The count is the bound.
            mrd: Duration::ZERO,
        }
    }
}

impl Keys {
    fn secret(&self) -> Result<Secret, Failure> {
        let octets = match (&self.secret_file, std::env::var_os(SECRET_VARIABLE)) {
            (Some(path), _) => from_file("secret", path)?,
            (None, _) if self.secret_stdin => from_stdin("secret")?,
            (None, Some(value)) => checked("secret", value.into_encoded_bytes())?,
            (None, None) => from_terminal("secret", "--secret-file, --secret-stdin or RADHOLD_SECRET")?,
        };
        Ok(Secret::new(octets.to_vec()))
    }
}

fn some(packets: Vec<Vec<Line>>) -> Result<Vec<Vec<Line>>, Failure> {
    if packets.is_empty() { Err(Failure::usage("no attributes there to send")) } else { Ok(packets) }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.01..=3600.0).contains(seconds));
    seconds.map(Duration::from_secs_f64).ok_or_else(|| "write seconds, such as 0.5; 0.01 to 3600".to_owned())
}

fn source(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse().ok().or_else(|| text.parse::<IpAddr>().ok().map(|address| (address, 0).into()));
    address.ok_or_else(|| "write an address of this host, such as 192.0.2.1, or [2001:db8::1]:1024".to_owned())
}

/// The first address of a name, or the address itself.
async fn resolve(server: &str, port: u16) -> Result<SocketAddr, Failure> {
    let bare = server.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(server);
    if let Ok(address) = bare.parse::<IpAddr>() {
        return Ok((address, port).into());
    }
    let with_port = if server.contains(':') { server.to_owned() } else { format!("{server}:{port}") };
    let mut found = tokio::net::lookup_host(&with_port)
        .await
        .map_err(|error| Failure::usage(format!("{server} is not SERVER or SERVER:PORT: {error}")))?;
    found.next().ok_or_else(|| Failure::usage(format!("{server} has no address")))
}

// -- passwords and secrets

fn from_file(what: &str, path: &Path) -> Result<Zeroizing<Vec<u8>>, Failure> {
    checked(what, fs::read(path).map_err(|error| unreadable(path, &error))?)
}

fn from_stdin(what: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let mut octets = vec![];
    io::stdin().read_to_end(&mut octets)?;
    checked(what, octets)
}

fn from_terminal(what: &str, instead: &str) -> Result<Zeroizing<Vec<u8>>, Failure> {
    let typed = rpassword::prompt_password(format!("The {what}: "));
    let typed = typed
        .map_err(|error| Failure::usage(format!("no terminal to ask for the {what} on ({error}); use {instead}")))?;
    checked(what, typed.into_bytes())
}

fn checked(what: &str, octets: Vec<u8>) -> Result<Zeroizing<Vec<u8>>, Failure> {
    without_newline(what, Zeroizing::new(octets)).map_err(Failure::usage)
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    Failure::usage(format!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_is_an_address_or_name_with_or_without_port() {
        for (text, wanted) in [
            ("192.0.2.1", "192.0.2.1:1812"),
            ("192.0.2.1:1645", "192.0.2.1:1645"),
            ("2001:db8::1", "[2001:db8::1]:1812"),
            ("[2001:db8::1]", "[2001:db8::1]:1812"),
            ("[2001:db8::1]:1645", "[2001:db8::1]:1645"),
        ] {
            assert_eq!(resolve(text, 1812).await.unwrap().to_string(), wanted, "{text}");
        }
        for wrong in ["192.0.2.1:", "192.0.2.1:radius", "[2001:db8::1]:"] {
            assert_eq!(resolve(wrong, 1812).await.unwrap_err().exit, Exit::Usage, "{wrong}");
        }
    }
}
