//! What happens in which state: the whole of the hold on one page.
//!
//! Names an [`Action`] for every state × event; `machine.rs` carries it out. Knows neither time nor any session.

use super::event::Event;
use super::record::State;

/// An event without its particulars.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[expect(missing_docs, reason = "the variants are those of Event, documented there")]
pub enum Kind {
    Accepted,
    Started,
    Interim,
    Stopped,
    NasRestarted,
    PortReused,
    PromptSent,
    PromptUndeliverable,
    Approved,
    Denied,
    Superseded,
    Kicked,
    TimerPassed,
    CoaAcked,
    CoaNaked,
    CoaUnanswered,
    DisconnectAcked,
    DisconnectNaked,
    DisconnectUnanswered,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Action {
    /// Nothing: a repeat, or out of place.
    Ignore,
    /// Ask the first approver, or the first of each where several must agree.
    Ask,
    /// The session is on the NAS: hold it, lift it or end it, as was decided meanwhile.
    Begin,
    /// Take over what the NAS reports.
    Refresh,
    /// The same, and compare the filter in force with the one we ordered.
    Verify,
    /// The NAS still reports a session that is being ended: take it over and insist.
    Insist,
    /// The NAS reports a session we presumed over: it is not.
    Revive,
    /// The session is over.
    Close,
    /// The session was over: take over its last counters, and when it ended.
    Correct,
    /// Its NAS restarted: over, unless it is younger than the restart.
    CloseIfOlder,
    /// Its port has another session: over, unless it is the younger one or was heard of since.
    CloseIfBefore,
    /// Remember where the prompt is; tell it the outcome if there is one already.
    NotePrompt,
    /// Ask the next approver, or give up as the terms say.
    AskNext,
    /// Remember where prompts are that reached too few; tell them the outcome.
    NoteStrays,
    /// Remember the answer until Start.
    Remember,
    /// Take the answer, if it is the first and in time: yes lifts when it is enough, no ends.
    Decide,
    /// Ask nobody about it any more.
    Supersede,
    /// End it.
    Evict,
    /// Remember that it must end at Start.
    EvictAtStart,
    /// Answer that it was decided before.
    TooLate,
    /// Answer that there was never anything to decide.
    NothingToDecide,
    /// No Start came: give the offer up. Before that, ask the next approver when the one before was waited for long enough.
    Drop,
    /// Deadline, next try to lift, or the next approver's turn.
    Wake,
    /// Next try to end, or give up waiting for the Stop.
    WakeEvicting,
    /// Nothing was heard of it for too long: its Stop was lost.
    CloseIfStale,
    /// The NAS says it is lifted.
    Lift,
    /// The NAS will not lift it: see why.
    CoaRefused,
    /// The NAS does not answer: back to held, try again.
    CoaLost,
    /// The NAS says it ended it: wait for the Stop.
    AwaitStop,
    /// The NAS will not end it: see why.
    DisconnectRefused,
    /// The NAS does not answer: try again.
    DisconnectLost,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::Accepted,
        Self::Started,
        Self::Interim,
        Self::Stopped,
        Self::NasRestarted,
        Self::PortReused,
        Self::PromptSent,
        Self::PromptUndeliverable,
        Self::Approved,
        Self::Denied,
        Self::Superseded,
        Self::Kicked,
        Self::TimerPassed,
        Self::CoaAcked,
        Self::CoaNaked,
        Self::CoaUnanswered,
        Self::DisconnectAcked,
        Self::DisconnectNaked,
        Self::DisconnectUnanswered,
    ];

    /// The kind of an event.
    pub const fn of(event: &Event) -> Self {
        match event {
            Event::Accepted => Self::Accepted,
            Event::Started(_) => Self::Started,
            Event::Interim(_) => Self::Interim,
            Event::Stopped(_) => Self::Stopped,
            Event::NasRestarted { .. } => Self::NasRestarted,
            Event::PortReused { .. } => Self::PortReused,
            Event::PromptSent { .. } => Self::PromptSent,
            Event::PromptUndeliverable { .. } => Self::PromptUndeliverable,
            Event::Approved(_) => Self::Approved,
            Event::Denied(_) => Self::Denied,
            Event::Superseded => Self::Superseded,
            Event::Kicked(_) => Self::Kicked,
            Event::TimerPassed => Self::TimerPassed,
            Event::CoaAcked { .. } => Self::CoaAcked,
            Event::CoaNaked { .. } => Self::CoaNaked,
            Event::CoaUnanswered { .. } => Self::CoaUnanswered,
            Event::DisconnectAcked { .. } => Self::DisconnectAcked,
            Event::DisconnectNaked { .. } => Self::DisconnectNaked,
            Event::DisconnectUnanswered { .. } => Self::DisconnectUnanswered,
        }
    }
}

