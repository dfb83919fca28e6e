//! Custody under loss, delay, repetition, clocks at the ends of their bound, and leaders that change: never two who are
//! certain of it, and whoever comes back knows whether somebody else was there.

use std::collections::BinaryHeap;

use failover::{
    Answer, Attempt, Author, ClusterName, Custody, Entry, Epoch, LeaseTable, LocalTime, LogClock, NodeId, Request, Span,
};

use crate::sim::rng::Rng;

/// What a holder may get wrong.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// Counts from when the answer came, not from when the request was sent.
    FromReceipt,
    /// Takes the group's time for its own.
    NoSlack,
    /// Believes the counter alone, and not whose it was.
    AnyEpoch,
    /// Takes an answer to a question that it has given up.
    AnyAnswer,
}

const NODES: usize = 3;
const STEP: u64 = 100_000;
/// Deviation of the clocks, in thousandths: what the slack has to cover, (1 + d) / (1 − d) ≤ 15 / 14.
const DRIFT: u64 = 34;

#[derive(Default)]
struct Holder {
    /// In thousandths of real time.
    rate: u64,
    until: u64,
    epoch: Option<Epoch>,
    /// Its newest question.
    asked: u64,
    /// The grant by which it made a change that is not finished.
    journal: Option<Epoch>,
    /// Whether anybody else was certain of it since.
    overtaken: bool,
}

impl Holder {
    fn clock(&self, now: u64) -> u64 {
        now / 1000 * self.rate
    }
}

/// Ordered by when it arrives.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Message {
    at: std::cmp::Reverse<u64>,
    number: u64,
    node: usize,
    sent: u64,
    what: What,
}

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
enum What {
    Take(u64),
    Keep(Epoch),
    End(Epoch),
    Entrusted(Epoch, Epoch, u64),
    Kept(Epoch),
}

fn below(rng: &mut Rng, bound: u64) -> u64 {
    rng.next() % bound
}

