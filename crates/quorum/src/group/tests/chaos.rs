//! Partitions, loss, kills, restarts, disks that hang, and crashes that forget what was not yet on them, at random; and a
//! history that must be one that a single copy could have had.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use failover::{Answer, Epoch, FenceProof, Phase, Request, Span};
use protocols::control::LeaseError;
use protocols::{EntryHash, entry::Head};

use super::rig::{Rig, SOON, cluster, id};
use super::{MEMBERS, crash};
use crate::log::gate::{self, Gate};
use crate::{EnterError, Ledger as _, Unfit, Views};

/// How long everything goes wrong at least; longer until enough happened in spite of it.
const TROUBLE: Duration = Duration::from_secs(12);
/// How many grants and entries are enough.
const ENOUGH: usize = 4;

/// One thing that a client knows for sure: between these moments, the epoch was this.
#[derive(Debug, Clone, Copy)]
struct Seen {
    began: Instant,
    ended: Instant,
    epoch: u64,
    granted: bool,
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost_and_the_history_is_linearizable() {
    let rig = Arc::new(Rig::group(3).await);
    rig.configure(1).await;
    let over = Arc::new(AtomicBool::new(false));
    let history: Arc<Mutex<Vec<Seen>>> = Arc::default();
    let entered: Arc<Mutex<Vec<Head>>> = Arc::default();
    let clients: Vec<_> = (101..=104u8)
        .map(|node| tokio::spawn(compete(Arc::clone(&rig), node, Arc::clone(&history), Arc::clone(&over))))
        .collect();
    let author = tokio::spawn(write(Arc::clone(&rig), Arc::clone(&entered), Arc::clone(&over)));
    let grants = || history.lock().unwrap().iter().filter(|seen| seen.granted).count();
    trouble(&rig, || grants() >= ENOUGH && entered.lock().unwrap().len() >= ENOUGH).await;
    over.store(true, Ordering::SeqCst);
    for client in clients {
        client.await.unwrap();
    }
    author.await.unwrap();

    let entered = entered.lock().unwrap().clone();
    let has = |hashes: &[EntryHash]| {
        entered.iter().all(|head| hashes.get(usize::try_from(head.seq).unwrap()) == Some(&head.hash))
    };
    rig.settled(&MEMBERS, has).await;
    let until = Instant::now() + SOON;
    let last = loop {
        let (last, exact) = rig.epoch(2).await.unwrap();
        if exact {
            break last;
        }
        assert!(Instant::now() < until, "nobody reads exactly though all is well again");
    };
    let history = history.lock().unwrap();
    let grants = check(&history, last);
    assert!(
        grants >= ENOUGH && entered.len() >= ENOUGH,
        "hardly anything happened: {grants} grants, {} entries",
        entered.len()
    );
    println!("{grants} grants, {} observations, {} entries", history.len(), entered.len());
}

/// A register that only ever goes up by successful compare-and-set: each value once, and never back.
fn check(history: &[Seen], last: u64) -> usize {
    let mut granted: HashMap<u64, Seen> = HashMap::new();
    for seen in history {
        assert!(seen.epoch <= last, "epoch {} was acknowledged, and the group ended with {last}", seen.epoch);
        if seen.granted
            && let Some(other) = granted.insert(seen.epoch, *seen)
        {
            panic!("epoch {} was granted twice: {seen:?} {other:?}", seen.epoch);
        }
    }
    for earlier in history {
        for later in history.iter().filter(|later| later.began > earlier.ended) {
            let back = later.epoch < earlier.epoch || (later.granted && later.epoch == earlier.epoch);
            assert!(!back, "{later:?} after {earlier:?}");
        }
    }
    granted.len()
}

/// Takes the lease, gives it up, and notes what it was told.
async fn compete(rig: Arc<Rig>, node: u8, history: Arc<Mutex<Vec<Seen>>>, over: Arc<AtomicBool>) {
    while !over.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(5 + rig.net.roll(20))).await;
        let at = rig.groups.lock().unwrap().get(&id(MEMBERS[rig.net.roll(3) as usize])).cloned();
        let Some(at) = at else { continue };
        let began = Instant::now();
        let Ok(views) = at.views(Views { cluster: Some(cluster()), ..Views::default() }).await else { continue };
        let Some((_, view)) = views.views.into_iter().next() else { continue };
        if views.exact {
            let seen = Seen { began, ended: Instant::now(), epoch: view.epoch.0, granted: false };
            history.lock().unwrap().push(seen);
        }
        let me = failover::NodeId::from_bytes([node; 32]);
        let request = match view.phase {
            Phase::Held if view.holder == Some(me) => {
                Request::FenceConfirmed { epoch: view.epoch, proof: FenceProof::NotRunning, position: None }
            }
            Phase::Held => continue,
            _ => Request::Acquire { epoch: view.epoch, version: 1, silence: Span::ZERO },
        };
        let began = Instant::now();
        match at.ask(rig.ask(node, request)).await {
            Ok(outcome) => {
                if let Ok(Answer::Granted { epoch: Epoch(epoch), .. }) = outcome.answer {
                    history.lock().unwrap().push(Seen { began, ended: Instant::now(), epoch, granted: true });
                }
            }
            Err(LeaseError::Lost { .. } | LeaseError::NoMajority { .. } | LeaseError::Overloaded) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

/// Appends entries through any member, and notes which were acknowledged.
async fn write(rig: Arc<Rig>, entered: Arc<Mutex<Vec<Head>>>, over: Arc<AtomicBool>) {
    let mut tag = 1;
    while !over.load(Ordering::SeqCst) {
        tokio::time::sleep(Duration::from_millis(20)).await;
        let n = MEMBERS[rig.net.roll(3) as usize];
        let at = rig.groups.lock().unwrap().get(&id(n)).cloned();
        let Some(at) = at else { continue };
        let head = rig.chain(n).head();
        tag += 1;
        match at.enter(rig.sign(Some(head), tag)).await {
            Ok(head) => entered.lock().unwrap().push(head),
            Err(EnterError::Unfit(Unfit::Stale(_)) | EnterError::Propose(_)) => {}
            Err(other) => panic!("{other}"),
        }
    }
}

async fn trouble(rig: &Rig, enough: impl Fn() -> bool) {
    let began = Instant::now();
    while began.elapsed() < TROUBLE || (!enough() && began.elapsed() < SOON) {
        let victim = MEMBERS[rig.net.roll(3) as usize];
        let others: Vec<_> = MEMBERS.into_iter().filter(|n| *n != victim).map(id).collect();
        let pause = Duration::from_millis(300 + rig.net.roll(1500));
        match rig.net.roll(6) {
            0 => {
                rig.kill(victim).await;
                tokio::time::sleep(pause).await;
                rig.open(victim).await;
            }
            1 => {
                rig.net.cut(&[id(victim)], &others);
                tokio::time::sleep(pause).await;
            }
            2 => {
                gate::set(&rig.path(victim), Gate::Held);
                tokio::time::sleep(pause).await;
                gate::set(&rig.path(victim), Gate::Open);
            }
            3 => {
                // Sent to one of the others, or to both, and then forgotten.
                if rig.net.roll(2) == 0 {
                    rig.net.cut(&[id(victim)], &others[..1]);
                }
                gate::set(&rig.path(victim), Gate::Held);
                tokio::time::sleep(pause / 3).await;
                crash(rig, victim).await;
                tokio::time::sleep(pause / 3).await;
                rig.open(victim).await;
            }
            4 => {
                rig.net.cut(&[id(victim)], &others[..1]);
                tokio::time::sleep(pause).await;
            }
            _ => {
                rig.net.loss.store(200, Ordering::Relaxed);
                tokio::time::sleep(pause).await;
            }
        }
        rig.net.heal();
        tokio::time::sleep(Duration::from_millis(rig.net.roll(1500))).await;
    }
}
