//! Heartbeats: how this node shows that it lives, and how it finds out that a connection does not.

use std::sync::atomic::Ordering;
use std::time::Duration;

use protocols::control::SendBeat;
use protocols::heartbeat::{Beat, BeatHistory, BeatMemory};
use protocols::record::BEATS;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use crate::agent::Agent;

/// How long a heartbeat's answer may take.
const BEAT_DEADLINE: Duration = Duration::from_secs(5);
/// After how many unanswered heartbeats a connection is given up.
const MISSES_MAX: u32 = 3;
/// The same where there is another coordinator to go to.
const MISSES_MAX_OF_SEVERAL: u32 = 2;
/// How soon after one unanswered heartbeat the next follows where there is another coordinator to go to.
const DOUBT: Duration = Duration::from_millis(500);
/// How soon after a new entry a heartbeat says that it is known; nodes are spread over one second more.
const HURRY: Duration = Duration::from_millis(500);
/// How often, at most, the history of heartbeats is written: disks and documents must bear it for years.
const HISTORY_EVERY: Duration = Duration::from_secs(300);

impl Agent {
    pub(crate) async fn beat_loop(&self, stop: CancellationToken) {
        let mut history = self.book_value::<BeatHistory>(BEATS).unwrap_or_default();
        let mut written = Instant::now();
        let mut misses = 0;
        let mut connected = self.coordinator.subscribe();
        let mut states = self.state.subscribe();
        let mut greeted = None;
        let mut hurried = false;
        let mut ticks = tokio::time::interval(self.options.heartbeat);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => {}
                // A new connection shows itself at once.
                changed = connected.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    misses = 0;
                    greeted = None;
                }
                changed = states.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    // A node that has just become a member shows itself at once. Later a new entry hurries the next
                    // heartbeat a little, so that it is soon known how far this node is; a burst of entries does so once.
                    if greeted.is_some() {
                        if !std::mem::replace(&mut hurried, true) {
                            let spread = u64::from(self.id().as_bytes()[1]) * 4;
                            ticks.reset_after(HURRY + Duration::from_millis(spread));
                        }
                        continue;
                    }
                }
            }
            let Some(coordinator) = *connected.borrow_and_update() else { continue };
            let Some(head) = self.head() else { continue };
            if !self.is_member() {
                continue;
            }
            greeted = Some(coordinator);
            hurried = false;
            let beat = Beat {
                number: self.beats.fetch_add(1, Ordering::Relaxed),
                head,
                records: self.book.digest(),
                addr: self.uplink.addr(),
                document: self.uplink.document(),
            };
            let at = (self.options.clock)();
            let sent = Instant::now();
            let answer = timeout(BEAT_DEADLINE, self.uplink.control(coordinator).rpc(SendBeat(beat))).await;
            let answered = matches!(&answer, Ok(Ok(Ok(_))));
            let rtt = u32::try_from(sent.elapsed().as_micros()).unwrap_or(u32::MAX);
            history.push(BeatMemory { at, to: coordinator, rtt_micros: answered.then_some(rtt) });
            let mut turned = false;
            match answer {
                Ok(Ok(Ok(ack))) => {
                    turned = misses > 0;
                    misses = 0;
                    if let Err(error) = self.claimed(coordinator, ack.head, ack.claim) {
                        tracing::warn!(%error, "connecting anew");
                        self.uplink.reset(coordinator);
                        continue;
                    }
                    self.heard_of(ack.head.seq);
                    if ack.records_differ {
                        self.reconcile(coordinator).await;
                    }
                }
                Ok(Ok(Err(denied))) => {
                    tracing::warn!(%denied, "the coordinator refuses our heartbeat");
                    self.uplink.reset(coordinator);
                }
                Ok(Err(_)) | Err(_) => {
                    misses += 1;
                    self.missed.fetch_add(1, Ordering::Relaxed);
                    let several = self.coordinators().len() > 1;
                    if several {
                        ticks.reset_after(DOUBT);
                    }
                    if misses >= if several { MISSES_MAX_OF_SEVERAL } else { MISSES_MAX } {
                        tracing::warn!(coordinator = %coordinator.short(), misses, "heartbeats go unanswered: connecting anew");
                        self.uplink.reset(coordinator);
                        misses = 0;
                        turned = true;
                    }
                }
            }
            if turned || written.elapsed() >= HISTORY_EVERY {
                written = Instant::now();
                self.write_record(BEATS, &history);
            }
        }
    }
}
