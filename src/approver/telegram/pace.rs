//! When the next message may go out: within the limits Telegram publishes, and after the wait it asks for.
//!
//! A message takes a place among all and the place of its chat, and gives each back its time *after* it was answered. So whatever
//! the network does to the distance between two of them, no more arrive within that time than there are places. Prompts go before
//! notices, but for one turn in some. Knows no text; reads a monotonic clock alone.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use crate::approver::AskError;

/// How long a message waits for its turn before whoever sends it is told to come again.
const PATIENCE: Duration = Duration::from_secs(20);
/// A wait asked for that is longer than this is not waited for here.
const SHORT: Duration = Duration::from_secs(2);
/// One turn in so many goes to a notice first, so that prompts without end do not silence all else.
const NOTICES: u64 = 5;
/// Two chats that are refused within this time mean that the bot is, and not the chat.
const TOGETHER: Duration = Duration::from_secs(5);

/// How many messages in what time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// In all, within `period`.
    pub messages: u32,
    /// For how long a message counts against all.
    pub period: Duration,
    /// For how long it counts against its chat.
    pub chat: Duration,
    /// The same, where the chat is a group.
    pub group: Duration,
}

impl Default for Pace {
    /// What Telegram publishes: 30 messages a second in all, one a second in a chat, 20 a minute in a group.
    fn default() -> Self {
        let second = Duration::from_secs(1);
        Self { messages: 30, period: second, chat: second, group: second * 3 }
    }
}

/// Who goes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Urgency {
    /// Somebody's session waits for it.
    Prompt,
    /// Anything else.
    Notice,
}

/// Where messages wait.
#[derive(Debug, Clone)]
pub(super) struct Gate(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pace: Pace,
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    places: usize,
    taken: usize,
    /// Messages that count against each chat, and waits that were asked for it.
    chats: BTreeMap<i64, usize>,
    held: BTreeMap<i64, Instant>,
    paused_until: Option<Instant>,
    refused: Option<(i64, Instant)>,
    waiting: [VecDeque<Waiter>; 2],
    /// Turns given.
    turns: u64,
}

#[derive(Debug)]
struct Waiter {
    chat: i64,
    go: oneshot::Sender<Turn>,
}

/// A place, to be kept until the message was answered.
#[derive(Debug)]
pub(super) struct Turn {
    gate: Gate,
    chat: i64,
}

impl Gate {
    pub(super) fn new(pace: Pace) -> Self {
        Self::with_patience(pace, PATIENCE)
    }

    fn with_patience(pace: Pace, patience: Duration) -> Self {
        let state = State {
            places: places(pace.messages, 1),
            taken: 0,
            chats: BTreeMap::new(),
            held: BTreeMap::new(),
            paused_until: None,
            refused: None,
            waiting: [VecDeque::new(), VecDeque::new()],
            turns: 0,
        };
        Self(Arc::new(Inner { pace, patience, state: Mutex::new(state) }))
    }

    /// From now on so many nodes send with the same token, and share the limit.
    pub(super) fn share_among(&self, nodes: usize) {
        let mut state = self.lock();
        state.places = places(self.0.pace.messages, nodes);
        drop(state);
        self.admit();
    }

    /// Waits for a turn.
    ///
    /// # Errors
    /// [`AskError::Later`] when that takes too long.
    pub(super) async fn turn(&self, chat: i64, urgency: Urgency) -> Result<Turn, AskError> {
        let busy = |after| AskError::Later { after, reason: "Telegram's limits are used up".to_owned() };
        let turn = {
            let mut state = self.lock();
            let now = Instant::now();
            let until = state.held.get(&chat).copied().max(state.paused_until);
            let wait = until.map_or(Duration::ZERO, |until| until.saturating_duration_since(now));
            if wait > SHORT {
                return Err(busy(Some(wait)));
            }
            let (go, turn) = oneshot::channel();
            state.waiting[urgency as usize].push_back(Waiter { chat, go });
            turn
        };
        self.admit();
        match tokio::time::timeout(self.0.patience, turn).await {
            Ok(Ok(turn)) => Ok(turn),
            Ok(Err(_)) | Err(_) => Err(busy(None)),
        }
    }