/// The table.
#[rustfmt::skip]
pub const fn action(state: State, kind: Kind) -> Action {
    use Action as A;
    use Kind as K;
    use State as S;
    match (state, kind) {
        (S::Offered,    K::Accepted)             => A::Ask,
        (_,             K::Accepted)             => A::Ignore,

        (S::Offered | S::Dropped,
                        K::Started | K::Interim) => A::Begin,
        (S::Held | S::Permitting | S::Observed,
                        K::Started | K::Interim) => A::Refresh,
        (S::Permitted,  K::Started)              => A::Refresh,
        (S::Permitted,  K::Interim)              => A::Verify,
        (S::Evicting,   K::Started)              => A::Refresh,
        (S::Evicting,   K::Interim)              => A::Insist,
        (S::Closed,     K::Started | K::Interim) => A::Revive,
        (S::Closed,     K::Stopped)              => A::Correct,
        (_,             K::Stopped)              => A::Close,
        (S::Dropped | S::Closed,
                        K::NasRestarted)         => A::Ignore,
        (_,             K::NasRestarted)         => A::CloseIfOlder,
        (S::Offered | S::Dropped | S::Closed,
                        K::PortReused)           => A::Ignore,
        (_,             K::PortReused)           => A::CloseIfBefore,

        (S::Observed,   K::PromptSent)           => A::Ignore,
        (_,             K::PromptSent)           => A::NotePrompt,
        (S::Offered | S::Held,
                        K::PromptUndeliverable)  => A::AskNext,
        (S::Observed,   K::PromptUndeliverable)  => A::Ignore,
        (_,             K::PromptUndeliverable)  => A::NoteStrays,

        (S::Offered,    K::Approved | K::Denied) => A::Remember,
        (S::Dropped,    K::Denied)               => A::Remember,
        (S::Held,       K::Approved | K::Denied) => A::Decide,
        (S::Observed,   K::Approved | K::Denied) => A::NothingToDecide,
        (_,             K::Approved | K::Denied) => A::TooLate,
        (S::Offered | S::Held,
                        K::Superseded)           => A::Supersede,
        (_,             K::Superseded)           => A::Ignore,
        (S::Offered,    K::Kicked)               => A::EvictAtStart,
        (S::Held | S::Permitting | S::Permitted | S::Observed,
                        K::Kicked)               => A::Evict,
        (S::Evicting | S::Dropped | S::Closed,
                        K::Kicked)               => A::TooLate,

        (S::Offered,    K::TimerPassed)          => A::Drop,
        (S::Held | S::Permitting,
                        K::TimerPassed)          => A::Wake,
        (S::Evicting,   K::TimerPassed)          => A::WakeEvicting,
        (S::Permitted | S::Observed,
                        K::TimerPassed)          => A::CloseIfStale,
        (S::Dropped | S::Closed,
                        K::TimerPassed)          => A::Ignore,

        (S::Permitting, K::CoaAcked)             => A::Lift,
        (S::Permitting, K::CoaNaked)             => A::CoaRefused,
        (S::Permitting, K::CoaUnanswered)        => A::CoaLost,
        (_, K::CoaAcked | K::CoaNaked | K::CoaUnanswered) => A::Ignore,

        (S::Evicting,   K::DisconnectAcked)      => A::AwaitStop,
        (S::Evicting,   K::DisconnectNaked)      => A::DisconnectRefused,
        (S::Evicting,   K::DisconnectUnanswered) => A::DisconnectLost,
        (_, K::DisconnectAcked | K::DisconnectNaked | K::DisconnectUnanswered) => A::Ignore,
    }
}
