//! A value that is replaced as a whole, such as the settings in force: written seldom, read at every packet.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

/// The value in force, shared.
#[derive(Debug)]
pub(super) struct Current<T>(Arc<Shared<T>>);

#[derive(Debug)]
struct Shared<T> {
    value: RwLock<Arc<T>>,
    /// Grows with each replacement, after it.
    version: AtomicU64,
}

impl<T> Clone for Current<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Current<T> {
    pub(super) fn new(value: T) -> Self {
        Self(Arc::new(Shared { value: RwLock::new(Arc::new(value)), version: AtomicU64::new(0) }))
    }

    /// The one in force now. Whoever holds it keeps it whole through a replacement.
    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(&self.0.value.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Puts another in force, made from the one there is.
    pub(super) fn update(&self, make: impl FnOnce(&T) -> T) {
        let mut value = self.0.value.write().unwrap_or_else(PoisonError::into_inner);
        *value = Arc::new(make(&value));
        self.0.version.fetch_add(1, Ordering::Release);
    }

    /// For somebody who reads so often that readers must not meet.
    pub(super) fn reader(&self) -> Reader<T> {
        let version = self.0.version.load(Ordering::Acquire);
        Reader { current: self.clone(), version, value: self.get() }
    }
}

/// A copy of a [`Current`] that is renewed when it has been replaced. While it has not, reading touches nothing that another reader
/// writes to.
#[derive(Debug)]
pub(super) struct Reader<T> {
    current: Current<T>,
    version: u64,
    value: Arc<T>,
}

impl<T> Reader<T> {
    /// The one in force now, and which one in the order of replacements it is.
    pub(super) fn get(&mut self) -> (&Arc<T>, u64) {
        // Read before the value: at worst a newer value is taken for the older version, and is fetched once more.
        let version = self.current.0.version.load(Ordering::Acquire);
        if version != self.version {
            self.value = self.current.get();
            self.version = version;
        }
        (&self.value, self.version)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_sees_each_replacement() {
        let current = Current::new(1);
        let mut reader = current.reader();
        assert_eq!((**reader.get().0, reader.get().1), (1, 0));
        let held = current.get();
        current.update(|value| value + 1);
        assert_eq!((**reader.get().0, reader.get().1), (2, 1));
        assert_eq!((*held, *current.get()), (1, 2));
    }
}