    /// Telegram wants nothing more for that chat, or at all, for so long.
    pub(super) fn refused(&self, chat: i64, wait: Duration) {
        let until = Instant::now() + wait;
        {
            let mut state = self.lock();
            let elsewhere = state.refused.is_some_and(|(other, at)| other != chat && at.elapsed() < TOGETHER);
            state.refused = Some((chat, Instant::now()));
            state.held.insert(chat, until);
            if elsewhere {
                state.paused_until = state.paused_until.max(Some(until));
            }
        }
        let gate = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep_until(until).await;
            gate.admit();
        });
    }

    /// Gives turns to all who may have one, in order.
    fn admit(&self) {
        let mut state = self.lock();
        let now = Instant::now();
        state.held.retain(|_, until| *until > now);
        state.paused_until = state.paused_until.filter(|until| *until > now);
        if state.paused_until.is_some() {
            return;
        }
        let mut ready = Vec::new();
        while state.taken < state.places {
            let order = if state.turns % NOTICES == NOTICES - 1 { [1, 0] } else { [0, 1] };
            let Some(waiter) = order.into_iter().find_map(|urgency| state.next(urgency)) else { break };
            state.taken += 1;
            state.turns += 1;
            *state.chats.entry(waiter.chat).or_default() += 1;
            ready.push(waiter);
        }
        drop(state);
        for waiter in ready {
            // When nobody waits any more, dropping the turn gives it back.
            drop(waiter.go.send(Turn { gate: self.clone(), chat: waiter.chat }));
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl State {
    /// Takes the first who may go now from those that wait, and forgets those that wait no more.
    fn next(&mut self, urgency: usize) -> Option<Waiter> {
        let (chats, held) = (&self.chats, &self.held);
        self.waiting[urgency].retain(|waiter| !waiter.go.is_closed());
        let free = |waiter: &Waiter| !chats.contains_key(&waiter.chat) && !held.contains_key(&waiter.chat);
        let at = self.waiting[urgency].iter().position(free)?;
        self.waiting[urgency].remove(at)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let (gate, chat) = (self.gate.clone(), self.chat);
        let pace = gate.0.pace;
        let for_chat = if chat < 0 { pace.group } else { pace.chat };
        runtime.spawn(async move {
            let done = Instant::now();
            let mut steps = [(pace.period, None), (for_chat, Some(chat))];
            steps.sort_by_key(|(after, _)| *after);
            for (after, of) in steps {
                tokio::time::sleep_until(done + after).await;
                gate.give_back(of);
                gate.admit();
            }
        });
    }
}

impl Gate {
    fn give_back(&self, chat: Option<i64>) {
        let mut state = self.lock();
        match chat {
            None => state.taken = state.taken.saturating_sub(1),
            Some(chat) => {
                let left = state.chats.get(&chat).map_or(0, |count| count.saturating_sub(1));
                if left == 0 {
                    state.chats.remove(&chat);
                } else {
                    state.chats.insert(chat, left);
                }
            }
        }
    }
}

fn places(messages: u32, nodes: usize) -> usize {
    (usize::try_from(messages).unwrap_or(usize::MAX) / nodes.max(1)).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Telegram's second, made short. A slow machine makes what is measured longer, never shorter.
    const SECOND: Duration = Duration::from_millis(100);
    const PACE: Pace = Pace { messages: 30, period: SECOND, chat: SECOND, group: Duration::from_millis(300) };

    /// Sends at once to these chats, and gives when each went out, in the order of going.
    async fn sent(gate: &Gate, messages: impl IntoIterator<Item = (i64, Urgency)>) -> Vec<(Duration, i64)> {
        let begun = Instant::now();
        let mut tasks = tokio::task::JoinSet::new();
        for (chat, urgency) in messages {
            let gate = gate.clone();
            tasks.spawn(async move {
                let turn = gate.turn(chat, urgency).await.unwrap();
                let at = begun.elapsed();
                drop(turn);
                (at, chat)
            });
            // In this order.
            tokio::task::yield_now().await;
        }
        let mut all = tasks.join_all().await;
        all.sort();
        all
    }

    #[tokio::test]
    async fn no_second_sees_more_than_the_limit() {
        let gate = Gate::new(PACE);
        let sent = sent(&gate, (1..=300).map(|chat| (chat, Urgency::Prompt))).await;
        assert_eq!(sent.len(), 300);
        for window in sent.windows(31) {
            assert!(window[30].0 - window[0].0 >= SECOND, "{window:?}");
        }
    }

    #[tokio::test]
    async fn a_chat_gets_one_a_second_and_a_group_twenty_a_minute() {
        let gate = Gate::new(PACE);
        let all = (0..4).flat_map(|_| [(7, Urgency::Notice), (-7, Urgency::Notice)]);
        let sent = sent(&gate, all).await;
        for (chat, apart) in [(7, SECOND), (-7, SECOND * 3)] {
            let times: Vec<_> = sent.iter().filter(|(_, of)| *of == chat).map(|(at, _)| *at).collect();
            assert!(times.windows(2).all(|pair| pair[1] - pair[0] >= apart), "{chat}: {times:?}");
        }
    }

    #[tokio::test]
    async fn prompts_go_before_notices() {
        let gate = Gate::new(Pace { messages: 1, ..PACE });
        let all = [(1, Urgency::Notice), (2, Urgency::Notice), (3, Urgency::Prompt)];
        let order: Vec<_> = sent(&gate, all).await.into_iter().map(|(_, chat)| chat).collect();
        assert_eq!(order, [1, 3, 2], "the first had gone already");
    }

    #[tokio::test]
    async fn prompts_without_end_do_not_silence_notices() {
        let gate = Gate::new(Pace { messages: 1, period: SECOND / 10, ..PACE });
        let prompts = (1..=20).map(|chat| (chat, Urgency::Prompt));
        let order = sent(&gate, prompts.chain([(99, Urgency::Notice)])).await;
        let place = order.iter().position(|(_, chat)| *chat == 99).unwrap();
        assert!(place < 6, "{order:?}");
    }

    #[tokio::test]
    async fn a_wait_that_was_asked_for_is_kept_and_two_chats_mean_all() {
        let gate = Gate::new(PACE);
        gate.refused(1, Duration::from_secs(60));
        let later = gate.turn(1, Urgency::Prompt).await.unwrap_err();
        assert!(
            matches!(later, AskError::Later { after: Some(wait), .. } if wait > Duration::from_secs(30)),
            "{later:?}"
        );
        drop(gate.turn(2, Urgency::Prompt).await.expect("another chat goes on"));
        gate.refused(2, SECOND * 2);
        let begun = Instant::now();
        drop(gate.turn(3, Urgency::Prompt).await.expect("a short wait is waited for"));
        assert!(begun.elapsed() >= SECOND * 2);
    }

    #[tokio::test]
    async fn who_waits_no_more_takes_no_turn_and_who_waits_too_long_comes_again() {
        let pace = Pace { messages: 1, period: SECOND * 5, ..PACE };
        let gate = Gate::with_patience(pace, SECOND);
        drop(gate.turn(1, Urgency::Prompt).await.unwrap());
        assert!(tokio::time::timeout(SECOND / 2, gate.turn(2, Urgency::Prompt)).await.is_err());
        assert!(matches!(gate.turn(3, Urgency::Prompt).await, Err(AskError::Later { after: None, .. })));
        tokio::time::sleep(pace.period).await;
        drop(gate.turn(4, Urgency::Prompt).await.expect("those who left took nothing"));
    }

    #[tokio::test]
    async fn nodes_share_the_limit() {
        let gate = Gate::new(PACE);
        gate.share_among(3);
        let sent = sent(&gate, (1..=40).map(|chat| (chat, Urgency::Prompt))).await;
        assert!(sent.windows(11).all(|window| window[10].0 - window[0].0 >= SECOND), "{sent:?}");
    }
}
