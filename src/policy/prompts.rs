//! Push fatigue: whether somebody may be asked (again), and whose prompt makes way for theirs.
//!
//! Three guards, in this order: a limit of prompts an hour that nobody confirmed, a rest after a "not me", and one open prompt
//! for a user on a NAS. Whoever has only the password must not be able to use them to lock the owner out: where the owner is known
//! (as `lockout` knows places), prompts from elsewhere count nothing, and a login takes the place of whatever waits. Never sees a
//! password, and keeps nothing: what other nodes asked is merged in from outside.

use std::collections::BTreeMap;

use super::guards::{Guards, HOUR};
use crate::model::{NasName, SessionId, Timestamp, UserName};

/// A question to somebody's own device about a login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prompt {
    /// The session it is about.
    pub session: SessionId,
    /// User-Name: whose device.
    pub user: UserName,
    /// The NAS.
    pub nas: NasName,
    /// The caller's [`super::Caller::key`]; empty where the NAS does not say.
    pub caller: String,
    /// NAS-Port or NAS-Port-Id, where the NAS says.
    pub port: Option<String>,
    /// When the login was accepted.
    pub at: Timestamp,
    /// When it ends by itself.
    pub deadline: Timestamp,
    /// How it ended.
    pub end: Option<PromptEnd>,
}

/// How and when a prompt ended before its deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PromptEnd {
    /// When.
    pub at: Timestamp,
    /// How.
    pub fate: PromptFate,
}

/// How a prompt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptFate {
    /// Somebody said yes.
    Confirmed,
    /// Somebody said no.
    Denied,
    /// Otherwise: nobody answered, the caller left, or a newer login took its place.
    Over,
}

impl PromptFate {
    /// The word in tables.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Confirmed => "confirmed",
            Self::Denied => "denied",
            Self::Over => "over",
        }
    }
}

impl std::str::FromStr for PromptFate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let all = [Self::Confirmed, Self::Denied, Self::Over];
        all.into_iter().find(|fate| fate.as_str() == text).ok_or_else(|| format!("no prompt ends {text:?}"))
    }
}

/// Why somebody is not asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fatigue {
    /// Too many prompts were not confirmed within the hour.
    TooMany,
    /// A login was denied a moment ago; until then nobody is asked.
    CoolDown(Timestamp),
    /// Another login waits for an answer, until then at the latest.
    Waiting(Timestamp),
}

/// What one node knows of prompts of the last hour. Bounded: when full, the oldest are forgotten.
#[derive(Debug)]
pub struct Prompts {
    most: usize,
    count: usize,
    users: BTreeMap<UserName, Vec<Prompt>>,
}

