//! `radhold user add` and `radhold user set`

use std::time::Duration;

use clap::{Args, ValueEnum};

use crate::app::{chance, clock};
use crate::auth::{ClearPassword, Credential, CredentialForm, NtHash, PasswordCost, StoredCredential, hash_password};
use crate::config::{format_duration, parse_duration};
use crate::model::{
    ApproverStep, GroupName, GuardSettings, ReplyItem, SecondFactor, Secret, User, UserName, WhenUnreachable,
};
use crate::store::Edit;

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::guards::{self, GuardArgs};
use super::super::secret_input::PasswordArgs;
use super::super::size::parse_size;
use super::super::{audit, manual, output};

/// The longest User-Name an attribute holds (RFC 2865 §5).
const NAME_MOST: usize = 253;

/// Add a user.
///
/// The password is asked for twice on the terminal, or read from standard input or a file; never given as an argument.
///
/// How it is stored decides which methods can check it. `nt`, the default, is the MD4 hash that MS-CHAP works with, sealed with the
/// sealing key: good for PAP, MS-CHAPv1 and MS-CHAPv2, which is what VPN clients use, and the password itself is nowhere. `clear`
/// is the password, sealed: only CHAP needs it. `argon2id` cannot be turned back even with the sealing key, but is good for PAP
/// alone.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold user add alice\n  pass show vpn/bob | head -n 1 | radhold user add bob --password-stdin --store-as argon2id\n  radhold user add backup --password-file ./secret --no-second-factor --session-timeout 8h\n  radhold user add carol --reply 'Framed-IP-Address = 10.0.0.7' --reply 'Idle-Timeout = 600'"
))]
pub(in crate::cli) struct AddArgs {
    /// The User-Name they log in with, exactly as their NAS sends it.
    name: String,
    #[command(flatten)]
    password: PasswordArgs,
    /// How the password is stored.
    #[arg(long, value_enum, default_value_t = StoreAs::Nt)]
    store_as: StoreAs,
    /// Let the password be enough: no hold. For service accounts.
    #[arg(long)]
    no_second_factor: bool,
    /// Refuse every login, for now.
    #[arg(long)]
    disabled: bool,
    /// A group to be in; may be repeated, the nearest first (see `radhold group`).
    #[arg(long, value_name = "GROUP")]
    group: Vec<String>,
    /// Who is asked, in this order, each with a patience if there is another after it, such as telegram:60s; may be repeated
    /// [default: as their groups, the NAS or the server says].
    #[arg(long, value_name = "APPROVER", value_delimiter = ',')]
    approver: Vec<ApproverStep>,
    /// What becomes of a hold when nobody can be asked: end, or hold until the deadline [default: as their groups, the NAS or the
    /// server says].
    #[arg(long, value_name = "END|HOLD")]
    when_unreachable: Option<WhenUnreachable>,
    /// Filter that lets their sessions through [default: as the NAS or the server says].
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    permit_filter: Option<String>,
    /// How long a permitted session may last, such as 8h [default: without limit].
    #[arg(long, value_name = "DURATION", value_parser = positive)]
    session_timeout: Option<Duration>,
    /// How long an Access-Reject to them is kept back [default: as the NAS or the server says].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    reject_delay: Option<Duration>,
    /// How much they may carry a month, both directions together, such as 50GB or 20GiB. For `radhold report quota`; nothing is
    /// refused or ended when it is used up.
    #[arg(long, value_name = "SIZE", value_parser = size)]
    monthly_quota: Option<u64>,
    /// Whether a code (TOTP) may stand behind their PAP password [default: as the NAS or the server says].
    #[arg(long, value_name = "BOOL")]
    totp_in_password: Option<bool>,
    /// A further attribute of their Access-Accept, in the dictionary's words; may be repeated.
    #[arg(long, value_name = "NAME=VALUE", value_parser = reply_item)]
    reply: Vec<ReplyItem>,
    #[command(flatten)]
    guards: GuardArgs,
}

