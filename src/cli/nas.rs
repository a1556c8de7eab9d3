//! `radhold nas …`

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use clap::{Args, Subcommand};
use ipnet::IpNet;
use serde::Serialize;

use crate::app::{chance, clock, keys};
use crate::config::{format_duration, parse_duration, values};
use crate::model::{
    ApproverStep, CallerLists, CertificateId, CodeEntry, DynauthPath, GuardSettings, Nas, NasName, OctetDirection,
    PreviousSecret, Secret, WhenUnreachable,
};
use crate::store::Edit;

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
    Rotate(RotateArgs),
    Remove(RemoveArgs),
}

/// Add a NAS to the store.
///
/// The secret is asked for twice on the terminal, read from standard input or a file, or made and printed; never given as an
/// argument. It is sealed with the sealing key. A running server learns of the NAS within seconds.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold nas add edge --address 192.0.2.1 --generate-secret\n  radhold nas add office --address 198.51.100.0/24 --secret-file ./secret --dialect mikrotik\n  radhold nas add pptp --address 127.0.0.1 --dialect pppd-agent --no-require-message-authenticator\n  radhold nas add branch --radsec-only --radsec-name dns:branch.example.org"
))]
pub(super) struct AddArgs {
    /// Your name for it, of letters, digits and any of - . _
    #[arg(value_parser = name)]
    name: NasName,
    /// Where its packets come from: an address, or a network as 192.0.2.0/24.
    #[arg(long, value_name = "ADDRESS", value_parser = values::network, required_unless_present = "radsec_only")]
    address: Option<IpNet>,
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
    #[arg(long, value_name = "ADDRESS", value_parser = values::source)]
    coa_source: Option<SocketAddr>,
    /// How long an Access-Reject is kept back [default: as the server says].
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    reject_delay: Option<Duration>,
    /// Which way it counts Acct-Input-Octets: standard (RFC 2866), or swapped.
    #[arg(long, value_name = "DIRECTION", default_value = "standard", value_parser = values::octet_direction)]
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
    /// The NAS-Identifier that tells it from others at the same address. Their requests need a Message-Authenticator then.
    #[arg(long, value_name = "TEXT", value_parser = clap::builder::NonEmptyStringValueParser::new())]
    nas_identifier: Option<String>,
    /// A name of its certificate's subjectAltName, dns:NAME or ip:ADDRESS, with which it may come over TLS; may be repeated.
    #[arg(long, value_name = "ID")]
    radsec_name: Vec<CertificateId>,
    /// The SHA-256 fingerprint of its certificate, sha256:DIGEST, with which it may come over TLS; may be repeated.
    #[arg(long, value_name = "ID")]
    radsec_fingerprint: Vec<CertificateId>,
    /// It comes over TLS alone: needs neither address nor secret, and no datagram is taken for its own.
    #[arg(long, conflicts_with_all = ["address", "nas_identifier", "secret_stdin", "secret_file", "generate_secret"])]
    radsec_only: bool,
    /// Which way CoA-Request and Disconnect-Request go: auto, udp, radsec (down its own TLS connection) or tls (we connect to it).
    #[arg(long, value_name = "PATH", default_value = "auto")]
    dynauth: DynauthPath,
    /// A network its callers are welcome from, whatever is denied or banned; may be repeated.
    #[arg(long, value_name = "NETWORK", value_parser = values::network)]
    allow_callers: Vec<IpNet>,
    /// A network its callers are refused from; may be repeated.
    #[arg(long, value_name = "NETWORK", value_parser = values::network)]
    deny_callers: Vec<IpNet>,
    #[command(flatten)]
    guards: GuardArgs,
    /// Whether a code (TOTP) may stand behind a PAP password there [default: as the user or the server says].
    #[arg(long, value_name = "BOOL")]
    totp_in_password: Option<bool>,
    /// It understands Access-Challenge: ask users who have TOTP for a code by it. pppd does not.
    #[arg(long)]
    challenge: bool,
    /// Refuse a login that would be held: for a NAS without sandbox or CoA, such as pam_radius.
    #[arg(long)]
    code_or_reject: bool,
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

/// Give a NAS a new secret; the old one counts beside it for a while.
///
/// Requests proven with either are answered, each with the secret that proved it. CoA-Request and Disconnect-Request are made with the
/// new secret, and with the old one when that is not answered. The secret comes as for `add`.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold nas rotate edge --generate-secret --for 24h\n  radhold nas rotate edge --secret-file ./secret --for 1h\n  radhold nas rotate edge --finish          (the old secret counts no more)"
))]
pub(super) struct RotateArgs {
    /// Your name for it.
    name: String,
    #[command(flatten)]
    secret: SecretArgs,
    /// How long the old secret counts.
    #[arg(long = "for", value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    time: Duration,
    /// End the old secret's time now; the new one stays.
    #[arg(long, conflicts_with_all = ["secret_stdin", "secret_file", "generate_secret", "time"])]
    finish: bool,
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
    nas_identifier: Option<&'a str>,
    radsec: &'a [CertificateId],
    radsec_only: bool,
    dynauth: DynauthPath,
    previous_secret_until: Option<String>,
    #[serde(flatten)]
    guards: GuardSettings,
    totp_in_password: Option<bool>,
    challenge: bool,
    code_or_reject: bool,
    kept_in: &'static str,
}

