//! `radhold nas …`

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde::Serialize;

use crate::app::{chance, keys};
use crate::config::{format_duration, parse_duration, read};
use crate::model::{ApproverStep, CallerLists, GuardSettings, Nas, NasName, OctetDirection, Secret, WhenUnreachable};

use super::context::Context;
use super::failure::Failure;
use super::guards::GuardArgs;
use super::secret_input::SecretArgs;
use super::{audit, manual, output};

/// Add, list and remove NASes kept in the store.
///
/// NASes can stand in the configuration too, as [nas.NAME]; of two with the same name, the configuration's counts.
#[derive(Debug, Subcommand)]
pub(super) enum NasCommand {
    Add(Box<AddArgs>),
    List(ListArgs),
    Remove(RemoveArgs),
}

/// Add a NAS to the store.
///
/// The secret is asked for twice on the terminal, read from standard input or a file, or made and printed; never given as an
/// argument. It is sealed with the sealing key. A running server learns of the NAS within seconds.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold nas add edge --address 192.0.2.1 --generate-secret\n  radhold nas add office --address 198.51.100.0/24 --secret-file ./secret --dialect mikrotik\n  radhold nas add pptp --address 127.0.0.1 --dialect pppd-agent --no-require-message-authenticator"
))]
pub(super) struct AddArgs {
    /// Your name for it, of letters, digits and any of - . _
    #[arg(value_parser = name)]
    name: NasName,
    /// Where its packets come from: an address, or a network as 192.0.2.0/24.
    #[arg(long, value_name = "ADDRESS", value_parser = read::network)]
    address: IpNet,
    #[command(flatten)]
    secret: SecretArgs,
    /// How it is spoken to: standard, pppd-agent, mikrotik, accel-ppp, cisco, strongswan, uspot, or one of yours.
    #[arg(long, value_name = "DIALECT", default_value = "standard")]
    dialect: String,
    /// Accept its Access-Requests without Message-Authenticator (CVE-2024-3596). Only for a NAS that cannot send one.
    #[arg(long)]
    no_require_message_authenticator: bool,
    /// Drop its Access-Requests with Proxy-State but without Message-Authenticator.
    #[arg(long)]
    limit_proxy_state: bool,
    /// Answer MS-CHAPv1, which is broken.
    #[arg(long)]
    allow_ms_chap_v1: bool,
    /// Where CoA-Request and Disconnect-Request go [default: where its packets come from].
    #[arg(long, value_name = "ADDRESS")]
    coa_address: Option<IpAddr>,
    /// The UDP port for them [default: the dialect's, mostly 3799].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    coa_port: Option<u16>,
    /// Where they come from: an address, with a port or without [default: as dynauth.source says].
    #[arg(long, value_name = "ADDRESS", value_parser = read::source)]
    coa_source: Option<SocketAddr>,
    /// How long an Access-Reject is kept back [default: as the server says].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    reject_delay: Option<Duration>,
    /// Which way it counts Acct-Input-Octets: standard (RFC 2866), or swapped.
    #[arg(long, value_name = "DIRECTION", default_value = "standard", value_parser = read::octet_direction)]
    octet_direction: OctetDirection,
    /// Its octet counters wrap at 32 bits and it sends no Acct-Input-Gigawords: count the wraps.
    #[arg(long)]
    octet_wrap: bool,
    /// Whether no two of its sessions have one NAS-Port at a time, so that a Start ends the session before it there [default:
    /// as its dialect says].
    #[arg(long, value_name = "BOOL")]
    unique_ports: Option<bool>,
    /// Filter that confines [default: as the server says].
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    sandbox_filter: Option<String>,
    /// Filter that lets through [default: as the server says].
    #[arg(long, value_name = "NAME", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    permit_filter: Option<String>,
    /// Who is asked about its logins, in order and with patience, such as telegram:60s,operator; users and their groups are nearer
    /// [default: as the server says].
    #[arg(long, value_name = "APPROVERS", value_delimiter = ',')]
    approvers: Vec<ApproverStep>,
    /// What becomes of a hold when nobody can be asked: end, or hold until the deadline [default: as the server says].
    #[arg(long, value_name = "END|HOLD")]
    when_unreachable: Option<WhenUnreachable>,
    /// A network its callers are welcome from, whatever is denied or banned; may be repeated.
    #[arg(long, value_name = "NETWORK", value_parser = read::network)]
    allow_callers: Vec<IpNet>,
    /// A network its callers are refused from; may be repeated.
    #[arg(long, value_name = "NETWORK", value_parser = read::network)]
    deny_callers: Vec<IpNet>,
    #[command(flatten)]
    guards: GuardArgs,
}

