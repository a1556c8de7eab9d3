//! `radhold user list` and `radhold user show`

use clap::Args;
use serde::Serialize;

use crate::auth::StoredCredential;
use crate::config::format_duration;
use crate::model::{
    ApproverKind, ApproverStep, Binding, GroupName, GuardSettings, ReplyItem, SecondFactor, User, WhenUnreachable,
};

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::size::format_size;
use super::super::{guards, manual, output};
use super::totp;

/// List all users.
///
/// As JSON each has the fields of `radhold user show --json` but its bindings. Passwords are shown in no form.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold user list\n  radhold user list --json | jq -r '.[] | select(.disabled) | .name'"))]
pub(in crate::cli) struct ListArgs {
    /// Print JSON: a list of objects.
    #[arg(long)]
    json: bool,
}

/// Show a user and where they are asked.
///
/// As JSON: name, disabled, second_factor, approvers, permit_filter, session_timeout and reject_delay in seconds, reply,
/// stored_as, created_at, bindings. What is left to the NAS or the server is null. The password is shown in no form.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold user show alice\n  radhold user show alice --json"))]
pub(in crate::cli) struct ShowArgs {
    /// The User-Name.
    name: String,
    /// Print JSON: one object.
    #[arg(long)]
    json: bool,
}

/// A user, as programs see them.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    disabled: bool,
    second_factor: SecondFactor,
    groups: &'a [GroupName],
    approvers: &'a [ApproverStep],
    when_unreachable: Option<WhenUnreachable>,
    permit_filter: Option<&'a str>,
    session_timeout: Option<f64>,
    reject_delay: Option<f64>,
    monthly_quota: Option<u64>,
    #[serde(flatten)]
    guards: GuardSettings,
    reply: &'a [ReplyItem],
    stored_as: String,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    bindings: Option<Vec<ShownBinding<'a>>>,
}

#[derive(Debug, Serialize)]
struct ShownBinding<'a> {
    approver: ApproverKind,
    address: &'a str,
    presser: &'a str,
    bound_at: String,
}

pub(super) async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let users = context.store().await?.users().await?;
    if args.json {
        return output::print_json(&users.iter().map(|user| shown(user, None)).collect::<Vec<_>>());
    }
    let rows = users.iter().map(|user| {
        [
            user.name.to_string(),
            if user.disabled { "disabled" } else { "enabled" }.to_owned(),
            factor(user).to_owned(),
            stored_as(user),
            output::or_dash(user.permit_filter.as_ref()),
            output::or_dash(user.session_timeout.map(format_duration)),
            user.created_at.to_string(),
        ]
    });
    let head = ["USER", "STATE", "SECOND FACTOR", "STORED AS", "PERMIT FILTER", "SESSION TIMEOUT", "ADDED"];
    output::print_table(head, rows.collect(), "no users; add one with `radhold user add NAME`")
}

pub(super) async fn show(args: &ShowArgs, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let user = super::find(&*store, &args.name).await?;
    let bindings = store.bindings(&user.name).await?;
    if args.json {
        return output::print_json(&shown(&user, Some(&bindings)));
    }
    let mut facts = vec![
        ("user", Some(user.name.to_string())),
        ("state", Some(if user.disabled { "disabled" } else { "enabled" }.to_owned())),
        ("second factor", Some(factor(&user).to_owned())),
        ("groups", Some(words(&user.groups)).filter(|words| !words.is_empty())),
        ("approvers", Some(words(&user.approvers)).filter(|words| !words.is_empty())),
        ("when unreachable", user.when_unreachable.map(|policy| policy.to_string())),
        ("stored as", Some(stored_as(&user))),
        ("permit filter", user.permit_filter.clone()),
        ("session timeout", user.session_timeout.map(format_duration)),
        ("reject delay", user.reject_delay.map(format_duration)),
        ("code in password", user.totp_in_password.map(|setting| setting.to_string())),
        ("TOTP", store.totp(&user.name).await?.map(|totp| totp::state(&totp))),
        ("monthly quota", user.monthly_quota.map(|octets| format!("{} (not enforced)", format_size(octets)))),
        ("guards", guards::words(&user.guards)),
        ("added", Some(user.created_at.to_string())),
    ];
    facts.extend(user.reply.iter().map(|item| ("reply", Some(format!("{} = {}", item.name, item.value)))));
    facts.extend(bindings.iter().map(|binding| {
        let presser = if binding.presser == binding.address {
            String::new()
        } else {
            format!(", pressed by {}", binding.presser)
        };
        ("asked in", Some(format!("{} {}{presser}", binding.approver, binding.address)))
    }));
    output::print_facts(&facts)
}

fn shown<'a>(user: &'a User, bindings: Option<&'a [Binding]>) -> Shown<'a> {
    Shown {
        name: user.name.as_str(),
        disabled: user.disabled,
        second_factor: user.second_factor,
        groups: &user.groups,
        approvers: &user.approvers,
        when_unreachable: user.when_unreachable,
        permit_filter: user.permit_filter.as_deref(),
        session_timeout: user.session_timeout.map(|timeout| timeout.as_secs_f64()),
        reject_delay: user.reject_delay.map(|delay| delay.as_secs_f64()),
        monthly_quota: user.monthly_quota,
        guards: user.guards,
        reply: &user.reply,
        stored_as: stored_as(user),
        created_at: user.created_at.to_string(),
        bindings: bindings.map(|bindings| bindings.iter().map(shown_binding).collect()),
    }
}

fn shown_binding(binding: &Binding) -> ShownBinding<'_> {
    ShownBinding {
        approver: binding.approver,
        address: &binding.address,
        presser: &binding.presser,
        bound_at: binding.bound_at.to_string(),
    }
}

fn factor(user: &User) -> &'static str {
    match user.second_factor {
        SecondFactor::Required => "required",
        SecondFactor::None => "none",
    }
}

fn words(several: &[impl ToString]) -> String {
    several.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
}

/// The form, in the words of `--store-as`.
fn stored_as(user: &User) -> String {
    use crate::auth::CredentialForm;
    let text = String::from_utf8_lossy(user.credential.expose());
    match StoredCredential::parse(&text).map(|stored| stored.form()) {
        Ok(CredentialForm::Argon2id) => "argon2id".to_owned(),
        Ok(CredentialForm::NtHash) => "nt".to_owned(),
        Ok(CredentialForm::Password) => "clear".to_owned(),
        Err(error) => format!("unusable: {error}"),
    }
}