pub(super) async fn run(command: NasCommand, context: &Context) -> Result<(), Failure> {
    match command {
        NasCommand::Add(args) => add(*args, context).await,
        NasCommand::List(args) => list(&args, context).await,
        NasCommand::Rotate(args) => rotate(args, context).await,
        NasCommand::Remove(args) => remove(args, context).await,
    }
}

async fn add(args: AddArgs, context: &Context) -> Result<(), Failure> {
    let dialects = context.dialects()?;
    if dialects.get(&args.dialect).is_none() {
        let known = dialects.iter().map(|dialect| dialect.name()).collect::<Vec<_>>().join(", ");
        return Err(Failure::usage(format!("there is no dialect {:?}; there are {known}", args.dialect)));
    }
    let radsec: Vec<_> = args.radsec_name.iter().chain(&args.radsec_fingerprint).cloned().collect();
    if radsec.is_empty() && (args.radsec_only || args.dynauth == DynauthPath::Radsec) {
        return Err(Failure::usage(
            "name what its certificate shows: --radsec-name dns:NAME or --radsec-fingerprint sha256:DIGEST",
        ));
    }
    let store = context.store().await?;
    for (kept_in, other) in all(context, store.nases().await?) {
        if other.name == args.name {
            let advice = if kept_in == "store" { "remove it first" } else { "choose another name" };
            return Err(Failure::failed(format!("NAS {} exists already, in the {kept_in}; {advice}", other.name)));
        }
        let same_address = !other.radsec_only && args.address == Some(other.network);
        if same_address && other.nas_identifier == args.nas_identifier {
            let advice = "give each its own --nas-identifier if several stand behind it";
            return Err(Failure::failed(format!(
                "NAS {} has the address {} already; {advice}",
                other.name, other.network
            )));
        }
        if let Some(id) = radsec.iter().find(|id| other.radsec.contains(id)) {
            return Err(Failure::failed(format!(
                "NAS {} shows {id} already; each certificate is one NAS's",
                other.name
            )));
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
        // Over TLS the secret is a constant (RFC 6614 §2.3), and there is nothing else to use one for.
        None if args.radsec_only => Secret::new("radsec"),
        None => Secret::new(args.secret.read()?.as_slice()),
    };
    let weakness = secret.weakness().filter(|_| !args.radsec_only);
    let nas = Nas {
        name: args.name,
        network: args.address.unwrap_or_else(values::nowhere),
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
        nas_identifier: args.nas_identifier,
        radsec,
        radsec_only: args.radsec_only,
        dynauth: args.dynauth,
        previous_secret: None,
        // Kept by the configuration alone.
        max_requests_per_second: None,
        codes: CodeEntry {
            in_password: args.totp_in_password,
            challenge: args.challenge,
            or_reject: args.code_or_reject,
        },
    };
    let name = nas.name.clone();
    let detail = format!("{}, dialect {}", place(&nas), nas.dialect);
    let needs_tls = !nas.radsec.is_empty() || nas.dynauth == DynauthPath::Tls;
    let sealed = keys::seal_nas(nas, &context.sealing_key()?)?;
    audit::edit(context, &*store, &[Edit::AddNas(&sealed)], "nas.add", &name, detail).await?;
    if let Some(weakness) = weakness {
        eprintln!("radhold: warning: the secret {weakness}");
    }
    if needs_tls && context.config.radsec.is_none() {
        eprintln!("radhold: warning: there is no [radsec] section in the configuration, so nobody can come over TLS");
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
        let coa = nas.coa_address.map_or_else(
            || if reversed(nas) { "its connection" } else { "source" }.to_owned(),
            |address| address.to_string(),
        );
        [
            nas.name.to_string(),
            place(nas),
            nas.dialect.clone(),
            nas.coa_port.map_or_else(|| coa.clone(), |port| format!("{coa} port {port}")),
            if nas.require_message_authenticator { "required" } else { "optional" }.to_owned(),
            output::or_dash(nas.reject_delay.map(format_duration)),
            old_secret(nas),
            (*kept_in).to_owned(),
        ]
    });
    let head =
        ["NAS", "ADDRESS", "DIALECT", "COA TO", "MESSAGE-AUTHENTICATOR", "REJECT DELAY", "OLD SECRET", "KEPT IN"];
    output::print_table(head, rows.collect(), "no NASes; add one with `radhold nas add NAME --address ADDRESS`")
}