/// Change a user: what is named, and nothing else.
///
/// A new password is asked for with --password, or read with --password-stdin or --password-file; it is stored in the form
/// the old one had unless --store-as says otherwise. Open sessions go on as they were granted.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold user set alice --password\n  radhold user set alice --disable\n  radhold user set alice --session-timeout none --permit-filter ''\n  radhold user set alice --approver operator --no-reply"
))]
pub(in crate::cli) struct SetArgs {
    /// The User-Name.
    name: String,
    /// Ask for a new password on the terminal.
    #[arg(long)]
    password: bool,
    #[command(flatten)]
    source: PasswordArgs,
    /// How the new password is stored [default: as the old one].
    #[arg(long, value_enum)]
    store_as: Option<StoreAs>,
    /// Whether their sessions are held.
    #[arg(long, value_enum)]
    second_factor: Option<Factor>,
    /// Refuse every login.
    #[arg(long, conflicts_with = "enable")]
    disable: bool,
    /// Accept logins again.
    #[arg(long)]
    enable: bool,
    /// Who is asked, in this order, such as telegram:60s; may be repeated. Replaces the list.
    #[arg(long, value_name = "APPROVER", value_delimiter = ',', conflicts_with = "no_approver")]
    approver: Vec<ApproverStep>,
    /// Who is asked is for their groups, the NAS or the server to say.
    #[arg(long)]
    no_approver: bool,
    /// What becomes of a hold when nobody can be asked: end, hold until the deadline, or default for what their groups, the NAS or
    /// the server says.
    #[arg(long, value_name = "END|HOLD|DEFAULT", value_parser = unreachable)]
    when_unreachable: Option<Unreachable>,
    /// Filter that lets their sessions through; '' for the NAS's or the server's.
    #[arg(long, value_name = "NAME")]
    permit_filter: Option<String>,
    /// How long a permitted session may last, such as 8h, or none.
    #[arg(long, value_name = "DURATION", value_parser = positive_or_none)]
    session_timeout: Option<OrNone>,
    /// How long an Access-Reject to them is kept back; none for the NAS's or the server's.
    #[arg(long, value_name = "DURATION", value_parser = duration_or_none)]
    reject_delay: Option<OrNone>,
    /// How much they may carry a month, such as 50GB, or none. For reports; nothing is enforced.
    #[arg(long, value_name = "SIZE", value_parser = size_or_none)]
    monthly_quota: Option<SizeOrNone>,
    /// Whether a code (TOTP) may stand behind their PAP password: true, false, or default for the NAS's or the server's word.
    #[arg(long, value_name = "BOOL", value_parser = boolean_or_default)]
    totp_in_password: Option<OrDefault>,
    /// A further attribute of their Access-Accept; may be repeated. Replaces the list.
    #[arg(long, value_name = "NAME=VALUE", value_parser = reply_item, conflicts_with = "no_reply")]
    reply: Vec<ReplyItem>,
    /// No further attributes.
    #[arg(long)]
    no_reply: bool,
    #[command(flatten)]
    guards: GuardArgs,
}

/// How a password is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum StoreAs {
    /// A one-way hash: PAP only
    Argon2id,
    /// The NT hash, sealed: PAP, MS-CHAPv1, MS-CHAPv2
    Nt,
    /// The password, sealed: PAP, CHAP, MS-CHAPv1, MS-CHAPv2
    Clear,
}

/// Whether sessions are held.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Factor {
    /// An approver must say yes
    Required,
    /// The password is enough
    None,
}

/// A duration, or the word `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OrNone(Option<Duration>);

/// What becomes of a hold when nobody can be asked, or that it is for others to say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Unreachable(Option<WhenUnreachable>);

/// A boolean, or the word `default`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct OrDefault(Option<bool>);

/// A number of octets, or the word `none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct SizeOrNone(Option<u64>);

pub(super) async fn add(args: AddArgs, context: &Context) -> Result<(), Failure> {
    let name = user_name(&args.name)?;
    check_reply(&args.reply, context)?;
    let store = context.store().await?;
    // Asked before the password is, so that nobody types one in vain.
    if store.user(&name).await?.is_some() {
        return Err(Failure::failed(format!("user {name} exists already; change them with `radhold user set`")));
    }
    let user = User {
        credential: credential(&args.password.read()?, args.store_as, &name, context)?,
        disabled: args.disabled,
        second_factor: if args.no_second_factor { SecondFactor::None } else { SecondFactor::Required },
        groups: args.group.iter().map(GroupName::new).collect(),
        approvers: once_each(args.approver)?,
        when_unreachable: args.when_unreachable,
        permit_filter: args.permit_filter,
        session_timeout: args.session_timeout,
        reject_delay: args.reject_delay,
        monthly_quota: args.monthly_quota,
        guards: args.guards.over(GuardSettings::default()),
        reply: args.reply,
        totp_in_password: args.totp_in_password,
        created_at: clock::now(),
        name,
    };
    audit::edit(context, &*store, &[Edit::AddUser(&user)], "user.add", &user.name, "").await?;
    output::print(&format!("added user {}", user.name))
}

