//! `radhold user enrol`: a link by which a person binds their own chat, and its QR for their telephone.

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use qrcode::QrCode;
use qrcode::render::unicode;
use serde::Serialize;

use crate::app::clock;
use crate::app::enrolment::Offer;
use crate::approver::Approver as _;
use crate::approver::telegram::{Telegram, TelegramOptions};
use crate::config::{format_duration, parse_duration};
use crate::model::{ApproverKind, Secret};
use crate::session::ButtonKey;

use super::super::context::Context;
use super::super::failure::Failure;
use super::super::{audit, manual, output};

/// Make a link by which a person binds their own Telegram chat, once.
///
/// Whoever follows it is asked from then on when the user logs in (after an administrator's word, where enrolment.confirm says
/// so). Give it to that person alone: it is as good as a key until it is used or its time is over. In a terminal its QR is shown
/// too, for the camera of their telephone.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold user enrol alice\n  radhold user enrol alice --for 1h --replace     a new telephone: the old chats go when it is bound\n  radhold user enrol alice --json | jq -r .link"
))]
pub(in crate::cli) struct EnrolArgs {
    /// The User-Name.
    name: String,
    /// For how long the link is valid [default: enrolment.valid_for].
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    time: Option<Duration>,
    /// Unbind the user's other Telegram chats when the new one is bound.
    #[arg(long)]
    replace: bool,
    /// Show no QR.
    #[arg(long)]
    no_qr: bool,
    /// Print JSON: an object.
    #[arg(long)]
    json: bool,
}

/// A link, as programs see it.
#[derive(Debug, Serialize)]
struct Shown {
    user: String,
    link: String,
    expires_at: String,
    replace: bool,
}

pub(super) async fn run(args: EnrolArgs, context: &Context) -> Result<(), Failure> {
    let valid_for = args.time.unwrap_or(context.config.enrolment.valid_for);
    if valid_for.is_zero() {
        return Err(Failure::usage("a link that is valid for no time is none"));
    }
    let store = context.store().await?;
    let user = super::find(&*store, &args.name).await?;
    if user.disabled {
        return Err(Failure::failed(format!("user {} is disabled; enable them first", user.name)));
    }
    let bot = bot_name(context).await?;
    let who = audit::operator(None);
    let offer = Offer::new(&user.name, ApproverKind::Telegram, &who, clock::now(), valid_for, args.replace);
    let act = audit::entry(context, who, "user.enrol", &user.name, offer.described());
    store.add_enrolment(&offer.enrolment, &act).await?;
    let link = offer.link(&bot);
    if args.json {
        return output::print_json(&Shown {
            user: user.name.to_string(),
            link,
            expires_at: offer.enrolment.expires_at.to_string(),
            replace: args.replace,
        });
    }
    output::print(&format!(
        "{link}\n\nvalid once, for {}; whoever follows it is asked when {} logs in",
        format_duration(valid_for),
        user.name
    ))?;
    if args.no_qr || !io::stdout().is_terminal() {
        return Ok(());
    }
    output::print(&qr(&link)?)
}

/// The QR of a text in half blocks, with a quiet zone; dark on light whatever the terminal's colours are, as far as readers care.
fn qr(text: &str) -> Result<String, Failure> {
    let code = QrCode::new(text).map_err(|error| Failure::failed(error.to_string()))?;
    // Terminals are dark as a rule: what is drawn there is light.
    Ok(code
        .render::<unicode::Dense1x2>()
        .dark_color(unicode::Dense1x2::Light)
        .light_color(unicode::Dense1x2::Dark)
        .quiet_zone(true)
        .build())
}

/// The bot's name, from the configuration or from Telegram.
async fn bot_name(context: &Context) -> Result<String, Failure> {
    let Some(telegram) = &context.config.telegram else {
        let read = context.read_from();
        return Err(Failure::failed(format!("there is no [telegram] section, and a link needs a bot ({read})")));
    };
    if let Some(name) = &telegram.bot_name {
        return Ok(name.clone());
    }
    let options = TelegramOptions {
        api_url: Some(telegram.api_url.clone()),
        proxy: telegram.proxy.clone(),
        ..TelegramOptions::new(telegram.token.clone())
    };
    // It signs nothing here.
    let bot = Telegram::new(options, ButtonKey::new(&Secret::new("")));
    let bot = bot.map_err(|error| Failure::failed(format!("telegram: {error}")))?;
    let name = bot.name().await.map_err(|error| {
        Failure::failed(format!("the bot's name cannot be asked for: {error}; or say it in telegram.bot_name"))
    })?;
    name.ok_or_else(|| Failure::failed("the bot has no name; say it in telegram.bot_name"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_qr_is_square_and_has_its_quiet_zone() {
        let drawn = qr("https://t.me/radhold_bot?start=AAAAAAAAAAAAAAAAAAAAAAAAAAA").unwrap();
        let lines: Vec<_> = drawn.lines().collect();
        let width = lines[0].chars().count();
        assert!(lines.iter().all(|line| line.chars().count() == width), "{drawn}");
        assert_eq!(width.div_ceil(2), lines.len(), "two modules to a line");
        assert!(lines[0].chars().all(|c| c == '█'), "light around it:\n{drawn}");
    }
}
