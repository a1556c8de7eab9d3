//! Whole lives in a small world: a NAS with a state of its own, a lossy network, a person, an outbox, and crashes that
//! carry orders out and forget it. In the end the NAS must be where the person's answer says.

use proptest::prelude::*;

use super::*;

/// The NAS's side of one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Link {
    Up(Filter),
    Down,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filter {
    Sandbox,
    Permit,
}

/// What befalls the world next.
#[derive(Debug, Clone)]
enum Fate {
    /// The person presses (again).
    Press(Verdict),
    /// The oldest order is carried out and its outcome recorded.
    Work,
    /// The oldest order is carried out, then we die before its outcome is recorded.
    WorkAndCrash,
    /// The network eats the oldest order and its retransmissions.
    WorkInVain,
    /// Time passes.
    Wait(u64),
    /// The NAS repeats its Start, as if the answer was lost.
    StartAgain,
    /// Another node acts on the copy it read before our last change.
    StaleNode(Verdict),
}

struct World {
    session: Session,
    read_by_other_node: Session,
    outbox: Vec<Effect>,
    link: Link,
    now: u64,
    timing: Timing,
    answered: Option<(Verdict, bool)>,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            session: offer(SecondFactor::Required),
            read_by_other_node: offer(SecondFactor::Required),
            outbox: vec![],
            link: Link::Up(Filter::Sandbox),
            now: 0,
            timing: Timing::default(),
            answered: None,
        };
        world.commit(&Event::Accepted, None);
        world.commit(&Event::Started(report(0)), None);
        world
    }

    /// One transaction: the session, its orders, and the order it settles.
    fn commit(&mut self, event: &Event, settles: Option<&Effect>) -> Told {
        let from = self.session.clone();
        self.commit_from(&from, event, settles).expect("our own copy is the newest")
    }

    /// The same from any copy; the store refuses one that is not the newest.
    fn commit_from(&mut self, from: &Session, event: &Event, settles: Option<&Effect>) -> Option<Told> {
        let turn = step(from, event, at(self.now), &self.timing);
        if from.version != self.session.version {
            return None;
        }
        self.read_by_other_node = std::mem::replace(&mut self.session, turn.session);
        self.outbox.extend(turn.effects);
        if let Some(done) = settles
            && let Some(place) = self.outbox.iter().position(|order| order == done)
        {
            self.outbox.remove(place);
        }
        Some(turn.told)
    }

    fn fate(&mut self, fate: &Fate) {
        match fate {
            Fate::Press(verdict) => {
                let in_time = at(self.now) < self.session.deadline.unwrap();
                if self.commit(&press(*verdict), None) == Told::Done {
                    assert!(self.answered.is_none(), "a second answer counted");
                    self.answered = Some((*verdict, in_time));
                }
            }
            Fate::Work => self.work(true, true),
            Fate::WorkAndCrash => self.work(true, false),
            Fate::WorkInVain => self.work(false, true),
            Fate::Wait(secs) => self.wait(*secs),
            Fate::StartAgain => {
                self.commit(&Event::Started(report(0)), None);
            }
            Fate::StaleNode(verdict) => {
                let copy = self.read_by_other_node.clone();
                if let Some(Told::Done) = self.commit_from(&copy, &press(*verdict), None) {
                    assert!(self.answered.is_none(), "a second answer counted");
                    self.answered = Some((*verdict, at(self.now) < copy.deadline.unwrap()));
                }
            }
        }
    }

    fn hang_up(&mut self) {
        if self.link != Link::Down {
            self.link = Link::Down;
            self.commit(&Event::Stopped(report(self.now)), None);
        }
    }

    /// Time passes, and timers fire where they stand.
    fn wait(&mut self, secs: u64) {
        let until = self.now + secs;
        while let Some(wake) = self.session.wake_at(&self.timing) {
            let wake = u64::try_from(wake.as_secs() - at(0).as_secs()).unwrap();
            if wake > until {
                break;
            }
            self.now = self.now.max(wake);
            let before = self.session.version;
            self.commit(&Event::TimerPassed, None);
            if self.session.version == before {
                break;
            }
        }
        self.now = until;
    }

    fn work(&mut self, reaches_nas: bool, recorded: bool) {
        let Some(order) = self.outbox.first().cloned() else { return };
        if !self.session.wants(&order) {
            self.outbox.remove(0);
            return;
        }
        let outcome = match &order {
            Effect::AskApprover { approver } => Event::PromptSent { approver: *approver, reference: "7:1".into() },
            Effect::SendCoa { attempt } if !reaches_nas => Event::CoaUnanswered { attempt: *attempt },
            Effect::SendCoa { attempt } => match &mut self.link {
                Link::Up(filter) => {
                    *filter = Filter::Permit;
                    Event::CoaAcked { attempt: *attempt }
                }
                Link::Down => Event::CoaNaked { attempt: *attempt, error_cause: Some(503) },
            },
            Effect::SendDisconnect { attempt } if !reaches_nas => Event::DisconnectUnanswered { attempt: *attempt },
            Effect::SendDisconnect { attempt } => match self.link {
                Link::Up(_) => {
                    self.link = Link::Down;
                    Event::DisconnectAcked { attempt: *attempt }
                }
                Link::Down => Event::DisconnectNaked { attempt: *attempt, error_cause: Some(503) },
            },
            Effect::TellApprover { .. } | Effect::TellEnd { .. } | Effect::AlertOperator { .. } => {
                if recorded {
                    self.outbox.remove(0);
                }
                return;
            }
        };
        if recorded {
            self.commit(&outcome, Some(&order));
        }
    }
}

fn any_fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        1 => Just(Fate::Press(Verdict::Approved)),
        1 => Just(Fate::Press(Verdict::Denied)),
        4 => Just(Fate::Work),
        2 => Just(Fate::WorkAndCrash),
        2 => Just(Fate::WorkInVain),
        4 => (1u64..40).prop_map(Fate::Wait),
        1 => Just(Fate::StartAgain),
        1 => Just(Fate::StaleNode(Verdict::Approved)),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]

    #[test]
    fn the_nas_ends_where_the_answer_says(fates in prop::collection::vec(any_fate(), 0..40), hangs_up in prop::bool::weighted(0.2)) {
        let mut world = World::new();
        for fate in &fates {
            world.fate(fate);
            prop_assert!(
                world.link != Link::Up(Filter::Permit) || matches!(world.answered, Some((Verdict::Approved, true))),
                "lifted without a yes in time"
            );
        }
        if hangs_up {
            world.hang_up();
        }
        // From here the network is well and nobody presses any more.
        for _ in 0..400 {
            while !world.outbox.is_empty() {
                world.work(true, true);
            }
            if world.session.wake_at(&world.timing).is_none() {
                break;
            }
            world.wait(30);
        }
        prop_assert!(world.outbox.is_empty());
        match world.session.state {
            State::Permitted => {
                prop_assert_eq!(world.link, Link::Up(Filter::Permit));
                prop_assert!(matches!(world.answered, Some((Verdict::Approved, true))));
            }
            State::Closed => prop_assert_eq!(world.link, Link::Down),
            other => prop_assert!(false, "left in {}", other),
        }
        // A yes in time with the network well at the end lifts, unless the deadline passed on the way.
        if world.session.outcome == Some(Outcome::Permitted) {
            prop_assert!(matches!(world.answered, Some((Verdict::Approved, true))));
        }
    }
}
