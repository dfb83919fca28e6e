//! A cable with delay, jitter and loss, for kernels without netem: two TAP interfaces and a thread between them.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use tappers::Interface;
use tappers::linux::Tap;

use super::Namespace;

/// What a cable does to frames, in each direction.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Quality {
    /// How long a frame is under way at least.
    pub delay: Duration,
    /// How much longer it may be, evenly distributed. Frames do not overtake each other.
    pub jitter: Duration,
    /// The share of frames that is lost, in percent.
    pub loss: f64,
}

impl Quality {
    /// Delay alone.
    pub fn delay(delay: Duration) -> Self {
        Self { delay, ..Self::default() }
    }
}

/// The two interfaces and their thread; dropping it removes all three.
#[derive(Debug)]
pub(super) struct Wire {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    quality: Mutex<Quality>,
    stop: AtomicBool,
}

impl Wire {
    #[track_caller]
    pub(super) fn new(near: (&Namespace, &str), far: (&Namespace, &str), quality: Quality) -> Self {
        let ends = [tap(near), tap(far)];
        let shared = Arc::new(Shared { quality: Mutex::new(quality), stop: AtomicBool::new(false) });
        let theirs = Arc::clone(&shared);
        let thread = std::thread::spawn(move || carry(&ends, &theirs));
        Self { shared, thread: Some(thread) }
    }

    pub(super) fn set(&self, quality: Quality) {
        *self.shared.quality.lock().unwrap_or_else(PoisonError::into_inner) = quality;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(Err(_)) = self.thread.take().map(JoinHandle::join) {
            eprintln!("the thread of a cable panicked");
        }
    }
}

/// A TAP interface in a namespace. It disappears with its descriptor, even if this process is killed.
#[track_caller]
fn tap((namespace, device): (&Namespace, &str)) -> Tap {
    let made = namespace.enter(|| {
        let tap = Tap::new_named(Interface::new(device)?)?;
        tap.set_nonblocking(true)?;
        Ok::<_, io::Error>(tap)
    });
    made.unwrap_or_else(|error| panic!("cannot make the TAP interface {device} in {}: {error}", namespace.name()))
}

/// A frame under way: when it is due, its number so that the order holds, where to, and what.
type UnderWay = Reverse<(Instant, u64, usize, Vec<u8>)>;

/// Carries frames between the two ends until it is told to stop.
fn carry(ends: &[Tap; 2], shared: &Shared) {
    let mut under_way: BinaryHeap<UnderWay> = BinaryHeap::new();
    let mut chance = Chance(0x9e37_79b9_7f4a_7c15);
    let mut number = 0;
    let mut last_due = [Instant::now(); 2];
    let mut buffer = vec![0; FRAME_BYTES_MAX];
    while !shared.stop.load(Ordering::Relaxed) {
        let now = Instant::now();
        while under_way.peek().is_some_and(|Reverse((due, ..))| *due <= now) {
            if let Some(Reverse((_, _, to, frame))) = under_way.pop() {
                // An interface that is down takes no frames, as a cable that is pulled out.
                let _sent = ends[to].send(&frame);
            }
        }
        let next = under_way.peek().map_or(PAUSE, |Reverse((due, ..))| due.saturating_duration_since(now).min(PAUSE));
        wait(ends, next);
        let quality = *shared.quality.lock().unwrap_or_else(PoisonError::into_inner);
        for (from, end) in ends.iter().enumerate() {
            let to = 1 - from;
            while let Ok(length) = end.recv(&mut buffer) {
                let lost = chance.next() * 100.0 < quality.loss || under_way.len() >= FRAMES_MAX;
                let Some(frame) = buffer.get(..length).filter(|_| !lost) else { continue };
                let due = Instant::now() + quality.delay + quality.jitter.mul_f64(chance.next());
                last_due[to] = last_due[to].max(due);
                number += 1;
                under_way.push(Reverse((last_due[to], number, to, frame.to_vec())));
            }
        }
    }
}

/// Waits until a frame can be read at either end, but no longer than this.
fn wait(ends: &[Tap; 2], longest: Duration) {
    let mut watched = [PollFd::new(&ends[0], PollFlags::IN), PollFd::new(&ends[1], PollFlags::IN)];
    let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(longest.subsec_nanos()) };
    if poll(&mut watched, Some(&timeout)).is_err() || watched.iter().any(|end| end.revents() == PollFlags::ERR) {
        // An end that is down is always ready with an error; without this pause the thread would spin.
        std::thread::sleep(longest.min(Duration::from_millis(2)));
    }
}

/// Random numbers that are the same in every run (splitmix64).
struct Chance(u64);

impl Chance {
    /// The next one, from 0 to below 1.
    fn next(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^= mixed >> 31;
        let high = u32::try_from(mixed >> 32).unwrap_or(u32::MAX);
        f64::from(high) / 4_294_967_296.0
    }
}

/// How long the thread sleeps at most; it sees then whether it is to stop. Below a second.
const PAUSE: Duration = Duration::from_millis(50);
/// The longest frame, in bytes.
const FRAME_BYTES_MAX: usize = 65_536;
/// How many frames can be under way; more are lost.
const FRAMES_MAX: usize = 20_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chances_are_even() {
        let mut chance = Chance(1);
        let below = (0..10_000).filter(|_| chance.next() < 0.1).count();
        assert!((900..1100).contains(&below), "{below}");
    }
}
