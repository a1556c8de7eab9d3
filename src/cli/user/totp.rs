//! `radhold user totp NAME …`

use clap::{Args, Subcommand};
use serde::Serialize;

use crate::app::{chance, clock};
use crate::auth::SealingKey;
use crate::auth::totp::{Algorithm, Code, RECOVERY_CODES, SECRET, SpareCode, TotpKey};
use crate::model::UserName;
use crate::store::{KeptTotp, Store};

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::{audit, manual, output, qr};

/// A user's authenticator (TOTP, RFC 6238) and recovery codes.
#[derive(Debug, Args)]
pub(in crate::cli) struct TotpArgs {
    /// The User-Name.
    name: String,
    #[command(subcommand)]
    command: TotpCommand,
}

#[derive(Debug, Subcommand)]
enum TotpCommand {
    Enrol(EnrolArgs),
    Confirm(ConfirmArgs),
    ShowStatus(ShowStatusArgs),
    Remove(RemoveArgs),
    #[command(subcommand)]
    Recovery(RecoveryCommand),
}

/// Recovery codes: each stands for one code of the authenticator, once.
#[derive(Debug, Subcommand)]
enum RecoveryCommand {
    Renew(RenewArgs),
}

/// Make a secret for the user's authenticator app, and recovery codes.
///
/// Prints what the app reads (an otpauth address and a QR code) and ten recovery codes, once: neither is ever shown again. The
/// enrolment is confirmed by a first code, here with `confirm` or at a login; until then the user is not asked for codes by a NAS
/// that has another way in.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold user totp alice enrol\n  radhold user totp alice enrol --replace --json | jq -r .uri"
))]
struct EnrolArgs {
    /// The hash within; many apps know sha1 alone, and some take another for it without a word.
    #[arg(long, default_value_t = Algorithm::Sha1)]
    algorithm: Algorithm,
    /// Take the place of an authenticator there is: codes of that one are refused at once, and so are its recovery codes.
    #[arg(long)]
    replace: bool,
    /// Print JSON: an object with user, uri and recovery_codes.
    #[arg(long)]
    json: bool,
}

/// Confirm the enrolment by a first code of the app.
///
/// The code is spent with that. Fails with exit code 1 when it is wrong, was used before, or too many were tried within the minute.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold user totp alice confirm 123456"))]
struct ConfirmArgs {
    /// Six digits.
    code: String,
}

/// Say whether the user has an authenticator, since when, and how many recovery codes are left.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold user totp alice show-status --json"))]
struct ShowStatusArgs {
    /// Print JSON: an object.
    #[arg(long)]
    json: bool,
}

/// Take the user's authenticator and recovery codes away.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold user totp alice remove"))]
struct RemoveArgs {}

/// Print ten new recovery codes, once; the old ones are worth nothing from then on.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold user totp alice recovery renew"))]
struct RenewArgs {
    /// Print JSON: an object with recovery_codes.
    #[arg(long)]
    json: bool,
}

/// An enrolment, as programs see it.
#[derive(Debug, Serialize)]
struct Enrolled<'a> {
    user: &'a str,
    uri: &'a str,
    recovery_codes: Vec<String>,
}

/// Recovery codes, as programs see them.
#[derive(Debug, Serialize)]
struct Renewed<'a> {
    user: &'a str,
    recovery_codes: Vec<String>,
}

/// The state of an authenticator, as programs see it.
#[derive(Debug, Serialize)]
struct Status<'a> {
    user: &'a str,
    enrolled_at: Option<String>,
    confirmed_at: Option<String>,
    recovery_left: u32,
}

pub(super) async fn run(args: TotpArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let user = super::find(&*store, &args.name).await?.name;
    match args.command {
        TotpCommand::Enrol(args) => enrol(&args, &user, &*store, context).await,
        TotpCommand::Confirm(args) => confirm(&args, &user, &*store, context).await,
        TotpCommand::ShowStatus(args) => show_status(&args, &user, &*store).await,
        TotpCommand::Remove(_) => remove(&user, &*store, context).await,
        TotpCommand::Recovery(RecoveryCommand::Renew(args)) => renew(&args, &user, &*store, context).await,
    }
}

