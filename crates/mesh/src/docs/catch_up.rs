//! What a new neighbour may have said before it was one: a sync that begins afterwards brings it.

use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use protocols::NodeId;
use tokio::time::Instant;

use super::inbox::News;

/// The neighbours with whom no sync has begun, and ended well, since they came up.
///
/// The stack underneath starts a sync when a neighbour comes up, unless one is running. What is written after that one
/// has looked and before the neighbour hears of news is in neither, and stays unheard until the next sync.
#[derive(Debug, Default)]
pub(super) struct CatchUp {
    owed: HashMap<NodeId, Owed>,
}

#[derive(Debug)]
struct Owed {
    /// A sync counts if it began then or later.
    since: SystemTime,
    due: Instant,
    pause: Duration,
}

impl CatchUp {
    /// Takes note of who came, who went, and with whom a sync has ended.
    pub(super) fn note(&mut self, news: &News) {
        for peer in &news.up {
            if self.owed.len() < OWED_MAX {
                let pause = FIRST_PAUSE;
                let owed = Owed { since: SystemTime::now(), due: Instant::now() + pause + share(*peer), pause };
                self.owed.insert(*peer, owed);
            }
        }
        for peer in &news.down {
            self.owed.remove(peer);
        }
        for (peer, began) in &news.synced {
            if self.owed.get(peer).is_some_and(|owed| *began >= owed.since) {
                self.owed.remove(peer);
            }
        }
    }

    /// Those with whom a sync is to be started now, each with growing pauses, and not for ever: the regular syncs go on.
    pub(super) fn due(&mut self) -> Vec<NodeId> {
        let now = Instant::now();
        let mut due = Vec::new();
        self.owed.retain(|peer, owed| {
            if now < owed.due {
                return true;
            }
            due.push(*peer);
            owed.due = now + owed.pause;
            owed.pause *= 2;
            owed.pause <= LAST_PAUSE
        });
        due
    }

    /// When to ask next whether something is due.
    pub(super) fn next(&self) -> Option<Instant> {
        self.owed.values().map(|owed| owed.due).min()
    }
}

/// Spreads those who come at the same time over a second.
fn share(peer: NodeId) -> Duration {
    Duration::from_millis(u64::from(peer.as_bytes()[0]) * 4)
}

/// How long the sync that a new neighbour sets off is waited for.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The pause after which nothing more is tried.
const LAST_PAUSE: Duration = Duration::from_secs(32);
/// Neighbours that are looked after at a time.
const OWED_MAX: usize = 2048;

#[cfg(test)]
mod tests {
    use super::*;

    fn peer(n: u8) -> NodeId {
        NodeId::from_bytes([n; 32])
    }

    fn up(n: u8) -> News {
        News { up: [peer(n)].into(), ..News::default() }
    }

    fn synced(n: u8, began: SystemTime) -> News {
        News { synced: [(peer(n), began)].into(), ..News::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_sync_that_began_afterwards_counts() {
        let before = SystemTime::now() - Duration::from_millis(1);
        let mut all = CatchUp::default();
        assert_eq!(all.next(), None);
        all.note(&up(1));
        all.note(&up(0));
        assert!(all.due().is_empty(), "not at once");
        tokio::time::sleep_until(all.next().expect("somebody")).await;
        assert_eq!(all.due(), [peer(0)]);
        all.note(&synced(0, before));
        tokio::time::sleep(FIRST_PAUSE).await;
        assert!(all.due().contains(&peer(0)), "that one was too early");
        all.note(&synced(0, SystemTime::now()));
        all.note(&synced(1, SystemTime::now()));
        assert_eq!(all.next(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_never_answers_is_not_asked_for_ever() {
        let mut all = CatchUp::default();
        all.note(&up(7));
        let mut asked = 0;
        while let Some(next) = all.next() {
            tokio::time::sleep_until(next).await;
            assert_eq!(all.due(), [peer(7)]);
            asked += 1;
        }
        assert_eq!(asked, 6);
        all.note(&up(7));
        all.note(&News { down: [peer(7)].into(), ..News::default() });
        assert_eq!(all.next(), None, "who went is not asked");
    }
}