impl Prompts {
    /// Knows none; at most so many will be.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(8), count: 0, users: BTreeMap::new() }
    }

    /// Whether this prompt may go out: then it counts from now on, and takes the place of those named. `unique_port` says whether its
    /// NAS has one session to a port at a time; `known` whether the user is known to be at a caller.
    ///
    /// # Errors
    /// [`Fatigue`] when nobody is to be asked. Nothing has changed then.
    pub fn admit(
        &mut self,
        prompt: Prompt,
        unique_port: bool,
        guards: &Guards,
        known: impl Fn(&str) -> bool,
        now: Timestamp,
    ) -> Result<Vec<SessionId>, Fatigue> {
        let at_home = |caller: &str| !caller.is_empty() && known(caller);
        let home = at_home(&prompt.caller);
        let others = self.users.get(&prompt.user).map(Vec::as_slice).unwrap_or_default();
        // At home only what came from there counts; elsewhere all but what came from a home.
        let counts = |other: &&Prompt| if home { other.caller == prompt.caller } else { !at_home(&other.caller) };
        let unconfirmed =
            others.iter().filter(counts).filter(|other| other.is_unconfirmed() && other.is_of_this_hour(now));
        let limit = usize::try_from(guards.prompts_per_hour).unwrap_or(usize::MAX);
        if limit > 0 && unconfirmed.count() >= limit {
            return Err(Fatigue::TooMany);
        }
        // A "not me" keeps strangers out wherever it was said about.
        let denied = others.iter().filter(|other| !home || other.caller == prompt.caller).filter_map(Prompt::denied_at);
        let rest = denied.max().map(|at| at + guards.cool_down);
        if let Some(until) = rest.filter(|until| now < *until) {
            return Err(Fatigue::CoolDown(until));
        }
        let mut superseded = Vec::new();
        if guards.one_prompt {
            let open: Vec<_> = others.iter().filter(|other| other.nas == prompt.nas && other.is_open(now)).collect();
            let in_the_way = open.iter().filter(|other| !home && !prompt.is_again(other, unique_port));
            if let Some(until) = in_the_way.map(|other| other.deadline).max() {
                return Err(Fatigue::Waiting(until));
            }
            superseded.extend(open.iter().map(|other| other.session));
        }
        for other in self.users.entry(prompt.user.clone()).or_default() {
            if superseded.contains(&other.session) {
                other.end = Some(PromptEnd { at: now, fate: PromptFate::Over });
            }
        }
        self.heard([prompt]);
        Ok(superseded)
    }

    /// A prompt that was admitted does not go out after all, and those that made way for it go on.
    pub fn withdraw(&mut self, user: &UserName, session: SessionId, superseded: &[SessionId]) {
        if let Some(prompts) = self.users.get_mut(user) {
            for prompt in prompts.iter_mut().filter(|prompt| superseded.contains(&prompt.session)) {
                prompt.end = None;
            }
            let before = prompts.len();
            prompts.retain(|prompt| prompt.session != session);
            self.count -= before - prompts.len();
        }
    }

    /// Takes over what the store says of prompts. Once ended, a prompt stays so.
    pub fn heard(&mut self, prompts: impl IntoIterator<Item = Prompt>) {
        for prompt in prompts {
            let of_user = self.users.entry(prompt.user.clone()).or_default();
            match of_user.iter_mut().find(|known| known.session == prompt.session) {
                Some(known) => *known = Prompt { end: prompt.end.or(known.end), ..prompt },
                None => {
                    of_user.push(prompt);
                    self.count += 1;
                }
            }
        }
        self.stay_bounded();
    }

    /// Forgets what can matter no more.
    pub fn forget(&mut self, now: Timestamp) {
        self.retain(|prompt| prompt.is_of_this_hour(now) || prompt.is_open(now) || prompt.ended_within_an_hour(now));
    }

    fn retain(&mut self, keep: impl Fn(&Prompt) -> bool) {
        self.users.retain(|_, prompts| {
            prompts.retain(&keep);
            !prompts.is_empty()
        });
        self.count = self.users.values().map(Vec::len).sum();
    }

    /// Half of them go at a time, so that this is seldom.
    fn stay_bounded(&mut self) {
        if self.count > self.most {
            let mut times: Vec<Timestamp> = self.users.values().flatten().map(|prompt| prompt.at).collect();
            let middle = times.len() / 2;
            let oldest = *times.select_nth_unstable(middle).1;
            self.retain(|prompt| prompt.at > oldest);
        }
    }
}

impl Prompt {
    fn is_open(&self, now: Timestamp) -> bool {
        self.end.is_none() && now < self.deadline
    }

    fn is_unconfirmed(&self) -> bool {
        self.end.is_none_or(|end| end.fate != PromptFate::Confirmed)
    }

    fn is_of_this_hour(&self, now: Timestamp) -> bool {
        now.since(self.at) < HOUR
    }

    fn ended_within_an_hour(&self, now: Timestamp) -> bool {
        self.end.is_some_and(|end| now.since(end.at) < HOUR)
    }

    fn denied_at(&self) -> Option<Timestamp> {
        self.end.filter(|end| end.fate == PromptFate::Denied).map(|end| end.at)
    }

    /// Whether this is the same caller dialling again.
    fn is_again(&self, earlier: &Self, unique_port: bool) -> bool {
        let same_port = unique_port && self.port.is_some() && self.port == earlier.port;
        same_port || (!self.caller.is_empty() && self.caller == earlier.caller)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;

    const HOME: &str = "198.51.100.10";
    const HOTEL: &str = "192.0.2.20";
    const EVIL: &str = "203.0.113.66";
    const WINDOW: u64 = 120;

    fn secs(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_795_000_000) + Duration::from_secs(secs)
    }

    fn session(number: u64) -> SessionId {
        SessionId(Uuid::from_u128(u128::from(number)))
    }

    fn prompt(number: u64, at: u64, caller: &str) -> Prompt {
        Prompt {
            session: session(number),
            user: "alice".into(),
            nas: "edge".into(),
            caller: caller.into(),
            port: None,
            at: secs(at),
            deadline: secs(at + WINDOW),
            end: None,
        }
    }