async fn enrol(args: &EnrolArgs, user: &UserName, store: &dyn Store, context: &Context) -> Result<(), Failure> {
    if let Some(there) = store.totp(user).await?.filter(|_| !args.replace) {
        return Err(Failure::failed(format!(
            "user {user} has an authenticator since {}; --replace gives them another",
            there.enrolled_at
        )));
    }
    let sealing_key = context.sealing_key()?;
    let key = TotpKey::new(args.algorithm, chance::octets::<SECRET>());
    let totp = KeptTotp {
        user: user.clone(),
        secret: key.seal(&sealing_key, user, &chance::octets()),
        enrolled_at: clock::now(),
        confirmed_at: None,
        recovery_left: 0,
    };
    let (codes, hashes) = recovery_codes(user, &sealing_key);
    let detail = format!("{}, {RECOVERY_CODES} recovery codes", args.algorithm);
    let act = audit::entry(context, audit::operator(None), "totp.enrol", user, detail);
    store.enrol_totp(&totp, &hashes, &act).await?;
    let uri = key.uri(&context.config.totp.issuer, user);
    if args.json {
        return output::print_json(&Enrolled { user: user.as_str(), uri: &uri, recovery_codes: codes });
    }
    output::print(&format!(
        "{}\n{}\n\nLet {user} scan this now: it is not shown again. Then confirm it with the six digits the app shows:\n  \
         radhold user totp {user} confirm CODE\n\nRecovery codes, each good once, for the day the app is away:\n{}",
        qr::half_blocks(&uri)?,
        output::printable(&uri),
        indented(&codes)
    ))
}

async fn confirm(args: &ConfirmArgs, user: &UserName, store: &dyn Store, context: &Context) -> Result<(), Failure> {
    let Some(Code::Totp(code)) = Code::read(&args.code) else {
        return Err(Failure::usage("a code of an authenticator is six digits"));
    };
    let settings = &context.config.totp;
    let now = clock::now();
    let tried = store.begin_code_try(user, now).await?.ok_or_else(|| no_totp(user))?;
    if tried.tries > settings.tries_per_minute {
        return Err(Failure::failed("too many codes were tried within the minute; wait for the next"));
    }
    let key = TotpKey::open(&tried.totp.secret, &context.sealing_key()?, user)?;
    let matched = key.matching(&code, now, settings.window).ok_or_else(|| {
        Failure::failed("that code is wrong; are the clocks of the phone and of this host right? (totp.window)")
    })?;
    let act = audit::entry(context, audit::operator(None), "totp.confirm", user, "");
    if !store.accept_step_with(&tried.totp, matched.step(), now, &act).await? {
        return Err(Failure::failed("that code was used before; wait for the next"));
    }
    output::print(&format!("the authenticator of user {user} is confirmed"))
}

async fn show_status(args: &ShowStatusArgs, user: &UserName, store: &dyn Store) -> Result<(), Failure> {
    let totp = store.totp(user).await?;
    if args.json {
        return output::print_json(&Status {
            user: user.as_str(),
            enrolled_at: totp.as_ref().map(|totp| totp.enrolled_at.to_string()),
            confirmed_at: totp.as_ref().and_then(|totp| totp.confirmed_at).map(|at| at.to_string()),
            recovery_left: totp.as_ref().map_or(0, |totp| totp.recovery_left),
        });
    }
    output::print(&match totp {
        Some(totp) => format!("user {user}: {}", state(&totp)),
        None => format!("user {user} has no authenticator; `radhold user totp {user} enrol` gives them one"),
    })
}

async fn remove(user: &UserName, store: &dyn Store, context: &Context) -> Result<(), Failure> {
    let act = audit::entry(context, audit::operator(None), "totp.remove", user, "");
    if !store.remove_totp(user, &act).await? {
        return Err(no_totp(user));
    }
    output::print(&format!("user {user} has no authenticator any more, and no recovery codes"))
}

async fn renew(args: &RenewArgs, user: &UserName, store: &dyn Store, context: &Context) -> Result<(), Failure> {
    let (codes, hashes) = recovery_codes(user, &context.sealing_key()?);
    let act = audit::entry(context, audit::operator(None), "totp.recovery-renew", user, "");
    store.renew_recovery(user, &hashes, &act).await?;
    if args.json {
        return output::print_json(&Renewed { user: user.as_str(), recovery_codes: codes });
    }
    output::print(&format!(
        "Recovery codes of {user}, each good once; those before are worth nothing now:\n{}",
        indented(&codes)
    ))
}

/// What there is to say of an authenticator, in a line.
pub(super) fn state(totp: &KeptTotp) -> String {
    let confirmed = match totp.confirmed_at {
        Some(at) => format!("confirmed {at}"),
        None => "not confirmed by a first code yet".to_owned(),
    };
    format!("enrolled {}, {confirmed}, {} recovery codes left", totp.enrolled_at, totp.recovery_left)
}

/// A new set, and what is kept of it.
fn recovery_codes(user: &UserName, key: &SealingKey) -> (Vec<String>, Vec<String>) {
    let codes: Vec<SpareCode> = (0..RECOVERY_CODES).map(|_| SpareCode::recovery(chance::octets())).collect();
    (codes.iter().map(SpareCode::to_text).collect(), codes.iter().map(|code| code.recovery_hash(key, user)).collect())
}

fn indented(codes: &[String]) -> String {
    codes.iter().map(|code| format!("  {code}")).collect::<Vec<_>>().join("\n")
}

fn no_totp(user: &UserName) -> Failure {
    Failure::not_found(format!("user {user} has no authenticator; `radhold user totp {user} enrol` gives them one"))
}
