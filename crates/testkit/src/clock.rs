//! A clock that stands still until a test moves it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocols::Millis;

/// A settable source of `now` for code that takes it as an argument or as a function. Clones share the time.
///
/// It starts at [`VirtualClock::START`] and moves only when told to, in either direction: a real wall clock steps
/// back too.
#[derive(Debug, Clone)]
pub struct VirtualClock(Arc<AtomicU64>);

impl VirtualClock {
    /// Where a new clock stands: 2026-01-01T00:00:00Z, so that durations can be subtracted from it.
    pub const START: Millis = Millis(1_767_225_600_000);

    /// A clock at [`VirtualClock::START`].
    pub fn new() -> Self {
        Self::at(Self::START)
    }

    /// A clock at a moment.
    pub fn at(moment: Millis) -> Self {
        Self(Arc::new(AtomicU64::new(moment.0)))
    }

    /// The moment it stands at.
    pub fn now(&self) -> Millis {
        Millis(self.0.load(Ordering::SeqCst))
    }

    /// Moves it forward and says where it stands then.
    pub fn advance(&self, span: Duration) -> Millis {
        self.change(|now| now.plus(span))
    }

    /// Moves it back (a clock that was corrected) and says where it stands then; not before 1970.
    pub fn turn_back(&self, span: Duration) -> Millis {
        self.change(|now| Millis(now.0.saturating_sub(u64::try_from(span.as_millis()).unwrap_or(u64::MAX))))
    }

    /// Sets it to any moment.
    pub fn set(&self, moment: Millis) {
        self.0.store(moment.0, Ordering::SeqCst);
    }

    /// This clock as a function, for code that wants one.
    pub fn source(&self) -> impl Fn() -> Millis + Clone + Send + Sync + 'static {
        let clock = self.clone();
        move || clock.now()
    }

    fn change(&self, to: impl Fn(Millis) -> Millis) -> Millis {
        let mut seen = self.0.load(Ordering::SeqCst);
        loop {
            let next = to(Millis(seen));
            match self.0.compare_exchange(seen, next.0, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => return next,
                Err(other) => seen = other,
            }
        }
    }
}

impl Default for VirtualClock {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moves_only_when_told_and_in_both_directions() {
        let clock = VirtualClock::new();
        let source = clock.source();
        assert_eq!(source(), VirtualClock::START);
        assert_eq!(clock.advance(Duration::from_secs(2)).since(VirtualClock::START), Duration::from_secs(2));
        assert_eq!(clock.turn_back(Duration::from_secs(3)).0, VirtualClock::START.0 - 1000);
        assert_eq!(source(), clock.now());
        clock.set(Millis(5));
        assert_eq!(clock.turn_back(Duration::from_secs(1)), Millis(0));
        assert_eq!(clock.advance(Duration::MAX), Millis(u64::MAX));
    }
}