    fn ended(number: u64, asked: u64, caller: &str, at: u64, fate: PromptFate) -> Prompt {
        Prompt { end: Some(PromptEnd { at: secs(at), fate }), ..prompt(number, asked, caller) }
    }

    fn home(caller: &str) -> bool {
        caller == HOME
    }

    fn admit(prompts: &mut Prompts, prompt: Prompt) -> Result<Vec<SessionId>, Fatigue> {
        let now = prompt.at;
        prompts.admit(prompt, false, &Guards::default(), home, now)
    }

    #[test]
    fn a_second_login_waits_for_the_first_unless_it_is_the_same_dialling_again() {
        let mut prompts = Prompts::new(100);
        assert_eq!(admit(&mut prompts, prompt(1, 0, HOTEL)), Ok(vec![]));
        assert_eq!(admit(&mut prompts, prompt(2, 5, EVIL)), Err(Fatigue::Waiting(secs(WINDOW))));
        assert_eq!(admit(&mut prompts, prompt(3, 6, "")), Err(Fatigue::Waiting(secs(WINDOW))));
        assert_eq!(admit(&mut prompts, prompt(4, 7, HOTEL)), Ok(vec![session(1)]), "dialled again");
        let elsewhere = Prompt { nas: "core".into(), ..prompt(5, 8, EVIL) };
        assert_eq!(admit(&mut prompts, elsewhere), Ok(vec![]), "another NAS");
        assert_eq!(admit(&mut prompts, prompt(6, 7 + WINDOW, EVIL)), Ok(vec![]), "the other one has run out");
    }

    #[test]
    fn a_port_tells_who_dials_again_only_where_ports_are_unique() {
        let at_port = |number, at| Prompt { port: Some("7".into()), ..prompt(number, at, "") };
        for (unique, told) in [(true, Ok(vec![session(1)])), (false, Err(Fatigue::Waiting(secs(WINDOW))))] {
            let mut prompts = Prompts::new(100);
            prompts.heard([at_port(1, 0)]);
            assert_eq!(prompts.admit(at_port(2, 3), unique, &Guards::default(), home, secs(3)), told);
        }
    }

    #[test]
    fn the_owner_at_home_is_asked_whatever_a_stranger_does() {
        let mut prompts = Prompts::new(100);
        for number in 0..10 {
            let at = number * 70;
            let denied = ended(number, at, EVIL, at + 5, PromptFate::Denied);
            assert_eq!(admit(&mut prompts, Prompt { end: None, ..denied.clone() }), Ok(vec![]), "{number}");
            prompts.heard([denied]);
            if number < 9 {
                let rest = Err(Fatigue::CoolDown(secs(at + 65)));
                assert_eq!(admit(&mut prompts, prompt(100 + number, at + 6, HOTEL)), rest);
            }
        }
        assert_eq!(admit(&mut prompts, prompt(20, 700, EVIL)), Err(Fatigue::TooMany));
        assert_eq!(admit(&mut prompts, prompt(21, 700, HOTEL)), Err(Fatigue::TooMany), "nobody knows who that is");
        assert_eq!(admit(&mut prompts, prompt(22, 701, HOME)), Ok(vec![]));
        assert_eq!(admit(&mut prompts, prompt(23, 3601, EVIL)), Ok(vec![]), "the first is an hour ago");
        assert_eq!(
            admit(&mut prompts, prompt(24, 3602, HOME)),
            Ok(vec![session(23)]),
            "home takes the stranger's place"
        );
        prompts.heard([ended(24, 3602, HOME, 3610, PromptFate::Denied)]);
        assert_eq!(
            admit(&mut prompts, prompt(25, 3611, HOME)),
            Err(Fatigue::CoolDown(secs(3670))),
            "what was denied came from home itself"
        );
    }

    #[test]
    fn who_confirms_is_asked_as_often_as_the_line_drops() {
        let mut prompts = Prompts::new(100);
        for number in 0..50 {
            let at = number * 30;
            assert_eq!(admit(&mut prompts, prompt(number, at, HOTEL)), Ok(vec![]), "{number}");
            prompts.heard([ended(number, at, HOTEL, at + 10, PromptFate::Confirmed)]);
        }
    }

    #[test]
    fn a_row_read_late_does_not_open_what_has_ended() {
        let mut prompts = Prompts::new(100);
        prompts.heard([ended(1, 0, HOTEL, 3, PromptFate::Over)]);
        prompts.heard([prompt(1, 0, HOTEL)]);
        assert_eq!(admit(&mut prompts, prompt(2, 5, EVIL)), Ok(vec![]));
    }

