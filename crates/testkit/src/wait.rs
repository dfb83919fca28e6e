//! Waiting for a condition, with a deadline and a message that says what was seen last.

use std::fmt::Debug;
use std::panic::Location;
use std::time::{Duration, Instant};

/// How long a test waits for something that takes moments on a quiet machine: test machines are slow and noisy.
pub const DEADLINE: Duration = Duration::from_secs(60);

/// What a look can answer: found or not yet, and in that case what was seen instead.
pub trait Probe {
    /// What waiting gives once it is found.
    type Found;

    /// The find, or a description of what was seen instead.
    fn found(self) -> Result<Self::Found, String>;
}

impl Probe for bool {
    type Found = ();

    fn found(self) -> Result<(), String> {
        if self { Ok(()) } else { Err("false".into()) }
    }
}

impl<T> Probe for Option<T> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self.ok_or_else(|| "nothing".into())
    }
}

impl<T, E: Debug> Probe for Result<T, E> {
    type Found = T;

    fn found(self) -> Result<T, String> {
        self.map_err(|seen| format!("{seen:?}"))
    }
}

/// Looks again and again until something is found; panics when it is not found within the time.
///
/// The look answers with a `bool`, an `Option` or a `Result` whose error is what was seen instead, which is
/// what the panic then shows.
#[track_caller]
pub fn until<P: Probe>(what: &str, within: Duration, mut look: impl FnMut() -> P) -> P::Found {
    let mut wait = Wait::new(what, within, Location::caller());
    loop {
        match look().found() {
            Ok(found) => return found,
            Err(seen) => std::thread::sleep(wait.pause(seen)),
        }
    }
}

/// [`until`] for a look that is asynchronous. A look that does not answer counts as one that found nothing.
#[track_caller]
pub fn until_async<P: Probe>(
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> P,
) -> impl Future<Output = P::Found> {
    let mut wait = Wait::new(what, within, Location::caller());
    async move {
        loop {
            let left = wait.left();
            let answer = tokio::time::timeout(left, look()).await;
            let seen = match answer.map(Probe::found) {
                Ok(Ok(found)) => return found,
                Ok(Err(seen)) => seen,
                Err(_) => format!("a look that did not return in {left:?}"),
            };
            tokio::time::sleep(wait.pause(seen)).await;
        }
    }
}

struct Wait<'a> {
    what: &'a str,
    within: Duration,
    caller: &'static Location<'static>,
    begun: Instant,
    looks: u32,
    pause: Duration,
}

impl<'a> Wait<'a> {
    fn new(what: &'a str, within: Duration, caller: &'static Location<'static>) -> Self {
        Self { what, within, caller, begun: Instant::now(), looks: 0, pause: PAUSE_FIRST }
    }

    /// The time until the deadline, never nothing, so that the last look has a chance.
    fn left(&self) -> Duration {
        self.within.saturating_sub(self.begun.elapsed()).max(PAUSE_LONGEST)
    }

    /// How long to pause before the next look; panics when the time is over.
    fn pause(&mut self, seen: String) -> Duration {
        self.looks += 1;
        let waited = self.begun.elapsed();
        assert!(
            waited < self.within,
            "waited {:.1} s for {} in vain ({} looks, from {}); last seen: {seen}",
            waited.as_secs_f64(),
            self.what,
            self.looks,
            self.caller,
        );
        let pause = self.pause;
        self.pause = (pause * 3 / 2).min(PAUSE_LONGEST);
        pause.min(self.within - waited)
    }
}

const PAUSE_FIRST: Duration = Duration::from_millis(2);
const PAUSE_LONGEST: Duration = Duration::from_millis(100);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_was_found() {
        let mut looks = 0;
        let found = until("the third look", DEADLINE, || {
            looks += 1;
            if looks == 3 { Ok(looks) } else { Err(looks) }
        });
        assert_eq!(found, 3);
        until("true", DEADLINE, || true);
    }

    #[test]
    #[should_panic(expected = "for the answer in vain")]
    fn panics_when_the_time_is_over() {
        until("the answer", Duration::from_millis(20), || None::<u8>);
    }

    #[test]
    #[should_panic(expected = "last seen: \"41\"")]
    fn says_what_was_seen_last() {
        until("the answer", Duration::from_millis(20), || Err::<(), _>("41"));
    }

    #[tokio::test]
    #[should_panic(expected = "a look that did not return")]
    async fn a_look_that_hangs_is_bounded() {
        until_async("the answer", Duration::from_millis(20), async || {
            std::future::pending::<()>().await;
            true
        })
        .await;
    }

    #[tokio::test]
    async fn looks_asynchronously() {
        let mut looks = 0;
        let found = until_async("the third look", DEADLINE, async || {
            tokio::task::yield_now().await;
            looks += 1;
            (looks == 3).then_some(looks)
        })
        .await;
        assert_eq!(found, 3);
    }
}
