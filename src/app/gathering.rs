//! What is done for many at once: whoever comes while it is done for others waits, and is taken in by the next turn with all who came
//! meanwhile. Nobody waits for others to come.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Those who wait, and how many are at work for them.
#[derive(Debug)]
pub(super) struct Gathering<T> {
    state: Mutex<State<T>>,
    /// In one turn.
    most: usize,
    /// Workers.
    at_once: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    at_work: usize,
}

impl<T> Gathering<T> {
    /// One with so many in a turn at most, and so many workers.
    pub(super) fn new(most: usize, at_once: usize) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { waiting: VecDeque::new(), at_work: 0 }), most, at_once })
    }

    /// Adds one. What comes back is for one more worker; `None` when there are enough.
    pub(super) fn add(self: &Arc<Self>, one: T) -> Option<Turns<T>> {
        let mut state = self.state();
        state.waiting.push_back(one);
        if state.at_work >= self.at_once {
            return None;
        }
        state.at_work += 1;
        Some(Turns { gathering: Arc::clone(self), over: false })
    }

    /// All who wait: nothing can be done for many at once.
    pub(super) fn disperse(&self) -> Vec<T> {
        std::mem::take(&mut self.state().waiting).into()
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turns of one worker.
#[derive(Debug)]
pub(super) struct Turns<T> {
    gathering: Arc<Gathering<T>>,
    over: bool,
}

impl<T> Turns<T> {
    /// Whose turn it is, in the order in which they came; nobody when none wait: then this worker's turns are over.
    pub(super) fn next(&mut self) -> Vec<T> {
        let mut state = self.gathering.state();
        let most = state.waiting.len().min(self.gathering.most);
        if most == 0 && !std::mem::replace(&mut self.over, true) {
            state.at_work -= 1;
        }
        state.waiting.drain(..most).collect()
    }
}

impl<T> Drop for Turns<T> {
    /// A worker that ended early was the last one: those who wait would wait for ever, and are given up.
    fn drop(&mut self) {
        if self.over {
            return;
        }
        let mut state = self.gathering.state();
        state.at_work -= 1;
        if state.at_work == 0 {
            let given_up = std::mem::take(&mut state.waiting);
            drop((state, given_up));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_who_came_meanwhile_have_their_turn_together() {
        let gathering = Gathering::new(3, 2);
        let mut first = gathering.add(0).unwrap();
        assert_eq!(first.next(), [0]);
        let mut second = gathering.add(1).unwrap();
        assert!((2..6).all(|one| gathering.add(one).is_none()), "two are at work");
        assert_eq!((first.next(), second.next(), first.next()), (vec![1, 2, 3], vec![4, 5], vec![]));
        let mut third = gathering.add(6).unwrap();
        assert!(gathering.add(7).is_none());
        assert_eq!((second.next(), second.next(), third.next()), (vec![6, 7], vec![], vec![]));
        assert_eq!(gathering.state().at_work, 0);
    }

    #[test]
    fn whoever_waits_for_a_worker_that_ends_early_is_given_up() {
        let gathering = Gathering::new(3, 2);
        let one = Arc::new(());
        let [first, second] = [(); 2].map(|()| gathering.add(Arc::clone(&one)).unwrap());
        assert!(gathering.add(Arc::clone(&one)).is_none());
        drop(first);
        assert_eq!(Arc::strong_count(&one), 4, "there is another");
        drop(second);
        assert_eq!(Arc::strong_count(&one), 1);
        assert_eq!(gathering.add(one).unwrap().next().len(), 1, "who comes next is as the first");
    }

    #[test]
    fn those_who_wait_can_be_sent_away() {
        let gathering = Gathering::new(3, 1);
        let mut turns = gathering.add(0).unwrap();
        assert!((1..9).all(|one| gathering.add(one).is_none()));
        assert_eq!(gathering.disperse(), (0..9).collect::<Vec<_>>());
        assert!(turns.next().is_empty());
    }
}