    #[test]
    fn who_made_way_for_what_was_not_sent_is_still_waiting() {
        let mut prompts = Prompts::new(100);
        assert_eq!(admit(&mut prompts, prompt(1, 0, HOTEL)), Ok(vec![]));
        let superseded = admit(&mut prompts, prompt(2, 1, HOTEL)).unwrap();
        prompts.withdraw(&"alice".into(), session(2), &superseded);
        assert_eq!(admit(&mut prompts, prompt(3, 2, EVIL)), Err(Fatigue::Waiting(secs(WINDOW))));
    }

    #[test]
    fn what_was_admitted_and_not_sent_counts_nothing_and_the_old_are_forgotten() {
        let mut prompts = Prompts::new(100);
        assert_eq!(admit(&mut prompts, prompt(1, 0, HOTEL)), Ok(vec![]));
        prompts.withdraw(&"alice".into(), session(1), &[]);
        assert_eq!(admit(&mut prompts, prompt(2, 1, EVIL)), Ok(vec![]));
        assert_eq!(prompts.count, 1);
        prompts.forget(secs(3602));
        assert_eq!((prompts.count, prompts.users.len()), (0, 0));
        for number in 0..1000 {
            prompts.heard([prompt(number, number, HOTEL)]);
            assert!(prompts.count <= 100);
        }
    }

    /// What happens to one user, in order.
    #[derive(Debug, Clone)]
    enum Happening {
        Login { caller: usize, nas: usize },
        Answer { nth: usize, fate: PromptFate },
    }

    fn happening() -> impl Strategy<Value = Happening> {
        let fates = vec![PromptFate::Confirmed, PromptFate::Denied, PromptFate::Over];
        prop_oneof![
            3 => (0..4_usize, 0..2_usize).prop_map(|(caller, nas)| Happening::Login { caller, nas }),
            1 => (0..8_usize, prop::sample::select(fates)).prop_map(|(nth, fate)| Happening::Answer { nth, fate }),
        ]
    }

    proptest! {
        /// Beside the plainest counts there are.
        #[test]
        fn no_guard_lets_more_through_than_it_says(
            happenings in prop::collection::vec((happening(), 0_u64..200), 1..120),
            limit in 1_u32..6,
            cool_down in 0_u64..300,
        ) {
            let guards = Guards {
                prompts_per_hour: limit, cool_down: Duration::from_secs(cool_down), ..Guards::default()
            };
            let callers = [HOME, HOTEL, EVIL, ""];
            let mut prompts = Prompts::new(10_000);
            let mut sent: Vec<Prompt> = Vec::new();
            let mut now = 0;
            for (number, (happening, later)) in happenings.into_iter().enumerate() {
                now += later;
                match happening {
                    Happening::Answer { nth, fate } => {
                        let open = sent.iter_mut().rev().filter(|prompt| prompt.is_open(secs(now))).nth(nth);
                        if let Some(prompt) = open {
                            prompt.end = Some(PromptEnd { at: secs(now), fate });
                            prompts.heard([prompt.clone()]);
                        }
                    }
                    Happening::Login { caller, nas } => {
                        let nas = ["edge", "core"][nas].into();
                        let asked = Prompt { nas, ..prompt(number as u64, now, callers[caller]) };
                        let Ok(superseded) = prompts.admit(asked.clone(), false, &guards, home, secs(now)) else { continue };
                        for other in &mut sent {
                            if superseded.contains(&other.session) {
                                prop_assert!(other.is_open(secs(now)));
                                other.end = Some(PromptEnd { at: secs(now), fate: PromptFate::Over });
                            }
                        }
                        sent.push(asked.clone());
                        let of_lane = || sent.iter().filter(|other| home(&other.caller) == home(&asked.caller));
                        let unconfirmed = of_lane().filter(|other| other.is_unconfirmed() && other.is_of_this_hour(secs(now)));
                        prop_assert!(unconfirmed.count() <= limit as usize, "over the limit");
                        let open = sent.iter().filter(|other| other.nas == asked.nas && other.is_open(secs(now)));
                        prop_assert_eq!(open.count(), 1, "one open prompt for a user on a NAS");
                        let rested = of_lane().filter_map(Prompt::denied_at).all(|at| secs(now).since(at) >= guards.cool_down);
                        prop_assert!(rested, "asked again too soon after a no");
                    }
                }
                prompts.forget(secs(now));
            }
        }
    }
}
