//! Names of addresses in the DNS.
//!
//! Whoever has an address may give it any name; so a name counts only when it leads back to the address. The system's resolver
//! cannot be hurried: a look-up that takes too long goes on by itself, in one of few threads, and its result is there for the next who
//! asks.

use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

/// Look-ups at a time.
const AT_ONCE: usize = 8;
/// Addresses remembered.
const MOST: usize = 4096;
/// How long a name is remembered.
const KEPT: Duration = Duration::from_secs(600);
/// How long it is remembered that there was none.
const NONE_KEPT: Duration = Duration::from_secs(60);

/// What was found of each address, and when.
type Known = HashMap<IpAddr, (Instant, Option<String>)>;
type Resolve = dyn Fn(IpAddr) -> Option<String> + Send + Sync;

pub(super) struct HostNames {
    patience: Duration,
    places: Arc<Semaphore>,
    known: Arc<Mutex<Known>>,
    resolve: Arc<Resolve>,
}

impl HostNames {
    pub(super) fn new(patience: Duration) -> Self {
        Self::by(patience, Arc::new(confirmed_name))
    }

    fn by(patience: Duration, resolve: Arc<Resolve>) -> Self {
        Self { patience, places: Arc::new(Semaphore::new(AT_ONCE)), known: Arc::default(), resolve }
    }

    /// The name of an address, when it is known in time.
    pub(super) async fn of(&self, address: IpAddr) -> Option<String> {
        let address = address.to_canonical();
        if let Some((at, name)) = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&address) {
            let kept = if name.is_some() { KEPT } else { NONE_KEPT };
            if at.elapsed() < kept {
                return name.clone();
            }
        }
        let place = Arc::clone(&self.places).try_acquire_owned().ok()?;
        let (resolve, known) = (Arc::clone(&self.resolve), Arc::clone(&self.known));
        let asked = tokio::task::spawn_blocking(move || {
            let name = resolve(address);
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            if known.len() >= MOST {
                known.clear();
            }
            known.insert(address, (Instant::now(), name.clone()));
            drop(place);
            name
        });
        tokio::time::timeout(self.patience, asked).await.ok()?.ok()?
    }
}

impl fmt::Debug for HostNames {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostNames").field("patience", &self.patience).finish_non_exhaustive()
    }
}

fn confirmed_name(address: IpAddr) -> Option<String> {
    let name = dns_lookup::lookup_addr(&address).ok()?;
    // Without a name the resolver gives the address back.
    if name.parse::<IpAddr>().is_ok() {
        return None;
    }
    let mut leads_to = dns_lookup::lookup_host(&name).ok()?;
    leads_to.any(|found| found.to_canonical() == address).then_some(name)
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU32, Ordering};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    fn address(last: u8) -> IpAddr {
        IpAddr::from([203, 0, 113, last])
    }

    #[tokio::test]
    async fn a_name_is_looked_up_once() {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let resolve = move |address: IpAddr| {
            count.fetch_add(1, Ordering::Relaxed);
            (address == self::address(7)).then(|| "host.example".to_owned())
        };
        let names = HostNames::by(PATIENCE, Arc::new(resolve));
        for _ in 0..3 {
            assert_eq!(names.of(address(7)).await.as_deref(), Some("host.example"));
            assert_eq!(names.of(address(8)).await, None);
        }
        assert_eq!(asked.load(Ordering::Relaxed), 2);
    }

    #[tokio::test]
    async fn nobody_waits_for_a_resolver_that_hangs() {
        let (go_on, wait) = std::sync::mpsc::channel::<()>();
        let wait = Mutex::new(wait);
        let resolve = move |_: IpAddr| {
            let _ = wait.lock().unwrap().recv();
            Some("late.example".to_owned())
        };
        let names = HostNames::by(Duration::from_millis(20), Arc::new(resolve));
        for last in 0..20 {
            assert_eq!(names.of(address(last)).await, None);
        }
        assert_eq!(names.places.available_permits(), 0, "more look-ups than may run at once");
        drop(go_on);
        let begun = Instant::now();
        while names.of(address(0)).await.is_none() {
            assert!(begun.elapsed() < PATIENCE, "its result never came");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    #[tokio::test]
    async fn loopback_is_asked_of_the_real_resolver() {
        // Whether it has a name is for the host's files to say; that this ends, and gives no address, is ours.
        let name = HostNames::new(PATIENCE).of(IpAddr::from([127, 0, 0, 1])).await;
        assert!(name.is_none_or(|name| name.parse::<IpAddr>().is_err()));
    }
}