/// List all NASes, of the store and of the configuration.
///
/// As JSON each has the fields of the configuration's [nas.NAME], times in seconds, and where it is kept. Secrets are not shown.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold nas list\n  radhold nas list --json | jq -r '.[].address'"))]
pub(super) struct ListArgs {
    /// Print JSON: a list of objects.
    #[arg(long)]
    json: bool,
}

/// Remove a NAS from the store.
///
/// Its sessions stay, as records. A running server forgets the NAS within seconds.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold nas remove edge"))]
pub(super) struct RemoveArgs {
    /// Your name for it.
    name: String,
}

/// A NAS, as programs see it.
#[derive(Debug, Serialize)]
struct Shown<'a> {
    name: &'a str,
    address: String,
    dialect: &'a str,
    require_message_authenticator: bool,
    limit_proxy_state: bool,
    allow_ms_chap_v1: bool,
    coa_address: Option<IpAddr>,
    coa_port: Option<u16>,
    coa_source: Option<SocketAddr>,
    reject_delay: Option<f64>,
    octet_direction: OctetDirection,
    octet_wrap: bool,
    unique_ports: Option<bool>,
    sandbox_filter: Option<&'a str>,
    permit_filter: Option<&'a str>,
    approvers: &'a [ApproverStep],
    when_unreachable: Option<WhenUnreachable>,
    allow_callers: &'a [IpNet],
    deny_callers: &'a [IpNet],
    #[serde(flatten)]
    guards: GuardSettings,
    kept_in: &'static str,
}

pub(super) async fn run(command: NasCommand, context: &Context) -> Result<(), Failure> {
    match command {
        NasCommand::Add(args) => add(*args, context).await,
        NasCommand::List(args) => list(&args, context).await,
        NasCommand::Remove(args) => remove(args, context).await,
    }
}

async fn add(args: AddArgs, context: &Context) -> Result<(), Failure> {
    let dialects = context.dialects()?;
    if dialects.get(&args.dialect).is_none() {
        let known = dialects.iter().map(|dialect| dialect.name()).collect::<Vec<_>>().join(", ");
        return Err(Failure::usage(format!("there is no dialect {:?}; there are {known}", args.dialect)));
    }
    let store = context.store().await?;
    for (kept_in, other) in all(context, store.nases().await?) {
        if other.name == args.name {
            let advice = if kept_in == "store" { "remove it first" } else { "choose another name" };
            return Err(Failure::failed(format!("NAS {} exists already, in the {kept_in}; {advice}", other.name)));
        }
        if other.network == args.address {
            return Err(Failure::failed(format!("NAS {} has the address {} already", other.name, other.network)));
        }
    }
    ApproverStep::no_repeats(&args.approvers).map_err(|message| Failure::usage(format!("--approvers: {message}")))?;
    let defaults = &context.config.hold.defaults;
    let sandbox = args.sandbox_filter.as_ref().unwrap_or(&defaults.sandbox_filter);
    let permit = args.permit_filter.as_ref().unwrap_or(&defaults.permit_filter);
    if sandbox == permit {
        return Err(Failure::usage(format!(
            "both filters would be {permit:?}; a held session would be let through at once"
        )));
    }
    let generated = args.secret.generate_secret.then(|| hex::encode(chance::octets::<16>()));
    let secret = match &generated {
        Some(secret) => Secret::new(secret.as_bytes()),
        None => Secret::new(args.secret.read()?.as_slice()),
    };
    let short = secret.expose().len() < read::SECRET_LEAST;
    let nas = Nas {
        name: args.name,
        network: args.address,
        secret,
        dialect: args.dialect,
        require_message_authenticator: !args.no_require_message_authenticator,
        limit_proxy_state: args.limit_proxy_state,
        allow_ms_chap_v1: args.allow_ms_chap_v1,
        coa_address: args.coa_address,
        coa_port: args.coa_port,
        coa_source: args.coa_source,
        reject_delay: args.reject_delay,
        octet_direction: args.octet_direction,
        octet_wrap: args.octet_wrap,
        unique_ports: args.unique_ports,
        sandbox_filter: args.sandbox_filter,
        permit_filter: args.permit_filter,
        approvers: args.approvers,
        when_unreachable: args.when_unreachable,
        guards: args.guards.over(GuardSettings::default()),
        callers: CallerLists { allow: args.allow_callers, deny: args.deny_callers },
    };
    let name = nas.name.clone();
    let detail = format!("{}, dialect {}", nas.network, nas.dialect);
    store.add_nas(&keys::seal_nas(nas, &context.sealing_key()?)?).await?;
    audit::record(context, &*store, "nas.add", &name, detail).await?;
    if short {
        eprintln!("radhold: warning: the secret is shorter than {} octets (RFC 2865 §3)", read::SECRET_LEAST);
    }
    match generated {
        Some(secret) => output::print(&format!("added NAS {name}\nsecret {secret}")),
        None => output::print(&format!("added NAS {name}")),
    }
}