/// What went wrong in one schedule; how often somebody was entrusted with it.
fn play(seed: u64, fault: Fault) -> Result<u32, String> {
    let mut rng = Rng::new(seed);
    let thing = ClusterName::try_from("device/SHA256:x".to_owned()).expect("a name");
    let mut table = LeaseTable::new();
    let (mut clock, mut term, mut leader) = (LogClock::new(), 1, 1000 + below(&mut rng, 2 * DRIFT + 1) - DRIFT);
    let mut holders: Vec<Holder> = (0..NODES).map(|_| Holder::default()).collect();
    for holder in &mut holders {
        holder.rate = 1000 + below(&mut rng, 2 * DRIFT + 1) - DRIFT;
    }
    let (mut network, mut numbers, mut grants) = (BinaryHeap::<Message>::new(), 0_u64, 0);
    let (loss, slow) = (below(&mut rng, 30), 1 + below(&mut rng, 200));
    let mut now = 1_000_000_000;
    for _ in 0..6_000 {
        now += STEP;
        if below(&mut rng, 400) == 0 {
            (term, leader) = (term + 1, 1000 + below(&mut rng, 2 * DRIFT + 1) - DRIFT);
        }
        let mut send = |rng: &mut Rng, network: &mut BinaryHeap<Message>, node, sent, what: What| {
            let copies = if below(rng, 100) < loss { 0 } else { 1 + usize::from(below(rng, 10) == 0) };
            for _ in 0..copies {
                numbers += 1;
                let at = std::cmp::Reverse(now + STEP * below(rng, slow));
                network.push(Message { at, number: numbers, node, sent, what: what.clone() });
            }
        };
        for (node, holder) in holders.iter_mut().enumerate() {
            let local = holder.clock(now);
            match (below(&mut rng, 60), holder.epoch) {
                (0, None) => {
                    holder.asked += 1;
                    let what = What::Take(holder.asked);
                    send(&mut rng, &mut network, node, local, what);
                }
                (1..=8, Some(epoch)) => send(&mut rng, &mut network, node, local, What::Keep(epoch)),
                (9, Some(epoch)) if below(&mut rng, 3) == 0 => {
                    (holder.until, holder.epoch) = (0, None);
                    holder.asked += 1;
                    if below(&mut rng, 2) == 0 {
                        // Else it has crashed, and its change stays as it is.
                        send(&mut rng, &mut network, node, local, What::End(epoch));
                        holder.journal = None;
                    }
                }
                _ => {}
            }
        }
        while network.peek().is_some_and(|message| message.at.0 <= now) {
            let Some(Message { node, sent, what, .. }) = network.pop() else { break };
            let mut asked = 0;
            let request = match what {
                What::Take(number) => {
                    asked = number;
                    Request::TakeCustody
                }
                What::Keep(epoch) => Request::KeepCustody { epoch },
                What::End(epoch) => Request::EndCustody { epoch },
                What::Kept(epoch) if holders[node].epoch == Some(epoch) => {
                    holders[node].until = holders[node].until.max(until(&holders[node], sent, now, fault));
                    continue;
                }
                What::Kept(_) => continue,
                What::Entrusted(epoch, since, asked) => {
                    let holder = &mut holders[node];
                    if holder.epoch.is_some() || (asked != holder.asked && fault != Fault::AnyAnswer) {
                        continue;
                    }
                    let until = until(holder, sent, now, fault);
                    if until <= holder.clock(now) {
                        // Too late to be certain of anything; it asks again.
                        continue;
                    }
                    if let Some(journal) = holder.journal {
                        let told = if fault == Fault::AnyEpoch { epoch <= journal } else { since > journal };
                        if holder.overtaken && !told {
                            return Err(format!("seed {seed}: {journal} is taken up after another's change"));
                        }
                    }
                    (holder.epoch, holder.until, holder.journal) = (Some(epoch), until, Some(epoch));
                    holder.overtaken = false;
                    grants += 1;
                    for other in (0..NODES).filter(|other| *other != node) {
                        holders[other].overtaken = true;
                    }
                    continue;
                }
            };
            let author = Author::Node(NodeId::from_bytes([u8::try_from(node).unwrap_or(0); 32]));
            let entry = Entry::Ask { cluster: thing.clone(), author, attempt: Attempt::default(), request };
            let stamp = clock.stamp(term, LocalTime::from_micros(now / 1000 * leader));
            match table.apply(stamp, &entry).answer {
                Ok(Answer::Entrusted { epoch, since, .. }) => {
                    send(&mut rng, &mut network, node, sent, What::Entrusted(epoch, since, asked));
                }
                Ok(Answer::Renewed { epoch, .. }) => send(&mut rng, &mut network, node, sent, What::Kept(epoch)),
                _ => {}
            }
        }
        for holder in &mut holders {
            if holder.until <= holder.clock(now) {
                // It is not certain any more, and sends nothing; what it has begun stays in its journal.
                (holder.until, holder.epoch) = (0, None);
            }
        }
        if holders.iter().filter(|holder| holder.epoch.is_some()).count() > 1 {
            return Err(format!("seed {seed}: two are certain of it"));
        }
    }
    Ok(grants)
}

fn until(holder: &Holder, sent: u64, now: u64, fault: Fault) -> u64 {
    let slack = if fault == Fault::NoSlack { Span::ZERO } else { Custody::SLACK };
    let from = if fault == Fault::FromReceipt { holder.clock(now) } else { sent };
    from + Custody::TTL.as_micros() - slack.as_micros()
}

#[test]
fn never_two_are_certain_and_who_comes_back_knows_who_was_there() {
    let mut grants = 0;
    for seed in 0..2_000 {
        grants += play(seed, Fault::None).unwrap_or_else(|why| panic!("{why}"));
    }
    assert!(grants > 20_000, "{grants} grants prove little");
}

#[test]
fn what_a_holder_could_get_wrong_is_found() {
    for fault in [Fault::FromReceipt, Fault::NoSlack, Fault::AnyEpoch, Fault::AnyAnswer] {
        assert!((0..2_000).any(|seed| play(seed, fault).is_err()));
    }
}