async fn rotate(args: RotateArgs, context: &Context) -> Result<(), Failure> {
    let name = NasName::new(args.name);
    let store = context.store().await?;
    let Some(sealed) = store.nases().await?.into_iter().find(|nas| nas.name == name) else {
        let why = if context.config.nas.iter().any(|nas| nas.name == name) {
            "it is in the configuration; set secret and previous_secret there"
        } else {
            "see `radhold nas list`"
        };
        return Err(Failure::not_found(format!("there is no NAS {name} in the store; {why}")));
    };
    if sealed.radsec_only {
        return Err(Failure::usage(format!(
            "NAS {name} comes over TLS alone and has no secret; renew its certificate"
        )));
    }
    let key = context.sealing_key()?;
    let nas = keys::open_nas(sealed, &key)?;
    if args.finish {
        let Some(previous) = &nas.previous_secret else {
            return Err(Failure::not_found(format!("NAS {name} has no old secret")));
        };
        let counted = previous.counts(clock::now());
        let sealed = keys::seal_nas(Nas { previous_secret: None, ..nas }, &key)?;
        audit::edit(context, &*store, &[Edit::RekeyNas(&sealed)], "nas.rotate", &name, "old secret ended").await?;
        let was = if counted { "counts no more" } else { "counted no more already; now it is gone" };
        return output::print(&format!("the old secret of NAS {name} {was}"));
    }
    let generated = args.secret.generate_secret.then(|| hex::encode(chance::octets::<16>()));
    let secret = match &generated {
        Some(secret) => Secret::new(secret.as_bytes()),
        None => Secret::new(args.secret.read()?.as_slice()),
    };
    if secret == nas.secret {
        return Err(Failure::usage("this is the secret it has already"));
    }
    if let Some(weakness) = secret.weakness() {
        eprintln!("radhold: warning: the secret {weakness}");
    }
    if !nas.require_message_authenticator {
        eprintln!(
            "radhold: warning: logins of NAS {name} come without Message-Authenticator. By PAP they show which secret they are made \
             with; by CHAP and MS-CHAP they are taken for made with the old one until its accounting shows that it has the new: \
             as soon as it has, run: radhold nas rotate {name} --finish"
        );
    }
    let until = clock::now() + args.time;
    let previous_secret = Some(PreviousSecret { secret: nas.secret.clone(), until: Some(until) });
    let sealed = keys::seal_nas(Nas { secret, previous_secret, ..nas }, &key)?;
    let detail = format!("old secret until {until}");
    audit::edit(context, &*store, &[Edit::RekeyNas(&sealed)], "nas.rotate", &name, detail).await?;
    let words = format!("NAS {name} has a new secret; the old one counts until {until}");
    match generated {
        Some(secret) => output::print(&format!("{words}\nsecret {secret}")),
        None => output::print(&words),
    }
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
    audit::edit(context, &*store, &[Edit::RemoveNas(&name)], "nas.remove", &name, "").await?;
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
        nas_identifier: nas.nas_identifier.as_deref(),
        radsec: &nas.radsec,
        radsec_only: nas.radsec_only,
        dynauth: nas.dynauth,
        previous_secret_until: nas
            .previous_secret
            .as_ref()
            .and_then(|previous| previous.until)
            .map(|at| at.to_string()),
        guards: nas.guards,
        totp_in_password: nas.codes.in_password,
        challenge: nas.codes.challenge,
        code_or_reject: nas.codes.or_reject,
        kept_in,
    }
}

/// Where it is: an address, the name that tells it apart there, or what its certificate shows.
fn place(nas: &Nas) -> String {
    let by_tls = || nas.radsec.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    match (&nas.nas_identifier, nas.radsec_only, nas.radsec.is_empty()) {
        (_, true, _) => by_tls(),
        (Some(identifier), _, true) => format!("{} as {identifier}", nas.network),
        (Some(identifier), _, false) => format!("{} as {identifier}, {}", nas.network, by_tls()),
        (None, _, true) => nas.network.to_string(),
        (None, _, false) => format!("{}, {}", nas.network, by_tls()),
    }
}

/// Whether CoA-Requests go down its own TLS connection when it has one.
fn reversed(nas: &Nas) -> bool {
    nas.dynauth == DynauthPath::Radsec || (nas.dynauth == DynauthPath::Auto && !nas.radsec.is_empty())
}

/// Until when the secret before this one counts.
fn old_secret(nas: &Nas) -> String {
    match &nas.previous_secret {
        None => "-".to_owned(),
        Some(previous) if !previous.counts(clock::now()) => "over".to_owned(),
        Some(previous) => previous.until.map_or("counts".to_owned(), |until| format!("until {until}")),
    }
}

fn name(text: &str) -> Result<NasName, String> {
    values::nas_name(text).map(|()| NasName::new(text))
}