pub(super) async fn set(args: SetArgs, context: &Context) -> Result<(), Failure> {
    let new_password = args.password || args.source.is_given();
    if args.store_as.is_some() && !new_password {
        return Err(Failure::usage("--store-as wants the password again: add --password"));
    }
    if args.reply.is_empty() && args.permit_filter.is_none() && !new_password && args.changes_nothing() {
        return Err(Failure::usage("nothing to change; see `radhold user set --help`"));
    }
    check_reply(&args.reply, context)?;
    let store = context.store().await?;
    let before = super::find(&*store, &args.name).await?;
    let mut user = before.clone();
    if new_password {
        let form = args.store_as.map_or_else(|| form_of(&user.credential), Ok)?;
        user.credential = credential(&args.source.read()?, form, &user.name, context)?;
    }
    match args.second_factor {
        Some(Factor::Required) => user.second_factor = SecondFactor::Required,
        Some(Factor::None) => user.second_factor = SecondFactor::None,
        None => {}
    }
    user.disabled = args.disable || (user.disabled && !args.enable);
    if args.no_approver || !args.approver.is_empty() {
        user.approvers = once_each(args.approver)?;
    }
    if let Some(Unreachable(policy)) = args.when_unreachable {
        user.when_unreachable = policy;
    }
    if let Some(filter) = args.permit_filter {
        user.permit_filter = Some(filter).filter(|filter| !filter.is_empty());
    }
    if let Some(OrNone(timeout)) = args.session_timeout {
        user.session_timeout = timeout;
    }
    if let Some(OrNone(delay)) = args.reject_delay {
        user.reject_delay = delay;
    }
    if let Some(SizeOrNone(quota)) = args.monthly_quota {
        user.monthly_quota = quota;
    }
    user.guards = args.guards.over(user.guards);
    if let Some(OrDefault(setting)) = args.totp_in_password {
        user.totp_in_password = setting;
    }
    if args.no_reply || !args.reply.is_empty() {
        user.reply = args.reply;
    }
    audit::edit(context, &*store, &[Edit::ReplaceUser(&user)], "user.set", &user.name, differences(&before, &user))
        .await?;
    output::print(&format!("changed user {}", user.name))
}

/// What was changed, without the values of what is secret.
fn differences(before: &User, after: &User) -> String {
    let state = |disabled| if disabled { "disabled" } else { "enabled" };
    let changes = [
        (before.credential != after.credential).then(|| "password".to_owned()),
        (before.disabled != after.disabled).then(|| state(after.disabled).to_owned()),
        (before.second_factor != after.second_factor).then(|| format!("second factor {:?}", after.second_factor)),
        (before.approvers != after.approvers).then(|| "approvers".to_owned()),
        (before.when_unreachable != after.when_unreachable).then(|| "when unreachable".to_owned()),
        (before.permit_filter != after.permit_filter).then(|| "permit filter".to_owned()),
        (before.session_timeout != after.session_timeout).then(|| "session timeout".to_owned()),
        (before.reject_delay != after.reject_delay).then(|| "reject delay".to_owned()),
        (before.totp_in_password != after.totp_in_password).then(|| "code in password".to_owned()),
        (before.reply != after.reply).then(|| "reply".to_owned()),
        (before.guards != after.guards)
            .then(|| format!("guards: {}", guards::words(&after.guards).unwrap_or_else(|| "default".to_owned()))),
    ];
    changes.into_iter().flatten().collect::<Vec<_>>().join(", ")
}

impl SetArgs {
    /// Whether none of the plain switches says anything.
    fn changes_nothing(&self) -> bool {
        !(self.disable || self.enable || self.no_approver || self.no_reply)
            && self.approver.is_empty()
            && self.when_unreachable.is_none()
            && self.second_factor.is_none()
            && self.session_timeout.is_none()
            && self.reject_delay.is_none()
            && self.monthly_quota.is_none()
            && self.guards.is_silent()
            && self.totp_in_password.is_none()
    }
}

