//! Which servers are believed to be there, and in which order they are asked. Pure: it is given `now`, and knows neither
//! packets nor addresses.

use crate::model::Timestamp;

/// What is believed of each of a number of servers, which go by their place in the list.
#[derive(Debug)]
pub struct Health {
    servers: Vec<State>,
}

#[derive(Debug, Clone, Copy, Default)]
struct State {
    /// When it last gave a reply that could be verified.
    heard: Option<Timestamp>,
    /// Since when a request of ours has gone unanswered.
    silent_since: Option<Timestamp>,
}

impl Health {
    /// So many servers, all of them believed to be there.
    pub fn new(servers: usize) -> Self {
        Self { servers: vec![State::default(); servers] }
    }

    /// The order to ask in: those believed to be there as they are listed, then the silent ones. Nobody is left out: when
    /// all are silent, one of them may be back.
    pub fn order(&self) -> Vec<usize> {
        let mut order: Vec<_> = (0..self.servers.len()).collect();
        order.sort_by_key(|&server| self.is_silent(server));
        order
    }

    /// Notes a verified reply; true when the server was silent before.
    pub fn heard(&mut self, server: usize, now: Timestamp) -> bool {
        let Some(state) = self.servers.get_mut(server) else { return false };
        state.heard = Some(now);
        state.silent_since.take().is_some()
    }

    /// Notes that a request sent at `asked` was not answered in time; true when the server is silent from now on. One that
    /// answered somebody else meanwhile is not silent: it had its reasons.
    pub fn unanswered(&mut self, server: usize, asked: Timestamp, now: Timestamp) -> bool {
        let Some(state) = self.servers.get_mut(server) else { return false };
        if state.silent_since.is_some() || state.heard.is_some_and(|heard| heard >= asked) {
            return false;
        }
        state.silent_since = Some(now);
        true
    }

    /// Whether a server is believed to be silent.
    pub fn is_silent(&self, server: usize) -> bool {
        self.servers.get(server).is_some_and(|state| state.silent_since.is_some())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    #[test]
    fn the_silent_are_asked_last_and_nobody_is_left_out() {
        let mut health = Health::new(3);
        assert_eq!(health.order(), [0, 1, 2]);
        assert!(health.unanswered(0, at(0), at(3)));
        assert_eq!(health.order(), [1, 2, 0]);
        assert!(health.unanswered(1, at(3), at(6)) && health.unanswered(2, at(6), at(9)));
        assert_eq!(health.order(), [0, 1, 2], "all silent: as listed");
        assert!(health.heard(0, at(10)));
        assert_eq!(health.order(), [0, 1, 2]);
        assert!(health.is_silent(1) && !health.is_silent(0));
    }

    #[test]
    fn who_answered_somebody_else_meanwhile_is_there() {
        let mut health = Health::new(1);
        health.heard(0, at(2));
        assert!(!health.unanswered(0, at(1), at(4)), "heard after the request was sent");
        assert!(health.unanswered(0, at(3), at(6)));
        assert!(!health.unanswered(0, at(4), at(7)), "said once");
        assert!(health.heard(0, at(8)) && !health.heard(0, at(9)), "said once");
    }

    #[test]
    fn a_server_that_is_not_there_is_nobody() {
        let mut health = Health::new(0);
        assert!(!health.heard(0, at(0)) && !health.unanswered(0, at(0), at(1)) && !health.is_silent(0));
        assert!(health.order().is_empty());
    }
}