async fn list(args: &ListArgs, context: &Context) -> Result<(), Failure> {
    let nases = all(context, context.store().await?.nases().await?);
    if args.json {
        return output::print_json(&nases.iter().map(|(kept_in, nas)| shown(nas, kept_in)).collect::<Vec<_>>());
    }
    let rows = nases.iter().map(|(kept_in, nas)| {
        let coa = nas.coa_address.map_or_else(|| "source".to_owned(), |address| address.to_string());
        [
            nas.name.to_string(),
            nas.network.to_string(),
            nas.dialect.clone(),
            nas.coa_port.map_or_else(|| coa.clone(), |port| format!("{coa} port {port}")),
            if nas.require_message_authenticator { "required" } else { "optional" }.to_owned(),
            output::or_dash(nas.reject_delay.map(format_duration)),
            (*kept_in).to_owned(),
        ]
    });
    let head = ["NAS", "ADDRESS", "DIALECT", "COA TO", "MESSAGE-AUTHENTICATOR", "REJECT DELAY", "KEPT IN"];
    output::print_table(head, rows.collect(), "no NASes; add one with `radhold nas add NAME --address ADDRESS`")
}

async fn remove(args: RemoveArgs, context: &Context) -> Result<(), Failure> {
    let name = NasName::new(args.name);
    let store = context.store().await?;
    if !store.nases().await?.iter().any(|nas| nas.name == name) {
        let why = if context.config.nas.iter().any(|nas| nas.name == name) {
            "it is in the configuration; remove its section there"
        } else {
            "see `radhold nas list`"
        };
        return Err(Failure::not_found(format!("there is no NAS {name} in the store; {why}")));
    }
    store.remove_nas(&name).await?;
    audit::record(context, &*store, "nas.remove", &name, "").await?;
    output::print(&format!("removed NAS {name}"))
}

/// All there are and where they are kept, by name; the configuration's hide the store's of the same name.
fn all(context: &Context, stored: Vec<Nas>) -> Vec<(&'static str, Nas)> {
    let configured = &context.config.nas;
    let mut all: Vec<_> = configured.iter().cloned().map(|nas| ("configuration", nas)).collect();
    let hidden = |nas: &Nas| configured.iter().any(|other| other.name == nas.name);
    all.extend(stored.into_iter().filter(|nas| !hidden(nas)).map(|nas| ("store", nas)));
    all.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
    all
}

fn shown<'a>(nas: &'a Nas, kept_in: &'static str) -> Shown<'a> {
    Shown {
        name: nas.name.as_str(),
        address: nas.network.to_string(),
        dialect: &nas.dialect,
        require_message_authenticator: nas.require_message_authenticator,
        limit_proxy_state: nas.limit_proxy_state,
        allow_ms_chap_v1: nas.allow_ms_chap_v1,
        coa_address: nas.coa_address,
        coa_port: nas.coa_port,
        coa_source: nas.coa_source,
        reject_delay: nas.reject_delay.map(|delay| delay.as_secs_f64()),
        octet_direction: nas.octet_direction,
        octet_wrap: nas.octet_wrap,
        unique_ports: nas.unique_ports,
        sandbox_filter: nas.sandbox_filter.as_deref(),
        permit_filter: nas.permit_filter.as_deref(),
        approvers: &nas.approvers,
        when_unreachable: nas.when_unreachable,
        allow_callers: &nas.callers.allow,
        deny_callers: &nas.callers.deny,
        guards: nas.guards,
        kept_in,
    }
}

fn name(text: &str) -> Result<NasName, String> {
    read::nas_name(text).map(|()| NasName::new(text))
}