fn credential(password: &[u8], form: StoreAs, user: &UserName, context: &Context) -> Result<Secret, Failure> {
    let credential = match form {
        StoreAs::Argon2id => Credential::Argon2id(hash_password(password, &chance::octets(), PasswordCost::default())?),
        StoreAs::Nt => Credential::NtHash(NtHash::of_password(password).ok_or_else(|| {
            Failure::failed("the password is not UTF-8, so it has no NT hash; use --store-as clear or argon2id")
        })?),
        StoreAs::Clear => Credential::Password(ClearPassword::new(password)?),
    };
    let stored = StoredCredential::seal(&credential, &context.sealing_key()?, user.as_str(), &chance::octets());
    Ok(Secret::new(stored.to_text()))
}

fn form_of(credential: &Secret) -> Result<StoreAs, Failure> {
    let text = String::from_utf8_lossy(credential.expose());
    Ok(match StoredCredential::parse(&text)?.form() {
        CredentialForm::Argon2id => StoreAs::Argon2id,
        CredentialForm::NtHash => StoreAs::Nt,
        CredentialForm::Password => StoreAs::Clear,
    })
}

/// A User-Name that an attribute can hold and people can read.
pub(in crate::cli) fn user_name(name: &str) -> Result<UserName, Failure> {
    if name.is_empty() || name.len() > NAME_MOST || name.chars().any(char::is_control) {
        return Err(Failure::usage(format!(
            "{name:?} cannot be a User-Name: 1 to {NAME_MOST} octets, nothing unprintable"
        )));
    }
    Ok(UserName::new(name))
}

/// Every item must make an attribute in every dialect: else the user's logins would fail on the NASes that speak it.
fn check_reply(reply: &[ReplyItem], context: &Context) -> Result<(), Failure> {
    let dictionary = context.dictionary()?;
    for item in reply {
        dictionary.encode(&item.name, &item.value).map_err(|error| Failure::failed(format!("--reply: {error}")))?;
    }
    for dialect in context.dialects()?.iter() {
        dialect.check_reply(&dictionary, reply).map_err(|error| Failure::failed(format!("--reply: {error}")))?;
    }
    Ok(())
}

fn once_each(approvers: Vec<ApproverStep>) -> Result<Vec<ApproverStep>, Failure> {
    match ApproverStep::no_repeats(&approvers) {
        Ok(()) => Ok(approvers),
        Err(message) => Err(Failure::usage(format!("--approver: {message}"))),
    }
}

fn unreachable(text: &str) -> Result<Unreachable, String> {
    if text == "default" { Ok(Unreachable(None)) } else { text.parse().map(|policy| Unreachable(Some(policy))) }
}

fn reply_item(text: &str) -> Result<ReplyItem, String> {
    let (name, value) = text.split_once('=').ok_or("write NAME=VALUE, such as Framed-IP-Address=10.0.0.7")?;
    // Dictionaries and users files also write := and +=.
    let name = name.trim_end_matches([':', '+']).trim();
    Ok(ReplyItem { name: name.to_owned(), value: value.trim().to_owned() })
}

fn positive(text: &str) -> Result<Duration, String> {
    match parse_duration(text) {
        Ok(duration) if duration.is_zero() => Err("must be longer than nothing".to_owned()),
        Ok(duration) if duration.subsec_nanos() != 0 => {
            Err(format!("{} is not whole seconds, which is what Session-Timeout counts", format_duration(duration)))
        }
        parsed => parsed.map_err(|error| error.to_string()),
    }
}

fn positive_or_none(text: &str) -> Result<OrNone, String> {
    if text == "none" { Ok(OrNone(None)) } else { positive(text).map(|duration| OrNone(Some(duration))) }
}

fn boolean_or_default(text: &str) -> Result<OrDefault, String> {
    match text {
        "default" => Ok(OrDefault(None)),
        "true" => Ok(OrDefault(Some(true))),
        "false" => Ok(OrDefault(Some(false))),
        _ => Err("write true, false or default".to_owned()),
    }
}

fn size(text: &str) -> Result<u64, String> {
    match parse_size(text)? {
        0 => Err("must be more than nothing; to refuse logins, disable the user".to_owned()),
        octets => Ok(octets),
    }
}

fn size_or_none(text: &str) -> Result<SizeOrNone, String> {
    if text == "none" { Ok(SizeOrNone(None)) } else { size(text).map(|octets| SizeOrNone(Some(octets))) }
}

fn duration_or_none(text: &str) -> Result<OrNone, String> {
    match text {
        "none" => Ok(OrNone(None)),
        _ => parse_duration(text).map(|duration| OrNone(Some(duration))).map_err(|error| error.to_string()),
    }
}
