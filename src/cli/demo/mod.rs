//! `radhold demo`: the real server, a simulated NAS, and three people who log in.
//!
//! Touches nothing outside a temporary directory and loopback.

pub mod nas;
mod play;
mod proof;
mod stage;
mod timeline;

use std::io::{self, IsTerminal as _};
use std::time::Duration;

use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Flags;

use super::failure::Failure;
use super::{manual, output};
use play::Play;
use stage::Stage;
use timeline::{Style, Timeline};

/// The hold's window when the demo presses by itself.
const AUTO_WINDOW: Duration = Duration::from_secs(6);
/// The hold's window when you press.
const HAND_WINDOW: Duration = Duration::from_secs(60);
/// With --auto, all is over by then or something is wrong.
const AUTO_LIMIT: Duration = Duration::from_secs(18);

/// See the hold at work, with nothing to set up.
///
/// Starts the real server on loopback, with a temporary SQLite file, and a simulated NAS that speaks RADIUS to it over UDP. Three
/// people log in and are let in held, with the filter "sandbox". You approve alice: a CoA-Request lifts her to the filter
/// "permit". You deny bob: a Disconnect-Request ends his session. Nobody answers for carol: her deadline ends hers.
///
/// Each packet is printed as it is sent or received, with its code, Identifier and Filter-Id. In the end a table says what became of
/// each login. Nothing stays behind.
///
/// With --auto the demo presses by itself and ends within 20 seconds. It exits 0 only when the NAS saw every step on the wire;
/// otherwise it says what was missing and exits 1. Without a terminal only --auto works. Colours are left out when NO_COLOR is
/// set. The server's log is shown when RADHOLD_LOG__FILTER is set.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold demo\n  radhold demo --auto\n  radhold demo --auto --json\n  RADHOLD_LOG__FILTER=radhold=debug radhold demo --auto"))]
pub(super) struct DemoArgs {
    /// Press by itself, and check what was seen on the wire.
    #[arg(long)]
    auto: bool,
    /// Print the timeline as JSON, one object a line.
    #[arg(long)]
    json: bool,
}

/// Runs the demo. `flags` must say nothing: the demo has settings of its own.
pub(super) fn run(args: &DemoArgs, flags: &Flags) -> Result<(), Failure> {
    if let Some(flag) =
        flags.settings.first().map(|setting| setting.flag.as_str()).or(flags.config.as_ref().map(|_| "--config"))
    {
        return Err(Failure::usage(format!("the demo has settings of its own; leave {flag} out")));
    }
    if !args.auto && !io::stdin().is_terminal() {
        return Err(Failure::usage(
            "the demo wants your keys, and standard input is no terminal; run it in one, or let it press by itself: \
             radhold demo --auto",
        ));
    }
    stage::log()?;
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(perform(args))
}

async fn perform(args: &DemoArgs) -> Result<(), Failure> {
    let window = if args.auto { AUTO_WINDOW } else { HAND_WINDOW };
    let style = Style::for_output(args.json);
    let (stage, seen) = Stage::set_up(window).await?;
    let timeline = Timeline::start(style, seen);
    let introduction = introduction(&stage, args.auto);
    match (args.json, args.auto) {
        (false, _) => output::print(&introduction)?,
        // Whoever presses must know the keys.
        (true, false) => eprintln!("{introduction}"),
        (true, true) => (),
    }
    let mut play = Play::new(&stage, &timeline);
    let played = if args.auto {
        tokio::select! {
            played = tokio::time::timeout(AUTO_LIMIT, play.auto()) => {
                played.unwrap_or_else(|_| Err(Failure::failed(format!("not over after {} seconds", AUTO_LIMIT.as_secs()))))
            }
            interrupted = interrupted() => interrupted.and_then(|()| Err(Failure::failed("interrupted"))),
        }
    } else {
        play.by_hand(interrupted()).await
    };
    let results = play.results();
    stage.strike().await;
    let entries = timeline.end();
    if let Err(failure) = &played
        && !args.auto
    {
        return Err(Failure::failed(failure.message.clone()));
    }
    let mut missing: Vec<String> = played.err().into_iter().map(|failure| failure.message).collect();
    if args.auto {
        missing.extend(proof::missing(&entries, window));
    }
    timeline::conclude(&results, &missing, args.auto, style)?;
    if missing.is_empty() {
        return Ok(());
    }
    Err(Failure::failed(format!("the demo did not show:\n  {}", missing.join("\n  "))))
}

/// Waits for SIGINT or SIGTERM.
async fn interrupted() -> Result<(), Failure> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = interrupt.recv() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

fn introduction(stage: &Stage, auto: bool) -> String {
    let seconds = stage.window.as_secs();
    let mut text = format!(
        "radhold listens on {} for Access-Requests and on {} for accounting.\n\
         A simulated NAS listens on {} for CoA-Requests and Disconnect-Requests.\n\
         Three people log in. Each is held in the filter \"sandbox\" until somebody answers, {seconds} seconds at most.\n",
        stage.auth(),
        stage.accounting(),
        stage.nas.dynauth(),
    );
    if !auto {
        text.push_str(
            "\nPress a key, then Enter:\n\n  a  it is alice: approve\n  d  it is not bob: deny\n  q  end the demo\n\n\
             Leave carol to her deadline. What you do not answer runs out like hers.\n",
        );
    }
    text
}
