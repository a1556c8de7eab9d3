//! `radhold session approve`, `deny` and `kick`: an operator's word, given with access to the store.

use clap::Args;

use crate::app::{apply, clock};
use crate::session::{Approval, Denial, Event, State, Told, Verdict};

use super::super::context::Context;
use super::super::failure::{Exit, Failure};
use super::super::{audit, manual, output};

/// Approve a held session: say for its owner that it is they.
///
/// The order for the NAS is kept with the decision; a running server carries it out at once. A session that has not started yet
/// is let through when it does. Fails with exit code 3 when somebody decided before, or the deadline has passed.
#[derive(Debug, Args)]
#[command(after_long_help = manual!(
    "  radhold session approve 01936f2e-7c1a-7d3e-9b51-3f2a9c04d7e1\n  radhold session approve 3f2a9c04d7e1 --as helpdesk"
))]
pub(in crate::cli) struct ApproveArgs {
    #[command(flatten)]
    target: Target,
}

/// Deny a held session: it is ended.
///
/// The order for the NAS is kept with the decision; a running server carries it out at once. A session that has not started yet
/// is ended when it does. Fails with exit code 3 when somebody decided before, or the deadline has passed.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold session deny 3f2a9c04d7e1"))]
pub(in crate::cli) struct DenyArgs {
    #[command(flatten)]
    target: Target,
}

/// End a session, whatever was decided about it.
///
/// The Disconnect-Request is kept as an order; a running server sends it at once and repeats it until the NAS has reported
/// the end. Fails with exit code 3 when the session is over or being ended already.
#[derive(Debug, Args)]
#[command(after_long_help = manual!("  radhold session kick 3f2a9c04d7e1 --as night-shift"))]
pub(in crate::cli) struct KickArgs {
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, Args)]
struct Target {
    /// The session's id, or enough of its beginning or end to be the only one.
    #[arg(value_name = "ID")]
    id: String,
    /// Who decides, for the record [default: $SUDO_USER, else $USER].
    #[arg(long = "as", value_name = "OPERATOR", value_parser = audit::operator_name)]
    operator: Option<String>,
}

impl Target {
    fn operator(&self) -> String {
        audit::operator(self.operator.as_deref())
    }
}

pub(super) async fn approve(args: &ApproveArgs, context: &Context) -> Result<(), Failure> {
    let event = Event::Approved(Approval::by_operator(args.target.operator()));
    let state = bring(&args.target, &event, None, context).await?;
    output::print(match state {
        State::Offered => "approved; it will be let through when it starts",
        _ => "approved; the NAS is being told",
    })
}

pub(super) async fn deny(args: &DenyArgs, context: &Context) -> Result<(), Failure> {
    let event = Event::Denied(Denial::by_operator(args.target.operator()));
    let state = bring(&args.target, &event, None, context).await?;
    output::print(match state {
        State::Offered => "denied; it will be ended when it starts",
        _ => "denied; the NAS is being told to end it",
    })
}

pub(super) async fn kick(args: &KickArgs, context: &Context) -> Result<(), Failure> {
    let who = args.target.operator();
    let event = Event::Kicked(Denial::by_operator(who));
    // What was decided is on record with the decision; that it was ended is not.
    let state = bring(&args.target, &event, Some("session.kick"), context).await?;
    output::print(match state {
        State::Offered => "it will be ended when it starts",
        _ => "the NAS is being told to end it",
    })
}

/// Brings the event to the session, with an act when that is to be on record, and gives its state afterwards or the truth about why it
/// changed nothing.
async fn bring(target: &Target, event: &Event, act: Option<&'static str>, context: &Context) -> Result<State, Failure> {
    let store = context.store().await?;
    let session = super::find(&*store, &target.id).await?;
    let act = act.map(|act| {
        let detail = format!("session {} on {}", session.id, session.nas);
        audit::entry(context, target.operator(), act, &session.user, detail)
    });
    let (session, told) = apply(&*store, session.id, event, act.as_ref(), clock::now, &context.config.hold.timing)
        .await?
        .ok_or_else(|| Failure::not_found(format!("there is no session {} any more", session.id)))?;
    let too_late = |truth: &str| Err(Failure::new(Exit::TooLate, format!("too late: {truth}")));
    match told {
        Told::Done => Ok(session.state),
        Told::AlreadyDecided(verdict) => {
            let verdict = match verdict {
                Verdict::Approved => "approved",
                Verdict::Denied => "denied",
            };
            let by = session.decision.as_ref().map(|decision| format!(" by {} at {}", decision.by.who, decision.at));
            too_late(&format!("the session was {verdict} already{}", by.unwrap_or_default()))
        }
        Told::AlreadyExpired => too_late("the deadline had passed"),
        Told::SessionOver => too_late("the session is over"),
        Told::AlreadySuperseded => too_late("a newer login of the same user has taken its place"),
        Told::NotEntitled => Err(Failure::failed("you do not speak for this user")),
        Told::Counted { more } => {
            output::print(&format!("counted; {more} more must say yes"))?;
            Ok(session.state)
        }
        Told::NotHeld => Err(Failure::failed("this session is not held; there is nothing to decide")),
        Told::Noted => Err(Failure::failed("this is kept, but nobody can say yet what comes of it")),
        Told::Nothing => Err(Failure::failed(format!("nothing to do for a session that is {}", session.state))),
    }
}
