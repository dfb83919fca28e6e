//! Plays schedules from seeds: some in CI, as many as wanted by `just simulate`.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, mpsc};
use std::time::{Duration, Instant};

use failover::mutation::Mutations;

use crate::sim::{Plan, Run, Theme, Violation, plan::THEMES, play, shrink::shrink};

/// What became of the schedules of one theme.
#[derive(Clone, Copy, Debug, Default)]
struct Told {
    schedules: u64,
    events: u64,
    acked: u64,
    epochs: u64,
    /// What happened in all of them, in whatever order they were played.
    digest: u64,
}

impl Told {
    fn count(&mut self, seed: u64, run: &Run) {
        self.schedules += 1;
        self.events += run.events;
        self.acked += run.acked as u64;
        self.epochs += run.epochs;
        let mixed = [seed, run.digest, run.events, run.acked as u64, run.epochs];
        let digest = mixed
            .into_iter()
            .fold(0, |mixed: u64, part| (mixed.rotate_left(23) ^ part).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        self.digest = self.digest.wrapping_add(digest);
    }

    fn add(&mut self, other: &Self) {
        self.schedules += other.schedules;
        self.events += other.events;
        self.acked += other.acked;
        self.epochs += other.epochs;
        self.digest = self.digest.wrapping_add(other.digest);
    }
}

/// By theme.
type Tally = BTreeMap<String, Told>;

fn merge(tally: &mut Tally, other: Tally) {
    for (theme, told) in other {
        tally.entry(theme).or_default().add(&told);
    }
}

fn played(tally: &Tally) -> u64 {
    tally.values().map(|told| told.schedules).sum()
}

/// Plays one seed; says what it violates, if it does.
fn play_one(seed: u64, only: Option<Theme>, tally: &mut Tally) -> Option<(Plan, Violation)> {
    let plan = only.map_or_else(|| Plan::from_seed(seed), |theme| Plan::themed(seed, theme));
    let run = play(&plan, Mutations::NONE, false);
    tally.entry(format!("{:?}", plan.theme)).or_default().count(seed, &run);
    run.violation.map(|violation| (plan, violation))
}

/// The first violation is shrunk and told with what is needed to see it again.
fn fail(plan: &Plan, violation: &Violation) -> ! {
    let (small, violation) = shrink(plan, Mutations::NONE, violation, 400);
    let run = play(&small, Mutations::NONE, true);
    let tail = run.trace.len().saturating_sub(80);
    panic!(
        "seed {} violates \"{}\" at {} µs: {}\n{small:#?}\n{}\n\nsee it again: FLT_THEME={:?} just simulate-replay {}",
        plan.seed,
        violation.invariant,
        violation.at,
        violation.what,
        run.trace[tail..].iter().map(|line| line.chars().take(260).collect::<String>()).collect::<Vec<_>>().join("\n"),
        plan.theme,
        plan.seed
    );
}

fn report(tally: &Tally, took: Duration) {
    for (theme, told) in tally {
        let Told { schedules, events, acked, epochs, .. } = told;
        println!("{theme:>14}: {schedules} schedules, {events} events, {acked} acknowledged writes, {epochs} epochs");
    }
    let digest = tally.values().fold(0, |digest: u64, told| digest.wrapping_add(told.digest));
    let total = played(tally);
    let pace = total as f64 / took.as_secs_f64();
    println!("{total} schedules in {:.1} s: {pace:.0} a second; digest {digest:016x}", took.as_secs_f64());
}

/// The first seeds. A slow machine stops early, but not before it has played a thousand.
#[test]
fn thousands_of_schedules_violate_nothing() {
    let began = Instant::now();
    let mut tally = Tally::new();
    for seed in 0..CI_SCHEDULES {
        if let Some((plan, violation)) = play_one(seed, None, &mut tally) {
            fail(&plan, &violation);
        }
        if seed + 1 >= AT_LEAST && began.elapsed() > ENOUGH {
            break;
        }
    }
    report(&tally, began.elapsed());
    assert!(tally.values().all(|told| told.acked > 0 && told.epochs > 0), "schedules in which nothing happens");
}

/// How many schedules CI plays: [`AT_LEAST`] in any case, [`CI_SCHEDULES`] if that is done in time.
const AT_LEAST: u64 = 1_000;
const CI_SCHEDULES: u64 = 6_000;
const ENOUGH: Duration = Duration::from_secs(40);

/// `FLT_SCHEDULES` seeds from `FLT_SEED` on, of the kind that `FLT_THEME` names or of all, on every core or on as many as
/// `FLT_CORES` says: `just simulate`. Says every 30 s how far it is, and from which seed on it can be taken up again.
#[test]
#[ignore = "plays as many schedules as it is told to"]
fn on_demand() {
    let number = |name: &str, otherwise: u64| variable(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise);
    let (first, count) = (number("FLT_SEED", 1_000_000), number("FLT_SCHEDULES", 1_000_000));
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let all = Game {
        until: first.saturating_add(count),
        theme: theme_named(),
        next: AtomicU64::new(first),
        over: AtomicBool::new(false),
        first_failure: Mutex::new(None),
    };
    let began = Instant::now();
    let mut tally = Tally::new();
    std::thread::scope(|scope| {
        let (tell, heard) = mpsc::channel();
        for _ in 0..number("FLT_CORES", cores).max(1) {
            let (all, tell) = (&all, tell.clone());
            scope.spawn(move || all.take_part(&tell));
        }
        drop(tell);
        let mut said = Instant::now();
        let mut batches = Batches { next: first, done: BTreeMap::new() };
        for (from, to, more) in heard {
            merge(&mut tally, more);
            batches.end(from, to);
            if said.elapsed() > SAY_EVERY {
                said = Instant::now();
                let (total, secs) = (played(&tally), began.elapsed().as_secs_f64());
                println!(
                    "{secs:>7.0} s: {total} of {count} schedules, {:.0} a second; go on with seed {}",
                    total as f64 / secs,
                    batches.next
                );
            }
        }
    });
    report(&tally, began.elapsed());
    let failure = all.first_failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some((plan, violation)) = failure {
        fail(&plan, &violation);
    }
    println!("seeds {first} to {}: nothing is violated", first.saturating_add(count) - 1);
}

/// Seeds that several players take in batches, until one fails.
struct Game {
    until: u64,
    theme: Option<Theme>,
    next: AtomicU64,
    over: AtomicBool,
    /// The failure with the lowest seed.
    first_failure: Mutex<Option<(Plan, Violation)>>,
}

impl Game {
    fn take_part(&self, tell: &mpsc::Sender<(u64, u64, Tally)>) {
        loop {
            let from = self.next.fetch_add(BATCH, Ordering::Relaxed);
            let to = from.saturating_add(BATCH).min(self.until);
            if from >= to {
                return;
            }
            let mut tally = Tally::new();
            for seed in from..to {
                if self.over.load(Ordering::Relaxed) {
                    return;
                }
                if let Some((plan, violation)) = play_one(seed, self.theme, &mut tally) {
                    self.over.store(true, Ordering::Relaxed);
                    let mut found = self.first_failure.lock().expect("nobody panics while it is held");
                    if found.as_ref().is_none_or(|(known, _)| seed < known.seed) {
                        *found = Some((plan, violation));
                    }
                    return;
                }
            }
            if tell.send((from, to, tally)).is_err() {
                return;
            }
        }
    }
}

/// Which batches are done: from where on it must be gone on with.
struct Batches {
    next: u64,
    done: BTreeMap<u64, u64>,
}

impl Batches {
    fn end(&mut self, from: u64, to: u64) {
        self.done.insert(from, to);
        while let Some(to) = self.done.remove(&self.next) {
            self.next = to;
        }
    }
}

/// How many seeds a player takes at once.
const BATCH: u64 = 50;
/// How often it is said how far it is.
const SAY_EVERY: Duration = Duration::from_secs(30);

#[test]
fn what_is_done_out_of_order_is_gone_on_with_from_the_first_gap() {
    let mut batches = Batches { next: 0, done: BTreeMap::new() };
    let mut after = |from| {
        batches.end(from, from + 50);
        batches.next
    };
    assert_eq!([after(50), after(0), after(150), after(100)], [0, 100, 100, 200]);
}

/// One seed, `FLT_SEED`, told event by event: `just simulate-replay SEED`.
#[test]
#[ignore = "tells one schedule"]
fn replay() {
    let seed = variable("FLT_SEED").and_then(|text| text.parse().ok()).unwrap_or(0);
    let plan = theme_named().map_or_else(|| Plan::from_seed(seed), |theme| Plan::themed(seed, theme));
    let run = play(&plan, Mutations::NONE, true);
    println!("{plan:#?}\n{}", run.trace.join("\n"));
    println!("{} events, {} acknowledged writes, violation: {:?}", run.events, run.acked, run.violation);
}

/// The kind of schedules that `FLT_THEME` names.
fn theme_named() -> Option<Theme> {
    let theme = variable("FLT_THEME")?;
    THEMES.into_iter().find(|known| theme == format!("{known:?}"))
}

#[test]
fn the_same_seed_is_the_same_run() {
    for seed in 0..20 {
        let plan = Plan::from_seed(seed);
        let (once, again) = (play(&plan, Mutations::NONE, false), play(&plan, Mutations::NONE, true));
        assert_eq!((once.digest, once.events, once.acked), (again.digest, again.events, again.acked), "seed {seed}");
    }
}

#[allow(clippy::disallowed_methods, reason = "a test is told its seeds by the environment")]
pub(crate) fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok()
}
