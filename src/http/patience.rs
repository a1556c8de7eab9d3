//! How much one address may ask: whoever hammers at the portal must not load the store.
//!
//! Looks are shared: within a second an address is answered from the last one, and of several requests at once one looks. Codes
//! are counted before anybody looks at them. Of fixed size; never knows what was seen.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Seen;
use crate::listener::one_host;
use crate::telemetry;

/// How long what was seen is shown again.
const FRESH: Duration = Duration::from_secs(1);
/// Addresses remembered at once.
const ROOM: usize = 20_000;
/// How long an address is remembered that asks for nothing.
const FORGET: Duration = Duration::from_secs(30);
/// How often such addresses are forgotten: not with each request of a crowd.
const TIDY: Duration = Duration::from_secs(5);
/// Codes in a row, and how long until there may be one more.
const CODES: u32 = 5;
/// See [`CODES`].
const CODE_EVERY: Duration = Duration::from_secs(10);

/// Everybody who asked lately.
#[derive(Debug, Default)]
pub(super) struct Visitors {
    looks: Mutex<Looks>,
    /// When an address will have had no code for long enough.
    codes: Mutex<HashMap<IpAddr, Instant>>,
}

#[derive(Debug, Default)]
struct Looks {
    by_address: HashMap<IpAddr, Arc<Look>>,
    /// When those were last forgotten who ask no more.
    tidied_at: Option<Instant>,
}

#[derive(Debug)]
struct Look {
    asked_at: Mutex<Instant>,
    /// Locked while somebody looks.
    seen: tokio::sync::Mutex<Option<(Instant, Seen)>>,
}

impl Visitors {
    /// What was seen at an address within the last second, else what `look` sees now.
    pub(super) async fn see<F: Future<Output = Seen>>(&self, address: IpAddr, look: impl FnOnce() -> F) -> Seen {
        let Some(place) = self.place(address) else {
            telemetry::count("portal.crowded");
            return Seen::Away;
        };
        let mut seen = place.seen.lock().await;
        if let Some((at, seen)) = &*seen
            && at.elapsed() < FRESH
        {
            return seen.clone();
        }
        let now = look().await;
        *seen = Some((Instant::now(), now.clone()));
        now
    }

    /// Has the next one look anew.
    pub(super) fn forget(&self, address: IpAddr) {
        lock(&self.looks).by_address.remove(&address);
    }

    /// Whether one more code may be tried; it counts then.
    pub(super) fn may_post(&self, address: IpAddr) -> bool {
        self.may_post_at(address, Instant::now())
    }

    fn may_post_at(&self, address: IpAddr, now: Instant) -> bool {
        let host = one_host(address);
        let mut codes = lock(&self.codes);
        if codes.len() >= ROOM && !codes.contains_key(&host) {
            codes.retain(|_, until| *until > now);
            if codes.len() >= ROOM {
                return false;
            }
        }
        let until = codes.entry(host).or_insert(now);
        let after = (*until).max(now) + CODE_EVERY;
        if after > now + CODE_EVERY * CODES {
            return false;
        }
        *until = after;
        true
    }

    fn place(&self, address: IpAddr) -> Option<Arc<Look>> {
        let now = Instant::now();
        let mut looks = lock(&self.looks);
        let Looks { by_address, tidied_at } = &mut *looks;
        if tidied_at.is_none_or(|at| now - at >= TIDY) {
            by_address.retain(|_, look| now - *lock(&look.asked_at) < FORGET);
            *tidied_at = Some(now);
        }
        if let Some(look) = by_address.get(&address) {
            *lock(&look.asked_at) = now;
            return Some(Arc::clone(look));
        }
        if by_address.len() >= ROOM {
            return None;
        }
        let look = Arc::new(Look { asked_at: Mutex::new(now), seen: tokio::sync::Mutex::default() });
        by_address.insert(address, Arc::clone(&look));
        Some(look)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const HOST: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7));

    #[tokio::test]
    async fn of_many_questions_at_once_one_is_looked_up() {
        let (visitors, looks) = (Visitors::default(), AtomicU32::new(0));
        let look = || async {
            looks.fetch_add(1, Ordering::Relaxed);
            tokio::task::yield_now().await;
            Seen::Nothing
        };
        tokio::join!(visitors.see(HOST, look), visitors.see(HOST, look), visitors.see(HOST, look));
        // Of others, and after a change, there is a look of its own.
        let looked = looks.load(Ordering::Relaxed);
        assert!(looked < 3, "{looked}");
        visitors.see([10, 0, 0, 8].into(), look).await;
        assert_eq!(looks.load(Ordering::Relaxed), looked + 1);
    }

    #[test]
    fn codes_come_back_with_time() {
        let (visitors, now) = (Visitors::default(), Instant::now());
        let may = |address: IpAddr, seconds| visitors.may_post_at(address, now + Duration::from_secs(seconds));
        assert_eq!((0..20).filter(|_| may(HOST, 0)).count(), 5);
        assert!(may([10, 0, 0, 8].into(), 0), "each address for itself");
        assert!(may(HOST, 10) && !may(HOST, 10));
        assert_eq!((0..20).filter(|_| may(HOST, 3600)).count(), 5);
        let of_one_64 = |last: u16| may(format!("2001:db8::{last:x}").parse().unwrap(), 0);
        assert_eq!((0..20).filter(|last| of_one_64(*last)).count(), 5);
    }
}
